"""Record a drive: `python -m ovseg_ros.sim.record` makes the file that ships with the package."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovseg_ros.sim.kinds import EVALUATION_SEEDS
from ovseg_ros.sim.recording import DEFAULT, write
from ovseg_ros.sim.simulator import Simulator


def main() -> None:
    """Record one evaluation scene."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=EVALUATION_SEEDS + 9)
    parser.add_argument("--family", default="room")
    parser.add_argument("--frames", type=int, default=58)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--start", type=float, default=0.0, help="seconds along the path")
    parser.add_argument("--quality", type=int, default=85)
    parser.add_argument("--depth", action="store_true")
    parser.add_argument("--out", type=Path, default=DEFAULT)
    options = parser.parse_args()
    with Simulator(options.seed, family=options.family, samples=4) as simulator:
        times = [options.start + index / options.fps for index in range(options.frames)]
        frames = [simulator.render(t, depth=options.depth) for t in times]
    size = write(options.out, frames, quality=options.quality, depth=options.depth)
    print(f"{options.out}: {len(frames)} frames, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
