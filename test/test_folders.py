"""Folders that appear whole or not at all."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from ovseg_ros.folders import written_whole


def write(target: Path, text: str) -> None:
    with written_whole(target) as scratch:
        (scratch / "content").write_text(text)
        (scratch / "manifest.json").write_text("{}")


def rewrite(job: tuple[Path, str]) -> None:
    for _ in range(20):
        write(*job)


def test_the_folder_appears_at_the_end_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with written_whole(target) as scratch:
        (scratch / "old").write_text("1")
        assert not target.exists()
    assert (target / "old").read_text() == "1"
    assert target.stat().st_mode & 0o777 == 0o755
    write(target, "2")
    assert sorted(path.name for path in target.iterdir()) == ["content", "manifest.json"]
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "folder", "kept")

    def fill_the_disk() -> None:
        with written_whole(tmp_path / "folder") as scratch:
            (scratch / "content").write_text("half")
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        fill_the_disk()
    assert (tmp_path / "folder" / "content").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_writers_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(rewrite, [(target, "a" * 50), (target, "b" * 50), (target, "c" * 50)])
    assert (target / "content").read_text() in {"a" * 50, "b" * 50, "c" * 50}
    assert sorted(path.name for path in target.iterdir()) == ["content", "manifest.json"]
