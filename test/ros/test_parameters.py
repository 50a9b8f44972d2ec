"""Parameters: defaults in one place, limits, live changes and their rejection."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from ovseg_ros import ros
from ovseg_ros.errors import VocabularyError
from ovseg_ros.resources import find
from ovseg_ros.ros.loading import first_words
from ovseg_ros.ros.parameters import ParameterError, Parameters, Settings
from ovseg_ros.vocabulary import Vocabulary


@pytest.fixture
def make():
    """`make("-p", "threshold:=0.5", ...)`: a node's parameters, and lists of what was reported."""
    nodes = []

    def build(*arguments: str):
        ros.rclpy.init(args=["test"])
        node = ros.Node("ovseg", cli_args=["--ros-args", *arguments] if arguments else None)
        nodes.append(node)
        node.words, node.applied = [], []

        def words(entries):
            Vocabulary.parse(list(entries))
            node.words.append(tuple(entries))

        return node, Parameters(node, words, node.applied.append)

    yield build
    for node in nodes:
        node.destroy_node()
    ros.rclpy.try_shutdown()


def put(node, **values):
    return node.set_parameters_atomically([ros.Parameter(name, value=value) for name, value in values.items()])


def test_defaults_are_declared_and_described(make):
    node, parameters = make()
    assert parameters.settings == Settings()
    for item in fields(Settings):
        descriptor = node.describe_parameter(item.name)
        assert descriptor.description
        assert descriptor.read_only != item.metadata["live"]
    limits = node.describe_parameter("threshold").floating_point_range[0]
    assert (limits.from_value, limits.to_value) == (0.0, 1.0)


def test_the_parameters_file_shows_every_default():
    content = yaml.safe_load(find("config/segment.yaml").read_text("utf-8"))
    assert Settings().changed(content["/**"]["ros__parameters"]) == Settings()
    assert set(content["/**"]["ros__parameters"]) == {item.name for item in fields(Settings)}


def test_values_at_the_start(make):
    given = ["threshold:=1", "vocabulary:=['person, human', 'car']", "max_rate:=7.5", "image_reliability:=reliable"]
    _, parameters = make(*[word for value in given for word in ("-p", value)])
    settings = parameters.settings
    assert (settings.threshold, settings.max_rate, settings.image_reliability) == (1.0, 7.5, "reliable")
    assert settings.words == ("person, human", "car")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("threshold:=1.5", "threshold"),
        ("threshold:=high", "parameter threshold must be a number from 0 to 1, not 'high'"),
        ("queue_depth:=0", "queue_depth"),
        ("image_reliability:=maybe", "must be auto or best_effort or reliable, not 'maybe'"),
        ("vocabulary:=car", "vocabulary"),
        ("model:=7", "model"),
    ],
)
def test_bad_values_at_the_start_name_the_parameter(make, value, text):
    with pytest.raises(ParameterError, match=text):
        make("-p", value)


def test_live_changes(make):
    node, parameters = make()
    assert put(node, threshold=0.5, max_rate=10).successful
    assert (parameters.settings.threshold, parameters.settings.max_rate) == (0.5, 10.0)
    assert node.applied == [parameters.settings]
    assert put(node, vocabulary=["person, human", "car"]).successful
    assert node.words == [("person, human", "car")]


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": -0.1},
        {"threshold": float("nan")},
        {"threshold": "x"},
        {"threshold": True},
        {"max_rate": float("inf")},
        {"model": "street"},
        {"vocabulary": ["car", "Car"]},
        {"vocabulary": [""]},
        {"threshold": 0.9, "vocabulary": ["car", "car"]},
        {"vocabulary": ["car"], "threshold": 2.0},
        {"vocabulary": ["w" * 10_000]},
        {"vocabulary": ["bell\x07"]},
    ],
)
def test_rejected_changes_leave_everything(make, values):
    node, parameters = make()
    assert put(node, vocabulary=["sky"], threshold=0.25).successful
    before, node.words[:] = parameters.settings, []
    result = put(node, **values)
    assert not result.successful
    assert result.reason
    assert parameters.settings == before
    assert node.words == []
    assert node.get_parameter("threshold").value == 0.25
    assert list(node.get_parameter("vocabulary").value) == ["sky"]


def test_words_of_the_service_show_as_parameter_and_are_not_applied_twice(make):
    node, parameters = make()
    parameters.show_words(("pallet, skid", "floor"))
    assert list(node.get_parameter("vocabulary").value) == ["pallet, skid", "floor"]
    assert node.words == []


def test_first_words(tmp_path: Path):
    assert first_words(Settings()) is None
    assert first_words(Settings(vocabulary=("a, b", "c"))).names == ("a", "c")
    assert first_words(Settings(vocabulary_file="household")).names[0] == "wall"
    path = tmp_path / "words.yaml"
    path.write_text("[x, y]")
    assert first_words(Settings(vocabulary_file=str(path))).names == ("x", "y")
    assert first_words(Settings(vocabulary=("a",), vocabulary_file=str(path))).names == ("a",)
    with pytest.raises(VocabularyError, match="nonesuch"):
        first_words(Settings(vocabulary_file="nonesuch"))


@pytest.mark.parametrize("name", ["household", "warehouse", "street", "outdoor"])
def test_vocabularies_that_ship(name):
    vocabulary = Vocabulary.load(find(f"config/vocabularies/{name}.yaml"))
    assert len(vocabulary) >= 10
    if name in ("household", "warehouse"):
        from ovseg_ros.sim.kinds import KINDS

        assert set(vocabulary.names) <= set(KINDS)
