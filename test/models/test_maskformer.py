"""MaskFormer with its ResNet against the published DeOP's tensors, detectron2's layout and torch's own layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.models.maskformer import DetrLayer, MaskFormer, MaskFormerConfig  # noqa: E402
from ovseg_ros.models.resnet import FrozenBatchNorm2d, ResNet, ResNetConfig  # noqa: E402

Far = Callable[[Any, Any], float]
GOLDEN = MaskFormerConfig(ResNetConfig((3, 4, 6, 3), 8, 4, 8), 32, 32, 100, 2, 8, 48, 0.1, 24, 16)
TINY = MaskFormerConfig(ResNetConfig((1, 1, 1, 2), 8, 4, 8, (1, 2), "batch"), 32, 8, 5, 2, 4, 16, 0.1, 12, 6)


def official(data: dict[str, Any]) -> MaskFormer:
    model = MaskFormer(GOLDEN).eval().requires_grad_(False)
    ours = {key: value for key, value in data["w"].items() if key.startswith(("backbone.", "sem_seg_head."))}
    model.load_state_dict(ours)  # strict: every official key has its place
    return model


def test_every_tensor_is_the_published_codes(golden: Callable[..., dict[str, Any]], far: Far) -> None:
    data = golden("deop_e2e")
    model = official(data)
    pixels = data["mid/input_normalised"]
    for found, name in zip(model.backbone(pixels), ("res2", "res3", "res4", "res5"), strict=True):
        assert far(found, data[f"mid/{name}"]) < 1e-5
    features, coarsest = model.maps(pixels)
    assert far(features, data["mid/mask_features"]) < 1e-5
    queries = model.predictor.queries(coarsest)
    assert far(torch.stack(queries), data["mid/detr_decoder_out"]) < 1e-5
    assert far(model.propose(pixels), data["mid/mask_logits"]) < 1e-5
    states = model(pixels)
    assert len(states) == 2
    assert far(states[-1].masks, data["mid/mask_logits"]) < 1e-5
    weights = [
        data["w"][f"sem_seg_head.predictor.class_embed.layers.{i}.{x}"] for i in (0, 1) for x in ("weight", "bias")
    ]
    hidden = (data["mid/detr_decoder_out"][-1] @ weights[0].t() + weights[1]).relu()
    assert far(states[-1].embeddings, hidden @ weights[2].t() + weights[3]) < 1e-5


def test_names_and_shapes_are_the_official_models(hollow: Callable[[str], dict[str, Any]]) -> None:
    state = hollow("deop_r101c_vitb16")
    expected = {key: x.shape for key, x in state.items() if key.startswith(("backbone.", "sem_seg_head."))}
    with torch.device("meta"):
        model = MaskFormer()
    assert {key: value.shape for key, value in model.state_dict().items()} == expected


def test_the_trunk_is_torchvisions_but_for_stem_and_dilation(far: Far) -> None:
    """Without multi-grid and with torchvision's weights, the stages are torchvision's."""
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    torch.manual_seed(0)
    theirs = torchvision.models.resnet.ResNet(torchvision.models.resnet.Bottleneck, [1, 2, 1, 1]).eval()
    model = ResNet(ResNetConfig((1, 2, 1, 1), 64, multi_grid=())).eval().requires_grad_(False)
    state = model.state_dict()
    for key, value in theirs.state_dict().items():
        stage, _, rest = key.partition(".")
        if not stage.startswith("layer") or key.endswith("num_batches_tracked"):
            continue
        for old, new in (("downsample.0", "shortcut"), ("downsample.1", "shortcut.norm")):
            rest = rest.replace(old, new)
        for i in (1, 2, 3):
            rest = rest.replace(f"bn{i}", f"conv{i}.norm")
        state[f"res{int(stage[-1]) + 1}.{rest}"].copy_(value + 0.1 * torch.rand_like(value))
        value.copy_(state[f"res{int(stage[-1]) + 1}.{rest}"])
    x = torch.randn(1, 64, 24, 32)
    ours = x
    with torch.no_grad():
        for i in (1, 2, 3, 4):
            x = getattr(theirs, f"layer{i}")(x)
            ours = getattr(model, f"res{i + 1}")(ours)
            assert far(ours, x) < 1e-4


def test_a_layer_is_torchs_decoder_layer(far: Far) -> None:
    torch.manual_seed(0)
    theirs = torch.nn.TransformerDecoderLayer(16, 4, 32, 0.1, batch_first=True).eval()
    ours = DetrLayer(16, 4, 32, 0.1).eval()
    ours.load_state_dict(theirs.state_dict())
    query, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    zeros = torch.zeros_like(query)
    assert far(ours(query, zeros, memory, memory), theirs(query, memory)) < 1e-5
    assert far(ours.train()(query, zeros, memory, memory), theirs(query, memory)) > 1e-3  # dropout


def test_frozen_norm_has_nothing_to_learn(far: Far) -> None:
    theirs = torch.nn.BatchNorm2d(3).eval()
    for tensor in (theirs.weight, theirs.bias, theirs.running_mean, theirs.running_var):
        torch.nn.init.uniform_(tensor, 0.5, 2)
    ours = FrozenBatchNorm2d(3).train()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    x = torch.randn(2, 3, 4, 5)
    assert far(ours(x), theirs(x)) < 1e-6
    assert not list(ours.parameters())


@pytest.mark.parametrize("size", [(64, 96), (50, 75), (33, 1)])
def test_any_size_gives_finite_masks(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = MaskFormer(TINY).eval().requires_grad_(False)
    masks = model.propose(torch.randn(1, 3, *size))
    assert masks.shape == (1, 5, -(-size[0] // 4), -(-size[1] // 4))
    assert torch.isfinite(masks).all()


def test_it_learns_from_nothing() -> None:
    """A few steps towards two given masks: the loss falls, and every weight takes part."""
    torch.manual_seed(0)
    model = MaskFormer(TINY)
    pixels = torch.randn(2, 3, 32, 64)
    target = torch.zeros(2, 5, 8, 16)
    target[:, 0, :, :8], target[:, 1, :, 8:] = 1, 1
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        states = model(pixels)
        loss = sum(torch.nn.functional.binary_cross_entropy_with_logits(state.masks, target) for state in states)
        loss = loss + sum(state.embeddings.square().mean() for state in states)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="width is 100; expected a multiple of 32"):
        MaskFormerConfig(width=100)
