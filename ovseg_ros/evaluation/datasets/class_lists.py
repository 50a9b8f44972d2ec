"""Class lists as published: the words asked for each class, and which class of the data set they count as.

The lists are YAML files in `evaluation/classes`, one a data set:

    title: what the data set is
    names: what is evaluated, by label id
    background: the id of the class of everything else, where there is one
    like: other lists that say what a class of the same name is also called
    variants: by name, their `source` and `classes`: a word, or a list of words, for every class. Without `classes`
        the names are the words. Classes past the names count as the background.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets.sample import ignore_label, label_dtype
from ovseg_ros.vocabulary import MAX_SYNONYMS, Vocabulary

FOLDER = Path(__file__).resolve().parents[1] / "classes"
TRAINING = "training"  # the file that is no class list
CANONICAL = "canonical"
MULTI = "multi"
FIELD = "stuff171"  # what most of the field's models are trained on


@dataclass(frozen=True)
class ClassList:
    """The words asked for the classes of a data set. K classes are evaluated, M are asked for.

    Attributes:
        name: of the data set.
        variant: whose words: canonical, catseg, multi, training-free; see `class_variants`.
        names: (K) of the evaluated classes, by label id.
        synonyms: (M) words of each asked class, as published.
        merge: (M) the evaluated class that each asked class counts as.
        background: id of the evaluated class of everything else; None where there is none.
        seen: (K) whether a model knows the evaluated class from its training; never so for the background.
        asked_seen: (M) the same for the asked classes, as EBSeg's and FC-CLIP's ensembles take it.
        trained_on: which training `seen` means.
        source: where the words are published.
        hash: first 16 hex digits of SHA-256 over names, words and merging.
    """

    name: str
    variant: str
    names: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]
    merge: tuple[int, ...]
    background: int | None
    seen: tuple[bool, ...]
    asked_seen: tuple[bool, ...]
    trained_on: str
    source: str
    hash: str

    def distinct(self) -> ClassList:
        """The list with no word twice and at most 32 words a class, as a `Vocabulary` must be.

        Of a word that several classes have, the first keeps it: among equal scores the first class wins in any case.
        A class that keeps no word is not asked for; one with too many becomes several that merge.
        """
        owned: set[str] = set()
        kept: list[tuple[tuple[str, ...], int]] = []
        for asked, words in enumerate(self.synonyms):
            fresh = []
            for word in words:
                if _key(word) not in owned:
                    owned.add(_key(word))
                    fresh.append(word)
            kept += [(tuple(fresh[i : i + MAX_SYNONYMS]), asked) for i in range(0, len(fresh), MAX_SYNONYMS)]
        return replace(
            self,
            synonyms=tuple(words for words, _ in kept),
            merge=tuple(self.merge[asked] for _, asked in kept),
            asked_seen=tuple(self.asked_seen[asked] for _, asked in kept),
        )

    def vocabulary(self, templates: Sequence[str] = ()) -> Vocabulary:
        """The asked classes as a vocabulary, for a list that is `distinct`; a word with commas stays one word.

        Raises:
            VocabularyError: when the list is not distinct.
        """
        return Vocabulary(self.synonyms, tuple(templates))

    def evaluated(self, labels: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
        """Predicted ids of asked classes as ids of evaluated ones.

        Args:
            labels: (H, W) any integers, 0..M-1; every other value is unlabelled.

        Returns:
            (H, W) 0..K-1 in the data set's dtype; its top value where unlabelled.
        """
        dtype = label_dtype(len(self.names))
        table = np.array([*self.merge, ignore_label(dtype)], dtype)
        m = len(self.merge)
        return table[np.where((labels >= 0) & (labels < m), labels, m)]


def class_lists() -> tuple[str, ...]:
    """Names of the data sets that there are class lists of."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != TRAINING))


def class_variants(name: str) -> tuple[str, ...]:
    """The variants of a data set's class list, the first of which is `canonical`.

    Raises:
        DatasetError: for a data set without a list.
    """
    return tuple(_read(name)["variants"])


def class_list(name: str, variant: str = CANONICAL, trained_on: str = FIELD) -> ClassList:
    """A class list as published.

    A class counts as seen as in EBSeg and FC-CLIP, whose ensembles weigh seen and new classes differently: when one of
    the words it is known by in FC-CLIP's list of synonyms is a word of a class that was trained on.

    Args:
        name: of the data set, such as ade150.
        variant: canonical (the registry names that SAN and EBSeg use), catseg, multi (FC-CLIP's synonyms),
            training-free (SCLIP's and NACLIP's); not every data set has all.
        trained_on: stuff171, stuff156 and voc15 (the zero-shot splits), or panoptic133.

    Raises:
        DatasetError: for an unknown name, variant or training, with those there are.
    """
    content = _read(name)
    variants = content["variants"]
    if variant not in variants:
        raise DatasetError(f"the class list {name} has no variant {variant!r}; expected {', '.join(variants)}")
    names: tuple[str, ...] = tuple(content["names"])
    background: int | None = content.get("background")
    synonyms = _classes(content, variant)
    surplus = len(names) if background is None else background
    merge = tuple(i if i < len(names) else surplus for i in range(len(synonyms)))
    asked_seen = seen_flags(_known_as(content, synonyms), trained_on)
    met = {place for place, flag in zip(merge, asked_seen, strict=True) if flag}
    digest = hashlib.sha256(json.dumps([names, synonyms, merge]).encode()).hexdigest()
    return ClassList(
        name=name,
        variant=variant,
        names=names,
        synonyms=synonyms,
        merge=merge,
        background=background,
        seen=tuple(i in met and i != background for i in range(len(names))),
        asked_seen=asked_seen,
        trained_on=trained_on,
        source=variants[variant]["source"],
        hash=digest[:16],
    )


def seen_flags(classes: Iterable[Sequence[str]], trained_on: str = FIELD) -> tuple[bool, ...]:
    """Whether any of a class's words is one of a class that was trained on; case and spaces do not matter.

    Args:
        classes: words of each class, such as `Vocabulary.classes`.
        trained_on: see `class_list`.

    Raises:
        DatasetError: for an unknown training, with those there are.
    """
    known = training_words(trained_on)
    return tuple(any(_key(word) in known for word in words) for words in classes)


@lru_cache(maxsize=8)
def training_words(trained_on: str = FIELD) -> frozenset[str]:
    """The words of the classes that were trained on, in lower case: 328 for COCO-Stuff's 171 classes.

    Raises:
        DatasetError: for an unknown training, with those there are.
    """
    trainings = _load(TRAINING)
    if trained_on not in trainings:
        raise DatasetError(f"the training {trained_on!r} is unknown; expected {', '.join(trainings)}")
    training = trainings[trained_on]
    content = _read(training["list"])
    rows = zip(content["names"], _classes(content, MULTI), strict=True)
    return frozenset(_key(word) for name, words in rows if name not in training["unseen"] for word in words)


def _known_as(content: Mapping[str, Any], synonyms: tuple[tuple[str, ...], ...]) -> list[tuple[str, ...]]:
    """What each asked class is called: by the list's own synonyms, by those of like classes elsewhere, or as asked."""
    if MULTI in content["variants"]:
        return list(_classes(content, MULTI))
    elsewhere: dict[str, set[str]] = {}
    for other in (_read(name) for name in content.get("like", ())):
        for place, words in enumerate(_classes(other, MULTI)):
            for variant in other["variants"]:
                for word in _classes(other, variant)[place]:
                    elsewhere.setdefault(_key(word), set()).update(words)
    return [tuple({more for word in words for more in elsewhere.get(_key(word), ())}) or words for words in synonyms]


def _classes(content: Mapping[str, Any], variant: str) -> tuple[tuple[str, ...], ...]:
    """Words of each class of a variant."""
    classes = content["variants"][variant].get("classes", content["names"])
    return tuple((entry,) if isinstance(entry, str) else tuple(entry) for entry in classes)


def _read(name: str) -> Mapping[str, Any]:
    if name not in class_lists():
        raise DatasetError(f"there is no class list {name!r}; expected {', '.join(class_lists())}")
    return _load(name)


@lru_cache(maxsize=32)
def _load(name: str) -> Mapping[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it is built
    content = yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), loader)
    return MappingProxyType(content)


def _key(word: str) -> str:
    """What makes two words the same: as in a vocabulary."""
    return " ".join(unicodedata.normalize("NFKC", word).casefold().split())
