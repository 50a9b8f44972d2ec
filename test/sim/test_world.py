"""The world is physically plausible: nothing stands in another thing, floats, or blocks the camera's way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ovseg_ros.sim import Scene
from ovseg_ros.sim.mesh import Mesh, box
from ovseg_ros.sim.models import MODELS
from ovseg_ros.sim.parts import Style
from ovseg_ros.sim.solids import ellipsoid, lathe, torus


def volume(mesh: Mesh) -> float:
    """By the divergence theorem: right only if the skin is closed and faces outwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_solids_enclose_the_volume_of_the_formula() -> None:
    assert volume(box(2, 3, 4, (1, 1, 1))) == pytest.approx(24)
    assert volume(ellipsoid(1, 2, 3, (5, 0, 0), n=60)) == pytest.approx(4 / 3 * np.pi * 6, rel=0.02)
    assert volume(lathe([(1, 0), (1, 2)], 64)) == pytest.approx(2 * np.pi, rel=0.01)
    assert volume(torus(1, 0.2, n=64)) == pytest.approx(2 * np.pi**2 * 0.04, rel=0.2)  # its tube has six sides
    vessel = lathe([(1, 0), (1, 2), (0.9, 2), (0.9, 0.1), (1e-6, 0.1)], 64)
    assert volume(vessel) == pytest.approx(np.pi * (2 - 0.81 * 1.9), rel=0.01)


def test_normals_are_smooth_on_a_ball_and_sharp_on_a_box() -> None:
    ball = ellipsoid(1, 1, 1, n=24)
    assert (ball.corner_normals() * ball.vertices[ball.faces.ravel()]).sum(1).min() > 0.97
    assert set(np.abs(box(1, 1, 1).corner_normals()).max(1)) == {1.0}


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_model_stands_on_its_base_and_is_of_a_likely_size(kind: str) -> None:
    for seed in range(4):
        parts = MODELS[kind](Style(np.random.default_rng(seed), (0.5, 0.2, 0.2)))
        low = np.min([part.mesh.vertices.min(0) for part in parts], axis=0)
        high = np.max([part.mesh.vertices.max(0) for part in parts], axis=0)
        assert -0.12 < low[2] < 0.03, "stands at z = 0 (frames and sills may reach under it)"
        assert 0.06 < (high - low).max() < 3.5
        assert sum(len(part.mesh.faces) for part in parts) < 3000
        assert len(parts) <= 8


@pytest.mark.parametrize("family", ["room", "table", "warehouse"])
def test_the_camera_keeps_away_from_boxes_and_within_the_room(family: str) -> None:
    for seed in range(4):
        scene = Scene.build(seed, family)
        floor = next(item for item in scene.objects if item.kind == "floor")
        solid = [item for item in scene.objects if item.kind not in ("wall", "floor", "ceiling", "rug")]
        for t in np.linspace(0, scene.path.period, 60):
            x, y, z = scene.path.pose(t)[:3, 3]
            assert 0.1 < x < floor.high[0] - 0.1
            assert 0.1 < y < floor.high[1] - 0.1
            assert 0.4 <= z <= 1.76
            for item in solid:
                inside = all(low < p < high for low, p, high in zip(item.low, (x, y, z), item.high, strict=True))
                assert not inside, f"{family} {seed}: in a {item.kind} at {t:.1f} s"


def test_the_path_is_smooth_and_repeats() -> None:
    path = Scene.build(3).path
    times = np.arange(0, 2 * path.period, 1 / 30)
    poses = np.array([path.pose(t) for t in times])
    assert np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).max() < 1.2 / 30  # metres a frame
    cosine = np.einsum("ni,ni->n", poses[1:, :3, 2], poses[:-1, :3, 2])
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 8
    np.testing.assert_allclose(path.pose(1.25), path.pose(1.25 + path.period), atol=1e-9)
    np.testing.assert_allclose(
        poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.eye(3)[None].repeat(len(poses), 0), atol=1e-9
    )
    assert np.linalg.det(poses[0, :3, :3]) == pytest.approx(1)


def test_things_on_a_table_do_not_stand_in_one_another() -> None:
    small = {"mug", "bottle", "bowl", "apple", "pear", "teapot", "plate"}
    for seed in range(6):
        items = [item for item in Scene.build(seed, "table").objects if item.kind in small]
        assert len(items) >= 3
        for one, two in itertools.combinations(items, 2):
            centres = (np.array(one.low) + one.high - two.low - two.high)[:2] / 2
            reach = min(one.high[0] - one.low[0], two.high[0] - two.low[0]) / 2
            assert np.linalg.norm(centres) > 0.8 * reach


def test_everything_rests_on_something() -> None:
    for seed in range(6):
        objects = Scene.build(seed).objects
        tops = np.array([item.high[2] for item in objects])
        for item in objects:
            if item.kind in ("wall", "floor", "ceiling", "window", "picture", "clock") or item.low[2] < 0.02:
                continue
            centre = (np.array(item.low) + item.high)[:2] / 2
            under = [
                other
                for other in objects
                if other is not item
                and all(other.low[i] - 0.05 <= centre[i] <= other.high[i] + 0.05 for i in range(2))
                and other.low[2] <= item.low[2] <= other.high[2] + 0.01
            ]
            assert under, f"{seed}: {item.kind} floats at {item.low[2]:.2f} m"
        assert tops.max() < 6
