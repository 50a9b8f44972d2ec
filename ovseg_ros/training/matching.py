"""Which query answers for which segment: the cheapest one-to-one assignment, image by image.

DETR's bipartite matching (arXiv 2005.12872, section 3.1) in the form that MaskFormer (focal cost on every pixel) and
Mask2Former (cross entropy on shared random points) gave it. A segment that finds no query, because there are fewer of
them, trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor

from ovseg_ros.training.losses.masks import pairwise_cross_entropy, pairwise_dice, pairwise_focal
from ovseg_ros.training.losses.points import Draw, read_points, uniform
from ovseg_ros.training.losses.precision import in_float32

Matching = list[tuple[Tensor, Tensor]]  # an image each: queries (m,) and their segments (m,), int64


@dataclass(frozen=True)
class Segments:
    """The truth of one image.

    Attributes:
        masks: (M, H, W) bool or 0..1, padded as the image is: the same extent as its predicted masks have.
        labels: (M,) int64, the class of each.
    """

    masks: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.masks.dim() != 3 or self.labels.shape != self.masks.shape[:1]:
            raise ValueError(
                f"masks are {tuple(self.masks.shape)} and labels {tuple(self.labels.shape)}; "
                "expected (M, H, W) and (M,)"
            )

    @classmethod
    def from_labels(cls, labels: Tensor, classes: int) -> Segments:
        """One mask for every class that a label map (H, W) shows; what is not in 0..classes-1 belongs to none."""
        shown = labels.unique()  # type: ignore[no-untyped-call]
        shown = shown[(shown >= 0) & (shown < classes)]
        return cls(labels[None] == shown[:, None, None], shown.to(torch.int64))


@dataclass(frozen=True)
class MaskState:
    """What one state of a decoder predicts for N images.

    Attributes:
        masks: (N, Q, h, w) float logits.
        classes: (N, Q, K + 1) float logits each, "no object" last; the first of them takes part in the matching, and
            without any the masks alone decide.
    """

    masks: Tensor
    classes: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class MatchCost:
    """What makes a query expensive for a segment.

    Attributes:
        classes: weight of -p(class of the segment).
        mask: weight of the mean binary cross entropy, or focal loss, of the masks.
        dice: weight of the dice loss.
        points: where masks are compared: at so many random points, the same for all masks of an image; 0 at every
            cell of the predicted masks' grid, the truth resized to it by nearest.
        focal: focal loss instead of cross entropy.
    """

    classes: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    points: int = 12_544
    focal: bool = False


@in_float32
def match(state: MaskState, truth: Sequence[Segments], cost: MatchCost, draw: Draw | None = None) -> Matching:
    """The assignment of least total cost.

    Args:
        state: predictions for N images.
        truth: N of them; an image may have no segments.
        cost: weights.
        draw: the points come from here, one draw (1, points, 2) an image; default torch's own generator.

    Returns:
        For each image min(Q, M) pairs, by ascending query.

    Raises:
        ValueError: the number of images differs, a label is no class, or a prediction is not finite.
    """
    if len(truth) != len(state.masks):
        raise ValueError(f"{len(truth)} images of truth for {len(state.masks)} predicted; expected as many")
    draw = draw or uniform(state.masks.device)
    pairs: Matching = []
    for image, segments in enumerate(truth):
        costs = cost_matrix(state, image, segments, cost, draw)
        if not bool(costs.isfinite().all()):
            raise ValueError(
                f"the predictions for image {image} of the batch hold NaN or infinity, so no query can be matched; "
                "lower the learning rate, clip gradients, or train in higher precision"
            )
        queries, targets = linear_sum_assignment(costs.cpu().numpy())
        pairs.append((torch.from_numpy(queries).to(torch.int64), torch.from_numpy(targets).to(torch.int64)))
    return pairs


@torch.no_grad()
def cost_matrix(state: MaskState, image: int, segments: Segments, cost: MatchCost, draw: Draw) -> Tensor:
    """What each query of an image would cost for each segment: (Q, M) float32."""
    masks = state.masks[image].float()  # (Q, h, w)
    predicted, true = _compared(masks, segments.masks.to(masks), cost.points, draw)
    pairwise = pairwise_focal if cost.focal else pairwise_cross_entropy
    costs = cost.mask * pairwise(predicted, true) + cost.dice * pairwise_dice(predicted, true)
    if not state.classes:
        return costs
    logits = state.classes[0][image].float()  # (Q, K + 1)
    check_labels(segments.labels, logits.shape[1] - 1)
    return costs - cost.classes * logits.softmax(dim=1)[:, segments.labels.to(logits.device)]


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse a label that is none of the classes, before it indexes anything."""
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"the labels of the segments run from {int(labels.min())} to {int(labels.max())}; expected 0 to "
            f"{classes - 1}: leave segments of other classes out, or give their words"
        )


def _compared(masks: Tensor, true: Tensor, points: int, draw: Draw) -> tuple[Tensor, Tensor]:
    """Predictions (Q, h, w) and truth (M, H, W) where they are compared: (Q, P) and (M, P)."""
    if points:
        places = draw((1, points, 2)).to(masks.device)
        return read_points(masks, places), read_points(true, places)
    return masks.flatten(1), F.interpolate(true[:, None], size=masks.shape[1:], mode="nearest").flatten(1)


def at(pairs: Matching, device: torch.device) -> tuple[Tensor, Tensor]:
    """Image and query of every pair, images in turn, to index (N, Q, ...) with: (m,) and (m,) int64."""
    images = torch.cat([torch.full_like(queries, image) for image, (queries, _) in enumerate(pairs)])
    return images.to(device), torch.cat([queries for queries, _ in pairs]).to(device)


def labels_of(pairs: Matching, labels: Sequence[Tensor], device: torch.device) -> Tensor:
    """The label of every pair's segment, in the order of `at`: (m,) int64."""
    chosen = [own[targets.to(own.device)] for own, (_, targets) in zip(labels, pairs, strict=True)]
    return torch.cat(chosen).to(device)
