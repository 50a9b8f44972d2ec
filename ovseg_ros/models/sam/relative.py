"""Decomposed relative positions: what a query's content says about distances down and across.

MViTv2, arXiv 2112.01526, section 4.1, in the form of ViTDet and SAM: logit of query i for key j gains
q_i . R_h[y_i - y_j] + q_i . R_w[x_i - x_j], with q unscaled.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def table(rows: Tensor, size: int) -> Tensor:
    """The row of a table that belongs to each pair of places along one axis.

    Args:
        rows: (2 side - 1, d) float, of the distances -(side - 1) to side - 1; other sizes by linear interpolation.
        size: places along the axis.

    Returns:
        (size, size, d): of query place and key place.
    """
    if rows.shape[0] != 2 * size - 1:
        resized = F.interpolate(rows.t()[None], size=2 * size - 1, mode="linear", align_corners=False)
        rows = resized[0].t()
    place = torch.arange(size, device=rows.device)
    return rows[place[:, None] - place[None, :] + size - 1]


def relative_bias(queries: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """What relative positions add to the logits.

    Args:
        queries: (B, heads, h * w, d), not scaled.
        down: (h, h, d), `table` of the rows.
        across: (w, w, d), `table` of the columns.

    Returns:
        (B, heads, h * w, h * w).
    """
    b, heads, _, d = queries.shape
    h, w = down.shape[0], across.shape[0]
    q = queries.reshape(b, heads, h, w, d)
    by_row = q @ down.transpose(1, 2)  # (B, heads, h, w, h)
    by_column = q.transpose(2, 3) @ across.transpose(1, 2)  # (B, heads, w, h, w)
    bias = by_row[..., :, None] + by_column.transpose(2, 3)[..., None, :]  # (B, heads, h, w, h, w)
    return bias.reshape(b, heads, h * w, h * w)
