"""A layer that SAM's parts share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MapNorm(nn.Module):
    """Layer norm over the channels of a map, (N, C, h, w) -> (N, C, h, w).

    Args:
        width: C.
        eps: added to the variance.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Every position by itself."""
        # with the channels last it is the layer norm that compilers have a kernel for
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)
