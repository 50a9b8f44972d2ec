"""Doors and windows; walls, floor and ceiling are made by the room itself. Local frame: front -y, back at y = 0."""

from __future__ import annotations

from ovseg_ros.sim.mesh import box, join, quad
from ovseg_ros.sim.parts import METAL, OAK, WALNUT, Material, Model, Part, Style, Texture
from ovseg_ros.sim.solids import ellipsoid
from ovseg_ros.sim.textures import outdoors


def _frame(w: float, h: float, bar: float, depth: float, *, sill: bool) -> Part:
    """A frame of four (or three) bars around an opening; its material is set by the caller."""
    y = -depth / 2
    bars = [
        box(bar, depth, h, ((w + bar) / 2, y, 0)),
        box(bar, depth, h, (-(w + bar) / 2, y, 0)),
        box(w + 2 * bar, depth, bar, (0, y, h)),
    ]
    if sill:
        bars.append(box(w + 3 * bar, 2 * depth, bar, (0, -depth, -bar)))
    return Part(join(bars), Material())


def door(s: Style) -> Model:
    """A leaf with panels, a handle and a frame, about 0.9 x 2.05 m."""
    w, h = s.between(0.85, 1.0), s.between(2.0, 2.1)
    frame = _frame(w, h, 0.08, 0.06, sill=False).mesh
    leaf = [box(w, 0.03, h, (0, -0.015, 0))]
    panels = [
        box(w * 0.36, 0.015, h * size, (x * w * 0.23, -0.037, h * z))
        for x in (-1, 1)
        for z, size in ((0.06, 0.36), (0.52, 0.4))
    ]
    side = 1 if s.chance(0.5) else -1
    knob = [
        ellipsoid(0.03, 0.03, 0.03, (side * w * 0.43, -0.08, 1.0)),
        box(0.13, 0.02, 0.025, (side * w * 0.39, -0.08, 0.99)),
    ]
    trim = s.rng.choice(3)
    wood = (Material((0.85, 0.84, 0.8)), OAK, WALNUT)[int(trim)]
    return [
        Part(join(leaf), s.main(specular=0.1)),
        Part(join(panels), s.shade(0.82)),
        Part(frame, wood),
        Part(join(knob), METAL),
    ]


def window(s: Style) -> Model:
    """A framed pane with cross bars and a view of daylight."""
    w, h = s.between(0.9, 1.9), s.between(0.9, 1.3)
    pane = quad((-w / 2, -0.01, 0), (w / 2, -0.01, 0), (w / 2, -0.01, h), (-w / 2, -0.01, h), fit=True)
    bars = [_frame(w, h, 0.06, 0.06, sill=True).mesh, box(0.04, 0.04, h, (0, -0.02, 0))]
    if s.chance(0.6):
        bars.append(box(w, 0.04, 0.04, (0, -0.02, h * 0.55)))
    trim = Material((0.9, 0.9, 0.88)) if s.chance(0.75) else OAK
    view = Material((0.5, 0.5, 0.5), texture=Texture(outdoors(s.rng)), emission=1.0, specular=0)
    return [Part(pane, view), Part(join(bars), trim)]
