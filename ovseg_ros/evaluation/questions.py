"""From a published class list and a protocol to what a model is asked, with every choice named in the report."""

from __future__ import annotations

from ovseg_ros.evaluation.boundary import TOLERANCE
from ovseg_ros.evaluation.datasets import ClassList, class_list, class_variants
from ovseg_ros.evaluation.protocols import Protocol
from ovseg_ros.evaluation.scores import Question
from ovseg_ros.prompts import prompt_set
from ovseg_ros.vocabulary import Vocabulary


def published_question(
    name: str,
    protocol: Protocol,
    *,
    title: str = "",
    variant: str | None = None,
    prompts: str | None = None,
    trained_on: str | None = None,
    threshold: float | None = None,
    tolerance: float | None = TOLERANCE,
) -> Question:
    """What the field asks on a data set.

    Args:
        name: of the data set's class list.
        protocol: gives class list, prompts and threshold where they are not given.
        title: of the data set in the report; its name where empty.
        variant: of the class list; the first of the protocol's that there is where None.
        prompts: name of a prompt set.
        trained_on: which training tells seen classes from unseen ones, for hIoU; see `class_list`. None reports none:
            what counts as seen depends on the model.
        threshold: confidence under which a pixel counts as background; the protocol's where None and there is one.
        tolerance: of the boundary scores.

    Raises:
        DatasetError: for an unknown list, variant or training.
        VocabularyError: for an unknown prompt set.
    """
    chosen = variant or next(v for v in (*protocol.names, "canonical") if v in class_variants(name))
    words = class_list(name, chosen, trained_on) if trained_on else class_list(name, chosen)
    asked = words.distinct()
    merge = None if asked.merge == tuple(range(len(words.names))) else asked.merge
    template_set = prompts or protocol.prompts
    level = threshold
    if level is None:
        level = protocol.background_threshold if words.background is not None else 0.0
    return Question(
        dataset=title or name,
        classes=words.names,
        words=Vocabulary(
            asked.synonyms,
            templates=prompt_set(template_set) if template_set else (),
            thresholds=(level or None,) * len(asked.synonyms),
            background=None if words.background is None else asked.merge.index(words.background),
        ),
        merge=merge,
        seen=words.seen if trained_on else None,
        over=protocol.over,
        tolerance=tolerance,
        note=_note(words, level, trained_on),
    )


def _note(words: ClassList, level: float, trained_on: str | None) -> str:
    """The choices that the report's other lines do not show."""
    parts = [f"class list {words.name}/{words.variant} {words.hash}"]
    if level:
        instead = "count as background" if words.background is not None else "stay unlabelled"
        parts.append(f"pixels under {level:g} {instead}")
    if trained_on:
        parts.append(f"seen means trained on {trained_on}")
    return ", ".join(parts)
