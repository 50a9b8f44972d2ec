"""CDR encoding and decoding of messages, by rosbags, without a copy where the format allows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .interfaces import Message, any_message, codec

#: CDR, little endian, version 1: what every ROS 2 implementation sends.
_HEADER = np.array([0, 1, 0, 0], np.uint8)


class SerializationError(ValueError):
    """A payload that is not the CDR of the expected type."""


def encode(message: Message, prefix: bytes = b"") -> NDArray[np.uint8]:
    """Encode to CDR, padded to 4 bytes; `prefix` (a multiple of 8 bytes) is put between header and message."""
    name = message._definition.name
    store = codec()
    encoder = store.get_msgdef(name)
    size = 4 + len(prefix) + encoder.getsize_cdr(0, message, store)
    data = np.zeros((size + 3) & ~3, np.uint8)
    data[:4] = _HEADER
    if prefix:
        data[4 : 4 + len(prefix)] = np.frombuffer(prefix, np.uint8)
    encoder.serialize_cdr_le(data.data[4 + len(prefix) :], 0, message, store)
    return data


def decode(data: bytes | memoryview, name: str, skip: int = 0) -> Any:
    """Decode CDR of the message `name`, leaving out `skip` bytes after the header; arrays are views of `data`.

    Raises `SerializationError` whatever is wrong with `data`.
    """
    any_message(name)
    view = memoryview(data)
    if len(view) < 4 + skip or view[0] != 0 or view[1] not in (0, 1):
        raise SerializationError(f"{len(view)} bytes beginning {bytes(view[:4]).hex(' ')} are no CDR of {name}")
    store = codec()
    decoder = store.get_msgdef(name)
    unpack = decoder.deserialize_cdr_le if view[1] else decoder.deserialize_cdr_be
    try:
        message, end = unpack(view[4 + skip :], 0, decoder.cls, store)
    except Exception as error:
        raise SerializationError(f"{len(view)} bytes are no CDR of {name}: {error}") from error
    if end + 4 + skip + 7 < len(view) or end + 4 + skip > len(view):
        raise SerializationError(f"{len(view)} bytes are no CDR of {name}: it ends at byte {end + 4 + skip}")
    return message


def serialize_message(message: Any) -> bytes:
    """Return the CDR of `message`, as rclpy.serialization does."""
    return encode(message).tobytes()


def deserialize_message(serialized_message: bytes, message_type: type[Any]) -> Any:
    """Return the message in `serialized_message`; raises `SerializationError` if it is not a `message_type`."""
    return decode(serialized_message, message_type._definition.name)
