"""SAM's parts against outputs of the published code, and each of their ideas against a loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.sam.config import SamDecoderConfig, SamEncoderConfig  # noqa: E402
from ovseg_ros.models.sam.image_encoder import ImageEncoder, from_windows, to_windows  # noqa: E402
from ovseg_ros.models.sam.mask_decoder import MaskDecoder  # noqa: E402
from ovseg_ros.models.sam.prompt_encoder import PromptEncoder  # noqa: E402
from ovseg_ros.models.sam.relative import relative_bias, table  # noqa: E402
from ovseg_ros.models.sam.two_way import TwoWayTransformer  # noqa: E402
from ovseg_ros.models.sam.weights import load_sam  # noqa: E402

Golden = Callable[..., dict[str, Any]]
Far = Callable[[Any, Any], float]

EBSEG = SamEncoderConfig(96, 16, 32, 6, 4, 128, window=4, global_blocks=(1, 3, 4, 5), neck=0)
ORIGINAL = SamEncoderConfig(96, 16, 32, 4, 4, 128, window=4, global_blocks=(1, 3), neck=16)
DECODER = SamDecoderConfig(width=32, heads=4, mlp=48, iou_hidden=24)


def test_the_image_encoder_is_sams(golden: Golden, far: Far) -> None:
    data = golden("sam_image_encoder_orig")
    model = ImageEncoder(ORIGINAL).requires_grad_(False)
    model.load_state_dict(data["w"])
    for i, tap in enumerate(model.taps(data["in/image"], range(1, 5))):
        assert far(tap.permute(0, 2, 3, 1), data[f"mid/block{i}"]) < 1e-5
    assert far(model(data["in/image"]), data["out/neck"]) < 1e-5


def test_another_grid_is_ebsegs(golden: Golden, far: Far) -> None:
    data = golden("sam_image_encoder_ebseg")
    model = ImageEncoder(EBSEG).requires_grad_(False)
    model.load_state_dict(data["w"])
    for i, tap in enumerate(model.taps(data["in/image"], range(1, 7))):
        assert far(tap.permute(0, 2, 3, 1), data[f"mid/block{i}"]) < 1e-5
    model.bake((5, 7))
    assert far(model(data["in/image"]).permute(0, 2, 3, 1), data["mid/block5"]) < 1e-5


@pytest.mark.parametrize("kind", ["points", "boxes", "masks", "points_boxes", "points_masks"])
def test_prompts_are_sams(golden: Golden, far: Far, kind: str) -> None:
    data = golden("sam_prompt_encoder", "w_prompt/")
    model = PromptEncoder(DECODER, (5, 6), (80, 96)).requires_grad_(False)
    model.load_state_dict(data["w"])
    sparse, dense = model(
        points=(data["in/points_xy"], data["in/labels"]) if "points" in kind else None,
        boxes=data["in/boxes_xyxy"] if "boxes" in kind else None,
        masks=data["in/masks"] if "masks" in kind else None,
    )
    expected = data[f"out/{kind}_sparse"]
    assert sparse.shape == expected.shape
    if expected.numel():
        assert far(sparse, expected) < 1e-5
    assert far(dense, data[f"out/{kind}_dense"]) < 1e-5
    assert far(model.dense_positions(), data["out/dense_pe"]) < 1e-5


def test_the_mask_decoder_is_sams(golden: Golden, far: Far) -> None:
    data = golden("sam_mask_decoder")
    model = MaskDecoder(DECODER).requires_grad_(False)
    model.load_state_dict(data["w"])
    inputs = [data[f"in/{name}"] for name in ("image_embedding", "image_pe", "sparse", "dense")]
    seen: list[Any] = []
    for layer in (*model.transformer.layers, model.transformer):
        layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    masks, quality = model(*inputs, several=True)
    for (tokens, cells), name in zip(seen, ("layer0", "layer1", "transformer"), strict=True):
        assert far(tokens, data[f"mid/{name}_tokens"]) < 1e-5
        assert far(cells, data[f"mid/{name}_image"]) < 1e-5
    assert far(masks, data["out/masks_multi"]) < 1e-5
    assert far(quality, data["out/iou_multi"]) < 1e-5
    masks, quality = model(*inputs, several=False)
    assert far(masks, data["out/masks_single"]) < 1e-5
    assert far(quality, data["out/iou_single"]) < 1e-5


def test_every_published_name_is_taken_at_its_shape(hollow: Callable[[str], dict[str, Any]]) -> None:
    theirs = {key: tuple(x.shape) for key, x in hollow("sam_vit_b").items()}
    with torch.device("meta"):
        parts = {
            "image_encoder": ImageEncoder(SamEncoderConfig()),
            "prompt_encoder": PromptEncoder(SamDecoderConfig(), (64, 64), (1024, 1024)),
            "mask_decoder": MaskDecoder(SamDecoderConfig()),
        }
        ours = {f"{part}.{k}": tuple(v.shape) for part, model in parts.items() for k, v in model.state_dict().items()}
        assert sum(p.numel() for p in TwoWayTransformer(SamDecoderConfig()).parameters()) == 3_291_264
    extra = {"pixel_mean", "pixel_std"}  # constants of the module around them, in no checkpoint
    assert ours == {key: shape for key, shape in theirs.items() if key not in extra}


def test_relative_positions_are_looked_up_by_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    h, w, d = 3, 4, 5
    down, across = (torch.randn(2 * size - 1, d, generator=generator) for size in (h, w))
    q = torch.randn(2, 2, h * w, d, generator=generator)
    found = relative_bias(q, table(down, h), table(across, w))
    for i in range(h * w):
        for j in range(h * w):
            (yi, xi), (yj, xj) = divmod(i, w), divmod(j, w)
            row = down[yi - yj + h - 1] + across[xi - xj + w - 1]
            torch.testing.assert_close(found[:, :, i, j], q[:, :, i] @ row)


def test_windows_are_cut_and_put_together_again() -> None:
    x = torch.arange(2 * 5 * 7, dtype=torch.float32).reshape(2, 5, 7, 1)
    cut = to_windows(x, 3)
    assert cut.shape == (2 * 2 * 3, 3, 3, 1)
    for n in range(2):
        for row in range(2):
            for column in range(3):
                for y in range(3):
                    for x_ in range(3):
                        at = (row * 3 + y, column * 3 + x_)
                        expected = x[n, at[0], at[1], 0] if at[0] < 5 and at[1] < 7 else 0.0
                        assert cut[(n * 2 + row) * 3 + column, y, x_, 0] == expected
    assert torch.equal(from_windows(cut, 3, (5, 7)), x)


def test_a_point_that_is_none_says_nothing_of_its_place() -> None:
    torch.manual_seed(0)
    model = PromptEncoder(DECODER, (5, 6), (80, 96)).requires_grad_(False)
    labels = torch.tensor([[1, -1]])
    one, other = (model(points=(torch.tensor([[[3.0, 4.0], [x, x]]]), labels))[0] for x in (0.0, 50.0))
    assert torch.equal(one, other)
    assert torch.equal(one[0, 1], model.not_a_point_embed.weight[0])
    moved = model(points=(torch.tensor([[[5.0, 4.0], [0.0, 0.0]]]), labels))[0]
    assert not torch.allclose(one[0, 0], moved[0, 0])


def checkpoint() -> dict[str, Any]:
    torch.manual_seed(1)
    return {
        f"image_encoder.{key}": torch.randn_like(value) for key, value in ImageEncoder(ORIGINAL).state_dict().items()
    }


def test_a_checkpoint_is_loaded_with_or_without_its_neck() -> None:
    state = {**checkpoint(), "mask_decoder.iou_token.weight": torch.zeros(1, 32)}
    for config in (ORIGINAL, SamEncoderConfig(96, 16, 32, 4, 4, 128, window=4, global_blocks=(1, 3), neck=0)):
        model = ImageEncoder(config)
        load_sam(model, "image_encoder", state)
        for key, value in model.state_dict().items():
            assert torch.equal(value, state[f"image_encoder.{key}"])


def test_a_checkpoint_of_another_size_is_refused_with_names() -> None:
    with pytest.raises(ModelError, match=r"x.pth does not fit SAM's image_encoder: .*lacks image_encoder.pos_embed"):
        load_sam(ImageEncoder(ORIGINAL), "image_encoder", {"visual.conv1.weight": torch.zeros(1)}, "x.pth")
    state = checkpoint()
    state["image_encoder.pos_embed"] = torch.zeros(1, 4, 4, 32)
    state["image_encoder.blocks.4.norm1.bias"] = torch.zeros(32)
    with pytest.raises(ModelError, match=r"2 tensors do.*\(1, 4, 4, 32\) in it and \(1, 6, 6, 32\).*blocks\.4"):
        load_sam(ImageEncoder(ORIGINAL), "image_encoder", state)


def test_bad_input_is_named() -> None:
    model = ImageEncoder(ORIGINAL)
    with pytest.raises(ValueError, match=r"40 x 48 pixels.*multiples of the patch, 16"):
        model(torch.zeros(1, 3, 40, 48))
    with pytest.raises(ValueError, match=r"taps are \(5,\); expected counts of blocks from 0 to 4"):
        model.taps(torch.zeros(1, 3, 32, 32), (5,))
    model.bake((2, 2))
    with pytest.raises(ValueError, match=r"baked for \(2, 2\) patches; got \(3, 2\)"):
        model(torch.zeros(1, 3, 48, 32))
    with pytest.raises(ValueError, match="expected indices from 0 to 3"):
        SamEncoderConfig(depth=4, global_blocks=(4,))
    prompts = PromptEncoder(DECODER, (5, 6), (80, 96))
    with pytest.raises(ValueError, match=r"different numbers of masks: \{'points': 2, 'boxes': 3\}"):
        prompts(points=(torch.zeros(2, 1, 2), torch.ones(2, 1)), boxes=torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"expected \(B, 1, 20, 24\)"):
        prompts(masks=torch.zeros(1, 1, 5, 6))


def test_one_graph_holds_encoder_prompts_and_decoder(
    far: Far, stirred: Callable[[Any], Any], tmp_path: Path, exported: Callable[..., set[str]], by_openvino: Any
) -> None:
    class Sam(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = ImageEncoder(SamEncoderConfig(96, 16, 32, 4, 4, 64, 4, (1, 3), neck=32))
            self.prompts = PromptEncoder(DECODER, (3, 5), (48, 80))
            self.decoder = MaskDecoder(DECODER)

        def forward(self, image: Any, places: Any, labels: Any) -> Any:
            sparse, dense = self.prompts(points=(places, labels))
            return self.decoder(self.encoder(image), self.prompts.dense_positions(), sparse, dense, several=True)[0]

    torch.manual_seed(0)
    model = stirred(Sam())
    model.encoder.bake((3, 5))
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(1, 3, 48, 80, generator=generator)
    places, labels = 80 * torch.rand(2, 3, 2, generator=generator), torch.tensor([[1, 0, -1], [1, 1, 0]])
    operators = exported(model, (image, places, labels), tmp_path / "sam.onnx")
    assert not {"Resize", "NonZero"} & operators
    assert far(by_openvino(tmp_path / "sam.onnx", image, places, labels), model(image, places, labels)) < 1e-4
