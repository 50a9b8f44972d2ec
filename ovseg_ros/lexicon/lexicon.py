"""Synonyms for the words that a user or a data set gives: which, and why not others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ovseg_ros.engine.cache import cache_root
from ovseg_ros.lexicon.data import checked, find_wordnet
from ovseg_ros.lexicon.forms import key, parts, split_head, with_head
from ovseg_ros.lexicon.meaning import Choosing, weigh
from ovseg_ros.lexicon.senses import Sense
from ovseg_ros.lexicon.wordnet import Entry, Relative, WordNet

MOST_SYNONYMS = 8  # of a word; more would only repeat each other in the text table
LONGEST = 4  # words of a synonym


@dataclass(frozen=True)
class Choice:
    """What was made of a word.

    Attributes:
        word: the word as it was given.
        entry: the entry of WordNet that it was found under: itself, its singular or its head; empty where none was.
        senses: the senses of that entry with the probability of each; 0 for those that no camera sees.
        sense: the one that the word has; None where none is probable enough.
        kept: its synonyms, in the word's number.
        dropped: the sense's other words, each with the reason.
        note: why there is no sense, in a sentence; else empty.
    """

    word: str
    entry: str = ""
    senses: tuple[tuple[Sense, float], ...] = ()
    sense: Sense | None = None
    kept: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()
    note: str = ""


class Lexicon:
    """WordNet as a source of words for things that a camera sees.

    Args:
        wordnet: the dictionary.
        choosing: the numbers by which senses and synonyms are chosen.
    """

    def __init__(self, wordnet: WordNet, choosing: Choosing | None = None) -> None:
        self.wordnet, self.choosing = wordnet, choosing or Choosing()

    @classmethod
    def open(cls, folder: str | Path | None = None, *, cache: Path | None = None) -> Lexicon:
        """Open WordNet; its reader is loaded when a word first needs it.

        Args:
            folder: a folder of WordNet's files; by default what `data.find_wordnet` finds.
            cache: a folder for what was looked up; by default `words` in the user's cache.

        Raises:
            LexiconError: there is no WordNet; the text says how to get it.
        """
        place = find_wordnet() if folder is None else checked(Path(folder))
        return cls(WordNet(place, cache or cache_root() / "words"))

    def preload(self) -> None:
        """Load the reader now, which takes seconds, instead of with the first word that is not kept on disk.

        Raises:
            LexiconError: WordNet can't be read.
        """
        self.wordnet.preload()

    def senses(self, word: str) -> tuple[Sense, ...]:
        """The senses of a noun in the form given, or else of its singular, the most frequent first; none for others.

        Raises:
            LexiconError: WordNet can't be read.
        """
        return self._entry(word).senses

    def synonyms(self, word: str, *, context: Iterable[str] = (), taken: Iterable[str] = ()) -> tuple[str, ...]:
        """Other words for the same thing, as `choose` has them.

        Raises:
            LexiconError: WordNet can't be read.
        """
        return self.choose(word, context=context, taken=taken).kept

    def forms(self, word: str) -> tuple[str, ...]:
        """The word in singular and plural, `traffic lights` -> (traffic light, traffic lights); itself where unknown.

        Raises:
            LexiconError: WordNet can't be read.
        """
        whole = self._entry(word)
        if whole.senses:
            return tuple(dict.fromkeys((whole.word, whole.plural)))
        _, noun, _ = split_head(key(word)) if word.strip() else ("", "", "")
        head = self._entry(noun)
        forms = (head.word, head.plural) if head.senses else (noun,)
        return tuple(dict.fromkeys(with_head(key(word), form) for form in forms)) if noun else ()

    def related(self, word: str, *, context: Iterable[str] = (), depth: int = 2) -> tuple[Relative, ...]:
        """Words above, below and beside the word in WordNet's tree, the nearest first.

        Args:
            word: the word; its sense is chosen as for synonyms.
            context: words in its company.
            depth: how many levels up and down.

        Raises:
            LexiconError: WordNet can't be read.
        """
        sense = self.choose(word, context=context).sense
        return () if sense is None else tuple(self.wordnet.relatives(sense.name, depth))

    def choose(self, word: str, *, context: Iterable[str] = (), taken: Iterable[str] = ()) -> Choice:
        """The sense of a word, and its synonyms with the reasons against the others.

        A word that WordNet lacks is taken by its head: `toy car` as a kind of car, its synonyms `toy auto` and so on.

        Args:
            word: one word or several, such as "traffic light"; singular or plural, and its synonyms likewise.
            context: words in its company, such as the other classes of a vocabulary; they decide between senses.
            taken: words that mean something else here, and are no synonym of this one; those of `context` are.

        Raises:
            LexiconError: WordNet can't be read.
        """
        others, given = [key(other) for other in context], key(word)
        entry, phrase = self._find(given)
        before, _, after = split_head(phrase) if phrase else ("", "", "")
        near = list(dict.fromkeys([*parts(f"{before} {after}"), *others]))
        step = -(-len(near) // self.choosing.most_company) or 1
        company = [found for other in near[::step] if (found := self._meant(self._entry(other)))]
        meant = self._meant(entry)
        if not meant:
            note = f"WordNet knows no {'visible thing' if entry.senses else 'noun'} called {word!r}"
            return Choice(word, entry.word if entry.senses else "", tuple((s, 0.0) for s in entry.senses), note=note)
        chances = dict(zip((sense.name for sense in meant), weigh(meant, company, self.choosing), strict=True))
        senses = tuple((sense, chances.get(sense.name, 0.0)) for sense in entry.senses)
        sense, chance = max(senses, key=lambda pair: pair[1])
        if chance < self.choosing.confidence:
            note = f"{word!r} has several likely meanings; words in its company (--context) would decide"
            return Choice(word, entry.word, senses, note=note)
        foreign = self._keys([*others, *taken]) - self._keys([given])
        kept, dropped = [], []
        for lemma in sense.lemmas:
            if key(lemma) == entry.word:
                continue
            reason = ""
            if not self._keys([lemma, with_head(phrase, lemma) if phrase else ""]).isdisjoint(foreign):
                reason = "it belongs to another class"
            if reason := reason or self._objection(lemma, sense, entry) or self._doubt(lemma, sense, chance):
                dropped.append((lemma, reason))
            else:
                kept.append(self._in_place(lemma, phrase, self._is_plural(given)))
        surplus = [(synonym, f"{MOST_SYNONYMS} are enough") for synonym in kept[MOST_SYNONYMS:]]
        return Choice(word, entry.word, senses, sense, tuple(kept[:MOST_SYNONYMS]), (*dropped, *surplus))

    # One word

    def _entry(self, word: str) -> Entry:
        """The entry of a word, or of its likeliest singular where no camera sees what it is in the form given."""
        entry = self.wordnet.entry(word)
        if any(sense.visible for sense in entry.senses):
            return entry
        singulars = [self.wordnet.entry(single) for single in entry.singulars]
        return next((one for one in singulars if any(s.visible for s in one.senses)), entry)

    def _find(self, word: str) -> tuple[Entry, str]:
        """The entry of a word; where no camera sees it but its head, that of the head, and the word as a phrase."""
        entry = self._entry(word)
        if self._meant(entry) or " " not in word:
            return entry, ""
        by_head = self._entry(split_head(word)[1])
        return (by_head, word) if self._meant(by_head) else (entry, "")

    def _meant(self, entry: Entry) -> list[Sense]:
        """The senses that may be meant; those with a capital, such as a Pole from Poland, only where all have one."""
        found = [sense for sense in entry.senses if sense.visible and not sense.mark]
        return [sense for sense in found if not _is_name(sense.spelling)] or found

    def _is_plural(self, word: str) -> bool:
        _, head, _ = split_head(word)
        return self._entry(head).word != head

    def _keys(self, words: Iterable[str]) -> set[str]:
        """The words and their singulars."""
        return {form for word in words if word.strip() for form in (key(word), self._entry(word).word)}

    # One synonym

    def _objection(self, lemma: str, sense: Sense, entry: Entry) -> str:
        """Why nobody should be offered a lemma of the sense; empty where there is nothing against it."""
        own = self.wordnet.entry(lemma)
        if _is_name(lemma):
            return "it is a name"
        if any(s.mark == "offensive" for s in own.senses):
            return "it is offensive in one of its senses"
        if lemma in sense.unusual:
            return "it is slang, archaic or a trade name"
        if any(c.isdigit() for c in lemma) or len(lemma.split()) > LONGEST:
            return f"it has digits or more than {LONGEST} words"
        if not self._is_common(lemma, sense, entry, own):
            return "it is rare: no text or definition of WordNet uses it"
        return ""

    def _doubt(self, lemma: str, sense: Sense, chance: float) -> str:
        """Whether the lemma more likely means another thing, the word meaning this one with the chance given.

        A text encoder meets the lemma alone, not in the company of other words nor as something that a camera sees.
        """
        own = self.wordnet.entry(lemma)
        shares = weigh(own.senses, (), replace(self.choosing, priors={}), own.adjectives)
        both = chance * sum(share for s, share in zip(own.senses, shares, strict=True) if s.name == sense.name)
        return (
            "" if both >= self.choosing.confidence else f"it means something else too: {both:.2f} that both mean this"
        )

    def _is_common(self, lemma: str, sense: Sense, entry: Entry, own: Entry) -> bool:
        """Whether people use it: it occurs in WordNet's texts, or is a compound of what the thing is called anyway.

        `television set` is one for a television, and `idiot box` is none.
        """
        words = parts(lemma)
        if own.uses or len(words) < 2:
            return own.uses > 0
        near = {*sense.kin, *parts(entry.word)}
        return any(word in near or (len(word) > 2 and entry.word.endswith(word)) for word in words)

    def _in_place(self, lemma: str, phrase: str, many: bool) -> str:
        """The synonym in the word's number, and in place of the phrase's head."""
        form = (self.wordnet.entry(lemma).plural or lemma) if many else lemma
        return with_head(phrase, form) if phrase else form


def _is_name(word: str) -> bool:
    """Whether it is spelled as a name; TV is none."""
    return word != word.lower() and not word.isupper()
