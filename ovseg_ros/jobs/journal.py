"""Results on disk as they come: append-only, checked record by record, for one run and its continuations."""

from __future__ import annotations

import json
import logging
import os
import pickle
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ovseg_ros.jobs.base import JobsError
from ovseg_ros.jobs.fingerprint import fingerprint, parts_of

NAME = "results.journal"
LOCK = ".lock"
SYNC_SECONDS = 1.0  # a power cut costs the results of at most so long; a killed process costs none
_HEAD = struct.Struct("<IQI")  # bytes of the key, bytes of the content, CRC-32 of both
_RUN = ""  # the key of the first record, which says whose results these are
_SEED = 1  # of the CRC: a tail of zeros, as a power cut may leave, is no record
_DIGEST = 64  # hex digits at the start of a content

logger = logging.getLogger(__name__)


class Journal:
    """The stored results of one run; `opened` makes it.

    A record is a key, the fingerprint of its item and the pickled result. A record that is cut off or damaged ends
    the journal: it and what follows is dropped, and those items are done again.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path, self._file = path, file
        self._places: dict[str, tuple[str, int, int]] = {}  # key: item's fingerprint, offset and length of the result
        self._synced = time.monotonic()

    def begin(self, work: object) -> None:
        """Read what is there, and make sure that it is this work's.

        Raises:
            JobsError: when it is another's.
        """
        mine, parts = fingerprint(work), parts_of(work)
        end, run = self._scan()
        if end < (size := self._path.stat().st_size):
            logger.warning("%s ends in a damaged record (%d bytes); its items are done again", self._path, size - end)
        self._file.truncate(end)
        self._file.seek(end)
        if run is None:
            self._append(_RUN, json.dumps({"fingerprint": mine, "parts": parts}).encode())
        elif run["fingerprint"] != mine:
            raise JobsError(_other_run(self._path.parent, run["parts"], parts))

    def has(self, key: str, item: str) -> bool:
        """Whether there is a result of this key, made of an item with this fingerprint."""
        return key in self._places and self._places[key][0] == item

    def read(self, key: str) -> Any:
        """The result of a key."""
        _, offset, length = self._places[key]
        with self._path.open("rb") as file:
            file.seek(offset)
            return pickle.loads(file.read(length))

    def add(self, key: str, item: str, packed: bytes) -> None:
        """Store a pickled result."""
        self._append(key, item.encode() + packed)

    def sync(self) -> None:
        """Make sure that what was added is on the disk itself."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _append(self, key: str, content: bytes) -> None:
        name = key.encode("utf-8", "surrogatepass")
        crc = zlib.crc32(content, zlib.crc32(name, _SEED))
        left = memoryview(_HEAD.pack(len(name), len(content), crc) + name + content)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:  # of a record that is not whole, the next run takes no notice
            raise JobsError(f"cannot write to {self._path}: {error.strerror}; make room and run again") from error
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def _scan(self) -> tuple[int, dict[str, Any] | None]:
        """Index all good records; returns where they end, and the first one's content."""
        run: dict[str, Any] | None = None
        end = 0
        for name, content in _records(self._path):
            start = end + _HEAD.size + len(name)
            end = start + len(content)
            if run is None:
                run = json.loads(content)
            else:  # of two results of a key the later one counts
                place = (content[:_DIGEST].decode(), start + _DIGEST, len(content) - _DIGEST)
                self._places[name.decode("utf-8", "surrogatepass")] = place
        return end, run


def _records(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents, up to the first record that is not whole."""
    left = path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            name_length, length, crc = _HEAD.unpack(head)
            left -= _HEAD.size + name_length + length
            if left < 0:  # a damaged length may be huge
                return
            name, content = file.read(name_length), file.read(length)
            if zlib.crc32(content, zlib.crc32(name, _SEED)) != crc:
                return
            yield name, content


@contextmanager
def opened(folder: Path, work: object) -> Iterator[Journal]:
    """The journal in a folder, for `work` and nobody else at a time.

    Raises:
        JobsError: when the folder cannot be written, holds another run's results, or is in use.
    """
    with ExitStack() as stack:
        path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / LOCK, timeout=0))
            path.touch()
            journal = Journal(path, stack.enter_context(path.open("r+b", buffering=0)))
        except Timeout as error:
            raise JobsError(f"another run is writing to {folder}; wait for it, or give another folder") from error
        except OSError as error:
            raise JobsError(f"cannot keep results in the folder {folder}: {error.strerror}; give another") from error
        journal.begin(work)
        stack.callback(journal.sync)
        yield journal


def _other_run(folder: Path, theirs: dict[str, str], mine: dict[str, str]) -> str:
    differing = [name for name in {**theirs, **mine} if theirs.get(name) != mine.get(name)]
    of = f" (they differ in: {', '.join(differing)})" if differing else ""
    return f"{folder} holds the results of a run with other settings{of}; give another folder, or delete this one"
