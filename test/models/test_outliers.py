"""Outliers against the definition, pair by pair, and the mending against a loop over neighbours."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.models.outliers import local_outliers, mend, outlier_factor  # noqa: E402


def factor_by_definition(points: Any, k: int) -> list[float]:
    """Breunig et al. 2000: k-distance, reachability distance, local reachability density, factor."""
    points = points.double()
    count = len(points)
    distance = [[float((points[i] - points[j]).norm()) for j in range(count)] for i in range(count)]
    near = [sorted((j for j in range(count) if j != i), key=lambda j, i=i: distance[i][j])[:k] for i in range(count)]
    radius = [distance[i][near[i][-1]] for i in range(count)]
    density = [k / sum(max(radius[j], distance[i][j]) for j in near[i]) for i in range(count)]
    return [sum(density[j] for j in near[i]) / k / density[i] for i in range(count)]


@pytest.fixture(scope="module")
def points() -> Any:
    """Two clouds of different density a picture, and three points far from both."""
    generator = torch.Generator().manual_seed(0)
    clouds = torch.randn(2, 40, 6, generator=generator)
    clouds[:, 20:] = 0.1 * clouds[:, 20:] + 8
    clouds[0, [3, 17, 30]] += 20 * torch.randn(3, 6, generator=generator)
    clouds[1, [0, 25, 39]] -= 20 * torch.randn(3, 6, generator=generator)
    return clouds


@pytest.mark.parametrize("k", [3, 10, 39])
def test_the_factor_is_the_papers(points: Any, k: int) -> None:
    found = outlier_factor(points, k)
    for image in range(2):
        assert found[image].tolist() == pytest.approx(factor_by_definition(points[image], k), rel=1e-3)


def test_the_far_ones_are_marked_image_by_image(points: Any) -> None:
    found = local_outliers(points, neighbours=8, contamination=0.07)
    assert [row.nonzero()[:, 0].tolist() for row in found] == [[3, 17, 30], [0, 25, 39]]


@pytest.mark.parametrize(("count", "share"), [(196, 0.05), (40, 0.1), (35, 0.05), (3, 0.05)])
def test_as_many_are_marked_as_lie_above_the_quantile(count: int, share: float) -> None:
    tokens = torch.randn(1, count, 4, generator=torch.Generator().manual_seed(1))
    scores = outlier_factor(tokens, min(30, count - 1))
    above = int((scores > torch.quantile(scores, 1 - share)).sum())
    assert int(local_outliers(tokens, 30, share).sum()) == above == math.ceil((count - 1) * share)


def test_two_patches_have_no_outlier() -> None:
    assert not local_outliers(torch.randn(1, 2, 4)).any()


def test_outliers_become_the_mean_of_their_sound_neighbours() -> None:
    h, w = 4, 5
    tokens = torch.randn(2, h * w, 3, generator=torch.Generator().manual_seed(2))
    bad = torch.zeros(2, h * w)
    bad[0, [0, 7, 8, 19]] = 1  # corner, two side by side, corner
    bad[1, [0, 1, 2, 5, 6, 7, 10, 11, 12]] = 1  # the one at 6 has no sound neighbour, nor has that at 0, 1, 5
    found = mend(tokens, bad, (h, w))
    for n in range(2):
        for i in range(h * w):
            y, x = divmod(i, w)
            around = [
                v * w + u for v in range(max(y - 1, 0), min(y + 2, h)) for u in range(max(x - 1, 0), min(x + 2, w))
            ]
            sound = [j for j in around if not bad[n, j]]
            expected = tokens[n, sound].mean(dim=0) if bad[n, i] and sound else tokens[n, i]
            torch.testing.assert_close(found[n, i], expected)
