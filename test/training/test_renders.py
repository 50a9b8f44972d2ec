"""Training images from the simulator, on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("mujoco")

from ovseg_ros.errors import ModelError
from ovseg_ros.sim import EVALUATION_SEEDS, HELD_OUT_PAIRS, KINDS, Simulator
from ovseg_ros.training.renders import PATH_SECONDS, SIZE, SimulatorSource


def test_renders_are_those_of_the_simulator_and_are_shared_by_recipes(tmp_path: Path) -> None:
    few = SimulatorSource(tmp_path, scenes=2, frames=1)
    few.render(processes=1)
    assert len(few) == 2
    first = few.load(1)
    time = np.random.default_rng((1, 11)).uniform(0, PATH_SECONDS, 1)[0]
    with Simulator(1, width=SIZE[1], height=SIZE[0]) as simulator:
        frame = simulator.render(float(time), depth=False)
    np.testing.assert_array_equal(first.rgb, frame.rgb)
    kinds = [*KINDS]
    named = np.array([kinds.index(region.kind) for region in first.regions])
    truth = frame.labels(tuple(KINDS))
    known = first.ids != 255
    np.testing.assert_array_equal(named[first.ids[known]], truth[known])
    assert all(region.words == (region.kind, *KINDS[region.kind].synonyms) for region in first.regions)
    assert not {(region.colour, region.kind) for region in first.regions} & HELD_OUT_PAIRS

    before = (tmp_path / "000000" / "rgb.npy").stat().st_mtime_ns
    few.render(processes=1)  # nothing is missing
    assert (tmp_path / "000000" / "rgb.npy").stat().st_mtime_ns == before
    more = SimulatorSource(tmp_path, scenes=2, frames=2)  # another recipe, same folder
    more.render(processes=1)
    assert len(more) == 4
    for scene in (0, 1):
        np.testing.assert_array_equal(more.load(2 * scene).rgb, few.load(scene).rgb)
        assert (more.load(2 * scene + 1).rgb != few.load(scene).rgb).any()


@pytest.mark.parametrize("scenes", [0, EVALUATION_SEEDS + 1])
def test_scenes_for_evaluation_are_never_rendered_for_training(scenes: int, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected 1 to 1000000"):
        SimulatorSource(tmp_path, scenes, 1)
