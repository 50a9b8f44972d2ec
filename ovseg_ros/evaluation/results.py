"""The scores of all images added up to a report, in which every number stands with what it depends on."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.metrics import Confusion, harmonic
from ovseg_ros.evaluation.scores import ImageScore, Question
from ovseg_ros.evaluation.subjects import Identity
from ovseg_ros.prompts import PROMPT_SETS
from ovseg_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class ClassScore:
    """One row of the per-class table; shares in 0..1, None where nothing can be said."""

    name: str
    iou: float | None
    accuracy: float | None
    boundary_f: float | None
    pixels: int
    seen: bool | None


@dataclass(frozen=True)
class Report:
    """The result of one evaluation; scores lie in 0..1, and None stands for what cannot be said.

    Attributes:
        model, dataset: what was measured on what.
        miou: mean IoU; which classes it averages over is said in `protocol` where it is not all that occur.
        per_class: IoU by class, of those that occur in the truth.
        images: how many.
        protocol: how images were fed.
        prompts: the prompt templates.
        classes_hash: first 16 hex digits of SHA-256 over the words asked for.
        weights_hash: SHA-256 of the graph with its weights.
        backend: backend, version, device and precision.
        engine_ms: mean time in the engine per image, milliseconds.
        seconds: wall time of the whole evaluation.
        prompt_set: name of the templates, P0, P1, P14 or P80; "own" for others.
        fwiou, macc, pacc: frequency-weighted IoU, mean accuracy, pixel accuracy.
        seen_miou, unseen_miou, hiou: over classes that training knew, over the others, and their harmonic mean.
        boundary_f, trimap_miou: see `boundary`.
        tolerance: of these two, a share of the diagonal.
        classes: the per-class table, every evaluated class.
        per_image: mean IoU of each image by name, over the classes it shows.
    """

    model: str
    dataset: str
    miou: float
    per_class: dict[str, float]
    images: int
    protocol: str
    prompts: list[str]
    classes_hash: str
    weights_hash: str
    backend: str
    engine_ms: float
    seconds: float
    prompt_set: str = "own"
    fwiou: float | None = None
    macc: float | None = None
    pacc: float | None = None
    seen_miou: float | None = None
    unseen_miou: float | None = None
    hiou: float | None = None
    boundary_f: float | None = None
    trimap_miou: float | None = None
    tolerance: float | None = None
    classes: tuple[ClassScore, ...] = ()
    per_image: tuple[tuple[str, float | None], ...] = ()

    def json(self) -> str:
        """As JSON, one key a field; without `per_image`, which has a file of its own (`write`)."""
        content = asdict(self)
        del content["per_image"]
        return json.dumps(_without_nan(content), indent=2)

    def prompt_line(self) -> str:
        """The prompt set's name, or the first of other templates."""
        if self.prompt_set != "own" or not self.prompts:
            return self.prompt_set
        return f"{self.prompts[0]!r}" + (f" and {len(self.prompts) - 1} more" if len(self.prompts) > 1 else "")

    def provenance(self) -> str:
        """What the numbers depend on, in one line."""
        return (
            f"protocol {self.protocol}; prompts {self.prompt_line()}; classes {self.classes_hash}; "
            f"weights {self.weights_hash[:16]}; {self.backend}"
        )

    def summary(self) -> dict[str, float]:
        """The scores that there are, by the name they are printed with."""
        share = "" if self.tolerance is None else f" at {100 * self.tolerance:g} % of the diagonal"
        named = {
            "mIoU": self.miou,
            "fwIoU": self.fwiou,
            "mACC": self.macc,
            "pACC": self.pacc,
            "mIoU, seen classes": self.seen_miou,
            "mIoU, unseen classes": self.unseen_miou,
            "hIoU": self.hiou,
            f"boundary F{share}": self.boundary_f,
            f"trimap mIoU{share}": self.trimap_miou,
        }
        return {name: value for name, value in named.items() if value is not None}

    def table(self) -> str:
        """As lines for a terminal."""
        head = f"{self.model} on {self.dataset}: mIoU {self.miou:.4f} over {self.images} images"
        others = [f"{name} {value:.4f}" for name, value in self.summary().items() if name != "mIoU"]
        rows = [f"{name:20s} {value:6.3f}" for name, value in self.per_class.items()]
        lines = [head, ", ".join(others), *rows, self.provenance(), f"{self.engine_ms:.1f} ms an image in the engine"]
        return "\n".join(line for line in lines if line)

    def write(self, folder: Path) -> None:
        """Write `report.json` and `images.csv` (mean IoU of each image) into a folder."""
        (folder / "report.json").write_text(self.json() + "\n", encoding="utf-8")
        with (folder / "images.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("image", "miou"), *self.per_image])


def summarise(
    question: Question, identity: Identity, vocabulary: Vocabulary, scores: Iterable[ImageScore], seconds: float
) -> Report:
    """Add images up; in the order of their indices, so that the sum of the boundary scores is always the same.

    Args:
        question: what was asked.
        identity: of the model.
        vocabulary: the words with the templates that were in force.
        scores: one an image.
        seconds: wall time.
    """
    rows = sorted(scores, key=lambda score: score.index)
    k = len(question.classes)
    whole, near = Confusion(k), Confusion(k)
    outline = np.zeros((2, k))  # sum and number of F-scores by class
    for row in rows:
        whole.add_counts(row.counts)
        if row.near is not None and row.boundary is not None:
            near.add_counts(row.near)
            known = ~np.isnan(row.boundary.scores)
            outline[0, row.boundary.classes[known]] += row.boundary.scores[known]
            outline[1, row.boundary.classes[known]] += 1
    edges = np.divide(outline[0], outline[1], out=np.full(k, np.nan), where=outline[1] > 0)
    chosen = list(range(k)) if question.scored is None else list(question.scored)
    groups = _groups(question, whole)
    asked = json.dumps([vocabulary.classes, vocabulary.templates])
    named = (name for name, templates in PROMPT_SETS.items() if templates == vocabulary.templates)
    return Report(
        model=identity.model,
        dataset=question.dataset,
        miou=round(whole.miou(chosen, question.over), 4),
        per_class=whole.per_class(question.classes),
        images=len(rows),
        protocol=identity.protocol + (f"; {question.note}" if question.note else ""),
        prompts=list(vocabulary.templates),
        classes_hash=hashlib.sha256(asked.encode()).hexdigest()[:16],
        weights_hash=identity.weights_hash,
        backend=identity.backend,
        engine_ms=round(float(np.mean([row.engine_ms for row in rows])), 2) if rows else 0.0,
        seconds=round(seconds, 1),
        prompt_set=next(named, "own"),
        fwiou=_share(whole.fwiou()),
        macc=_share(whole.macc()),
        pacc=_share(whole.pacc()),
        seen_miou=groups[0],
        unseen_miou=groups[1],
        hiou=None if groups[0] is None or groups[1] is None else _share(harmonic(groups[0], groups[1])),
        boundary_f=_mean(edges[chosen]),
        trimap_miou=None if question.tolerance is None else _share(near.miou(chosen, question.over)),
        tolerance=question.tolerance,
        classes=_class_table(question, whole, edges),
        per_image=tuple((row.name, _share(row.miou)) for row in rows),
    )


def _groups(question: Question, whole: Confusion) -> tuple[float | None, float | None]:
    """mIoU over seen and over unseen classes."""
    if question.seen is None:
        return None, None
    flags = np.array(question.seen, bool)
    first, second = (_share(whole.miou(np.flatnonzero(part), question.over)) for part in (flags, ~flags))
    return first, second


def _class_table(question: Question, whole: Confusion, edges: NDArray[np.float64]) -> tuple[ClassScore, ...]:
    seen: Sequence[bool | None] = question.seen or [None] * len(question.classes)
    columns = (whole.iou(), whole.accuracy(), edges, whole.truth)
    return tuple(
        ClassScore(name, _share(iou), _share(accuracy), _share(edge), int(pixels), flag)
        for name, flag, iou, accuracy, edge, pixels in zip(question.classes, seen, *columns, strict=True)
    )


def _share(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return _share(float(known.mean())) if len(known) else None


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
