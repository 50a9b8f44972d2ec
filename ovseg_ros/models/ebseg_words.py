"""Which words of a vocabulary EBSeg was trained on: its balance weighs them differently.

The published code compares names: a class counts as seen when one of its names is among the names of COCO-Stuff's
classes (328 of them). Here the model holds the embeddings of those names and compares embeddings, inside its graph.
One name has one embedding, whatever its case, so the answers are the same; and a vocabulary stays what it is for every
other model, a table of embeddings, which a person may replace between two frames.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

SAME = 0.99  # cosine from which two names are one; half precision keeps it within 0.001


class SeenWords(nn.Module):
    """Embeddings of the names that a model was trained on; none at first."""

    table: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(0, width))
        self.register_load_state_dict_pre_hook(_make_room)  # type: ignore[no-untyped-call]

    def remember(self, embeddings: Tensor) -> None:
        """Replace the names: (W, D) float unit vectors, by the text encoder and the prompts that words will come from.

        Raises:
            ValueError: another width, or not unit vectors.
        """
        width = self.table.shape[1]
        if embeddings.dim() != 2 or embeddings.shape[1] != width:
            raise ValueError(f"embeddings of seen words are {tuple(embeddings.shape)}; expected (W, {width})")
        if len(embeddings) and float((embeddings.norm(dim=1) - 1).abs().max()) > 1e-3:
            raise ValueError("embeddings of seen words are not of length 1: normalise them")
        self.table = embeddings.detach().clone().to(self.table)

    def forward(self, text: Tensor) -> Tensor:
        """1.0 for a class with a seen name, 0.0 for a new one: (K, S, D) unit vectors -> (K,) float."""
        if not len(self.table):
            return torch.zeros_like(text[:, 0, 0])
        cosines = text.flatten(0, 1) @ self.table.t()  # (K S, W)
        nearest = cosines.amax(dim=1).reshape(text.shape[0], text.shape[1]).amax(dim=1)
        return (nearest > SAME).to(text.dtype)


def _make_room(module: nn.Module, state: Mapping[str, Tensor], prefix: str, *_rest: object) -> None:
    """A checkpoint may hold any number of names."""
    words = state.get(f"{prefix}table")
    if isinstance(module, SeenWords) and words is not None and words.shape[1:] == module.table.shape[1:]:
        module.table = module.table.new_zeros(words.shape)
