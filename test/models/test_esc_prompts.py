"""ESC-Net's pseudo prompts against loops, and Lloyd's algorithm against SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.models.esc_prompts import (  # noqa: E402
    cell_places,
    lloyd,
    nearest,
    probability_share,
    pseudo_prompts,
    spread_centres,
)


def bumps(seed: int, h: int = 9, w: int = 12, count: int = 3) -> np.ndarray:
    """(h, w) float64: some hills of different heights on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    hills = sum(
        rng.uniform(0.6, 1) * np.exp(-((y - rng.integers(h)) ** 2 + (x - rng.integers(w)) ** 2) / 3)
        for _ in range(count)
    )
    return np.asarray(hills + 0.05 * rng.random((h, w)))


def by_loops(scores: np.ndarray, alpha: float, count: int, iterations: int) -> dict[str, Any]:
    """The same in plain Python, from the definition: softmax, scaling, threshold, farthest points, Lloyd."""
    h, w = scores.shape
    p = np.exp(scores) / np.exp(scores).sum()
    share = (p - p.min()) / (p.max() - p.min())
    cells = [(y, x) for y in range(h) for x in range(w) if share[y, x] >= alpha]
    centres = [max(cells, key=lambda cell: share[cell])]
    while len(centres) < count:
        far = {cell: min((cell[0] - y) ** 2 + (cell[1] - x) ** 2 for y, x in centres) for cell in cells}
        most = max(far.values())
        centres.append(max((cell for cell in cells if far[cell] == most), key=lambda cell: share[cell]))

    def groups() -> list[list[tuple[int, int]]]:
        result: list[list[tuple[int, int]]] = [[] for _ in centres]
        for y, x in cells:
            gaps = [np.float32((x - cx) ** 2) + np.float32((y - cy) ** 2) for cy, cx in centres]
            result[int(np.argmin(gaps))].append((y, x))
        return result

    for _ in range(iterations):
        means = [np.mean(group, axis=0) if group else None for group in groups()]
        centres = [c if mean is None else (mean[0], mean[1]) for c, mean in zip(centres, means, strict=True)]
    final = groups()
    points = [max(group, key=lambda cell: share[cell]) if group else None for group in final]
    return {"share": share, "groups": final, "points": points}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("alpha", "count"), [(0.5, 5), (0.2, 3), (0.9, 5)])
def test_prompts_are_those_of_the_definition(seed: int, alpha: float, count: int) -> None:
    scores = bumps(seed)
    found = pseudo_prompts(torch.from_numpy(scores.astype(np.float32))[None], alpha, count, iterations=10)
    expected = by_loops(scores, alpha, count, 10)
    assert np.allclose(found.strength[0], expected["share"], atol=1e-5)
    for o, (group, point) in enumerate(zip(expected["groups"], expected["points"], strict=True)):
        region = {(int(y), int(x)) for y, x in found.regions[0, o].nonzero()}
        assert region == set(group)
        assert bool(found.found[0, o]) == bool(group)
        if point is not None:
            assert found.points[0, o].tolist() == [point[1], point[0]]
    if alpha < 0.5:  # wide enough that no region is left empty
        assert sum(bool(group) for group in expected["groups"]) == count


@pytest.mark.parametrize("seed", range(4))
def test_lloyd_is_scipys(seed: int) -> None:
    vq = pytest.importorskip("scipy.cluster.vq")
    scores = torch.from_numpy(bumps(seed, 14, 11, 4).astype(np.float32))[None]
    strength = probability_share(scores).flatten(1)
    inside = strength >= 0.3
    places = cell_places(14, 11, scores)
    start = spread_centres(strength, inside, places, 4)
    assert len({tuple(row) for row in start[0].tolist()}) == 4
    cells = places[inside[0]].double().numpy()
    for iterations in (1, 2, 7):
        expected, _ = vq.kmeans2(cells, start[0].double().numpy(), iter=iterations, minit="matrix", missing="raise")
        centres = lloyd(start, inside, places, iterations)
        assert np.allclose(centres[0], expected, atol=1e-4)
    labels = vq.vq(cells, expected)[0]
    assert np.array_equal(nearest(centres, places)[0][:, inside[0]].float().argmax(dim=0), labels)


def test_a_share_is_the_scaled_softmax() -> None:
    maps = 0.2 * torch.randn(3, 4, 5, dtype=torch.float64)
    for temperature in (0.05, 1.0):
        p = (maps / temperature).flatten(1).softmax(dim=1)
        low, high = p.amin(dim=1, keepdim=True), p.amax(dim=1, keepdim=True)
        expected = ((p - low) / (high - low)).reshape(maps.shape)
        assert torch.allclose(probability_share(maps, temperature), expected, atol=1e-9)


def test_maps_do_not_see_each_other_and_runs_do_not_differ() -> None:
    maps = torch.from_numpy(np.stack([bumps(seed) for seed in range(4)]).astype(np.float32))
    together = pseudo_prompts(maps, 0.5, 5, 10)
    again = pseudo_prompts(maps, 0.5, 5, 10)
    for i in range(4):
        alone = pseudo_prompts(maps[i : i + 1], 0.5, 5, 10)
        for one, all_, repeated in zip(alone, together, again, strict=True):
            assert torch.equal(one[0], all_[i])
            assert torch.equal(all_[i], repeated[i])


def test_a_flat_map_is_split_into_regions_that_cover_it() -> None:
    for value in (0.0, -7.0, 1e4):
        found = pseudo_prompts(torch.full((1, 6, 8), value), 0.5, 5, 10)
        assert (found.strength == 1).all()
        assert torch.equal(found.regions.sum(dim=1), torch.ones(1, 6, 8))
        assert found.found.all()
        assert len({tuple(point) for point in found.points[0].tolist()}) == 5


def test_fewer_cells_than_regions_leave_regions_empty() -> None:
    maps = torch.zeros(1, 5, 7)
    maps[0, 1, 6] = maps[0, 4, 2] = 1.0
    found = pseudo_prompts(maps, 0.5, 5, 10)
    assert found.found.sum() == 2
    assert {tuple(p) for p, there in zip(found.points[0].tolist(), found.found[0], strict=True) if there} == {
        (6.0, 1.0),
        (2.0, 4.0),
    }
    assert found.regions.sum() == 2
    assert all(x.isfinite().all() for x in (found.strength, found.regions, found.points))


def test_half_precision_maps_count_as_their_values() -> None:
    maps = torch.from_numpy(bumps(1).astype(np.float32))[None].bfloat16()
    low, full = (pseudo_prompts(x, 0.5, 5, 10) for x in (maps, maps.float()))
    assert torch.equal(low.points, full.points)
    assert torch.equal(low.regions, full.regions)


def test_no_gradient_passes() -> None:
    maps = torch.randn(1, 4, 4, requires_grad=True)
    assert not any(x.requires_grad for x in pseudo_prompts(maps, 0.5, 5, 3))
