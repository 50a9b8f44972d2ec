"""What dresses a room: plant, picture, rug, clock, television, suitcase, ball."""

from __future__ import annotations

import math

import numpy as np

from ovseg_ros.sim.mesh import Mesh, box, join, quad, skin
from ovseg_ros.sim.parts import PLASTIC, RUBBER, STEEL, WOODS, Material, Model, Part, Style, Texture
from ovseg_ros.sim.solids import cushion, cylinder, ellipsoid, lathe, rod, tube
from ovseg_ros.sim.textures import carpet, dial, painting


def _leaf(length: float, width: float, droop: float) -> Mesh:
    """An arched leaf along x with its stalk at the origin, thin, seen from both sides."""
    t = np.linspace(0, 1, 6)
    half = width / 2 * np.sin(np.pi * np.clip(t, 0.06, 0.98)) ** 0.8
    x, z = length * t * (1 - 0.25 * t * droop), length * (0.9 * t - 0.9 * droop * t * t)
    ring = [np.stack([x, side * half, z + lift], -1) for side, lift in ((-1, 0.0), (0, 0.012), (1, 0.0), (0, -0.012))]
    return skin(np.stack(ring, 1)[:, ::-1])


def plant(s: Style) -> Model:
    """A pot with arching leaves, or with a stem and a crown of foliage."""
    r, h = s.between(0.13, 0.2), s.between(0.2, 0.34)
    pot = lathe(
        [(r * 0.7, 0), (r, h), (r * 1.08, h), (r * 1.08, h + 0.03), (r * 0.9, h + 0.03), (r * 0.88, h - 0.02)], 14
    )
    tone = s.between(0.75, 1.2)
    green = Material((0.1 * tone, 0.38 * tone, 0.09 * tone), specular=0.05)
    dark = Material((0.07 * tone, 0.27 * tone, 0.07 * tone), specular=0.05)
    pots = ((0.7, 0.33, 0.2), (0.86, 0.85, 0.82), (0.25, 0.25, 0.27))
    clay = Material(pots[int(s.rng.integers(3))])
    leaves: list[Mesh] = []
    stems: list[Mesh] = []
    if s.chance(0.6):
        for i in range(13):
            leaf = _leaf(s.between(0.4, 0.75), s.between(0.1, 0.16), s.between(0.1, 0.75))
            leaves.append(leaf.turned(y=-s.between(10, 40), z=i * 137.5).moved(0, 0, h))
        crown, other = leaves[::2], leaves[1::2]
    else:
        top = s.between(0.8, 1.3)
        stems.append(rod((0, 0, h - 0.05), (0, 0, top), 0.02))
        blobs = []
        for i in range(12):
            a, q = i * 2.4, s.between(0.08, 0.3)
            size = s.between(0.11, 0.17)
            blobs.append(
                ellipsoid(size, size, size * 0.8, (q * math.cos(a), q * math.sin(a), top + s.between(-0.2, 0.25)), n=7)
            )
        crown, other = blobs[::2], blobs[1::2]
    earth = Part(join([cylinder(r * 0.88, 0.01, (0, 0, h - 0.02)), *stems]), Material((0.24, 0.16, 0.1)))
    return [Part(pot, clay), earth, Part(join(crown), green), Part(join(other), dark)]


def picture(s: Style) -> Model:
    """A framed painting that hangs flat on a wall."""
    w, h = s.between(0.45, 1.1), s.between(0.4, 0.8)
    canvas = quad((-w / 2, -0.02, 0), (w / 2, -0.02, 0), (w / 2, -0.02, h), (-w / 2, -0.02, h), fit=True)
    b = s.between(0.03, 0.06)
    bars = [box(b, 0.035, h + 2 * b, (x * (w + b) / 2, -0.0175, -b)) for x in (-1, 1)]
    bars += [box(w, 0.035, b, (0, -0.0175, z)) for z in (-b, h)]
    frames = (PLASTIC, Material((0.72, 0.58, 0.25), specular=0.4), *WOODS)
    view = Material((1, 1, 1), texture=Texture(painting(s.rng)), specular=0)
    return [Part(canvas, view), Part(join(bars), frames[int(s.rng.integers(len(frames)))])]


def rug(s: Style) -> Model:
    """A flat rectangular or round rug with a border."""
    w, d = s.between(1.4, 2.4), s.between(1.0, 1.7)
    pile = s.shared("pile", lambda: carpet(s.rng, (0.97, 0.97, 0.97)))
    main = Material(s.paint, texture=pile, tile=0.5, specular=0)
    if s.chance(0.35):
        r = d / 2 + 0.1
        return [Part(cylinder(r, 0.012, n=28), s.shade(0.75)), Part(cylinder(r * 0.86, 0.016, n=28), main)]
    return [Part(box(w, d, 0.012), s.shade(0.72)), Part(box(w - 0.16, d - 0.16, 0.016), main)]


def clock(s: Style) -> Model:
    """A round wall clock with two hands."""
    r = s.between(0.16, 0.24)
    rim = lathe([(r, 0), (r, 0.04), (r * 0.9, 0.05), (r * 0.9, 0.02)], 24).turned(x=90).moved(0, 0, r)
    c = r * 0.68
    face = quad((-c, -0.026, r - c), (c, -0.026, r - c), (c, -0.026, r + c), (-c, -0.026, r + c), fit=True)
    disc = cylinder(r * 0.92, 0.024, n=24).turned(x=90).moved(0, 0, r)
    hands = [
        box(0.014, 0.006, r * length, (0, -0.034, 0)).turned(y=s.between(0, 360)).moved(0, 0, r)
        for length in (0.75, 0.5)
    ]
    rims = (PLASTIC, STEEL, *WOODS, Material((0.6, 0.1, 0.1)))
    return [
        Part(rim, rims[int(s.rng.integers(len(rims)))]),
        Part(disc, Material((0.96, 0.96, 0.96))),
        Part(face, Material((1, 1, 1), texture=Texture(dial()))),
        Part(join(hands), PLASTIC),
    ]


def television(s: Style) -> Model:
    """A wide flat screen on two feet, dark or showing a picture."""
    w = s.between(0.85, 1.25)
    h = w * 0.57
    body = [box(w, 0.05, h, (0, 0, 0.06)), box(w * 0.5, 0.09, h * 0.5, (0, 0.05, 0.06 + h * 0.2))]
    feet = [box(0.04, 0.24, 0.02, (x * w * 0.35, 0, 0)) for x in (-1, 1)] + [
        box(0.03, 0.03, 0.07, (x * w * 0.35, 0, 0)) for x in (-1, 1)
    ]
    x, z0, z1, y = w / 2 - 0.015, 0.08, 0.045 + h, -0.027
    screen = quad((-x, y, z0), (x, y, z0), (x, y, z1), (-x, y, z1), fit=True)
    if s.chance(0.45):
        glow = Material((0.6, 0.6, 0.6), texture=Texture(painting(s.rng)), emission=0.9)
    else:
        glow = Material((0.035, 0.04, 0.05), specular=0.8, shininess=0.8)
    return [Part(join(body + feet), PLASTIC), Part(screen, glow)]


def suitcase(s: Style) -> Model:
    """An upright trolley case with ribs, wheels and a pull-out handle."""
    w, d, h = s.between(0.36, 0.46), s.between(0.22, 0.28), s.between(0.52, 0.68)
    shell = [cushion(w, d, h, (0, 0, 0.05), r=0.06)]
    ribs = [box(0.025, d + 0.02, h - 0.14, (x * w / 5, 0, 0.12)) for x in (-1.6, -0.8, 0, 0.8, 1.6)]
    q = w * 0.28
    grip = h + s.between(0.2, 0.4)
    handle = [tube([(-q, d / 3, h), (-q, d / 3, grip), (q, d / 3, grip), (q, d / 3, h)], 0.012)]
    wheels = [
        cylinder(0.028, 0.03, n=8).turned(y=90).moved(x * w * 0.38, y * d * 0.36, 0.028)
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    return [
        Part(join(shell), s.main(specular=0.3)),
        Part(join(ribs), s.shade(0.75)),
        Part(join(handle + wheels), STEEL),
    ]


def ball(s: Style) -> Model:
    """A ball with a contrasting belt."""
    r = s.between(0.11, 0.24)
    sphere = ellipsoid(r, r, r, n=20)
    tilt = s.between(-40, 40)
    belt = lathe([(r * 0.985, -0.1 * r), (r * 1.012, -0.08 * r), (r * 1.012, 0.08 * r), (r * 0.985, 0.1 * r)], 20)
    white = min(s.paint) > 0.7
    band = RUBBER if white else Material((0.95, 0.95, 0.95))
    return [
        Part(sphere.moved(0, 0, r), s.main(specular=0.35, shininess=0.6)),
        Part(belt.turned(x=tilt).moved(0, 0, r), band),
    ]
