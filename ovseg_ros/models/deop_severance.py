"""DeOP's patch severance: in CLIP's last block a patch stops borrowing from patches of other things.

Han et al., arXiv 2304.01198, section 3.2. A ViT trained on whole images mixes everything into everything by its last
block; cut there, its patches describe what they themselves show. How proposals say which patches belong together:

- "none": CLIP's own attention, nothing severed, for comparison;
- "generalised": every patch keeps its own value;
- "weighted": its own value times the number of proposals that it lies in, sum over n of sigmoid(M_n). It is what the
  published weights were trained with;
- "mask-guided": patches mix by softmax over k of m_l . m_k, m being their memberships in the proposals.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.models.attention import QK, Diagonal, Given, Identity, Policy

Severance = Literal["none", "generalised", "weighted", "mask-guided"]

POLICIES: dict[str, Policy] = {
    "none": QK,
    "generalised": Identity(),
    "weighted": Diagonal(),
    "mask-guided": Given(),
}


def policy_of(severance: str) -> Policy:
    """The last block's attention policy.

    Raises:
        ValueError: for an unknown severance.
    """
    if severance not in POLICIES:
        raise ValueError(f"severance is {severance!r}; expected one of {', '.join(get_args(Severance))}")
    return POLICIES[severance]


def severance_weights(severance: str, masks: Tensor, grid: tuple[int, int]) -> Tensor | None:
    """What the policy mixes with.

    Args:
        severance: as above.
        masks: (N, Q, h, w) mask logits.
        grid: the trunk's patches; logits are reduced to it before the sigmoid.

    Returns:
        (N, 1 + L) for "weighted", (N, 1 + L, 1 + L) for "mask-guided", the CLS token first, which is a member of
        every proposal; None for the others.
    """
    if severance not in ("weighted", "mask-guided"):
        return None
    inside = F.interpolate(masks, size=grid, mode="bilinear", align_corners=False).sigmoid().flatten(2)  # (N, Q, L)
    member = torch.cat([torch.ones_like(inside[:, :, :1]), inside], dim=2)
    if severance == "weighted":
        return member.sum(dim=1)
    return (member.transpose(1, 2) @ member).softmax(dim=-1)
