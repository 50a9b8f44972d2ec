"""`ovseg evaluate --network`: the torch network of a built model, under protocols that need its scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
pytest.importorskip("onnxscript")
pytest.importorskip("PIL")

from ovseg_ros.cli import main  # noqa: E402
from ovseg_ros.evaluation.networks import open_network  # noqa: E402
from ovseg_ros.evaluation.protocols import PROTOCOLS  # noqa: E402
from ovseg_ros.evaluation.subjects import EngineSource, NetworkSource  # noqa: E402
from ovseg_ros.vocabulary import Vocabulary  # noqa: E402

MODEL = "naclip-vit-toy-16"
TOY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module", autouse=True)
def _built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A CLIP of some thousand random weights, built once."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "ViT-Toy-16.json").write_text(json.dumps(TOY), encoding="utf-8")
    open_clip.add_model_config(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVSEG_ENGINES", str(folder / "engines"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["build", MODEL, "--size", "64x96", "--precision", "fp32", "--weights", "random"]) == 0
        yield


def reported(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["evaluate", MODEL, *arguments, "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_the_network_is_what_the_engine_was_made_from(picture: Any) -> None:
    rgb = picture(1, 90, 120)
    found = []
    for source in (EngineSource(MODEL, precision="fp32"), NetworkSource(MODEL)):
        subject = source.open()
        subject.set_vocabulary(Vocabulary.parse(["sky", "road, street", "tree", "car"]))
        found.append(subject.segment(rgb).labels)
    assert len(np.unique(found[0])) > 1
    assert (found[0] == found[1]).mean() > 0.99


@pytest.mark.parametrize("protocol", ["mmseg336", "single512"])
def test_published_protocols_run_on_data(protocol: str, capsys: pytest.CaptureFixture[str], camvid_like: Path) -> None:
    report = reported(
        capsys,
        "--network",
        "--protocol",
        protocol,
        "--dataset",
        "camvid",
        "--root",
        str(camvid_like),
        "--boundary",
        "0",
    )
    assert report["protocol"].startswith(f"{protocol}: {PROTOCOLS[protocol].summary}")
    assert report["prompt_set"] == ("P80" if protocol == "mmseg336" else "P14")
    assert report["backend"].startswith("torch ")
    assert report["images"] == 2
    assert 0 <= report["miou"] <= 1


def test_a_built_model_takes_inputs_of_any_size() -> None:
    net = open_network(MODEL).net
    for size in ((64, 96), (80, 48)):
        features = net.features(torch.zeros(1, 3, *size), torch.zeros(1, 1, 16))  # type: ignore[operator]
        assert features.shape == (1, 16, size[0] // 16, size[1] // 16)


def test_other_weights_than_the_models_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state = open_clip.create_model("ViT-Toy-16", pretrained=None).state_dict()
    torch.save(state, tmp_path / "other.pt")
    arguments = ["evaluate", MODEL, "--network", "--weights", str(tmp_path / "other.pt")]
    assert main([*arguments, "--dataset", "simulator", "--scenes", "1", "--frames", "1"]) == 2
    assert "was built from random, not from other.pt" in capsys.readouterr().err
