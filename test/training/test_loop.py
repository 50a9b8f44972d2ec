"""Training runs: resumed to the bit, and learning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.models.pixeltext import PixelTextConfig  # noqa: E402
from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.loop import Trainer  # noqa: E402
from ovseg_ros.training.pictures import draw_progress  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.training.sources import Picture  # noqa: E402
from ovseg_ros.training.words import Region, WordMix  # noqa: E402

CONFIG = PixelTextConfig(widths=(8, 8, 16, 16), depths=(1, 1, 1), features=16, text_width=16)
PAINT = np.array([[230, 30, 30], [30, 230, 30], [30, 30, 230]], np.uint8)
KINDS = {"red": ("red",), "green": ("green",), "blue": ("blue",)}
MIX = WordMix(absent=4, leave_out=0.0, noise=0.0)
SHORT = Recipe("toy", "toy", (64, 64), crop=(64, 64), zoom=(1.0, 1.2), batch=2, steps=6, warmup=2, words=MIX)


class PowerCutError(Exception):
    """The end of a run before its time."""


class Painted:
    """Eight pictures whose colours are their words; `cut` pictures on, the power fails."""

    kinds = KINDS
    colours = ()

    def __init__(self, cut: int | None = None) -> None:
        self.left = cut

    def __len__(self) -> int:
        return 8

    def load(self, index: int) -> Picture:
        if self.left is not None:
            if self.left == 0:
                raise PowerCutError
            self.left -= 1
        ids = np.random.default_rng(index).integers(0, 3, (5, 6)).repeat(16, axis=0).repeat(16, axis=1)
        regions = tuple(Region(kind, words) for kind, words in KINDS.items())
        return Picture(PAINT[ids], ids.astype(np.uint8), regions)

    def pixel_counts(self) -> dict[str, int]:
        return dict.fromkeys(KINDS, 100)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Batches switch OpenCV's threads off, for the process they run in."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def train(
    folder: Path, encoder: StaticTextEncoder, recipe: Recipe = SHORT, source: Any = None, every: int = 3
) -> Trainer:
    trainer = Trainer(recipe, source or Painted(), encoder, folder, CONFIG)
    for _ in trainer.run(save_every=every, workers=0, quiet=True):
        pass
    return trainer


def test_a_run_that_was_cut_short_ends_as_an_unbroken_one(tmp_path: Path, tiny_encoder: StaticTextEncoder) -> None:
    whole = train(tmp_path / "whole", tiny_encoder)
    with pytest.raises(PowerCutError):  # in step 5, after the checkpoint of step 3
        train(tmp_path / "cut", tiny_encoder, source=Painted(cut=9))
    resumed = Trainer(SHORT, Painted(), tiny_encoder, tmp_path / "cut", CONFIG)
    assert resumed.step == 3
    torch.rand(5)  # what else the process does with random numbers must not count
    assert list(resumed.run(save_every=3, workers=0, quiet=True)) == [6]
    for ours, theirs in ((whole.net, resumed.net), (whole.average, resumed.average)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert steps == [3, 6]


def test_a_finished_run_has_nothing_to_do(tmp_path: Path, tiny_encoder: StaticTextEncoder) -> None:
    train(tmp_path, tiny_encoder)
    again = Trainer(SHORT, Painted(), tiny_encoder, tmp_path, CONFIG)
    assert list(again.run(workers=0, quiet=True)) == []
    assert again.step == 6


def test_a_run_of_another_recipe_is_not_continued(tmp_path: Path, tiny_encoder: StaticTextEncoder) -> None:
    Trainer(SHORT, Painted(), tiny_encoder, tmp_path, CONFIG).save()
    other = Recipe("toy", "toy", (64, 64), crop=(64, 64), steps=7)
    with pytest.raises(ModelError, match=r"checkpoint\.pt belongs to another recipe.*--out"):
        Trainer(other, Painted(), tiny_encoder, tmp_path, CONFIG)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None], ids=["empty", "garbage", "truncated"])
def test_a_damaged_checkpoint_is_a_model_error(
    tmp_path: Path, tiny_encoder: StaticTextEncoder, content: bytes | None
) -> None:
    trainer = Trainer(SHORT, Painted(), tiny_encoder, tmp_path, CONFIG)
    trainer.save()
    path = trainer.checkpoint
    path.write_bytes(path.read_bytes()[:-2000] if content is None else content)
    with pytest.raises(ModelError, match=r"checkpoint\.pt"):
        Trainer(SHORT, Painted(), tiny_encoder, tmp_path, CONFIG)


def test_colours_are_learned(tmp_path: Path, tiny_encoder: StaticTextEncoder) -> None:
    recipe = Recipe(
        "toy",
        "toy",
        (80, 96),
        crop=(64, 64),
        zoom=(1.0, 1.2),
        batch=4,
        steps=40,
        warmup=4,
        learning_rate=0.01,
        words=MIX,
    )
    trainer = train(tmp_path, tiny_encoder, recipe, every=4)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 10
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    picture = Painted().load(0)
    text = torch.from_numpy(tiny_encoder.encode(list(KINDS))[:, None])
    with torch.no_grad():
        labels, _ = OnePass(trainer.average, recipe.deploy_size)(torch.from_numpy(picture.rgb)[None], text)
    assert (labels[0].numpy() == picture.ids).mean() > 0.8


def test_progress_is_drawn_as_image_truth_and_labels(tmp_path: Path, tiny_encoder: StaticTextEncoder) -> None:
    trainer = Trainer(SHORT, Painted(), tiny_encoder, tmp_path, CONFIG)
    draw_progress(trainer, Painted(), tiny_encoder, tmp_path / "pictures" / "1.png", count=2)
    drawn = cv2.imread(str(tmp_path / "pictures" / "1.png"))
    assert drawn.shape == (2 * 80, 3 * 96, 3)
    np.testing.assert_array_equal(drawn[:80, :96, ::-1], Painted().load(0).rgb)
