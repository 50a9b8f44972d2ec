"""DeOP's words without torch: its learned prompt inside the graph of the text tower.

The graph takes the tokens of a word alone and puts the learned vectors before it and a full stop behind it, as
`deop_prompt.PromptedText` does. So words come without templates (the prompt set P0), and the embeddings are a table
like any other.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip_text import TextTower
from ovseg_ros.models.converting import checkpoint_tensors
from ovseg_ros.models.deop_weights import CLIP

LEARNER = "clip_adapter.prompt_learner."
CONTEXT = f"{LEARNER}prefix_prompt"
DOT = 269  # of CLIP's vocabulary
SIGNALS = {"start_signal": 49406, "dot_signal": DOT, "end_signal": 49407, "pad_signal": 0}
VECTORS = 16  # as published


class PromptedTower(TextTower):
    """CLIP's text transformer over [start][learned vectors][word][full stop][end].

    Args:
        model: an open_clip model; see `TextTower`.
        context: (n, w) the learned vectors.

    Raises:
        ModelError: a text tower of another design, or vectors of another width.
    """

    def __init__(self, model: nn.Module, context: Tensor) -> None:
        super().__init__(model)
        table = self.embedding.weight.detach()
        if context.dim() != 2 or context.shape[1] != table.shape[1]:
            raise ModelError(f"the learned prompt is {tuple(context.shape)}; expected (n, {table.shape[1]})")
        # the vectors are words of their own, past the vocabulary: nothing else of the transformer changes
        whole = torch.cat([table, context.detach().float()])
        self.embedding = nn.Embedding(len(whole), whole.shape[1], _weight=whole)
        self.register_buffer("prompt", torch.arange(len(table), len(table) + len(context)))
        self.context_length -= len(context) + 1

    prompt: Tensor

    def forward(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        """Encode n words that all begin with `prefix`.

        Args:
            prefix: (p,) int64, the start token and what words share.
            tokens: (n, L) int64, what follows it: the end token and zeros after it included.

        Returns:
            (n, D) float32 unit vectors.
        """
        end = tokens.argmax(dim=1, keepdim=True)  # the end token has the highest id
        place = torch.arange(tokens.shape[1] + 1)
        nothing = torch.zeros_like(end)
        behind = torch.where(place == end, DOT, torch.cat([nothing, tokens], dim=1))
        tokens = torch.where(place < end, torch.cat([tokens, nothing], dim=1), behind)
        return super().forward(torch.cat([prefix[:1], self.prompt, prefix[1:]]), tokens)


def text_tower(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The text encoder in a published checkpoint, under open_clip's names."""
    found = {key.removeprefix(CLIP): x for key, x in checkpoint_tensors(state).items() if key.startswith(CLIP)}
    return {key: x for key, x in found.items() if not key.startswith("visual.")}


def learned_context(state: Mapping[str, object], source: str = "the checkpoint") -> Tensor:
    """The learned vectors of a published checkpoint, (16, w).

    Raises:
        ModelError: it has none, or frames them with other tokens than its text tower's.
    """
    tensors = checkpoint_tensors(state)
    if CONTEXT not in tensors:
        raise ModelError(f"{source} has no learned prompt, {CONTEXT}: take DeOP's model of the third stage")
    table = tensors.get(f"{CLIP}token_embedding.weight")
    for name, token in SIGNALS.items():
        signal = tensors.get(LEARNER + name)
        if signal is None or table is None:
            continue
        if not torch.allclose(signal.float().reshape(-1), table[token].float(), atol=1e-3):
            raise ModelError(
                f"{source} has a {name} that is not token {token} of its text tower: take the checkpoint as it was "
                "published"
            )
    return tensors[CONTEXT]
