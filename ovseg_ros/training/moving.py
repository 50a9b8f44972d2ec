"""Batches that move between kinds of memory as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

B = TypeVar("B", bound="Moving")


class Moving:
    """Base of frozen dataclasses; fields that are tensors move, all others stay as they are."""

    def to(self: B, device: torch.device, **options: object) -> B:
        """The same on a device; Lightning Fabric calls it."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self: B) -> B:
        """The same in page-locked memory; torch's data loader calls it."""
        return self._each(Tensor.pin_memory)

    def _each(self: B, change: Callable[[Tensor], Tensor]) -> B:
        own: Any = self  # a dataclass, which its base cannot say
        values = {f.name: getattr(own, f.name) for f in fields(own)}
        moved: B = replace(own, **{name: change(value) for name, value in values.items() if isinstance(value, Tensor)})
        return moved
