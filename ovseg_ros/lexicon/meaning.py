"""Which sense a word has: by how often it has each, by what a camera sees, and by the words in its company.

    p(s | word) ~ (n(s) + a / r(s)) * prior(s) * exp(b * mean over c of max over t in senses(c) of sim(s, t))

n counts the sense in WordNet's tagged texts, r is its rank, sim is the similarity of Wu and Palmer, "Verb Semantics and
Lexical Selection" (ACL 1994), section 4, and c runs over the other words of a vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ovseg_ros.lexicon.senses import Sense


@dataclass(frozen=True)
class Choosing:
    """The numbers of the choice. Those given were chosen on the categories of LVIS and ADE20K, see `docs/words.md`.

    Attributes:
        smoothing: a; what the first sense counts beside those met in the tagged texts, which are small.
        company: b; how much the other words weigh.
        most_company: words of the company that are looked at, evenly drawn from a longer one.
        priors: how much rarer a category is among the things that people label than among their words: a banana is a
            fruit before it is a herb, and a camper a vehicle before a person.
        confidence: least probability that both the word and the synonym mean the same thing.
    """

    smoothing: float = 2.0
    company: float = 5.0
    most_company: int = 64
    priors: dict[str, float] = field(default_factory=lambda: {"noun.person": 0.3, "noun.plant": 0.5})
    confidence: float = 0.7


def similarity(a: Sense, b: Sense) -> float:
    """How near two senses are in WordNet's tree, 0..1: twice the depth of what they share over the sum of their own.

    Of several hypernyms in common the one that gives most counts; senses with none have 0.
    """
    best = 0.0
    for name in a.ancestors.keys() & b.ancestors.keys():
        (up, depth), (down, _) = a.ancestors[name], b.ancestors[name]
        best = max(best, 2 * depth / (up + down + 2 * depth))
    return best


def weigh(
    senses: Sequence[Sense], company: Sequence[Sequence[Sense]], choosing: Choosing, rivals: Sequence[int] = ()
) -> tuple[float, ...]:
    """The probability of each sense.

    Args:
        senses: those to choose from.
        company: the senses of every other word.
        choosing: the numbers of the choice.
        rivals: how often each sense occurs that is none of these, as when the word is an adjective too.

    Returns:
        One number a sense; with no rivals they add up to 1.
    """
    company = [others for others in company if others]
    weights = []
    for sense in senses:
        near = [max(similarity(sense, other) for other in others) for others in company]
        fit = sum(near) / len(near) if near else 0.0
        count = sense.frequency + choosing.smoothing / sense.rank
        weights.append(count * choosing.priors.get(sense.lexname, 1.0) * math.exp(choosing.company * fit))
    total = sum(weights) + sum(n + choosing.smoothing / rank for rank, n in enumerate(rivals, 1))
    return tuple(weight / total for weight in weights)
