"""The few calls into libddsc that the Python binding lacks or makes with the interpreter locked.

`DataWriter.write` of the binding holds the GIL while it sends, and insists on bytes; a reliable writer that blocks
would stop every Python thread. Calling `dds_write` through ctypes releases the GIL and takes any buffer.
"""

from __future__ import annotations

import ctypes
from typing import Any

from cyclonedds import idl
from cyclonedds.core import DDSException, Entity
from cyclonedds.idl import types
from cyclonedds.internal import DDS
from numpy import uint8
from numpy.typing import NDArray

INFINITE = 2**63 - 1


class _Sample(ctypes.Structure):
    """What the binding's sample type holds: a pointer to CDR with its 4-byte header, and its size."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


_library: Any = DDS._dll_handle
_write = _library.dds_write
_write.argtypes, _write.restype = (ctypes.c_int32, ctypes.c_void_p), ctypes.c_int32
# Prototypes of our own: the binding shares one function object per symbol, and its argument types do not suit us.
_waitset_attach = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int32, ctypes.c_ssize_t)(
    ("dds_waitset_attach", _library)
)
_waitset_detach = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)(("dds_waitset_detach", _library))
_waitset_wait = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)(
    ("dds_waitset_wait", _library)
)
_take_status = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32)(
    ("dds_take_status", _library)
)
_wait_for_acks = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int64)(("dds_wait_for_acks", _library))
_assert_liveliness = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(("dds_assert_liveliness", _library))
_delete = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(("dds_delete", _library))


def write(writer: int, data: NDArray[uint8]) -> int:
    """Send CDR (with header, padded to 4 bytes); returns 0 or a negative DDS return code."""
    sample = _Sample(data.ctypes.data, data.nbytes)
    return int(_write(writer, ctypes.addressof(sample)))


def attach(waitset: int, entity: int) -> None:
    """Let `waitset` report `entity`, by its own handle."""
    code = _waitset_attach(waitset, entity, entity)
    if code < 0:
        raise DDSException(code, "while attaching to the wait set")


def detach(waitset: int, entity: int) -> None:
    """Stop reporting `entity`; harmless if it is not attached."""
    _waitset_detach(waitset, entity)


def wait(waitset: int, room: int, timeout_ns: int) -> list[int]:
    """Wait until something attached triggers; returns handles, at most `room` of them. The GIL is released."""
    triggered = (ctypes.c_ssize_t * room)()
    count = _waitset_wait(waitset, triggered, room, timeout_ns)
    if count < 0:
        raise DDSException(count, "while waiting")
    return [triggered[i] for i in range(min(count, room))]


def take_status(entity: int, mask: int) -> int:
    """Return and clear the status bits of `entity` in `mask`; 0 if it is gone."""
    status = ctypes.c_uint32()
    return int(status.value) if _take_status(entity, ctypes.byref(status), mask) == 0 else 0


def wait_for_acks(writer: int, timeout_ns: int) -> bool:
    """Wait until every matched reliable reader has everything; returns whether that came true in time."""
    code = _wait_for_acks(writer, timeout_ns)
    if code not in (0, DDSException.DDS_RETCODE_TIMEOUT):
        raise DDSException(code, "while waiting for acknowledgements")
    return bool(code == 0)


def assert_liveliness(writer: int) -> None:
    """Say that the writer lives."""
    _assert_liveliness(writer)


def delete(entity: Entity) -> None:
    """Delete a DDS entity now, rather than when Python collects it."""
    handle = entity._ref
    if Entity._entities.pop(handle, None) is not None:
        _delete(handle)


_carriers: dict[str, Any] = {}


def carrier(type_name: str) -> Any:
    """Return a binding type that is called `type_name` on the wire and carries ready CDR.

    Cyclone checks samples against the type, so the type has one `uint8`: every payload begins with a byte, and
    whatever follows is let through.
    """
    if type_name not in _carriers:
        name = type_name.replace("::", ".")
        _carriers[type_name] = idl.make_idl_struct(
            name.rpartition(".")[2], name, {"first_byte": types.uint8}, dataclassify=True
        )
    return _carriers[type_name]
