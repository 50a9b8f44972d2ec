"""Several sources as one: which picture a draw takes, and what its words may be held against.

Sources differ in their classes, so a word that one of them knows may name something that another shows without saying
so: a window in CamVid's "building", a lamp behind COCO's people. A batch mixes pictures of all sources (batch norm
statistics of batches from one source alone would swing between them), and its vocabulary holds the words of all; every
picture says which of these it answers (`Ingredient.complete`), and the others have no part in its loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.training.sources import Picture, Source
from ovseg_ros.training.words import Region
from ovseg_ros.vocabulary import MAX_SYNONYMS

PERIOD = 1000  # draws after which every source has had exactly its share


@dataclass(frozen=True)
class Ingredient:
    """One source of a mix.

    Attributes:
        name: what the source is called, unique in the mix.
        source: its pictures.
        weight: its share of the draws, relative to the others'.
        complete: whether a labelled pixel shows its class and nothing else that could be asked for, so that any word
            far from its own is a wrong answer there. Where False, only the source's own classes are held against its
            pixels: words of other sources and words about anything have no part in the loss of its pictures.
        zoom, focus: stand for the recipe's where given.
    """

    name: str
    source: Source
    weight: float = 1.0
    complete: bool = True
    zoom: tuple[float, float] | None = None
    focus: float | None = None


class Mix:
    """Pictures of several sources, drawn by weight.

    Kinds are called `source: kind` where there are several sources, since "wall" need not be the same in two of them.

    Args:
        ingredients: the sources.
        seed: of the order of the pictures.
        forbidden: words that no region may be asked for by, because they are held out; a kind whose every word is
            forbidden counts as unlabelled.
    """

    def __init__(self, ingredients: Sequence[Ingredient], seed: int = 0, forbidden: Iterable[str] = ()) -> None:
        self.ingredients, self.seed = tuple(ingredients), seed
        self.forbidden = out = frozenset(forbidden)
        self._regions: list[dict[str, Region]] = []  # per source, by its own name of the kind
        self.kinds: dict[str, tuple[str, ...]] = {}
        for one in self.ingredients:
            known = {}
            for kind, words in one.source.kinds.items():
                if allowed := tuple(word for word in words if word not in out):
                    known[kind] = Region(kind if len(self.ingredients) == 1 else f"{one.name}: {kind}", allowed)
            self._regions.append(known)
            self.kinds |= {region.kind: region.words for region in known.values()}
        self._own = [frozenset(region.kind for region in known.values()) for known in self._regions]
        self.colours = tuple(dict.fromkeys(colour for one in self.ingredients for colour in one.source.colours))
        weights = np.array([one.weight for one in self.ingredients], float)
        self._shares = tuple(_apportion(weights / weights.sum()))

    @classmethod
    def of(cls, source: Source, seed: int = 0) -> Mix:
        """A mix of one source, complete."""
        return cls([Ingredient("source", source)], seed)

    def pick(self, draw: int) -> tuple[int, int]:
        """Which source (its place in `ingredients`) and which of its pictures the run's n-th draw takes.

        A source's pictures come in a new order every epoch of its own; the same draw always takes the same picture.
        """
        number, nth = 0, draw
        if len(self.ingredients) > 1:
            period, slot = divmod(draw, PERIOD)
            numbers, before = _schedule(self.seed, period, self._shares)
            number = int(numbers[slot])
            nth = period * self._shares[number] + int(before[slot])
        count = len(self.ingredients[number].source)
        epoch, place = divmod(nth, count)
        return number, int(_permutation(self.seed, epoch, count, number)[place])

    def load(self, number: int, index: int) -> Picture:
        """A source's picture, its kinds called and worded as in `kinds`."""
        picture, known = self.ingredients[number].source.load(index), self._regions[number]
        table = np.full(256, 255, np.uint8)
        regions: list[Region] = []
        for i, region in enumerate(picture.regions):
            if (named := known.get(region.kind)) is not None:
                table[i] = len(regions)
                regions.append(Region(named.kind, named.words, region.colour))
        return Picture(picture.rgb, table[picture.ids], tuple(regions))

    def knows(self, number: int, kind: str) -> bool:
        """Whether a kind is one of a source's own."""
        return kind in self._own[number]

    def pixel_counts(self) -> dict[str, int]:
        """How many pixels each kind covers, each source counting by its share of the draws."""
        counts: dict[str, int] = {}
        for one, known, share in zip(self.ingredients, self._regions, self._shares, strict=True):
            found = {known[kind].kind: n for kind, n in one.source.pixel_counts().items() if kind in known}
            factor = 1.0 if len(self.ingredients) == 1 else 1e6 * share / max(1, sum(found.values()))
            counts |= {kind: round(n * factor) for kind, n in found.items()}
        return counts

    def entries(self) -> list[str]:
        """Every kind as a vocabulary's entry, "name, synonym": no word twice, no kind's name as another's synonym."""
        words = [region.words for known in self._regions for region in known.values()]
        names = list(dict.fromkeys(first for first, *_ in words))
        taken = set(names) if len(self.ingredients) > 1 else set()
        found: dict[str, list[str]] = {name: [name] for name in names}
        for name, *synonyms in words:
            found[name] += [word for word in synonyms if word not in taken]
            taken.update(synonyms)
        return [", ".join(entry[:MAX_SYNONYMS]) for entry in found.values()]


def _apportion(shares: NDArray[np.float64]) -> list[int]:
    """PERIOD draws by the largest remainder, one at least for each."""
    exact = shares * PERIOD
    counts = np.maximum(np.floor(exact).astype(int), 1)
    for i in np.argsort(counts - exact):
        if counts.sum() < PERIOD:
            counts[i] += 1
    counts[counts.argmax()] += PERIOD - counts.sum()
    return [int(n) for n in counts]


@lru_cache(maxsize=4)
def _schedule(seed: int, period: int, counts: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The source of every draw in a period, and how many of that source's draws came before it in the period."""
    numbers = np.random.default_rng((seed, 13, period)).permutation(np.repeat(np.arange(len(counts)), counts))
    before = np.zeros(PERIOD, np.int64)
    for number, count in enumerate(counts):
        before[numbers == number] = np.arange(count)
    return numbers, before


@lru_cache(maxsize=16)
def _permutation(seed: int, epoch: int, count: int, number: int) -> NDArray[np.int64]:
    key = (seed, 7, epoch, number) if number else (seed, 7, epoch)
    return np.random.default_rng(key).permutation(count)
