"""EBSeg's training: its loss by brute force, what it trains, the words that count as seen, and the balance after it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.ebseg import EbsegState  # noqa: E402
from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.batches import Batch  # noqa: E402
from ovseg_ros.training.checkpoint import read_checkpoint  # noqa: E402
from ovseg_ros.training.ebseg import VOID, EbsegChoices, EbsegTask, trained_words  # noqa: E402
from ovseg_ros.training.losses.structure import structure_consistency  # noqa: E402
from ovseg_ros.training.mix import Ingredient, Mix  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.training.task import open_task  # noqa: E402

Open = Callable[..., Any]
COLOURS = ("red", "green", "blue")
MUG_AND_SKY = {"mug": ("Mug", "cup"), "sky": ("sky",)}
TINY = {
    "name": "ebseg", "clip_scale": 1.0, "scale": 20.0, "queries": 6, "width": 32, "layers": 1, "pixel_layers": 1,
    "sam_width": 24, "points": 0, "skip_empty": True,
}  # fmt: skip


@pytest.fixture
def recipe(toy_recipe: Open, tiny_clip: str) -> Open:
    """A recipe for `Painted`, its model's choices given first, changed by keywords."""

    def make(choices: dict[str, Any] | None = None, **options: Any) -> Recipe:
        return toy_recipe(**options, model={**TINY, "clip": tiny_clip, **(choices or {})})  # type: ignore[no-any-return]

    return make


@pytest.fixture
def task(recipe: Open, tiny_encoder: StaticTextEncoder) -> Open:
    """A task by its choices, its weights always the same."""

    def make(**choices: Any) -> Any:
        torch.manual_seed(0)
        return open_task(recipe(choices), tiny_encoder)

    return make


@pytest.fixture
def batch(tiny_encoder: StaticTextEncoder) -> Batch:
    """Two pictures of 64x64: one of red and green with a stretch without truth, one of blue alone; "car" is asked."""
    targets = torch.zeros(2, 16, 16, dtype=torch.int64)
    targets[0, :, 8:] = 1
    targets[0, :5, 4:12] = -100
    targets[1] = 4
    targets[1, 4:12, 4:12] = 2
    words = (*COLOURS, "car")
    paint = torch.tensor([[230, 30, 30], [30, 230, 30], [30, 30, 230], [0, 0, 0], [60, 60, 60]], dtype=torch.uint8)
    images = paint[targets.clamp(min=0)].permute(0, 3, 1, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    asked = torch.tensor([[True, True, True, False], [True, False, True, True]])
    return Batch(images, targets, torch.from_numpy(tiny_encoder.encode(words)), torch.ones(5), asked, words)


def fixed_states(task: Any, count: int = 1, seed: int = 3) -> list[EbsegState]:
    """States that the network gives from here on, whatever it sees."""
    torch.manual_seed(seed)
    states = [
        EbsegState(
            2 * torch.randn(2, 3, 16, 16).requires_grad_(),
            torch.randn(2, 3, 16).requires_grad_(),
            torch.randn(2, 3, 16).requires_grad_(),
        )
        for _ in range(count)
    ]
    for tensor in (t for state in states for t in state):
        tensor.retain_grad()
    task.net.forward = lambda pixels: states
    return states


def by_hand(task: Any, state: EbsegState, batch: Batch) -> dict[str, float]:
    """The loss of one state, the matching by trying every assignment, in float64."""
    text = batch.text.double().numpy()
    background = task.net.bg_embed.detach().double().numpy()[0]
    background /= np.linalg.norm(background)
    masks, a, b = (t.detach().double().numpy() for t in state)
    sigmoid = 1 / (1 + np.exp(-masks))
    segments = [[k for k in range(len(text)) if (target == k).any()] for target in batch.targets.numpy()]
    count = sum(map(len, segments))

    def probabilities(i: int, embeddings: np.ndarray) -> np.ndarray:
        asked = [k for k in range(len(text)) if batch.asked[i, k]]
        logits = TINY["scale"] * np.stack([embeddings[i] @ v for v in [*text[asked], background]], axis=1)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        full = np.zeros((len(logits), len(text) + 1))
        full[:, [*asked, len(text)]] = shares / shares.sum(axis=1, keepdims=True)
        return full

    def mask_terms(i: int, q: int, k: int) -> tuple[float, float]:
        known = batch.targets[i].numpy() != -100
        true, p = (batch.targets[i].numpy() == k)[known], sigmoid[i, q][known]
        entropy = -(np.log(p[true]).sum() + np.log(1 - p[~true]).sum()) / known.size  # of all cells, void costs nothing
        return entropy, 1 - (2 * p[true].sum() + 1) / (p.sum() + true.sum() + 1)

    found = {"mask": 0.0, "dice": 0.0, "class": 0.0, "class_1": 0.0, "ssc": 0.0}
    weight, structures = 0.0, []
    for i, own in enumerate(segments):
        by_a, by_b = probabilities(i, a), probabilities(i, b)

        def cost(queries: tuple[int, ...], i: int = i, own: list[int] = own, by_a: np.ndarray = by_a) -> float:
            pairs = [(mask_terms(i, q, k), by_a[q, k]) for q, k in zip(queries, own, strict=True)]
            return sum(5 * entropy + 5 * dice - 2 * p for (entropy, dice), p in pairs)

        best = min(itertools.permutations(range(3), len(own)), key=cost)
        for q, k in zip(best, own, strict=True):
            entropy, dice = mask_terms(i, q, k)
            found["mask"] += 5 * entropy / count
            found["dice"] += 5 * dice / count
        for q in range(3):
            k, w = (own[best.index(q)], 1.0) if q in best else (len(text), 0.1)
            weight += w
            found["class"] -= 1.5 * w * math.log(by_a[q, k])
            found["class_1"] -= 1.5 * w * math.log(by_b[q, k])
        gram = [
            (a[i, q] @ a[i, p] - text[j] @ text[k]) ** 2
            for q, j in zip(best, own, strict=True)
            for p, k in zip(best, own, strict=True)
        ]
        structures.append(10 * float(np.mean(gram)))
    found["class"] /= weight
    found["class_1"] /= weight
    found["ssc"] = float(np.mean(structures))
    return found


def test_the_loss_is_that_of_brute_force(task: Open, batch: Batch) -> None:
    """With a word that one picture does not answer, and pixels without truth."""
    made = task()
    (state,) = fixed_states(made)
    loss, logged = made.loss(batch)
    wanted = by_hand(made, state, batch)
    assert set(logged) == set(wanted)
    for name, value in wanted.items():
        assert float(logged[name]) == pytest.approx(value, rel=1e-4), name
    assert float(loss.detach()) == pytest.approx(sum(wanted.values()), rel=1e-4)


def test_every_state_is_punished_and_the_last_by_its_structure(task: Open, batch: Batch) -> None:
    made = task()
    fixed_states(made, 1)
    one = made.loss(batch)[1]
    states = fixed_states(made, 1)
    made.net.forward = lambda pixels: states * 3
    three = made.loss(batch)[1]
    for name in ("mask", "dice", "class", "class_1"):
        assert float(three[name]) == pytest.approx(3 * float(one[name]), rel=1e-5), name
    assert float(three["ssc"]) == pytest.approx(float(one["ssc"]), rel=1e-6)


def test_pixels_without_truth_teach_no_mask(task: Open, batch: Batch) -> None:
    made = task()
    (state,) = fixed_states(made)
    made.loss(batch)[0].backward()
    void = (batch.targets == -100)[:, None].expand_as(state.masks)
    assert (state.masks.grad[void] == 0).all()
    assert (state.masks.grad[~void] != 0).float().mean() > 0.3  # those of matched queries
    assert 1 / (1 + math.exp(-VOID)) < 1e-8


def test_a_word_that_a_picture_is_not_asked_about_is_no_class_of_it(task: Open, batch: Batch) -> None:
    made = task()
    (state,) = fixed_states(made)
    (before, _), other = made.loss(batch), batch.text.clone()
    other[3] = torch.nn.functional.normalize(torch.randn(16), dim=0)  # the car, which the first picture has no part in
    first = Batch(
        batch.images, batch.targets, other, batch.weights, batch.asked & ~torch.tensor([0, 0, 0, 1]).bool(), batch.words
    )
    without, _ = made.loss(first)
    again, _ = made.loss(Batch(**{**vars(first), "text": batch.text}))
    assert without.item() == again.item()
    assert without.item() != before.item()
    del state


@pytest.mark.parametrize("skip", [False, True])
def test_a_picture_without_things_may_be_left_out_of_the_structure(task: Open, batch: Batch, skip: bool) -> None:
    bare = batch.targets.clone()
    bare[1] = 4
    made = task(skip_empty=skip)
    (state,) = fixed_states(made)
    logged = made.loss(Batch(**{**vars(batch), "targets": bare}))[1]
    first = Batch(**{k: v[:1] if k in ("images", "targets", "asked") else v for k, v in vars(batch).items()})
    made.net.forward = lambda pixels: [EbsegState(*(t[:1] for t in state))]
    alone = made.loss(first)[1]
    assert float(alone["ssc"]) > 0
    assert float(logged["ssc"]) == pytest.approx(float(alone["ssc"]) if skip else 0.0, rel=1e-6)
    nothing = [(torch.zeros(0, dtype=torch.int64),) * 2] * 2
    labels = [torch.zeros(0, dtype=torch.int64)] * 2
    assert float(structure_consistency(state.a, nothing, labels, batch.text, skip_empty=skip)) == 0.0


def test_it_trains_all_but_clip_and_nothing_else_moves(
    tmp_path: Path, make_trainer: Open, recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    trainer = make_trainer(tmp_path, recipe(steps=1, warmup=0), tiny_encoder, painted())
    net, clip = trainer.net, trainer.task.clip.state_dict()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for name, value in clip.items():
        assert torch.equal(before[f"clip.{name}"], value), name
    list(trainer.run(save_every=1, workers=0, quiet=True))
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    wanted = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert moved == wanted
    assert "clip.positions.table" in wanted
    assert not {name for name in wanted if name.startswith("clip.")} - {"clip.positions.table"}
    assert {name for name, _ in net.named_parameters()} - wanted == {
        *(f"clip.{name}" for name in clip if name != "positions.table"),
        "logit_scale",
    }
    assert not open_task(recipe({"positions": False}), tiny_encoder).net.clip.positions.table.requires_grad


@pytest.mark.parametrize("points", [0, 40])
def test_every_trained_weight_gets_a_gradient_even_without_truth(task: Open, batch: Batch, points: int) -> None:
    """So that several devices need not look for unused ones (`Task.unused`)."""
    made = task(points=points)
    assert not made.unused
    for targets in (batch.targets, torch.full_like(batch.targets, -100)):
        made.zero_grad(set_to_none=True)
        made.loss(Batch(**{**vars(batch), "targets": targets}))[0].backward()
        for name, parameter in made.net.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name


def test_a_run_that_was_cut_short_ends_as_an_unbroken_one(
    tmp_path: Path, make_trainer: Open, recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    """With the trained words in the checkpoint, which the recipe does not name."""
    chosen = recipe({"points": 30}, steps=3)  # drawn at random
    whole = make_trainer(tmp_path / "whole", chosen, tiny_encoder, painted())
    list(whole.run(save_every=2, workers=0, quiet=True))
    cut = make_trainer(tmp_path / "cut", chosen, tiny_encoder, painted(cut=5))
    with pytest.raises(painted.failure):  # in step 3, after the checkpoint of step 2
        list(cut.run(save_every=2, workers=0, quiet=True))
    assert read_checkpoint(tmp_path / "cut" / "checkpoint.pt")["config"]["seen"] == sorted(COLOURS)
    resumed = make_trainer(tmp_path / "cut", chosen, tiny_encoder, painted())
    assert resumed.step == 2
    torch.rand(5)
    assert list(resumed.run(save_every=2, workers=0, quiet=True)) == [3]
    for ours, theirs in ((whole.net, resumed.net), (whole.average.net, resumed.average.net)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def test_it_learns_and_knows_what_it_has_seen(
    tmp_path: Path, make_trainer: Open, recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    light = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.0, "stretch": 0.02, "ema": 0.9}
    chosen = recipe({"width": 64}, steps=50, batch=8, warmup=5, learning_rate=3e-3, **light)
    trainer = make_trainer(tmp_path, chosen, tiny_encoder, painted())
    list(trainer.run(save_every=50, workers=0, quiet=True))

    state = read_checkpoint(trainer.checkpoint)
    published = open_task(Recipe(**{**vars(chosen), "model": state["config"]}), tiny_encoder)
    assert published.config() == state["config"]
    published.net.load_state_dict(state["average"])
    graph = published.deployed(published.net, chosen.deploy_size)
    assert not len(published.net.seen.table)  # a copy remembers them: weights load as they were saved
    words = ("red", "car", "blue", "green")  # one is new
    text = torch.from_numpy(tiny_encoder.encode(words))[:, None]
    assert graph.net.seen(text).tolist() == [1, 0, 1, 1]
    picture = painted().load(0)
    with torch.no_grad():
        labels, _ = graph(torch.from_numpy(picture.rgb)[None], text)
    named = np.array([words.index(word) for word in COLOURS])
    right = (labels[0].numpy() == named[picture.ids]).mean()
    assert right > 0.7, right  # a third by chance


def test_the_trained_words_are_the_regions_own(
    recipe: Open, painted: Any, tiny_encoder: StaticTextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Things(painted):  # type: ignore[misc]
        kinds = MUG_AND_SKY
        colours = ("red",)

    mix = Mix([Ingredient("one", painted()), Ingredient("two", Things())], forbidden={"cup", "blue"})
    assert trained_words(mix, recipe()) == (
        "green",
        "mug",
        "red",
        "sky",
    )  # neither held-out words nor colours of things
    monkeypatch.setattr("ovseg_ros.training.ebseg.lexicon_words", lambda kinds, forbidden: {"two: sky": ("Heavens",)})
    lexical = Recipe(**{**vars(recipe()), "words": type(recipe().words)(lexicon=0.1)})
    assert trained_words(mix, lexical) == ("green", "heavens", "mug", "red", "sky")
    made = open_task(recipe({"seen": ["car"]}), tiny_encoder)
    made.batches(Mix.of(painted()), 1)
    assert made.config()["seen"] == ["car"]  # where a recipe says so itself


def test_another_balance_needs_no_other_training(
    tmp_path: Path, make_trainer: Open, recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    """A alone, B alone and D alone give what the classes of each say by themselves."""
    chosen = recipe(steps=1)
    trainer = make_trainer(tmp_path / "run", chosen, tiny_encoder, painted())
    list(trainer.run(workers=0, quiet=True))
    pixels = torch.randn(1, 3, 64, 64)
    text = torch.from_numpy(tiny_encoder.encode(("red", "car", "tree")))[:, None]

    def graph(*balance: float) -> Any:
        exponents = dict(zip(("alpha", "beta", "gamma"), balance, strict=True))
        variant = recipe(exponents, steps=0, start="run")
        made = make_trainer(tmp_path / "-".join(map(str, balance)), variant, tiny_encoder, painted())
        assert list(made.run(workers=0, quiet=True)) == []
        state = read_checkpoint(made.checkpoint)
        other = open_task(Recipe(**{**vars(chosen), "model": state["config"]}), tiny_encoder)
        other.net.load_state_dict(state["average"])
        return other.deployed(other.net, chosen.deploy_size).net

    with torch.no_grad():
        full = graph(0.3, 0.3, 0.3)
        a, d, b = full.features(pixels, text).embeddings.chunk(3, dim=-1)
        assert full.seen(text).tolist() == [1, 0, 0]
        background = torch.nn.functional.normalize(full.bg_embed, dim=-1)[0]
        void = (20 * torch.cat([a @ text[:, 0].t(), (a @ background)[..., None]], dim=-1)).softmax(dim=-1)[..., -1:]
        for balance, alone in (((0, 0, 0), a), ((1, 1, 0), d), ((0, 0, 1), b)):
            net = graph(*balance)
            found = net.classes(net.features(pixels, text).embeddings, text)
            wanted = (20 * alone @ text[:, 0].t()).softmax(dim=-1) * (1 - void)
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelError, match=r"alpha or beta, 0.5, and gamma, 0.7, are more than 1 together"):
        open_task(recipe({"alpha": 0.5, "beta": 0.1, "gamma": 0.7}), tiny_encoder)


def test_the_second_stream_is_that_of_d_alone(task: Open) -> None:
    pixels, text = torch.randn(1, 3, 64, 64), torch.zeros(1, 1, 16)
    with torch.no_grad():
        (a, d, b), (same_a, other_d, same_b) = (
            task(second_from=first).net.features(pixels, text).embeddings.chunk(3, dim=-1) for first in (1, 4)
        )
    assert torch.equal(a, same_a)
    assert torch.equal(b, same_b)
    assert (d - other_d).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clip_scale", 0.5), ("scale", 50.0), ("queries", 9), ("width", 64), ("layers", 2), ("pixel_layers", 2),
        ("sam_width", 48), ("ssc", 0.0), ("points", 20),
    ],
)  # fmt: skip
def test_every_choice_changes_the_loss(task: Open, batch: Batch, key: str, value: Any) -> None:
    """`positions`, `second_from`, `skip_empty`, `seen` and the balance have tests of their own."""
    losses = []
    for choices in ({}, {key: value}):
        made = task(**choices)
        torch.manual_seed(1)
        with torch.no_grad():
            losses.append(made.loss(batch)[1])
        assert all(v.isfinite() for v in losses[-1].values())
    assert ("ssc" in losses[1]) == (key != "ssc")
    assert {k: float(v) for k, v in losses[0].items()} != {k: float(v) for k, v in losses[1].items()}


def test_losses_are_exact_under_autocast(task: Open, batch: Batch) -> None:
    made = task()
    fixed_states(made)
    exact = made.loss(batch)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert made.loss(batch)[0].item() == exact.item()


def test_a_prediction_that_is_no_number_is_a_model_error(task: Open, batch: Batch) -> None:
    made = task()
    states = fixed_states(made)
    with torch.no_grad():
        states[0].masks[0, 0, 9, 9] = torch.nan
    with pytest.raises(ModelError, match="lower the learning rate"):
        made.loss(batch)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"depth": 3}, "ebseg has no size 'depth'"),
        ({"alpha": 0.5}, "alpha or beta, 0.5, and gamma, 0.7, are more than 1"),
        ({"gamma": -0.1}, r"gamma is -0.1; expected a number in 0\.\.1"),
        ({"clip_scale": 0}, "clip_scale is 0; expected a number above 0"),
        ({"clip_scale": 0.2}, "of which CLIP sees 0.2: less than its patch of 16"),
        ({"scale": "100"}, "scale is '100'; expected a number"),
        ({"ssc": -1}, "ssc is -1"),
        ({"queries": 0}, "queries is 0; expected a whole number of at least 1"),
        ({"points": 2.5}, "points is 2.5"),
        ({"second_from": 5}, "second_from 5 and recognise_from 4"),
        ({"skip_empty": 1}, "skip_empty is 1; expected true or false"),
        ({"seen": "car"}, "seen is 'car'; expected a list of words"),
        ({"width": 40}, "width is 40; expected a multiple of 32"),
        ({"sam_width": 32}, "width 32 is no multiple of the 3 heads"),
    ],
)
def test_choices_that_cannot_be_are_errors(
    recipe: Open, tiny_encoder: StaticTextEncoder, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        EbsegTask(recipe(choices), tiny_encoder)


def test_sizes_and_clips_that_cannot_be_are_errors(
    tmp_path: Path, recipe: Open, tiny_encoder: StaticTextEncoder, tiny_clip: str
) -> None:
    from ovseg_ros.models.clip import VisionTransformer
    from ovseg_ros.models.clip_config import ClipVisionConfig
    from ovseg_ros.models.clip_mini import save_mini_clip

    for key in ("crop", "deploy_size"):
        with pytest.raises(ModelError, match=rf"{key} is \[48, 64\]; ebseg needs multiples of 32"):
            EbsegTask(recipe(**{key: (48, 64)}), tiny_encoder)
    with pytest.raises(ModelError, match=r"there is no mini CLIP .*ovseg train clip-mini"):
        EbsegTask(recipe({"clip": str(tmp_path / "nowhere")}), tiny_encoder)
    shallow = VisionTransformer(ClipVisionConfig(64, 16, 48, layers=3, heads=2, mlp=96, embed_dim=16))
    save_mini_clip(shallow, tmp_path / "shallow", text_identity=tiny_encoder.identity)
    with pytest.raises(ModelError, match="under CLIP's 3 blocks"):
        EbsegTask(recipe({"clip": str(tmp_path / "shallow")}), tiny_encoder)
    save_mini_clip(shallow, tmp_path / "foreign", text_identity="of another")
    with pytest.raises(ModelError, match="foreign was trained with another text encoder"):
        EbsegTask(recipe({"clip": str(tmp_path / "foreign")}), tiny_encoder)
    assert tiny_clip


def test_the_shipped_recipe_is_one() -> None:
    chosen = Recipe.load("ebseg-mini")
    given = {key: value for key, value in chosen.model.items() if key not in ("name", "clip")}
    choices = EbsegChoices(**given)
    assert (choices.alpha, choices.beta, choices.gamma, choices.ssc) == (0.09, 0.3, 0.7, 10.0)
    assert chosen.start == ""
    assert chosen.deploy_size == (288, 384)


def test_the_graph_is_one_that_can_be_exported(task: Open) -> None:
    """torch's exporter fails on attention in windows where weights want gradients; `test_ebseg_engines` exports one."""
    made = task(seen=["red", "blue"])
    graph = made.deployed(made.net, (64, 96))
    assert not any(parameter.requires_grad for parameter in graph.parameters())
    assert any(parameter.requires_grad for parameter in made.net.parameters())
    assert not graph.net.training
    assert graph.size == (64, 96)
    assert len(graph.net.seen.table) == 2


def test_empty_masks_and_impossible_classes_stay_finite_in_an_exported_graph(tmp_path: Path) -> None:
    """The ONNX exporter drops an addition of 1e-8: one empty mask made every pixel of a frame NaN."""
    pytest.importorskip("onnxscript")
    openvino = pytest.importorskip("openvino")
    import onnx

    from ovseg_ros.models.balance import balance, ebseg_exponents
    from ovseg_ros.models.ebseg_pooling import pool_inside
    from ovseg_ros.models.export import trace

    class Parts(torch.nn.Module):  # type: ignore[misc]
        def forward(self, masks: Any, features: Any, p: Any, q: Any) -> Any:
            shares = balance([p, p, q], ebseg_exponents(0.09, 0.3, 0.7), torch.ones(3))
            return pool_inside(masks, features), shares

    masks = torch.randn(1, 2, 4, 4)
    masks[0, 1] = -1
    p, q = torch.tensor([[[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]]), torch.tensor([[[0.1, 0.4, 0.5], [0.0, 1.0, 0.0]]])
    given = (masks, torch.randn(1, 3, 4, 4), p, q)
    wanted = Parts()(*given)
    torch.testing.assert_close(wanted[1][0, 1], torch.full((3,), 1 / 3))  # the terms exclude each other
    assert not wanted[0][0, 1].any()
    program = trace(Parts().eval(), given, ["masks", "features", "p", "q"], ["pooled", "shares"], {})
    onnx.save(program.model_proto, tmp_path / "parts.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "parts.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for found, expected in zip(compiled([x.numpy() for x in given]).values(), wanted, strict=True):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)
