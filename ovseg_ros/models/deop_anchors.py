"""DeOP's classification anchor learning: each proposal picks the patches that tell best what it is.

Han et al., arXiv 2304.01198, section 3.3. Queries, one for each proposal, look at CLIP's dense features. The last
layer has no value and no output projection: an embedding is a weighted mean of CLIP's own features inside the
proposal, the anchors being where the weight is. So it stays in the text space, however the queries are trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.mask2former.layers import MultiheadAttention, sine_positions, split_heads
from ovseg_ros.models.maskformer import DetrLayer

SHORTEST = 1e-10  # an anchor of nothing has length 0 and stays 0


class AnchorDecoder(nn.Module):
    """Queries and the layers they pass.

    Args:
        width: D, of CLIP's text space, a multiple of `heads` and of 4.
        queries: Q, one for each proposal.
        layers: DETR layers before the last one.
        heads, hidden, dropout: of these.
    """

    def __init__(
        self,
        width: int = 512,
        queries: int = 100,
        layers: int = 1,
        heads: int = 8,
        hidden: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % heads or width % 4:
            raise ValueError(f"anchors of width {width} need a multiple of 4 and of their {heads} heads")
        self.queries = nn.Embedding(queries, width)
        self.layers = nn.ModuleList(DetrLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.last = AnchorLayer(width, heads, dropout)

    def forward(self, features: Tensor, proposals: Tensor) -> Tensor:
        """Embeddings of the proposals.

        Args:
            features: (N, D, h, w) unit vectors, CLIP's.
            proposals: (N, Q, h, w) probabilities on the same grid.

        Returns:
            (N, Q, D) unit vectors; zeros for a proposal that is 0 everywhere.

        Raises:
            ValueError: for another number of proposals than queries: the two belong together one by one.
        """
        if proposals.shape[1] != self.queries.num_embeddings:
            raise ValueError(
                f"got {proposals.shape[1]} proposals for {self.queries.num_embeddings} anchor queries, which belong to "
                "them one by one: give as many, or use the classifier pooling"
            )
        grid = (features.shape[2], features.shape[3])
        memory = features.flatten(2).transpose(1, 2)  # (N, L, D)
        keys = memory + sine_positions(grid, memory.shape[2], memory)
        positions = self.queries.weight.expand(memory.shape[0], -1, -1)
        query = torch.zeros_like(positions)
        for layer in self.layers:
            query = layer(query, positions, keys, memory)
        anchors: Tensor = self.last(query, positions, keys, memory, proposals.flatten(2))
        return anchors


class AnchorLayer(nn.Module):
    """Self-attention, then weights of patches by queries and keys alone, times the proposal's mask."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.self_attn = MultiheadAttention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)

    def forward(self, query: Tensor, positions: Tensor, keys: Tensor, memory: Tensor, inside: Tensor) -> Tensor:
        """(N, Q, D), keys with positions and memory (N, L, D), inside (N, Q, L) -> (N, Q, D) unit vectors."""
        placed = query + positions
        query = self.norm1(query + self.dropout(self.self_attn(placed, placed, query)))
        q = split_heads(self.query(query + positions), self.heads)  # (N, heads, Q, d)
        k, v = split_heads(self.key(keys), self.heads), split_heads(memory, self.heads)
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(dim=-1)
        anchors = (weights * inside[:, None]) @ v  # the mask comes after the softmax, and nothing renormalises
        return F.normalize(anchors.transpose(1, 2).flatten(2), dim=-1, eps=SHORTEST)


def pooled(features: Tensor, proposals: Tensor) -> Tensor:
    """The plain alternative to anchors: unit means of features inside proposals.

    Args:
        features: (N, D, h, w).
        proposals: (N, Q, h, w) probabilities on the same grid.

    Returns:
        (N, Q, D) unit vectors; zeros for a proposal that is 0 everywhere.
    """
    means = proposals.flatten(2) @ features.flatten(2).transpose(1, 2)
    return F.normalize(means, dim=-1, eps=SHORTEST)
