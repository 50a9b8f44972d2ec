"""GKC's loss (arXiv 2303.09181): masks, plain classes, diversified classes and distillation, on every state.

"Text diversification" trains the same query against other names of its class: names drawn anew for each region, which
make a list of classes of their own for each image ("thresRand"), or all names of a class pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ovseg_ros.training.losses.classes import Pool, no_object_cross_entropy, pool_synonyms
from ovseg_ros.training.losses.criterion import MaskLosses, Terms, criterion
from ovseg_ros.training.losses.distillation import Form, Lesson, distillation, teach, unit
from ovseg_ros.training.losses.points import Draw, uniform
from ovseg_ros.training.losses.precision import in_float32
from ovseg_ros.training.matching import MaskState, Matching, Segments

NEVER = -1e4  # logit of a word that a picture is not asked about: no share in its softmax


@dataclass(frozen=True)
class GkcState:
    """What one state of the decoder gives: masks (N, Q, h, w) logits, region embeddings v (N, Q, D) of any length, and
    the student's embeddings (N, Q, D') for the teacher, None where nothing is distilled."""

    masks: Tensor
    embeddings: Tensor
    students: Tensor | None = None


@dataclass(frozen=True)
class GkcWords:
    """The words of a batch, embeddings of any length.

    Attributes:
        text: (K, D), a plain name a class.
        no_object: (1, D), learned.
        scale: scalar, from cosines to logits.
        names: the diversified names; (L, D), and `owner` says whose, or (N, L, D), drawn for each image, and `labels`
            says which; None leaves diversification out.
        owner: (L,) int64 in 0..K-1, for names pooled by class.
        labels: (M,) int64 in 0..L-1 for each image, the drawn name of each of its segments.
        real: (N, L) bool, False for rows that only fill an image's list up; None takes every row for a class, as the
            released code does, whose filling rows are extra negatives.
        asked: (N, K) bool, False for classes that count neither for nor against an image, for data sets that label
            different things; None asks every image about all. Drawn names take it from the class whose place they
            hold, appended ones always count.
    """

    text: Tensor
    no_object: Tensor
    scale: Tensor
    names: Tensor | None = None
    owner: Tensor | None = None
    labels: Sequence[Tensor] | None = None
    real: Tensor | None = None
    asked: Tensor | None = None

    def __post_init__(self) -> None:
        if self.names is not None and (self.owner is None) == (self.labels is None):
            raise ValueError("names need either their owner (pooled by class) or labels (drawn for each segment)")


@dataclass(frozen=True)
class GkcTeaching:
    """What the frozen teacher says.

    Attributes:
        segments: (t,) int64 for each image, the segments it was shown.
        embeddings: (t, D') float for each image, of any length.
        scale: scalar, learned, s of `distillation.distillation`.
    """

    segments: Sequence[Tensor]
    embeddings: Sequence[Tensor]
    scale: Tensor


@dataclass(frozen=True)
class GkcLosses:
    """Weights and forms; the defaults are the paper's recipe.

    Attributes:
        masks: mask losses and matching, by plain names.
        plain, synonyms, distill, distill_text: weights; the last one is for the form "separate" alone.
        no_object: weight of unmatched queries in the cross entropies.
        region_dropout: share of the matched queries that a cross entropy leaves out, drawn anew for each.
        pool: how the names of a class are pooled.
        form: of the distillation.
    """

    masks: MaskLosses = field(default_factory=lambda: MaskLosses(classes=()))
    plain: float = 2.0
    synonyms: float = 10.0
    distill: float = 10.0
    distill_text: float = 10.0
    no_object: float = 0.1
    region_dropout: float = 0.5
    pool: Pool = "max"
    form: Form = "folded"


@in_float32
def gkc_terms(
    states: Sequence[GkcState],
    truth: Sequence[Segments],
    words: GkcWords,
    teaching: GkcTeaching | None,
    losses: GkcLosses,
    draw: Draw | None = None,
) -> Terms:
    """All terms of one step.

    Args:
        states: in the decoder's order, the last one being what is deployed.
        truth: the segments of each image, labels in 0..K-1.
        words: text.
        teaching: None leaves distillation out.
        losses: weights.
        draw: where random numbers come from: points as `criterion.criterion`, then (m,) a cross entropy for region
            dropout, all plain ones first, the last state before the others.

    Returns:
        Weighted terms "mask", "dice", "class", "synonym", "distill" (and "distill_text"), those of the earlier states
        with their number behind a slash.
    """
    draw = draw or uniform(states[-1].masks.device)
    regions = [unit(state.embeddings.float()) * words.scale for state in states]
    plain = unit(torch.cat([words.text, words.no_object]))  # (K + 1, D)
    logits = [_among(region @ plain.T, words.asked) for region in regions]  # (N, Q, K + 1)
    masks = [MaskState(state.masks, (own,)) for state, own in zip(states, logits, strict=True)]
    terms, pairs = criterion(masks, truth, losses.masks, draw)
    order = _last_first(len(states))
    labels = [segments.labels for segments in truth]
    for i, suffix in order.items():
        loss = no_object_cross_entropy(logits[i], pairs[i], labels, losses.no_object, _dropped(pairs[i], losses, draw))
        terms["class" + suffix] = losses.plain * loss
    if words.names is not None:
        for i, suffix in order.items():
            own = _name_logits(regions[i], words, losses)
            named = words.labels or labels
            loss = no_object_cross_entropy(own, pairs[i], named, losses.no_object, _dropped(pairs[i], losses, draw))
            terms["synonym" + suffix] = losses.synonyms * loss
    if teaching is not None:
        for i, suffix in order.items():
            lessons = _lessons(states[i], pairs[i], labels, words, teaching)
            found = distillation(lessons, teaching.scale, losses.form)
            terms["distill" + suffix] = losses.distill * found["distill"]
            if "distill_text" in found:
                terms["distill_text" + suffix] = losses.distill_text * found["distill_text"]
    return terms


def _name_logits(region: Tensor, words: GkcWords, losses: GkcLosses) -> Tensor:
    """Logits of the diversified names, or of the classes pooled from them: (N, Q, D) -> (N, Q, L + 1 or K + 1)."""
    assert words.names is not None
    n = len(region)
    names = words.names.expand(n, *words.names.shape[-2:])
    names = unit(torch.cat([names, words.no_object.expand(n, 1, -1)], dim=1))  # (N, L + 1, D)
    logits = region @ names.transpose(1, 2)
    if words.owner is not None:
        return _among(pool_synonyms(logits, words.owner, len(words.text), losses.pool), words.asked)
    if words.real is not None:
        filled = torch.cat([~words.real, words.real.new_zeros(n, 1)], dim=1)  # (N, L + 1)
        logits = logits.masked_fill(filled[:, None].to(logits.device), -torch.inf)
    return _among(logits, words.asked)


def _among(logits: Tensor, asked: Tensor | None) -> Tensor:
    """Logits (N, Q, L + 1) without the classes, the first of their columns, that an image is not asked about."""
    if asked is None:
        return logits
    rest = asked.new_ones(len(asked), logits.shape[2] - asked.shape[1])
    return logits.masked_fill(~torch.cat([asked, rest], dim=1)[:, None].to(logits.device), NEVER)


def _lessons(
    state: GkcState, pairs: Matching, labels: Sequence[Tensor], words: GkcWords, teaching: GkcTeaching
) -> list[Lesson]:
    """For each image, the segments that have a query and were shown to the teacher.

    Their words are the drawn names where names are drawn, and the plain ones otherwise.
    """
    if state.students is None:
        raise ValueError("there is teaching, but a state has no students; give every state its student embeddings")
    drawn = words.names is not None and words.labels is not None
    lessons = []
    for i, (queries, segments) in enumerate(pairs):
        table = words.names[i] if drawn else words.text  # type: ignore[index]
        own = (words.labels if drawn else labels)[i]  # type: ignore[index]
        taught = segments[:, None] == teaching.segments[i][None].to(segments.device)  # (m, t)
        pair, place = taught.nonzero(as_tuple=True)
        words_of = own[segments[pair].to(own.device)].to(table.device)
        students = state.students[i][queries[pair].to(state.students.device)]
        teachers = teaching.embeddings[i][place.to(teaching.embeddings[i].device)]
        lessons.append(teach(students, teachers.detach(), unit(table.float())[words_of]))
    return lessons


def _dropped(pairs: Matching, losses: GkcLosses, draw: Draw) -> Tensor | None:
    """Which matched queries a cross entropy leaves out: (m,) bool."""
    if not losses.region_dropout:
        return None
    return draw((sum(len(queries) for queries, _ in pairs),)) < losses.region_dropout


def _last_first(states: int) -> dict[int, str]:
    """Each state and what its terms' names end in, the last state first."""
    return {states - 1: "", **{i: f"/{i}" for i in range(states - 1)}}
