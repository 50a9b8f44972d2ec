"""The report to look at: what stands in it, and that its pictures show what they say."""

from __future__ import annotations

import base64
import html.parser
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.datasets import Sample
from ovseg_ros.evaluation.evaluate import Shown
from ovseg_ros.evaluation.report import page, paint, picture, write_report
from ovseg_ros.evaluation.results import Report, summarise
from ovseg_ros.evaluation.scores import ImageScore, Question
from ovseg_ros.evaluation.subjects import Identity
from ovseg_ros.palette import colours
from ovseg_ros.vocabulary import Vocabulary

NAMES = ("sky", "road <wet>", "car")


def sample(name: str = "street & lane") -> Sample:
    rng = np.random.default_rng(0)
    labels = np.zeros((60, 80), np.uint8)
    labels[30:] = 1
    labels[40:50, 20:40] = 2
    labels[:3] = 255
    return Sample(name, rng.integers(0, 255, (60, 80, 3)).astype(np.uint8), labels)


@pytest.fixture
def shown() -> list[Shown]:
    one = sample()
    guess = one.labels.copy()
    guess[40:50, 20:40] = 1
    guess[:3] = 0
    return [Shown(one, guess, 0.5)]


@pytest.fixture
def report(shown: list[Shown]) -> Report:
    question = Question("toys", NAMES, Vocabulary.parse(NAMES, templates="P14"), seen=(True, True, False))
    one = shown[0]
    score = ImageScore.of(question, 0, one.sample.name, one.sample.labels, one.predicted, 3.0)
    identity = Identity("mini", "ab" * 32, "openvino 2, CPU, fp32", "native: whole image")
    return summarise(question, identity, question.words, [score], 1.5)


class Reader(html.parser.HTMLParser):
    """Collects tags that must close, the pictures, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: dict[str, np.ndarray] = {}
        self.text = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [v for k, v in attrs if k in ("src", "href") and v]
        if tag == "img":
            data = (found["src"] or "").partition("base64,")[2]
            decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
            assert decoded is not None
            self.pictures[found["alt"] or ""] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        elif tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(report: Report, shown: list[Shown]) -> None:
    content = page(report, shown, [])
    reader = Reader()
    reader.feed(content)
    assert reader.open == []
    assert all(address.startswith("data:image/") for address in reader.addresses)
    assert "http" not in content
    assert "<script" not in content
    for fact in (report.classes_hash, report.weights_hash, report.backend, report.protocol, "P14", "road <wet>"):
        assert fact in reader.text
    assert "street & lane, mIoU 0.500" in reader.text
    assert f"{report.miou:.4f}" in reader.text
    rows = re.findall(r'<tr><td>([^<]*)</td><td><div class="bar">', content)
    assert rows == ["sky", "road &lt;wet&gt;", "car"]  # the best class first


def test_the_pictures_show_truth_and_prediction(report: Report, shown: list[Shown]) -> None:
    reader = Reader()
    reader.feed(page(report, shown, []))
    one, table = shown[0], colours(NAMES)
    assert reader.pictures["image"].shape == one.sample.rgb.shape
    for kind, labels in (("truth", one.sample.labels), ("prediction", one.predicted)):
        found = reader.pictures[kind].astype(int)
        for c in range(3):
            where = labels == c
            if where.any():  # three quarters colour, one quarter image
                expected = 0.75 * table[c] + 0.25 * one.sample.rgb[where]
                np.testing.assert_allclose(found[where], expected, atol=1)
        assert (found[labels == 255] == 0).all()


def test_paint_takes_wide_labels_and_ids_past_the_classes() -> None:
    rgb = np.full((2, 2, 3), 100, np.uint8)
    painted = paint(rgb, np.array([[0, 2], [300, 65535]], np.uint16), NAMES, alpha=1.0)
    assert painted[0, 0].tolist() == colours(NAMES)[0].tolist()
    assert painted[0, 1].tolist() == colours(NAMES)[2].tolist()
    assert painted[1].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_files_are_written_by_their_ending(report: Report, shown: list[Shown], tmp_path: Path) -> None:
    write_report(tmp_path / "a.html", report, shown, shown)
    assert (tmp_path / "a.html").read_text() == page(report, shown, shown)
    write_report(tmp_path / "a.png", report, shown, shown)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "a.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read, picture(report, shown, shown))
    more = picture(report, shown * 3, shown)
    assert more.shape[0] > read.shape[0]
    with pytest.raises(OvsegError, match=r"ends in \.html or \.png"):
        write_report(tmp_path / "a.pdf", report, shown, shown)
    with pytest.raises(OvsegError, match="cannot write the report"):
        write_report(tmp_path / "gone" / "a.html", report, shown, shown)


def test_large_images_are_shrunk_with_their_labels(report: Report) -> None:
    one = sample()
    big = Sample(
        "big", np.kron(one.rgb, np.ones((12, 12, 1), np.uint8)), np.kron(one.labels, np.ones((12, 12), np.uint8))
    )
    reader = Reader()
    reader.feed(page(report, [Shown(big, big.labels, 1.0)], []))
    truth = reader.pictures["truth"]
    assert truth.shape == (315, 420, 3)
    car = colours(NAMES)[2] * 0.75 + 0.25 * 127
    assert np.abs(truth[236, 157].astype(float) - car).max() < 40  # the middle of the car


def test_the_files_of_a_run_hold_every_image(report: Report, tmp_path: Path) -> None:
    import csv
    import json

    report.write(tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["miou"] == report.miou
    assert [row["name"] for row in content["classes"]] == list(NAMES)
    assert content["classes"][2]["seen"] is False
    with (tmp_path / "images.csv").open() as file:
        assert list(csv.reader(file)) == [["image", "miou"], ["street & lane", str(report.per_image[0][1])]]
