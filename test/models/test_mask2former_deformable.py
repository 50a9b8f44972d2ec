"""Deformable attention by gathers against the published layer, grid_sample, and a loop over samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.models.mask2former.deformable import MSDeformAttn, sample, sample_by_grid  # noqa: E402

Far = Callable[[Any, Any], float]
GRIDS = [(3, 5), (6, 7)]


def case(seed: int = 0, spread: float = 2.0) -> tuple[Any, Any, Any, Any]:
    """value (2, 42, 3, 4) of a 6x7 map, references, offsets of which many leave the map, weights."""
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(2, 42, 3, 4, generator=generator)
    reference = torch.rand(2, 9, 1, 1, 2, generator=generator)
    offsets = spread * torch.randn(2, 9, 3, 5, 2, generator=generator)
    return value, reference, offsets, torch.rand(2, 9, 3, 5, generator=generator)


def bilinear(value: Any, y: float, x: float) -> Any:
    """A loop's sample of a map (h, w, d) at cell coordinates, zero outside."""
    h, w, d = value.shape
    total = torch.zeros(d)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < h and 0 <= column < w:
                total += value[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


@pytest.mark.parametrize("form", [sample, sample_by_grid])
@pytest.mark.parametrize("spread", [0.3, 2.0, 50.0])
def test_samples_are_those_of_a_loop(spread: float, form: Callable[..., Any], far: Far) -> None:
    value, reference, offsets, weights = case(spread=spread)
    found = form(value, (6, 7), reference, offsets, weights)
    expected = torch.zeros(2, 3, 9, 4)
    for n in range(2):
        for q in range(9):
            for head in range(3):
                for p in range(5):
                    x = reference[n, q, 0, 0, 0] * 7 + offsets[n, q, head, p, 0] - 0.5
                    y = reference[n, q, 0, 0, 1] * 6 + offsets[n, q, head, p, 1] - 0.5
                    picked = bilinear(value[n, :, head].reshape(6, 7, 4), float(y), float(x))
                    expected[n, head, q] += weights[n, q, head, p] * picked
    assert far(found, expected) < 1e-5


def test_both_forms_have_the_same_gradients(far: Far) -> None:
    inputs = [x.requires_grad_() for x in case(1)]
    found, expected = (form(inputs[0], (6, 7), *inputs[1:]) for form in (sample, sample_by_grid))
    assert far(found, expected) < 1e-5
    up = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    ours, theirs = (torch.autograd.grad((x * up).sum(), inputs) for x in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        assert far(a, b) < 1e-4


@pytest.mark.parametrize("training", [False, True])
def test_the_published_layer(training: bool, golden: Callable[..., dict[str, Any]], far: Far) -> None:
    data = golden("msdeform_attn")
    layer = MSDeformAttn(32, 3, 4, 4).train(training)
    layer.load_state_dict(data["w"])
    grids = [(int(h), int(w)) for h, w in data["in/spatial_shapes"]]
    inside = (data["mid/sampling_locations"] - 0.5).abs() < 0.5
    assert 0.2 < inside.float().mean() < 0.9  # the file's places lie inside and outside
    found = layer(data["in/query"], data["in/reference_points"], data["in/input_flatten"], grids)
    assert far(found, data["out/output"]) < 1e-5


def test_heads_start_in_directions_around_the_circle() -> None:
    layer = MSDeformAttn(16, 2, 8, 4)
    offsets = layer.sampling_offsets.bias.detach().reshape(8, 2, 4, 2)
    assert torch.allclose(offsets[0, 0, 2], torch.tensor([3.0, 0.0]), atol=1e-6)
    assert torch.allclose(offsets[1, 1, 0], torch.tensor([1.0, 1.0]), atol=1e-6)
    assert torch.allclose(offsets[6, 0, 3], torch.tensor([0.0, -4.0]), atol=1e-5)
    with pytest.raises(ValueError, match="a width of 30 cannot be split into 8 heads"):
        MSDeformAttn(30)


def test_compiled_it_holds_no_grid_sample_and_gives_the_same(
    far: Far, tmp_path: Path, exported: Callable[..., set[str]], by_openvino: Callable[..., Any]
) -> None:
    torch.manual_seed(0)
    layer = MSDeformAttn(32, 2, 4, 3).eval()
    torch.nn.init.normal_(layer.sampling_offsets.weight, std=0.5)
    torch.nn.init.normal_(layer.attention_weights.weight, std=0.5)

    class Whole(torch.nn.Module):
        def forward(self, query: Any, reference: Any, source: Any) -> Any:
            return layer(query, reference, source, GRIDS)

    inputs = torch.randn(2, 11, 32), torch.rand(1, 11, 2, 2), torch.randn(2, 57, 32)
    operators = exported(
        Whole(),
        inputs,
        tmp_path / "layer.onnx",
        dynamic_shapes=({0: torch.export.Dim("n")}, {}, {0: torch.export.Dim("n")}),
    )
    assert "GridSample" not in operators
    assert far(by_openvino(tmp_path / "layer.onnx", *inputs), layer(*inputs, GRIDS).detach()) < 1e-5


def test_half_precision_finds_the_right_cell_on_large_maps() -> None:
    """On a map of 200 cells bfloat16 counts in steps of 1 by itself; the reference's whole cells are kept apart."""
    value = torch.arange(200.0).reshape(1, 200, 1, 1)
    reference = torch.zeros(1, 200, 1, 1, 2)
    reference[..., 0] = ((torch.arange(200) + 0.5) / 200)[:, None, None]
    reference[..., 1] = 0.5
    offsets = torch.zeros(1, 200, 1, 1, 2, dtype=torch.bfloat16)
    offsets[..., 0] = 0.25
    found = sample(value, (1, 200), reference, offsets, torch.ones(1, 200, 1, 1))
    assert torch.allclose(found[0, 0, :199, 0], torch.arange(199) + 0.25, atol=1e-3)
