"""Round and swept solids made in code: lathe, tube, torus, extrusion, cushion; each a `Mesh`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ovseg_ros.sim.mesh import Mesh, Points, Triple, skin

Profile = Sequence[tuple[float, float]]


def lathe(profile: Profile, segments: int = 14) -> Mesh:
    """Turn a profile of (radius, z) about the z axis; it runs up the outside (and down the inside of a vessel)."""
    angle = np.arange(segments) * (2 * math.pi / segments)
    radius, z = np.array(profile, dtype=np.float64).T
    rings = np.stack(
        [
            radius[:, None] * np.cos(angle),
            radius[:, None] * np.sin(angle),
            np.broadcast_to(z[:, None], (len(z), segments)),
        ],
        -1,
    )
    return skin(rings)


def cylinder(radius: float, height: float, at: Triple = (0, 0, 0), *, top: float | None = None, n: int = 12) -> Mesh:
    """A cylinder (or a frustum whose upper radius is `top`) that stands on `at`."""
    return lathe([(radius, 0), (radius if top is None else top, height)], n).moved(*at)


def ellipsoid(rx: float, ry: float, rz: float, at: Triple = (0, 0, 0), *, n: int = 12) -> Mesh:
    """An ellipsoid with its centre `at` a point."""
    rows = max(4, n // 2)
    profile = [(math.sin(math.pi * i / rows), -math.cos(math.pi * i / rows)) for i in range(rows + 1)]
    profile[0], profile[-1] = (1e-4, -1.0), (1e-4, 1.0)
    return lathe(profile, n).scaled(rx, ry, rz).moved(*at)


def tube(points: Sequence[Triple], radius: float | Sequence[float], *, sides: int = 6, closed: bool = False) -> Mesh:
    """A round tube along a polyline; `radius` may change from point to point."""
    path = np.array(points, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(path),))
    if closed:
        tangents = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    else:
        tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    helper = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    side = np.cross(tangents[0], helper)
    rings: list[Points] = []
    angle = np.arange(sides) * (2 * math.pi / sides)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    for point, tangent, r in zip(path, tangents, radii, strict=True):
        side = side - tangent * (side @ tangent)
        side /= math.sqrt(side @ side)
        (x, y, z), (u, v, w) = tangent, side
        other = np.array([y * w - z * v, z * u - x * w, x * v - y * u])
        rings.append(point + r * (cos * side + sin * other))
    if closed:
        rings.append(rings[0])
    return skin(np.array(rings), caps=not closed)


def arc(
    radius: float, start: float, stop: float, *, n: int = 8, plane: str = "xz", at: Triple = (0, 0, 0)
) -> list[Triple]:
    """Points on a circle about `at` from angle `start` to `stop` (degrees) in the plane 'xy', 'xz' or 'yz'."""
    i, j = "xyz".index(plane[0]), "xyz".index(plane[1])
    points = []
    for degrees in np.linspace(start, stop, n):
        point = list(at)
        point[i] += radius * math.cos(math.radians(degrees))
        point[j] += radius * math.sin(math.radians(degrees))
        points.append((point[0], point[1], point[2]))
    return points


def torus(radius: float, thickness: float, at: Triple = (0, 0, 0), *, plane: str = "xy", n: int = 16) -> Mesh:
    """A ring of tube radius `thickness` about `at` in a plane."""
    return tube(arc(radius, 0, 360 - 360 / n, n=n, plane=plane, at=at), thickness, closed=True)


def extrude(outline: Sequence[tuple[float, float]], height: float, at: Triple = (0, 0, 0)) -> Mesh:
    """A prism on an (x, y) outline, counter-clockwise and star-shaped about its mean, that stands on `at`."""
    flat = np.array(outline, dtype=np.float64)
    low = np.concatenate([flat, np.zeros((len(flat), 1))], 1)
    return skin(np.stack([low, low + np.array([0, 0, height])])).moved(*at)


def cushion(w: float, d: float, h: float, at: Triple = (0, 0, 0), *, r: float = 0.05) -> Mesh:
    """A box with rounded vertical edges and soft top and bottom edges; its base is centred `at` a point."""
    r = min(r, w / 2.01, d / 2.01, h / 2.01)
    rings = []
    for inset, z in ((r, 0.0), (0.3 * r, 0.3 * r), (0.0, r), (0.0, h - r), (0.3 * r, h - 0.3 * r), (r, h)):
        x, y, corner = w / 2 - inset, d / 2 - inset, max(r - inset, 0.3 * r)
        ring = []
        for cx, cy, start in ((1, 1, 0), (-1, 1, 90), (-1, -1, 180), (1, -1, 270)):
            for degrees in (start, start + 45, start + 90):
                a = math.radians(degrees)
                ring.append((cx * (x - corner) + corner * math.cos(a), cy * (y - corner) + corner * math.sin(a), z))
        rings.append(ring)
    return skin(np.array(rings, dtype=np.float64)).moved(*at)


def rod(a: Triple, b: Triple, radius: float, *, sides: int = 6) -> Mesh:
    """A straight round bar from a to b."""
    return tube([a, b], radius, sides=sides)
