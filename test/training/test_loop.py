"""Training runs: resumed to the bit, stepping as torch does by hand, and learning."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
from ovseg_ros.training.losses import word_loss  # noqa: E402
from ovseg_ros.training.mix import Mix  # noqa: E402
from ovseg_ros.training.pictures import draw_progress  # noqa: E402

Open = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def train(make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any) -> Open:
    """Runs a recipe in a folder to its end."""

    def run(folder: Path, recipe: Any = None, source: Any = None, every: int = 3, workers: int = 0) -> Any:
        trainer = make_trainer(folder, recipe or toy_recipe(), tiny_encoder, source or painted())
        for _ in trainer.run(save_every=every, workers=workers, quiet=True):
            pass
        return trainer

    return run


def assert_same_weights(one: Any, two: Any) -> None:
    for ours, theirs in ((one.net, two.net), (one.average.net, two.average.net)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def test_a_run_that_was_cut_short_ends_as_an_unbroken_one(
    tmp_path: Path, train: Open, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    whole = train(tmp_path / "whole")
    with pytest.raises(painted.failure):  # in step 5, after the checkpoint of step 3
        train(tmp_path / "cut", source=painted(cut=9))
    resumed = make_trainer(tmp_path / "cut", toy_recipe(), tiny_encoder, painted())
    assert resumed.step == 3
    torch.rand(5)  # what else the process does with random numbers must not count
    assert list(resumed.run(save_every=3, workers=0, quiet=True)) == [6]
    assert_same_weights(whole, resumed)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert steps == [3, 6]


KILLED = """
import sys, time
from pathlib import Path
import torch
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.loop import Trainer
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.sources import CamVidSource
from ovseg_ros.training.task import open_task

recipe = Recipe.load(sys.argv[1])
torch.manual_seed(recipe.seed)
mix = Mix.of(CamVidSource(Path(sys.argv[2])))
trainer = Trainer(recipe, mix, open_task(recipe, StaticTextEncoder(sys.argv[3])), Path(sys.argv[4]))
for step in trainer.run(workers=int(sys.argv[5]), quiet=True):
    pass
"""
CAMVID_RECIPE = """
name: toy
source: camvid
model: {name: pixeltext, widths: [8, 8, 16, 16], depths: [1, 1, 1], features: 16}
crop: [32, 48]
batch: 2
steps: 400
save_every: 5
multipliers: {stem: 0.5}
words: {absent: 4}
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_run_ends_with_the_bits_of_an_unbroken_one(
    tmp_path: Path, camvid_like: Path, make_trainer: Open, workers: int
) -> None:
    """SIGKILL at any time, in another process, with batches made there or in a worker."""
    from ovseg_ros.resources import find
    from ovseg_ros.training.recipe import Recipe
    from ovseg_ros.training.sources import CamVidSource

    yaml, text, folder = tmp_path / "toy.yaml", find("weights/text"), tmp_path / "killed"
    yaml.write_text(CAMVID_RECIPE)
    command = [sys.executable, "-c", KILLED, str(yaml), str(camvid_like), str(text), str(folder), str(workers)]
    running = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    while not (folder / "log.jsonl").exists() and running.poll() is None:
        time.sleep(0.005)
    time.sleep(0.1)  # some steps further
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL

    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert 5 <= state["step"] < 390
    recipe = Recipe.load(str(yaml), steps=400)
    rest = Recipe.load(str(yaml))
    assert rest == recipe
    trainers = {}
    for name in ("killed", "whole"):
        source = CamVidSource(camvid_like)
        trainer = make_trainer(tmp_path / name, recipe, StaticTextEncoder(text), source)
        assert trainer.step == (state["step"] if name == "killed" else 0)
        end = state["step"] + 8
        for step in trainer.run(save_every=4, workers=workers if name == "killed" else 0, quiet=True):
            if step >= end:
                break
        trainers[name] = trainer
    assert_same_weights(trainers["killed"], trainers["whole"])


def test_a_step_is_what_torch_does_by_hand(
    tmp_path: Path, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    """Three steps of SGD: clipping, two passes each, warm-up, poly decay, a factor for the stem, and the average."""
    recipe = toy_recipe(
        optimizer="sgd", schedule="poly", power=0.9, warmup=1, steps=3, batch=4, accumulate=2, clip=0.05, ema=0.9,
        momentum=0.9, weight_decay=0.01, learning_rate=0.1, multipliers={"stem": 0.5}, alignment=0.2, dice=0.3,
    )  # fmt: skip
    trainer = make_trainer(tmp_path, recipe, tiny_encoder, painted())
    net, average = copy.deepcopy(trainer.net).train(), copy.deepcopy(trainer.net)
    batches = trainer.task.batches(Mix.of(painted()), 2)
    list(trainer.run(workers=0, quiet=True))

    speed: dict[str, Any] = {}
    for step, factor in enumerate((1.0, 1.0, 0.5**0.9)):
        net.zero_grad()
        for part in (2 * step, 2 * step + 1):
            batch = batches[part]
            cosines = net.cosines(net(batch.images / 127.5 - 1), batch.text)
            loss = word_loss(cosines, net.other, net.scale(), batch.targets, batch.weights, 0.2, 0.3)
            (loss / 2).backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in net.parameters()))
        assert norm > 0.05
        with torch.no_grad():
            for name, p in net.named_parameters():
                grad = p.grad * (0.05 / (norm + 1e-6)) + (0.01 * p if p.ndim > 1 else 0)
                speed[name] = grad if step == 0 else 0.9 * speed[name] + grad
                p -= 0.1 * factor * (0.5 if name.startswith("stem") else 1) * speed[name]
            keep = min(0.9, (1 + step) / (10 + step))
            for mean, now in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
                mean.copy_(keep * mean + (1 - keep) * now if mean.is_floating_point() else now)
    for ours, theirs in ((trainer.net, net), (trainer.average.net, average)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4, msg=name)


def test_a_finished_run_has_nothing_to_do(
    tmp_path: Path, train: Open, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    train(tmp_path)
    again = make_trainer(tmp_path, toy_recipe(), tiny_encoder, painted())
    assert list(again.run(workers=0, quiet=True)) == []
    assert again.step == 6


def test_a_run_of_another_recipe_is_not_continued(
    tmp_path: Path, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    make_trainer(tmp_path, toy_recipe(), tiny_encoder, painted()).save()
    other = toy_recipe(steps=7, dice=0.5, licence="MIT")
    with pytest.raises(ModelError, match=r"checkpoint\.pt belongs to another recipe .*differs in steps, dice\).*--out"):
        make_trainer(tmp_path, other, tiny_encoder, painted())
    assert make_trainer(tmp_path, toy_recipe(licence="MIT"), tiny_encoder, painted()).step == 0


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None], ids=["empty", "garbage", "truncated"])
def test_a_damaged_checkpoint_is_a_model_error(
    tmp_path: Path,
    make_trainer: Open,
    toy_recipe: Open,
    tiny_encoder: StaticTextEncoder,
    painted: Any,
    content: bytes | None,
) -> None:
    trainer = make_trainer(tmp_path, toy_recipe(), tiny_encoder, painted())
    trainer.save()
    path = trainer.checkpoint
    path.write_bytes(path.read_bytes()[:-2000] if content is None else content)
    with pytest.raises(ModelError, match=r"checkpoint\.pt is damaged.*delete it"):
        make_trainer(tmp_path, toy_recipe(), tiny_encoder, painted())


def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before(
    tmp_path: Path, train: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = train(tmp_path)
    before = trainer.checkpoint.read_bytes()

    def full_disk(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        trainer.save()
    assert trainer.checkpoint.read_bytes() == before


def test_the_checkpoint_of_the_release_before_is_continued_and_started_from(
    tmp_path: Path, train: Open, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    """It held its recipe as text, the sizes as an object, and groups that did not know their learning rate."""
    train(tmp_path / "new", every=3)
    with pytest.raises(painted.failure):
        train(tmp_path / "toy", source=painted(cut=9))
    path = tmp_path / "toy" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    groups = [{k: v for k, v in g.items() if k != "initial_lr"} for g in state["optimizer"]["param_groups"]]
    old = {
        "recipe": "Recipe(name='toy', source='toy', ...)",
        "config": PixelTextConfig(widths=(8, 8, 16, 16), depths=(1, 1, 1), features=16, text_width=16),
        "step": 3,
        "net": state["net"],
        "average": state["average"],
        "optimizer": {"state": state["optimizer"]["state"], "param_groups": groups},
    }
    torch.save(old, path)
    started = make_trainer(tmp_path / "next", toy_recipe(start="toy"), tiny_encoder, painted())
    for name, value in started.net.state_dict().items():
        assert torch.equal(value, state["average"][name])
    resumed = train(tmp_path / "toy")
    assert resumed.step == 6
    whole = torch.load(tmp_path / "new" / "checkpoint.pt", weights_only=True)
    assert all(torch.equal(a, whole["net"][name]) for name, a in resumed.net.state_dict().items())


def test_a_run_may_not_start_from_a_run_that_is_not_there(
    tmp_path: Path, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    with pytest.raises(ModelError, match=r"toy continues from basis.*run `ovseg train basis` first"):
        make_trainer(tmp_path / "toy", toy_recipe(start="basis"), tiny_encoder, painted())


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_state_before(
    tmp_path: Path, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    trainer = make_trainer(tmp_path, toy_recipe(), tiny_encoder, painted())
    running = trainer.run(save_every=2, workers=0, quiet=True)
    assert next(running) == 2
    with torch.no_grad():
        trainer.net.to_text.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="the loss is nan before step 4; lower learning_rate"):
        next(running)
    state = torch.load(trainer.checkpoint, weights_only=True)
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["net"].values())


def test_colours_are_learned(
    tmp_path: Path, train: Open, toy_recipe: Open, painted: Any, tiny_encoder: StaticTextEncoder
) -> None:
    recipe = toy_recipe(deploy_size=(80, 96), batch=4, steps=40, warmup=4, learning_rate=0.01)
    trainer = train(tmp_path, recipe, every=4)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows]
    assert len(losses) == 10
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    assert rows[0]["learning_rate"] == pytest.approx(0.01)
    assert rows[-1]["learning_rate"] < 1e-4
    picture = painted().load(0)
    text = torch.from_numpy(tiny_encoder.encode(list(painted.kinds))[:, None])
    with torch.no_grad():
        labels, _ = OnePass(trainer.average.net, recipe.deploy_size)(torch.from_numpy(picture.rgb)[None], text)
    assert (labels[0].numpy() == picture.ids).mean() > 0.8


def test_progress_is_drawn_as_image_truth_and_labels(
    tmp_path: Path, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    trainer = make_trainer(tmp_path, toy_recipe(), tiny_encoder, painted())
    draw_progress(trainer, Mix.of(painted()), tiny_encoder, tmp_path / "pictures" / "1.png", count=2)
    drawn = cv2.imread(str(tmp_path / "pictures" / "1.png"))
    assert drawn.shape == (2 * 80, 3 * 96, 3)
    np.testing.assert_array_equal(drawn[:80, :96, ::-1], painted().load(0).rgb)


def test_bfloat16_trains_nearly_as_float32_does(
    tmp_path: Path, make_trainer: Open, toy_recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    """And the text embeddings are not rounded on their way."""
    fabric = pytest.importorskip("lightning_fabric")
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        engine = fabric.Fabric(accelerator="cpu", devices=1, precision=precision)
        trainer = make_trainer(tmp_path / precision, toy_recipe(), tiny_encoder, painted(), engine)
        given: list[Any] = []
        loss = trainer.task.loss
        trainer.task.loss = lambda batch, given=given, loss=loss: given.append(batch) or loss(batch)
        list(trainer.run(save_every=6, workers=0, quiet=True))
        assert all(batch.text.dtype == torch.float32 for batch in given)
        expected = trainer.task.batches(Mix.of(painted()), 1)[0].text
        assert torch.equal(given[0].text, expected)
        losses[precision] = json.loads((tmp_path / precision / "log.jsonl").read_text())["loss"]
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.03)
    assert losses["bf16-mixed"] != losses["32-true"]
