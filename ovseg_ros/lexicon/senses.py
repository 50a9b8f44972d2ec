"""The senses of a word as WordNet has them, as plain data that fits in a JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ovseg_ros.lexicon.forms import parts

# lexicographer files, lexnames(5WN), whose nouns a camera sees
VISIBLE = frozenset(
    f"noun.{name}" for name in ("animal", "artifact", "body", "food", "object", "person", "plant", "substance")
)
# what else it sees stands under these: WordNet files traffic lights, posters and coins under communication and
# possession, crowds and woods under groups, clouds, rain and flames under phenomena and events, parks under locations
VISIBLE_BELOW = frozenset(
    f"{name}.n.{number:02d}"
    for name, number in (
        ("organism", 1), ("thing", 12), ("visual_signal", 1), ("sign", 2), ("marker", 2), ("symbol", 1),
        ("reference_point", 1), ("card", 2), ("card", 3), ("publication", 1), ("writing", 2), ("currency", 1),
        ("vegetation", 1), ("gathering", 1), ("people", 1), ("cloud", 1), ("precipitation", 3), ("fire", 1),
        ("fire", 3), ("tract", 1), ("vicinity", 1),
    )
)  # fmt: skip
INVISIBLE_BELOW = "taxonomic_group.n.01"  # WordNet files the genus beside its plants
# usage domains, and words of a definition, that mark a sense nobody should be offered
OFFENSIVE_DOMAINS = frozenset(("ethnic_slur", "disparagement", "obscenity", "vulgarism"))
OFFENSIVE_WORDS = ("offensive", "disparag", "derogat", "vulgar", "obscen", "pejorative", "slur", "contemptuous")
UNUSUAL_DOMAINS = frozenset(("slang", "archaism", "trademark", "trade_name", "acronym", "combining_form"))
KIN = 3  # levels of hypernyms whose words a compound may share


@dataclass(frozen=True)
class Sense:
    """One meaning of a word.

    Attributes:
        name: WordNet's name of it, such as `car.n.01`.
        lemmas: the words that share it, the commonest first as a rule; spaces, not underscores.
        gloss: its definition.
        lexname: the category that WordNet files it under, such as `noun.artifact`.
        spelling: the word as WordNet spells it in this sense: `Pole` from Poland, else `pole`.
        frequency: how often the word has this sense in WordNet's tagged texts; 0 for most, as those are small.
        rank: its place among the word's senses, 1 the most frequent.
        visible: whether it is a thing that a camera sees.
        proper: whether it is one thing with a name, such as a town or a poet.
        mark: `offensive`, `unusual` (slang, archaic, a trade name) or nothing.
        unusual: those of its lemmas that alone are marked so.
        ancestors: distance and depth by the name of every hypernym; the sense itself at distance 0. The root has
            depth 1.
        kin: the words of its definition and of its nearest hypernyms.
    """

    name: str
    lemmas: tuple[str, ...]
    gloss: str
    lexname: str
    spelling: str
    frequency: int
    rank: int
    visible: bool
    proper: bool
    mark: str
    unusual: tuple[str, ...]
    ancestors: dict[str, tuple[int, int]]
    kin: tuple[str, ...]

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Sense:
        """The sense of what `dataclasses.asdict` and JSON made of it."""
        lists = {name: tuple(content[name]) for name in ("lemmas", "unusual", "kin")}
        ancestors = {name: (int(near), int(depth)) for name, (near, depth) in content["ancestors"].items()}
        return cls(**{**content, **lists, "ancestors": ancestors})


def read_sense(synset: Any, word: str, rank: int) -> Sense:
    """The sense of an nltk synset.

    Args:
        synset: the synset.
        word: the word, in the form that WordNet lists it (`traffic_light`), whose sense it is.
        rank: the place of the sense among those of the word, from 1.
    """
    lemmas = synset.lemmas()
    own = next(lemma for lemma in lemmas if lemma.name().lower() == word.lower())
    distances = _distances(synset)
    ancestors = {s.name(): (distance, s.max_depth() + 1) for s, distance in distances.items()}
    proper = bool(synset.instance_hypernyms())
    visible = synset.lexname() in VISIBLE or not VISIBLE_BELOW.isdisjoint(ancestors)
    near = [name for s, distance in distances.items() if 0 < distance <= KIN for name in s.lemma_names()]
    kin = {part for text in (*near, synset.definition()) for part in parts(text)}
    return Sense(
        name=synset.name(),
        lemmas=tuple(name.replace("_", " ") for name in synset.lemma_names()),
        gloss=synset.definition(),
        lexname=synset.lexname(),
        spelling=own.name().replace("_", " "),
        frequency=own.count(),
        rank=rank,
        visible=visible and not proper and INVISIBLE_BELOW not in ancestors,
        proper=proper,
        mark=_mark(synset),
        unusual=tuple(lemma.name().replace("_", " ") for lemma in lemmas if _domains(lemma) & UNUSUAL_DOMAINS),
        ancestors=ancestors,
        kin=tuple(sorted(kin)),
    )


def _distances(synset: Any) -> dict[Any, int]:
    """Every hypernym by its least number of steps."""
    found, queue = {synset: 0}, [synset]
    for node in queue:  # breadth first
        for parent in node.hypernyms() + node.instance_hypernyms():
            if parent not in found:
                found[parent] = found[node] + 1
                queue.append(parent)
    return found


def _domains(item: Any) -> set[str]:
    """The usage domains of a synset or lemma by their words, `slang` for slang.n.02."""
    found = (getattr(domain, "synset", lambda d=domain: d)() for domain in item.usage_domains())
    return {synset.name().rpartition(".n.")[0] for synset in found}


def _mark(synset: Any) -> str:
    domains = _domains(synset).union(*(_domains(lemma) & OFFENSIVE_DOMAINS for lemma in synset.lemmas()))
    gloss = synset.definition().lower()
    if domains & OFFENSIVE_DOMAINS or any(word in gloss for word in OFFENSIVE_WORDS):
        return "offensive"
    return "unusual" if domains & UNUSUAL_DOMAINS else ""
