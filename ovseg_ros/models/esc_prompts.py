"""ESC-Net's pseudo-prompt generator: where a class seems to be, as points and masks that SAM understands.

Lee et al., arXiv 2411.14723, section 3.2: a softmax over pixels, a threshold, and k-means on the places above it, whose
regions give a point and a mask each. It has no parameters and lets no gradient through.

All of it is arithmetic with fixed numbers of steps, so it exports; nothing is random. k-means is Lloyd's algorithm on a
batch. Its first centre is the most probable cell, each further one the cell above the threshold that lies farthest from
all centres so far (of equally far ones the more probable).

Shapes: B maps (a class of an image each), h x w cells, P = h w, O regions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TINY = 1e-6  # a map of a smaller range counts as flat: equally probable everywhere
OUTSIDE = -1.0  # below every strength


class PseudoPrompts(NamedTuple):
    """Prompts of each map.

    Attributes:
        strength: (B, h, w) float, the probability as a share of the way from the map's lowest to its highest.
        regions: (B, O, h, w) float, 1 inside a region and 0 outside; regions do not overlap and may be empty.
        points: (B, O, 2) float, x and y of the most probable cell of each region, in cells.
        found: (B, O) bool, whether the region has any cell; its point means nothing otherwise.
    """

    strength: Tensor
    regions: Tensor
    points: Tensor
    found: Tensor


def pseudo_prompts(maps: Tensor, alpha: float, count: int, iterations: int, temperature: float = 1.0) -> PseudoPrompts:
    """Find the regions of each map.

    Args:
        maps: (B, h, w) float, for instance cosines of cells and a word.
        alpha: threshold of the strength, at most 1, so that every map has a cell above it.
        count: regions, O.
        iterations: of Lloyd's algorithm.
        temperature: of the softmax.
    """
    b, h, w = maps.shape
    maps = maps.detach().float()  # half precision cannot hold sums of places
    strength = probability_share(maps, temperature).flatten(1)  # (B, P)
    inside = strength >= alpha
    places = cell_places(h, w, maps)  # (P, 2)
    centres = lloyd(spread_centres(strength, inside, places, count), inside, places, iterations)
    regions = nearest(centres, places) & inside[:, None]  # (B, O, P)
    best = torch.where(regions, strength[:, None], OUTSIDE).argmax(dim=2)  # (B, O)
    points = places.index_select(0, best.reshape(-1)).reshape(b, count, 2)
    shape = (b, count, h, w)
    return PseudoPrompts(strength.reshape(b, h, w), regions.to(maps).reshape(shape), points, regions.any(dim=2))


def probability_share(maps: Tensor, temperature: float = 1.0) -> Tensor:
    """softmax over the cells of each map, scaled to 0..1 by its lowest and highest value; 1 throughout a flat map.

    The softmax's denominator falls out of the scaling, and with it its tiny numbers: (B, h, w) -> (B, h, w).
    """
    top = maps.amax(dim=(1, 2), keepdim=True)
    relative = ((maps - top) / temperature).exp()  # the softmax over its largest value
    span = 1 - relative.amin(dim=(1, 2), keepdim=True)
    return 1 - (1 - relative) / span.clamp(min=TINY)


def cell_places(h: int, w: int, like: Tensor) -> Tensor:
    """x and y of the cells, row by row: (P, 2)."""
    y = torch.arange(h, dtype=like.dtype, device=like.device)[:, None].expand(h, w)
    x = torch.arange(w, dtype=like.dtype, device=like.device)[None, :].expand(h, w)
    return torch.stack([x, y], dim=-1).reshape(h * w, 2)


def spread_centres(strength: Tensor, inside: Tensor, places: Tensor, count: int) -> Tensor:
    """First centres, far from each other: (B, P), (B, P) bool, (P, 2) -> (B, O, 2).

    Where fewer cells lie inside than centres are wanted, some centres fall together.
    """
    first = torch.where(inside, strength, OUTSIDE).argmax(dim=1)
    centres = [places.index_select(0, first)]  # (B, 2) each
    gap = _squared(centres[0][:, None], places)[:, 0]  # (B, P), to the nearest centre
    for _ in range(count - 1):
        # squared distances are whole numbers, so that half the strength decides only between equal ones
        farthest = torch.where(inside, gap + 0.5 * strength, OUTSIDE).argmax(dim=1)
        centres.append(places.index_select(0, farthest))
        gap = torch.minimum(gap, _squared(centres[-1][:, None], places)[:, 0])
    return torch.stack(centres, dim=1)


def lloyd(centres: Tensor, inside: Tensor, places: Tensor, iterations: int) -> Tensor:
    """Move each centre to the mean of the cells nearest to it, so many times; one without cells stays.

    (B, O, 2), (B, P) bool, (P, 2) -> (B, O, 2).
    """
    for _ in range(iterations):
        own = (nearest(centres, places) & inside[:, None]).to(places)  # (B, O, P)
        size = own.sum(dim=2, keepdim=True)
        sums = torch.stack([(own * axis).sum(dim=2) for axis in places.unbind(1)], dim=-1)  # (B, O, 2)
        centres = torch.where(size > 0, sums / size.clamp(min=1), centres)
    return centres


def nearest(centres: Tensor, places: Tensor) -> Tensor:
    """Which centre each cell is nearest to, the first of several: (B, O, 2), (P, 2) -> (B, O, P) bool, one a cell."""
    gap = _squared(centres, places)  # (B, O, P)
    order = torch.arange(centres.shape[1], dtype=gap.dtype, device=gap.device)[:, None]
    # a sorting arg-min over a handful of centres costs compilers more than two minima
    first = torch.where(gap <= gap.amin(dim=1, keepdim=True), order, float(centres.shape[1])).amin(dim=1, keepdim=True)
    return first == order


def _squared(centres: Tensor, places: Tensor) -> Tensor:
    """Squared distances: (B, O, 2), (P, 2) -> (B, O, P)."""
    x, y = (
        (centre[..., None] - axis).square() for centre, axis in zip(centres.unbind(2), places.unbind(1), strict=True)
    )
    return x + y
