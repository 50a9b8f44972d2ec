"""`ovseg words`, and `--synonyms` of the other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovseg_ros.cli import main
from ovseg_ros.lexicon import Lexicon

pytestmark = pytest.mark.usefixtures("one_lexicon")


@pytest.fixture
def one_lexicon(lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command opens the lexicon that is open already."""
    monkeypatch.setattr(Lexicon, "open", lambda folder=None: lexicon)


def test_words_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["words", "traffic lights", "--context", "road, car"]) == 0
    out = capsys.readouterr().out
    assert "traffic lights (as 'traffic light')" in out
    assert "a visual signal to control the flow of traffic at intersections" in " ".join(out.split())
    assert "without 'stoplight': it is rare" in out
    assert out.endswith("-> 'traffic lights, traffic signals'\n")


def test_words_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["words", "car", "xyzzy", "--json"]) == 1
    car, other = json.loads(capsys.readouterr().out)
    assert car["entry"] == "car, auto, automobile, motorcar"
    assert (car["sense"], car["found_as"]) == ("car.n.01", "car")
    assert set(car["dropped"]) == {"machine"}
    assert [sense["frequency"] for sense in car["senses"]] == [71, 2, 0, 0, 0]  # as `wn car -over` prints them
    assert sum(sense["probability"] for sense in car["senses"]) == pytest.approx(1, abs=1e-3)
    assert (other["sense"], other["synonyms"], other["entry"]) == (None, [], "xyzzy")
    assert other["note"] == "WordNet knows no noun called 'xyzzy'"


def test_the_company_may_be_a_vocabulary_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "garden.yaml"
    path.write_text("['tree, oak', grass, flower]")
    assert main(["words", "plant", "--context", str(path)]) == 0
    assert "-> 'plant" in capsys.readouterr().out
    assert main(["words", "plant"]) == 1


def test_segment_takes_synonyms(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2
    import numpy as np

    from ovseg_ros.segmenter import Segmenter
    from ovseg_ros.vocabulary import Vocabulary

    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    asked: list[Vocabulary] = []
    change = Segmenter.set_vocabulary

    def spy(self: Segmenter, vocabulary: Vocabulary) -> Vocabulary:
        asked.append(vocabulary)
        # the tiny encoder knows few words
        return change(self, Vocabulary.parse(vocabulary.names))

    monkeypatch.setattr(Segmenter, "set_vocabulary", spy)
    arguments = ["segment", str(tmp_path / "a.png"), "--model", str(tiny_model), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--classes", "sky; car; fence, mug"]) == 0
    assert not asked
    assert main([*arguments, "--classes", "sky; car; fence, mug", "--synonyms"]) == 0
    assert asked[0].classes == (("sky",), ("car", "auto", "automobile", "motorcar"), ("fence", "mug"))
    capsys.readouterr()
