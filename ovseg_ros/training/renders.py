"""Training images from the simulator, rendered once and kept on disk, scene by scene."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.errors import ModelError
from ovseg_ros.sim import COLOURS, EVALUATION_SEEDS, KINDS, Frame, Simulator
from ovseg_ros.training.sources import Picture
from ovseg_ros.training.words import Region

SIZE = (360, 480)  # (height, width) of the renders
PATH_SECONDS = 60.0  # of a scene's camera path that frames are taken from


class SimulatorSource:
    """Frames of training scenes. `render` fills the folder; a scene that is there already is not rendered again.

    Several recipes may share a folder: a scene's first frames are the same however many it has.

    Args:
        folder: one subfolder a scene.
        scenes: seeds 0..scenes-1 are used.
        frames: frames of each scene.

    Raises:
        ModelError: for scenes that are not for training.
    """

    def __init__(self, folder: Path, scenes: int, frames: int) -> None:
        if not 0 < scenes <= EVALUATION_SEEDS:
            raise ModelError(f"scenes is {scenes}; expected 1 to {EVALUATION_SEEDS}: later seeds are for evaluation")
        self.folder, self.scenes, self.frames = folder, scenes, frames
        self.kinds = {name: (name, *kind.synonyms) for name, kind in KINDS.items()}
        self.colours: Sequence[str] = tuple(COLOURS)

    def __len__(self) -> int:
        return self.scenes * self.frames

    def render(self, processes: int = 2) -> None:
        """Render what is missing; may be stopped and continued at any time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [seed for seed in range(self.scenes) if self._rendered(seed) < self.frames]
        if not missing:
            return
        jobs = [(self._scene(seed), seed, self.frames) for seed in missing]
        # a fresh interpreter each: an OpenGL context does not survive a fork
        with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=50) as pool:
            for _ in tqdm(pool.imap_unordered(_render_scene, jobs), total=len(jobs), unit="scene", desc="render"):
                pass

    def load(self, index: int) -> Picture:
        """One frame; the regions are the scene's pairs of colour and kind."""
        seed, frame = divmod(index, self.frames)
        scene = self._scene(seed)
        regions = json.loads((scene / "regions.json").read_text(encoding="utf-8"))
        return Picture(
            np.array(np.load(scene / "rgb.npy", mmap_mode="r")[frame]),
            np.array(np.load(scene / "ids.npy", mmap_mode="r")[frame]),
            tuple(Region(r["kind"], self.kinds[r["kind"]], r["colour"]) for r in regions),
        )

    def pixel_counts(self) -> dict[str, int]:
        """Over one frame of each of up to 400 scenes."""
        counts = dict.fromkeys(self.kinds, 0)
        for seed in range(0, self.scenes, max(1, self.scenes // 400)):
            picture = self.load(seed * self.frames)
            for i, n in enumerate(np.bincount(picture.ids.ravel(), minlength=256)[: len(picture.regions)]):
                counts[picture.regions[i].kind] += int(n)
        return counts

    def _rendered(self, seed: int) -> int:
        """How many frames of a scene are there."""
        path = self._scene(seed) / "rgb.npy"
        return len(np.load(path, mmap_mode="r")) if path.is_file() else 0

    def _scene(self, seed: int) -> Path:
        return self.folder / f"{seed:06d}"


def regions_of(frames: Sequence[Frame]) -> tuple[NDArray[np.uint8], list[Region]]:
    """Merge a scene's instances by colour and kind.

    Returns:
        table (number of objects + 1,) uint8 from instance id to region id, 255 for nothing; and the regions.
    """
    objects = frames[0].objects
    pairs = list(dict.fromkeys((o.colour, o.kind) for o in objects))[:255]
    place = {pair: i for i, pair in enumerate(pairs)}
    table = np.full(len(objects) + 1, 255, np.uint8)
    for i, o in enumerate(objects, start=1):
        table[i] = place.get((o.colour, o.kind), 255)
    return table, [Region(kind, (), colour) for colour, kind in pairs]


def _render_scene(job: tuple[Path, int, int]) -> None:
    """Render one scene into its folder, which appears when it is complete."""
    folder, seed, count = job
    rng = np.random.default_rng((seed, 11))
    height, width = SIZE
    with Simulator(seed, width=width, height=height) as simulator:
        frames = [simulator.render(float(t), depth=False) for t in rng.uniform(0, PATH_SECONDS, count)]
    table, regions = regions_of(frames)
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    np.save(scratch / "rgb.npy", np.stack([f.rgb for f in frames]))
    np.save(scratch / "ids.npy", np.stack([table[f.instances] for f in frames]))
    (scratch / "regions.json").write_text(json.dumps([asdict(r) for r in regions]), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)  # with too few frames
    scratch.rename(folder)
