"""The losses of mask classification over all states of a decoder: match, then masks and classes.

MaskFormer (arXiv 2107.06278, section 3.3) and Mask2Former (arXiv 2112.01527, section 3) with deep supervision: every
state is matched and punished by itself. The presets are what DeOP's mask net and EBSeg are trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.training.losses.classes import no_object_cross_entropy
from ovseg_ros.training.losses.masks import mask_cross_entropy, mask_dice, mask_focal
from ovseg_ros.training.losses.points import Draw, read_points, uncertain_points, uniform
from ovseg_ros.training.matching import MaskState, MatchCost, Matching, Segments, at, match

Terms = dict[str, Tensor]  # weighted losses by name; those of earlier states end in "/0", "/1", ...


@dataclass(frozen=True)
class MaskLosses:
    """Weights and sampling.

    Attributes:
        classes: weights of the cross entropies, one for each set of class logits of a state; sets beyond
            them only match.
        mask: weight of the masks' cross entropy, or focal loss.
        dice: weight of dice.
        no_object: weight of a query without a segment inside the cross entropy.
        cost: the matching.
        points: where masks are compared: at so many points of each, mostly uncertain ones; 0 at every pixel of the
            truth, the prediction upsampled to it.
        oversample, importance: see `points.uncertain_points`.
        focal: focal loss instead of cross entropy.
    """

    classes: tuple[float, ...] = (2.0,)
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1
    cost: MatchCost = field(default_factory=MatchCost)
    points: int = 12_544
    oversample: float = 3.0
    importance: float = 0.75
    focal: bool = False


MASK2FORMER = MaskLosses()
MASKFORMER = MaskLosses(
    classes=(1.0,), mask=20.0, dice=1.0, cost=MatchCost(1.0, 20.0, 1.0, points=0, focal=True), points=0, focal=True
)
# DeOP's second stage: its released matcher leaves the class out, as the masks are to be of no class
DEOP = replace(MASKFORMER, cost=replace(MASKFORMER.cost, classes=0.0))
EBSEG = MaskLosses(classes=(1.5, 1.5))  # of the logits by A and by B


def criterion(
    states: Sequence[MaskState], truth: Sequence[Segments], losses: MaskLosses, draw: Draw | None = None
) -> tuple[Terms, list[Matching]]:
    """Mask and class losses of every state.

    Args:
        states: in the decoder's order, the last one being what is deployed.
        truth: the segments of each of the N images.
        losses: weights.
        draw: where random points come from, the last state's first; default torch's own generator.

    Returns:
        Weighted terms "mask", "dice", "class", for a second set of logits "class_1", and those of the earlier states
        with their number behind a slash; and the matching of every state, in the order of the states.

    Raises:
        ValueError: as `matching.match`, or a state has fewer sets of class logits than they have weights.
    """
    draw = draw or uniform(states[-1].masks.device)
    count = mean_count(truth, states[-1].masks.device)
    terms: Terms = {}
    pairs: dict[int, Matching] = {}
    last = len(states) - 1
    for number in (last, *range(last)):
        state, suffix = states[number], "" if number == last else f"/{number}"
        if len(state.classes) < len(losses.classes):
            raise ValueError(
                f"a state has {len(state.classes)} sets of class logits for {len(losses.classes)} weights; "
                "expected at least as many"
            )
        pairs[number] = match(state, truth, losses.cost, draw)
        own = mask_losses(state.masks, pairs[number], truth, count, losses, draw)
        for i, (logits, weight) in enumerate(zip(state.classes, losses.classes, strict=False)):
            labels = [segments.labels for segments in truth]
            loss = no_object_cross_entropy(logits, pairs[number], labels, losses.no_object)
            own[f"class_{i}" if i else "class"] = weight * loss
        terms |= {name + suffix: loss for name, loss in own.items()}
    return terms, [pairs[i] for i in range(last + 1)]


def mask_losses(
    masks: Tensor, pairs: Matching, truth: Sequence[Segments], count: Tensor, losses: MaskLosses, draw: Draw
) -> Terms:
    """Terms "mask" and "dice" of matched masks, summed and divided by `count`: masks (N, Q, h, w) logits."""
    chosen = masks[at(pairs, masks.device)].float()  # (m, h, w)
    owners = [targets.to(segments.masks.device) for segments, (_, targets) in zip(truth, pairs, strict=True)]
    true = [segments.masks[own].to(chosen) for segments, own in zip(truth, owners, strict=True)]  # (m_i, H, W)
    sizes = [len(own) for own in owners]
    if losses.points:
        places = uncertain_points(chosen, losses.points, losses.oversample, losses.importance, draw)
        predicted = [read_points(chosen, places)]
        parts = torch.split(places, sizes)
        labels = [torch.cat([read_points(own, part) for own, part in zip(true, parts, strict=True)])]
    else:  # an image at a time: their sizes may differ
        predicted = [_at_size(own, t) for own, t in zip(torch.split(chosen, sizes), true, strict=True)]
        labels = [t.flatten(1) for t in true]
    loss = mask_focal if losses.focal else mask_cross_entropy
    total = torch.stack([loss(p, t).sum() for p, t in zip(predicted, labels, strict=True)]).sum()
    dice = torch.stack([mask_dice(p, t).sum() for p, t in zip(predicted, labels, strict=True)]).sum()
    return {"mask": losses.mask * total / count, "dice": losses.dice * dice / count}


def mean_count(truth: Sequence[Segments], device: torch.device) -> Tensor:
    """Segments per process, at least 1: what sums over masks are divided by, so that processes weigh alike."""
    count = torch.tensor(float(sum(len(segments.labels) for segments in truth)), device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return count.clamp(min=1)


def total(terms: Terms) -> tuple[Tensor, Terms]:
    """The sum to go backward from, and scalars to log: each kind of term summed over the states.

    Raises:
        FloatingPointError: a term is NaN or infinite.
    """
    values = torch.stack([loss.float() for loss in terms.values()])
    if not bool(values.isfinite().all()):
        name, value = next((n, loss.item()) for n, loss in terms.items() if not loss.isfinite())
        raise FloatingPointError(
            f"the loss term {name} is {value}; lower the learning rate, clip gradients, or train in higher precision"
        )
    logged: Terms = {}
    for name, loss in terms.items():
        kind = name.split("/")[0]
        logged[kind] = logged.get(kind, torch.zeros_like(loss)) + loss.detach()
    return values.sum(), logged


def _at_size(masks: Tensor, true: Tensor) -> Tensor:
    """(m, h, w) logits, bilinear, at the size of (m, H, W): (m, H W)."""
    if not len(masks):
        # still part of the graph, so that every process has a gradient for the masks
        return masks.sum() + masks.new_zeros(0, true.shape[1] * true.shape[2])
    return F.interpolate(masks[:, None], size=true.shape[1:], mode="bilinear", align_corners=False).flatten(1)
