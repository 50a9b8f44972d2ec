"""The CLIP vision transformer as a dense encoder: an image in, text-aligned features of every patch out.

One trunk takes the weights of any open_clip ViT (`clip_weights.py`). What the segmentation methods change about CLIP
is data: a `BlockRule` for each block that differs (attention policy, residual, FFN), extra position tables, and taps.
CLIP: Radford et al., arXiv 2103.00020, section 2.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ovseg_ros.models.attention import QK, Attention, Context, Policy
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.positions import PositionTable, Resize


@dataclass(frozen=True)
class BlockRule:
    """What one block does; the default is CLIP's own.

    Attributes:
        attention: which tokens mix.
        residual: factor of the input added to the attention's output; 0 drops it (ClearCLIP, NACLIP).
        from_cls: add the input's CLS row to every token instead of the token's own (CAT-Seg, arXiv 2303.11797).
        ffn: whether the MLP and its residual follow.
    """

    attention: Policy = QK
    residual: float = 1.0
    from_cls: bool = False
    ffn: bool = True


PLAIN = BlockRule()


class VisionTransformer(nn.Module):
    """CLIP's ViT trunk.

    Args:
        config: sizes; `ClipVisionConfig.from_open_clip(name)`.
        rules: block index (0-based, negative from the end) -> rule, for the blocks that differ from CLIP's own.
        resize: how position tables meet other grids, see `PositionTable`.
        extra_positions: (side of the grid, block indices) of learned tables, all zero at first, added to the tokens
            at the input and before each of those blocks (DeOP, arXiv 2304.01198: (24, (1, 2, 3, 4, 5))).
    """

    def __init__(
        self,
        config: ClipVisionConfig,
        rules: Mapping[int, BlockRule] | None = None,
        resize: Resize = "size",
        extra_positions: tuple[int, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        c, scale = config.width, config.width**-0.5
        self.conv1 = nn.Conv2d(3, c, config.patch, config.patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(c))
        self.positions = PositionTable(config.image_size // config.patch, c, scale, resize)
        self.ln_pre = nn.LayerNorm(c)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.ln_post = nn.LayerNorm(c)
        self.proj = nn.Parameter(scale * torch.randn(c, config.embed_dim))
        self.extra_positions = nn.ModuleDict()
        if extra_positions:
            side, at = extra_positions
            for name in ("input", *map(str, at)):
                self.extra_positions[name] = PositionTable(side, c, 0.0, resize)
        self.rules = [PLAIN] * config.layers
        self.stride, self.pixel_mean, self.pixel_std = config.patch, config.mean, config.std
        for index, rule in (rules or {}).items():
            if not -config.layers <= index < config.layers:
                raise ValueError(f"a rule is for block {index}; expected {-config.layers} to {config.layers - 1}")
            self.rules[index] = rule

    def forward(self, image: Tensor, weights: Tensor | None = None) -> Tensor:
        """Dense features.

        Args:
            image: (N, 3, H, W) float, normalised by the config's mean and std; H and W multiples of the patch.
            weights: float, for a rule whose policy takes them (`Diagonal`, `Given`).

        Returns:
            (N, D, H / patch, W / patch) float, in the space of the text embeddings, not L2-normalised.

        Raises:
            ValueError: H or W is no multiple of the patch, or weights are missing.
        """
        return self.features(image, (), weights)[0]

    def features(
        self, image: Tensor, taps: Iterable[int], weights: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Dense features as `forward`, and the tokens (N, 1 + h * w, C) after `taps` blocks each (0: before them)."""
        taps = tuple(taps)
        if not set(taps) <= set(range(self.config.layers + 1)):
            raise ValueError(f"taps are {taps}; expected counts of blocks from 0 to {self.config.layers}")
        x, grid = self.embed(image)
        context = Context(grid, weights=weights)
        tapped = {0: x}
        for i in range(self.config.layers):
            x = self.step(i, x, context)
            if i + 1 in taps:
                tapped[i + 1] = x
        return to_map(self.project(x), grid), [tapped[i] for i in taps]

    def image_features(self, image: Tensor) -> Tensor:
        """CLIP's embedding of the whole image by its CLS token, whatever the rules: (N, 3, H, W) -> (N, D)."""
        x, grid = self.embed(image)
        for i in range(self.config.layers):
            x = self.step(i, x, Context(grid), PLAIN)
        return self.project(x[:, 0])

    def embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The tokens that enter the first block, (N, 1 + h * w, C), CLS first, and the grid (h, w)."""
        height, width, patch = image.shape[2], image.shape[3], self.config.patch
        if height % patch or width % patch:
            raise ValueError(
                f"the image is {height} x {width} pixels (height x width); both must be multiples of the patch, "
                f"{patch}: resize it, for instance to {_multiple(height, patch)} x {_multiple(width, patch)}"
            )
        grid = (height // patch, width // patch)
        patches = self.conv1(image).flatten(2).transpose(1, 2)  # (N, h w, C)
        cls = self.class_embedding.expand(patches.shape[0], 1, -1)
        x = torch.cat([cls, patches], dim=1) + self.positions(grid)
        if "input" in self.extra_positions:
            x = x + self.extra_positions["input"](grid)
        return self.ln_pre(x), grid

    def step(self, index: int, x: Tensor, context: Context, rule: BlockRule | None = None) -> Tensor:
        """Block `index` on the tokens (N, L, C), by its own rule unless another is given.

        Later systems that prepend queries, carry a second stream or stop half-way call this block by block.
        """
        if str(index) in self.extra_positions:
            x = x + self.extra_positions[str(index)](context.grid)
        y: Tensor = self.blocks[index](x, context, rule or self.rules[index])
        return y

    def attention(self, index: int) -> Attention:
        """The attention layer of block `index`."""
        attn: Attention = self.blocks[index].attn  # type: ignore[assignment]
        return attn

    def normed(self, index: int, x: Tensor) -> Tensor:
        """What the attention of block `index` sees of the tokens: ln_1(x)."""
        y: Tensor = self.blocks[index].ln_1(x)  # type: ignore[operator]
        return y

    def project(self, x: Tensor) -> Tensor:
        """Tokens into the text space: (..., C) -> (..., D)."""
        y: Tensor = self.ln_post(x) @ self.proj
        return y

    def bake(self, grid: tuple[int, int]) -> None:
        """Resize the position tables once for (h, w): what is exported afterwards serves that grid alone."""
        for module in self.modules():
            if isinstance(module, PositionTable):
                module.bake(grid)


class Block(nn.Module):
    """One residual block: attention, then MLP."""

    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        c = config.width
        self.ln_1 = nn.LayerNorm(c)
        self.attn = Attention(c, config.heads)
        self.ls_1 = LayerScale(c) if config.layer_scale else nn.Identity()
        self.ln_2 = nn.LayerNorm(c)
        self.mlp = Mlp(c, config.mlp, config.quick_gelu)
        self.ls_2 = LayerScale(c) if config.layer_scale else nn.Identity()
        # CLIP's initialisation (its released code), so that untrained trunks stay in range at any depth
        nn.init.normal_(self.attn.in_proj_weight, std=c**-0.5)
        nn.init.normal_(self.attn.out_proj.weight, std=(2 * c * config.layers) ** -0.5)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * c) ** -0.5)
        nn.init.normal_(self.mlp.c_proj.weight, std=(2 * c * config.layers) ** -0.5)

    def forward(self, x: Tensor, context: Context, rule: BlockRule) -> Tensor:
        """(N, L, C) -> (N, L, C)."""
        y = self.ls_1(self.attn(self.ln_1(x), rule.attention, context))
        if rule.residual:
            cls = x.shape[1] - context.grid[0] * context.grid[1] - 1
            kept = x[:, cls : cls + 1] if rule.from_cls else x
            y = y + (kept if rule.residual == 1 else kept * rule.residual)
        out: Tensor = y + self.ls_2(self.mlp(self.ln_2(y))) if rule.ffn else y
        return out


class Mlp(nn.Module):
    """Two linear layers around GELU, or around x * sigmoid(1.702 x) as OpenAI's and DFN's weights want."""

    def __init__(self, width: int, hidden: int, quick: bool) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)
        self.quick = quick

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, C) -> (N, L, C)."""
        x = self.c_fc(x)
        x = x * torch.sigmoid(1.702 * x) if self.quick else nn.functional.gelu(x)
        y: Tensor = self.c_proj(x)
        return y


class LayerScale(nn.Module):
    """A learned factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, C) -> (N, L, C)."""
        return x * self.gamma


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """The patches among the tokens as a map: (N, L, C) -> (N, C, h, w)."""
    h, w = grid
    patches = tokens[:, tokens.shape[1] - h * w :]
    return patches.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], h, w)


def _multiple(size: int, patch: int) -> int:
    """The multiple of the patch closest to a size, at least one patch."""
    return max(1, round(size / patch)) * patch
