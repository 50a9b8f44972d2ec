"""Training DeOP's mini: losses by loops, what each stage changes, every choice, resumed to the bit, and learning."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.clip import VisionTransformer  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_mini import save_mini_clip  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.batches import Batch  # noqa: E402
from ovseg_ros.training.deop import DeopChoices, DeopTask, draw_cells  # noqa: E402
from ovseg_ros.training.loop import load_weights  # noqa: E402
from ovseg_ros.training.losses.per_pixel import deop_terms  # noqa: E402
from ovseg_ros.training.matching import MaskState  # noqa: E402
from ovseg_ros.training.mix import Mix  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402

Open = Callable[..., Any]
TINY = {"blocks": [1, 1, 1, 1], "channels": 16, "width": 32, "layers": 2, "queries": 5}
COLOURS = ("red", "green", "blue")
STAGES = ("masks", "anchors")


@pytest.fixture
def recipe(toy_recipe: Open, tiny_clip: str) -> Open:
    """A recipe for `Painted`; choices by the first argument, other keys by keywords."""

    def make(choices: dict[str, Any] | None = None, **options: Any) -> Any:
        light = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.0, "stretch": 0.02}
        model = {"name": "deop", "clip": tiny_clip, **TINY, **(choices or {})}
        return toy_recipe(**{**light, **options, "model": model})

    return make


@pytest.fixture
def make(recipe: Open, tiny_encoder: StaticTextEncoder) -> Open:
    """A task of random weights, the same for the same sizes, with masks that differ from place to place."""

    def open_one(choices: dict[str, Any] | None = None) -> DeopTask:
        torch.manual_seed(3)
        task = DeopTask(recipe(choices), tiny_encoder)
        with torch.no_grad():  # untrained masks are flat
            task.net.proposer.sem_seg_head.pixel_decoder.mask_features.weight.mul_(6)
            task.net.proposer.predictor.mask_embed.layers[2].weight.mul_(6)
        return task.train()

    return open_one


def a_batch(seed: int = 0, words: int = 4) -> Batch:
    """Two random pictures of 64x64, a quarter of their cells without truth, some of no word."""
    g = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, words + 1, (2, 8, 8), generator=g).repeat_interleave(2, 1).repeat_interleave(2, 2)
    targets[:, :8, 8:] = -100
    return Batch(
        torch.randint(0, 256, (2, 3, 64, 64), generator=g, dtype=torch.uint8),
        targets,
        F.normalize(torch.randn(words, 16, generator=g), dim=1),
        torch.ones(words + 1),
        torch.ones(2, words, dtype=torch.bool),
        tuple(f"word {i}" for i in range(words)),
    )


def focal(p: float, true: bool) -> float:
    """Lin et al., arXiv 1708.02002, equation 5, with alpha 0.25 and gamma 2."""
    return -0.25 * (1 - p) ** 2 * math.log(p) if true else -0.75 * p**2 * math.log(1 - p)


def mask_costs(p: list[float], t: list[bool]) -> tuple[float, float]:
    """Mean focal loss, and dice with one added above and below."""
    both = sum(x for x, y in zip(p, t, strict=True) if y)
    return sum(map(focal, p, t)) / len(p), 1 - (2 * both + 1) / (sum(p) + sum(t) + 1)


@pytest.mark.parametrize("unlabelled", ["left-out", "no-object"])
def test_the_masks_loss_is_that_of_a_loop_over_cells_and_assignments(make: Open, unlabelled: str) -> None:
    """Half of each picture has no truth: what is left counts twice, which changes no mean."""
    g = torch.Generator().manual_seed(1)
    masks, classes = torch.randn(2, 3, 4, 4, generator=g), torch.randn(2, 3, 3, generator=g)
    targets = torch.randint(0, 3, (2, 4, 4), generator=g)  # 2 is "none of these words"
    targets[:, 0, 0], targets[:, 1, 1], targets[:, 2:] = 0, 1, -100
    task = make({"unlabelled": unlabelled, "mask": 3.0, "dice": 0.7, "named": 0.4})
    terms = task.mask_terms([MaskState(masks, (classes,))], targets)

    expected = {"mask": 0.0, "dice": 0.0}
    named = weights = 0.0
    for n in range(2):
        cells = [(y, x) for y in range(4) for x in range(4)]
        if unlabelled == "left-out":
            cells = [cell for cell in cells if targets[n][cell] != -100] * 2
        costs = {}
        for q, label in itertools.product(range(3), range(2)):
            p = [masks[n, q, y, x].sigmoid().item() for y, x in cells]
            costs[q, label] = mask_costs(p, [bool(targets[n, y, x] == label) for y, x in cells])
        pairs = min(
            itertools.permutations(range(3), 2),
            key=lambda qs: sum(3.0 * costs[q, i][0] + 0.7 * costs[q, i][1] for i, q in enumerate(qs)),
        )
        for label, q in enumerate(pairs):
            expected["mask"] += 3.0 * costs[q, label][0] / 4  # four segments in the batch
            expected["dice"] += 0.7 * costs[q, label][1] / 4
        for q in range(3):
            own, weight = (pairs.index(q), 1.0) if q in pairs else (2, 0.1)
            named -= weight * classes[n, q].log_softmax(dim=0)[own].item()
            weights += weight
    assert terms["mask"].item() == pytest.approx(expected["mask"], rel=1e-4)
    assert terms["dice"].item() == pytest.approx(expected["dice"], rel=1e-4)
    assert terms["class"].item() == pytest.approx(0.4 * named / weights, rel=1e-4)


@pytest.mark.parametrize("unlabelled", ["left-out", "no-object"])
def test_the_read_outs_loss_is_that_of_a_loop_over_cells_and_words(make: Open, unlabelled: str) -> None:
    batch, task = a_batch(words=3), make({"stage": "anchors", "unlabelled": unlabelled})
    batch.asked[0, 1] = False
    g = torch.Generator().manual_seed(2)
    logits, masks = torch.randn(2, 5, 4, generator=g), torch.randn(2, 5, 16, 16, generator=g)
    terms = task.read_out_terms(logits, masks, batch)

    total, count, dices = 0.0, 0, []
    for n in range(2):
        asked = [c for c in range(3) if batch.asked[n, c]] + [3]
        odds = [[math.exp(logits[n, q, c].item()) for c in asked] for q in range(5)]
        both = claimed = true = 0.0
        for y, x in itertools.product(range(16), range(16)):
            own = int(batch.targets[n, y, x])
            if own == -100 and unlabelled == "left-out":
                continue
            for place, c in enumerate(asked):
                share = sum(odds[q][place] / sum(odds[q]) * masks[n, q, y, x].sigmoid().item() for q in range(5))
                p, right = 1 / (1 + math.exp(3 - 3 * share)), c == (3 if own == -100 else own)
                total, count = total + focal(p, right), count + 1
                if c < 3:
                    both, claimed, true = both + p * right, claimed + p, true + right
        dices.append(1 - (2 * both + 1) / (claimed + true + 1))
    assert terms["focal"].item() == pytest.approx(2.0 * total / count, rel=1e-4)
    assert terms["dice"].item() == pytest.approx(0.8 * sum(dices) / 2, rel=1e-4)


def test_everything_counted_is_the_published_loss() -> None:
    batch = a_batch(words=3)
    logits, masks = torch.randn(2, 5, 4), torch.randn(2, 5, 16, 16)
    targets = batch.targets.masked_fill(batch.targets == 3, -100)
    published = deop_terms(logits, masks, targets)
    counted = deop_terms(logits, masks, targets, counted=torch.ones(1, 4, 1, 1, dtype=torch.bool))
    nothing = deop_terms(logits, masks, targets, counted=torch.zeros(1, 1, 1, 1, dtype=torch.bool))
    for name, value in published.items():
        torch.testing.assert_close(counted[name], value)
        assert nothing[name] == 0


def test_cells_are_drawn_from_those_with_truth_and_evenly() -> None:
    torch.manual_seed(0)
    known = torch.zeros(3, 4, 5, dtype=torch.bool)
    known[0, :2] = True  # ten cells; the second image has none
    known[2] = True
    for count in (7, 10, 25):
        cells = draw_cells(known, count)
        assert cells.shape == (3, count)
        times = torch.stack([torch.bincount(own, minlength=20) for own in cells])
        assert int(times[0, 10:].sum()) == 0
        for own, size in ((times[0, :10], 10), (times[1], 20), (times[2], 20)):
            assert set(own.tolist()) <= {count // size, -(-count // size)}
    assert not torch.equal(draw_cells(known, 7), draw_cells(known, 7))


@pytest.mark.parametrize("stage", STAGES)
def test_a_word_that_is_not_asked_and_a_cell_without_truth_teach_nothing(make: Open, stage: str) -> None:
    task, batch = make({"stage": stage}), a_batch()
    batch.asked[:, 2] = False
    batch.text.requires_grad_()
    torch.manual_seed(0)
    loss, _ = task.loss(batch)
    loss.backward()
    assert batch.text.grad[2].abs().sum() == 0
    assert (batch.text.grad[[0, 1, 3]].abs().sum(dim=1) > 0).all()
    if stage == "anchors":
        masks = torch.randn(2, 5, 16, 16, requires_grad=True)
        sum(task.read_out_terms(torch.randn(2, 5, 5), masks, batch).values()).backward()
    else:
        masks = torch.randn(2, 5, 16, 16, requires_grad=True)
        sum(task.mask_terms([MaskState(masks, (torch.randn(2, 5, 5),))], batch.targets).values()).backward()
    unknown = (batch.targets == -100)[:, None].expand_as(masks)
    assert (masks.grad[unknown] == 0).all()
    assert (masks.grad[~unknown] != 0).any()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_trains_its_own_part_and_leaves_the_rest_to_the_bit(
    tmp_path: Path, recipe: Open, make_trainer: Open, tiny_encoder: StaticTextEncoder, painted: Any, stage: str
) -> None:
    trainer = make_trainer(tmp_path, recipe({"stage": stage}, steps=3, warmup=0), tiny_encoder, painted())
    before = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    list(trainer.run(workers=0, quiet=True))
    own = ("proposer.", "no_object") if stage == "masks" else ("anchors.", "trunk.extra_positions.", "no_object")
    for name, value in trainer.net.state_dict().items():
        if not name.startswith(own):
            assert torch.equal(value, before[name]), name
        elif name != "anchors.last.key.bias":  # a softmax over keys does not feel it
            assert not torch.equal(value, before[name]), name
    clip = trainer.task.clip.state_dict()
    assert all(torch.equal(trainer.net.trunk.state_dict()[name], value) for name, value in clip.items())


# every choice: the stage that it matters in, and a value that is not the default
CHOICES = [
    ("stage", "masks", "anchors"),
    ("severance", "anchors", "none"),
    ("severance", "anchors", "generalised"),
    ("severance", "anchors", "mask-guided"),
    ("residual", "anchors", 0.2),
    ("classifier", "anchors", "pooling"),
    ("temperature", "masks", 30.0),
    ("temperature", "anchors", 30.0),
    ("positions", "anchors", False),
    ("unlabelled", "masks", "no-object"),
    ("unlabelled", "anchors", "no-object"),
    ("mask", "masks", 5.0),
    ("dice", "masks", 5.0),
    ("named", "masks", 0.1),
    ("read_out_focal", "anchors", 5.0),
    ("read_out_dice", "anchors", 5.0),
    ("cells", "masks", 40),
    ("blocks", "masks", [1, 2, 1, 1]),
    ("channels", "masks", 24),
    ("width", "masks", 64),
    ("layers", "masks", 1),
    ("queries", "masks", 7),
]


def test_every_choice_is_tried() -> None:
    assert {key for key, _, _ in CHOICES} == {field.name for field in fields(DeopChoices)}


@pytest.mark.parametrize(("key", "stage", "value"), CHOICES)
def test_every_choice_changes_the_loss_and_is_kept_in_the_checkpoint(
    make: Open, key: str, stage: str, value: Any
) -> None:
    def outcome(choices: dict[str, Any]) -> tuple[float, list[tuple[str, Any]]]:
        task = make(choices)
        if task.net.trunk.extra_positions:
            with torch.no_grad():
                for table in task.net.trunk.extra_positions.values():
                    table.table.normal_()
        torch.manual_seed(0)
        return task.loss(a_batch())[0].item(), sorted(task.config().items())

    (plain, _), (changed, config) = outcome({"stage": stage}), outcome({"stage": stage, key: value})
    assert math.isfinite(changed)
    assert abs(changed - plain) > 1e-5
    assert (key, value) in config


def test_pooling_in_the_third_stage_trains_no_anchors(make: Open) -> None:
    net = make({"stage": "anchors", "classifier": "pooling"}).net
    learning = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert learning == {"trunk", "no_object"}


def test_a_run_that_was_cut_short_ends_as_an_unbroken_one(
    tmp_path: Path, recipe: Open, make_trainer: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    """Both stages, the third starting from the second."""
    for stage in STAGES:
        chosen = recipe({"stage": stage}, steps=4, start="" if stage == "masks" else "masks")
        whole = make_trainer(tmp_path / stage, chosen, tiny_encoder, painted())
        list(whole.run(save_every=2, workers=0, quiet=True))
        cut = make_trainer(tmp_path / f"cut-{stage}", chosen, tiny_encoder, painted(cut=6))
        with pytest.raises(painted.failure):
            list(cut.run(save_every=2, workers=0, quiet=True))
        resumed = make_trainer(tmp_path / f"cut-{stage}", chosen, tiny_encoder, painted())
        assert resumed.step == 2
        torch.rand(5)
        list(resumed.run(save_every=2, workers=0, quiet=True))
        for ours, theirs in ((whole.net, resumed.net), (whole.average.net, resumed.average.net)):
            for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
                assert torch.equal(a, b), name


@pytest.fixture
def colour_clip(tmp_path: Path, tiny_encoder: StaticTextEncoder) -> str:
    """A CLIP that knows three colours, without training: its patches' mean colour, mapped onto the words."""
    config = ClipVisionConfig(64, 16, 48, layers=6, heads=2, mlp=96, embed_dim=tiny_encoder.width)
    trunk = VisionTransformer(config).eval().requires_grad_(False)
    for block in trunk.blocks:  # each leaves its input as it is
        for layer in (block.attn.out_proj, block.mlp.c_proj):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    trunk.positions.table.zero_()
    trunk.conv1.weight.zero_()
    for channel in range(3):
        trunk.conv1.weight[channel, channel] = 1 / 16**2
    flat = torch.full((3, 3), 30.0).fill_diagonal_(230.0) / 255
    flat = (flat - torch.tensor(config.mean)) / torch.tensor(config.std)
    tokens, _ = trunk.embed(flat[:, :, None, None].expand(3, 3, 64, 64))
    words = torch.from_numpy(tiny_encoder.encode(COLOURS))
    trunk.proj.copy_(torch.linalg.lstsq(trunk.ln_post(tokens[:, 1]), words).solution)
    save_mini_clip(trunk, tmp_path / "colours", text_identity=tiny_encoder.identity)
    return str(tmp_path / "colours")


def test_it_learns_masks_and_then_what_to_call_them(
    tmp_path: Path,
    recipe: Open,
    make_trainer: Open,
    tiny_encoder: StaticTextEncoder,
    painted: Any,
    colour_clip: str,
) -> None:
    text = torch.from_numpy(tiny_encoder.encode(COLOURS))[:, None]

    def accuracy(trainer: Any) -> float:
        graph = trainer.task.deployed(trainer.average.net, (160, 192))
        found = []
        for index in range(4):
            picture = painted().load(index)
            with torch.no_grad():
                labels, _ = graph(torch.from_numpy(picture.rgb)[None], text)
            found.append((labels[0].numpy() == picture.ids).mean())
        return float(np.mean(found))

    @torch.no_grad()
    def mean_loss(trainer: Any) -> float:
        """Of four batches that training does not see."""
        batches = trainer.task.batches(Mix.of(painted(), 1), 1)
        torch.manual_seed(0)
        return float(np.mean([trainer.task.loss(batches[part])[0].item() for part in range(4)]))

    scores, falls = [], []
    for stage, steps in (("masks", 60), ("anchors", 15)):
        chosen = recipe(
            {"stage": stage, "clip": colour_clip, "layers": 1, "named": 0.02, "dice": 5.0},
            steps=steps, batch=6, warmup=5, learning_rate=4e-3, ema=0.8, zoom=(2.0, 2.2),
            start="" if stage == "masks" else "masks",
        )  # fmt: skip
        trainer = make_trainer(tmp_path / stage, chosen, tiny_encoder, painted())
        scores.append(accuracy(trainer))
        before = mean_loss(trainer)
        list(trainer.run(save_every=steps, workers=0, quiet=True))
        falls.append((before, mean_loss(trainer)))
        scores.append(accuracy(trainer))
    untrained, pooled, _, anchored = scores
    assert untrained < 0.5, scores
    assert all(after < before for before, after in falls), falls
    assert pooled > 0.65, scores
    assert anchored > 0.65, scores


@pytest.mark.parametrize("stage", STAGES)
def test_the_deployed_graph_is_a_copy_for_its_size(make: Open, stage: str) -> None:
    task = make({"stage": stage})
    graph = task.deployed(task.net, (64, 96))
    assert isinstance(graph, OnePass)
    assert not graph.net.training
    assert graph.net is not task.net
    assert task.net.trunk.positions.grid is None
    assert graph.net.config.classifier == ("pooling" if stage == "masks" else "anchors")
    labels, confidence = graph(torch.zeros(1, 50, 70, 3, dtype=torch.uint8), a_batch().text[:, None])
    assert labels.shape == confidence.shape == (1, 50, 70)


def test_pixels_are_normalised_as_clip_was_trained(make: Open) -> None:
    task, batch = make(), a_batch()
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (task.clip.config.mean, task.clip.config.std))
    torch.testing.assert_close(task.pixels(batch), (batch.images / 255 - mean) / std, atol=1e-5, rtol=1e-5)


@pytest.fixture
def shipped_clip(tmp_path: Path, shipped_encoder: StaticTextEncoder) -> str:
    """Random weights of the shipped mini CLIP's sizes."""
    clip = Recipe.load("clip-mini")
    sizes = clip.model
    config = ClipVisionConfig(
        clip.crop[0], sizes["patch"], sizes["width"], sizes["layers"], sizes["heads"], 4 * sizes["width"],
        embed_dim=shipped_encoder.width,
    )  # fmt: skip
    save_mini_clip(VisionTransformer(config), tmp_path / "shipped", text_identity=shipped_encoder.identity)
    return str(tmp_path / "shipped")


def test_the_shipped_recipes_are_two_stages_of_one_network(
    shipped_encoder: StaticTextEncoder, shipped_clip: str, tmp_path: Path
) -> None:
    tasks = {}
    for name in ("deop-mini-masks", "deop-mini"):
        shipped = Recipe.load(name)
        assert shipped.model.get("clip", "clip-mini") == "clip-mini"
        tasks[name] = DeopTask(Recipe.load(name, [f"model.clip={shipped_clip}"]), shipped_encoder)
    masks, anchors = tasks.values()
    assert (masks.choices.stage, anchors.choices.stage) == STAGES
    assert anchors.recipe.start == masks.recipe.name
    load_weights(anchors.net, masks.net.state_dict(), tmp_path)
    assert anchors.net.config.masks.queries == anchors.choices.queries


def test_bad_choices_are_named(make: Open) -> None:
    for choices, message in (
        ({"stage": "prompt"}, "stage is 'prompt'; expected one of 'masks', 'anchors'"),
        ({"severance": "some"}, "severance is 'some'; expected one of 'none', 'generalised'"),
        ({"classifier": "best"}, "classifier is 'best'; expected one of '', 'anchors', 'pooling'"),
        ({"classifier": "anchors"}, "the stage masks trains no anchors; expected classifier pooling"),
        ({"unlabelled": "ignored"}, "unlabelled is 'ignored'; expected one of 'left-out', 'no-object'"),
        ({"positions": 24}, "positions is 24"),
        ({"cells": -1}, "cells is -1; expected a whole number of at least 0"),
        ({"queries": 2.5}, "queries is 2.5; expected a whole number of at least 1"),
        ({"blocks": [1, 2]}, r"blocks is \(1, 2\); expected four whole numbers"),
        ({"channels": 18}, "channels is 18; expected a multiple of 4"),
        ({"width": 40}, "MaskFormer's width is 40; expected a multiple of 32"),
        ({"residual": "half"}, "residual is 'half'; expected a number of at least 0"),
        ({"mask": -1.0}, r"mask is -1\.0; expected a number of at least 0"),
        ({"proposals": 10}, "deop has no size 'proposals'; its sizes are stage, severance"),
    ):
        with pytest.raises(ModelError, match=message):
            make(choices)


def test_a_clip_that_is_missing_or_of_other_words_is_named(
    recipe: Open, tiny_encoder: StaticTextEncoder, tiny_clip: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"there is no mini CLIP .*nowhere.*ovseg train clip-mini"):
        DeopTask(recipe({"clip": str(tmp_path / "nowhere")}), tiny_encoder)
    config = ClipVisionConfig(64, 16, 48, layers=2, heads=2, mlp=96, embed_dim=tiny_encoder.width)
    save_mini_clip(VisionTransformer(config), tmp_path / "other", text_identity="another")
    with pytest.raises(ModelError, match="was trained with another text encoder"):
        DeopTask(recipe({"clip": str(tmp_path / "other")}), tiny_encoder)


@pytest.mark.parametrize("key", ["crop", "deploy_size"])
def test_sizes_that_the_mask_net_cannot_halve_are_named(
    recipe: Open, tiny_encoder: StaticTextEncoder, key: str
) -> None:
    with pytest.raises(ModelError, match=rf"{key} is \[64, 80\]; DeOP needs multiples of 32"):
        DeopTask(recipe(**{key: (64, 80)}), tiny_encoder)
