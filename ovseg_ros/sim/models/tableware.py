"""What stands on tables: tableware, fruit, a book, a laptop and small tools. Base at z = 0."""

from __future__ import annotations

import math

from ovseg_ros.sim.mesh import box, join, quad
from ovseg_ros.sim.parts import OAK, PAPER, PLASTIC, STEEL, Material, Model, Part, Style, Texture
from ovseg_ros.sim.solids import arc, cylinder, ellipsoid, extrude, lathe, rod, torus, tube
from ovseg_ros.sim.textures import painting


def mug(s: Style) -> Model:
    """A cylindrical mug with a round handle, dark or milky inside."""
    r, h = s.between(0.038, 0.048), s.between(0.085, 0.11)
    wall = lathe([(r * 0.85, 0), (r, 0.012), (r, h), (r * 0.9, h), (r * 0.88, h * 0.75)], 18)
    handle = tube(arc(h * 0.3, -100, 100, n=9, at=(r * 0.95, 0, h * 0.5)), 0.0075)
    drink = cylinder(r * 0.89, 0.002, (0, 0, h * 0.74), n=18)
    fill = Material((0.2, 0.1, 0.05)) if s.chance(0.6) else s.shade(0.7)
    return [Part(join([wall, handle]), s.main(specular=0.4, shininess=0.6)), Part(drink, fill)]


def bottle(s: Style) -> Model:
    """A slim bottle with shoulders, neck, cap and label."""
    r, h = s.between(0.034, 0.042), s.between(0.24, 0.31)
    body = lathe(
        [(r * 0.9, 0), (r, 0.01), (r, h * 0.58), (r * 0.85, h * 0.67), (r * 0.38, h * 0.8), (r * 0.36, h * 0.93)], 16
    )
    cap = cylinder(r * 0.46, h * 0.09, (0, 0, h * 0.91), n=12)
    label = lathe([(r, h * 0.18), (r * 1.015, h * 0.185), (r * 1.015, h * 0.45), (r, h * 0.455)], 16)
    caps = (PAPER, PLASTIC, STEEL)[int(s.rng.integers(3))]
    parts = [Part(body, s.main(specular=0.5, shininess=0.7)), Part(cap, caps)]
    if s.chance(0.5):
        parts.append(Part(label, PAPER if max(s.paint) < 0.8 or min(s.paint) < 0.7 else PLASTIC))
    return parts


def bowl(s: Style) -> Model:
    """A deep round bowl, open at the top."""
    r, h = s.between(0.075, 0.115), s.between(0.055, 0.08)
    outside = [(r * 0.42, 0), (r * 0.45, 0.008), (r * 0.78, h * 0.45), (r * 0.95, h * 0.8), (r, h)]
    inside = [(r * 0.94, h), (r * 0.88, h * 0.8), (r * 0.7, h * 0.5), (r * 0.35, 0.02), (1e-4, 0.015)]
    return [Part(lathe(outside + inside, 20), s.main(specular=0.4, shininess=0.6))]


def plate(s: Style) -> Model:
    """A flat plate with a raised rim."""
    r = s.between(0.1, 0.14)
    profile = [(r * 0.6, 0), (r, 0.02), (r, 0.024), (r * 0.68, 0.011), (r * 0.62, 0.007), (1e-4, 0.007)]
    return [Part(lathe(profile, 24), s.main(specular=0.4, shininess=0.6))]


def banana(s: Style) -> Model:
    """One banana or a bunch of two or three, lying down."""
    parts, tips = [], []
    for i in range(int(s.rng.integers(1, 4))):
        r = s.between(0.085, 0.11)
        line = arc(r, 200, 345, n=9, plane="xy", at=(0, 0.055, 0.02))
        fruit = tube(line, [0.006, 0.014, 0.018, 0.02, 0.02, 0.02, 0.018, 0.013, 0.006], sides=7)
        tip = tube([line[0], (line[0][0] - 0.006, line[0][1] + 0.025, 0.022)], 0.006)
        place = {"x": 0.0, "y": -0.033 * i, "z": 0.004 * i}
        parts.append(fruit.turned(z=i * 7).moved(**place))
        tips.append(tip.turned(z=i * 7).moved(**place))
    yellow = Material((0.93, 0.78, 0.16), specular=0.1)
    return [Part(join(parts), yellow), Part(join(tips), Material((0.45, 0.36, 0.12)))]


def apple(s: Style) -> Model:
    """An apple with a dimple and a stalk, red or green."""
    r = s.between(0.036, 0.045)
    profile = [
        (0.35, 0.06),
        (0.6, 0.0),
        (0.85, 0.3),
        (1.0, 0.9),
        (0.96, 1.3),
        (0.75, 1.66),
        (0.42, 1.78),
        (0.15, 1.62),
        (1e-3, 1.5),
    ]
    body = lathe([(x * r, z * r) for x, z in profile], 16)
    stalk = rod((0, 0, r * 1.5), (r * 0.15, 0, r * 2.15), r * 0.06)
    skin = (0.72, 0.1, 0.08) if s.chance(0.65) else (0.5, 0.7, 0.16)
    return [Part(body, Material(skin, specular=0.3, shininess=0.5)), Part(stalk, Material((0.3, 0.2, 0.1)))]


def pear(s: Style) -> Model:
    """A pear: wide below, narrow above, yellow-green."""
    r = s.between(0.034, 0.042)
    profile = [
        (0.3, 0.05),
        (0.6, 0.0),
        (0.9, 0.35),
        (1.0, 0.85),
        (0.88, 1.35),
        (0.6, 1.85),
        (0.46, 2.3),
        (0.36, 2.6),
        (0.15, 2.72),
    ]
    body = lathe([(x * r, z * r) for x, z in profile], 16)
    stalk = rod((0, 0, r * 2.65), (r * 0.3, 0, r * 3.2), r * 0.07)
    tone = s.between(0.85, 1.1)
    skin = Material((0.7 * tone, 0.74 * tone, 0.25 * tone), specular=0.15)
    return [Part(body, skin), Part(stalk, Material((0.32, 0.22, 0.1)))]


def book(s: Style) -> Model:
    """A closed book, or a pile of two in the colour, lying flat."""
    parts = []
    z = 0.0
    for _ in range(1 if s.chance(0.6) else 2):
        w, d, h = s.between(0.14, 0.19), s.between(0.21, 0.27), s.between(0.022, 0.045)
        turn = s.between(-15, 15)
        covers = [box(w, d, 0.004), box(w, d, 0.004, (0, 0, h - 0.004)), box(0.004, d, h, (-w / 2, 0, 0))]
        pages = box(w - 0.012, d - 0.012, h - 0.008, (0, 0, 0.004)).turned(z=turn).moved(z=z)
        label = box(w * 0.5, d * 0.16, 0.001, (0, d * 0.2, h)).turned(z=turn).moved(z=z)
        ink = PLASTIC if min(s.paint) > 0.7 else PAPER
        parts += [Part(join(covers).turned(z=turn).moved(z=z), s.main()), Part(pages, PAPER), Part(label, ink)]
        z += h
    return parts


def laptop(s: Style) -> Model:
    """An open laptop, its keyboard and a lit screen."""
    w, d = s.between(0.31, 0.37), s.between(0.21, 0.25)
    tone = (0.68, 0.69, 0.71) if s.chance(0.6) else (0.14, 0.14, 0.15)
    lean = s.between(8, 25)
    lid = box(w, 0.008, d).turned(x=-lean).moved(0, d / 2, 0.014)
    x, y = w / 2 - 0.01, -0.0055
    screen = quad((-x, y, 0.012), (x, y, 0.012), (x, y, d - 0.01), (-x, y, d - 0.01), fit=True)
    keys = [
        box(w * 0.062, d * 0.085, 0.003, ((i - 6) * w * 0.069, d * (0.3 - 0.115 * row), 0.016))
        for row in range(4)
        for i in range(13)
    ]
    pad = box(w * 0.3, d * 0.24, 0.0015, (0, -d * 0.32, 0.016))
    view = Material((0.6, 0.6, 0.6), texture=Texture(painting(s.rng)), emission=0.9)
    return [
        Part(join([box(w, d, 0.016), lid]), Material(tone, specular=0.3)),
        Part(join(keys), PLASTIC),
        Part(pad, Material((0.4, 0.4, 0.42))),
        Part(screen.turned(x=-lean).moved(0, d / 2, 0.014), view),
    ]


def teapot(s: Style) -> Model:
    """A round teapot with spout, ear handle, lid and knob."""
    r = s.between(0.07, 0.09)
    profile = [
        (0.6, 0),
        (0.66, 0.06),
        (0.95, 0.5),
        (1.0, 0.85),
        (0.85, 1.25),
        (0.5, 1.5),
        (0.48, 1.56),
        (0.2, 1.66),
        (0.08, 1.68),
    ]
    body = lathe([(x * r, z * r) for x, z in profile], 18)
    knob = ellipsoid(r * 0.16, r * 0.16, r * 0.15, (0, 0, r * 1.78), n=8)
    spout = tube(
        [(r * 0.8, 0, r * 0.5), (r * 1.25, 0, r * 0.7), (r * 1.45, 0, r * 1.15), (r * 1.75, 0, r * 1.5)],
        [r * 0.26, r * 0.19, r * 0.13, r * 0.1],
        sides=8,
    )
    ear = tube(arc(r * 0.52, 80, 280, n=9, at=(-r * 0.88, 0, r * 0.85)), r * 0.09)
    return [Part(join([body, spout, ear]), s.main(specular=0.45, shininess=0.6)), Part(knob, s.shade(0.6))]


def hammer(s: Style) -> Model:
    """A claw hammer lying flat: wooden handle, steel head."""
    length = s.between(0.26, 0.33)
    handle = tube([(0, 0, 0.017), (length * 0.4, 0, 0.017), (length, 0, 0.017)], [0.016, 0.012, 0.012], sides=8)
    grip = tube([(-0.005, 0, 0.017), (length * 0.38, 0, 0.017)], 0.0175, sides=8)
    head = [
        cylinder(0.017, 0.05, n=10).turned(x=-90).moved(length, 0.02, 0.018),
        box(0.032, 0.06, 0.032, (length, 0, 0.002)),
    ]
    head += [
        tube(
            [(length + x, -0.02, 0.02), (length + 2 * x, -0.055, 0.018), (length + 1.6 * x - 0.016, -0.085, 0.014)],
            [0.011, 0.008, 0.003],
        )
        for x in (-0.008, 0.008)
    ]
    tones = ((0.75, 0.12, 0.1), (0.1, 0.1, 0.1), (0.9, 0.55, 0.1), (0.15, 0.25, 0.6))
    rubber = Material(tones[int(s.rng.integers(4))])
    parts = [Part(handle, OAK), Part(join(head), STEEL)]
    return [*parts, Part(grip, rubber)] if s.chance(0.5) else parts


def scissors(s: Style) -> Model:
    """Open scissors lying flat: two steel blades, two plastic rings."""
    half, length = s.between(10, 20), s.between(0.1, 0.13)
    blades, rings = [], []
    for side in (-1, 1):
        blade = extrude(
            [(-0.02, -0.008), (0.01, -0.009), (length, -0.001), (length, 0.001), (0.01, 0.008), (-0.02, 0.007)], 0.004
        )
        blades.append(blade.turned(z=side * half).moved(0, 0, 0.006 + 0.002 * side))
        a = math.radians(180 + side * half)
        reach = length * 0.62
        ring = torus(0.024, 0.006, n=12).scaled(1.25, 1, 1).moved(-reach, 0, 0.008)
        shank = tube([(-0.015, 0, 0.008), (-reach + 0.026, 0, 0.008)], [0.006, 0.007])
        rings.append(join([ring, shank]).turned(z=side * half * 1.25).moved(0, math.sin(a) * 0.0, 0))
    screw = cylinder(0.006, 0.012, n=8)
    tones = ((0.8, 0.12, 0.1), (0.08, 0.08, 0.09), (0.1, 0.3, 0.7), (0.95, 0.45, 0.1))
    grip = Material(tones[int(s.rng.integers(4))], specular=0.3)
    return [Part(join([*blades, screw]), Material((0.7, 0.72, 0.75), specular=0.6)), Part(join(rings), grip)]
