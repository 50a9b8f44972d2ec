"""`ovseg build`, from a command line to an engine that runs, on a CLIP of some thousand weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
pytest.importorskip("onnxscript")

from ovseg_ros.cli import main  # noqa: E402
from ovseg_ros.segmenter import Segmenter  # noqa: E402
from ovseg_ros.weights import known_models, open_weights  # noqa: E402

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
ARGUMENTS = ("build", "naclip-vit-tiny-16", "--size", "64x96", "--precision", "fp32")


@pytest.fixture(scope="module", autouse=True)
def _tiny_architecture(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("configs")
    (folder / "ViT-Tiny-16.json").write_text(json.dumps(TINY), encoding="utf-8")
    open_clip.add_model_config(folder)


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OVSEG_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "engines"


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["build", *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ovseg build: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_built_model_is_listed_and_segments(
    engines: Path, capsys: pytest.CaptureFixture[str], picture: Callable[..., np.ndarray]
) -> None:
    assert main([*ARGUMENTS, "--weights", "random", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["backend"], report["precision"]) == ("naclip-vit-tiny-16", "openvino", "fp32")
    assert Path(report["folder"]).parent == engines / "naclip-vit-tiny-16"
    assert "naclip-vit-tiny-16" in known_models()
    weights = open_weights("naclip-vit-tiny-16")
    assert (weights.source, weights.size, "random" in weights.licence) == ("random", (64, 96), True)
    assert not list(engines.glob("*/.*"))

    segmenter = Segmenter.load("naclip-vit-tiny-16", ["cat", "dog, hound", "sofa"], precision="fp32")
    image = picture(3, 90, 120)
    result = segmenter.segment(image)
    assert result.labels.shape == (90, 120)
    assert len(segmenter.vocabulary.templates) == 14
    assert (result.labels == expected_labels(segmenter, image)).mean() > 0.995

    assert main(["models", "--json"]) == 0
    listed = {m["name"]: m for m in json.loads(capsys.readouterr().out)}
    assert listed["naclip-vit-tiny-16"]["state"] == "built"
    assert listed["naclip-vit-b-16"]["state"] == "can be built"
    assert listed["mini"]["state"] == "embedded"


@pytest.mark.usefixtures("capfd")
def test_the_same_model_is_not_exported_twice(engines: Path) -> None:
    arguments = [*ARGUMENTS, "--weights", "random"]
    graph = engines / "naclip-vit-tiny-16" / "graph" / "model.onnx"
    assert main(arguments) == 0
    first = graph.stat().st_mtime_ns
    assert main([*arguments[:-4], "--precision", "bf16", "--weights", "random"]) == 0
    assert graph.stat().st_mtime_ns == first
    graph.write_bytes(graph.read_bytes()[:-10])
    assert main(arguments) == 0
    second = graph.stat().st_mtime_ns
    assert second > first
    assert main([*arguments, "--windows", "64,32"]) == 0
    assert graph.stat().st_mtime_ns > second


@pytest.mark.usefixtures("capfd", "engines")
def test_a_model_under_a_name_of_ones_own_is_known_by_its_parts() -> None:
    from ovseg_ros.evaluation.networks import open_network
    from ovseg_ros.models.checkpoints import open_checkpoint

    assert main([*ARGUMENTS, "--weights", "random", "--name", "mine"]) == 0
    network: Any = open_network("mine")
    assert (network.name, network.size, network.net.scale) == ("mine", (64, 96), 40.0)
    visual = open_checkpoint("ViT-Tiny-16", "random").model.state_dict()
    assert torch.equal(network.net.trunk.state_dict()["proj"], visual["visual.proj"])


def expected_labels(segmenter: Segmenter, image: np.ndarray) -> Any:
    """The torch model with the same random weights and the words encoded by open_clip itself."""
    from ovseg_ros.models.build import clip_segmenter
    from ovseg_ros.models.checkpoints import open_checkpoint
    from ovseg_ros.models.onepass import OnePass
    from ovseg_ros.models.zoo import find_model

    checkpoint = open_checkpoint("ViT-Tiny-16", "random")
    tokenize = open_clip.get_tokenizer("ViT-Tiny-16")
    with torch.no_grad():
        rows = []
        for words in (("cat", "cat"), ("dog", "hound"), ("sofa", "sofa")):
            prompts = [[t.replace("{}", w) for t in segmenter.vocabulary.templates] for w in words]
            means = [checkpoint.model.encode_text(tokenize(p), normalize=True).mean(dim=0) for p in prompts]
            rows.append(torch.nn.functional.normalize(torch.stack(means), dim=-1))
        net = clip_segmenter(replace(find_model("naclip-vit-tiny-16"), size=(64, 96)), checkpoint)
        labels, _ = OnePass(net, (64, 96))(torch.from_numpy(image)[None], torch.stack(rows))
    return labels[0].numpy()


@pytest.mark.usefixtures("engines")
def test_weights_from_a_file_are_those_weights(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(5)
    model = open_clip.create_model("ViT-Tiny-16", pretrained=None)
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    from ovseg_ros.models.checkpoints import open_checkpoint

    checkpoint = open_checkpoint("ViT-Tiny-16", str(tmp_path / "mine.pt"))
    for key, value in model.state_dict().items():
        assert torch.equal(checkpoint.model.state_dict()[key], value), key
    assert "mine.pt sha256:" in checkpoint.source

    assert "did you mean" in refusal(capfd, "naclip-vit-tiny-17")
    other = open_clip.create_model("ViT-Tiny-16", pretrained=None).state_dict()
    other["visual.proj"] = torch.zeros(64, 8)
    torch.save(other, tmp_path / "other.pt")
    sentence = refusal(capfd, "naclip-vit-tiny-16", "--weights", str(tmp_path / "other.pt"), "--size", "64x96")
    assert "visual.proj is (64, 8) in the file and (64, 16) in the model" in sentence
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    assert "no readable checkpoint" in refusal(
        capfd, "naclip-vit-tiny-16", "--weights", str(tmp_path / "broken.pt"), "--size", "64x96"
    )


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("naclip-vit-tiny-16", "--weights", "openai"), "no weights 'openai' for ViT-Tiny-16"),
        (("naclip-vit-tiny-16", "--weights", "gone.pt"), "no weights file gone.pt"),
        (("naclip-vit-tiny-16", "--size", "65x96"), "65x96 is no multiple of ViT-Tiny-16's patch, 16; try 64x96"),
        (("naclip-vit-tiny-16", "--size", "big"), "'big' is not HEIGHTxWIDTH"),
        (("naclip-vit-tiny-16", "--size", "64x96", "--windows", "100,50"), "windows of 100 every 50"),
        (("naclip-vit-tiny-16", "--max-classes", "0"), "1 to 1024"),
        (("naclip-vit-tiny-16", "--max-classes", "2000"), "1 to 1024"),
        (("naclip-vit-tiny-16", "--name", "mini"), "embedded"),
        (("naclip-vit-tiny-16", "--name", "../up"), "no folder name"),
        (("mini", "--weights", "random"), "leave --weights away"),
        (("mini", "--encoder-alone"), "leave --encoder-alone away"),
        (("naclip-vit-tiny-16", "--encoder-alone"), "give it a --name"),
        (("yolo",), "METHOD-ARCHITECTURE"),
        (("naclip-vit-tiny-16", "--precision", "int4"), "unknown precision 'int4'"),
        (("naclip-vit-tiny-16", "--backend", "onnx"), "there is no backend 'onnx'"),
        (("naclip-vit-tiny-16", "--device", "tpu"), "no backend for the device 'tpu'"),
        (("naclip-vit-tiny-16", "--compute-capability", "8.6"), "OpenVINO builds for no compute capability"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_sentence(
    arguments: tuple[str, ...], problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert problem in refusal(capfd, *arguments)


@pytest.mark.usefixtures("engines")
def test_without_a_network_it_says_so_at_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import socket

    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr("ovseg_ros.models.checkpoints.getproxies", dict)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    sentence = refusal(capfd, "naclip-vit-b-32")
    assert "there is no network" in sentence
    assert "--weights FILE or --weights random" in sentence
