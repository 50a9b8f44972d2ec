"""Captions of crops in plain templates, and which caption is surely wrong of which image.

A caption makes claims, (colour, kind) pairs. "mug" is true of a red mug and "red mug" is not true of a blue one, so a
batch in which both occur has false negatives that no comparison of texts finds; comparing claims with what an image
shows does. What cannot be known (a lamp in a source that has no lamps) is neither right nor wrong, and has no part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import ModelError
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.regions import Crop
from ovseg_ros.training.words import NEAR, Key, Region, WordMix

MOST = 3  # things that one caption names
RESTS = 0.6  # share of the pixels right below a thing that one other region must have for "on"
MASS = frozenset({"sky", "grass", "water", "snow", "sand", "vegetation", "foliage", "asphalt", "gravel", "dirt"})
Claims = frozenset[Key]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Caption:
    """A text and what it claims to be seen."""

    text: str
    claims: Claims


class CaptionWriter:
    """Draws words and captions.

    Args:
        kinds: every kind with its training words, the name first.
        mix: `coloured` is the share of words that name the colour of what has one; `name` and `lexicon` as ever.
        lexicon: further synonyms by kind.
    """

    def __init__(
        self, kinds: Mapping[str, tuple[str, ...]], mix: WordMix, lexicon: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.kinds, self.mix, self.lexicon = kinds, mix, lexicon or {}

    def word(self, region: Region, rng: np.random.Generator) -> Caption:
        """A region as it may be asked for: "mug", "cup", "red mug"."""
        words, more = self.kinds[region.kind], self.lexicon.get(region.kind)
        if more and rng.random() < self.mix.lexicon:
            word = str(rng.choice(more))
        else:
            word = words[0] if len(words) == 1 or rng.random() < self.mix.name else str(rng.choice(words[1:]))
        colour = region.colour if region.colour and rng.random() < self.mix.coloured else None
        return Caption(f"{colour} {word}" if colour else word, frozenset({(colour, region.kind)}))

    def caption(self, crop: Crop, rng: np.random.Generator) -> Caption:
        """What a crop shows: its subject, or up to three of a scene's things, larger ones more often.

        A thing below whose whole lower edge another one lies is "on" that, as a mug on a table or a clock on a wall.
        """
        if crop.subject is not None:
            word = self.word(crop.regions[crop.subject], rng)
            return word if rng.random() < 0.7 else Caption(with_article(word.text), word.claims)
        places = np.array(crop.places_in_view())
        chances = np.sqrt(crop.areas()[places])
        count = min(len(places), 1 + int(rng.integers(MOST)))
        named = [int(i) for i in rng.choice(places, size=count, replace=False, p=chances / chances.sum())]
        below = {i: support(crop, i) for i in named}
        base = next((below[i] for i in named if below[i] in places), None)
        if base is not None:
            on = [i for i in named if below[i] == base]
            parts = [self.word(crop.regions[i], rng) for i in on]
            under = self.word(crop.regions[base], rng)
            text = f"{listed([with_article(part.text) for part in parts])} on {with_article(under.text)}"
            return Caption(text, frozenset().union(under.claims, *(part.claims for part in parts)))
        parts = [self.word(crop.regions[i], rng) for i in named]
        text = listed([with_article(part.text) for part in parts])
        return Caption(text, frozenset().union(*(part.claims for part in parts)))


def support(crop: Crop, place: int) -> int | None:
    """The region that has most of the pixels right below another one, which must be in full view; else None."""
    mask = crop.ids == place
    if mask[[0, -1]].any() or mask[:, [0, -1]].any():
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    lowest = len(mask) - 1 - mask[::-1, columns].argmax(axis=0)
    beneath = crop.ids[lowest + 1, columns]
    counts = np.bincount(beneath, minlength=256)
    best = int(counts.argmax())
    large = best < len(crop.regions) and np.count_nonzero(crop.ids == best) > np.count_nonzero(mask)
    return best if large and counts[best] >= RESTS * len(columns) else None


def with_article(words: str) -> str:
    """ "a mug", "an apple"; no article for plurals and for what comes in no pieces."""
    last = words.split()[-1]
    if last in MASS or (last.endswith("s") and not last.endswith("ss")):
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


class Judge:
    """Which captions are surely wrong of which images.

    Args:
        mix: knows which source has which kinds, and which sources are complete.
        encoder: whose cosines tell which kinds may name the same thing.

    Raises:
        ModelError: for a word of which the encoder knows no part.
    """

    def __init__(self, mix: Mix, encoder: StaticTextEncoder) -> None:
        self.mix = mix
        words = [(kind, word) for kind, named in mix.kinds.items() for word in named]
        if lost := encoder.unknown([word for _, word in words]):
            raise ModelError(f"the text encoder knows no part of the word {lost[0]!r}; name the class in English words")
        self._rows = encoder.encode([word for _, word in words])  # (W, D)
        self._owner = np.array([list(mix.kinds).index(kind) for kind, _ in words])
        self._place = {kind: i for i, kind in enumerate(mix.kinds)}
        between = self.to_kinds(self._rows)  # (W, kinds)
        self._near = np.stack([between[self._owner == i].max(axis=0) for i in range(len(mix.kinds))]) >= NEAR

    def wrong(self, source: int, seen: Collection[Region], claims: Claims) -> bool:
        """Whether a caption is surely wrong of an image.

        Args:
            source: the image's place among the mix's ingredients.
            seen: what the image shows, regions of its own source.
            claims: the caption's; one wrong claim makes it wrong.
        """
        return any(self._denied(source, seen, colour, kind) for colour, kind in claims)

    def strange(self, source: int, seen: Collection[Region], cosines: NDArray[np.float32]) -> Bool:
        """Which words about anything are surely wrong of an image, by their `to_kinds` (A, kinds): (A,)."""
        if not self.mix.ingredients[source].complete:
            return np.zeros(len(cosines), bool)
        places = [self._place[region.kind] for region in seen]
        far: Bool = cosines[:, places].max(axis=1, initial=-1.0) < NEAR
        return far

    def _denied(self, source: int, seen: Collection[Region], colour: str | None, kind: str) -> bool:
        colours = [region.colour for region in seen if region.kind == kind]
        if colours:  # the thing is there; it may not be of this colour, where all colours are known
            return colour is not None and None not in colours and colour not in colours
        if self.mix.knows(source, kind):
            return True
        near = any(self._near[self._place[kind], self._place[region.kind]] for region in seen)
        return self.mix.ingredients[source].complete and not near

    def to_kinds(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The greatest cosine of each row (n, D) with the words of every kind: (n, kinds)."""
        cosines = rows @ self._rows.T
        best = np.full((len(self.mix.kinds), len(rows)), -1.0, np.float32)
        np.maximum.at(best, self._owner, cosines.T)
        return np.asarray(best.T)
