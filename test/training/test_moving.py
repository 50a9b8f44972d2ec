"""Batches move as a whole: tensors go to the device asked for, all else stays."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.training.moving import Moving  # noqa: E402


@dataclass(frozen=True)
class Pair(Moving):
    """Two tensors and what is none."""

    a: torch.Tensor
    b: torch.Tensor = field(repr=False)
    words: tuple[str, ...] = ()


def test_tensors_move_and_all_else_stays() -> None:
    pair = Pair(torch.ones(2, 3), torch.zeros(4, dtype=torch.int64), ("sky", "road"))
    moved = pair.to(torch.device("meta"))
    assert type(moved) is Pair
    assert (moved.a.device.type, moved.b.device.type) == ("meta", "meta")
    assert (moved.a.shape, moved.b.dtype, moved.words) == ((2, 3), torch.int64, ("sky", "road"))
    assert pair.a.device.type == "cpu"
