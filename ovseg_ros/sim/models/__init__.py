"""One builder for each kind that is placed as a thing: `MODELS[kind](style)` gives its parts."""

from __future__ import annotations

from collections.abc import Callable

from ovseg_ros.sim.models import big, decor, furniture, structure, tableware, warehouse
from ovseg_ros.sim.parts import Model, Style

MODELS: dict[str, Callable[[Style], Model]] = {
    "door": structure.door,
    "window": structure.window,
    "chair": furniture.chair,
    "table": furniture.table,
    "sofa": furniture.sofa,
    "bed": furniture.bed,
    "lamp": furniture.lamp,
    "bookcase": furniture.bookcase,
    "plant": decor.plant,
    "picture": decor.picture,
    "rug": decor.rug,
    "clock": decor.clock,
    "television": decor.television,
    "suitcase": decor.suitcase,
    "ball": decor.ball,
    "mug": tableware.mug,
    "bottle": tableware.bottle,
    "bowl": tableware.bowl,
    "plate": tableware.plate,
    "banana": tableware.banana,
    "apple": tableware.apple,
    "pear": tableware.pear,
    "book": tableware.book,
    "laptop": tableware.laptop,
    "teapot": tableware.teapot,
    "hammer": tableware.hammer,
    "scissors": tableware.scissors,
    "rack": warehouse.rack,
    "pallet": warehouse.pallet,
    "box": warehouse.carton_box,
    "forklift": big.forklift,
    "barrel": warehouse.barrel,
    "cone": warehouse.cone,
    "ladder": warehouse.ladder,
    "hand truck": warehouse.hand_truck,
    "crate": warehouse.crate,
    "fire extinguisher": warehouse.fire_extinguisher,
    "person": big.person,
    "bucket": warehouse.bucket,
}
