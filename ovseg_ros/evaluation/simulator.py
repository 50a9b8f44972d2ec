"""Frames of the simulator's evaluation scenes as a data set, and what may be asked of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.datasets import Sample
from ovseg_ros.evaluation.scores import Question
from ovseg_ros.sim import EVALUATION_SEEDS, KINDS, Frame, Simulator
from ovseg_ros.sim.frame import UNLABELLED
from ovseg_ros.sim.kinds import HELD_OUT_PAIRS
from ovseg_ros.sim.scene import Scene
from ovseg_ros.vocabulary import Vocabulary

SECONDS = 60.0  # of each scene's camera path that frames are spread over
Label = Callable[[Frame], NDArray[np.integer]]


class SimulatorDataset:
    """Evenly spaced frames of evaluation scenes, rendered as they are asked for; can be pickled.

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
        label: Label | None = None,
    ) -> None:
        self.classes = classes or tuple(KINDS)
        self.scenes, self.frames, self.first = scenes, frames, first
        self.height, self.width = height, width
        self._label = label
        self._open: tuple[int, Simulator] | None = None

    def __len__(self) -> int:
        return self.scenes * self.frames

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        scene, number = divmod(index, self.frames)
        seed = EVALUATION_SEEDS + self.first + scene
        frame = self._simulator(seed).render((number + 0.5) * SECONDS / self.frames, depth=False)
        labels = self._label(frame) if self._label else frame.labels(self.classes)
        return Sample(f"{seed}_{number}", frame.rgb, labels.astype(np.uint8))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": None}  # an open scene belongs to its process

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


@dataclass(frozen=True)
class PairLabels:
    """The truth by colour and kind: "red mug" for a mug that is red, "plant" for what comes in its natural look.

    Attributes:
        classes: names by id, as `pair_name` has them.
    """

    classes: tuple[str, ...]

    def __call__(self, frame: Frame) -> NDArray[np.integer]:
        """(H, W) uint8 ids, 255 where nothing is or the pair is no class."""
        ids = {name: index for index, name in enumerate(self.classes)}
        table = np.full(len(frame.objects) + 1, UNLABELLED, np.uint8)
        for index, item in enumerate(frame.objects, start=1):
            table[index] = ids.get(pair_name(item.colour, item.kind), UNLABELLED)
        return np.asarray(table[frame.instances])


def pair_name(colour: str | None, kind: str) -> str:
    """A colour and a kind as a word: "red mug"; the kind alone without a colour."""
    return f"{colour} {kind}" if colour else kind


def held_out_pairs(
    scenes: int = 40, frames: int = 4, first: int = 0, *, height: int = 480, width: int = 640
) -> tuple[SimulatorDataset, Question]:
    """Colour-thing pairs that training never showed, among all others: does a model know a red mug by its parts?

    The classes are every (colour, kind) pair that occurs in these evaluation scenes, and the plain kind for things in
    their natural look: about 190 for 40 scenes. Every one competes for every pixel of every frame: to be right about
    a pixel of a held-out pair, a model must tell it from the same thing in the seen colours and from other things of
    that colour. The score is the mean IoU over the held-out pairs that the frames show (`Question.scored`); the pairs
    seen in training stand beside it as `seen_miou`.

    Args:
        scenes, frames, first, height, width: see `SimulatorDataset`.

    Returns:
        The frames with that truth, and what to ask of them.
    """
    found = {
        (item.colour, item.kind)
        for seed in range(EVALUATION_SEEDS + first, EVALUATION_SEEDS + first + scenes)
        for item in Scene.build(seed).objects
    }
    kinds = list(KINDS)
    pairs = sorted(found, key=lambda pair: (kinds.index(pair[1]), pair[0] or ""))
    classes = tuple(pair_name(*pair) for pair in pairs)
    held_out = tuple(i for i, pair in enumerate(pairs) if pair in HELD_OUT_PAIRS)
    data = SimulatorDataset(
        scenes, frames, first, height=height, width=width, classes=classes, label=PairLabels(classes)
    )
    question = Question(
        "simulator, held-out pairs",
        classes,
        Vocabulary.parse(classes),
        seen=tuple(i not in held_out for i in range(len(pairs))),
        scored=held_out,
        note=f"mIoU over colour-thing pairs never seen in training, those that frames show of {len(held_out)} in the "
        f"scenes; {len(classes)} classes compete",
    )
    return data, question
