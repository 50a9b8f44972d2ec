"""Points of masks: where they are read, and which are worth reading.

Losses and matching look at a mask in some thousand points instead of every pixel (PointRend, arXiv 1912.08193, section
3.1; Mask2Former, arXiv 2112.01527, section 3.3). Points are (x, y) in 0..1 of the mask's extent, so a prediction on a
coarse grid and its truth at full size are read at the same places, and nothing is upsampled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Draw = Callable[[Sequence[int]], Tensor]  # shape -> float32 uniform in 0..1


def uniform(device: torch.device | str = "cpu", generator: torch.Generator | None = None) -> Draw:
    """A source of uniform draws on a device; with a generator (of that device) the same every time."""
    return lambda shape: torch.rand(tuple(shape), generator=generator, device=device)


def read_points(maps: Tensor, points: Tensor) -> Tensor:
    """Values of maps at points, bilinear, zero outside, corners not aligned.

    Args:
        maps: (M, h, w) float.
        points: (M, P, 2) float, (x, y) in 0..1; (1, P, 2) serves all maps.

    Returns:
        (M, P), of the maps' type.
    """
    places = 2 * points.expand(maps.shape[0], -1, -1) - 1
    read = F.grid_sample(maps[:, None], places[:, :, None].to(maps.dtype), align_corners=False)  # (M, 1, P, 1)
    return read[:, 0, :, 0]


def uncertain_points(
    logits: Tensor, count: int, oversample: float = 3.0, importance: float = 0.75, draw: Draw | None = None
) -> Tensor:
    """Points to train masks at: the least certain of many random ones, and some at random.

    Args:
        logits: (M, h, w) float, predicted masks; certainty is the logit's absolute value.
        count: P, points a mask.
        oversample: random candidates per point, at least 1.
        importance: share of the points taken from the least certain candidates, 0..1.
        draw: where the random numbers come from; default torch's own generator on the masks' device. Two draws, in
            this order: the candidates (M, int(count * oversample), 2) and the random points (M, rest, 2).

    Returns:
        (M, P, 2) float32, (x, y) in 0..1, without gradient.

    Raises:
        ValueError: oversample or importance is out of range.
    """
    if oversample < 1 or not 0 <= importance <= 1:
        raise ValueError(
            f"oversample is {oversample} and importance {importance}; expected at least 1, and a share in 0..1"
        )
    draw = draw or uniform(logits.device)
    with torch.no_grad():
        candidates = draw((len(logits), int(count * oversample), 2)).to(logits.device)
        hard = int(importance * count)
        certainty = read_points(logits.float(), candidates).abs()  # (M, P')
        places = certainty.topk(hard, dim=1, largest=False).indices
        chosen = candidates.gather(1, places[:, :, None].expand(-1, -1, 2))
        if hard == count:
            return chosen
        return torch.cat([chosen, draw((len(logits), count - hard, 2)).to(logits.device)], dim=1)
