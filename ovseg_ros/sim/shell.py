"""Close a stage: floor, ceiling and four walls with their surfaces, and contact shadows painted into them."""

from __future__ import annotations

import numpy as np

from ovseg_ros.sim import textures
from ovseg_ros.sim.mesh import Mesh, Triple, box, join, quad
from ovseg_ros.sim.parts import Material, Part, Rgb, Texture
from ovseg_ros.sim.stage import Placed, Stage, lit_texture, thing
from ovseg_ros.sim.surface import Surface
from ovseg_ros.sim.textures import Image

CELL = 0.6  # metres of one lit cell; light is computed at the corners


def _tone(rng: np.random.Generator, low: float, high: float, tint: float) -> Rgb:
    """A greyish tone with a tint."""
    base = rng.uniform(low, high)
    r, g, b = np.clip(base * (1 + tint * rng.uniform(-1, 1, 3)), 0, 1)
    return float(r), float(g), float(b)


def floor_texture(rng: np.random.Generator, *, industrial: bool) -> tuple[Image, float]:
    """A floor covering and the metres that one repeat covers."""
    wood = [(0.62, 0.45, 0.28), (0.48, 0.32, 0.18), (0.76, 0.62, 0.44), (0.5, 0.45, 0.4)]
    pick = int(rng.integers(2 if industrial else 6))
    if pick == (0 if industrial else 5):
        return textures.concrete(rng, _tone(rng, 0.4, 0.68, 0.04)), 2.5
    if industrial:
        return textures.tiles(rng, _tone(rng, 0.45, 0.65, 0.06), count=2), 3.0
    if pick in (0, 1):
        return textures.planks(rng, wood[int(rng.integers(4))]), 1.1
    if pick == 2:
        return textures.tiles(rng, _tone(rng, 0.45, 0.85, 0.12)), 1.6
    if pick == 3:
        return textures.carpet(rng, _tone(rng, 0.25, 0.6, 0.25)), 1.0
    return textures.checker(rng, _tone(rng, 0.5, 0.75, 0.1)), 1.6


def wall_texture(rng: np.random.Generator, *, industrial: bool) -> tuple[Image, float]:
    """A wall covering and the metres that one repeat covers."""
    pick = rng.random()
    if pick < (0.35 if industrial else 0.12):
        base = (0.62, 0.33, 0.25) if rng.random() < 0.6 else (0.72, 0.68, 0.62)
        return textures.brick(rng, base), 1.1
    if industrial:
        return textures.concrete(rng, _tone(rng, 0.55, 0.8, 0.05)), 3.0
    if pick < 0.35:
        return textures.stripes(rng, _tone(rng, 0.6, 0.85, 0.18)), 1.5
    return textures.plain(rng, _tone(rng, 0.62, 0.92, 0.16)), 2.0


def close(stage: Stage, *, industrial: bool) -> list[Placed]:
    """The objects of the shell: floor, ceiling, four walls; also paints the shadows on registered table tops."""
    rng = stage.rng
    length, width, height = stage.length, stage.width, stage.height
    a, b, c, d = (0.0, 0.0), (length, 0.0), (length, width), (0.0, width)
    texture, tile = floor_texture(rng, industrial=industrial)
    lit = Texture(lit_texture(texture, stage.floor, tile, 1024))
    ground = quad((*a, 0.0), (*b, 0.0), (*c, 0.0), (*d, 0.0), cell=CELL, fit=True)
    shell = [_object("floor", [Part(ground, Material((1, 1, 1), lit, specular=0.1))])]
    above = quad((*d, height), (*c, height), (*b, height), (*a, height), cell=CELL)
    ceiling = [Part(above, Material(_tone(rng, 0.75, 0.95, 0.03), specular=0))]
    ceiling += _ceiling_extras(stage, industrial=industrial)
    shell.append(_object("ceiling", ceiling))
    paper, tile = wall_texture(rng, industrial=industrial)
    cover = Material((1, 1, 1), Texture(paper), tile=tile, specular=0)
    other = (
        Material(_tone(rng, 0.75, 1.0, 0.15), Texture(paper), tile=tile, specular=0) if rng.random() < 0.4 else cover
    )
    skirting = Material(_tone(rng, 0.2, 0.9, 0.1))
    corners = [a, b, c, d]
    for i in range(4):
        p, q = corners[(i + 1) % 4], corners[i]
        low: Triple = (*p, 0.0)
        face = quad(low, (*q, 0.0), (*q, height), (*p, height), cell=CELL)
        parts = [Part(face, cover if i else other)]
        if not industrial:
            parts.append(Part(_skirting(p, q), skirting))
        shell.append(_object("wall", parts))
    for index, surface in stage.tops:
        _paint_top(stage, index, surface)
    return shell


def _object(kind: str, parts: list[Part]) -> Placed:
    """A part of the shell as an object."""
    return Placed(**vars(thing(kind, None, parts)))


def _skirting(p: tuple[float, float], q: tuple[float, float]) -> Mesh:
    """A low board along the foot of a wall from p to q."""
    along_x = p[1] == q[1]
    w, d = (abs(p[0] - q[0]), 0.03) if along_x else (0.03, abs(p[1] - q[1]))
    return box(w, d, 0.09, ((p[0] + q[0]) / 2, (p[1] + q[1]) / 2, 0))


def _ceiling_extras(stage: Stage, *, industrial: bool) -> list[Part]:
    """Lit panels, and beams in a hall; they count as ceiling."""
    z, rng = stage.height, stage.rng
    beams: list[Mesh] = []
    if industrial:
        beams = [
            box(0.18, stage.width, 0.3, (float(x), stage.width / 2, z - 0.3)) for x in np.arange(2.0, stage.length, 4.0)
        ]
    count = max(1, round(stage.length / 3))
    panels = [box(1.1, 0.3, 0.04, (stage.length * (i + 0.5) / count, stage.width / 2, z - 0.05)) for i in range(count)]
    parts = [Part(join(panels), Material((1.0, 1.0, 0.97), emission=1.0))]
    return [*parts, Part(join(beams), Material(_tone(rng, 0.4, 0.7, 0.1)))] if beams else parts


def _paint_top(stage: Stage, index: int, surface: Surface) -> None:
    """Lay a thin painted sheet with grain and contact shadows over a table top."""
    x, y, z = surface.w / 2, surface.d / 2, surface.z + 0.0012
    grain = stage.pool.get("top")
    if not grain:
        grain = stage.pool["top"] = [Texture(textures.grain(stage.rng, (0.95, 0.95, 0.95), amount=0.05))]
    sheet = Texture(lit_texture(grain[0].pixels, surface, 0.7, 512))
    corners = [(*surface.world(u, v), z) for u, v in ((-x, -y), (x, -y), (x, y), (-x, y))]
    top = quad(corners[0], corners[1], corners[2], corners[3], cell=0.3, fit=True)
    colour = stage.placed[index].parts[0].material.rgb
    stage.add_part(index, Part(top, Material(colour, sheet, specular=0.1)))
