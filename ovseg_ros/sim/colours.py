"""The ten named colours, and how a named colour varies from object to object."""

from __future__ import annotations

import colorsys

import numpy as np

from ovseg_ros.sim.parts import Rgb

COLOURS: dict[str, tuple[int, int, int]] = {  # sRGB 0..255
    "red": (205, 25, 28),
    "orange": (246, 120, 14),
    "yellow": (246, 214, 38),
    "green": (38, 148, 56),
    "blue": (30, 76, 200),
    "purple": (116, 44, 164),
    "pink": (248, 138, 182),
    "brown": (112, 66, 34),
    "black": (26, 26, 29),
    "white": (240, 240, 237),
}
HUE_JITTER = {"orange": 0.012, "yellow": 0.014, "brown": 0.012, "pink": 0.02, "red": 0.012}


def paint(colour: str, rng: np.random.Generator) -> Rgb:
    """A shade (0..1 per channel) that still bears the colour's name."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in COLOURS[colour]))
    hue = (hue + rng.uniform(-1, 1) * HUE_JITTER.get(colour, 0.025)) % 1.0
    if colour in ("black", "white"):
        value = rng.uniform(0.06, 0.14) if colour == "black" else rng.uniform(0.86, 0.97)
    elif colour == "brown":
        value *= rng.uniform(0.8, 1.12)
    else:
        value = min(1.0, value * rng.uniform(0.85, 1.12))
        saturation = min(1.0, saturation * rng.uniform(0.88, 1.05))
    return colorsys.hsv_to_rgb(hue, saturation, value)
