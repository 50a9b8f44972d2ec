"""Training batches: what augmentation may do to a picture, and what a pixel is asked."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.augment import augment  # noqa: E402
from ovseg_ros.training.batches import Batches, parts_of  # noqa: E402
from ovseg_ros.training.mix import Ingredient, Mix  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.training.sources import Picture  # noqa: E402
from ovseg_ros.training.words import OTHER, Region, WordMix, WordSampler  # noqa: E402

PAINT = np.array([[230, 30, 30], [30, 230, 30], [30, 30, 230], [230, 230, 30]], np.uint8)
KINDS = {"red": ("red",), "green": ("green",), "blue": ("blue",), "yellow": ("yellow",)}
REGIONS = tuple(Region(kind, words) for kind, words in KINDS.items())
STEADY = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Batches switch OpenCV's threads off, for the process they run in."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def painted(seed: int, height: int = 90, width: int = 120) -> Picture:
    """A picture whose colours tell its ids."""
    ids = np.random.default_rng(seed).integers(0, 4, (height // 15, width // 15))
    ids = ids.repeat(15, axis=0).repeat(15, axis=1).astype(np.uint8)
    return Picture(PAINT[ids], ids, REGIONS)


def recipe(**options: object) -> Recipe:
    return Recipe("toy", "toy", (64, 64), **{"crop": (64, 80), **options})  # type: ignore[arg-type]


class Painted:
    """A source of painted pictures."""

    kinds = KINDS
    colours = ()

    def __len__(self) -> int:
        return 5

    def load(self, index: int) -> Picture:
        return painted(index)

    def pixel_counts(self) -> dict[str, int]:
        return dict.fromkeys(KINDS, 100)


def nearest_paint(rgb: np.ndarray) -> np.ndarray:
    return np.abs(rgb[..., None, :].astype(int) - PAINT.astype(int)).sum(axis=-1).argmin(axis=-1)


@pytest.mark.parametrize("seed", range(12))
def test_image_and_ids_stay_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    result = augment(painted(seed), recipe(zoom=(0.5, 1.5), **STEADY), rng)
    assert result.rgb.shape == (64, 80, 3)
    assert result.ids.shape == (64, 80)
    # away from edges, where interpolation mixes colours
    same = cv2.erode(result.ids, np.ones((5, 5))) == cv2.dilate(result.ids, np.ones((5, 5)))
    sure = same & (result.ids != 255)
    assert sure.mean() > 0.1
    assert (nearest_paint(result.rgb)[sure] == result.ids[sure]).mean() > 0.999


def test_outside_the_picture_there_is_no_truth() -> None:
    result = augment(painted(0, 30, 45), recipe(zoom=(1.0, 1.0), stretch=0.0, **STEADY), np.random.default_rng(0))
    assert (result.ids != 255).sum() == pytest.approx(30 * 45, abs=80)
    outside = cv2.erode((result.ids == 255).astype(np.uint8), np.ones((3, 3))) > 0
    assert result.rgb[outside].max() < 40  # black but for the noise


def test_half_of_the_pictures_are_mirrored() -> None:
    ids = np.zeros((64, 80), np.uint8)
    ids[:, 40:] = 1
    picture = Picture(PAINT[ids], ids, REGIONS)
    fixed = recipe(zoom=(1.0, 1.0), stretch=0.0, **STEADY)
    left = [augment(picture, fixed, np.random.default_rng(seed)).ids[32, 5] for seed in range(60)]
    assert set(left) == {0, 1}
    assert 15 < sum(left) < 45


def test_light_changes_and_ids_do_not() -> None:
    fixed = recipe(zoom=(1.0, 1.0), stretch=0.0)
    results = [augment(painted(1, 64, 80), fixed, np.random.default_rng(seed)) for seed in range(8)]
    means = [r.rgb.mean() for r in results]
    assert np.ptp(means) > 20
    assert all(set(np.unique(r.ids)) <= {0, 1, 2, 3, 255} for r in results)


def test_the_source_picture_is_left_alone() -> None:
    picture = painted(2)
    before = picture.rgb.copy(), picture.ids.copy()
    augment(picture, recipe(), np.random.default_rng(0))
    np.testing.assert_array_equal(picture.rgb, before[0])
    np.testing.assert_array_equal(picture.ids, before[1])


@pytest.fixture
def batches(tiny_encoder: StaticTextEncoder) -> Batches:
    mix = WordMix(leave_out=0.5, left_out=0.4, absent=6)
    sampler = WordSampler(KINDS, (), {"red": 2.0}, tiny_encoder, mix)
    return Batches(Mix.of(Painted()), sampler, recipe(batch=3, steps=10, **STEADY))


def test_a_pixel_is_asked_for_the_word_of_its_colour(batches: Batches, tiny_encoder: StaticTextEncoder) -> None:
    vectors = tiny_encoder.encode(list(KINDS))
    others = 0
    for step in range(10):
        batch = batches[step]
        assert batch.images.shape == (3, 3, 64, 80)
        assert batch.targets.shape == (3, 16, 20)
        k = len(batch.text)
        assert batch.weights.shape == (k + 1,)
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.asked.all()  # one source, complete
        rgb = batch.images.permute(0, 2, 3, 1).numpy()
        paint = nearest_paint(rgb[:, 2::4, 2::4])
        word = (batch.text.numpy() @ vectors.T).argmax(axis=1)  # the colour nearest to each row of the table
        hits = named = 0
        for place in np.ndindex(paint.shape):
            target = int(batch.targets[place])
            others += target == k
            if 0 <= target < k:
                named += 1
                hits += word[target] == paint[place]
        assert hits > 0.85 * named  # edges are mixed
        assert batch.targets.min() >= -100
        assert not ((batch.targets < 0) & (batch.targets != -100)).any()
    assert others > 0
    assert OTHER == -1


def test_a_batch_is_a_function_of_seed_and_step_alone(batches: Batches) -> None:
    first = [batches[step] for step in (0, 1, 2)]
    for step in (2, 0, 1):
        again = batches[step]
        assert torch.equal(again.images, first[step].images)
        assert torch.equal(again.targets, first[step].targets)
        assert torch.equal(again.text, first[step].text)
    assert not torch.equal(first[0].images, first[1].images)


def test_every_epoch_shows_every_picture_once(batches: Batches) -> None:
    draws = [batches.mix.pick(draw)[1] for draw in range(15)]
    epochs = [draws[i : i + 5] for i in (0, 5, 10)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert epochs[0] != epochs[1] or epochs[1] != epochs[2]


class OneThing(Painted):
    """Large pictures, red all over but for one blue thing of 10x10 pixels."""

    def load(self, index: int) -> Picture:
        ids = np.zeros((240, 320), np.uint8)
        row, column = np.random.default_rng(index).integers(0, [230, 310])
        ids[row : row + 10, column : column + 10] = 2
        return Picture(PAINT[ids], ids, REGIONS)


@pytest.mark.parametrize(("focus", "least", "most"), [(0.0, 0.0, 0.5), (1.0, 0.9, 1.0)])
def test_crops_are_placed_around_rare_things(
    focus: float, least: float, most: float, tiny_encoder: StaticTextEncoder
) -> None:
    """A 64x80 crop of 240x320 hardly ever meets the thing by chance."""
    sampler = WordSampler(KINDS, (), {"red": 0.01, "blue": 4.0}, tiny_encoder, WordMix(leave_out=0.0, absent=0))
    batches = Batches(Mix.of(OneThing()), sampler, recipe(focus=focus, batch=4, zoom=(1.0, 1.0), **STEADY))
    shown = 0
    for step in range(15):
        reds_and_blues = batches[step].targets
        shown += sum(len(np.unique(one[one >= 0])) == 2 for one in reds_and_blues.numpy())
    assert least <= shown / 60 <= most


def test_a_focus_outside_the_slack_still_gives_a_crop_inside_the_picture() -> None:
    picture = painted(0, 90, 120)
    for corner in ((0.0, 0.0), (119.0, 89.0)):
        for seed in range(20):
            cut = augment(picture, recipe(zoom=(1.0, 1.0), stretch=0.0), np.random.default_rng(seed), corner)
            assert (cut.ids != 255).all()


def test_a_step_in_parts_trains_on_the_pictures_of_the_whole_step(
    tiny_encoder: StaticTextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = WordSampler(KINDS, (), {}, tiny_encoder, WordMix(absent=6))
    drawn: list[tuple[int, int]] = []
    load = Mix.load
    monkeypatch.setattr(Mix, "load", lambda self, *place: drawn.append(place) or load(self, *place))
    orders = []
    for parts in (1, 2, 4):
        batches = Batches(Mix.of(Painted()), sampler, recipe(batch=4, steps=3, **STEADY), parts=parts)
        assert len(batches) == 3 * parts
        drawn.clear()
        for part in range(len(batches)):
            assert len(batches[part].images) == 4 // parts
        orders.append(list(drawn))
    assert orders[0] == orders[1] == orders[2]
    with pytest.raises(ValueError, match="a batch of 4 cannot be split into 3"):
        Batches(Mix.of(Painted()), sampler, recipe(batch=4), parts=3)


@pytest.mark.parametrize(("parts", "processes"), [(1, 1), (4, 1), (4, 2), (6, 3)])
def test_processes_share_a_step_among_them(parts: int, processes: int) -> None:
    shares = [list(parts_of(5, parts, rank, processes)) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(part for share in shares for part in share) == list(range(5 * parts, 6 * parts))


class Dark(Painted):
    """Black pictures with one kind, `thing`."""

    def __init__(self, *words: str) -> None:
        self.kinds = {words[0]: words}

    def load(self, index: int) -> Picture:
        ids = np.zeros((90, 120), np.uint8)
        return Picture(np.zeros((90, 120, 3), np.uint8), ids, (Region(next(iter(self.kinds)), ("unused",)),))

    def pixel_counts(self) -> dict[str, int]:
        return {next(iter(self.kinds)): 10}


@pytest.mark.parametrize("complete", [True, False])
def test_words_that_a_source_says_nothing_about_are_not_held_against_its_pictures(
    complete: bool, shipped_encoder: StaticTextEncoder
) -> None:
    """A dark picture of "night" knows nothing of colours, and may be asked about them only where it is complete."""
    mix = Mix([Ingredient("paint", Painted()), Ingredient("dark", Dark("night", "darkness"), complete=complete)])
    sampler = WordSampler(mix.kinds, (), {}, shipped_encoder, WordMix(absent=9, leave_out=0.0))
    batches = Batches(mix, sampler, recipe(batch=8, steps=6, **STEADY))
    dark = paint = 0
    for step in range(6):
        batch = batches[step]
        strangers = [w not in (*KINDS, "night", "darkness") for w in batch.words]
        own = {"dark": [w in ("night", "darkness") for w in batch.words], "paint": [w in KINDS for w in batch.words]}
        for image, asked in zip(batch.images, batch.asked.numpy(), strict=True):
            if image.float().mean() < 20:
                dark += 1
                assert asked[own["dark"]].all()
                assert asked[strangers].all() == complete or not any(strangers)
                assert asked[own["paint"]].any() <= complete
            else:
                paint += 1
                assert asked[own["paint"]].all()
                assert asked[strangers].all()
    assert dark > 10
    assert paint > 10


def test_a_foreign_word_near_the_truth_is_not_held_against_it(shipped_encoder: StaticTextEncoder) -> None:
    """Both sources are complete, but what one calls a car may well be the other's vehicle."""
    mix = Mix([Ingredient("a", Dark("car")), Ingredient("b", Dark("vehicle")), Ingredient("c", Dark("banana"))])
    sampler = WordSampler(mix.kinds, (), {}, shipped_encoder, WordMix(absent=0, leave_out=0.0, noise=0.0))
    batch = Batches(mix, sampler, recipe(batch=12, steps=1, **STEADY))[0]
    assert set(batch.words) == {"car", "vehicle", "banana"}
    places = {word: batch.words.index(word) for word in batch.words}
    for target, asked in zip(batch.targets, batch.asked, strict=True):
        truth = batch.words[int(target[target >= 0].unique())]
        rival = {"car": "vehicle", "vehicle": "car"}.get(truth)
        for word, place in places.items():
            assert bool(asked[place]) == (word != rival)


def test_a_batch_without_any_truth_is_still_a_batch(tiny_encoder: StaticTextEncoder) -> None:
    class Void(Painted):
        def load(self, index: int) -> Picture:
            return Picture(np.zeros((90, 120, 3), np.uint8), np.full((90, 120), 255, np.uint8), REGIONS)

    for absent in (0, 6):
        sampler = WordSampler(KINDS, (), {}, tiny_encoder, WordMix(absent=absent))
        batch = Batches(Mix.of(Void()), sampler, recipe(batch=2, steps=1))[0]
        assert (batch.targets == -100).all()
        assert len(batch.text) == len(batch.words) >= 1
        assert np.isfinite(batch.text.numpy()).all()


def test_a_source_may_have_its_own_zoom(tiny_encoder: StaticTextEncoder) -> None:
    """A picture of 90x120 fills a crop of 64x80 at scale 1, and a small part of it at scale 0.25."""
    sampler = WordSampler({f"{s}: {k}": w for s in "ab" for k, w in KINDS.items()}, (), {}, tiny_encoder, WordMix())
    mix = Mix([Ingredient("a", Painted(), zoom=(0.25, 0.25)), Ingredient("b", Painted())])
    batch = Batches(mix, sampler, recipe(batch=12, zoom=(1.0, 1.0), stretch=0.0, **STEADY))[0]
    known = (batch.targets != -100).float().mean(dim=(1, 2))
    numbers = [mix.pick(draw)[0] for draw in range(12)]
    assert {0, 1} == set(numbers)
    for number, share in zip(numbers, known, strict=True):
        assert float(share) == pytest.approx((0.25**2 * 90 * 120 / (64 * 80)) if number == 0 else 1.0, abs=0.05)
