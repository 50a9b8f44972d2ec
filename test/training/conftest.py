"""A source whose colours are its words, for runs of seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

PAINT = np.array([[230, 30, 30], [30, 230, 30], [30, 30, 230]], np.uint8)
KINDS = {"red": ("red",), "green": ("green",), "blue": ("blue",)}
SIZES = {"widths": [8, 8, 16, 16], "depths": [1, 1, 1], "features": 16}


class PowerCutError(Exception):
    """The end of a run before its time."""


class Painted:
    """Eight pictures whose colours are their words; `cut` pictures on, the power fails."""

    kinds = KINDS
    colours = ()
    failure = PowerCutError

    def __init__(self, cut: int | None = None) -> None:
        self.left = cut

    def __len__(self) -> int:
        return 8

    def load(self, index: int) -> Any:
        from ovseg_ros.training.sources import Picture
        from ovseg_ros.training.words import Region

        if self.left is not None:
            if self.left == 0:
                raise self.failure
            self.left -= 1
        ids = np.random.default_rng(index).integers(0, 3, (5, 6)).repeat(16, axis=0).repeat(16, axis=1)
        regions = tuple(Region(kind, words) for kind, words in KINDS.items())
        return Picture(PAINT[ids], ids.astype(np.uint8), regions)

    def pixel_counts(self) -> dict[str, int]:
        return dict.fromkeys(KINDS, 100)


@pytest.fixture(scope="session")
def painted() -> type[Painted]:
    """The class; its kinds are red, green and blue."""
    return Painted


@pytest.fixture(scope="session")
def toy_recipe() -> Callable[..., Any]:
    """A recipe of six steps of two crops for `Painted`, changed by keywords."""
    pytest.importorskip("torch")
    from ovseg_ros.training.recipe import Recipe
    from ovseg_ros.training.words import WordMix

    short = {
        "crop": (64, 64), "zoom": (1.0, 1.2), "batch": 2, "steps": 6, "warmup": 2,
        "words": WordMix(absent=4, leave_out=0.0, noise=0.0), "model": {"name": "pixeltext", **SIZES},
    }  # fmt: skip
    return lambda **options: Recipe("toy", "toy", **{"deploy_size": (64, 64), **short, **options})


@pytest.fixture(scope="session")
def make_trainer() -> Callable[..., Any]:
    """Opens a run: (folder, recipe, encoder, source, fabric=None) -> Trainer."""
    torch = pytest.importorskip("torch")

    def make(folder: Any, recipe: Any, encoder: Any, source: Any, fabric: Any = None) -> Any:
        from ovseg_ros.training.loop import Trainer
        from ovseg_ros.training.mix import Mix
        from ovseg_ros.training.task import open_task

        torch.manual_seed(recipe.seed)
        return Trainer(recipe, Mix.of(source, recipe.seed), open_task(recipe, encoder), folder, fabric)

    return make


@pytest.fixture(autouse=True)
def _opencv_threads() -> Iterator[None]:
    """Batches switch OpenCV's threads off, for the process they run in."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.fixture
def tiny_clip(tmp_path: Path, tiny_encoder: Any) -> str:
    """The folder of a mini CLIP with random weights (six blocks, patches of 16) in the tiny text encoder's space."""
    import torch

    from ovseg_ros.models.clip import VisionTransformer
    from ovseg_ros.models.clip_config import ClipVisionConfig
    from ovseg_ros.models.clip_mini import save_mini_clip

    torch.manual_seed(7)
    config = ClipVisionConfig(64, 16, 48, layers=6, heads=2, mlp=96, embed_dim=tiny_encoder.width)
    folder = tmp_path / "tiny-clip"
    save_mini_clip(VisionTransformer(config), folder, text_identity=tiny_encoder.identity)
    return str(folder)
