"""Pooling by masks and to grids, as EBSeg's embeddings need it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pool_inside(masks: Tensor, features: Tensor) -> Tensor:
    """Means of the features where masks are.

    Args:
        masks: (N, Q, h, w) logits; a cell is inside where they are positive. No gradient flows into them.
        features: (N, C, h, w).

    Returns:
        (N, Q, C); 0 for an empty mask.
    """
    inside = (masks.detach() > 0).to(features.dtype).flatten(2)  # (N, Q, h w)
    # published as the number plus 1e-8: the same in float32, but an addition that the ONNX exporter takes for one of 0
    count = inside.sum(dim=-1, keepdim=True).clamp(min=1.0)
    return (inside @ features.flatten(2).transpose(1, 2)) / count


def max_pool(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Adaptive max pooling, (N, C, H, W) -> (N, C, h, w): cell i covers rows floor(i H / h) to ceil((i + 1) H / h).

    Written with what every compiler knows: a plain max pooling where the sizes divide, else one gather an axis.
    """
    (height, width), (h, w) = x.shape[2:], grid
    if height % h == 0 and width % w == 0:
        return F.max_pool2d(x, (height // h, width // w))
    n, c = x.shape[:2]
    x = x.index_select(2, _cover(height, h, x.device)).reshape(n, c, h, -1, width).amax(dim=3)
    return x.index_select(3, _cover(width, w, x.device)).reshape(n, c, h, w, -1).amax(dim=4)


def _cover(size: int, cells: int, device: torch.device) -> Tensor:
    """For each cell of an axis the places that it covers, as many for all, repeating the last: (cells * most,)."""
    cell = torch.arange(cells, device=device)
    first, last = cell * size // cells, -(-(cell + 1) * size // cells) - 1
    most = -(-size // cells) + 1
    place = first[:, None] + torch.arange(most, device=device)
    return torch.minimum(place, last[:, None]).reshape(-1)
