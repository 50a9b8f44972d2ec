"""Look at the scenes: `python -m ovseg_ros.sim.sheet room --first-seed 0 --out sheet.png` draws images beside masks."""

from __future__ import annotations

import argparse
import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.sim.families import FAMILIES
from ovseg_ros.sim.frame import Frame
from ovseg_ros.sim.kinds import KINDS
from ovseg_ros.sim.simulator import Simulator

SIZE = (400, 300)


def paint(frame: Frame) -> NDArray[np.uint8]:
    """The mask in one colour a kind, with names on what is large enough."""
    kinds = list(KINDS)
    table = np.zeros((256, 3), np.uint8)
    for index in range(len(kinds)):
        rgb = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.4 + 0.2 * (index % 3), 1 - 0.2 * (index % 2))
        table[index] = [int(255 * channel) for channel in rgb]
    image = table[frame.labels(kinds)]
    for number, count in zip(*np.unique(frame.instances, return_counts=True), strict=True):
        if number and count > 250:
            rows, columns = np.nonzero(frame.instances == number)
            item = frame.objects[int(number) - 1]
            where = (max(0, int(np.median(columns)) - 25), int(np.median(rows)))
            cv2.putText(image, f"{item.colour or ''} {item.kind}".strip(), where, 0, 0.36, (0, 0, 0), 1)
    return np.asarray(image, dtype=np.uint8)


def sheet(family: str, first_seed: int, count: int = 12) -> NDArray[np.uint8]:
    """A picture of `count` scenes in two columns: two images and the mask of the first for each."""
    rows = []
    for seed in range(first_seed, first_seed + count):
        with Simulator(seed, width=SIZE[0], height=SIZE[1], family=family) as simulator:
            first, second = (simulator.render(t, depth=False) for t in (1.0, 8.5))
            rows.append(np.hstack([first.rgb, second.rgb, paint(first)]))
    rows += [np.zeros_like(rows[0])] * (len(rows) % 2)
    return np.asarray(np.hstack([np.vstack(rows[::2]), np.vstack(rows[1::2])]), dtype=np.uint8)


def main() -> None:
    """Write one sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--out", default="sheet.png")
    options = parser.parse_args()
    cv2.imwrite(options.out, sheet(options.family, options.first_seed, options.count)[..., ::-1])


if __name__ == "__main__":
    main()
