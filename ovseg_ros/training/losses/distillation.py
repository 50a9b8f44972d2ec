"""A CLIP image encoder teaches queries, held to how their words lie (GKC, arXiv 2303.09181, text-guided distillation).

V_i is the student's embedding of segment i (a query's), R_i the teacher's (of the segment cut out of the image) and T_i
that of its word, all unit vectors. What the student learns from R_j is set by T_i and T_j, so that it takes over how
things relate and not the noise of single crops. Pairs are those of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.training.losses.points import Draw
from ovseg_ros.training.losses.precision import in_float32

Form = Literal["folded", "separate", "image", "distance"]


@dataclass(frozen=True)
class Lesson:
    """The taught segments of one image: students, teachers and text, (m, D) float each; unit vectors."""

    students: Tensor
    teachers: Tensor
    text: Tensor


@in_float32
def distillation(lessons: Sequence[Lesson], scale: Tensor, form: Form = "folded") -> dict[str, Tensor]:
    """Distillation losses of a batch, not weighted.

    Args:
        lessons: one an image, some of them empty.
        scale: scalar, learned, s in the released code's forms.
        form: "folded", the released default: |V_i - R_i|^2 of every segment and (V_i R_j - s^2 T_i T_j)^2 of every
            pair, averaged together. "separate", the released alternative: the two averaged each. "image": the first
            kind alone, the image-guided distillation of the ablation. "distance": the paper's, see `distance_terms`.

    Returns:
        "distill", and for "separate" "distill_text": float32 scalars; 0 where no segment is taught.

    Raises:
        ValueError: no such form.
    """
    direct = torch.cat([((own.students - own.teachers) ** 2).sum(dim=1) for own in lessons])  # (m,)
    if form == "image":
        return {"distill": _mean(direct)}
    if form == "distance":
        return {"distill": _mean(torch.cat([distance_terms(own) for own in lessons]))}
    pairs = torch.cat([pair_terms(own, scale) for own in lessons])
    if form == "folded":
        return {"distill": _mean(torch.cat([pairs, direct]))}
    if form == "separate":
        return {"distill": _mean(direct), "distill_text": _mean(pairs)}
    raise ValueError(f"the form of distillation is {form!r}; expected folded, separate, image or distance")


def pair_terms(lesson: Lesson, scale: Tensor) -> Tensor:
    """(V_i R_j - s^2 T_i T_j)^2 of every pair: (m * m,)."""
    words = lesson.text * scale
    return ((lesson.students @ lesson.teachers.T - words @ words.T) ** 2).flatten()


def distance_terms(lesson: Lesson) -> Tensor:
    """sum_j | d(V_i, R_j) - d(T_i, T_j) | of every segment i: (m,).

    The paper's form as OpenTrans (arXiv 2404.07448) restates it; it leaves the distance open, and ours is the Euclidean
    one between unit vectors.
    """
    if not len(lesson.students):
        return lesson.students.sum(dim=1)
    between = _distances(lesson.students, lesson.teachers) - _distances(lesson.text, lesson.text)
    return between.abs().sum(dim=1)


def choose_segments(counts: Sequence[int], limit: int, draw: Draw) -> list[Tensor]:
    """Which segments of each image the teacher looks at, where a batch has more than it has time for.

    Args:
        counts: segments of each image.
        limit: the most of them in a batch, drawn at random from all.
        draw: where the random numbers come from.

    Returns:
        Ascending int64 indices for each image.
    """
    everything = torch.arange(sum(counts))
    if len(everything) > limit:
        everything = draw((len(everything),)).cpu().argsort()[:limit].sort().values
    chosen, start = [], 0
    for count in counts:
        chosen.append(everything[(everything >= start) & (everything < start + count)] - start)
        start += count
    return chosen


def unit(x: Tensor, floor: float = 1e-7) -> Tensor:
    """Rows of unit length as GKC's code makes them, x / (|x| + floor); a row of zeros stays one."""
    rows: Tensor = x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + floor)
    return rows


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean, with gradient 0 where two points coincide: (m, D), (n, D) -> (m, n)."""
    apart: Tensor = torch.cdist(a[None], b[None], compute_mode="donot_use_mm_for_euclid_dist")[0]
    return apart


def _mean(x: Tensor) -> Tensor:
    return x.sum() / max(1, x.numel())


def teach(students: Tensor, teachers: Tensor, text: Tensor) -> Lesson:
    """A lesson of raw embeddings (m, D) each; the text is used at the length it has."""
    return Lesson(F.normalize(students.float(), dim=1), F.normalize(teachers.float(), dim=1), text.float())
