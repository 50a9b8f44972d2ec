"""The mini CLIP's training: its loss by loops, its batches by colour, resumed to the bit, and learning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ovseg_ros.errors import DatasetError, ModelError  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_mini import TRUNK_FILE, MiniClip, load_mini_clip, pool, save_mini_clip, text_identity  # noqa: E402
from ovseg_ros.models.training_free import METHODS  # noqa: E402
from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.contrastive import MiniClipSizes, MiniClipTask, info_nce  # noqa: E402
from ovseg_ros.training.loop import Trainer  # noqa: E402
from ovseg_ros.training.mix import Mix  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.vocabulary import Vocabulary  # noqa: E402

Open = Callable[..., Any]
TINY = {"name": "clip-mini", "patch": 8, "width": 32, "layers": 2, "heads": 2, "regions": 3, "window": [0.4, 0.8]}
COLOURS = ("red", "green", "blue")


@pytest.fixture
def recipe(toy_recipe: Open) -> Open:
    """A recipe for `Painted`, changed by keywords."""

    def make(sizes: dict[str, Any] | None = None, **options: Any) -> Any:
        light = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.0, "stretch": 0.02}
        model = TINY | (sizes or {})
        return toy_recipe(**{"crop": (32, 32), "deploy_size": (80, 96), "batch": 8, **light, **options, "model": model})

    return make


def open_trainer(folder: Path, recipe: Any, encoder: StaticTextEncoder, source: Any) -> Any:
    torch.manual_seed(recipe.seed)
    return Trainer(recipe, Mix.of(source, recipe.seed), MiniClipTask(recipe, encoder), folder)


def test_the_loss_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    n, more, width, scale = 5, 3, 4, 7.0
    seen = rng.normal(size=(n, width))
    text = rng.normal(size=(n + more, width))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    counted = rng.random((n, n + more)) < 0.6
    counted[np.arange(n), np.arange(n)] = True
    assert not counted.all()

    def logit(i: int, j: int) -> float:
        return scale * float(seen[i] @ text[j]) / float(np.linalg.norm(seen[i]))

    total = 0.0
    for k in range(n):
        to_text = sum(math.exp(logit(k, j)) for j in range(n + more) if counted[k, j])
        to_image = sum(math.exp(logit(i, k)) for i in range(n) if counted[i, k])
        total += math.log(to_text / math.exp(logit(k, k))) + math.log(to_image / math.exp(logit(k, k)))
    found = info_nce(torch.tensor(seen), torch.tensor(text), torch.tensor(scale), torch.tensor(counted))
    assert float(found) == pytest.approx(total / (2 * n), rel=1e-9)


def test_what_does_not_count_gets_no_gradient() -> None:
    seen, text = torch.randn(3, 4, requires_grad=True), torch.randn(4, 4, requires_grad=True)
    counted = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]], dtype=torch.bool)
    (gradient,) = torch.autograd.grad(info_nce(seen, text, torch.tensor(1.0), counted), text)
    assert gradient.isfinite().all()
    assert (gradient[3] == 0).all()
    assert (gradient[:3] != 0).any(dim=1).all()


def test_pooling_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    features, masks, owner = (
        rng.normal(size=(2, 3, 2, 4)),
        rng.random((3, 2, 4)) * (rng.random((3, 2, 4)) < 0.5),
        [1, 0, 1],
    )
    found = pool(torch.tensor(features), torch.tensor(masks), torch.tensor(owner))
    for p, image in enumerate(owner):
        wanted, weight = np.zeros(3), 0.0
        for y in range(2):
            for x in range(4):
                column = features[image, :, y, x]
                wanted += masks[p, y, x] * column / np.linalg.norm(column)
                weight += masks[p, y, x]
        np.testing.assert_allclose(found[p], wanted / weight)
    assert not pool(torch.tensor(features), torch.zeros(1, 2, 4, dtype=torch.float64), torch.tensor([0])).any()


def test_the_parts_of_a_crop_are_those_of_the_trunk() -> None:
    """The blocks that both share run once; what comes out is what the trunk gives under each method's rule."""
    net = MiniClip(_config()).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        whole, dense = net(images)
        torch.testing.assert_close(whole, net.trunk.image_features(images))
        net.trunk.rules[-1] = METHODS["maskclip"]
        torch.testing.assert_close(dense[0], net.trunk(images))
        assert (dense[1] - dense[0]).abs().max() > 0.01
        assert net(images, dense=False)[1] == []


def _config() -> Any:
    return ClipVisionConfig(image_size=32, patch=8, width=32, layers=2, heads=2, mlp=128, embed_dim=16)


def test_the_same_step_gives_the_same_batch(recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any) -> None:
    def batches(**options: Any) -> Any:
        chosen = recipe(**options)
        return MiniClipTask(chosen, tiny_encoder).batches(Mix.of(painted(), chosen.seed), 1)

    one, two = batches(), batches()
    two[0], two[4]  # asked for in another order
    for key, value in vars(one[3]).items():
        again = vars(two[3])[key]
        assert torch.equal(value, again) if torch.is_tensor(value) else value == again, key
    assert not torch.equal(one[3].images, one[2].images)
    assert not torch.equal(one[3].images, batches(seed=1)[3].images)
    assert len(one) == 6


def test_regions_have_the_colour_that_they_are_called_by(
    recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    """And a caption names every colour that it should, since in these pictures words are colours."""
    chosen = recipe({"grey": 0.0})
    batches = MiniClipTask(chosen, tiny_encoder).batches(Mix.of(painted()), 1)
    for step in range(3):
        batch = batches[step]
        captions, words, about = batch.texts
        assert len(about) == 4
        assert not {*captions, *words} & set(about)
        weights = batch.masks.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]  # (P, 1, 32, 32)
        for p, word in enumerate(words):
            image = batch.images[batch.owner[p]].float()
            pure = weights[p] == 1  # patches that it fills
            if pure.any():
                assert COLOURS[int((image * pure).sum(dim=(1, 2)).argmax())] == word
        means = batch.images.float().mean(dim=(2, 3))
        for i, caption in enumerate(captions):
            for word in set(caption.split()) & set(COLOURS):
                assert means[i, COLOURS.index(word)] > 40
        torch.testing.assert_close(batch.captions.norm(dim=1), torch.ones(len(batch.captions)))
        for texts, counted in ((captions, batch.captions_counted), (words, batch.words_counted)):
            assert counted.diagonal().all()
            for i, mine in enumerate(texts):
                for j, other in enumerate(texts):
                    if i != j and mine == other:
                        assert not counted[i, j]
        for i, mine in enumerate(words):  # one region, one colour: every other word is wrong
            assert counted[i, : len(words)].tolist() == [j == i or other != mine for j, other in enumerate(words)]


def test_a_run_that_was_cut_short_ends_as_an_unbroken_one(
    tmp_path: Path, recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    chosen = recipe(steps=4, batch=4)
    whole = open_trainer(tmp_path / "whole", chosen, tiny_encoder, painted())
    list(whole.run(save_every=2, workers=0, quiet=True))
    cut = open_trainer(tmp_path / "cut", chosen, tiny_encoder, painted(cut=6))
    with pytest.raises(painted.failure):  # in step 4, after the checkpoint of step 2
        list(cut.run(save_every=2, workers=0, quiet=True))
    resumed = open_trainer(tmp_path / "cut", chosen, tiny_encoder, painted())
    assert resumed.step == 2
    torch.rand(5)
    assert list(resumed.run(save_every=2, workers=0, quiet=True)) == [4]
    for ours, theirs in ((whole.net, resumed.net), (whole.average.net, resumed.average.net)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def islands(painted: Any) -> Any:
    """As `Painted`, but each picture is a red, a green and a blue thing on nothing that has a name."""

    class Islands(painted):  # type: ignore[misc]
        classes = COLOURS

        def load(self, index: int) -> Any:
            picture = super().load(index)
            rng, ids, rgb = (
                np.random.default_rng(index),
                np.full((80, 96), 255, np.uint8),
                np.full((80, 96, 3), 60, np.uint8),
            )
            for column, place in enumerate(rng.permutation(3)):
                top, left = int(rng.integers(0, 56)), 32 * column + int(rng.integers(0, 8))
                ids[top : top + 24, left : left + 24] = place
                rgb[top : top + 24, left : left + 24] = 30
                rgb[top : top + 24, left : left + 24, place] = 230
            return type(picture)(rgb, ids, picture.regions)

        def __getitem__(self, index: int) -> Any:  # as a data set
            picture = self.load(index)
            return SimpleNamespace(rgb=picture.rgb, labels=picture.ids)

    return Islands()


def test_it_learns_crops_and_dense_features(
    tmp_path: Path, recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any
) -> None:
    from ovseg_ros.training.contrastive_measure import classify

    source = islands(painted)
    chosen = recipe({"scenes": 0.3, "grey": 0.3}, steps=40, batch=12, warmup=5, learning_rate=3e-3, ema=0.5)
    trainer = open_trainer(tmp_path, chosen, tiny_encoder, source)
    words = {"": Vocabulary.parse(list(COLOURS))}

    def accuracies() -> dict[str, float]:
        scores = classify(trainer.average.net.trunk, source, tiny_encoder, words)
        return {look: score.accuracy for (look, _), score in scores.items()}

    before = accuracies()
    assert max(before.values()) < 0.75
    list(trainer.run(save_every=40, workers=0, quiet=True))
    after = accuracies()
    assert min(after.values()) > 0.9, (before, after)
    graph = trainer.task.deployed(trainer.average.net, chosen.deploy_size)
    text = torch.from_numpy(tiny_encoder.encode(COLOURS))[:, None]
    labels, confidence = graph(torch.from_numpy(source.load(0).rgb)[None], text)
    assert labels.shape == confidence.shape == (1, 80, 96)
    truth = source.load(0).ids
    known = truth != 255
    assert (labels[0].numpy() == truth)[known].mean() > 0.6  # NACLIP looks around, five patches wide


def test_classification_counts_as_a_loop_does(tiny_encoder: StaticTextEncoder) -> None:
    from ovseg_ros.training.contrastive_measure import _score, things

    labels = np.zeros((40, 60), np.uint8)
    labels[:20, :20], labels[:, 30:34], labels[35:, 50:] = 1, 255, 2  # 2 is too small to be asked about
    found = list(things(labels, 3))
    assert sorted((label, int(mask.sum())) for label, mask in found) == [(0, 800), (0, 990), (1, 400)]
    score = _score(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    assert (score.accuracy, score.regions) == (0.75, 4)
    assert score.balanced == pytest.approx((2 / 3 + 1) / 2)


def test_a_trunk_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = MiniClip(_config())
    net.half().float()  # as the file has it
    file = save_mini_clip(net.trunk, tmp_path / "deep" / "clip-mini", text_identity="abc")
    images = torch.randn(1, 3, 32, 48)
    for path in (file, file.parent, str(file.parent)):
        loaded = load_mini_clip(path)
        assert not loaded.training
        assert asdict(loaded.config) == asdict(net.trunk.config)
        with torch.no_grad():
            assert torch.equal(loaded(images), net.trunk(images))
    assert text_identity(file) == "abc"
    with torch.no_grad():
        severed = load_mini_clip(file, {-1: METHODS["clearclip"]}, extra_positions=(4, (1,)))(images)
    assert severed.shape == (1, 16, 4, 6)


def test_a_bad_file_is_a_model_error(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(ModelError, match=r"there is no mini CLIP .*ovseg train clip-mini"):
        load_mini_clip(tmp_path)
    file = save_mini_clip(MiniClip(_config()).trunk, tmp_path)
    assert file.name == TRUNK_FILE
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ModelError, match="is damaged"):
        load_mini_clip(file)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="is no mini CLIP"):
        load_mini_clip(tmp_path / "other.safetensors")


def test_sizes_that_cannot_be_are_errors(recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any) -> None:
    for sizes, message in (
        ({"width": 30, "heads": 4}, "width is 30; expected a multiple of heads, 4"),
        ({"depth": 3}, "has no size 'depth'"),
        ({"scenes": 1.5}, r"scenes is 1.5; expected a number in 0\.\.1"),
        ({"window": [0.9, 0.2]}, r"window is \[0.9, 0.2\]"),
        ({"patch": 0}, "patch is 0"),
        ({"patch": 12}, "a square of a multiple of 12"),
    ):
        with pytest.raises(ModelError, match=message):
            MiniClipTask(recipe(sizes), tiny_encoder)
    with pytest.raises(ModelError, match=r"crop is \[32, 48\]"):
        MiniClipTask(recipe(crop=(32, 48)), tiny_encoder)
    with pytest.raises(ValueError, match="8 cannot be split into 3"):
        MiniClipTask(recipe(), tiny_encoder).batches(Mix.of(painted()), 3)


def test_pictures_without_things_are_an_error(recipe: Open, tiny_encoder: StaticTextEncoder, painted: Any) -> None:
    class Blank(painted):  # type: ignore[misc]
        def load(self, index: int) -> Any:
            picture = super().load(index)
            return type(picture)(picture.rgb, np.full_like(picture.ids, 255), picture.regions)

    with pytest.raises(DatasetError, match="8 crops in a row show no labelled thing"):
        MiniClipTask(recipe(), tiny_encoder).batches(Mix.of(Blank()), 1)[0]


def test_the_shipped_recipe_is_one(shipped_encoder: StaticTextEncoder) -> None:
    recipe = Recipe.load("clip-mini")
    task = MiniClipTask(recipe, shipped_encoder)
    assert task.sizes == MiniClipSizes(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in recipe.model.items() if k != "name"}
    )
    assert task.config() == dict(recipe.model)
    assert task.net.trunk.config.embed_dim == shipped_encoder.width


def test_a_finished_one_is_measured_on_unseen_scenes(tmp_path: Path, shipped_encoder: StaticTextEncoder) -> None:
    pytest.importorskip("mujoco")
    from ovseg_ros.training.contrastive_measure import LOOKS, measure

    torch.manual_seed(0)
    net = MiniClip(MiniClipTask(Recipe.load("clip-mini"), shipped_encoder).net.trunk.config)
    scores = measure(net.trunk, shipped_encoder, (96, 128), scenes=1, frames=1)
    regions = [title for title in scores if title.startswith("accuracy on regions")]
    assert len(regions) == 2 * len(LOOKS)
    assert {"mIoU of naclip", "mIoU of clearclip"} <= set(scores)
    assert all(0 <= score < 0.5 for score in scores.values())  # of random weights, near chance
