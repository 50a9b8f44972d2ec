"""What a token of a CLIP block attends to: the attention policies, as data, and the layer that carries them out.

Every one-pass method built on CLIP keeps the weights and changes which tokens mix in the last blocks. A policy says
how; the layer projects only what the policy uses, so that identity attention costs no queries and no keys.

Shapes: N images, H heads, L tokens (queries of a later system first, then CLS, then the patches row by row),
d channels a head, C = H * d.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Heads = dict[str, Tensor]  # "q", "k", "v", those that the policy uses, each (N, H, L, d)

BLOCKED = -100.0  # added to a logit to forbid it: exp(-100) is 0 in sums of float32, and finite in float16


@dataclass(frozen=True)
class Context:
    """What a block knows beside its tokens.

    Attributes:
        grid: (h, w), the patches; all tokens before the last h * w are no patches.
        bias: float, broadcastable to (N, H, L, L), added to the logits of every softmax.
        weights: float, what `Diagonal` (N, L) or `Given` (N, L, L) or (N, H, L, L) mixes with.
    """

    grid: tuple[int, int]
    bias: Tensor | None = None
    weights: Tensor | None = None


class Policy(ABC):
    """How the values of the tokens are mixed; subclasses are frozen dataclasses."""

    @property
    @abstractmethod
    def uses(self) -> str:
        """The projections that `mix` reads, a substring choice of "qkv" in that order."""

    @abstractmethod
    def mix(self, heads: Heads, context: Context) -> Tensor:
        """The mixed values, (N, H, L, d)."""


@dataclass(frozen=True)
class Softmax(Policy):
    """sum over the pairs (a, b) of softmax(a b^T / sqrt(d) + window + bias), times v.

    Attributes:
        pairs: which projections meet, for instance ("qk",), or ("qq", "kk") for SCLIP's sum (arXiv 2312.01597).
        window: standard deviation, in patches, of a Gaussian of peak 1 added to the logits between patches, rows and
            columns of the other tokens 0 (NACLIP, arXiv 2404.08181); 0 for none.
    """

    pairs: tuple[str, ...] = ("qk",)
    window: float = 0.0

    @property
    def uses(self) -> str:
        """Every letter of the pairs, and v."""
        return "".join(letter for letter in "qkv" if letter in "".join(self.pairs) + "v")

    def mix(self, heads: Heads, context: Context) -> Tensor:
        """One fused attention a pair."""
        v = heads["v"]
        bias = context.bias
        if self.window:
            window = gaussian_window(context.grid, self.window, v.shape[2], v)
            bias = window if bias is None else bias + window
        mixed = [
            F.scaled_dot_product_attention(heads[pair[0]], heads[pair[1]], v, attn_mask=bias) for pair in self.pairs
        ]
        return mixed[0] if len(mixed) == 1 else torch.stack(mixed).sum(dim=0)


@dataclass(frozen=True)
class Neighbourhood(Policy):
    """softmax(m * window) v, no similarity at all: NACLIP's "neighbourhood only" ablation (arXiv 2404.08181).

    m is the mean of |q_i| |k_j| / sqrt(d) over heads and pairs of tokens, here of each image by itself (the official
    code, which takes one image at a time, over the batch).

    Attributes:
        window: standard deviation of the Gaussian in patches.
    """

    window: float = 5.0

    @property
    def uses(self) -> str:
        """All three: q and k for their lengths only."""
        return "qkv"

    def mix(self, heads: Heads, context: Context) -> Tensor:
        """The same Gaussian mixture for every head."""
        v = heads["v"]
        lengths = heads["q"].norm(dim=-1).mean(dim=-1) * heads["k"].norm(dim=-1).mean(dim=-1)  # (N, H)
        magnitude = lengths.mean(dim=1)[:, None, None] * v.shape[-1] ** -0.5
        logits = magnitude * gaussian_window(context.grid, self.window, v.shape[2], v)  # (N, L, L)
        mixed: Tensor = logits.softmax(dim=-1)[:, None] @ v
        return mixed


@dataclass(frozen=True)
class Identity(Policy):
    """Every token keeps its own value: MaskCLIP (arXiv 2112.01071), DeOP's patch severance, CAT-Seg."""

    @property
    def uses(self) -> str:
        """Values only."""
        return "v"

    def mix(self, heads: Heads, context: Context) -> Tensor:
        """The values as they are."""
        return heads["v"]


@dataclass(frozen=True)
class Diagonal(Policy):
    """Every token keeps its own value times `Context.weights` (N, L): DeOP's weighted severance (arXiv 2304.01198)."""

    @property
    def uses(self) -> str:
        """Values only."""
        return "v"

    def mix(self, heads: Heads, context: Context) -> Tensor:
        """diag(weights) v."""
        return heads["v"] * _weights(context, "Diagonal", "(N, L)")[:, None, :, None]


@dataclass(frozen=True)
class Given(Policy):
    """The attention matrix is computed elsewhere: `Context.weights` (N, L, L) or (N, H, L, L), times v."""

    @property
    def uses(self) -> str:
        """Values only."""
        return "v"

    def mix(self, heads: Heads, context: Context) -> Tensor:
        """weights v."""
        weights = _weights(context, "Given", "(N, L, L) or (N, H, L, L)")
        return (weights if weights.dim() == 4 else weights[:, None]) @ heads["v"]


QK = Softmax(("qk",))
QQ = Softmax(("qq",))
KK = Softmax(("kk",))
VV = Softmax(("vv",))
QQ_KK = Softmax(("qq", "kk"))
KK_WINDOW = Softmax(("kk",), window=5.0)


class Attention(nn.Module):
    """Multi-head attention with CLIP's weights and any policy.

    Args:
        width: C.
        heads: H, a divisor of C.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # rows of q, k, v
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, policy: Policy, context: Context) -> Tensor:
        """(N, L, C) -> (N, L, C)."""
        return self.merge(policy.mix(self.project(x, policy.uses), context))

    def project(self, x: Tensor, uses: str = "qkv") -> Heads:
        """The projections named by `uses`, by name, each (N, H, L, d)."""
        n, length, width = x.shape
        weight: Tensor = self.in_proj_weight
        bias: Tensor = self.in_proj_bias
        if uses != "qkv":
            parts = [slice("qkv".index(letter) * width, ("qkv".index(letter) + 1) * width) for letter in uses]
            weight = torch.cat([weight[part] for part in parts])
            bias = torch.cat([bias[part] for part in parts])
        y = F.linear(x, weight, bias).reshape(n, length, len(uses), self.heads, width // self.heads)
        return dict(zip(uses, y.permute(2, 0, 3, 1, 4).unbind(0), strict=True))

    def merge(self, mixed: Tensor) -> Tensor:
        """Heads side by side through the output projection: (N, H, L, d) -> (N, L, C)."""
        y: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return y


def attention_matrix(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(a b^T / sqrt(d) + bias), where the matrix itself is wanted: (N, H, L, d) twice -> (N, H, L, L)."""
    logits: Tensor = (a * a.shape[-1] ** -0.5) @ b.transpose(-1, -2)
    return (logits if bias is None else logits + bias).softmax(dim=-1)


def gaussian_window(grid: tuple[int, int], std: float, length: int, like: Tensor) -> Tensor:
    """exp(-distance^2 / (2 std^2)) between the patches of a grid, 0 for the tokens before them.

    Args:
        grid: (h, w).
        std: in patches.
        length: L >= h * w, tokens in all.
        like: whose dtype and device the result takes.

    Returns:
        (L, L), the same for every head and image.
    """
    rows, columns = _gaussian(grid[0], std, like), _gaussian(grid[1], std, like)
    patches = grid[0] * grid[1]
    window = (rows[:, None, :, None] * columns[None, :, None, :]).reshape(patches, patches)
    before = length - patches
    return F.pad(window, (before, 0, before, 0))


def query_bias(bias: Tensor) -> Tensor:
    """The bias matrix of queries put before CLS and patches (SAN, arXiv 2302.12242; EBSeg, arXiv 2406.09829).

    A query sees the patches, each with the bias predicted for it, and itself; nobody else sees a query, and a query
    does not see CLS. So CLS and patches come out as they would without queries.

    Args:
        bias: (N, H, Q, h * w) float, of Q queries.

    Returns:
        (N, H, Q + 1 + h * w, Q + 1 + h * w) to add to the logits.
    """
    q = bias.shape[2]
    own = (1 - torch.eye(q, dtype=bias.dtype, device=bias.device)) * BLOCKED  # (Q, Q)
    own = own.expand(*bias.shape[:2], q, q)
    cls = torch.full_like(bias[..., :1], BLOCKED)
    top = torch.cat([own, cls, bias], dim=-1)
    return torch.cat([top, _others(bias, q)], dim=2)


def _others(bias: Tensor, q: int) -> Tensor:
    """Rows of CLS and patches: queries blocked, all else free, (N, H, 1 + L, Q + 1 + L)."""
    n, h, _, patches = bias.shape
    blocked = bias.new_full((n, h, 1 + patches, q), BLOCKED)
    return torch.cat([blocked, bias.new_zeros((n, h, 1 + patches, 1 + patches))], dim=-1)


def _gaussian(size: int, std: float, like: Tensor) -> Tensor:
    """One axis of the window, (size, size)."""
    place = torch.arange(size, dtype=like.dtype, device=like.device)
    return torch.exp((place[:, None] - place[None, :]).square() * (-0.5 / std**2))


def _weights(context: Context, policy: str, shape: str) -> Tensor:
    """`context.weights`, which the policy cannot do without."""
    if context.weights is None:
        raise ValueError(f"the attention policy {policy} got weights None: pass weights of shape {shape}")
    return context.weights


def narrow_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v with few channels a head: (B, H, Lq, d), (B, H, L, d) twice -> (B, H, Lq, d).

    Under a CPU's autocast it stays in float32, whose gradient is two to eight times as fast as bfloat16's there.
    """
    if q.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(
                q.float(), k.float(), v.float(), attn_mask=None if bias is None else bias.float()
            )
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
