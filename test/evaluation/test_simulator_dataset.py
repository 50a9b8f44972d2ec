"""The simulator's frames as a data set."""

from __future__ import annotations

import pytest

pytest.importorskip("mujoco")

from ovseg_ros.evaluation.simulator import SimulatorDataset, held_out_vocabulary
from ovseg_ros.sim import EVALUATION_SEEDS, KINDS, NoOpenGL


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
