"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

ATTEMPTS = 100  # against other writers


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A scratch folder beside `target`, which takes its place at the end; after an error nothing of it is left.

    Raises:
        OSError: when there is no room or no right to write there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    try:
        yield scratch
        scratch.chmod(0o755)  # mkdtemp makes private folders
        replace_folder(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def replace_folder(new: Path, target: Path) -> None:
    """Move `new` to `target`, over what is there; of several writers at once, the last one's stays.

    Raises:
        OSError: when it cannot be moved.
    """
    old = target.with_name(f".old-{target.name}-{os.getpid()}")
    for attempt in itertools.count():
        with contextlib.suppress(FileNotFoundError):  # nothing there, or another writer took it away
            target.rename(old)
        shutil.rmtree(old, ignore_errors=True)
        try:
            new.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == ATTEMPTS:
                raise
