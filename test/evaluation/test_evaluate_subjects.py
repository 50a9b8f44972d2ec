"""What is evaluated: engines and torch networks under one interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.evaluation.networks import open_network  # noqa: E402
from ovseg_ros.evaluation.protocols import NATIVE, PROTOCOLS, ProtocolError  # noqa: E402
from ovseg_ros.evaluation.subjects import EngineSource, EngineSubject, NetworkSource, NetworkSubject  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.segmenter import Segmenter  # noqa: E402
from ovseg_ros.text import text_table  # noqa: E402
from ovseg_ros.vocabulary import Vocabulary  # noqa: E402

WORDS = Vocabulary.parse(["sky", "road, pavement", "car", "tree"])
SIZE = (64, 96)


def network(net: Any, encoder: Any, name: str = "native", **options: Any) -> NetworkSubject:
    return NetworkSubject(net, encoder, PROTOCOLS[name], model="tiny", size=SIZE, **options)


def test_the_native_network_is_the_deployed_graph(tiny_net: Any, tiny_encoder: Any, picture: Any) -> None:
    subject = network(tiny_net, tiny_encoder)
    subject.set_vocabulary(WORDS)
    rgb = picture(1, 80, 100)
    with torch.inference_mode():
        labels, confidence = OnePass(tiny_net, SIZE)(
            torch.from_numpy(rgb)[None], torch.from_numpy(text_table(WORDS, tiny_encoder))
        )
    found = subject.segment(rgb)
    np.testing.assert_array_equal(found.labels, labels[0].numpy())
    np.testing.assert_array_equal(found.confidence, confidence[0].numpy())
    assert subject.identity.protocol == "native: whole image, resized to 64x96 inside the graph"


def test_engine_and_network_agree(tiny_net: Any, tiny_encoder: Any, tiny_model: Path, picture: Any) -> None:
    engine = EngineSubject(Segmenter.load(str(tiny_model), precision="fp32"))
    torch_one = network(tiny_net, tiny_encoder)
    rgb = picture(2, 80, 100)
    for subject in (engine, torch_one):
        subject.set_vocabulary(WORDS)
    assert (engine.segment(rgb).labels == torch_one.segment(rgb).labels).mean() > 0.98
    assert "openvino" in engine.identity.backend
    assert engine.identity.weights_hash != torch_one.identity.weights_hash
    assert len(torch_one.identity.weights_hash) == 64


def test_an_engine_serves_one_window_where_its_size_fits(tiny_model: Path, picture: Any) -> None:
    from dataclasses import replace

    from ovseg_ros.evaluation.protocols import Resize

    segmenter = Segmenter.load(str(tiny_model))
    short = replace(PROTOCOLS["single640"], name="single64", resize=Resize(64, 256, "pillow"))
    subject = EngineSubject(segmenter, short)
    subject.set_vocabulary(WORDS)
    rgb = picture(3, 128, 192)
    found = subject.segment(rgb)
    assert found.labels.shape == (128, 192)
    assert short.resize is not None
    small = segmenter.segment(short.resize(rgb)).labels
    np.testing.assert_array_equal(found.labels, np.kron(small, np.ones((2, 2), small.dtype)))
    with pytest.raises(ProtocolError, match="128x160 to 64x80, and this engine works at 64x96"):
        subject.segment(picture(3, 128, 160))
    with pytest.raises(ProtocolError, match="averages scores over windows"):
        EngineSource(str(tiny_model), PROTOCOLS["mmseg336"]).open()


def test_pixels_under_the_threshold_are_background_or_nothing(tiny_net: Any, tiny_encoder: Any, picture: Any) -> None:
    rgb = picture(4, 64, 96)
    plain = network(tiny_net, tiny_encoder, "single640")
    plain.set_vocabulary(WORDS)
    free = plain.segment(rgb)
    level = float(np.median(free.confidence)) / 255
    low = free.confidence < level * 255 - 1
    high = free.confidence > level * 255 + 1
    strict = network(tiny_net, tiny_encoder, "single640", threshold=level)
    strict.set_vocabulary(WORDS)
    found = strict.segment(rgb).labels
    assert (found[low] == 255).all()
    np.testing.assert_array_equal(found[high], free.labels[high])
    plain.set_vocabulary(Vocabulary(WORDS.classes, thresholds=(level,) * 4, background=2))
    found = plain.segment(rgb).labels
    assert (found[low] == 2).all()
    np.testing.assert_array_equal(found[high], free.labels[high])


def test_a_training_checkpoint_is_a_network(tiny_net: Any, tmp_path: Path, picture: Any, shipped_encoder: Any) -> None:
    from ovseg_ros.models.pixeltext import PixelText, PixelTextConfig

    torch.manual_seed(0)
    config = PixelTextConfig(widths=(8, 8, 16, 16), depths=(1, 1, 1), features=16, text_width=shipped_encoder.width)
    net = PixelText(config)
    path = tmp_path / "run" / "checkpoint.pt"
    path.parent.mkdir()
    torch.save({"config": config, "average": net.state_dict(), "step": 3}, path)
    found = open_network(str(path))
    assert found.name == "run"
    for key, value in net.state_dict().items():
        assert torch.equal(found.net.state_dict()[key], value), key
    subject = NetworkSource(str(path), PROTOCOLS["single512"]).open()
    subject.set_vocabulary(Vocabulary.parse(["sky", "road"]))
    assert subject.segment(picture(0, 60, 90)).labels.shape == (60, 90)
    with pytest.raises(ProtocolError, match="not exported"):
        NetworkSource(str(path), NATIVE).open()
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="no checkpoint of a training run"):
        open_network(str(path))
    with pytest.raises(ModelError, match="there is no checkpoint"):
        open_network(str(tmp_path / "gone.pt"))


def test_a_model_that_is_only_a_graph_has_no_network(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="has no torch network"):
        open_network(str(tiny_model))
