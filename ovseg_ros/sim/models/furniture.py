"""Furniture: things to sit, lie, work and store on. Local frame: base at z = 0, front towards -y."""

from __future__ import annotations

from ovseg_ros.sim.mesh import Mesh, box, join
from ovseg_ros.sim.parts import PAPER, PLASTIC, STEEL, WOODS, Material, Model, Part, Style
from ovseg_ros.sim.solids import cushion, cylinder, ellipsoid, lathe, rod


def _legs(w: float, d: float, h: float, r: float, *, splay: float = 0) -> list[Mesh]:
    """Four round legs at the corners of w x d, up to height h."""
    return [
        rod((x * (w / 2 + splay), y * (d / 2 + splay), 0), (x * w / 2, y * d / 2, h), r)
        for x in (-1, 1)
        for y in (-1, 1)
    ]


def _wood(s: Style) -> Material:
    """One of the woods."""
    return WOODS[int(s.rng.integers(len(WOODS)))]


def chair(s: Style) -> Model:
    """A dining chair with slats, or a shell chair; the colour is the seat's and the back's."""
    w, seat, h = s.between(0.42, 0.48), s.between(0.43, 0.47), s.between(0.82, 0.98)
    frame = _wood(s) if s.chance(0.5) else STEEL
    if s.chance(0.5):
        bars = [
            rod((x * (w / 2 - 0.03), w / 2 - 0.03, seat), (x * (w / 2 - 0.03), w / 2 + 0.03, h), 0.02) for x in (-1, 1)
        ]
        back = [
            box(w - 0.04, 0.025, 0.09, (0, w / 2 - 0.02 + 0.05 * t, seat + t * (h - seat))) for t in (0.3, 0.6, 0.86)
        ]
        body = [cushion(w, w, 0.05, (0, 0, seat - 0.03), r=0.03), *back]
        return [Part(join(body), s.main()), Part(join(_legs(w - 0.06, w - 0.06, seat, 0.02) + bars), frame)]
    back_rest = cushion(w, h - seat - 0.02, 0.04, r=0.04).turned(x=80).moved(0, w / 2 + 0.03, (h + seat) / 2 + 0.02)
    shell = [cushion(w, w, 0.06, (0, 0, seat - 0.03), r=0.05), back_rest]
    return [Part(join(shell), s.main()), Part(join(_legs(w - 0.14, w - 0.14, seat, 0.016, splay=0.06)), frame)]


def table_of(s: Style, w: float, d: float, h: float, top: Material) -> Model:
    """A table of a given size with a given top; legs at the corners, or one round column under a round top."""
    legs = _wood(s) if s.chance(0.6) else STEEL
    apron = [box(w - 0.16, d - 0.16, 0.07, (0, 0, h - 0.1))]
    thick = 0.035
    slab = [box(w, d, thick, (0, 0, h - thick))]
    stand = [
        box(0.055, 0.055, h - thick, (x * (w / 2 - 0.07), y * (d / 2 - 0.07), 0)) for x in (-1, 1) for y in (-1, 1)
    ]
    return [Part(join(slab), top), Part(join(stand + apron), legs)]


def table(s: Style) -> Model:
    """A table whose top has the colour; `extra` may fix w, d and h in metres."""
    w, d, h = s.between(0.8, 1.5), s.between(0.6, 0.8), s.between(0.68, 0.76)
    return table_of(s, s.extra.get("w", w), s.extra.get("d", d), s.extra.get("h", h), s.main())


def sofa(s: Style) -> Model:
    """A two- or three-seater with arms and cushions."""
    seats = int(s.rng.integers(2, 4))
    w, d, h = seats * 0.6 + 0.4, s.between(0.8, 0.92), s.between(0.72, 0.85)
    arms = [cushion(0.2, d, 0.58, (x * (w / 2 - 0.1), 0, 0.06), r=0.07) for x in (-1, 1)]
    base = [
        cushion(w - 0.3, d - 0.05, 0.24, (0, 0, 0.08), r=0.03),
        cushion(w - 0.2, 0.22, h - 0.08, (0, d / 2 - 0.12, 0.08), r=0.07),
    ]
    pads = [cushion(0.58, d - 0.3, 0.15, (0.6 * (i - (seats - 1) / 2), -0.1, 0.31), r=0.05) for i in range(seats)]
    backs = [
        cushion(0.56, 0.36, 0.14, r=0.06).turned(x=78).moved(0.6 * (i - (seats - 1) / 2), d / 2 - 0.22, 0.62)
        for i in range(seats)
    ]
    feet = [box(0.06, 0.06, 0.08, (x * (w / 2 - 0.1), y * (d / 2 - 0.1), 0)) for x in (-1, 1) for y in (-1, 1)]
    return [
        Part(join(arms + base), s.main(specular=0.03)),
        Part(join(pads + backs), s.shade(1.12)),
        Part(join(feet), _wood(s)),
    ]


def bed(s: Style) -> Model:
    """A bed with a headboard, white pillows and a blanket in the colour."""
    w, d = s.between(0.95, 1.5), s.between(1.95, 2.1)
    wood = _wood(s)
    frame = [box(w, d, 0.2, (0, 0, 0.1)), box(w + 0.06, 0.06, s.between(0.8, 1.05), (0, d / 2, 0))]
    frame += [box(0.08, 0.08, 0.1, (x * (w / 2 - 0.06), y * (d / 2 - 0.06), 0)) for x in (-1, 1) for y in (-1, 1)]
    mattress = [cushion(w - 0.04, d - 0.06, 0.2, (0, -0.02, 0.3), r=0.06)]
    count = 2 if w > 1.2 else 1
    pillows = [
        cushion(0.62, 0.4, 0.14, r=0.06).turned(x=12).moved(0.68 * (i - (count - 1) / 2), d / 2 - 0.32, 0.48)
        for i in range(count)
    ]
    cover = [cushion(w + 0.05, d * 0.66, 0.27, (0, -d * 0.165, 0.27), r=0.07)]
    return [Part(join(frame), wood), Part(join(mattress + pillows), PAPER), Part(join(cover), s.main(specular=0.02))]


def lamp(s: Style) -> Model:
    """A floor lamp with a lit conical shade in the colour."""
    h, r = s.between(1.35, 1.65), s.between(0.2, 0.27)
    pole = [cylinder(0.14, 0.03, n=14), rod((0, 0, 0.02), (0, 0, h - 0.05), 0.014)]
    shade = lathe([(r, h - 0.3), (r * 0.55, h), (r * 0.53, h), (r * 0.97, h - 0.3)], 16)
    red, green, blue = s.paint
    lit = Material((red, green, blue), emission=0.35 if s.chance(0.6) else 0.05, specular=0)
    bulb = ellipsoid(0.06, 0.06, 0.07, (0, 0, h - 0.15))
    return [
        Part(join(pole), PLASTIC if s.chance(0.5) else STEEL),
        Part(shade, lit),
        Part(bulb, Material((1.0, 0.96, 0.85), emission=0.9)),
    ]


def bookcase(s: Style) -> Model:
    """An open case of boards, filled with rows of books of all colours."""
    w, d, levels = s.between(0.7, 1.1), 0.3, int(s.rng.integers(4, 6))
    h = levels * 0.36 + 0.06
    boards = [box(0.03, d, h, (x * (w / 2 - 0.015), 0, 0)) for x in (-1, 1)] + [box(w, 0.015, h, (0, d / 2, 0))]
    boards += [box(w - 0.05, d, 0.03, (0, 0, 0.03 + i * 0.36)) for i in range(levels + 1)]
    tones = [tuple(float(v) for v in s.rng.uniform(0.08, 0.85, 3)) for _ in range(5)]
    rows: list[list[Mesh]] = [[] for _ in tones]
    for level in range(levels):
        x = -w / 2 + 0.05
        while x < w / 2 - 0.09:
            thick = s.between(0.03, 0.06)
            if s.chance(0.88):
                rows[int(s.rng.integers(5))].append(
                    box(thick * 0.92, 0.2, s.between(0.2, 0.29), (x + thick / 2, -0.02, 0.06 + level * 0.36))
                )
            x += thick
    books = [Part(join(row), Material((t[0], t[1], t[2]))) for row, t in zip(rows, tones, strict=True) if row]
    return [Part(join(boards), _wood(s)), *books]
