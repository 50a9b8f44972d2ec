"""What WordNet says of a word, read through nltk and kept on disk, so that most runs never load nltk."""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ovseg_ros.lexicon.data import identity, open_reader, read_member
from ovseg_ros.lexicon.forms import key, plurals, singulars, spellings, split_head, with_head
from ovseg_ros.lexicon.senses import Sense, read_sense

FORMAT = 1  # of an entry on disk; a change here leaves the old ones aside


@dataclass(frozen=True)
class Entry:
    """What the dictionary has for one spelling.

    Attributes:
        word: the spelling, as `forms.key` has it.
        senses: its own, the most frequent first; none where it is no entry or only a plural.
        singulars: entries that it may be the plural of, the likeliest first.
        plural: its plural.
        adjectives: how often it has each of its senses as an adjective in the tagged texts.
        uses: how often it occurs in the tagged texts, as any part of speech, and in WordNet's definitions.
    """

    word: str
    senses: tuple[Sense, ...] = ()
    singulars: tuple[str, ...] = ()
    plural: str = ""
    adjectives: tuple[int, ...] = ()
    uses: int = 0


@dataclass(frozen=True)
class Relative:
    """A word near another one in WordNet's tree.

    Attributes:
        word: the relative, spaces and not underscores.
        relation: `hypernym` (a kind of thing that the word is), `hyponym` (a kind of it) or `sibling` (another kind
            of the same).
        depth: how many levels up or down; 1 for siblings.
        sense: the sense that it has there, such as `motor_vehicle.n.01`.
    """

    word: str
    relation: str
    depth: int
    sense: str


class WordNet:
    """A WordNet folder; every method may be called from any thread.

    Args:
        place: what `data.find_wordnet` gives.
        cache: a folder for entries, one JSON file each below the WordNet's identity; None keeps none.

    Raises:
        LexiconError: by any method, where the files or nltk can't be used.
    """

    def __init__(self, place: Path, cache: Path | None) -> None:
        self.place, self.identity = place, identity(place)
        self._folder = None if cache is None else cache / self.identity
        self._known: dict[str, Entry] = {}
        self._lock = threading.RLock()

    def preload(self) -> None:
        """Load what the first unknown word would load."""
        with self._lock:
            _ = self._reader, self._singular_forms, self._plural_forms, self._definitions

    def entry(self, word: str) -> Entry:
        """The entry of a spelling; an empty one where WordNet has none."""
        word = key(word)
        with self._lock:
            if word not in self._known:
                if (entry := self._load(word)) is None:
                    entry = self._read(word)
                    self._save(entry)
                self._known[word] = entry
            return self._known[word]

    def lemmas(self, sense: str) -> tuple[str, ...]:
        """The words of a sense by its name, such as `motor_vehicle.n.01`."""
        with self._lock:
            return tuple(name.replace("_", " ") for name in self._reader.synset(sense).lemma_names())

    def relatives(self, sense: str, depth: int) -> Iterator[Relative]:
        """The words above, below and beside a sense, the nearest first, up to `depth` levels away."""
        with self._lock:
            start = self._reader.synset(sense)
            yield from self._walk(start, "hypernym", depth)
            yield from self._walk(start, "hyponym", depth)
            beside = {sibling for parent in start.hypernyms() for sibling in parent.hyponyms()} - {start}
            for sibling in sorted(beside, key=lambda s: str(s.name())):
                yield from _relatives(sibling, "sibling", 1)

    def _walk(self, start: Any, relation: str, depth: int) -> Iterator[Relative]:
        seen, level = {start}, [start]
        for distance in range(1, depth + 1):
            level = [node for s in level for node in getattr(s, f"{relation}s")() if node not in seen]
            level = list(dict.fromkeys(level))
            seen.update(level)
            for node in level:
                yield from _relatives(node, relation, distance)

    # Reading

    @cached_property
    def _reader(self) -> Any:
        return open_reader(self.place)

    @cached_property
    def _singular_forms(self) -> dict[str, list[str]]:
        """noun.exc: singulars by their irregular plural."""
        lines = read_member(self.place, "noun.exc").decode().splitlines()
        return {fields[0].replace("_", " "): fields[1:] for line in lines if len(fields := line.split()) > 1}

    @cached_property
    def _plural_forms(self) -> dict[str, list[str]]:
        found = defaultdict(list, person=["people"])  # the one that noun.exc lacks
        for form, bases in self._singular_forms.items():
            for base in bases:
                found[base].append(form)
        return found

    @cached_property
    def _definitions(self) -> Counter[str]:
        """How often each word occurs in WordNet's definitions and examples."""
        found: Counter[str] = Counter()
        for pos in ("noun", "verb", "adj", "adv"):
            for line in read_member(self.place, f"data.{pos}").decode("utf-8", "replace").splitlines():
                if not line.startswith(" "):
                    found.update(re.findall(r"[^\W\d_]+", line.partition(" | ")[2].lower()))
        return found

    def _read(self, word: str) -> Entry:
        if not word or not word.isascii():  # the reader would look for spellings in vain
            return Entry(word)
        before, head, after = split_head(word)
        bases = [" ".join(filter(None, (before, one, after))) for one in singulars(head, self._singular_forms)]
        form = next((form for form in spellings(word) if self._synsets(form)), "")
        return Entry(
            word=word,
            senses=tuple(read_sense(s, form, rank) for rank, s in enumerate(self._synsets(form), 1)),
            singulars=tuple(base for base in bases if any(map(self._synsets, spellings(base)))),
            plural=with_head(word, self._plural(head)),
            adjectives=tuple(_count(s, form) for s in self._synsets(form, "a")),
            uses=self._uses(word, form),
        )

    def _synsets(self, form: str, pos: str = "n") -> list[Any]:
        """The nouns with exactly this spelling but for letter case, the most frequent first."""
        found = self._reader.synsets(form, pos, check_exceptions=False)
        return [s for s in found if form in {name.lower() for name in s.lemma_names()}]

    def _plural(self, noun: str) -> str:
        """Of the spellings that a plural may have, the one that WordNet uses most; `scissors` is one already."""
        best = max(plurals(noun, self._plural_forms), key=lambda form: self._definitions[form])
        is_plural = noun.endswith("s") and not noun.endswith("ss") and not self._definitions[best]
        return noun if is_plural else best

    def _uses(self, word: str, form: str) -> int:
        tagged = sum(_count(synset, form) for synset in self._reader.synsets(form)) if form else 0
        return tagged + (self._definitions[word] if " " not in word else 0)

    # The cache on disk

    def _path(self, word: str) -> Path | None:
        if self._folder is None or not re.fullmatch(r"[a-z0-9 '-]{1,80}", word):
            return None  # an odd word is no name for a file, and no entry of WordNet
        return self._folder / f"{word.replace(' ', '_')}.json"

    def _load(self, word: str) -> Entry | None:
        """A kept entry, or None where there is none or it is damaged (it is then written anew)."""
        path = self._path(word)
        try:
            content = json.loads(path.read_text(encoding="utf-8")) if path else {}
            if content.pop("format", None) != FORMAT or content["word"] != word:
                return None
            content["senses"] = tuple(Sense.from_json(sense) for sense in content["senses"])
            for name in ("singulars", "adjectives"):
                content[name] = tuple(content[name])
            return Entry(**content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _save(self, entry: Entry) -> None:
        """Write atomically; a cache that cannot be written is no reason to fail."""
        if (path := self._path(entry.word)) is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
                json.dump({"format": FORMAT, **asdict(entry)}, file, indent=1)
            os.replace(file.name, path)
        except OSError:
            return


def _relatives(synset: Any, relation: str, depth: int) -> Iterator[Relative]:
    for name in synset.lemma_names():
        yield Relative(name.replace("_", " "), relation, depth, synset.name())


def _count(synset: Any, form: str) -> int:
    return sum(int(lemma.count()) for lemma in synset.lemmas() if lemma.name().lower() == form)
