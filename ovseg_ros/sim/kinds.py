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
    Kind("wall", ("room wall", "dividing wall", "divider"), ("partition",)),
    Kind("floor", ("ground", "floorboards"), ("flooring",)),
    Kind("ceiling", ("roof", "room ceiling"), ("overhead ceiling",)),
    Kind("door", ("doorway", "door panel"), ("entrance",), colourable=True),
    Kind("window", ("window pane", "casement"), ("glass pane",)),
)
_ROOM = (
    Kind("chair", ("seat", "kitchen chair", "stool"), ("dining chair",), colourable=True),
    Kind("table", ("desk", "kitchen table", "worktable"), ("dining table",), colourable=True),
    Kind("sofa", ("couch", "divan", "davenport"), ("settee", "loveseat"), colourable=True),
    Kind("bed", ("mattress", "bunk", "cot"), ("single bed",), colourable=True),
    Kind("lamp", ("floor lamp", "light", "lamp stand"), ("standing lamp", "lampshade"), colourable=True),
    Kind("bookcase", ("bookshelf", "book cabinet", "library bookcase"), ("library shelf",)),
    Kind("plant", ("potted plant", "houseplant", "greenery", "leafy plant", "leaves"), ("foliage", "indoor plant")),
    Kind("picture", ("painting", "picture frame", "framed picture", "print", "drawing"), ("artwork", "poster")),
    Kind("rug", ("carpet", "floor covering", "floor rug"), ("mat",), colourable=True),
    Kind("clock", ("wall clock", "clock face", "watch"), ("timepiece",)),
    Kind("television", ("tv", "screen", "display", "television screen"), ("monitor", "television set")),
    Kind("suitcase", ("luggage", "traveling case", "bag"), ("travel bag",), colourable=True),
    Kind("ball", ("toy ball", "rubber ball", "soccer ball"), ("football",), colourable=True),
)
_TABLE = (
    Kind("mug", ("cup", "coffee mug", "drinking cup", "beaker"), ("coffee cup", "teacup"), colourable=True),
    Kind("bottle", ("water bottle", "glass bottle", "vial", "canteen"), ("flask",), colourable=True),
    Kind("bowl", ("soup bowl", "mixing bowl"), ("salad bowl",), colourable=True),
    Kind("plate", ("dish", "serving plate", "crockery"), ("dinner plate", "saucer"), colourable=True),
    Kind("banana", ("ripe banana", "banana fruit", "yellow banana"), ("plantain",)),
    Kind("apple", ("fresh apple", "apple fruit", "eating apple"), ("ripe apple",)),
    Kind("pear", ("pear fruit", "juicy pear"), ("ripe pear",)),
    Kind("book", ("hardcover", "novel", "volume"), ("textbook", "paperback"), colourable=True),
    Kind("laptop", ("notebook computer", "laptop computer"), ("portable computer",)),
    Kind("teapot", ("kettle", "coffeepot"), ("tea kettle",), colourable=True),
    Kind("hammer", ("claw hammer", "sledgehammer", "gavel"), ("mallet",)),
    Kind("scissors", ("pair of scissors", "clippers", "snips"), ("shears",)),
)
_WAREHOUSE = (
    Kind("rack", ("storage rack", "shelf", "warehouse rack", "storage shelf"), ("shelving unit", "shelves")),
    Kind("pallet", ("wooden pallet", "loading pallet", "platform"), ("skid",)),
    Kind("box", ("carton", "cardboard box", "shipping box", "packet"), ("package", "parcel")),
    Kind("forklift", ("forklift truck", "fork truck", "forklift vehicle"), ("lift truck",), colourable=True),
    Kind("barrel", ("drum", "cask", "vat"), ("keg", "oil drum"), colourable=True),
    Kind("cone", ("traffic cone", "safety cone", "marker cone"), ("road cone", "pylon"), colourable=True),
    Kind("ladder", ("stepladder", "steps", "extension ladder"), ("folding ladder",)),
    Kind("hand truck", ("trolley", "handcart", "dolly"), ("sack truck", "push cart"), colourable=True),
    Kind("crate", ("plastic crate", "packing crate", "bin", "plastic bin"), ("storage bin", "tote"), colourable=True),
    Kind("fire extinguisher", ("extinguisher", "wall extinguisher"), ("portable extinguisher",)),
    Kind("person", ("human", "worker", "adult", "somebody"), ("pedestrian", "man")),
    Kind("bucket", ("pail", "tub"), ("water bucket",), colourable=True),
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
