"""What the converters of published checkpoints share: reading, renaming, and an account of all that does not match."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ovseg_ros.errors import ModelError

WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")  # around the model, which training code leaves in the names
SHOWN = 5  # tensors that an error names of each kind


@dataclass(frozen=True)
class Unmatched:
    """Every tensor for which checkpoint and model disagree.

    Attributes:
        missing: ours that the checkpoint lacks, by our names.
        left: the checkpoint's that the model has no place for, by our names where they have one.
        shapes: those of two shapes: name, shape in the checkpoint, shape in the model.
    """

    missing: tuple[str, ...]
    left: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.left or self.shapes)

    def __str__(self) -> str:
        shapes = [f"{key} is {theirs} in it and {ours} in the model" for key, theirs, ours in self.shapes]
        parts = (
            _listed("it lacks ", self.missing, ", "),
            _listed("", shapes, "; "),
            _listed("the model has no ", self.left, ", "),
        )
        count = len(self.missing) + len(self.left) + len(self.shapes)
        return f"{count} tensors do not match: {'; '.join(part for part in parts if part)}"


def unmatched(
    expected: Mapping[str, Tensor], converted: Mapping[str, Tensor], optional: Collection[str] = ()
) -> Unmatched:
    """What a model and a checkpoint do not share.

    Args:
        expected: the model's state.
        converted: the checkpoint's, under our names.
        optional: the model's names that the checkpoint need not have.
    """
    ours = {key: tuple(value.shape) for key, value in expected.items()}
    theirs = {key: tuple(value.shape) for key, value in converted.items()}
    return Unmatched(
        missing=tuple(key for key in ours if key not in theirs and key not in optional),
        left=tuple(key for key in theirs if key not in ours),
        shapes=tuple((key, theirs[key], ours[key]) for key in ours if key in theirs and theirs[key] != ours[key]),
    )


def read_checkpoint(path: Path) -> dict[str, object]:
    """The content of a checkpoint file, without running any code in it.

    Raises:
        ModelError: it is missing or no checkpoint.
    """
    if not path.is_file():
        raise ModelError(f"cannot read {path}: there is no file; download the published checkpoint and give its path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, for truncated files, pickles, text
        raise ModelError(f"cannot read {path} as a checkpoint ({type(error).__name__}); expected a .pth") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}; expected a dict of names and tensors")
    return content


def checkpoint_tensors(state: Mapping[str, object], under: str = "model") -> dict[str, Tensor]:
    """The names and tensors of a checkpoint, without what wrappers of the model add to the names.

    Args:
        state: names and tensors, or a dict with these under a key, as detectron2 and others write it. NumPy arrays
            are taken as well.
        under: the key.

    Raises:
        ModelError: there is something else under the key.
    """
    inner = state.get(under, state)
    if not isinstance(inner, Mapping):
        raise ModelError(f"a checkpoint's {under} is a {type(inner).__name__}; expected names and tensors")
    return {
        WRAPPERS.sub("", str(key)): value if isinstance(value, Tensor) else torch.from_numpy(value)
        for key, value in inner.items()
        if isinstance(value, (Tensor, np.ndarray))
    }


def renamed(key: str, renames: Iterable[tuple[re.Pattern[str], str]]) -> str:
    """Our name of a tensor by pairs of pattern and replacement, of which the first that matches is taken."""
    for pattern, replacement in renames:
        if pattern.match(key):
            return pattern.sub(replacement, key)
    return key


def left_aside(keys: Iterable[str], reasons: Sequence[tuple[re.Pattern[str], str]]) -> dict[str, str]:
    """Which names have no place in a model, and why: those in which a pattern is found, with its reason."""
    return {key: why for key in keys for pattern, why in reasons if pattern.search(key)}


def first_names(tensors: Iterable[str]) -> str:
    """What a file begins with, for an error that says it is something else."""
    return ", ".join(list(tensors)[:3]) or "nothing"


def _listed(what: str, names: Sequence[str], comma: str) -> str:
    """The first names; an empty text where there is none."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}{comma.join(names[:SHOWN])}{more}" if names else ""
