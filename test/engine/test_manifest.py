"""An engine's manifest on disk."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ovseg_ros.engine import Manifest
from ovseg_ros.errors import EngineError

MANIFEST = Manifest(
    model="toy",
    weights_hash="ab" * 32,
    backend="openvino",
    backend_version="2026.1",
    device="some CPU",
    precision="fp32",
    text_identity="cd" * 32,
    text_width=16,
    size=(64, 96),
    licence="MIT",
    inputs={"image": "uint8 (1, H, W, 3) RGB"},
    outputs={"labels": "int32 (1, H, W)"},
    files={"image.blob": "ef" * 32},
)


def test_what_is_written_is_json_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    MANIFEST.write(path)
    assert json.loads(path.read_text())["size"] == [64, 96]
    assert Manifest.read(path) == MANIFEST


def content_without(key: str) -> str:
    content = dataclasses.asdict(MANIFEST)
    del content[key]
    return json.dumps(content)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "5",
        "{}",
        content_without("files"),
        content_without("size"),
        '{"size": 5}',
        '{"size": [1, 2], "x": 1}',
    ],
)
def test_anything_else_is_an_engine_error_that_says_what_is_expected(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(EngineError, match=r"manifest\.json is no engine manifest .* weights_hash"):
        Manifest.read(path)


def test_a_missing_manifest_is_an_engine_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"nowhere\.json"):
        Manifest.read(tmp_path / "nowhere.json")
