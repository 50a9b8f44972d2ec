"""Teaching a static text encoder the synonyms of WordNet, so that words for one thing lie near one another.

A sentence encoder puts words together that occur together: "footpath" is as near to road as to pavement, "settee" is
near nothing. What a robot is asked needs words together that may replace each other. WordNet says which those are: a
synset's lemmas, its definition and its hypernym. No image is involved, and no word is singled out: all nouns for
visible things take part.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm

from ovseg_ros.text.base import TOKENIZER_FILE
from ovseg_ros.text.static import weighted_tokens

FloatArray = NDArray[np.float32]
SHARES = {  # how often a category's synsets are drawn; the others, which no camera sees, never
    "noun.artifact": 1.0, "noun.object": 0.8, "noun.food": 0.7, "noun.person": 0.4, "noun.substance": 0.4,
    "noun.animal": 0.3, "noun.body": 0.3, "noun.group": 0.3, "noun.location": 0.3, "noun.phenomenon": 0.3,
    "noun.plant": 0.3, "noun.communication": 0.2, "noun.shape": 0.2,
}  # fmt: skip
DESCRIPTIONS = "red green blue yellow white black brown orange grey purple pink small large old wooden plastic metal"
Pair = tuple[str, str, int, int]  # two texts that mean the same, and their synsets


@dataclass(frozen=True)
class Lesson:
    """Constants of the teaching.

    Attributes:
        steps, batch, learning_rate: of Adam; the rate falls to zero along half a cosine.
        temperature: of the InfoNCE loss.
        keep: weight of the squared distance from the first vectors, relative to their squared length.
        synonym, gloss, hypernym, plural: how often a name is paired with what, where there is such a thing.
        described: pairs of which both sides get the same adjective in front, so that "red" keeps its meaning.
        common: power of a synset's share; above 1 prefers common ones.
        head_weight: see `StaticTextEncoder`.
    """

    steps: int = 900
    batch: int = 1024
    learning_rate: float = 5e-3
    temperature: float = 0.07
    keep: float = 0.6
    synonym: float = 1.0
    gloss: float = 0.5
    hypernym: float = 0.5
    plural: float = 0.25
    described: float = 0.15
    common: float = 1.3
    head_weight: float = 2.0
    seed: int = 0


@dataclass
class Synsets:
    """Synsets of visible things: names, how likely each means this, definition, hypernyms, share of the draws."""

    names: list[list[str]] = field(default_factory=list)
    likely: list[FloatArray] = field(default_factory=list)
    glosses: list[str] = field(default_factory=list)
    above: list[list[int]] = field(default_factory=list)
    share: list[float] = field(default_factory=list)


def visible_synsets(wordnet: Any) -> list[Any]:
    """nltk's synsets of the categories in `SHARES`, without single things that have a name."""
    return [s for s in wordnet.all_synsets("n") if s.lexname() in SHARES and not s.instance_hypernyms()]


def read_synsets(wordnet: Any) -> Synsets:
    """What the teaching needs of WordNet."""
    mentions: dict[str, float] = defaultdict(float)  # of a word in any sense
    for synset in wordnet.all_synsets("n"):
        for lemma in synset.lemmas():
            mentions[_text(lemma)] += lemma.count() + 0.5
    chosen = visible_synsets(wordnet)
    place = {synset: i for i, synset in enumerate(chosen)}
    out = Synsets()
    for synset in chosen:
        lemmas = synset.lemmas()
        likely = np.array([(lemma.count() + 0.5) / mentions[_text(lemma)] for lemma in lemmas], np.float32)
        out.names.append([_text(lemma) for lemma in lemmas])
        out.likely.append(likely**0.7 / (likely**0.7).sum())
        out.glosses.append(re.sub(r"\([^)]*\)", "", synset.definition().split(";")[0]).strip().lower())
        out.above.append([place[h] for h in synset.hypernyms() if h in place])
        common = 1 + np.log1p(sum(lemma.count() for lemma in lemmas))
        out.share.append(float(SHARES[synset.lexname()] * likely.sum() ** 0.5 * common))
    return out


def draw_pairs(synsets: Synsets, lesson: Lesson, rng: np.random.Generator) -> Iterator[list[Pair]]:
    """Batches without end."""
    share = np.array(synsets.share) ** lesson.common
    share /= share.sum()
    adjectives = DESCRIPTIONS.split()
    while True:
        batch = []
        for i in rng.choice(len(share), lesson.batch, p=share):
            left, right, other = _pair(synsets, int(i), lesson, rng)
            if rng.random() < lesson.described:
                adjective = str(rng.choice(adjectives))
                left, right = f"{adjective} {left}", f"{adjective} {right}"
            batch.append((left, right, int(i), other))
        yield batch


def _pair(synsets: Synsets, i: int, lesson: Lesson, rng: np.random.Generator) -> tuple[str, str, int]:
    """A name of synset i, something that means the same or nearly, and the synset of that."""
    names = synsets.names[i]
    ways = {"gloss": lesson.gloss, "plural": lesson.plural}
    if len(set(names)) > 1:
        ways["synonym"] = lesson.synonym
    if synsets.above[i]:
        ways["hypernym"] = lesson.hypernym
    way = rng.choice(list(ways), p=np.array(list(ways.values())) / sum(ways.values()))
    left = _name(synsets, i, rng)
    if way == "gloss":
        return left, synsets.glosses[i], i
    if way == "plural":
        return left, plural(left), i
    if way == "hypernym":
        above = int(rng.choice(synsets.above[i]))
        return left, _name(synsets, above, rng), above
    others = [k for k, name in enumerate(names) if name != left]
    likely = synsets.likely[i][others]
    return left, names[others[rng.choice(len(others), p=likely / likely.sum())]], i


def plural(noun: str) -> str:
    """The regular plural, which WordNet does not list."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return noun[:-1] + "ies"
    return noun + "s"


def _name(synsets: Synsets, i: int, rng: np.random.Generator) -> str:
    return synsets.names[i][rng.choice(len(synsets.names[i]), p=synsets.likely[i])]


class StaticTable(nn.Module):
    """The encoder's table as weights to be learned; encodes as `StaticTextEncoder` does."""

    def __init__(self, folder: Path, vectors: FloatArray, head_weight: float) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag.from_pretrained(torch.from_numpy(vectors.copy()), freeze=False, mode="sum")
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown: int | None = self._tokenizer.token_to_id("[UNK]")
        self._head_weight = head_weight
        self._tokens: dict[str, tuple[list[int], FloatArray]] = {}

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Unit vectors (n, D) and the ids of the tokens that made them, each once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        for text, encoding in zip(new, self._tokenizer.encode_batch(new, add_special_tokens=False), strict=True):
            self._tokens[text] = weighted_tokens(encoding, self._unknown, self._head_weight)
        parts = [self._tokens[text] for text in texts]
        ids = torch.tensor([i for part in parts for i in part[0]])
        weights = torch.from_numpy(np.concatenate([part[1] for part in parts]))
        starts = torch.tensor(np.cumsum([0] + [len(part[0]) for part in parts[:-1]]))
        return F.normalize(self.table(ids, starts, per_sample_weights=weights), dim=1), torch.unique(ids)


def related(first: Tensor, second: Tensor) -> Tensor:
    """Which texts of a batch say the same as each other, so that they are no negatives: (n,), (n,) -> (n, n) bool.

    Args:
        first, second: each pair's synsets.
    """
    same = (first[:, None] == first) | (second[:, None] == second)
    same |= (first[:, None] == second) | (second[:, None] == first)
    return same & ~torch.eye(len(first), dtype=torch.bool)


def teach(folder: Path, vectors: FloatArray, synsets: Synsets, lesson: Lesson | None = None) -> FloatArray:
    """Move the vectors so that synonyms meet and everything else stays where it was; five minutes on 2 cores.

    The loss is InfoNCE both ways over a batch of pairs, other pairs of the same synset excepted.

    Args:
        folder: holds the tokenizer.
        vectors: (V, D), one row a token.
        synsets: what is taught.
        lesson: constants.

    Returns:
        (V, D), the new vectors.
    """
    lesson = lesson or Lesson()
    rng = np.random.default_rng(lesson.seed)
    table = StaticTable(folder, vectors, lesson.head_weight)
    first = torch.from_numpy(vectors)
    size = first.square().sum(dim=1).mean()
    optimizer = torch.optim.Adam(table.parameters(), lr=lesson.learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, lesson.steps)
    batches = draw_pairs(synsets, lesson, rng)
    for _ in tqdm(range(lesson.steps), unit="step", desc="synonyms", mininterval=2):
        left, right, a, b = zip(*next(batches), strict=True)
        (u, used), (v, also) = table(left), table(right)
        cosines = u @ v.T / lesson.temperature
        cosines = cosines.masked_fill(related(torch.tensor(a), torch.tensor(b)), -1e4)
        target = torch.arange(len(left))
        used = torch.unique(torch.cat([used, also]))
        moved = (table.table.weight[used] - first[used]).square().sum(dim=1).mean() / size
        loss = (F.cross_entropy(cosines, target) + F.cross_entropy(cosines.T, target)) / 2 + lesson.keep * moved
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
    return table.table.weight.detach().numpy()


def _text(lemma: Any) -> str:
    return str(lemma.name()).replace("_", " ").lower()
