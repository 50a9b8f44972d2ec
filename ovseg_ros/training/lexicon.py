"""Further synonyms for a run's kinds, from WordNet."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def lexicon_words(kinds: Mapping[str, tuple[str, ...]], forbidden: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Synonyms by kind: none that a kind has already, none that is held out for measuring.

    Args:
        kinds: every kind of the run with its words, the name first.
        forbidden: words that training may not use, in any case and in singular and plural alike.

    Raises:
        LexiconError: when WordNet or its reader is missing; the text says how to get it.
    """
    from ovseg_ros.lexicon import Lexicon  # its dictionary is no part of this package

    lexicon = Lexicon.open()
    taken = {_bare(word) for words in kinds.values() for word in words} | {_bare(word) for word in forbidden}
    names = tuple(words[0] for words in kinds.values())
    found = {}
    for kind, words in kinds.items():
        context = tuple(name for name in names if name != words[0])
        new = [word for word in lexicon.synonyms(words[0], context=context) if _bare(word) not in taken]
        if new:
            found[kind] = tuple(dict.fromkeys(new))
    return found


def _bare(word: str) -> str:
    """A word so that its plural and its spellings with hyphen or without compare equal."""
    bare = "".join(c for c in word.casefold() if c.isalnum())
    return bare.removesuffix("es") if bare.endswith("shes") else bare.removesuffix("s")
