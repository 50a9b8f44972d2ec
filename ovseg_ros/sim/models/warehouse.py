"""What a warehouse keeps on floor and racks: containers, markers, ladders and what carries them."""

from __future__ import annotations

from ovseg_ros.sim.mesh import Mesh, box, join
from ovseg_ros.sim.parts import PINE, PLASTIC, RUBBER, STEEL, Material, Model, Part, Style
from ovseg_ros.sim.solids import arc, cylinder, lathe, rod, torus, tube
from ovseg_ros.sim.textures import carton, grain


def rack_of(w: float, d: float, levels: list[float], s: Style) -> Model:
    """Uprights with braces, beams and decks at the heights `levels`."""
    h = levels[-1] + s.between(0.3, 0.6)
    posts = [box(0.07, 0.07, h, (x * w / 2, y * (d / 2 - 0.04), 0)) for x in (-1, 1) for y in (-1, 1)]
    for x in (-1, 1):
        for i in range(3):
            z0, z1 = h * (0.05 + 0.3 * i), h * (0.05 + 0.3 * (i + 1))
            lean = d / 2 - 0.06 if i % 2 else -(d / 2 - 0.06)
            posts.append(rod((x * w / 2, lean, z0), (x * w / 2, -lean, z1), 0.018, sides=4))
    beams = [box(w, 0.05, 0.11, (0, y * (d / 2 - 0.03), z - 0.12)) for z in levels for y in (-1, 1)]
    decks = [box(w, d - 0.1, 0.02, (0, 0, z - 0.02)) for z in levels]
    uprights = ((0.12, 0.22, 0.5), (0.4, 0.42, 0.45), (0.15, 0.3, 0.25))
    tones = ((0.88, 0.4, 0.08), (0.9, 0.75, 0.1), (0.5, 0.5, 0.52))
    pick = int(s.rng.integers(3))
    return [
        Part(join(posts), Material(uprights[pick])),
        Part(join(beams), Material(tones[int(s.rng.integers(2)) if pick < 2 else pick])),
        Part(join(decks), Material((0.6, 0.57, 0.5))),
    ]


def rack(s: Style) -> Model:
    """A storage rack of common size."""
    return rack_of(s.between(2.2, 2.6), 0.9, [0.15, 1.15, 2.1], s)


def pallet(s: Style) -> Model:
    """A wooden pallet, or a small pile of them."""
    w, d = 1.2, 0.8
    wood = Material(PINE.rgb, texture=s.shared("board", lambda: grain(s.rng, (0.85, 0.85, 0.85))), tile=0.6, specular=0)
    boards: list[Mesh] = []
    for level in range(int(s.extra.get("pile", 1))):
        z = 0.145 * level
        boards += [box(0.1, d, 0.022, (x * (w / 2 - 0.05), 0, z)) for x in (-1, 0, 1)]
        boards += [
            box(0.1, 0.1, 0.08, (x * (w / 2 - 0.05), y * (d / 2 - 0.05), z + 0.022))
            for x in (-1, 0, 1)
            for y in (-1, 0, 1)
        ]
        boards += [box(0.1, d, 0.02, (x * (w / 2 - 0.05), 0, z + 0.1)) for x in (-1, 0, 1)]
        boards += [box(w, 0.11, 0.022, (0, (i - 2) * (d - 0.11) / 4, z + 0.12)) for i in range(5)]
    return [Part(join(boards), wood)]


def carton_box(s: Style) -> Model:
    """A closed cardboard box with tape and a label."""
    w, d, h = s.between(0.28, 0.55), s.between(0.28, 0.5), s.between(0.22, 0.45)
    size = s.extra.get("size", 1.0)
    tone = s.between(0.8, 1.0)
    card = s.shared("carton", lambda: carton(s.rng, (0.78, 0.58, 0.38)))
    return [Part(box(w * size, d * size, h * size, fit=True), Material((tone, tone, tone), texture=card, specular=0))]


def barrel(s: Style) -> Model:
    """A steel drum with two rolling hoops and a bung."""
    r, h = s.between(0.26, 0.3), s.between(0.8, 0.9)
    profile = [
        (r, 0),
        (r, h * 0.3),
        (r * 1.05, h * 0.33),
        (r, h * 0.36),
        (r, h * 0.64),
        (r * 1.05, h * 0.67),
        (r, h * 0.7),
        (r, h),
    ]
    profile += [(r * 0.94, h), (r * 0.93, h - 0.02)]
    bung = cylinder(0.035, 0.02, (r * 0.5, 0, h - 0.02), n=8)
    rims = [lathe([(r * 1.03, z), (r * 1.03, z + 0.02)], 18) for z in (0.0, h - 0.018)]
    return [Part(lathe(profile, 18), s.main(specular=0.3)), Part(join([bung]), STEEL), Part(rims[0], s.shade(0.7))]


def cone(s: Style) -> Model:
    """A traffic cone on a square foot with white (or dark) bands."""
    h, r = s.between(0.45, 0.72), s.between(0.14, 0.18)

    def at(t: float) -> tuple[float, float]:
        return r * (1 - t) + 0.03 * t, 0.03 + (h - 0.03) * t

    body = lathe([at(0), at(1), (0.02, h)], 16)
    bands = [
        lathe([(at(a)[0] * 1.03 + 0.002, at(a)[1]), (at(b)[0] * 1.03 + 0.002, at(b)[1])], 16)
        for a, b in ((0.38, 0.55), (0.7, 0.82))
    ]
    foot = box(2.3 * r, 2.3 * r, 0.035)
    stripe = PLASTIC if min(s.paint) > 0.7 else Material((0.95, 0.95, 0.95))
    return [Part(join([body, foot]), s.main(specular=0.1)), Part(join(bands), stripe)]


def ladder(s: Style) -> Model:
    """An open A-shaped stepladder of aluminium with a tray on top."""
    steps = int(s.rng.integers(5, 8))
    h, w, spread = steps * 0.27 + 0.1, 0.46, steps * 0.1
    bars: list[Mesh] = []
    for x in (-1, 1):
        bars.append(rod((x * w / 2, -spread, 0), (x * w * 0.36, 0, h), 0.027, sides=4))
        bars.append(rod((x * w / 2, spread, 0), (x * w * 0.36, 0.06, h), 0.022, sides=4))
    for i in range(1, steps + 1):
        t = i * 0.27 / h
        bars.append(box(w * (1 - 0.28 * t), 0.09, 0.03, (0, -spread * (1 - t), t * h)))
    bars.append(rod((-w / 2.4, spread * 0.6, h * 0.4), (w / 2.4, spread * 0.6, h * 0.4), 0.015, sides=4))
    bars.append(rod((-w / 2.2, spread * 0.85, h * 0.14), (w / 2.2, spread * 0.85, h * 0.14), 0.015, sides=4))
    top = [box(w * 0.8, 0.2, 0.04, (0, 0.03, h))]
    metal = Material((0.74, 0.76, 0.78), specular=0.5)
    cap = (Material((0.75, 0.12, 0.1)), PLASTIC, Material((0.9, 0.6, 0.1)))[int(s.rng.integers(3))]
    return [Part(join(bars), metal), Part(join(top), cap)]


def hand_truck(s: Style) -> Model:
    """An upright two-wheeled sack truck: frame in the colour, toe plate, two wheels."""
    w, h = s.between(0.42, 0.5), s.between(1.1, 1.3)
    x = w / 2
    frame = [
        tube(
            [
                (-x, 0, 0.08),
                (-x, 0.02, h * 0.85),
                (-x * 0.8, 0.08, h),
                (x * 0.8, 0.08, h),
                (x, 0.02, h * 0.85),
                (x, 0, 0.08),
            ],
            0.025,
        ),
        *(box(w, 0.03, 0.055, (0, 0.01, z * h)) for z in (0.1, 0.36, 0.6, 0.8)),
        *(rod((dx * w, 0.005, 0.1 * h), (dx * w, 0.015, 0.8 * h), 0.016, sides=4) for dx in (-0.17, 0.17)),
    ]
    toe = [box(w, 0.28, 0.02, (0, -0.14, 0.02)), box(w, 0.02, 0.16, (0, 0, 0.02))]
    wheels = [torus(0.09, 0.042, plane="yz", n=12).moved(dx * (x + 0.06), 0.11, 0.132) for dx in (-1, 1)]
    hubs = [rod((-x - 0.08, 0.11, 0.132), (x + 0.08, 0.11, 0.132), 0.025)]
    hubs += [cylinder(0.08, 0.03, n=10).turned(y=90).moved(dx * (x + 0.06) - 0.015, 0.11, 0.132) for dx in (-1, 1)]
    return [Part(join(frame), s.main(specular=0.3)), Part(join(toe + hubs), STEEL), Part(join(wheels), RUBBER)]


def crate(s: Style) -> Model:
    """A stackable plastic crate: slotted sides, open at the top."""
    w, d, h = 0.56, 0.4, s.between(0.24, 0.34)
    bars = [box(w, d, 0.02)]
    bars += [box(0.045, 0.045, h, (x * (w / 2 - 0.022), y * (d / 2 - 0.022), 0)) for x in (-1, 1) for y in (-1, 1)]
    for z, height in ((0.02, 0.05), (h * 0.42, 0.045), (h - 0.055, 0.055)):
        bars += [box(w, 0.018, height, (0, y * (d / 2 - 0.009), z)) for y in (-1, 1)]
        bars += [box(0.018, d, height, (x * (w / 2 - 0.009), 0, z)) for x in (-1, 1)]
    ribs = [box(0.035, 0.014, h, (x * w / 6, y * (d / 2 - 0.008), 0)) for x in (-1.6, 0, 1.6) for y in (-1, 1)]
    return [Part(join(bars), s.main()), Part(join(ribs), s.shade(0.8))]


def bucket(s: Style) -> Model:
    """A tapered bucket, open, with a raised wire handle."""
    r, h = s.between(0.14, 0.17), s.between(0.26, 0.32)
    profile = [
        (r * 0.72, 0),
        (r * 0.97, h * 0.9),
        (r * 1.06, h * 0.9),
        (r * 1.06, h),
        (r * 0.97, h),
        (r * 0.7, 0.02),
        (1e-4, 0.02),
    ]
    handle = tube(arc(r * 1.04, 8, 172, n=11, at=(0, 0, h * 0.93)), 0.007)
    grip = tube([(-0.05, 0, h * 0.93 + r * 1.03), (0.05, 0, h * 0.93 + r * 1.03)], 0.014)
    return [Part(lathe(profile, 16), s.main()), Part(handle, STEEL), Part(grip, PLASTIC)]


def fire_extinguisher(s: Style) -> Model:
    """A red cylinder with a black valve, lever and hose."""
    r, h = s.between(0.075, 0.09), s.between(0.44, 0.54)
    body = lathe([(r * 0.9, 0), (r, 0.02), (r, h * 0.8), (r * 0.8, h * 0.9), (r * 0.3, h * 0.96), (r * 0.28, h)], 16)
    top = [
        cylinder(r * 0.32, 0.05, (0, 0, h), n=8),
        box(0.15, 0.025, 0.014, (0.045, 0, h + 0.035)),
        box(0.17, 0.025, 0.014).turned(y=-18).moved(0.055, 0, h + 0.062),
        tube(
            [(-r * 0.2, 0, h + 0.03), (-r * 1.0, 0, h + 0.01), (-r * 1.4, 0, h * 0.8), (-r * 1.35, 0, h * 0.35)], 0.016
        ),
        rod((-r * 1.35, 0, h * 0.38), (-r * 1.3, 0, h * 0.2), 0.024),
    ]
    label = lathe([(r, h * 0.34), (r * 1.01, h * 0.345), (r * 1.01, h * 0.62), (r, h * 0.625)], 16)
    red = Material((0.78, 0.06, 0.06), specular=0.4, shininess=0.6)
    base = lathe([(r * 1.04, 0), (r * 1.04, 0.03)], 14)
    return [Part(body, red), Part(join([*top, base]), PLASTIC), Part(label, Material((0.92, 0.9, 0.85)))]
