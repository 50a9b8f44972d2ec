"""ESC-Net's training: its loss by a loop, every choice with an effect, resumed to the bit, and learning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
F = torch.nn.functional

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.catseg_correlation import correlate  # noqa: E402
from ovseg_ros.models.catseg_pass import ShortlistPass  # noqa: E402
from ovseg_ros.models.clip import VisionTransformer  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_mini import load_mini_clip, save_mini_clip  # noqa: E402
from ovseg_ros.models.sam.prompt_encoder import FourierPositions  # noqa: E402
from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.batches import Batch  # noqa: E402
from ovseg_ros.training.esc_net import EscChoices, EscNetTask, shown, word_losses  # noqa: E402
from ovseg_ros.training.optim import make_optimizer  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.training.words import WordMix  # noqa: E402

Open = Callable[..., Any]
TINY = {"layers": 1, "depth": 1, "regions": 2, "iterations": 2, "width": 24, "guidance": 8, "sam_width": 16}


@pytest.fixture
def recipe(toy_recipe: Open, tiny_clip: str) -> Open:
    """A recipe of a tiny ESC-Net, changed by choices and keywords."""

    def make(choices: dict[str, Any] | None = None, **options: Any) -> Any:
        model = {"name": "esc-net", "clip": tiny_clip, **TINY, **(choices or {})}
        return toy_recipe(**{"stretch": 0.05, **options, "model": model})

    return make


@pytest.fixture
def open_esc(recipe: Open, tiny_encoder: StaticTextEncoder) -> Open:
    """A task with weights of seed 0, none of them at its trivial start of zeros."""

    def make(choices: dict[str, Any] | None = None, **options: Any) -> EscNetTask:
        torch.manual_seed(0)
        task = EscNetTask(recipe(choices, **options), tiny_encoder)
        with torch.no_grad():
            for name, parameter in sorted(task.net.named_parameters()):
                if not parameter.any():
                    generator = torch.Generator().manual_seed(len(name))
                    parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return task

    return make


def a_batch(count: int = 6, pictures: int = 2, height: int = 96, width: int = 128, shows: int = 3) -> Batch:
    """Random pictures of 6 x 8 patches that show some words, and what is none of them, and pixels without truth."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(0, 256, (pictures, 3, 4, 5), generator=generator).float()
    images = F.interpolate(coarse, size=(height, width), mode="bilinear").to(torch.uint8)
    targets = torch.randint(0, shows + 2, (pictures, height // 4, width // 4), generator=generator)
    targets = torch.where(targets == shows, count, torch.where(targets == shows + 1, -100, targets))
    text = F.normalize(torch.randn(count, 16, generator=generator), dim=1)
    asked = torch.ones(pictures, count, dtype=torch.bool)
    return Batch(images, targets, text, torch.ones(count + 1), asked, tuple(f"word{i}" for i in range(count)))


# the loss


def loop(logits: Any, targets: Any, weights: Any, counted: Any, other: bool, sigmoid: bool) -> tuple[float, float]:
    """The entropy and the dice loss, pixel by pixel."""
    b, k, h, w = logits.shape
    sums = {"loss": 0.0, "count": 0.0}
    both, mass, truth = np.zeros(k + 1), np.zeros(k + 1), np.zeros(k + 1)
    for i in range(b):
        words = [j for j in range(k) if counted[i, j]]
        for y in range(h):
            for x in range(w):
                t, z = int(targets[i, y, x]), logits[i, :, y, x]
                if t not in words and not (t == k and (other or sigmoid)):
                    continue
                odds = {j: math.exp(z[j]) for j in words} | ({k: 1.0} if other or sigmoid else {})
                share = {j: odd / sum(odds.values()) for j, odd in odds.items()}
                for j, p in share.items():
                    mass[j] += p
                both[t] += share[t]
                truth[t] += 1
                if sigmoid:
                    for j in words:
                        yes = 1 / (1 + math.exp(-z[j]))
                        sums["loss"] -= math.log(yes if j == t else 1 - yes)
                        sums["count"] += 1
                else:
                    sums["loss"] -= weights[t] * math.log(share[t])
                    sums["count"] += weights[t]
    dice = [1 - 2 * both[j] / (mass[j] + truth[j]) for j in range(k + 1) if truth[j]]
    return sums["loss"] / sums["count"], sum(dice) / len(dice)


@pytest.mark.parametrize(("other", "sigmoid"), [(False, False), (True, False), (False, True)])
def test_the_loss_is_that_of_a_loop(other: bool, sigmoid: bool) -> None:
    rng = np.random.default_rng(0)
    logits, weights = rng.normal(size=(3, 4, 5, 6)), rng.uniform(0.5, 2, 5)
    targets = rng.choice([0, 1, 2, 3, 4, -100], (3, 5, 6))
    counted = np.ones((3, 4), bool)
    counted[0, 3] = counted[2, 1] = False  # words that have pixels there
    assert (targets[0] == 3).any()
    assert (targets == 4).any()
    inputs = [torch.tensor(x) for x in (logits, targets, weights.astype(np.float32), counted)]
    found = word_losses(*inputs, other=other, sigmoid=sigmoid, dice=0.5)
    entropy, dice = loop(logits, targets, weights, counted, other, sigmoid)
    assert float(found["entropy"]) == pytest.approx(entropy, rel=1e-5)
    assert float(found["dice"]) == pytest.approx(0.5 * dice, rel=1e-5)
    assert list(word_losses(*inputs, other=other)) == ["entropy"]


def test_pictures_without_truth_teach_nothing_and_half_precision_is_not_used() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    asked, weights = torch.ones(2, 3, dtype=torch.bool), torch.ones(4)
    for targets, choice in ((-100, "other"), (-100, "sigmoid"), (3, "plain")):
        truth = torch.full((2, 4, 4), targets)
        terms = word_losses(logits, truth, weights, asked, **({} if choice == "plain" else {choice: True}), dice=1.0)
        (gradient,) = torch.autograd.grad(sum(terms.values()), logits)
        assert not gradient.any()
    truth = torch.randint(0, 4, (2, 4, 4), generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = word_losses(logits, truth, weights, asked, other=True)["entropy"]
    assert half.dtype == torch.float32
    assert half.item() == word_losses(logits, truth, weights, asked, other=True)["entropy"].item()


def test_what_pictures_show_is_found() -> None:
    batch = a_batch()
    found = shown(batch.targets, 6)
    for i in range(2):
        assert set(found[i].nonzero().flatten().tolist()) == set(batch.targets[i].unique().tolist()) - {6, -100}
    assert not shown(torch.full((1, 2, 2), -100), 4).any()


def test_words_that_are_not_asked_get_no_gradient(open_esc: Open) -> None:
    task, batch = open_esc({"other": True}), a_batch()
    asked = batch.asked.clone()
    asked[0, 5] = asked[1, 4] = False
    logits = []
    net = task.net
    aggregate = net.aggregate

    def kept(*given: Any) -> Any:
        logits.append(aggregate(*given))
        logits[-1].retain_grad()
        return logits[-1]

    net.aggregate = kept
    found = net.shortlist(task.pixels(batch), batch.text[:, None], shown(batch.targets, 6).int() + asked.int(), 16)
    loss, _ = task.loss(replace(batch, asked=asked))
    loss.backward()
    for i in range(2):
        for place, word in enumerate(found.classes[i].tolist()):
            assert bool(logits[1].grad[i, place].any()) == bool(asked[i, word])


def test_a_picture_is_trained_with_what_it_shows_first_and_what_it_is_asked_about_next(open_esc: Open) -> None:
    task, batch = open_esc({"train_budget": 4}), a_batch()
    asked = batch.asked.clone()
    asked[:, 3:5] = False  # leaves 5 beside the three that are shown
    kept = []
    shortlist = task.net.shortlist

    def spy(*given: Any) -> Any:
        kept.append(shortlist(*given))
        return kept[-1]

    task.net.shortlist = spy
    task.loss(replace(batch, asked=asked))
    assert [sorted(row) for row in kept[0].classes.tolist()] == [[0, 1, 2, 5], [0, 1, 2, 5]]


def test_more_words_than_the_budget_lose_their_pixels_and_no_more(open_esc: Open) -> None:
    """A picture that shows three words of which one is kept: its loss is that of the pixels of this one."""
    task, batch = open_esc({"train_budget": 1}), a_batch()
    found = task.net.shortlist(task.pixels(batch), batch.text[:, None], shown(batch.targets, 6).int() + 1, 1)
    alone = torch.where(batch.targets == found.classes[:, :1, None], batch.targets, -100)
    loss, terms = task.loss(batch)
    assert loss.item() == pytest.approx(0, abs=1e-6)  # one word against no other
    task.choices = replace(task.choices, other=True)
    none = torch.where(batch.targets == 6, 6, alone)
    assert task.loss(batch)[0].item() == pytest.approx(task.loss(replace(batch, targets=none))[0].item(), rel=1e-5)
    assert list(terms) == ["entropy"]


def test_what_prompts_are_made_of_stays_in_float32() -> None:
    """Autocast would round cosines, so that cells tie, and the angles of SAM's positions."""
    generator = torch.Generator().manual_seed(0)
    features, text = (torch.randn(shape, generator=generator) for shape in ((2, 16, 6, 8), (9, 2, 16)))
    positions = FourierPositions(16)
    places = torch.rand(2, 5, 2, generator=generator)
    expected = correlate(features, text, 4), positions(places)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = correlate(features, text, 4), positions(places)
    assert torch.equal(found[0].classes, expected[0].classes)
    assert torch.equal(found[0].cosines, expected[0].cosines)
    assert torch.equal(found[1], expected[1])


# the choices


def test_the_defaults_are_the_models(open_esc: Open, recipe: Open, tiny_encoder: StaticTextEncoder) -> None:
    from ovseg_ros.models.esc_config import EscConfig

    chosen = recipe()
    model = {key: chosen.model[key] for key in ("name", "clip")}
    task = EscNetTask(replace(chosen, model=model), tiny_encoder)
    assert task.net.config == EscConfig.mini(task.clip.config)
    assert task.choices == EscChoices()


OTHERWISE = {
    "prompts": "points",
    "alpha": 0.9,
    "regions": 4,
    "iterations": 1,
    "temperature": 0.02,
    "layers": 2,
    "depth": 0,
    "budget": 2,
    "train_budget": 4,
    "sigmoid": True,
    "other": True,
    "learn": "nothing",
    "width": 32,
    "guidance": 16,
    "sam_width": 32,
}


@pytest.mark.parametrize("name", [f.name for f in fields(EscChoices)])
def test_every_choice_has_an_effect(open_esc: Open, name: str) -> None:
    base = {"regions": 3, "iterations": 10}
    plain, changed = open_esc(base), open_esc(base | {name: OTHERWISE[name]})
    names = [[n for n, p in task.net.named_parameters() if p.requires_grad] for task in (plain, changed)]
    sizes = [[p.numel() for p in task.net.parameters()] for task in (plain, changed)]
    if name in ("layers", "depth", "width", "guidance", "sam_width"):
        assert sizes[0] != sizes[1]
    elif name == "learn":
        of_clip = {n for n in names[0] if n.startswith("trunk.clip.")}
        assert of_clip
        assert set(names[0]) - set(names[1]) == of_clip
    elif name in ("train_budget", "sigmoid", "other"):
        assert abs(plain.loss(a_batch())[0].item() - changed.loss(a_batch())[0].item()) > 1e-4
    else:
        batch = a_batch()
        with torch.no_grad():
            one, two = (task.net(task.pixels(batch), batch.text[:, None]) for task in (plain, changed))
        assert (one - two).abs().max() > 1e-4


@pytest.mark.parametrize("prompts", ["both", "points", "masks", "none"])
def test_all_that_learns_has_a_gradient_whatever_the_prompts(open_esc: Open, prompts: str) -> None:
    task = open_esc({"prompts": prompts, "other": True}, dice=0.5)
    loss, terms = task.loss(a_batch())
    assert loss.item() == pytest.approx(sum(term.item() for term in terms.values()))
    assert set(terms) == {"entropy", "dice"}
    loss.backward()
    for name, parameter in task.net.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert not task.unused


# the run


def test_it_starts_with_the_clip(recipe: Open, tiny_encoder: StaticTextEncoder, tiny_clip: str) -> None:
    own, clip = EscNetTask(recipe(), tiny_encoder).net.trunk.clip.state_dict(), load_mini_clip(tiny_clip).state_dict()
    assert own.keys() == clip.keys()
    assert all(torch.equal(own[key], clip[key]) for key in clip)


def test_a_run_that_was_cut_short_ends_as_an_unbroken_one(
    tmp_path: Path, recipe: Open, make_trainer: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    chosen = recipe({"other": True}, steps=4)
    whole = make_trainer(tmp_path / "whole", chosen, tiny_encoder, painted())
    list(whole.run(save_every=2, workers=0, quiet=True))
    with pytest.raises(painted.failure):  # in step 4, after the checkpoint of step 2
        list(
            make_trainer(tmp_path / "cut", chosen, tiny_encoder, painted(cut=7)).run(
                save_every=2, workers=0, quiet=True
            )
        )
    resumed = make_trainer(tmp_path / "cut", chosen, tiny_encoder, painted())
    assert resumed.step == 2
    torch.rand(5)
    assert list(resumed.run(save_every=2, workers=0, quiet=True)) == [4]
    for ours, theirs in ((whole.net, resumed.net), (whole.average.net, resumed.average.net)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def test_it_learns(
    tmp_path: Path, recipe: Open, make_trainer: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    """From 1/3, of three colours; the CLIP that it stands on knows nothing."""
    quick = {"steps": 40, "batch": 8, "warmup": 5, "learning_rate": 5e-3, "ema": 0.8}
    words = WordMix(absent=1, leave_out=0.0, noise=0.0)
    chosen = recipe({"other": True}, deploy_size=(80, 96), words=words, **quick)
    trainer = make_trainer(tmp_path, chosen, tiny_encoder, painted())
    text = torch.from_numpy(tiny_encoder.encode(["red", "green", "blue", "sky"]))[:, None]

    def accuracy() -> float:
        graph = trainer.task.deployed(trainer.average.net, chosen.deploy_size)
        pictures = [painted().load(i) for i in range(4)]
        labels, _ = graph(torch.from_numpy(np.stack([p.rgb for p in pictures])), text)
        return float((labels.numpy() == np.stack([p.ids for p in pictures])).mean())

    before = accuracy()
    list(trainer.run(save_every=40, workers=0, quiet=True))
    assert accuracy() > 0.75 > 0.5 > before


@torch.no_grad()
def test_the_deployed_graph_is_the_read_out_of_a_baked_copy(open_esc: Open) -> None:
    """Labels and confidence from the logits by hand; "none of these words" counts where it is an answer."""
    image = a_batch().images.permute(0, 2, 3, 1)
    text = a_batch().text[:, None]
    for other in (False, True):
        task = open_esc({"other": other}).eval()
        graph = task.deployed(task.net, (96, 128))
        assert isinstance(graph, ShortlistPass)
        assert task.net.trunk.clip.positions.baked is None
        assert graph.net.trunk.clip.positions.baked is not None
        logits = F.interpolate(task.net(task.pixels(a_batch()), text), scale_factor=4.0, mode="bilinear")
        every = torch.cat([logits, torch.zeros_like(logits[:, :1])], dim=1) if other else logits
        labels, confidence = graph(image, text)
        assert (labels == logits.argmax(dim=1)).float().mean() > 0.999
        expected = every.softmax(dim=1)[:, :6].amax(dim=1)
        assert (confidence / 255 - expected).abs().max() < 0.01


# bad input


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"prompts": "boxes"}, "prompts are 'boxes'"),
        ({"layers": 0}, "layers is 0; expected a whole number of at least 1"),
        ({"depth": -1}, "depth is -1"),
        ({"train_budget": 2.5}, "train_budget is 2.5"),
        ({"sigmoid": "yes"}, "sigmoid is 'yes'; expected true or false"),
        ({"sigmoid": True, "other": True}, "other is true beside sigmoid"),
        ({"learn": "all"}, "learn is 'all'; expected attention, nothing, everything"),
        ({"width": 30}, "width 30 is no multiple of the 4 heads"),
        ({"sam_width": 20}, "an attention of 10 channels cannot have 4 heads"),
        ({"alpha": "high"}, "cannot have these sizes"),
        ({"blocks": 4}, "has no size 'blocks'; its sizes are prompts, alpha"),
        ({"clip": "/nowhere/clip"}, "there is no mini CLIP"),
    ],
)
def test_what_cannot_be_is_a_model_error(
    recipe: Open, tiny_encoder: StaticTextEncoder, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        EscNetTask(recipe(choices), tiny_encoder)


def test_a_clip_of_other_words_is_a_model_error(
    recipe: Open, tiny_encoder: StaticTextEncoder, tiny_clip: str, tmp_path: Path
) -> None:
    save_mini_clip(load_mini_clip(tiny_clip), tmp_path / "other", text_identity="other")
    with pytest.raises(ModelError, match="was trained with another text encoder"):
        EscNetTask(recipe({"clip": str(tmp_path / "other")}), tiny_encoder)


def test_the_shipped_recipe_is_one(shipped_encoder: StaticTextEncoder, tmp_path: Path) -> None:
    """And CLIP's attention learns at a hundredth of the rate, all else at the whole."""
    torch.manual_seed(0)
    config = ClipVisionConfig(128, 16, 192, 6, 3, 768, embed_dim=shipped_encoder.width)
    save_mini_clip(VisionTransformer(config), tmp_path / "clip", text_identity=shipped_encoder.identity)
    shipped = Recipe.load("esc-net-mini")
    chosen = replace(shipped, model={**shipped.model, "clip": str(tmp_path / "clip")})
    task = EscNetTask(chosen, shipped_encoder)
    assert task.config() == dict(vars(task.choices)) | {"name": "esc-net", "clip": str(tmp_path / "clip")}
    assert set(shipped.model) - {"name", "clip"} <= set(vars(task.choices))
    names = {id(p): name for name, p in task.net.named_parameters()}
    for group in make_optimizer(task.net, chosen).param_groups:
        for parameter in group["params"]:
            factor = 0.01 if names[id(parameter)].startswith("trunk.clip.") else 1.0
            assert group["initial_lr"] == pytest.approx(factor * chosen.learning_rate)
