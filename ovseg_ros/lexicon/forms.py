"""Forms of English words: number, compounds and their heads. Rules of spelling alone; WordNet knows the exceptions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

# a phrase's head stands before the first of these, "person on a bicycle", else it is the last word, "hand truck"
PREPOSITIONS = frozenset(
    ("of", "on", "in", "with", "at", "for", "from", "to", "by", "under", "over", "behind", "near", "without")
)
STOP_WORDS = PREPOSITIONS.union(
    ("a", "an", "the", "and", "or", "as", "that", "which", "is", "are", "be", "has", "used", "it", "its")
)

# morphy(7WN): endings that a plural takes off, and what it puts there
ENDINGS = (
    ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"), ("s", "")
)  # fmt: skip


def key(word: str) -> str:
    """What makes two spellings one word: letter case, Unicode form, underscores and white space left out."""
    return " ".join(unicodedata.normalize("NFKC", word).casefold().replace("_", " ").split())


def parts(text: str) -> tuple[str, ...]:
    """The words of a compound or a sentence without what every sentence has: `traffic_light` -> traffic, light."""
    return tuple(word for word in re.findall(r"[^\W_]+", text.lower()) if word not in STOP_WORDS)


def spellings(word: str) -> tuple[str, ...]:
    """The ways in which WordNet may list a word: `traffic light` -> traffic_light, traffic-light, trafficlight."""
    words = key(word).split()
    return tuple(dict.fromkeys(joint.join(words) for joint in ("_", "-", "")))


def split_head(phrase: str) -> tuple[str, str, str]:
    """A phrase as what stands before its head, the head, and what stands after it.

    `old hand truck` -> (old hand, truck, nothing); `person on foot` -> (nothing, person, on foot).
    """
    words = phrase.split()
    place = next((i for i, word in enumerate(words) if i and key(word) in PREPOSITIONS), len(words))
    return " ".join(words[: place - 1]), words[place - 1], " ".join(words[place:])


def plurals(noun: str, irregular: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Spellings that a plural may have, the irregular ones first: `leaf` -> leaves, leafs.

    Args:
        noun: one word, in the singular.
        irregular: inflected forms by their singular.
    """
    if re.search(r"(s|x|z|ch|sh)$", noun):
        regular = noun + "es"
    elif re.search(r"[^aeiou]y$", noun):
        regular = noun[:-1] + "ies"
    else:
        regular = noun + "s"
    return (*irregular.get(noun, ()), regular)


def singulars(noun: str, exceptions: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Singulars that a form may have, as WordNet's own look-up has them, morphy(7WN): `leaves` -> leaf, leave, leav.

    Args:
        noun: one word; a singular may give nonsense too, which no dictionary lists.
        exceptions: singulars by their inflected form, WordNet's `noun.exc`.
    """
    found = list(exceptions.get(noun, ()))
    if not noun.endswith("ss"):
        found += [noun[: -len(end)] + base for end, base in ENDINGS if noun.endswith(end) and len(noun) > len(end)]
    return tuple(dict.fromkeys(found))


def with_head(phrase: str, head: str) -> str:
    """A phrase with another head: (`toy car`, `auto`) -> toy auto."""
    before, _, after = split_head(phrase)
    return " ".join(filter(None, (before, head, after)))
