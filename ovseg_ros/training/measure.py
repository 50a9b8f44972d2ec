"""What a recipe's card measures: data, the words that are asked, and the command that measures the same again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.evaluation.datasets import Dataset, Part, class_lists, class_variants
from ovseg_ros.evaluation.protocols import find_protocol
from ovseg_ros.evaluation.questions import published_question
from ovseg_ros.evaluation.scores import Question
from ovseg_ros.evaluation.synonyms import CAMVID_HELD_OUT
from ovseg_ros.training.ingredients import open_data, root_of
from ovseg_ros.training.recipe import Recipe, SourceSpec
from ovseg_ros.vocabulary import Vocabulary

HELD_OUT = ", held-out synonyms"  # ends the title of a measurement with words that were never trained
PAIRS = ", held-out pairs"  # and of one with colours that a thing never had in training


@dataclass(frozen=True)
class Measurement:
    """One number of a card: its title, data, what is asked, and the options of `ovseg evaluate` that ask the same."""

    title: str
    data: Dataset
    question: Question
    options: str


def measurements(recipe: Recipe, roots: Mapping[str, Path]) -> Iterator[Measurement]:
    """Every data set that a recipe measures: with its own words, and with held-out words and pairs where it has such.

    Args:
        recipe: its `measured` names them.
        roots: as `ingredients.open_mix` takes them.

    Raises:
        DatasetError: for a folder that is not what the data set's layout promises.
    """
    for spec in recipe.measured:
        yield from _simulator() if spec.kind == "simulator" else _data_set(spec, root_of(spec, roots))


def _simulator() -> Iterator[Measurement]:
    from ovseg_ros.evaluation.simulator import SimulatorDataset, held_out_pairs, held_out_vocabulary

    data, options = SimulatorDataset(), "--dataset simulator"
    for title, words, more in (
        ("unseen scenes", Vocabulary.parse(data.classes), ""),
        (f"unseen scenes{HELD_OUT}", held_out_vocabulary(), " --words held-out"),
    ):
        yield Measurement(title, data, Question("simulator", data.classes, words), options + more)
    yield Measurement(f"unseen scenes{PAIRS}", *held_out_pairs(), f"{options} --words held-out-pairs")


def _data_set(spec: SourceSpec, root: Path) -> Iterator[Measurement]:
    data = open_data(spec, root, measure=True)
    split = spec.split or ("val" if spec.kind == "camvid" else "")
    title, options = f"{spec.name} {split}".strip(), f"--dataset {spec.kind} --root ROOT"
    options += f" --split {split}" if split else ""
    if spec.part != (0.0, 1.0):
        data = Part(data, spec.part)
        title = f"{title}, {data.title}"
        options += f" --part {spec.part[0]:g},{spec.part[1]:g}"
    question = Question(title, data.classes, Vocabulary.parse(data.classes))
    if spec.kind in class_lists():
        variant = "multi" if "multi" in class_variants(spec.kind) else None
        question = published_question(spec.kind, find_protocol("native"), title=title, variant=variant)
        options += " --names synonyms" if variant else ""
    yield Measurement(title, data, question, options)
    if spec.kind == "camvid":
        words = Vocabulary.parse([CAMVID_HELD_OUT[name] for name in data.classes])
        yield Measurement(title + HELD_OUT, data, Question(title, data.classes, words), f"{options} --words held-out")
