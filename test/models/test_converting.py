"""What the converters share: files that are no checkpoints, names in wrappers, and an account of every difference."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.converting import (  # noqa: E402
    checkpoint_tensors,
    left_aside,
    read_checkpoint,
    renamed,
    unmatched,
)


def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(ModelError, match=r"cannot read .*broken.pth as a checkpoint"):
        read_checkpoint(broken)
    with pytest.raises(ModelError, match=r"cannot read .*none.pth: there is no file"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "page.pth").write_text("<html>quota exceeded</html>")
    with pytest.raises(ModelError, match=r"cannot read .*page\.pth as a checkpoint"):
        read_checkpoint(tmp_path / "page.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match=r"list\.pth holds a list; expected a dict"):
        read_checkpoint(tmp_path / "list.pth")


def test_tensors_are_found_where_a_checkpoint_keeps_them() -> None:
    weight = torch.ones(2)
    for state in ({"a.b": weight, "epoch": 3}, {"model": {"module._orig_mod.a.b": weight}, "optimizer": {}}):
        assert {key: value.tolist() for key, value in checkpoint_tensors(state).items()} == {"a.b": [1, 1]}
    assert torch.equal(checkpoint_tensors({"model": {"a.b": np.ones(2, np.float32)}})["a.b"], weight)
    assert checkpoint_tensors({"state_dict": {"a": weight}}, under="state_dict").keys() == {"a"}
    with pytest.raises(ModelError, match="a checkpoint's model is a list; expected names and tensors"):
        checkpoint_tensors({"model": []})


def test_the_first_pattern_that_matches_names_a_tensor() -> None:
    renames = ((re.compile(r"^a\.(\d)\."), r"x.\1."), (re.compile(r"^a\."), "y."))
    assert [renamed(key, renames) for key in ("a.7.w", "a.w", "b.a.w")] == ["x.7.w", "y.w", "b.a.w"]
    assert left_aside(["loss.w", "w"], ((re.compile(r"^loss"), "of training"),)) == {"loss.w": "of training"}


def test_an_account_counts_all_and_names_the_first_of_each_kind() -> None:
    ours = {**{f"lost{i}": torch.zeros(1) for i in range(7)}, "other": torch.zeros(2, 3), "free": torch.zeros(1)}
    theirs = {"other": torch.zeros(3, 2), "extra1": torch.zeros(1), "extra2": torch.zeros(1)}
    problems = unmatched(ours, theirs, ["free"])
    assert problems.missing == tuple(f"lost{i}" for i in range(7))
    assert problems.left == ("extra1", "extra2")
    assert problems.shapes == (("other", (3, 2), (2, 3)),)
    assert str(problems) == (
        "10 tensors do not match: it lacks lost0, lost1, lost2, lost3, lost4 and 2 more; "
        "other is (3, 2) in it and (2, 3) in the model; the model has no extra1, extra2"
    )
    assert not unmatched(ours, ours)
    assert unmatched(ours, {**ours, "free": torch.zeros(2)}, ["free"]).shapes == (("free", (2,), (1,)),)
