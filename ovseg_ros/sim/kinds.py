"""The kinds of things in the simulated world, with the words for them, as data.

`synonyms` may be used in training; `held_out_synonyms` never: they measure what a text encoder carries over.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.sim.colours import COLOURS

Words = tuple[str, ...]

EVALUATION_SEEDS = 1_000_000  # seeds from here on are for evaluation alone


@dataclass(frozen=True)
class Kind:
    """One nameable kind of thing."""

    name: str
    synonyms: Words
    held_out_synonyms: Words
    colourable: bool = False  # comes in the ten named colours; else in its natural look


_STRUCTURE = (
    Kind("wall", ("room wall",), ("partition",)),
    Kind("floor", ("ground",), ("flooring",)),
    Kind("ceiling", ("roof",), ("overhead ceiling",)),
    Kind("door", ("doorway",), ("entrance",), colourable=True),
    Kind("window", ("window pane",), ("glass pane",)),
)
_ROOM = (
    Kind("chair", ("seat",), ("dining chair",), colourable=True),
    Kind("table", ("desk",), ("dining table",), colourable=True),
    Kind("sofa", ("couch",), ("settee", "loveseat"), colourable=True),
    Kind("bed", ("mattress",), ("single bed",), colourable=True),
    Kind("lamp", ("floor lamp",), ("standing lamp", "lampshade"), colourable=True),
    Kind("bookcase", ("bookshelf",), ("library shelf",)),
    Kind("plant", ("potted plant", "houseplant"), ("foliage", "indoor plant")),
    Kind("picture", ("painting", "picture frame"), ("artwork", "poster")),
    Kind("rug", ("carpet",), ("mat",), colourable=True),
    Kind("clock", ("wall clock",), ("timepiece",)),
    Kind("television", ("tv", "screen"), ("monitor", "television set")),
    Kind("suitcase", ("luggage",), ("travel bag",), colourable=True),
    Kind("ball", ("toy ball",), ("football",), colourable=True),
)
_TABLE = (
    Kind("mug", ("cup", "coffee mug"), ("coffee cup", "teacup"), colourable=True),
    Kind("bottle", ("water bottle",), ("flask",), colourable=True),
    Kind("bowl", ("soup bowl",), ("salad bowl",), colourable=True),
    Kind("plate", ("dish",), ("dinner plate", "saucer"), colourable=True),
    Kind("banana", ("ripe banana",), ("plantain",)),
    Kind("apple", ("fresh apple",), ("ripe apple",)),
    Kind("pear", ("pear fruit",), ("ripe pear",)),
    Kind("book", ("hardcover", "novel"), ("textbook", "paperback"), colourable=True),
    Kind("laptop", ("notebook computer",), ("portable computer",)),
    Kind("teapot", ("kettle",), ("tea kettle",), colourable=True),
    Kind("hammer", ("claw hammer",), ("mallet",)),
    Kind("scissors", ("pair of scissors",), ("shears",)),
)
_WAREHOUSE = (
    Kind("rack", ("storage rack", "shelf"), ("shelving unit", "shelves")),
    Kind("pallet", ("wooden pallet",), ("skid",)),
    Kind("box", ("carton", "cardboard box"), ("package", "parcel")),
    Kind("forklift", ("forklift truck",), ("lift truck",), colourable=True),
    Kind("barrel", ("drum",), ("keg", "oil drum"), colourable=True),
    Kind("cone", ("traffic cone",), ("road cone", "pylon"), colourable=True),
    Kind("ladder", ("stepladder",), ("folding ladder",)),
    Kind("hand truck", ("trolley",), ("sack truck", "push cart"), colourable=True),
    Kind("crate", ("plastic crate",), ("storage bin", "tote"), colourable=True),
    Kind("fire extinguisher", ("extinguisher",), ("portable extinguisher",)),
    Kind("person", ("human", "worker"), ("pedestrian", "man")),
    Kind("bucket", ("pail",), ("water bucket",), colourable=True),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*_STRUCTURE, *_ROOM, *_TABLE, *_WAREHOUSE)}


def _held_out() -> frozenset[tuple[str, str]]:
    """One colour of every colourable kind, and a second of every fifth, walked so that no colour is hit often."""
    colours = tuple(COLOURS)
    pairs = set()
    for index, kind in enumerate(kind.name for kind in KINDS.values() if kind.colourable):
        pairs.add((colours[(3 * index) % 10], kind))
        if index % 5 == 2:
            pairs.add((colours[(3 * index + 4 + index // 5) % 10], kind))
    return frozenset(pairs)


HELD_OUT_PAIRS = _held_out()  # (colour, kind): never in scenes of training seeds


def colours_of(kind: str, *, evaluation: bool) -> tuple[Words, Words]:
    """The colours that a kind may take, apart: those seen in training, and those held out (evaluation only)."""
    held = tuple(colour for colour in COLOURS if (colour, kind) in HELD_OUT_PAIRS)
    seen = tuple(colour for colour in COLOURS if colour not in held)
    return seen, held if evaluation else ()
