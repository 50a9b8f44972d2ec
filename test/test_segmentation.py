"""What a segmentation reports, against loops over its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg_ros.segmentation import Segmentation
from ovseg_ros.vocabulary import Vocabulary

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
arrays = pytest.importorskip("hypothesis.extra.numpy")

COUNT = 3
results = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.builds(
        lambda labels, confidence: Segmentation(
            labels, confidence, Vocabulary.parse([f"word {i}" for i in range(COUNT)])
        ),
        arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255])),
        arrays.arrays(np.uint8, shape),
    )
)


def flood(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """Connected regions of a mask, diagonal neighbours included, by breadth-first search."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    regions = []
    while left:
        region, edge = set(), {next(iter(left))}
        while edge:
            region |= edge
            edge = {(y + j, x + i) for y, x in edge for j in (-1, 0, 1) for i in (-1, 0, 1)} & left - region
        left -= region
        regions.append(region)
    return regions


@hypothesis.given(results)
def test_detected_classes_have_their_share_and_mean_confidence(result: Segmentation) -> None:
    found = {c.id: c for c in result.detected()}
    for i in range(COUNT):
        pixels = [result.confidence[p] for p in np.ndindex(result.labels.shape) if result.labels[p] == i]
        assert (i in found) == bool(pixels)
        if pixels:
            assert found[i].name == f"word {i}"
            assert found[i].area == pytest.approx(len(pixels) / result.labels.size)
            assert found[i].confidence == pytest.approx(np.mean([float(p) for p in pixels]) / 255)
    areas = [c.area for c in result.detected()]
    assert areas == sorted(areas, reverse=True)


@hypothesis.given(results, st.sampled_from([0.0, 0.05, 0.3]))
def test_regions_are_the_connected_ones_with_their_boxes(result: Segmentation, least: float) -> None:
    expected = []
    for i in range(COUNT):
        for region in flood(result.labels == i):
            if len(region) >= least * result.labels.size:
                ys, xs = [y for y, _ in region], [x for _, x in region]
                box = (min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
                mean = np.mean([float(result.confidence[p]) for p in region]) / 255
                expected.append((i, box, len(region), round(mean, 6)))
    regions = result.regions(least)
    total = result.labels.size
    found = [
        (r.id, (r.x, r.y, r.width, r.height), round(r.area * total), round(r.confidence, 6))
        for r in regions
    ]  # fmt: skip
    assert sorted(found) == sorted(expected)
    assert [r.area for r in regions] == sorted((r.area for r in regions), reverse=True)


def test_ids_past_eight_bits_are_counted() -> None:
    labels = np.full((4, 5), 65535, np.uint16)
    labels[0, :3] = 299
    vocabulary = Vocabulary.parse([f"word {i}" for i in range(300)])
    result = Segmentation(labels, np.full((4, 5), 51, np.uint8), vocabulary)
    assert result.unlabelled == 65535
    (found,) = result.detected()
    assert (found.id, found.name, found.area) == (299, "word 299", 0.15)
    assert found.confidence == pytest.approx(0.2)
    (region,) = result.regions()
    assert (region.id, region.x, region.y, region.width, region.height) == (299, 0, 0, 3, 1)


def test_an_image_without_labels_shows_nothing() -> None:
    result = Segmentation(np.full((4, 5), 255, np.uint8), np.zeros((4, 5), np.uint8), Vocabulary.parse(["car"]))
    assert result.detected() == []
    assert result.regions() == []
