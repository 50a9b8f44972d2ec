"""Frames of the simulator's evaluation scenes as a data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.datasets import Sample
from ovseg_ros.sim import EVALUATION_SEEDS, KINDS, Frame, Simulator
from ovseg_ros.vocabulary import Vocabulary

SECONDS = 60.0  # of each scene's camera path that frames are spread over


class SimulatorDataset:
    """Evenly spaced frames of evaluation scenes, rendered as they are asked for.

    Args:
        scenes: how many scenes; their seeds start at `EVALUATION_SEEDS + first`.
        frames: frames a scene.
        first: offset of the first seed.
        height, width: size of the frames, pixels.
        label: gives a frame's truth (H, W) uint8 for `classes`; by kind where None.
        classes: the class list; every kind where None.
    """

    def __init__(
        self,
        scenes: int = 40,
        frames: int = 4,
        first: int = 0,
        *,
        height: int = 480,
        width: int = 640,
        classes: tuple[str, ...] | None = None,
        label: Callable[[Frame], NDArray[np.integer]] | None = None,
    ) -> None:
        self.classes = classes or tuple(KINDS)
        self.scenes, self.frames, self.first = scenes, frames, first
        self.height, self.width = height, width
        self._label = label or (lambda frame: frame.labels(self.classes))
        self._open: tuple[int, Simulator] | None = None

    def __len__(self) -> int:
        return self.scenes * self.frames

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        scene, number = divmod(index, self.frames)
        seed = EVALUATION_SEEDS + self.first + scene
        frame = self._simulator(seed).render((number + 0.5) * SECONDS / self.frames, depth=False)
        return Sample(f"{seed}_{number}", frame.rgb, self._label(frame).astype(np.uint8))

    def close(self) -> None:
        """Free the open scene."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _simulator(self, seed: int) -> Simulator:
        if self._open is None or self._open[0] != seed:
            self.close()
            self._open = (seed, Simulator(seed, width=self.width, height=self.height))
        return self._open[1]


def held_out_vocabulary() -> Vocabulary:
    """Every kind under a word that training never used; the kind's own name where it has no such synonym."""
    return Vocabulary.parse([(kind.held_out_synonyms or (name,))[0] for name, kind in KINDS.items()])
