"""Message classes: behaviour, CDR and hashes, against rosbags' own."""

from __future__ import annotations

import array
import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ovseg_ros.standalone import interfaces
from ovseg_ros.standalone.interfaces import InterfaceError, message, service, type_hash
from ovseg_ros.standalone.interfaces.definition import parse_message
from ovseg_ros.standalone.serialization import SerializationError, deserialize_message, serialize_message

Image = message("sensor_msgs/msg/Image")


def test_behaves_like_a_generated_class() -> None:
    header = message("std_msgs/msg/Header")(frame_id="camera")
    msg = Image(header=header, height=2, width=3, encoding="mono8", step=3, data=bytes(range(6)))
    assert msg.header.frame_id == "camera"
    assert msg.data.tolist() == [0, 1, 2, 3, 4, 5]
    assert msg == copy.deepcopy(msg) == pickle.loads(pickle.dumps(msg))
    assert msg != Image()
    assert repr(header) == (
        "std_msgs.msg.Header(stamp=builtin_interfaces.msg.Time(sec=0, nanosec=0), frame_id='camera')"
    )
    assert Image is message("sensor_msgs/Image")
    fields = Image.get_fields_and_field_types()
    assert fields["header"] == "std_msgs/Header"
    assert fields["data"] == "sequence<uint8>"
    camera = message("sensor_msgs/msg/CameraInfo").get_fields_and_field_types()
    assert camera["k"] == "double[9]"
    assert message("sensor_msgs/msg/PointField").FLOAT32 == 7
    assert message("geometry_msgs/msg/Pose")().orientation.w == 1.0
    level = message("diagnostic_msgs/msg/DiagnosticStatus")
    assert level(level=level.ERROR).level == b"\x02"


def test_wrong_names_and_types_are_refused() -> None:
    with pytest.raises(
        AttributeError, match=r"sensor_msgs/msg/Image has no field 'colour'; its fields: header, height"
    ):
        Image(colour=1)
    with pytest.raises(AttributeError, match="no field 'widht'"):
        Image().widht = 3
    with pytest.raises(TypeError, match=r"Image.height: expected int, got str 'a'"):
        Image(height="a")
    with pytest.raises(ValueError, match=r"height: -1 does not fit uint32 \(0..4294967295\)"):
        Image(height=-1)
    with pytest.raises(TypeError, match="expected std_msgs/msg/Header"):
        Image(header=3)
    with pytest.raises(ValueError, match=r"values 0..300 do not fit uint8"):
        Image(data=[0, 300])
    with pytest.raises(TypeError, match=r"expected an array of uint8, got float32; convert it"):
        Image(data=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="expected 9 elements, got 3"):
        message("sensor_msgs/msg/CameraInfo")(k=[1.0, 2.0, 3.0])
    with pytest.raises(InterfaceError, match=r"nav_stuff/msg/Nothing is not defined.*add_path"):
        message("nav_stuff/msg/Nothing")
    with pytest.raises(InterfaceError, match="expected 'package/msg/Name'"):
        message("Image")


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x02\x03",
        bytearray([1, 2, 3]),
        memoryview(b"\x01\x02\x03"),
        array.array("B", [1, 2, 3]),
        [1, 2, 3],
        (1, 2, 3),
        np.array([1, 2, 3], np.uint8),
        np.array([[1], [2], [3]], np.int64),
    ],
    ids=lambda d: type(d).__name__,
)
def test_arrays_are_taken_from_any_buffer(data: Any) -> None:
    msg = Image(data=data)
    assert msg.data.dtype == np.uint8
    assert msg.data.tolist() == [1, 2, 3]


def test_an_array_of_the_right_type_is_not_copied() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    assert np.shares_memory(Image(data=pixels).data, pixels)


STORE = get_typestore(Stores.ROS2_JAZZY)


def _fill(msg: Any, rng: np.random.Generator) -> None:
    """Give every field something other than its default."""
    for field in msg._definition.fields:
        old = getattr(msg, field.name)
        kind = field.type
        if isinstance(old, np.ndarray):
            count = kind.size if kind.cardinality == "fixed" else min(kind.size or 5, 5)
            setattr(msg, field.name, rng.integers(0, 2 if old.dtype == bool else 100, count).astype(old.dtype))
        elif kind.cardinality != "one":
            count = kind.size if kind.cardinality == "fixed" else min(kind.size or 2, 2)
            items: list[Any] = []
            for index in range(count):
                if kind.is_message:
                    items.append(message(kind.base)())
                    _fill(items[-1], rng)
                else:
                    items.append("ä" * index)
            setattr(msg, field.name, items)
        elif kind.is_message:
            _fill(old, rng)
        elif kind.base == "string":
            setattr(msg, field.name, "text"[: rng.integers(0, 5)])
        elif kind.base == "bool":
            setattr(msg, field.name, True)
        elif kind.base == "byte":
            setattr(msg, field.name, b"\x05")
        else:
            setattr(msg, field.name, (float if "float" in kind.base else int)(rng.integers(0, 100)))


def _theirs(msg: Any) -> Any:
    """The same message as a class of rosbags."""
    name = msg._definition.name
    values = []
    for field in msg._definition.fields:
        value = getattr(msg, field.name)
        if isinstance(value, interfaces.Message):
            value = _theirs(value)
        elif isinstance(value, list):
            value = [_theirs(v) if isinstance(v, interfaces.Message) else v for v in value]
        elif isinstance(value, bytes):
            value = value[0]
        values.append(value)
    return STORE.types[name](*values)


SKIPPED = {"float128"}


@pytest.mark.parametrize("name", sorted(STORE.fielddefs))
def test_cdr_equals_rosbags(name: str) -> None:
    msg = message(name)()
    _fill(msg, np.random.default_rng(len(name)))
    ours = serialize_message(msg)
    theirs = bytes(STORE.serialize_cdr(_theirs(msg), name))
    assert ours[: len(theirs)] == theirs
    assert len(ours) - len(theirs) < 4
    assert not any(ours[len(theirs) :])
    assert deserialize_message(ours, type(msg)) == msg
    assert deserialize_message(theirs, type(msg)) == msg


def test_big_endian_is_read() -> None:
    msg = message("sensor_msgs/msg/CameraInfo")(width=640, k=np.arange(9.0), d=[1.0, 2.0])
    big = bytes(STORE.serialize_cdr(_theirs(msg), "sensor_msgs/msg/CameraInfo", little_endian=False))
    assert deserialize_message(big, type(msg)) == msg


def test_garbage_is_refused_with_a_reason() -> None:
    with pytest.raises(SerializationError, match="are no CDR of sensor_msgs/msg/Image"):
        deserialize_message(b"abc", Image)
    rng = np.random.default_rng(0)
    for size in range(200):
        data = b"\x00\x01\x00\x00" + rng.bytes(size)
        try:
            deserialize_message(data, Image)
        except SerializationError:
            continue


# Computed by rosidl_generator_type_description of ROS 2 Jazzy.
KNOWN = {
    "sensor_msgs/msg/Image": "d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47",
    "std_msgs/msg/String": "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18",
}


@pytest.mark.parametrize(("name", "digest"), KNOWN.items())
def test_type_hashes(name: str, digest: str) -> None:
    assert type_hash(name) == f"RIHS01_{digest}"


def test_services_have_two_messages() -> None:
    srv = service("rcl_interfaces/srv/SetParameters")
    assert list(srv.Request.get_fields_and_field_types()) == ["parameters"]
    assert list(srv.Response.get_fields_and_field_types()) == ["results"]
    empty = service("std_srvs/srv/Trigger").Request()
    assert serialize_message(empty) == b"\x00\x01\x00\x00\x00\x00\x00\x00"
    assert type_hash("std_srvs/srv/Trigger_Request").startswith("RIHS01_")


TEXT = """# a comment
uint8 LOW=1   # its value
string HASH="#1"
std_msgs/Header header
string<=8 name "bob # not a comment"
float32[3] gains [1.0, 2.0, 3.5]
int32[<=4] few
bool on true
Other[] others
char letter
"""


def test_a_package_of_ones_own(tmp_path: Path) -> None:
    package = tmp_path / "my_msgs"
    (package / "msg").mkdir(parents=True)
    (package / "srv").mkdir()
    (package / "msg" / "Mine.msg").write_text(TEXT)
    (package / "msg" / "Other.msg").write_text("uint16 id\n")
    (package / "srv" / "Ask.srv").write_text("string[] words\n---\nbool success\nMine[] found\n")
    interfaces.add_path(package)
    mine = message("my_msgs/msg/Mine")
    msg = mine()
    assert (msg.name, msg.on, msg.gains.tolist()) == ("bob # not a comment", True, [1.0, 2.0, 3.5])
    assert (mine.LOW, mine.HASH) == (1, "#1")
    with pytest.raises(ValueError, match="at most 4 elements, got 5"):
        mine(few=[1] * 5)
    with pytest.raises(ValueError, match="at most 8 characters"):
        mine(name="123456789")
    reply = service("my_msgs/srv/Ask").Response(success=True, found=[msg])
    assert deserialize_message(serialize_message(reply), type(reply)) == reply
    # The hash, by rosbags' reading of the same text.
    theirs = get_typestore(Stores.ROS2_JAZZY)
    plain = "\n".join(line.partition("#")[0] for line in TEXT.splitlines() if "=" not in line or "<=" in line)
    plain = plain.replace('"bob', "").replace("[1.0, 2.0, 3.5]", "").replace("on true", "on")
    types = {**get_types_from_msg("uint16 id\n", "my_msgs/msg/Other")}
    types.update(get_types_from_msg(plain.replace("char letter", "uint8 letter"), "my_msgs/msg/Mine"))
    theirs.register(types)
    assert type_hash("my_msgs/msg/Mine") == theirs.hash_rihs01("my_msgs/msg/Mine")
    with pytest.raises(FileNotFoundError, match="neither a msg nor a srv folder"):
        interfaces.add_path(tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("wstring x", "wstring is not supported"),
        ("uint8[0] x", "at least 1"),
        ("uint8 __x", "not a field name"),
        ("uint8 x 300", "does not fit uint8"),
        ("bool x maybe", "not a bool"),
        ("uint8<=3 x", "only string takes a bound"),
        ("uint8 x\nuint8 x", "more than once"),
    ],
)
def test_bad_text_is_explained(line: str, reason: str) -> None:
    with pytest.raises(InterfaceError, match=reason):
        parse_message(line, "p/msg/M")


def test_vision_msgs_is_4_1_1() -> None:
    box = message("vision_msgs/msg/BoundingBox2D").get_fields_and_field_types()
    assert box == {"center": "vision_msgs/Pose2D", "size_x": "double", "size_y": "double"}
    info = message("vision_msgs/msg/LabelInfo").get_fields_and_field_types()
    assert info == {"header": "std_msgs/Header", "class_map": "sequence<vision_msgs/VisionClass>", "threshold": "float"}
