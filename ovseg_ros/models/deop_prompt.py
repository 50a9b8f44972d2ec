"""DeOP's learned prompt: sixteen vectors before a word in place of "a photo of a".

They are learned on crops of true regions (stage 1, as in SimBaseline, arXiv 2112.14757, after CoOp, arXiv 2109.01134)
and further with the anchors (stage 3); CLIP's text transformer stays frozen. Once learned, the words' embeddings are a
table like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.attention import BLOCKED, Context
from ovseg_ros.models.clip import PLAIN, Block
from ovseg_ros.models.clip_config import ClipVisionConfig

HEAD_WIDTH = 64  # of every CLIP text tower
TEXT_PREFIXES = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")


class PromptedText(nn.Module):
    """CLIP's text transformer behind learned context vectors; only these have gradients.

    Args:
        width: C, of the transformer.
        layers: its blocks.
        embed_dim: D.
        tokens: vocabulary of the table of token embeddings; 0 without a table, for embeddings that come from outside.
        context: context vectors.
        length: tokens of a prompt, padding included.
        quick_gelu: OpenAI's activation.
    """

    start: Tensor
    dot: Tensor
    end: Tensor
    pad: Tensor

    def __init__(
        self,
        width: int = 512,
        layers: int = 12,
        embed_dim: int = 512,
        tokens: int = 49408,
        context: int = 16,
        length: int = 77,
        quick_gelu: bool = True,
    ) -> None:
        super().__init__()
        self.length = length
        self.context = nn.Parameter(0.02 * torch.randn(context, width))
        for name in ("start", "dot", "end", "pad"):
            self.register_buffer(name, torch.zeros(1, width))
        self.token_embedding = nn.Embedding(tokens, width) if tokens else None
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(length, width))
        sizes = ClipVisionConfig(
            width=width, layers=layers, heads=max(1, width // HEAD_WIDTH), mlp=4 * width, quick_gelu=quick_gelu
        )
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(layers))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name == "context")

    @classmethod
    def from_clip(cls, state: Mapping[str, Tensor], context: int = 16, quick_gelu: bool = True) -> PromptedText:
        """The text tower of an OpenAI or open_clip state dict behind an untrained prompt.

        Raises:
            ModelError: the state holds no text tower of CLIP's own design.
        """
        ours = text_state(state)
        missing = {"positional_embedding", "text_projection", "token_embedding.weight"} - set(ours)
        if missing:
            raise ModelError(
                f"no CLIP text tower: {', '.join(sorted(missing))} not in the checkpoint; use an OpenAI one"
            )
        length, width = ours["positional_embedding"].shape
        layers = 1 + max(int(key.split(".")[1]) for key in ours if key.startswith("blocks."))
        table = ours["token_embedding.weight"]
        model = cls(width, layers, ours["text_projection"].shape[1], len(table), context, length, quick_gelu)
        model.load_state_dict(ours, strict=False)
        signals = {"start": len(table) - 2, "end": len(table) - 1, "dot": 269, "pad": 0}  # ids in CLIP's vocabulary
        for name, token in signals.items():
            getattr(model, name).copy_(table[token : token + 1].detach())
        return model

    def forward(self, names: Sequence[Sequence[int] | Tensor]) -> Tensor:
        """Embeddings of words.

        Args:
            names: K words, each the ids of its tokens, or their embeddings (tokens, C).

        Returns:
            (K, D) unit vectors.

        Raises:
            ValueError: a word is longer than the prompt has room for.
        """
        embedded, ends = self.assemble(names)
        return self.encode(embedded, ends)

    def assemble(self, names: Sequence[Sequence[int] | Tensor]) -> tuple[Tensor, Tensor]:
        """Prompts before positions are added, (K, length, C), and the place of each one's end token, (K,) int64."""
        rows, ends = [], []
        for name in names:
            word = self._word(name)
            prompt = torch.cat([self.start, self.context, word, self.dot, self.end])
            if len(prompt) > self.length:
                room = self.length - len(self.context) - 3
                raise ValueError(f"a word of {len(word)} tokens does not fit the prompt; expected at most {room}")
            ends.append(len(prompt) - 1)
            rows.append(torch.cat([prompt, self.pad.expand(self.length - len(prompt), -1)]))
        return torch.stack(rows), torch.tensor(ends, device=self.pad.device)

    def encode(self, embedded: Tensor, ends: Tensor) -> Tensor:
        """(K, length, C), (K,) -> (K, D) unit vectors."""
        used = int(ends.max()) + 1  # nothing looks at what comes after it
        x = embedded[:, :used] + self.positional_embedding[:used]
        later = torch.ones(used, used, device=x.device, dtype=x.dtype).triu(1) * BLOCKED
        context = Context((0, 0), bias=later)
        for block in self.blocks:
            x = block(x, context, PLAIN)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), ends])
        return F.normalize(x @ self.text_projection, dim=-1)

    def _word(self, name: Sequence[int] | Tensor) -> Tensor:
        if isinstance(name, Tensor) and name.is_floating_point():
            return name
        if self.token_embedding is None:
            raise ValueError("this text tower has no table of tokens: give the tokens' embeddings")
        ids = torch.as_tensor(name, device=self.pad.device)
        embedded: Tensor = self.token_embedding(ids)
        return embedded


def text_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text tower of CLIP's state dict under our names, other tensors left out."""
    found = {key: value for key, value in state.items() if key.startswith(TEXT_PREFIXES)}
    return {key.replace("transformer.resblocks.", "blocks."): value.float() for key, value in found.items()}
