"""Which classes an image may show: the correlation of its features with the words, and the few worth a closer look.

The cost of what follows grows with the classes it looks at. So CAT-Seg (arXiv 2303.11797, released code) and SED
(arXiv 2311.15537) keep those with the highest correlation anywhere in the image: time no longer grows with the
vocabulary. All others have a logit that never wins.

Shapes: N images, K classes of S synonyms, T <= K of them kept, D channels, h x w cells.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.models.read_out import pick

ABSENT = -100.0  # logit of a class that was not kept, as published
MUST = 4.0  # above any difference of cosines


class Shortlist(NamedTuple):
    """Mask logits of the classes that were kept.

    Attributes:
        logits: (N, T, h, w) float.
        classes: (N, T) int64 in 0..K-1, no class twice.
    """

    logits: Tensor
    classes: Tensor


class Correlation(NamedTuple):
    """What the features of each cell have in common with the classes that were kept.

    Attributes:
        cosines: (N, T, h, w) float in -1..1, of a class's best synonym there.
        words: (N, T, D) float, unit length: of each class the synonym that comes closest anywhere in the image.
        classes: (N, T) int64 in 0..K-1.
    """

    cosines: Tensor
    words: Tensor
    classes: Tensor


def correlate(features: Tensor, text: Tensor, budget: int, present: Tensor | None = None) -> Correlation:
    """Cosines of features and words, for the classes worth it.

    Synonyms that repeat, as they do to fill up `text`, change nothing. Under autocast all of it stays in float32: in
    half precision many cells of an image have the same cosine, and which is the highest would be chance.

    Args:
        features: (N, D, h, w) float, of any length.
        text: (K, S, D) float, of any length.
        budget: most classes that are kept, T = min(K, budget).
        present: (N, K) bool, classes to keep before all others, for training; or integers, of which higher ones are
            kept before lower ones. None for none.
    """
    k, s = text.shape[:2]
    n, _, h, w = features.shape
    rows = F.normalize(text, dim=-1).flatten(0, 1)  # (K S, D)
    with without_autocast(features.device.type):
        cosines = rows.float() @ F.normalize(features.float(), dim=1).flatten(2)  # (N, K S, h w)
    highest = cosines.amax(dim=2).reshape(n, k, s)
    urgency = highest.amax(dim=2)
    if present is not None:
        urgency = urgency + MUST * present.to(urgency)
    kept = torch.sym_min(k, budget)  # type: ignore[no-untyped-call]
    classes = urgency.topk(kept, dim=1).indices  # (N, T)
    best = cosines.reshape(n, k, s, h * w).amax(dim=2)
    synonym = pick(highest, classes).argmax(dim=2)  # (N, T)
    words = rows.index_select(0, (classes * s + synonym).reshape(-1)).reshape(n, -1, rows.shape[1])
    return Correlation(pick(best, classes).reshape(n, -1, h, w), words, classes)


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Autocast off where it is on; nothing elsewhere, as exported graphs cannot hold the switch."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def spread(shortlist: Shortlist, count: int) -> Tensor:
    """The logits of all classes, -100 for those that were not kept: -> (N, K, h, w)."""
    n, t, h, w = shortlist.logits.shape
    place = torch.arange(t, device=shortlist.classes.device).expand(n, t)
    row = torch.full((n, count), t, device=place.device).scatter(1, shortlist.classes, place)  # (N, K)
    absent = shortlist.logits.new_full((n, 1, h, w), ABSENT)
    return pick(torch.cat([shortlist.logits, absent], dim=1), row)
