"""The two-stream baseline against a loop over proposals that slices, fills, resizes and encodes one crop at a time."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.clip import VisionTransformer  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.crops import boxes_of, crop_resize  # noqa: E402
from ovseg_ros.models.mask_read_out import Proposals, name_logits, with_no_object  # noqa: E402
from ovseg_ros.models.maskformer import MaskFormer, MaskFormerConfig  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.models.proposals import MaskFormerProposer  # noqa: E402
from ovseg_ros.models.resnet import ResNetConfig  # noqa: E402
from ovseg_ros.models.two_stream import TwoStream, TwoStreamConfig, sim_baseline  # noqa: E402

TINY = ClipVisionConfig(image_size=32, patch=8, width=32, layers=2, heads=2, mlp=64, embed_dim=16)
QUERIES = 6


class Proposer(torch.nn.Module):
    """A mask network of one convolution, with other pixel statistics than CLIP's."""

    pixel_mean, pixel_std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    stride, multiple, coarse, fine = 4, 8, 1, False

    def __init__(self, empty: tuple[int, ...] = (), queries: int = QUERIES) -> None:
        super().__init__()
        self.masks = torch.nn.Conv2d(3, queries, 12, 4, 4)
        self.embed = torch.nn.Linear(queries, queries * TINY.embed_dim)
        with torch.no_grad():
            self.masks.weight *= 3
            for query in empty:
                self.masks.weight[query] = 0
                self.masks.bias[query] = -5

    def features(self, pixels: Any, text: Any) -> Proposals:
        masks = self.masks(pixels)
        rows = self.embed(masks.mean(dim=(2, 3))).reshape(masks.shape[0], masks.shape[1], TINY.embed_dim)
        return Proposals(masks, F.normalize(rows, dim=2))

    def classes(self, embeddings: Any, text: Any) -> Any:
        logits = 10 * name_logits(embeddings, text)
        return with_no_object(logits, torch.full_like(logits[..., :1], 2.0))


class Seen(torch.nn.Module):
    """The first two classes were seen."""

    def forward(self, text: Any) -> Any:
        return (torch.arange(text.shape[0]) < 2).to(text.dtype)


def make(config: TwoStreamConfig | None = None, seen: Any = None, **proposer: Any) -> TwoStream:
    torch.manual_seed(0)
    net = TwoStream(Proposer(**proposer), VisionTransformer(TINY), config, seen)
    with torch.no_grad():  # so that crops differ in more than noise
        net.clip.conv1.weight *= 4
    return net.eval().requires_grad_(False)


def scene(n: int = 2, height: int = 48, width: int = 64, k: int = 5) -> tuple[Any, Any]:
    g = torch.Generator().manual_seed(1)
    coarse = torch.randn(n, 3, height // 8, width // 8, generator=g)
    pixels = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return pixels, F.normalize(torch.randn(k, 2, TINY.embed_dim, generator=g), dim=2)


def loop(net: TwoStream, pixels: Any, threshold: float = 0.5, fill: Any = None) -> tuple[Any, Any]:
    """CLIP's unit embeddings (N, Q, D) with zeros for empty masks, and whether they are not empty."""
    mean, std = (np.array(x, np.float32) for x in (TINY.mean, TINY.std))
    own_mean, own_std = (np.array(x, np.float32) for x in (Proposer.pixel_mean, Proposer.pixel_std))
    colour = mean if fill is None else np.array(fill, np.float32)
    masks = F.interpolate(net.proposer.masks(pixels), size=pixels.shape[2:], mode="bilinear", align_corners=False)
    embeddings = torch.zeros(*masks.shape[:2], TINY.embed_dim)
    shown = torch.zeros(masks.shape[:2], dtype=torch.bool)
    for n in range(len(pixels)):
        rgb = pixels[n].permute(1, 2, 0).numpy() * own_std + own_mean
        for q in range(masks.shape[1]):
            inside = masks[n, q].sigmoid().numpy() > threshold
            if not inside.any():
                continue
            x, y, w, h = cv2.boundingRect(inside.astype(np.uint8))
            crop = np.where(inside[:, :, None], rgb, colour)[y : y + h, x : x + w]
            crop = torch.from_numpy(((crop - mean) / std).transpose(2, 0, 1)[None].astype(np.float32))
            crop = F.interpolate(crop, size=(32, 32), mode="bicubic", align_corners=False)
            embeddings[n, q] = F.normalize(net.clip.image_features(crop)[0], dim=0)
            shown[n, q] = True
    return embeddings, shown


def test_boxes_are_those_of_opencv() -> None:
    masks = (
        torch.rand(9, 12, 15, generator=torch.Generator().manual_seed(2))
        < torch.linspace(0.003, 0.06, 9)[:, None, None]
    )
    masks[3] = False
    masks[4] = True
    masks[5] = False
    masks[5, 11, 14] = True
    boxes, shown = boxes_of(masks.float())
    for mask, box, has in zip(masks, boxes.tolist(), shown.tolist(), strict=True):
        x, y, w, h = cv2.boundingRect(mask.numpy().astype(np.uint8))
        assert has == bool(mask.any())
        assert box == ([y, x, h, w] if has else [0, 0, 12, 15])


@pytest.mark.parametrize("size", [7, 32])
def test_crops_are_slices_resized_by_torch_and_by_opencv(size: int) -> None:
    images = torch.randn(6, 3, 40, 56, generator=torch.Generator().manual_seed(3))
    boxes = [(0, 0, 40, 56), (3, 5, 20, 9), (39, 55, 1, 1), (0, 10, 1, 30), (10, 0, 17, 2), (8, 16, 7, 32)]
    found = crop_resize(images, torch.tensor(boxes, dtype=torch.float32), size)
    for image, crop, (y, x, h, w) in zip(images, found, boxes, strict=True):
        part = image[:, y : y + h, x : x + w]
        by_torch = F.interpolate(part[None], size=(size, size), mode="bicubic", align_corners=False)[0]
        assert torch.allclose(crop, by_torch, atol=1e-5)
        rows = np.ascontiguousarray(part.permute(1, 2, 0).numpy())
        by_opencv = cv2.resize(rows, (size, size), interpolation=cv2.INTER_CUBIC)
        assert np.abs(crop.permute(1, 2, 0).numpy() - by_opencv).max() < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 4, 16])
@pytest.mark.parametrize(("threshold", "fill"), [(0.5, None), (0.8, None), (0.3, (0.5, 0.5, 0.5))])
def test_embeddings_are_those_of_one_crop_at_a_time(threshold: float, fill: Any, batch: int) -> None:
    net = make(TwoStreamConfig(threshold=threshold, fill=fill, batch=batch), empty=(1, 4))
    pixels, text = scene()
    expected, shown = loop(net, pixels, threshold, fill)
    assert 0 < int(shown.sum()) <= 2 * (QUERIES - 2)
    found = net.features(pixels, text)
    assert torch.equal(found.masks, net.proposer.features(pixels, text).masks)
    width = TINY.embed_dim
    assert (found.embeddings[..., :width] - expected).abs().max() < 1e-4
    assert torch.equal(found.embeddings[..., width] > 0, shown)
    assert torch.equal(found.embeddings[..., width + 1 :], net.proposer.features(pixels, text).embeddings)
    assert (expected[0, 0] - expected[0, 2]).abs().max() > 1e-2  # crops differ, so the loop tells them apart


@torch.no_grad()
def test_clip_alone_says_which_word_and_empty_masks_say_nothing() -> None:
    net = make(empty=(1, 4))
    pixels, text = scene()
    embeddings, shown = loop(net, pixels)
    found = net.classes(net.features(pixels, text).embeddings, text)
    for n in range(2):
        for q in range(QUERIES):
            logits = 100 * torch.stack([torch.stack([embeddings[n, q] @ s for s in names]).max() for names in text])
            expected = logits.softmax(dim=0) if shown[n, q] else torch.zeros(5)
            assert torch.allclose(found[n, q], expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("seen", [None, Seen()])
def test_the_ensemble_trusts_the_proposer_where_it_was_trained(seen: Any) -> None:
    net = make(TwoStreamConfig(ensemble=0.8), seen, empty=(1,))
    pixels, text = scene()
    proposals = net.features(pixels, text)
    found = net.classes(proposals.embeddings, text)
    q = make(empty=(1,)).classes(proposals.embeddings, text)
    p = net.proposer.classes(net.proposer.features(pixels, text).embeddings, text)
    for c in range(5):
        w = 0.8 if seen is not None and c < 2 else 0.2  # the proposer's weight
        for n in range(2):
            for i in range(QUERIES):
                clip = 1.0 if i == 1 else float(q[n, i, c])
                assert float(found[n, i, c]) == pytest.approx(float(p[n, i, c]) ** w * clip ** (1 - w), rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("config", [TwoStreamConfig(), TwoStreamConfig(ensemble=0.8)])
def test_labels_are_the_class_maps_winners(config: TwoStreamConfig) -> None:
    net = make(config)
    g = torch.Generator().manual_seed(4)
    small = torch.rand(1, 3, 6, 8, generator=g)
    image = (F.interpolate(small, size=(48, 64), mode="bilinear") * 255).to(torch.uint8).permute(0, 2, 3, 1)
    mean, std = (torch.tensor(x).reshape(1, 3, 1, 1) for x in (Proposer.pixel_mean, Proposer.pixel_std))
    pixels = (image.permute(0, 3, 1, 2).float() / 255 - mean) / std
    found = net.features(pixels, scene()[1])
    rows = found.embeddings[0, :, : TINY.embed_dim]
    text = F.normalize(rows - rows.mean(dim=0), dim=1)[:, None]  # a word for each proposal
    labels, confidence = OnePass(net, (48, 64))(image, text)
    classes = net.classes(found.embeddings, text)
    mass = sum(classes[0, q, :, None, None] * found.masks[0, q].sigmoid() for q in range(QUERIES))
    up = F.interpolate(mass[None], scale_factor=4.0, mode="bilinear", align_corners=False)
    assert (labels == up.argmax(dim=1)).float().mean() > 0.999
    assert len(labels.unique()) > 2
    assert confidence.shape == (1, 48, 64)


@torch.no_grad()
@pytest.mark.parametrize("config", [TwoStreamConfig(), TwoStreamConfig(ensemble=0.8)])
@pytest.mark.parametrize("proposer", [{"empty": tuple(range(QUERIES))}, {"queries": 0}], ids=["empty", "none"])
def test_without_a_mask_nothing_is_nan(proposer: dict[str, Any], config: TwoStreamConfig) -> None:
    if proposer.get("queries") == 0:
        net = make(config)
        net.proposer.features = lambda pixels, text: Proposals(  # type: ignore[method-assign]
            pixels.new_zeros(len(pixels), 0, 12, 16), pixels.new_zeros(len(pixels), 0, TINY.embed_dim)
        )
    else:
        net = make(config, **proposer)
    pixels, text = scene()
    found = net.features(pixels, text)
    classes = net.classes(found.embeddings, text)
    assert bool(found.embeddings.isfinite().all())
    assert bool(classes.isfinite().all())
    if config.ensemble is None:
        assert float(classes.abs().sum()) == 0.0
    image = torch.zeros(1, 48, 64, 3, dtype=torch.uint8)
    labels, confidence = OnePass(net, (48, 64))(image, text)
    assert labels.shape == confidence.shape == (1, 48, 64)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"threshold": 1.0}, "threshold is 1.0"), ({"ensemble": 0.0}, "weight is 0.0"), ({"batch": 0}, "0 crops a pass")],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TwoStreamConfig(**change)


@torch.no_grad()
def test_maskformer_proposes_and_names_by_itself() -> None:
    torch.manual_seed(0)
    masks = MaskFormerConfig(ResNetConfig((1, 1, 1, 1), 8, 8, 32, (1,), "batch"), 32, 32, 5, 2, 4, 64, 0.0, 48, 16)
    net = sim_baseline(masks, TINY, TwoStreamConfig(ensemble=0.8)).eval()
    proposer = net.proposer
    pixels = torch.randn(2, 3, 64, 96)
    _, text = scene()
    found = proposer.features(pixels, text)
    last = proposer.net(pixels)[-1]
    assert torch.allclose(found.masks, last.masks, atol=1e-5)
    nothing = proposer.no_object[0] / proposer.no_object.norm()
    classes = proposer.classes(found.embeddings, text)
    for n, q in ((0, 0), (1, 4)):
        own = last.embeddings[n, q] / last.embeddings[n, q].norm()
        logits = [100 * max(float(own @ s) for s in names) for names in text] + [100 * float(own @ nothing)]
        expected = torch.tensor(logits).softmax(dim=0)[:-1]
        assert torch.allclose(classes[n, q], expected, atol=1e-4)
        assert torch.allclose(proposer(pixels, text)[-1][1][n, q], torch.tensor(logits), atol=1e-3)
    labels, _ = OnePass(net, (64, 96))(torch.randint(0, 256, (1, 30, 40, 3), dtype=torch.uint8), text)
    assert labels.shape == (1, 30, 40)


def test_streams_of_unlike_text_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="in 8 dimensions and CLIP in 16"):
        sim_baseline(MaskFormerConfig(text_width=8), TINY)
    backbone = ResNetConfig((1, 1, 1, 1), 8, 8, 32, (1,), "batch")
    net = MaskFormer(MaskFormerConfig(backbone, 32, 32, 5, 2, 4, 64, 0.0, 48, 16))
    with pytest.raises(ValueError, match=r"is \(1, 8\); expected \(1, 16\)"):
        MaskFormerProposer(net, torch.zeros(1, 8))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[OnePass, Any]:
    """The whole baseline with the ensemble and two empty masks, and its graph."""
    pytest.importorskip("onnxscript")
    from ovseg_ros.engine import Graph
    from ovseg_ros.hashing import file_hash
    from ovseg_ros.models.export import export_onnx

    net = make(TwoStreamConfig(ensemble=0.8), Seen(), empty=(1, 4))
    net.bake((48, 64))
    model = OnePass(net, (48, 64)).eval()
    path = tmp_path_factory.mktemp("graph") / "two_stream.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        export_onnx(model, path, TINY.embed_dim, lossless=True)
    return model, Graph("two-stream", path, file_hash(path), "random", TINY.embed_dim, (48, 64), "none")


@torch.no_grad()
@pytest.mark.parametrize(("n", "k"), [(1, 5), (2, 3)])
def test_the_graph_gives_the_labels_of_torch(deployed: tuple[OnePass, Any], n: int, k: int, tmp_path: Path) -> None:
    """Torch skips empty masks, the graph encodes them."""
    pytest.importorskip("openvino")
    from ovseg_ros.engine import open_engine

    model, graph = deployed
    g = torch.Generator().manual_seed(5)
    small = F.interpolate(torch.rand(n, 3, 6, 8, generator=g), size=(50, 70), mode="bicubic").clamp(0, 1)
    image = (255 * small).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    rows = model.features(image, scene()[1]).embeddings[0, [0, 2, 3, 5, 5][:k], : TINY.embed_dim]
    text = F.normalize(rows - rows.mean(dim=0) + 0.01 * torch.randn(k, 16, generator=g), dim=1)[:, None]
    labels, confidence = model(image, text)
    assert len(labels.unique()) > 1
    found = open_engine(graph, precision="fp32", root=tmp_path).run(image.numpy(), text.numpy())
    assert (found[0] == labels.numpy()).mean() > 0.995
    assert np.abs(found[1].astype(int) - confidence.numpy()).max() <= 2


def test_the_graph_compiles_for_gpus(deployed: tuple[OnePass, Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    from ovseg_ros.engine import build_engine

    folder = build_engine(deployed[1], "tensorrt-rtx", "fp16", "8.6", root=tmp_path)
    assert (folder / "image.plan").stat().st_size > 10_000
