"""Matching against every possible assignment, with costs from loops over pixels."""

from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from ovseg_ros.training.losses.points import uniform  # noqa: E402
from ovseg_ros.training.matching import MaskState, MatchCost, Segments, match  # noqa: E402

# every cell of a 4 x 4 grid is read, so that a loop over pixels gives the costs
PIXELS = MatchCost(2.0, 5.0, 4.0, points=0)


def example(seed: int, queries: int, segments: int, classes: int = 3) -> tuple[MaskState, list[Segments]]:
    """Two images of 4 x 4 masks and as many segments, overlapping."""
    g = torch.Generator().manual_seed(seed)
    state = MaskState(
        3 * torch.randn(2, queries, 4, 4, generator=g), (torch.randn(2, queries, classes + 1, generator=g),)
    )
    truth = [
        Segments(torch.rand(segments, 4, 4, generator=g) < 0.4, torch.randint(classes, (segments,), generator=g))
        for _ in range(2)
    ]
    return state, truth


def cost(state: MaskState, image: int, query: int, segments: Segments, own: int, weights: MatchCost) -> float:
    """The cost of one pair by a loop over pixels."""
    entropy = focal = both = claimed = true = 0.0
    for x, t in zip(state.masks[image, query].flatten().tolist(), segments.masks[own].flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        right = p if t else 1 - p
        entropy -= math.log(right)
        focal -= (0.25 if t else 0.75) * (1 - right) ** 2 * math.log(right)
        both, claimed, true = both + p * t, claimed + p, true + t
    found = weights.mask * (focal if weights.focal else entropy) / 16
    found += weights.dice * (1 - (2 * both + 1) / (claimed + true + 1))
    if state.classes:
        odds = [math.exp(x) for x in state.classes[0][image, query].tolist()]
        found -= weights.classes * odds[int(segments.labels[own])] / sum(odds)
    return found


@pytest.mark.parametrize("focal", [False, True])
@pytest.mark.parametrize(("queries", "segments"), [(5, 3), (3, 3), (2, 4)])
def test_no_assignment_is_cheaper(queries: int, segments: int, focal: bool) -> None:
    weights = MatchCost(2.0, 5.0, 4.0, points=0, focal=focal)
    state, truth = example(queries + segments, queries, segments)
    for image, (found, own) in enumerate(match(state, truth, weights)):
        table = [[cost(state, image, q, truth[image], s, weights) for s in range(segments)] for q in range(queries)]
        total = sum(table[q][s] for q, s in zip(found.tolist(), own.tolist(), strict=True))
        least = min(
            sum(table[q][s] for q, s in zip(chosen, order, strict=True))
            for chosen in itertools.combinations(range(queries), min(queries, segments))
            for order in itertools.permutations(range(segments), min(queries, segments))
        )
        assert len(found) == min(queries, segments)
        assert total == pytest.approx(least, abs=1e-4)


def test_masks_alone_decide_where_there_are_no_classes() -> None:
    state, truth = example(1, 5, 3)
    alone = MaskState(state.masks)
    for image, (found, own) in enumerate(match(alone, truth, PIXELS)):
        table = [[cost(alone, image, q, truth[image], s, PIXELS) for s in range(3)] for q in range(5)]
        least = min(sum(table[q][s] for s, q in enumerate(order)) for order in itertools.permutations(range(5), 3))
        assert sum(table[q][s] for q, s in zip(found.tolist(), own.tolist(), strict=True)) == pytest.approx(least)


def test_points_stand_for_pixels() -> None:
    """With many points the costs are those of all pixels, so a clear winner is found by both."""
    masks = torch.full((1, 3, 8, 8), -6.0)
    for query, (y, x) in enumerate([(0, 0), (0, 4), (4, 0)]):
        masks[0, query, y : y + 4, x : x + 4] = 6.0
    truth = [Segments(torch.stack([masks[0, q] > 0 for q in (2, 0)]).repeat_interleave(4, 1).repeat_interleave(4, 2),
                      torch.tensor([0, 1]))]  # fmt: skip
    for points in (0, 2000):
        draw = uniform(generator=torch.Generator().manual_seed(0))
        ((queries, segments),) = match(MaskState(masks), truth, MatchCost(points=points), draw)
        assert dict(zip(queries.tolist(), segments.tolist(), strict=True)) == {2: 0, 0: 1}


def test_an_image_without_segments_matches_nothing() -> None:
    state, truth = example(2, 4, 3)
    empty = Segments(torch.zeros(0, 4, 4), torch.zeros(0, dtype=torch.int64))
    for weights in (PIXELS, MatchCost(points=16)):
        pairs = match(state, [empty, truth[1]], weights)
        assert [len(queries) for queries, _ in pairs] == [0, 3]
        assert all(index.dtype == torch.int64 for pair in pairs for index in pair)


def test_the_same_draws_give_the_same_matching() -> None:
    state, truth = example(3, 6, 4)
    first, again = (
        match(state, truth, MatchCost(points=8), uniform(generator=torch.Generator().manual_seed(1))) for _ in range(2)
    )
    assert all(torch.equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))


def test_autocast_rounds_no_cost() -> None:
    """A query cheaper by less than half precision tells apart is still the one."""
    masks = torch.zeros(1, 2, 4, 4)
    masks[0, 0, 0, 0], masks[0, 1, 0, 0] = -1e-3, 1e-3
    truth = [Segments(torch.ones(1, 4, 4), torch.tensor([0]))]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ((queries, _),) = match(MaskState(masks), truth, PIXELS)
    assert queries.tolist() == [1]


@pytest.mark.parametrize("what", ["masks", "classes"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_is_refused_by_image(what: str, value: float) -> None:
    state, truth = example(4, 4, 2)
    (state.masks if what == "masks" else state.classes[0])[1] = value
    with pytest.raises(ValueError, match="image 1 of the batch hold NaN or infinity"):
        match(state, truth, PIXELS)


@pytest.mark.parametrize("label", [-1, 3, 255])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    state, truth = example(5, 4, 2)
    truth[0].labels[0] = label
    with pytest.raises(ValueError, match=rf"run from -?\d+ to {max(label, int(truth[0].labels[1]))}; expected 0 to 2"):
        match(state, truth, PIXELS)


def test_truth_for_other_images_is_refused() -> None:
    state, truth = example(6, 4, 2)
    with pytest.raises(ValueError, match="1 images of truth for 2 predicted"):
        match(state, truth[:1], PIXELS)


def test_masks_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks are \(2, 4, 4\) and labels \(3,\)"):
        Segments(torch.zeros(2, 4, 4), torch.zeros(3, dtype=torch.int64))


def test_a_label_map_has_one_segment_a_class() -> None:
    labels = torch.tensor([[0, 2, 2], [4, -100, 255]])
    segments = Segments.from_labels(labels, 4)
    assert segments.labels.tolist() == [0, 2]
    assert segments.masks.tolist() == [
        [[True, False, False], [False, False, False]],
        [[False, True, True], [False, False, False]],
    ]
    assert Segments.from_labels(torch.full((2, 2), -100), 4).masks.shape == (0, 2, 2)
