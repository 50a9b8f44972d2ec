"""GKC's training: what its words and its teacher give the loss, every choice, resumed to the bit, and learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_mini import load_mini_clip, save_mini_clip  # noqa: E402
from ovseg_ros.models.gkc_teacher import Teacher  # noqa: E402
from ovseg_ros.models.gkc_trunk import ResNetTrunk  # noqa: E402
from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.batches import Batch, Batches  # noqa: E402
from ovseg_ros.training.gkc import GkcChoices, GkcTask, Look, NameSampler  # noqa: E402
from ovseg_ros.training.losses.criterion import MaskLosses  # noqa: E402
from ovseg_ros.training.losses.gkc import GkcLosses, GkcState, GkcWords, gkc_terms  # noqa: E402
from ovseg_ros.training.matching import MatchCost, Segments  # noqa: E402
from ovseg_ros.training.mix import Mix  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.training.words import Region, WordMix, WordSampler  # noqa: E402

Open = Callable[..., Any]
SIZES = {"width": 32, "heads": 2, "queries": 8, "pixel_layers": 1, "pixel_mlp": 32, "layers": 2, "mlp": 32}
TINY = {"name": "gkc", **SIZES, "points": 0, "looks": 4, "region_dropout": 0.0}
NAMES = {"red": ("red", "brown"), "green": ("green", "tree", "plant"), "blue": ("blue", "sky")}
PLAIN = WordMix(absent=4, leave_out=0.0, noise=0.0, name=1.0)


@pytest.fixture
def named(painted: Any) -> type[Any]:
    """`Painted` with synonyms."""

    class Named(painted):  # type: ignore[misc]
        kinds = NAMES

        def load(self, index: int) -> Any:
            picture = super().load(index)
            return replace(picture, regions=tuple(Region(one.kind, NAMES[one.kind]) for one in picture.regions))

    return Named


@pytest.fixture
def recipe(toy_recipe: Open, tiny_clip: str) -> Open:
    """A recipe for `Named`: options of the model, and of the recipe by keywords."""

    def make(options: dict[str, Any] | None = None, **more: Any) -> Any:
        model = TINY | {"clip": tiny_clip} | (options or {})
        return toy_recipe(**{"words": PLAIN, **more, "model": model})

    return make


@pytest.fixture
def opened(recipe: Open, tiny_encoder: StaticTextEncoder) -> Open:
    """A task with fresh weights."""

    def make(options: dict[str, Any] | None = None, **more: Any) -> GkcTask:
        torch.manual_seed(3)
        return GkcTask(recipe(options, **more), tiny_encoder)

    return make


def first_batch(task: GkcTask, source: Any) -> Any:
    return task.batches(Mix.of(source), 1)[0]


def seeded(task: GkcTask, batch: Any) -> dict[str, float]:
    """The loss and its parts, from the same random numbers."""
    torch.manual_seed(5)
    loss, logged = task.loss(batch)
    return {"loss": float(loss.detach()), **{key: float(value) for key, value in logged.items()}}


def test_a_batch_is_the_plain_one_and_knows_the_names_of_its_words(
    opened: Open, tiny_encoder: StaticTextEncoder, named: Any
) -> None:
    task = opened(words=replace(PLAIN, name=0.5, noise=0.1))
    mix, words = Mix.of(named()), task.recipe.words
    plain = Batches(mix, WordSampler(mix.kinds, mix.colours, {}, tiny_encoder, words), task.recipe)
    for part in range(3):
        found, same = task.batches(mix, 1)[part], plain[part]
        for field in fields(Batch):
            one, two = getattr(found, field.name), getattr(same, field.name)
            if field.name != "weights":  # they need pixel counts
                assert torch.equal(one, two) if torch.is_tensor(one) else one == two, field.name
        for word, names in zip(found.words, found.names, strict=True):
            assert names[0] == word
            assert set(names) in ({word}, *(set(own) for own in NAMES.values() if word in own))
        for place in found.targets.unique().tolist():  # other words are about anything
            assert set(found.names[place]) in map(set, NAMES.values())
        assert sorted(found.distinct) == sorted({name for names in found.names for name in names})
        np.testing.assert_array_equal(found.names_text, tiny_encoder.encode(found.distinct))


def test_further_names_have_the_colour_of_the_word_and_none_is_held_out(tiny_encoder: StaticTextEncoder) -> None:
    kinds: dict[str, tuple[str, ...]] = {"box": ("box", "mug"), "wall": ("wall", "fence")}
    more = {"box": ("bowl",)}
    mix = Mix.of(type("Source", (), {"kinds": kinds, "colours": ("red",)})(), 0)
    assert mix.kinds == kinds
    for lexicon, extra in ((0.0, set()), (0.5, {"red bowl"})):
        words = WordMix(coloured=1.0, absent=3, name=1.0, lexicon=lexicon, leave_out=0.0)
        sampler = NameSampler(kinds, ("red",), {}, tiny_encoder, words, more)
        sampler.draw([Region("box", kinds["box"], "red"), Region("wall", kinds["wall"])], np.random.default_rng(0))
        found = dict(zip(sampler.question.words, sampler.names(), strict=True))
        boxes = next(names for word, names in found.items() if word in ("red box", "red mug", "red bowl"))
        assert set(boxes) == {"red box", "red mug"} | extra
        assert found["wall"] == ("wall", "fence")
        strange = [names for word, names in found.items() if word.startswith("stranger")]
        assert strange
        assert all(len(names) == 1 for names in strange)


@pytest.mark.parametrize("form", ["plain", "drawn", "pooled"])
def test_a_word_that_is_not_asked_counts_as_if_it_were_not_there(form: str) -> None:
    torch.manual_seed(0)
    masks, own, classes, width = torch.randn(1, 6, 8, 8), torch.randn(1, 6, 5), 4, 5
    truth = Segments(torch.rand(2, 8, 8) < 0.5, torch.tensor([0, 3]))
    text, no_object, further = torch.randn(classes, width), torch.randn(1, width), torch.randn(7, width)
    owner = torch.tensor([0, 1, 1, 2, 2, 3, 3])
    losses = GkcLosses(MaskLosses(classes=(), cost=MatchCost(points=0), points=0), region_dropout=0.0)

    def terms(kept: list[int], asked: Any) -> Any:
        renamed = torch.tensor([kept.index(c) if c in kept else -1 for c in range(classes)])
        words = GkcWords(text[kept], no_object, torch.tensor(3.0), asked=asked)
        if form == "drawn":  # one name in the place of each class, and one that was appended
            names = torch.cat([further[kept], further[5:6]])[None]
            real = torch.ones(1, len(kept) + 1, dtype=torch.bool)
            words = replace(words, names=names, labels=[torch.tensor([len(kept), renamed[3]])], real=real)
        if form == "pooled":
            chosen = [i for i, c in enumerate(owner.tolist()) if c in kept]
            words = replace(words, names=further[chosen], owner=renamed[owner[chosen]])
        return gkc_terms([GkcState(masks, own)], [Segments(truth.masks, renamed[truth.labels])], words, None, losses)

    found = terms([0, 1, 2, 3], torch.tensor([[True, False, True, True]]))
    expected, without = terms([0, 2, 3], None), terms([0, 1, 2, 3], None)
    assert set(found) == {"mask", "dice", "class"} | ({"synonym"} if form != "plain" else set())
    torch.testing.assert_close(found, expected)
    assert all(abs(found[key] - without[key]) > 1e-3 for key in found if key in ("class", "synonym"))


def test_drawn_names_are_names_of_the_segments_word(opened: Open, named: Any) -> None:
    task = opened({"likely": 0.0})
    batch = first_batch(task, named())
    truth = task.truth(batch)
    of_row = {tuple(row.tolist()): name for name, row in zip(batch.distinct, batch.names_text, strict=True)}
    met = set()
    for _ in range(30):
        words = task.words(batch, truth, None)
        for image, own in enumerate(truth):
            rows = [of_row[tuple(row.tolist())] for row in words.names[image]]
            assert len(rows) == len(batch.words)
            for segment, owner in enumerate(own.labels.tolist()):
                assert int(words.labels[image][segment]) == owner
                met.add((batch.words[owner], rows[owner]))
            shown = set(own.labels.tolist())
            assert all(rows[k] == batch.words[k] for k in range(len(rows)) if k not in shown)
    assert met == {(kind, name) for kind, names in NAMES.items() for name in names}


def test_what_the_teacher_finds_likely_is_drawn_alone(opened: Open, named: Any) -> None:
    task = opened()
    batch = first_batch(task, named())
    truth = task.truth(batch)
    row = {name: batch.names_text[i] for i, name in enumerate(batch.distinct)}
    likely = [{batch.words.index(kind): names[-1] for kind, names in NAMES.items()} for _ in truth]
    seen = [torch.stack([row[own[k]] for k in s.labels.tolist()]) for s, own in zip(truth, likely, strict=True)]
    look = Look([torch.arange(len(s.labels)) for s in truth], seen)
    for _ in range(5):
        words = task.words(batch, truth, look)
        for image, own in enumerate(truth):
            for k in own.labels.tolist():
                assert torch.equal(words.names[image, k], row[likely[image][k]])


def test_names_are_moved_as_far_as_the_recipe_says(opened: Open, named: Any) -> None:
    task = opened({"names": "max"}, words=replace(PLAIN, noise=0.2))
    batch = first_batch(task, named())
    words = task.words(batch, task.truth(batch), None)
    plain = torch.stack([batch.names_text[batch.distinct.index(n)] for names in batch.names for n in names])
    cosines = (words.names * plain).sum(dim=1)
    torch.testing.assert_close(words.names.norm(dim=1), torch.ones(len(plain)))
    assert 0.975 < float(cosines.min()) < float(cosines.max()) < 1  # at most atan(0.2) away
    assert words.owner.tolist() == [k for k, names in enumerate(batch.names) for _ in names]


def test_the_teacher_is_the_clip_on_disk_and_sees_the_batchs_crops(opened: Open, named: Any, tiny_clip: str) -> None:
    task = opened({"looks": 3})
    batch = first_batch(task, named())
    truth = task.truth(batch)
    look = task.look(batch, truth)
    assert look is not None
    assert sum(len(own) for own in look.segments) == 3
    teacher = Teacher(load_mini_clip(tiny_clip))
    for image, (segments, found) in enumerate(zip(look.segments, look.embeddings, strict=True)):
        masks = np.kron(truth[image].masks[segments].numpy(), np.ones((1, 4, 4))) > 0
        crops, _ = teacher.crops(batch.images[image], torch.from_numpy(masks))
        torch.testing.assert_close(found, teacher(crops))
    assert all(key.startswith("net.") for key in task.state_dict())
    before = load_mini_clip(tiny_clip).state_dict()
    for key, value in task.net.backbone.clip.state_dict().items():
        assert torch.equal(value, before[key]), key
    task.train()
    task.loss(batch)[0].backward()
    assert not any(p.requires_grad for p in task.clip.parameters())
    learning = [p for p in task.net.parameters() if p.requires_grad]
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in learning)
    assert not task.clip.training


CHANGES = {
    "trunk": "resnet", "names": "max", "likely": 0.0, "distillation": "separate", "looks": 1, "plain": 1.0,
    "synonyms": 5.0, "distill": 5.0, "no_object": 0.5, "region_dropout": 0.6, "points": 32, "width": 64, "heads": 4,
    "queries": 6, "pixel_layers": 2, "pixel_mlp": 48, "layers": 1, "mlp": 48,
}  # fmt: skip


def test_every_choice_changes_the_loss(opened: Open, named: Any) -> None:
    assert {field.name for field in fields(GkcChoices)} == {*CHANGES, "distill_text"}
    batch = first_batch(opened(), named())
    plain = seeded(opened(), batch)
    assert plain == seeded(opened(), batch)
    assert set(plain) == {"loss", "mask", "dice", "class", "synonym", "distill", "scale"}
    found = {key: seeded(opened({key: value}), batch) for key, value in CHANGES.items()}
    assert not [key for key, values in found.items() if values == plain]
    for key, term in (("plain", "class"), ("synonyms", "synonym"), ("distill", "distill")):
        assert found[key] | {term: 0, "loss": 0} == plain | {term: 0, "loss": 0}
        assert found[key][term] == pytest.approx(plain[term] / 2, rel=1e-5)
    separate = found["distillation"]
    doubled = seeded(opened({"distillation": "separate", "distill_text": 20.0}), batch)
    assert doubled["distill_text"] == pytest.approx(2 * separate["distill_text"], rel=1e-5)
    forms = [seeded(opened({"distillation": form}), batch)["distill"] for form in ("folded", "image", "distance")]
    assert len({round(form, 4) for form in forms}) == 3
    pools = [seeded(opened({"names": pool}), batch)["synonym"] for pool in ("max", "mean", "drawn")]
    assert len({round(pool, 4) for pool in pools}) == 3


def test_what_is_left_out_is_not_there(opened: Open, named: Any) -> None:
    batch = first_batch(opened(), named())
    bare = opened({"names": "none", "distillation": "none"})
    assert set(seeded(bare, batch)) == {"loss", "mask", "dice", "class", "scale"}
    assert bare.look(batch, bare.truth(batch)) is None
    assert not [name for name, _ in bare.net.named_parameters() if "kd_proj" in name or name == "text_scale"]
    asking = opened({"distillation": "none"})
    assert asking.look(batch, asking.truth(batch)) is not None  # which names are likely
    assert opened({"distillation": "none", "likely": 0.0}).look(batch, []) is None
    assert isinstance(opened({"trunk": "resnet"}).net.backbone, ResNetTrunk)


def test_pictures_without_words_are_learned_from_as_well(opened: Open, named: Any) -> None:
    task = opened()
    batch = first_batch(task, named())
    for targets in (torch.full_like(batch.targets, -100), torch.full_like(batch.targets, len(batch.words))):
        loss, _ = task.loss(replace(batch, targets=targets))
        loss.backward()
        assert bool(loss.isfinite())
    assert all(bool(p.grad.isfinite().all()) for p in task.net.parameters() if p.grad is not None)


def test_bfloat16_gives_nearly_the_same_loss(opened: Open, named: Any) -> None:
    task = opened({"names": "max"})
    batch = first_batch(task, named())
    exact = seeded(task, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = seeded(task, batch)
    assert rounded["loss"] == pytest.approx(exact["loss"], rel=0.03)
    assert rounded["loss"] != exact["loss"]


def test_a_run_that_was_cut_short_ends_as_an_unbroken_one(
    tmp_path: Path, recipe: Open, tiny_encoder: StaticTextEncoder, named: Any, make_trainer: Open
) -> None:
    chosen = recipe({"region_dropout": 0.5}, steps=4, words=replace(PLAIN, noise=0.1))
    whole = make_trainer(tmp_path / "whole", chosen, tiny_encoder, named())
    list(whole.run(save_every=2, workers=0, quiet=True))
    with pytest.raises(named.failure):  # in step 4, after the checkpoint of step 2
        list(
            make_trainer(tmp_path / "cut", chosen, tiny_encoder, named(cut=6)).run(save_every=2, workers=0, quiet=True)
        )
    resumed = make_trainer(tmp_path / "cut", chosen, tiny_encoder, named())
    assert resumed.step == 2
    torch.rand(5)
    list(resumed.run(save_every=2, workers=0, quiet=True))
    for ours, theirs in ((whole.net, resumed.net), (whole.average.net, resumed.average.net)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def test_colours_and_their_other_names_are_learned(
    tmp_path: Path, recipe: Open, tiny_encoder: StaticTextEncoder, named: Any, make_trainer: Open
) -> None:
    chosen = recipe(batch=4, steps=60, warmup=5, learning_rate=3e-3, clip=1.0, ema=0.9)
    trainer = make_trainer(tmp_path, chosen, tiny_encoder, named())
    picture = named().load(0)
    image = torch.from_numpy(picture.rgb)[None]

    def accuracy(names: list[str]) -> float:
        graph = trainer.task.deployed(trainer.average.net, (96, 96))
        with torch.no_grad():
            labels, _ = graph(image, torch.from_numpy(tiny_encoder.encode(names)[:, None]))
        return float((labels[0].numpy() == picture.ids).mean())

    assert accuracy(list(NAMES)) < 0.6
    list(trainer.run(save_every=60, workers=0, quiet=True))
    assert accuracy(list(NAMES)) > 0.8
    assert accuracy([names[-1] for names in NAMES.values()]) > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 3}, "gkc has no size 'depth'; its sizes are trunk, names"),
        ({"trunk": "resnet50"}, "trunk is 'resnet50'; expected one of clip, resnet"),
        ({"names": "all"}, "names is 'all'; expected one of drawn, max, mean, none"),
        ({"distillation": True}, "distillation is True; expected one of folded"),
        ({"likely": 1.5}, r"likely is 1.5; expected a number in 0\.\.1"),
        ({"plain": float("nan")}, r"plain is nan; expected a number in 0\.\.inf"),
        ({"looks": 0}, "looks is 0; expected a whole number of at least 1"),
        ({"points": -1}, "points is -1; expected a whole number of at least 0"),
        ({"layers": True}, "layers is True; expected a whole number"),
        ({"width": 48}, "width is 48; expected a multiple of 32 and of heads, 2"),
        ({"clip": "no/clip"}, "there is no mini CLIP no/clip.*ovseg train clip-mini"),
    ],
)
def test_choices_that_cannot_be_are_errors(opened: Open, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        opened(options)


def test_a_clip_that_does_not_fit_is_an_error(tmp_path: Path, opened: Open, tiny_encoder: StaticTextEncoder) -> None:
    from ovseg_ros.models.clip import VisionTransformer

    config = ClipVisionConfig(64, 32, 48, layers=6, heads=2, mlp=96, embed_dim=tiny_encoder.width)
    save_mini_clip(VisionTransformer(config), tmp_path / "other", text_identity="another")
    with pytest.raises(ModelError, match="other was trained with another text encoder"):
        opened({"clip": str(tmp_path / "other")})
    save_mini_clip(VisionTransformer(config), tmp_path / "coarse", text_identity=tiny_encoder.identity)
    with pytest.raises(ModelError, match="the trunk's patch is 32 pixels; expected 8 or 16"):
        opened({"clip": str(tmp_path / "coarse")})


def test_the_shipped_recipe_is_one(tmp_path: Path, shipped_encoder: StaticTextEncoder) -> None:
    from ovseg_ros.models.clip import VisionTransformer
    from ovseg_ros.training.optim import make_optimizer

    shipped = Recipe.load("gkc-mini")
    config = ClipVisionConfig(128, 16, 192, layers=6, heads=3, mlp=768, embed_dim=shipped_encoder.width)
    save_mini_clip(VisionTransformer(config), tmp_path / "clip", text_identity=shipped_encoder.identity)
    model = {**shipped.model, "clip": str(tmp_path / "clip")}
    task = GkcTask(replace(shipped, model=model), shipped_encoder)
    assert task.config() == {**vars(GkcChoices(looks=32, points=0)), **model}
    rates = {round(group["initial_lr"], 9) for group in make_optimizer(task.net, shipped).param_groups}
    assert rates == {1e-3, 1e-4}
