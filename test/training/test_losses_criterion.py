"""Losses over matched queries and over all states, against loops; and what is empty."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
F = torch.nn.functional

from ovseg_ros.training.losses.classes import no_object_cross_entropy, pool_synonyms  # noqa: E402
from ovseg_ros.training.losses.criterion import (  # noqa: E402
    DEOP,
    EBSEG,
    MASK2FORMER,
    MASKFORMER,
    MaskLosses,
    criterion,
    mean_count,
    total,
)
from ovseg_ros.training.losses.points import uniform  # noqa: E402
from ovseg_ros.training.losses.structure import structure_consistency  # noqa: E402
from ovseg_ros.training.matching import MaskState, MatchCost, Segments  # noqa: E402

PAIRS = [(torch.tensor([0, 2]), torch.tensor([1, 0])), (torch.tensor([1]), torch.tensor([0]))]
LABELS = [torch.tensor([2, 0]), torch.tensor([1])]
SMALL = MaskLosses(points=16, cost=MatchCost(points=16))
NONE = Segments(torch.zeros(0, 8, 8), torch.zeros(0, dtype=torch.int64))


def seeded(seed: int = 0) -> Any:
    return uniform(generator=torch.Generator().manual_seed(seed))


def states(seed: int = 0, count: int = 2, sets: int = 1) -> list[MaskState]:
    """Two images, 5 queries, 3 classes and "no object", masks of 4 x 4; gradients wanted."""
    g = torch.Generator().manual_seed(seed)
    return [
        MaskState(
            torch.randn(2, 5, 4, 4, generator=g).requires_grad_(),
            tuple(torch.randn(2, 5, 4, generator=g).requires_grad_() for _ in range(sets)),
        )
        for _ in range(count)
    ]


def segments(*labels: int, seed: int = 1) -> Segments:
    g = torch.Generator().manual_seed(seed)
    return Segments(torch.rand(len(labels), 8, 8, generator=g) < 0.3, torch.tensor(labels, dtype=torch.int64))


def backward(loss: Any, leaves: list[MaskState]) -> None:
    """Every gradient is there and finite."""
    loss.backward()
    for state in leaves:
        for tensor in (state.masks, *state.classes):
            assert tensor.grad is not None
            assert bool(tensor.grad.isfinite().all())


@pytest.mark.parametrize("dropped", [None, [False, True, False], [True, True, True]])
@pytest.mark.parametrize("no_object", [0.1, 1.0, 0.0])
def test_cross_entropy_is_a_loop_over_queries(no_object: float, dropped: list[bool] | None) -> None:
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(3))
    truth = {(0, 0): 0, (0, 2): 2, (1, 1): 1}
    left_out = {key for key, out in zip(truth, dropped or [False] * 3, strict=True) if out}
    loss = weight = 0.0
    for n in range(2):
        for q in range(3):
            if (n, q) in left_out:
                continue
            own = truth.get((n, q), 3)
            share = no_object if own == 3 else 1.0
            row = logits[n, q].tolist()
            loss += share * (math.log(sum(map(math.exp, row))) - row[own])
            weight += share
    flags = None if dropped is None else torch.tensor(dropped)
    found = no_object_cross_entropy(logits, PAIRS, LABELS, no_object, flags)
    assert float(found) == pytest.approx(loss / weight if weight else 0.0, rel=1e-5)


def test_cross_entropy_of_no_query_is_zero_and_teaches_nothing() -> None:
    logits = torch.randn(1, 1, 4, requires_grad=True)
    pairs = [(torch.tensor([0]), torch.tensor([0]))]
    loss = no_object_cross_entropy(logits, pairs, [torch.tensor([1])], dropped=torch.tensor([True]))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_synonyms_are_pooled_class_by_class(pool: Any) -> None:
    logits = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(4))
    owner = torch.tensor([2, 0, 2, 1, 2])
    found = pool_synonyms(logits, owner, 3, pool)
    for n in range(2):
        for q in range(3):
            for c in range(3):
                own = [float(logits[n, q, i]) for i in range(5) if owner[i] == c]
                expected = max(own) if pool == "max" else sum(own) / len(own)
                assert float(found[n, q, c]) == pytest.approx(expected, abs=1e-6)
    assert torch.equal(found[..., 3], logits[..., 5])


@pytest.mark.parametrize("owner", [[0, 0, 2], [0, 1, 3]])
def test_a_class_without_a_name_is_refused(owner: list[int]) -> None:
    with pytest.raises(ValueError, match="expected at least one for each of the 3 classes"):
        pool_synonyms(torch.zeros(1, 1, 4), torch.tensor(owner), 3, "max")


def test_maskformers_losses_are_loops_over_pixels() -> None:
    """DeOP's second stage: focal and dice on masks upsampled to the truth, one query and one segment an image."""
    masks = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    truth = [segments(2, seed=6), segments(0, seed=7)]
    terms, _ = criterion([MaskState(masks, (torch.zeros(2, 1, 4),))], truth, MASKFORMER)
    focal = dice = 0.0
    for n in range(2):
        up = F.interpolate(masks[n : n + 1], size=(8, 8), mode="bilinear", align_corners=False)
        both = claimed = true = own = 0.0
        for x, t in zip(up.flatten().tolist(), truth[n].masks.flatten().tolist(), strict=True):
            p = 1 / (1 + math.exp(-x))
            right = p if t else 1 - p
            own -= (0.25 if t else 0.75) * (1 - right) ** 2 * math.log(right)
            both, claimed, true = both + p * t, claimed + p, true + t
        focal += own / 64 / 2
        dice += (1 - (2 * both + 1) / (claimed + true + 1)) / 2
    assert terms["mask"].item() == pytest.approx(20 * focal, rel=1e-5)
    assert terms["dice"].item() == pytest.approx(dice, rel=1e-5)
    assert terms["class"].item() == pytest.approx(math.log(4), rel=1e-5)


def test_sizes_of_truth_may_differ_between_images() -> None:
    truth = [segments(0, 1), Segments(torch.rand(1, 12, 16) < 0.5, torch.tensor([2]))]
    for losses in (MASKFORMER, SMALL):
        terms, _ = criterion(states(), truth, losses, seeded())
        assert all(bool(loss.isfinite()) for loss in terms.values())


def test_every_state_is_matched_and_weighed_by_itself() -> None:
    both = states(8, count=2)
    truth = [segments(0, 1), segments(2)]
    terms, pairs = criterion(both, truth, SMALL, seeded())
    alone, alone_pairs = criterion(both[1:], truth, SMALL, seeded())
    assert set(terms) == {"mask", "dice", "class", "mask/0", "dice/0", "class/0"}
    assert len(pairs) == 2
    for name, own in alone.items():  # the last state draws first, so it draws the same
        assert terms[name].item() == pytest.approx(own.item())
    assert all(torch.equal(a[0], b[0]) for a, b in zip(pairs[1], alone_pairs[0], strict=True))
    loss, logged = total(terms)
    assert loss.item() == pytest.approx(sum(term.item() for term in terms.values()), rel=1e-6)
    assert logged["mask"] == pytest.approx((terms["mask"] + terms["mask/0"]).item(), rel=1e-6)
    backward(loss, both)


@pytest.mark.parametrize("losses", [SMALL, MASKFORMER], ids=["points", "pixels"])
@pytest.mark.parametrize(
    "truth",
    [
        [NONE, NONE],
        [NONE, segments(1)],
        [segments(0, 1, 2, 0, 1, 2, 0), segments(1)],
        [Segments(torch.zeros(2, 8, 8, dtype=torch.bool), torch.tensor([0, 1])), NONE],
    ],
    ids=["no segments", "an image without", "more segments than queries", "empty masks"],
)
def test_what_is_empty_has_finite_losses_and_gradients(truth: list[Segments], losses: MaskLosses) -> None:
    both = states()
    loss, logged = total(criterion(both, truth, losses, seeded())[0])
    assert math.isfinite(loss.item())
    if not any(len(own.labels) for own in truth):
        assert logged["mask"] == logged["dice"] == 0.0
    backward(loss, both)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_has_losses_in_float32(dtype: Any) -> None:
    """As exact as the same half precision numbers in float32, under autocast as well."""
    half = [MaskState(s.masks.detach().to(dtype), tuple(c.detach().to(dtype) for c in s.classes)) for s in states()]
    exact = [MaskState(s.masks.float(), tuple(c.float() for c in s.classes)) for s in half]
    truth = [segments(0), segments(1, 2)]
    expected, _ = criterion(exact, truth, SMALL, seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = criterion(half, truth, SMALL, seeded())
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-5)


def test_more_weights_than_class_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="1 sets of class logits for 2 weights"):
        criterion(states(), [NONE, NONE], EBSEG)


def test_a_term_that_is_not_finite_is_named() -> None:
    with pytest.raises(FloatingPointError, match="the loss term dice/3 is nan"):
        total({"mask": torch.tensor(1.0), "dice/3": torch.tensor(math.nan)})


def test_processes_divide_by_their_mean_number_of_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = [segments(0, 1, 2), segments(1)]
    assert float(mean_count(truth, torch.device("cpu"))) == 4
    assert float(mean_count([NONE], torch.device("cpu"))) == 1
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count: count.add_(10))  # the other process has 10
    assert float(mean_count(truth, torch.device("cpu"))) == 7


def test_the_presets_are_the_papers_recipes() -> None:
    assert (MASK2FORMER.points, MASK2FORMER.oversample, MASK2FORMER.importance) == (12_544, 3.0, 0.75)
    assert (EBSEG.mask, EBSEG.dice, EBSEG.no_object, EBSEG.cost.classes) == (5.0, 5.0, 0.1, 2.0)
    assert (MASKFORMER.mask, MASKFORMER.dice, MASKFORMER.classes) == (20.0, 1.0, (1.0,))


def test_deop_matches_masks_whatever_their_class() -> None:
    one, other = states(1, count=1), states(2, count=1)
    truth = [segments(0, 1, 2), segments(2)]
    swapped = [MaskState(one[0].masks, other[0].classes)]
    for losses, same in ((DEOP, True), (MASKFORMER, False)):
        found = [criterion(own, truth, losses)[1][0] for own in (one, swapped)]
        assert all(torch.equal(a[0], b[0]) for a, b in zip(*found, strict=True)) == same


def test_structure_is_a_loop_over_pairs_of_segments() -> None:
    g = torch.Generator().manual_seed(9)
    embeddings, text = torch.randn(2, 3, 6, generator=g), F.normalize(torch.randn(3, 6, generator=g), dim=1)
    images = []
    for n, (queries, own) in enumerate(PAIRS):
        errors = [
            (float(embeddings[n, a] @ embeddings[n, b]) - float(text[LABELS[n][i]] @ text[LABELS[n][j]])) ** 2
            for a, i in zip(queries, own, strict=True)
            for b, j in zip(queries, own, strict=True)
        ]
        images.append(sum(errors) / len(errors))
    found = structure_consistency(embeddings, PAIRS, LABELS, text)
    assert float(found) == pytest.approx(sum(images) / 2, rel=1e-5)


def test_structure_without_a_mean_is_zero_for_the_whole_batch() -> None:
    embeddings = torch.randn(2, 3, 6)
    text = F.normalize(torch.randn(3, 6), dim=1)
    none = (torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert float(structure_consistency(embeddings, [PAIRS[0], none], LABELS, text)) == 0.0
    embeddings[1] = math.nan
    assert float(structure_consistency(embeddings, PAIRS, LABELS, text)) == 0.0
