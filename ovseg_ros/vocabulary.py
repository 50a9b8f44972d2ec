"""The words a user chose: classes with synonyms, prompt templates and thresholds. Pure data, checked on creation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ovseg_ros.errors import VocabularyError
from ovseg_ros.prompts import PROMPT_SETS, prompt_set

KEYS = ("classes", "templates", "thresholds", "background")  # of a vocabulary file
MAX_CLASSES = 1024  # what an engine's class axis holds
MAX_SYNONYMS = 32  # per class
MAX_WORD_LENGTH = 200  # characters
CONTROL = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode categories that no word needs
JOINERS = "\u200c\u200d"  # but some scripts do need these two


@dataclass(frozen=True)
class Vocabulary:
    """Classes in the order of their label ids.

    Attributes:
        classes: one tuple a class; its first word is the class's name, the others are synonyms.
        templates: prompts with one `{}` each; a word's embedding is the mean over them. Empty stands for the text
            encoder's own.
        thresholds: per class, the confidence (0..1) under which a pixel stays unlabelled; None takes the
            segmenter's threshold.
        version: which vocabulary of a segmenter this is; it counts up with every change.
        background: id of the class that pixels under their threshold fall to, instead of staying unlabelled; None where
            there is none.
    """

    classes: tuple[tuple[str, ...], ...]
    templates: tuple[str, ...] = ()
    thresholds: tuple[float | None, ...] = ()
    version: int = 0
    background: int | None = None

    def __post_init__(self) -> None:
        if not self.thresholds:
            object.__setattr__(self, "thresholds", (None,) * len(self.classes))
        _check_classes(self.classes)
        _check_templates(self.templates)
        _check_thresholds(self.thresholds, len(self.classes))

    @classmethod
    def parse(
        cls,
        entries: Sequence[str],
        *,
        templates: Sequence[str] | str | None = None,
        thresholds: Sequence[float | None] | Mapping[str, float] | float | None = None,
        background: str | None = None,
        version: int = 0,
    ) -> Vocabulary:
        """Read entries such as "person, human, pedestrian": a name and its synonyms, one class an entry.

        Args:
            entries: the classes, ids counted from 0.
            templates: prompts such as "a photo of a {}", or the name of a prompt set such as "P14" (which may stand in
                the list as well); those of the text encoder where None or empty.
            thresholds: one for all, one a class, or by class name; NaN and None stand for the segmenter's own.
            background: name of the class that takes what is under its threshold; see the class.
            version: see the class.

        Raises:
            VocabularyError: for an empty vocabulary, too many classes, duplicate or unusable words.
        """
        if isinstance(entries, str):
            raise VocabularyError(f"a vocabulary is a list of words, not the single text {_show(entries)}")
        classes = tuple(_parse_entry(entry) for entry in entries)
        names = [words[0] for words in classes]
        if isinstance(thresholds, Mapping):
            unknown = next((name for name in thresholds if name not in names), None)
            if unknown is not None:
                raise VocabularyError(f"a threshold is given for {_show(unknown)}, which is no class")
            thresholds = [thresholds.get(name) for name in names]
        elif isinstance(thresholds, (int, float)) and not isinstance(thresholds, bool):
            thresholds = [thresholds] * len(names)
        if background is not None and background not in names:
            raise VocabularyError(f"the background {_show(background)} is no class; it must name one of them")
        levels = tuple(_parse_threshold(level) for level in _listed(thresholds, "thresholds"))
        place = None if background is None else names.index(background)
        return cls(classes, _parse_templates(templates), levels, version, place)

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read a YAML file: a list of entries, or a mapping with `classes` and optional `templates`, `thresholds`,
        `background`.

        Raises:
            VocabularyError: when the file cannot be read or holds something else.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problem = str(error).replace("\n", " ")
            raise VocabularyError(f"cannot read the vocabulary file {path}: {problem}") from error
        if isinstance(content, list):
            content = {"classes": content}
        if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
            raise VocabularyError(f"{path} must hold a list of words, or a mapping with a list `classes`")
        unknown = [key for key in content if key not in KEYS]
        if unknown:
            raise VocabularyError(f"{path} has the unknown key {unknown[0]!r}; known: {', '.join(KEYS)}")
        return cls.parse(
            content["classes"],
            templates=content.get("templates"),
            thresholds=content.get("thresholds"),
            background=content.get("background"),
        )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names, by id."""
        return tuple(words[0] for words in self.classes)

    @property
    def entries(self) -> tuple[str, ...]:
        """The classes as `parse` takes them."""
        return tuple(", ".join(words) for words in self.classes)


def _parse_entry(entry: object) -> tuple[str, ...]:
    """Split "a, b" into words, white space folded."""
    if not isinstance(entry, str):
        raise VocabularyError(f"a class must be a text such as 'person, human', not {_show(entry)}")
    # spaces are folded; tabs and line ends are control characters, refused further down
    words = tuple(re.sub(" +", " ", part).strip(" ") for part in entry.split(","))
    if not all(words):
        raise VocabularyError(f"the class {_show(entry)} has an empty word; give 'name' or 'name, synonym'")
    return words


def _listed(values: object, what: str) -> list[Any]:
    """A list or tuple as a list; None is an empty one."""
    if values is None or isinstance(values, (list, tuple)):
        return list(values or ())
    raise VocabularyError(f"{what} come as a list, not as {_show(values)}")


def _parse_templates(templates: object) -> tuple[str, ...]:
    """Templates with the names of prompt sets replaced by what they stand for."""
    if isinstance(templates, str):
        return prompt_set(templates)
    found: list[str] = []
    for entry in _listed(templates, "templates"):
        found += PROMPT_SETS[entry] if isinstance(entry, str) and entry in PROMPT_SETS else (entry,)
    return tuple(found)


def _parse_threshold(value: object) -> float | None:
    if value is None or isinstance(value, (int, float)):
        return None if value is None or value != value else float(value)
    raise VocabularyError(f"the threshold {_show(value)} is no number; a confidence lies in 0..1")


def _check_classes(classes: tuple[tuple[str, ...], ...]) -> None:
    if not classes:
        raise VocabularyError("the vocabulary is empty; give at least one word")
    if len(classes) > MAX_CLASSES:
        raise VocabularyError(f"{len(classes)} classes are too many; an engine holds at most {MAX_CLASSES}")
    owner: dict[str, str] = {}
    for words in classes:
        if len(words) > MAX_SYNONYMS:
            raise VocabularyError(
                f"{_show(words[0])} has {len(words)} words; at most {MAX_SYNONYMS} synonyms make a class"
            )
        for word in words:
            _check_word(word)
            key = " ".join(unicodedata.normalize("NFKC", word).casefold().split())
            if key in owner:
                raise VocabularyError(
                    f"the word {_show(word)} occurs twice (in {_show(owner[key])} and {_show(words[0])}); "
                    "each word may name one class"
                )
            owner[key] = words[0]


def _check_word(word: str) -> None:
    if len(word) > MAX_WORD_LENGTH:
        raise VocabularyError(
            f"a word of {len(word)} characters is too long ({_show(word)}); at most {MAX_WORD_LENGTH} are taken"
        )
    bad = next((c for c in word if unicodedata.category(c) in CONTROL and c not in JOINERS), None)
    if bad is not None:
        raise VocabularyError(f"the word {_show(word)} has the control character U+{ord(bad):04X}; remove it")
    if not any(c.isalnum() for c in word):
        raise VocabularyError(f"the word {_show(word)} has no letter or digit")


def _check_templates(templates: tuple[str, ...]) -> None:
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise VocabularyError(
                f"the prompt template {_show(template)} must hold '{{}}' once, for the word, or name "
                f"a prompt set ({', '.join(PROMPT_SETS)})"
            )
        if len(template) > MAX_WORD_LENGTH:
            raise VocabularyError(f"a prompt template of {len(template)} characters is too long")


def _check_thresholds(thresholds: tuple[float | None, ...], count: int) -> None:
    if len(thresholds) != count:
        raise VocabularyError(f"{len(thresholds)} thresholds for {count} classes; give one a class, or none")
    for threshold in thresholds:
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise VocabularyError(f"the threshold {threshold} is out of range; a confidence lies in 0..1")


def _show(value: object) -> str:
    """A value as it may stand in a sentence: quoted, escaped, at most 40 characters."""
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")
