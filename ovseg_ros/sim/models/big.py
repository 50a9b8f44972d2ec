"""The big movers of the warehouse family: person and forklift."""

from __future__ import annotations

from ovseg_ros.sim.mesh import box, join
from ovseg_ros.sim.parts import PLASTIC, RUBBER, STEEL, Material, Model, Part, Style
from ovseg_ros.sim.solids import cushion, cylinder, ellipsoid, extrude, lathe, rod, tube

SKINS = ((0.93, 0.75, 0.62), (0.8, 0.58, 0.43), (0.55, 0.36, 0.25), (0.36, 0.23, 0.16))
HAIRS = ((0.08, 0.06, 0.05), (0.25, 0.15, 0.08), (0.6, 0.45, 0.22), (0.5, 0.5, 0.5))


def person(s: Style) -> Model:
    """A standing person: legs, shoes, torso, arms, head with hair or a helmet, often in a bright vest."""
    h = s.between(1.58, 1.88)
    k = h / 1.75
    stride, swing = s.between(0, 0.16), s.between(-0.12, 0.16)
    skin = Material(SKINS[int(s.rng.integers(4))], specular=0.05)
    tones = s.rng.uniform(0.08, 0.75, (2, 3))
    shirt, trousers = (
        Material((float(t[0]), float(t[1]), float(t[2])), specular=0) for t in (tones[0], tones[1] * 0.6)
    )
    legs, shoes = [], []
    for side in (-1, 1):
        foot = side * stride
        legs.append(
            tube(
                [(side * 0.09, foot, 0.07), (side * 0.095, foot * 0.4 - 0.02, 0.48), (side * 0.09, 0, 0.9)],
                [0.055, 0.065, 0.09],
                sides=8,
            )
        )
        shoes.append(cushion(0.1, 0.27, 0.09, (side * 0.09, foot - 0.05, 0), r=0.035))
    torso = lathe([(0.13, 0.84), (0.165, 0.92), (0.15, 1.08), (0.19, 1.36), (0.17, 1.45), (0.07, 1.5)], 12).scaled(
        1, 0.64, 1
    )
    sleeves, hands = [], []
    for side in (-1, 1):
        elbow = (side * 0.27, side * swing * 0.4, 1.13)
        wrist = (side * 0.27, side * swing - abs(swing) * 0.8, 0.89)
        sleeves.append(
            tube([(side * 0.17, 0, 1.42), (side * 0.24, 0, 1.38), elbow, wrist], [0.06, 0.058, 0.048, 0.04], sides=7)
        )
        hands.append(ellipsoid(0.04, 0.045, 0.07, (wrist[0], wrist[1], wrist[2] - 0.05), n=8))
    head = [ellipsoid(0.085, 0.1, 0.125, (0, -0.01, 1.63)), cylinder(0.055, 0.1, (0, 0, 1.46), n=8)]
    nose = [ellipsoid(0.015, 0.025, 0.02, (0, -0.11, 1.62), n=6)]
    parts = [Part(join(legs), trousers), Part(join(shoes), RUBBER), Part(join([torso, *sleeves]), shirt)]
    parts.append(Part(join(head + nose + hands), skin))
    if s.chance(0.5):
        helmet = lathe([(0.13, 1.67), (0.112, 1.685), (0.1, 1.75), (0.05, 1.79), (0.01, 1.795)], 12).scaled(1, 1.15, 1)
        helmets = ((0.95, 0.8, 0.1), (0.95, 0.95, 0.95), (0.9, 0.4, 0.05))
        parts.append(Part(helmet, Material(helmets[int(s.rng.integers(3))])))
    else:
        hair = ellipsoid(0.092, 0.105, 0.1, (0, 0.018, 1.675))
        parts.append(Part(hair, Material(HAIRS[int(s.rng.integers(4))], specular=0)))
    if s.chance(0.5):
        vest = lathe([(0.158, 0.93), (0.163, 1.08), (0.2, 1.34), (0.175, 1.46)], 12).scaled(1, 0.67, 1)
        strap = lathe([(0.17, 1.1), (0.184, 1.15)], 12).scaled(1, 0.69, 1)
        bright = ((0.75, 0.95, 0.1), (1.0, 0.42, 0.05))[int(s.rng.integers(2))]
        parts += [Part(vest, Material(bright, emission=0.1)), Part(strap, Material((0.85, 0.85, 0.85)))]
    return [Part(part.mesh.scaled(k, k, k), part.material) for part in parts]


def forklift(s: Style) -> Model:
    """A counterbalance truck facing -y: body, cage, mast, forks and four wheels."""
    h = s.between(1.95, 2.1)
    side = extrude(
        [(-1.15, 0.2), (0.55, 0.2), (0.55, 0.6), (0.12, 0.68), (0.0, 0.78), (-0.4, 0.98), (-1.05, 1.0), (-1.15, 0.8)],
        0.96,
    )
    body = side.turned(x=90).turned(z=-90).moved(x=0.48)
    posts = [rod((x * 0.42, -0.42, 0.6), (x * 0.4, -0.25, h), 0.035) for x in (-1, 1)]
    posts += [rod((x * 0.42, 0.95, 0.95), (x * 0.4, 0.6, h), 0.035) for x in (-1, 1)]
    roof = [box(0.88, 0.05, 0.05, (0, y, h - 0.02)) for y in (-0.25, -0.04, 0.17, 0.38, 0.6)]
    roof += [box(0.05, 0.9, 0.05, (x * 0.42, 0.175, h - 0.02)) for x in (-1, 1)]
    mast = [box(0.09, 0.12, h + 0.05, (x * 0.3, -0.68, 0.06)) for x in (-1, 1)]
    mast += [box(0.6, 0.06, 0.08, (0, -0.68, z)) for z in (0.3, h * 0.55, h)]
    mast += [box(0.86, 0.05, 0.4, (0, -0.78, 0.12))]
    lift = s.between(0.03, 0.25)
    forks = [box(0.12, 1.05, 0.045, (x * 0.25, -1.3, lift)) for x in (-1, 1)]
    forks += [box(0.12, 0.05, 0.5, (x * 0.25, -0.81, lift)) for x in (-1, 1)]
    wheels = [
        cylinder(r, 0.18, n=14).turned(y=90).moved(x * 0.46 - 0.09, y, r)
        for x in (-1, 1)
        for y, r in ((-0.4, 0.29), (0.75, 0.24))
    ]
    hubs = [
        cylinder(r * 0.5, 0.19, n=10).turned(y=90).moved(x * 0.46 - 0.095, y, r)
        for x in (-1, 1)
        for y, r in ((-0.4, 0.29), (0.75, 0.24))
    ]
    seat = [cushion(0.48, 0.45, 0.14, (0, 0.25, 0.88), r=0.05), cushion(0.48, 0.12, 0.5, (0, 0.5, 1.0), r=0.05)]
    wheel = [
        rod((0, -0.35, 0.6), (0, -0.15, 1.0), 0.025),
        cylinder(0.16, 0.025, n=12).turned(x=60).moved(0, -0.15, 1.0),
    ]
    return [
        Part(body, s.main(specular=0.3)),
        Part(join(posts + roof + seat + wheel), PLASTIC),
        Part(join(mast + forks), Material((0.22, 0.22, 0.24), specular=0.4)),
        Part(join(wheels), RUBBER),
        Part(join(hubs), STEEL),
    ]
