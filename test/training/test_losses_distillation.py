"""Distillation, diversified names and losses of class maps, against loops over segments and pixels."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
F = torch.nn.functional

from ovseg_ros.training.losses.criterion import MaskLosses, total  # noqa: E402
from ovseg_ros.training.losses.distillation import Form, Lesson, choose_segments, distillation  # noqa: E402
from ovseg_ros.training.losses.gkc import GkcLosses, GkcState, GkcTeaching, GkcWords, gkc_terms  # noqa: E402
from ovseg_ros.training.losses.per_pixel import (  # noqa: E402
    deop_terms,
    pixel_binary_cross_entropy,
    pixel_cross_entropy,
)
from ovseg_ros.training.losses.points import uniform  # noqa: E402
from ovseg_ros.training.losses.structure import structure_consistency  # noqa: E402
from ovseg_ros.training.matching import MatchCost, Segments  # noqa: E402

SCALE = torch.tensor(0.9)


def seeded(seed: int = 0) -> Any:
    return uniform(generator=torch.Generator().manual_seed(seed))


def lessons(*counts: int) -> list[Lesson]:
    g = torch.Generator().manual_seed(1)
    return [Lesson(*(F.normalize(torch.randn(m, 5, generator=g), dim=1) for _ in range(3))) for m in counts]


def loops(batch: list[Lesson]) -> tuple[list[float], list[float], list[float]]:
    """Direct terms, pair terms and the paper's terms."""
    direct, pairs, distances = [], [], []
    for own in batch:
        v, r, t = own.students, own.teachers, own.text
        for i in range(len(v)):
            direct.append(sum((a - b) ** 2 for a, b in zip(v[i].tolist(), r[i].tolist(), strict=True)))
            row = 0.0
            for j in range(len(v)):
                pairs.append((float(v[i] @ r[j]) - 0.9**2 * float(t[i] @ t[j])) ** 2)
                row += abs(math.dist(v[i].tolist(), r[j].tolist()) - math.dist(t[i].tolist(), t[j].tolist()))
            distances.append(row)
    return direct, pairs, distances


def mean(x: list[float]) -> float:
    return sum(x) / len(x) if x else 0.0


@pytest.mark.parametrize("counts", [(3, 2), (4, 0), (1,), (0, 0)])
def test_every_form_is_a_loop_over_segments(counts: tuple[int, ...]) -> None:
    batch = lessons(*counts)
    direct, pairs, distances = loops(batch)
    expected: dict[Form, dict[str, float]] = {
        "folded": {"distill": mean(pairs + direct)},
        "separate": {"distill": mean(direct), "distill_text": mean(pairs)},
        "image": {"distill": mean(direct)},
        "distance": {"distill": mean(distances)},
    }
    for form, terms in expected.items():
        found = distillation(batch, SCALE, form)
        assert set(found) == set(terms)
        for name, value in terms.items():
            assert float(found[name]) == pytest.approx(value, rel=1e-4, abs=1e-7)


def test_a_student_that_equals_its_teacher_has_a_finite_gradient() -> None:
    own = lessons(2)[0]
    student = own.teachers.clone().requires_grad_()
    distillation([Lesson(student, own.teachers, own.text)], SCALE, "distance")["distill"].backward()
    assert bool(student.grad.isfinite().all())


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="'cosine'; expected folded, separate, image or distance"):
        distillation(lessons(2), SCALE, "cosine")  # type: ignore[arg-type]


@pytest.mark.parametrize(("counts", "limit"), [((4, 0, 5), 6), ((4, 0, 5), 9), ((2, 3), 1), ((0,), 3)])
def test_the_teacher_is_shown_at_most_so_many_segments(counts: tuple[int, ...], limit: int) -> None:
    chosen = choose_segments(counts, limit, seeded())
    assert sum(map(len, chosen)) == min(limit, sum(counts))
    for own, count in zip(chosen, counts, strict=True):
        assert own.tolist() == sorted(set(own.tolist()))
        assert all(0 <= i < count for i in own.tolist())
    if limit < sum(counts):
        assert any(
            [c.tolist() for c in chosen] != [c.tolist() for c in choose_segments(counts, limit, seeded(s))]
            for s in range(1, 9)
        )


class Case:
    """A small batch for GKC: 2 images, 4 queries, 3 classes, two states."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(2)

        def randn(*shape: int) -> Any:
            return torch.randn(*shape, generator=g)

        self.states = [
            GkcState(*(randn(2, 4, *end).requires_grad_() for end in ((4, 4), (6,), (5,)))) for _ in range(2)
        ]
        self.truth = [
            Segments(torch.rand(3, 8, 8, generator=g) < 0.4, torch.tensor([0, 2, 1])),
            Segments(torch.rand(1, 8, 8, generator=g) < 0.4, torch.tensor([2])),
        ]
        self.text, self.no_object = randn(3, 6), randn(1, 6).requires_grad_()
        self.names = randn(2, 5, 6)
        self.teachers = [randn(3, 5), randn(1, 5)]
        self.scale = torch.tensor(5.0, requires_grad=True)
        self.losses = GkcLosses(masks=MaskLosses(classes=(), points=16, cost=MatchCost(points=16)), region_dropout=0.0)

    def words(self, **names: Any) -> GkcWords:
        return GkcWords(self.text, self.no_object, self.scale, **names)

    def teaching(self, *segments: list[int]) -> GkcTeaching:
        chosen = [torch.tensor(own, dtype=torch.int64) for own in segments]
        return GkcTeaching(chosen, [all_[own] for all_, own in zip(self.teachers, chosen, strict=True)], SCALE)

    def terms(self, words: GkcWords, teaching: GkcTeaching | None = None, **changes: Any) -> dict[str, Any]:
        losses = GkcLosses(**{**vars(self.losses), **changes})
        return gkc_terms(self.states, self.truth, words, teaching, losses, seeded())


def test_without_names_and_teacher_only_masks_and_classes_are_trained() -> None:
    case = Case()
    terms = case.terms(case.words())
    assert set(terms) == {"mask", "dice", "class", "mask/0", "dice/0", "class/0"}


def test_filling_rows_take_no_part_where_they_are_declared() -> None:
    case = Case()
    labels = [torch.tensor([0, 2, 1]), torch.tensor([2])]
    real = torch.tensor([[True, True, True, False, False]] * 2)
    filled = case.terms(case.words(names=case.names, labels=labels, real=real))
    short = case.terms(case.words(names=case.names[:, :3], labels=labels))
    counted = case.terms(case.words(names=case.names, labels=labels))
    assert filled["synonym"].item() == pytest.approx(short["synonym"].item(), rel=1e-5)
    assert counted["synonym"].item() > short["synonym"].item()  # as the published code: extra negatives
    total(filled)[0].backward()
    assert all(bool(state.embeddings.grad.isfinite().all()) for state in case.states)


def test_only_segments_that_the_teacher_saw_are_taught() -> None:
    case = Case()
    some = case.terms(case.words(), case.teaching([2, 0], []))
    case.teachers[0][1] = math.nan  # the others are never looked at
    case.teachers[1][0] = math.nan
    same = case.terms(case.words(), case.teaching([2, 0], []))
    assert some["distill"].item() == same["distill"].item() > 0
    none = case.terms(case.words(), case.teaching([], []))
    assert none["distill"].item() == none["distill/0"].item() == 0.0


def test_the_order_of_the_teachers_segments_does_not_matter() -> None:
    case = Case()
    one = case.terms(case.words(), case.teaching([0, 1, 2], [0]))
    other = case.terms(case.words(), case.teaching([2, 0, 1], [0]))
    for name in ("distill", "distill/0"):
        assert one[name].item() == pytest.approx(other[name].item(), rel=1e-6)


@pytest.mark.parametrize("form", ["folded", "separate", "image", "distance"])
def test_every_form_trains_the_students(form: Form) -> None:
    case = Case()
    terms = case.terms(case.words(), case.teaching([0, 1, 2], [0]), form=form)
    assert ("distill_text" in terms) == (form == "separate")
    total(terms)[0].backward()
    assert all(float(state.students.grad.abs().max()) > 0 for state in case.states)


def test_region_dropout_leaves_matched_queries_out_of_the_cross_entropy_alone() -> None:
    case = Case()
    plain, dropped = case.terms(case.words()), case.terms(case.words(), region_dropout=1.0)
    assert plain["mask"].item() == dropped["mask"].item()
    assert plain["class"].item() != dropped["class"].item()
    total(dropped)[0].backward()
    pushed = [int((state.embeddings.grad.abs().sum(dim=2) > 0).sum()) for state in case.states]
    assert pushed == [4, 4]  # 8 queries, 4 of them matched and dropped


def test_a_batch_without_segments_is_finite() -> None:
    case = Case()
    none = Segments(torch.zeros(0, 8, 8), torch.zeros(0, dtype=torch.int64))
    case.truth = [none, none]
    empty = [torch.zeros(0, dtype=torch.int64)] * 2
    words = case.words(names=case.names, labels=empty)
    loss, _ = total(case.terms(words, case.teaching([], []), region_dropout=0.5))
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(bool(state.embeddings.grad.isfinite().all()) for state in case.states)


def test_autocast_rounds_nothing() -> None:
    exact, rounded = Case(), Case()
    words = {"names": exact.names, "labels": [torch.tensor([0, 2, 1]), torch.tensor([2])]}
    expected = exact.terms(exact.words(**words), exact.teaching([0, 1, 2], [0]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = rounded.terms(rounded.words(**words), rounded.teaching([0, 1, 2], [0]))
    for name, loss in expected.items():
        assert found[name].item() == pytest.approx(loss.item(), rel=1e-6)


def test_autocast_rounds_no_class_map_and_no_gram_matrix() -> None:
    g = torch.Generator().manual_seed(6)
    logits, masks = torch.randn(1, 3, 4, generator=g), torch.randn(1, 3, 4, 4, generator=g)
    targets = torch.randint(3, (1, 4, 4), generator=g)
    embeddings, text = torch.randn(1, 3, 8, generator=g), torch.randn(3, 8, generator=g)
    pairs = [(torch.tensor([0, 2]), torch.tensor([1, 0]))]
    exact = (deop_terms(logits, masks, targets), structure_consistency(embeddings, pairs, [torch.arange(2)], text))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = (deop_terms(logits, masks, targets), structure_consistency(embeddings, pairs, [torch.arange(2)], text))
    assert found[0]["focal"].item() == pytest.approx(exact[0]["focal"].item(), rel=1e-6)
    assert found[0]["dice"].item() == pytest.approx(exact[0]["dice"].item(), rel=1e-6)
    assert found[1].item() == pytest.approx(exact[1].item(), rel=1e-6)


def test_names_without_owner_or_labels_are_refused() -> None:
    case = Case()
    with pytest.raises(ValueError, match="names need either their owner"):
        case.words(names=case.names)


def test_teaching_without_students_is_refused() -> None:
    case = Case()
    case.states = [GkcState(state.masks, state.embeddings) for state in case.states]
    with pytest.raises(ValueError, match="a state has no students"):
        case.terms(case.words(), case.teaching([0], []))


def test_deops_third_stage_is_a_loop_over_pixels() -> None:
    g = torch.Generator().manual_seed(3)
    logits, masks = torch.randn(2, 3, 4, generator=g), torch.randn(2, 3, 4, 4, generator=g)
    targets = torch.randint(3, (2, 4, 4), generator=g)
    targets[0, :2] = -100
    focal, dice = 0.0, 0.0
    for n in range(2):
        both = claimed = true = 0.0
        for y in range(4):
            for x in range(4):
                shares = logits[n].softmax(dim=1).T @ masks[n, :, y, x].sigmoid()  # (4,)
                own = 3 if targets[n, y, x] == -100 else int(targets[n, y, x])
                for c, share in enumerate(shares.tolist()):
                    p = 1 / (1 + math.exp(3 - 3 * share))
                    right = p if c == own else 1 - p
                    focal -= (0.25 if c == own else 0.75) * (1 - right) ** 2 * math.log(min(max(right, 1e-4), 0.9999))
                    if c < 3:
                        both, claimed, true = both + p * (c == own), claimed + p, true + (c == own)
        dice += (1 - (2 * both + 1) / (claimed + true + 1)) / 2
    terms = deop_terms(logits, masks, targets)
    assert terms["focal"].item() == pytest.approx(2.0 * focal / (2 * 4 * 16), rel=1e-4)
    assert terms["dice"].item() == pytest.approx(0.8 * dice, rel=1e-5)


@pytest.mark.parametrize("ignored", [False, True])
def test_class_maps_are_loops_over_pixels(ignored: bool) -> None:
    g = torch.Generator().manual_seed(4)
    logits, targets = torch.randn(2, 3, 2, 2, generator=g), torch.randint(3, (2, 4, 4), generator=g)
    targets[0, 0] = 255
    if ignored:
        targets[:] = 255
    up = F.interpolate(logits, size=(4, 4), mode="bilinear", align_corners=False)
    entropy, binary, known = 0.0, 0.0, 0
    for n in range(2):
        for y in range(4):
            for x in range(4):
                row, own = up[n, :, y, x].tolist(), int(targets[n, y, x])
                if own != 255:
                    entropy += math.log(sum(map(math.exp, row))) - row[own]
                    known += 1
                binary += sum(math.log1p(math.exp(-s if c == own else s)) for c, s in enumerate(row))
    assert float(pixel_cross_entropy(logits, targets, 255)) == pytest.approx(entropy / max(known, 1), rel=1e-5)
    assert float(pixel_binary_cross_entropy(logits, targets, 255)) == pytest.approx(binary / 96, rel=1e-5)


@pytest.mark.parametrize("label", [-1, 3, 255])
def test_pixels_of_unknown_classes_are_refused(label: int) -> None:
    targets = torch.full((1, 4, 4), label)
    for loss in (pixel_cross_entropy, pixel_binary_cross_entropy):
        with pytest.raises(ValueError, match=f"a pixel's class is {label}; expected 0 to 2, or -100"):
            loss(torch.zeros(1, 3, 4, 4), targets)
    with pytest.raises(ValueError, match=f"a pixel's class is {label}"):
        deop_terms(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4, 4), targets)


def test_masks_of_nothing_and_of_everything_have_finite_gradients_in_the_third_stage() -> None:
    for value in (-1e4, 1e4):
        masks = torch.full((1, 2, 4, 4), value, requires_grad=True)
        logits = torch.randn(1, 2, 4, requires_grad=True)
        total(deop_terms(logits, masks, torch.full((1, 4, 4), -100)))[0].backward()
        assert bool(masks.grad.isfinite().all())
        assert bool(logits.grad.isfinite().all())
