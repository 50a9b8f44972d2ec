"""What a run tells while it learns: lines of JSON, TensorBoard where it is installed, the share of time it waits."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LOG_FILE = "log.jsonl"
WIDEST = 720  # pixels of a picture in TensorBoard


class Log:
    """A run's log in its folder: `log.jsonl`, and `tensorboard/` where that package is there.

    Args:
        folder: the run's.
        step: the step the run continues from; what was logged after it is dropped, as it will be done again.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.path = folder / LOG_FILE
        if self.path.exists():
            rows = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
            self.path.write_text("".join(f"{line}\n" for line in rows), encoding="utf-8")
        self._folder, self._step = folder, step
        self._open: Any = None
        self._missing = False

    def row(self, step: int, values: dict[str, float]) -> None:
        """Write scalars."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **{key: float(f"{v:.6g}") for key, v in values.items()}}) + "\n")
        if (board := self._board()) is not None:
            for key, value in values.items():
                board.add_scalar(key, value, step)
            board.flush()

    def picture(self, step: int, rgb: NDArray[np.uint8]) -> None:
        """Show a picture (H, W, 3) uint8 in TensorBoard, small enough that a hundred of them may be kept."""
        if (board := self._board()) is not None:
            shrink = min(1.0, WIDEST / rgb.shape[1])
            small = cv2.resize(rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            board.add_image("pictures", small, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left; a later row opens the log again."""
        if self._open is not None:
            self._open.close()
        self._open = None

    def _board(self) -> Any:
        """TensorBoard's writer, opened when there is something to write; None where the package is missing."""
        if self._open is None and not self._missing:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self._missing = True
                return None
            purge, self._step = self._step + 1 if self._step else None, 0
            self._open = SummaryWriter(str(self._folder / "tensorboard"), purge_step=purge)  # type: ignore[no-untyped-call]
        return self._open


def _step(line: str) -> float:
    """The step of a line; endless for one that was cut short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


class Clock:
    """Which share of its time a run waits for data.

    The first batch after a start is left out (workers start and read ahead, whatever the recipe), and so is the time
    between `stop` and `start`, when the run saves and draws.

    Attributes:
        waited, total: seconds.
    """

    def __init__(self) -> None:
        self.waited = self.total = 0.0
        self._begun: float | None = None

    def start(self) -> None:
        """From here on time counts."""
        self._begun = time.perf_counter()

    def stop(self) -> None:
        """Until here time counted."""
        if self._begun is not None:
            self.total += time.perf_counter() - self._begun
        self._begun = None

    @property
    def share(self) -> float:
        """Waited over total, 0..1; 0 before anything was timed."""
        return self.waited / self.total if self.total else 0.0
