"""The simulator's frames as a data set."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("mujoco")

from ovseg_ros.evaluation.datasets import Sample
from ovseg_ros.evaluation.simulator import SimulatorDataset, held_out_pairs, held_out_vocabulary
from ovseg_ros.jobs.fingerprint import fingerprint
from ovseg_ros.sim import EVALUATION_SEEDS, KINDS, NoOpenGL, Simulator
from ovseg_ros.sim.kinds import HELD_OUT_PAIRS
from ovseg_ros.sim.scene import Scene


def test_held_out_words_are_none_that_training_knows() -> None:
    words = held_out_vocabulary()
    assert len(words) == len(KINDS)
    for name, word in zip(KINDS, words.names, strict=True):
        assert word in KINDS[name].held_out_synonyms or word == name
    trained = {word for name, kind in KINDS.items() for word in (name, *kind.synonyms)}
    assert not trained & {word for kind in KINDS.values() for word in kind.held_out_synonyms}


def test_frames_are_the_same_every_time() -> None:
    data = SimulatorDataset(2, 2, height=48, width=64)
    try:
        first = data[3]
    except NoOpenGL as error:
        pytest.skip(f"no OpenGL: {error}")
    assert len(data) == 4
    assert first.name == f"{EVALUATION_SEEDS + 1}_1"
    assert first.rgb.shape == (48, 64, 3)
    data[0]
    again = data[3]
    data.close()
    assert (first.rgb == again.rgb).all()
    assert (first.labels == again.labels).all()
    with pytest.raises(IndexError):
        data[4]


def rendered(data: SimulatorDataset, index: int) -> Sample:
    try:
        return data[index]
    except NoOpenGL as error:
        pytest.skip(f"no OpenGL: {error}")


def test_a_data_set_with_an_open_scene_goes_to_other_processes() -> None:
    data = SimulatorDataset(1, 1, height=48, width=64)
    before = fingerprint(data)
    first = rendered(data, 0)
    other = pickle.loads(pickle.dumps(data))
    assert fingerprint(data) == fingerprint(other) == before
    np.testing.assert_array_equal(other[0].labels, first.labels)
    for one in (data, other):
        one.close()


def test_held_out_pairs_compete_with_every_pair_of_the_scenes() -> None:
    data, question = held_out_pairs(4, 2, height=48, width=64)
    objects = [item for seed in range(4) for item in Scene.build(EVALUATION_SEEDS + seed).objects]
    expected = {f"{item.colour} {item.kind}" if item.colour else item.kind for item in objects}
    assert set(question.classes) == expected
    assert len(question.classes) == len(expected)
    assert question.words.names == question.classes
    assert data.classes == question.classes
    held_out = {f"{colour} {kind}" for colour, kind in HELD_OUT_PAIRS}
    assert question.scored is not None
    assert question.seen is not None
    assert {question.classes[i] for i in question.scored} == expected & held_out
    assert list(question.seen) == [name not in held_out for name in question.classes]
    assert len(question.scored) >= 5


def test_training_scenes_have_none_of_the_held_out_pairs_and_evaluation_scenes_most() -> None:
    training = {(item.colour, item.kind) for seed in range(8) for item in Scene.build(seed).objects}
    assert not training & HELD_OUT_PAIRS
    seeds = range(EVALUATION_SEEDS, EVALUATION_SEEDS + 12)
    shown = {(item.colour, item.kind) for seed in seeds for item in Scene.build(seed).objects} & HELD_OUT_PAIRS
    assert len(shown) > 0.8 * len(HELD_OUT_PAIRS)  # 40 scenes, which is what is measured, have them all


def test_the_truth_of_pairs_is_that_of_the_instances() -> None:
    data, question = held_out_pairs(2, 2, height=96, width=128)
    samples = [rendered(data, index) for index in range(4)]
    data.close()  # one camera at a time
    for index, sample in enumerate(samples):
        scene, number = divmod(index, 2)
        with Simulator(EVALUATION_SEEDS + scene, width=128, height=96) as simulator:
            frame = simulator.render((number + 0.5) * 60 / 2, depth=False)
        np.testing.assert_array_equal(frame.rgb, sample.rgb)
        for i, item in enumerate(frame.objects, start=1):
            name = f"{item.colour} {item.kind}" if item.colour else item.kind
            found = set(sample.labels[frame.instances == i].tolist())
            assert found <= {question.classes.index(name)}
        assert (sample.labels[frame.instances == 0] == 255).all()
    held_out_pixels = sum(int(np.isin(sample.labels, question.scored).sum()) for sample in samples)
    assert held_out_pixels > 100  # frames do show such pairs
