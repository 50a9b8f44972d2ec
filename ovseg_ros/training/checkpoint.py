"""A run's state on disk: written whole or not at all, plain data and tensors alone."""

from __future__ import annotations

import os
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.errors import ModelError
from ovseg_ros.models.pixeltext import PixelTextConfig

FILE = "checkpoint.pt"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace a checkpoint: a process or machine that dies meanwhile leaves the old one."""
    scratch = path.with_suffix(".tmp")
    with scratch.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's state, its tensors on the CPU: `recipe`, `config`, `step`, `net`, `average`, `optimizer`.

    Raises:
        ModelError: for a file that is damaged, missing or no checkpoint.
    """
    try:
        with torch.serialization.safe_globals([PixelTextConfig]):
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        problem = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} is damaged ({problem}); delete it to start anew") from error
    wanted = ("config", "step", "average")
    if not isinstance(state, dict) or any(key not in state for key in wanted):
        raise ModelError(f"{path} is no checkpoint of a training run; delete it to start anew")
    if isinstance(state["config"], PixelTextConfig):  # of 0.1.0, which trained PixelText alone; to be dropped in 0.3
        sizes = {key: value for key, value in asdict(state["config"]).items() if key != "text_width"}
        state["config"] = {"name": "pixeltext", **{k: list(v) if isinstance(v, tuple) else v for k, v in sizes.items()}}
    return state


def finished(folder: Path, steps: int) -> bool:
    """Whether the run in a folder has done its steps."""
    path = folder / FILE
    return path.exists() and bool(read_checkpoint(path)["step"] >= steps)
