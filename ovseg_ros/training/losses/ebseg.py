"""EBSeg's loss (arXiv 2406.09829): masks, the classes by A and by B on every state, and SSC on the last."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ovseg_ros.training.losses.criterion import EBSEG, MaskLosses, Terms, criterion
from ovseg_ros.training.losses.points import Draw
from ovseg_ros.training.losses.structure import structure_consistency
from ovseg_ros.training.matching import MaskState, Segments

SSC = 10.0  # its weight


def ebseg_terms(
    states: Sequence[MaskState],
    embeddings: Tensor,
    truth: Sequence[Segments],
    text: Tensor,
    losses: MaskLosses = EBSEG,
    ssc: float = SSC,
    draw: Draw | None = None,
    *,
    skip_empty: bool = False,
) -> Terms:
    """All terms of one step.

    Args:
        states: each with two sets of class logits, by A (which also decides the matching) and by B.
        embeddings: (N, Q, D) float, A of the last state, as long as it is.
        truth: the segments of each image.
        text: (K, D) float unit vectors of the classes.
        losses: weights of masks and classes.
        ssc: weight of SSC; 0 leaves it out.
        draw: see `criterion.criterion`.
        skip_empty: see `structure.structure_consistency`.

    Returns:
        Weighted terms, see `criterion.criterion`, and "ssc".
    """
    terms, pairs = criterion(states, truth, losses, draw)
    if ssc:
        labels = [segments.labels for segments in truth]
        terms["ssc"] = ssc * structure_consistency(embeddings, pairs[-1], labels, text, skip_empty=skip_empty)
    return terms
