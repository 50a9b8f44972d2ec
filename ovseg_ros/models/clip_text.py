"""An open_clip text tower as a folder that `ovseg_ros.text.ClipTextEncoder` runs without torch.

Prompts of one template begin alike, and under causal attention what begins alike is computed alike. So the graph takes
the tokens that a batch of prompts shares apart from those that differ: the shared ones pass once, and every prompt's
own tokens attend to their keys and values. With fourteen templates this is 2 to 3 times less work, and exact.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_ros.errors import ModelError
from ovseg_ros.folders import written_whole
from ovseg_ros.hashing import file_hash
from ovseg_ros.models.clip_tokenizer import write_tokenizer
from ovseg_ros.models.export import finish, halve_weights, trace
from ovseg_ros.prompts import prompt_set
from ovseg_ros.text.base import MANIFEST_FILE, TOKENIZER_FILE
from ovseg_ros.text.clip import GRAPH_FILE

TOKENS = 49408  # in OpenAI's vocabulary, the one that `write_tokenizer` writes


class TextTower(nn.Module):
    """CLIP's text transformer over prompts with a common beginning, without padding.

    Args:
        model: an open_clip `CLIP` or `CustomTextCLIP`; its parameters are copied, as float32.

    Raises:
        ModelError: when its text tower is of another design.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        check_tower(model)
        tower: Any = getattr(model, "text", model)
        self.causal = tower.attn_mask is not None
        self.context_length = int(tower.context_length)
        self.embedding = copy.deepcopy(tower.token_embedding).float()
        self.positions = nn.Parameter(tower.positional_embedding.detach().float())  # (77, w)
        self.blocks = nn.ModuleList(_Block(block) for block in tower.transformer.resblocks)
        self.norm = copy.deepcopy(tower.ln_final).float()
        self.projection = _projection(tower.text_projection, self.embedding.embedding_dim)

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return int(self.projection.out_features)

    def forward(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        """Encode n prompts that all begin with `prefix`.

        Args:
            prefix: (p,) int64, at least the start token.
            tokens: (n, L) int64, what follows it: the end token and anything after it included.

        Returns:
            (n, D) float32 unit vectors.
        """
        if not self.causal:  # every token sees the whole prompt, so nothing can be shared
            tokens = torch.cat([prefix.expand(tokens.shape[0], -1), tokens], dim=1)
            prefix = prefix[:0]
        p = prefix.shape[0]  # len() would make it a constant of the graph
        x, shared = self._embed(tokens, p), self._embed(prefix[None], 0)  # (n, L, w), (1, p, w)
        place = torch.arange(p + tokens.shape[1])
        seen = place <= place[:, None] if self.causal else torch.ones_like(place <= place[:, None])
        *blocks, last = cast("list[_Block]", list(self.blocks))
        for block in blocks:
            x, shared = block(x, shared, seen)
        end = tokens.argmax(dim=1)  # (n,): the end token has the highest id
        x = last.at(end, x, shared, seen)  # (n, w)
        return F.normalize(self.projection(self.norm(x)), dim=-1)

    def _embed(self, tokens: Tensor, first: int) -> Tensor:
        embedded: Tensor = self.embedding(tokens) + self.positions[first + torch.arange(tokens.shape[1])]
        return embedded


class _Block(nn.Module):
    """A pre-norm transformer block: x + attention(ln_1 x), then x + mlp(ln_2 x)."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        super().__init__()
        block = copy.deepcopy(block).float()
        self.norm1, self.norm2, self.mlp = block.ln_1, block.ln_2, block.mlp
        self.scale1, self.scale2 = block.ls_1, block.ls_2  # layer scale, or nothing
        self.heads, self.out = int(block.attn.num_heads), block.attn.out_proj
        self.qkv = nn.Linear(block.attn.embed_dim, 3 * block.attn.embed_dim)
        self.qkv.weight, self.qkv.bias = block.attn.in_proj_weight, block.attn.in_proj_bias

    def forward(self, x: Tensor, shared: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """The prompts' own tokens x (n, L, w) and those they share (1, p, w); `seen` (p + L, p + L) is the mask."""
        p = shared.shape[1]
        q0, k0, v0 = self._project(shared)
        q, k, v = self._project(x)
        k, v = _prepend(k0, k), _prepend(v0, v)
        x = self._finish(x, F.scaled_dot_product_attention(q, k, v, seen[p:]))
        return x, self._finish(shared, F.scaled_dot_product_attention(q0, k0, v0, seen[:p, :p]))

    def at(self, end: Tensor, x: Tensor, shared: Tensor, seen: Tensor) -> Tensor:
        """The block at one token of each prompt, `end` (n,) int64: (n, w). The last block is needed nowhere else."""
        _, k0, v0 = self._project(shared)
        q, k, v = self._project(x)
        k, v = _prepend(k0, k), _prepend(v0, v)
        x = x.gather(1, end[:, None, None].expand(-1, 1, x.shape[2]))  # (n, 1, w)
        q = q.gather(2, end[:, None, None, None].expand(-1, q.shape[1], 1, q.shape[3]))  # (n, h, 1, e)
        seen = seen[shared.shape[1] + end][:, None, None]  # (n, 1, 1, p + L)
        return self._finish(x, F.scaled_dot_product_attention(q, k, v, seen))[:, 0]

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of (n, L, w), each (n, h, L, w / h)."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def _finish(self, x: Tensor, heads: Tensor) -> Tensor:
        """Add what attention gathered, (n, h, L, w / h), and the MLP to x (n, L, w)."""
        x = x + self.scale1(self.out(heads.transpose(1, 2).flatten(2)))
        added: Tensor = x + self.scale2(self.mlp(self.norm2(x)))
        return added


def _prepend(shared: Tensor, own: Tensor) -> Tensor:
    """(1, h, p, e) before each of (n, h, L, e)."""
    return torch.cat([shared.expand(own.shape[0], -1, -1, -1), own], dim=2)


def check_tower(model: nn.Module) -> None:
    """Refuse what `TextTower` would compute wrongly.

    Raises:
        ModelError: for towers of Hugging Face, SigLIP or CoCa, other tokenizers, pooling or blocks.
    """
    tower: Any = getattr(model, "text", model)
    if not isinstance(tower, (CLIP, TextTransformer)):
        raise ModelError(f"the text tower {type(tower).__name__} can't be exported; expected an open_clip CLIP's own")
    pool = tower.text_pool_type if isinstance(tower, CLIP) else tower.pool_type
    if tower.vocab_size != TOKENS:
        raise ModelError(f"the text tower has {tower.vocab_size} tokens; expected the {TOKENS} of CLIP's own tokenizer")
    if getattr(tower, "cls_emb", None) is not None:
        raise ModelError("the text tower appends a class token, as CoCa's does; expected one that reads its end token")
    if pool != "argmax":
        raise ModelError(f"the text tower pools {pool!r}; expected 'argmax', the end token")
    for block in tower.transformer.resblocks:
        if type(block) is not ResidualAttentionBlock:
            raise ModelError(f"the text tower has blocks {type(block).__name__}; expected ResidualAttentionBlock")


def export_text_tower(
    model: nn.Module, folder: str | Path, name: str, *, prompts: str = "P14", half: bool = True
) -> Path:
    """Write the folder that `ClipTextEncoder` reads: `text.onnx`, `tokenizer.json` and `manifest.json`.

    The graph's inputs are `prefix` (p,) and `tokens` (n, L), int64, p + L at most the context length; its output is
    `embeddings` (n, D) float32 unit vectors. See `TextTower.forward`.

    Args:
        model: an open_clip model, or a `TextTower`.
        folder: replaced whole, or left as it was where anything fails.
        name: of the model, for the manifest.
        prompts: the prompt set for vocabularies without templates of their own.
        half: store large weights as float16; OpenAI's lose nothing by it.

    Raises:
        ModelError: for a text tower of another design.
        VocabularyError: for an unknown prompt set.
    """
    prompt_set(prompts)
    folder = Path(folder)
    tower = (model if isinstance(model, TextTower) else TextTower(model)).eval()
    with written_whole(folder) as scratch:
        (scratch / GRAPH_FILE).write_bytes(_graph(tower, half).SerializeToString())
        write_tokenizer(scratch / TOKENIZER_FILE)
        files = {file: file_hash(scratch / file) for file in (GRAPH_FILE, TOKENIZER_FILE)}
        manifest = {
            "kind": "clip",
            "name": name,
            "identity": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(),
            "width": tower.width,
            "context_length": tower.context_length,
            "causal": tower.causal,
            "prompts": prompts,
            "files": files,
        }
        (scratch / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return folder


def _graph(tower: TextTower, half: bool) -> onnx.ModelProto:
    dim = torch.export.Dim
    # sizes that differ from one another and from 1, so that the tracer keeps every axis dynamic
    prefix, tokens = torch.tensor([TOKENS - 2, 1, 2]), torch.full((5, 7), TOKENS - 1)
    shapes = {"prefix": {0: dim("shared", min=1)}, "tokens": {0: dim("prompts"), 1: dim("length")}}
    proto: onnx.ModelProto = trace(tower, (prefix, tokens), ["prefix", "tokens"], ["embeddings"], shapes).model_proto
    if half:
        halve_weights(proto)
    finish(proto)
    return proto


def _projection(weight: nn.Linear | Tensor | None, width: int) -> nn.Linear:
    """open_clip's text projection, which is a layer, a (w, D) matrix or nothing, as a layer."""
    if isinstance(weight, nn.Linear):
        return copy.deepcopy(weight).float()
    matrix = torch.eye(width) if weight is None else weight.detach().float()
    layer = nn.Linear(matrix.shape[0], matrix.shape[1], bias=False)
    layer.weight = nn.Parameter(matrix.T.contiguous())
    return layer
