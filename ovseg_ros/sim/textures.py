"""Procedural surfaces made with NumPy: each returns (S, S, 3) uint8 that tiles without a seam."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.sim.parts import Rgb

Image = NDArray[np.uint8]
Field = NDArray[np.float32]
SIZE = 256


def noise(rng: np.random.Generator, *, size: int = SIZE, power: float = 1.0, stretch: float = 1.0) -> Field:
    """Periodic noise (S, S) of mean 0 and deviation 1 with a 1/f^power spectrum, `stretch` times longer along x."""
    fy = np.fft.fftfreq(size)[:, None] * size
    fx = np.fft.rfftfreq(size)[None] * size * stretch
    scale = 1.0 / np.maximum(np.hypot(fx, fy), 1.0) ** power
    scale[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * scale, s=(size, size))
    return np.asarray(field / (field.std() + 1e-9), dtype=np.float32)


def shade(base: Rgb, field: Field, amount: float) -> Image:
    """Paint `base` (0..1) times 1 + amount * field."""
    image = np.array(base, dtype=np.float32) * (1 + amount * field[..., None]) * 255
    return _bytes(image)


def _bytes(image: NDArray[np.floating]) -> Image:
    """Values 0..255, clipped, as bytes."""
    return np.asarray(np.clip(image, 0, 255), dtype=np.uint8)


def plain(rng: np.random.Generator, base: Rgb, *, amount: float = 0.03) -> Image:
    """Painted plaster: one colour with faint mottling."""
    return shade(base, noise(rng, size=128, power=1.2), amount)


def concrete(rng: np.random.Generator, base: Rgb) -> Image:
    """Stained concrete with fine grain."""
    return shade(base, 0.7 * noise(rng, power=1.5) + 0.5 * noise(rng, power=0.3), 0.08)


def carpet(rng: np.random.Generator, base: Rgb) -> Image:
    """Short pile: strong fine grain."""
    return shade(base, noise(rng, power=0.1) + 0.5 * noise(rng, power=1.3), 0.09)


def grain(rng: np.random.Generator, base: Rgb, *, amount: float = 0.1) -> Image:
    """A wooden board: streaks along x."""
    return shade(base, noise(rng, power=1.1, stretch=12), amount)


def planks(rng: np.random.Generator, base: Rgb, *, rows: int = 6) -> Image:
    """Floor boards along x with staggered ends."""
    image = grain(rng, base).astype(np.float32)
    height = SIZE // rows
    for row in range(rows):
        band = image[row * height : (row + 1) * height]
        cut = int(rng.integers(SIZE))
        band[:] = np.roll(band, cut, axis=1) * rng.uniform(0.8, 1.12)
        band[:, cut : cut + 2] *= 0.55
        band[:1] *= 0.55
    return _bytes(image)


def tiles(rng: np.random.Generator, base: Rgb, *, count: int = 4) -> Image:
    """Square tiles with joints."""
    cell = SIZE // count
    tone = 1 + 0.06 * np.kron(rng.standard_normal((count, count)), np.ones((cell, cell)))
    image = shade(base, noise(rng, power=1.3), 0.03) * tone[..., None]
    joint = 0.6 if sum(base) > 1.2 else 1.6
    image[np.arange(SIZE) % cell < 3] *= joint
    image[:, np.arange(SIZE) % cell < 3] *= joint
    return _bytes(image)


def brick(rng: np.random.Generator, base: Rgb) -> Image:
    """A running bond of 8 courses."""
    y, x = np.mgrid[:SIZE, :SIZE]
    row = y // 32
    shifted = (x + 32 * (row % 2)) % SIZE
    tone = 1 + 0.12 * rng.standard_normal((8, 4))[row, shifted // 64]
    image = shade(base, noise(rng, power=0.5), 0.08) * tone[..., None]
    image[(y % 32 < 3) | (shifted % 64 < 3)] = np.array([0.7, 0.68, 0.64]) * 255
    return _bytes(image)


def stripes(rng: np.random.Generator, base: Rgb, *, count: int = 8) -> Image:
    """Vertical stripes of two near tones (wallpaper)."""
    wave = np.sign(np.sin(np.arange(SIZE) * 2 * math.pi * count / SIZE)).astype(np.float32)
    return shade(base, np.tile(wave, (SIZE, 1)), float(rng.uniform(0.04, 0.12)))


def checker(rng: np.random.Generator, base: Rgb, *, count: int = 4) -> Image:
    """Two-tone squares."""
    board = (np.indices((SIZE, SIZE)) * 2 * count // SIZE).sum(0) % 2
    return shade(base, (2 * board - 1 + 0.2 * noise(rng, power=1.0)).astype(np.float32), float(rng.uniform(0.1, 0.35)))


def painting(rng: np.random.Generator) -> Image:
    """A picture: a landscape, blocks of colour, or a portrait-like disc, (128, 128, 3)."""
    size = 128
    sky, land, mark = rng.uniform(0.15, 0.95, (3, 3)) * 255
    image = np.empty((size, size, 3), np.float32)
    image[:] = np.linspace(0, 1, size)[:, None, None] * (sky - 0.5 * sky) + 0.5 * sky
    kind = int(rng.integers(3))
    if kind == 0:
        hills = 60 + 18 * np.sin(np.arange(size) / rng.uniform(8, 30) + rng.uniform(0, 6))
        image[np.arange(size)[:, None] < hills[None]] = land
        cv2.circle(image, (int(rng.integers(20, 108)), 100), 10, tuple(map(float, mark)), -1)
    elif kind == 1:
        for _ in range(7):
            x, y, w, h = (int(v) for v in rng.integers(0, 90, 4))
            cv2.rectangle(image, (x, y), (x + w, y + h), tuple(map(float, rng.uniform(0, 255, 3))), -1)
    else:
        cv2.ellipse(image, (64, 20), (45, 40), 0, 0, 360, tuple(map(float, land)), -1)
        cv2.circle(image, (64, 70), 26, tuple(map(float, mark)), -1)
    return _bytes(image * shade((1, 1, 1), noise(rng, size=size), 0.05) / 255)


def outdoors(rng: np.random.Generator) -> Image:
    """What a window shows: bright sky over a dim skyline or trees, (128, 128, 3), row 0 at the bottom."""
    size = 128
    top, low = np.array([0.55, 0.75, 1.0]), np.array([0.9, 0.95, 1.0])
    rise = np.linspace(0, 1, size)[:, None, None]
    image = np.broadcast_to((rise * top + (1 - rise) * low) * rng.uniform(200, 255), (size, size, 3)).copy()
    skyline = 30 + 10 * noise(rng, size=size, power=1.5)[0]
    if rng.random() < 0.5:
        skyline = np.repeat(rng.uniform(10, 60, 8), 16)
    image[np.arange(size)[:, None] < skyline[None]] = rng.uniform(60, 150) * np.array([0.7, 1.0, 0.7])
    return _bytes(image)


def dial() -> Image:
    """A clock face, (128, 128, 3)."""
    face = np.full((128, 128, 3), 245, np.uint8)
    for hour in range(12):
        x, y = math.cos(hour * math.pi / 6), math.sin(hour * math.pi / 6)
        cv2.line(face, (int(64 + 46 * x), int(64 + 46 * y)), (int(64 + 57 * x), int(64 + 57 * y)), (20, 20, 20), 4)
    return face


def carton(rng: np.random.Generator, base: Rgb) -> Image:
    """A face of a cardboard box: tape down the middle and a label, (128, 128, 3)."""
    image = shade(base, noise(rng, size=128, power=0.8), 0.05)
    tape = np.array(base) * 255 * 1.25
    image[:, 56:72] = np.clip(tape, 0, 255)
    x, y = (int(v) for v in rng.integers(8, 76, 2))
    if rng.random() < 0.7:
        image[y : y + 26, x : x + 38] = 235
        image[y + 5 : y + 21 : 4, x + 5 : x + 33] = 40
    return image
