"""Which words a training batch is asked about: synonyms drawn anew, colours, words left out, words that fit nothing.

A network that only ever meets fixed names learns names; to follow words it has never seen it must learn the text
space itself. So each batch asks for its regions in other words, and for things that are not there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import ModelError
from ovseg_ros.text import StaticTextEncoder

NEAR = 0.35  # cosine from which two words may mean the same thing
OTHER = -1  # a region whose word was left out of the batch's vocabulary
IGNORE = -100  # a pixel without truth, as torch's cross entropy has it
Key = tuple[str | None, str]  # (colour, kind); colour None where the batch asks for the kind alone


@dataclass(frozen=True)
class Region:
    """What one id of an image's truth stands for."""

    kind: str
    words: tuple[str, ...]  # the kind's name and its training synonyms
    colour: str | None = None


@dataclass(frozen=True)
class Question:
    """The vocabulary of one batch.

    Attributes:
        words: K words, those that name regions first, then those that fit nothing here.
        text: (K, D) float32 unit vectors.
        weights: (K,) float32, each word's share in the loss.
        keys: what each word stands for; None for a word about anything.
        target: index into `words` of every key, OTHER where left out.
        coloured: whether regions with a colour are asked for by it.
    """

    words: tuple[str, ...]
    text: NDArray[np.float32]
    weights: NDArray[np.float32]
    keys: tuple[Key | None, ...]
    target: dict[Key, int]
    coloured: bool

    def key(self, region: Region) -> Key:
        """The key a region is looked up by."""
        return (region.colour if self.coloured else None, region.kind)


@dataclass(frozen=True)
class WordMix:
    """How often what is asked; shares in 0..1."""

    coloured: float = 0.0  # batches that ask for "red box", "blue box" instead of "box"
    name: float = 0.5  # a region is asked for by its kind's own name; otherwise by a synonym
    lexicon: float = 0.0  # a region is asked for by a synonym from WordNet, where there is one
    leave_out: float = 0.3  # batches that leave words out
    left_out: float = 0.2  # words left out in such a batch
    absent: int = 24  # words in a batch that fit nothing in it
    noise: float = 0.15  # length of a random vector added to each text embedding


class WordSampler:
    """Draws a batch's vocabulary.

    Args:
        kinds: every kind of the data with its training words.
        colours: colour names, for negatives such as "red box" where the box is blue.
        weights: loss weight by kind.
        encoder: the text encoder whose space is learned.
        mix: shares of the above.
        lexicon: further synonyms by kind, drawn as often as `mix.lexicon` says.
        forbidden: words that are held out: not even asked for where they fit nothing. `kinds` holds none of them.

    Raises:
        ModelError: for a word of which the encoder knows no part.
    """

    def __init__(
        self,
        kinds: dict[str, tuple[str, ...]],
        colours: Sequence[str],
        weights: dict[str, float],
        encoder: StaticTextEncoder,
        mix: WordMix,
        lexicon: Mapping[str, tuple[str, ...]] | None = None,
        forbidden: Collection[str] = (),
    ) -> None:
        self.kinds, self.colours, self.weights, self.mix = kinds, tuple(colours), weights, mix
        self.lexicon = lexicon or {}
        if lost := encoder.unknown([word for words in kinds.values() for word in words]):
            raise ModelError(f"the text encoder knows no part of the word {lost[0]!r}; name the class in English words")
        self._encoder = encoder
        self._cache: dict[str, NDArray[np.float32]] = {}
        self._strangers = _plain_words(encoder, forbidden)

    def draw(self, regions: Sequence[Region], rng: np.random.Generator) -> Question:
        """The vocabulary for a batch that shows these regions."""
        coloured = bool(rng.random() < self.mix.coloured) and any(r.colour for r in regions)
        keys = list(dict.fromkeys((r.colour if coloured else None, r.kind) for r in regions))
        leave_out = rng.random() < self.mix.leave_out
        kept = [key for key in keys if not (leave_out and rng.random() < self.mix.left_out)] or keys[:1]
        words = [self._word(key, rng) for key in kept]
        target = dict.fromkeys(keys, OTHER) | {key: i for i, key in enumerate(kept)}
        weights = [self.weights.get(kind, 1.0) for _, kind in kept]
        left_out = [self.kinds[kind][0] for (_, kind), place in target.items() if place == OTHER]
        negatives = self._absent(keys, words, left_out, coloured, rng)
        if not words and not negatives:  # a batch without truth and without absent words: any word stands for them all
            kind = next(iter(self.kinds))
            negatives = {self.kinds[kind][0]: (None, kind)}
        text = self._embed([*words, *negatives])
        noise = rng.normal(size=text.shape).astype(np.float32)
        text = text + self.mix.noise * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        return Question(
            (*words, *negatives),
            text / np.linalg.norm(text, axis=1, keepdims=True),
            np.array(weights + [1.0] * len(negatives), np.float32),
            (*kept, *negatives.values()),
            target,
            coloured,
        )

    def near(self, question: Question, regions: Sequence[Region]) -> NDArray[np.bool_]:
        """Which of a question's K words may also name what these regions show: (K,), by their cosine."""
        shown = []
        for key in dict.fromkeys(question.key(region) for region in regions):
            place = question.target[key]
            shown.append(self.kinds[key[1]][0] if place == OTHER else question.words[place])
        if not shown:
            return np.zeros(len(question.words), bool)
        near: NDArray[np.bool_] = (self._embed(question.words) @ self._embed(shown).T).max(axis=1) >= NEAR
        return near

    def _word(self, key: Key, rng: np.random.Generator) -> str:
        colour, kind = key
        words = self.kinds[kind]
        if self.mix.lexicon and (more := self.lexicon.get(kind)) and rng.random() < self.mix.lexicon:
            word = str(rng.choice(more))
        else:
            word = words[0] if len(words) == 1 or rng.random() < self.mix.name else str(rng.choice(words[1:]))
        return f"{colour} {word}" if colour else word

    def _absent(
        self, keys: Sequence[Key], words: list[str], left_out: list[str], coloured: bool, rng: np.random.Generator
    ) -> dict[str, Key | None]:
        """Words for things the batch does not show: other kinds, other colours, and words about anything."""
        if not self.mix.absent:
            return {}
        shown = {kind for _, kind in keys}
        present = set(keys)
        others = [kind for kind in self.kinds if kind not in shown]
        rng.shuffle(others)
        found: list[tuple[str, Key | None]] = [
            (self._word((None, kind), rng), (None, kind)) for kind in others[: self.mix.absent // 3]
        ]
        if coloured and self.colours:
            painted = [kind for colour, kind in keys if colour]
            for _ in range(self.mix.absent // 3):
                pair = (str(rng.choice(self.colours)), str(rng.choice(painted)))
                if pair not in present:
                    found.append((self._word(pair, rng), pair))
        pool = rng.choice(self._strangers, size=4 * self.mix.absent, replace=False)
        similarity = (self._embed([str(w) for w in pool]) @ self._embed(words + left_out).T).max(axis=1, initial=-1)
        strangers = [(str(w), None) for w, s in zip(pool, similarity, strict=True) if s < NEAR]
        found += strangers[: self.mix.absent - len(found)]
        unique: dict[str, Key | None] = {}
        for word, key in found:
            if word not in words:
                unique.setdefault(word, key)
        return unique

    def _embed(self, words: Sequence[str]) -> NDArray[np.float32]:
        new = [word for word in dict.fromkeys(words) if word not in self._cache]
        if new:
            self._cache.update(zip(new, self._encoder.encode(new), strict=True))
        rows = [self._cache[word] for word in words]
        return np.stack(rows) if rows else np.zeros((0, self._encoder.width), np.float32)


def _plain_words(encoder: StaticTextEncoder, forbidden: Collection[str]) -> NDArray[np.str_]:
    """Whole English words of the encoder's own vocabulary, in alphabetical order, without forbidden ones."""
    words = {w for w in encoder.tokens() if w.isascii() and w.isalpha() and 4 <= len(w) <= 12}
    return np.array(sorted(words - set(forbidden)))


def balanced_weights(pixels: dict[str, int], power: float) -> dict[str, float]:
    """Loss weights (median pixels / pixels) ** power, kept within 0.25..4."""
    median = float(np.median([n for n in pixels.values() if n]))
    return {kind: float(np.clip((median / max(n, 1)) ** power, 0.25, 4.0)) for kind, n in pixels.items()}
