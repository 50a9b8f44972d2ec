"""Count what the simulated camera sees: `python -m ovseg_ros.sim.census` prints the shares of each kind."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.sim.frame import Frame
from ovseg_ros.sim.kinds import KINDS
from ovseg_ros.sim.simulator import Simulator

LEAST = 150  # pixels at 320 x 240 from which a kind counts as seen


@dataclass(frozen=True, eq=False)
class Census:
    """Shares over the frames of a census, in the order of KINDS."""

    frames: int
    seen: NDArray[np.float64]  # (K,) share of frames that show more than LEAST pixels of a kind
    pixels: NDArray[np.float64]  # (K,) share of all pixels
    brightness: float  # mean of the images, 0..255


def sample(count: int, *, first_seed: int = 0, each: int = 3) -> Iterator[Frame]:
    """Random frames at 320 x 240, `each` from one scene."""
    rng = np.random.default_rng(first_seed)
    for seed in range(first_seed, first_seed + -(-count // each)):
        with Simulator(seed, width=320, height=240) as simulator:
            for t in rng.uniform(0, simulator.scene.path.period, each):
                yield simulator.render(float(t), depth=False)


def take(frames: Iterator[Frame]) -> Census:
    """Count over frames."""
    kinds = list(KINDS)
    counts, bright = [], []
    for frame in frames:
        counts.append(np.bincount(frame.labels(kinds).ravel(), minlength=256)[: len(kinds)])
        bright.append(frame.rgb.mean())
    table = np.array(counts)  # (frames, K)
    return Census(len(table), (table > LEAST).mean(0), table.sum(0) / table.sum(), float(np.mean(bright)))


def main() -> None:
    """Print a census."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    census = take(sample(options.frames, first_seed=options.first_seed))
    print(f"{census.frames} frames, mean brightness {census.brightness:.0f}")
    for kind, seen, pixels in sorted(zip(KINDS, census.seen, census.pixels, strict=True), key=lambda row: row[1]):
        print(f"{kind:18} in {100 * seen:5.1f} % of frames, {100 * pixels:6.2f} % of pixels")


if __name__ == "__main__":
    main()
