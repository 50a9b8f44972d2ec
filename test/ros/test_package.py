"""What ROS and pip need around the code: launch file, shared files, names that don't collide."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from unittest import mock
from xml.etree import ElementTree

import pytest

from ovseg_ros import resources, ros
from ovseg_ros.ros.node import SegmentNode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def launch_file(monkeypatch):
    """The launch file's names; without ROS its imports are stand-ins."""
    names = ("ament_index_python.packages", "launch", "launch.actions", "launch.conditions", "launch.substitutions")
    if importlib.util.find_spec("launch_ros") is None:
        for name in (*names, "launch_ros.actions"):
            monkeypatch.setitem(sys.modules, name.partition(".")[0], ModuleType(name.partition(".")[0]))
            monkeypatch.setitem(sys.modules, name, mock.MagicMock())
        sys.modules["launch"].LaunchDescription = list
    packages = import_module("ament_index_python.packages")
    monkeypatch.setattr(packages, "get_package_share_directory", lambda _: str(ROOT))
    return runpy.run_path(str(ROOT / "launch" / "segment.launch.py"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("car", {"vocabulary": ["car"]}),
        ("person, human; car ;", {"vocabulary": ["person, human", "car"]}),
        ("['person, human', 'car']", {"vocabulary": ["person, human", "car"]}),
        ("household", {"vocabulary_file": "household"}),
        ("/somewhere/words.yaml", {"vocabulary_file": "/somewhere/words.yaml"}),
    ],
)
def test_vocabulary_argument(launch_file, text, expected):
    assert launch_file["words"](text) == expected


@pytest.mark.parametrize("text", ["[1, 2]", "[[a]]"])
def test_bad_vocabulary_argument(launch_file, text):
    with pytest.raises(ValueError, match="must be a list of texts"):
        launch_file["words"](text)


def test_launch_description_is_made(launch_file):
    assert launch_file["generate_launch_description"]()


def test_versions_and_names_agree(monkeypatch):
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    messages = ElementTree.parse(ROOT / "ovseg_msgs" / "package.xml").getroot()
    monkeypatch.chdir(ROOT)
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path("setup.py")
    arguments = setup.call_args.kwargs
    assert package.findtext("name") == arguments["name"]
    assert package.findtext("version") == arguments["version"] == messages.findtext("version")
    assert "ovseg_msgs" in [item.text for item in package.findall("depend")]
    for script in arguments["entry_points"]["console_scripts"]:
        module, _, function = script.partition(" = ")[2].partition(":")
        assert callable(getattr(import_module(module), function))


def test_all_shared_files_are_installed(monkeypatch):
    monkeypatch.chdir(ROOT)
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path("setup.py")
    installed = {path for _, paths in setup.call_args.kwargs["data_files"] for path in paths}
    for folder in ("launch", "config", "weights", "ovseg_msgs/msg", "ovseg_msgs/srv"):
        for path in Path(folder).rglob("*"):
            assert path.is_dir() or "__pycache__" in path.parts or path.as_posix() in installed, path


def test_every_interface_is_built():
    text = (ROOT / "ovseg_msgs" / "CMakeLists.txt").read_text()
    for path in (*ROOT.glob("ovseg_msgs/msg/*.msg"), *ROOT.glob("ovseg_msgs/srv/*.srv")):
        assert f'"{path.parent.name}/{path.name}"' in text


def test_resources_of_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "lib" / "python3.12" / "site-packages" / "ovseg_ros"
    share = tmp_path / "share" / "ovseg_ros" / "config"
    package.mkdir(parents=True)
    share.mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.find("config") == share
    with pytest.raises(FileNotFoundError, match="weights/none is not in"):
        resources.find("weights/none")


def test_the_node_shadows_nothing_of_its_base():
    """A private name used twice breaks rclpy in ways that are hard to find."""
    own = {name for name in vars(SegmentNode) if not name.startswith("__")}
    assert not own & set(dir(ros.Node))
    ros.rclpy.init(args=["test"])
    plain = ros.Node("plain")
    source = Path(sys.modules[SegmentNode.__module__].__file__).read_text()
    for name in vars(plain):
        assert f"self.{name} =" not in source
        assert f"self.{name}," not in source
    plain.destroy_node()
    ros.rclpy.try_shutdown()
