"""Resized position tables, against the interpolation's formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.models.positions import PositionTable, Resize  # noqa: E402


def cubic(t: float) -> list[float]:
    """Weights of the four samples around a point t after the second (Keys 1981, a = -0.75)."""

    def kernel(x: float, a: float = -0.75) -> float:
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a

    return [kernel(t + 1), kernel(t), kernel(1 - t), kernel(2 - t)]


def matrix(native: int, other: int, rule: Resize) -> np.ndarray:
    """One axis of the interpolation, (other, native)."""
    ratio = native / (other + 0.1 if rule == "offset" else other)
    weights = np.zeros((other, native))
    for i in range(other):
        place = (i + 0.5) * ratio - 0.5
        if rule == "bilinear":
            place = max(place, 0.0)
        first = math.floor(place)
        around = [0.0, 1 - (place - first), place - first, 0.0] if rule == "bilinear" else cubic(place - first)
        for k, weight in enumerate(around):
            weights[i, min(max(first - 1 + k, 0), native - 1)] += weight
    return weights


@pytest.mark.parametrize("rule", ["size", "offset", "bilinear"])
@pytest.mark.parametrize("grid", [(3, 7), (5, 6), (2, 9)])
def test_other_grids_are_interpolated_by_the_formula(rule: Resize, grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    table = PositionTable(4, 6, 1.0, rule)
    native = table.table[1:].detach().double().numpy().reshape(4, 4, 6)
    expected = np.einsum("hi,wj,ijc->hwc", matrix(4, grid[0], rule), matrix(4, grid[1], rule), native)
    rows = table(grid).detach().numpy()
    np.testing.assert_allclose(rows[1:].reshape(*grid, 6), expected, atol=2e-6)
    np.testing.assert_array_equal(rows[0], table.table[0].detach().numpy())


def test_the_native_grid_is_the_table_itself() -> None:
    for rule in ("size", "offset", "bilinear"):
        table = PositionTable(4, 6, 1.0, rule)
        assert torch.equal(table((4, 4)), table.table)


def test_the_offset_rule_takes_as_many_patches_as_they_are() -> None:
    table = PositionTable(4, 6, 1.0, "offset")
    assert torch.equal(table((2, 8)), table.table)


def test_baked_rows_follow_new_weights_and_refuse_other_grids() -> None:
    table, other = PositionTable(4, 6, 1.0), PositionTable(4, 6, 1.0)
    table.bake((3, 5))
    assert list(table.state_dict()) == ["table"]  # a checkpoint stays one
    table.load_state_dict(other.state_dict())
    assert torch.equal(table((3, 5)), other.resized((3, 5)))
    with pytest.raises(ValueError, match=r"baked for a grid of \(3, 5\) patches; got \(5, 3\)"):
        table((5, 3))
