"""EBSeg's decoders: Mask2Former's, fed with SAM's maps, and what "AdaB" adds to a state (section 3.2).

Shapes: N images, Q queries, C channels, H heads of CLIP, h x w the mask features at stride 4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.ebseg_config import EbsegConfig
from ovseg_ros.models.ebseg_pooling import max_pool, pool_inside
from ovseg_ros.models.mask2former.layers import ConvNorm, Mlp
from ovseg_ros.models.mask2former.pixel_decoder import GROUPS, PixelDecoder
from ovseg_ros.models.mask2former.transformer_decoder import DecoderConfig, MaskedDecoder

LONGEST = 10.0  # of A, a learned length
TO_STRIDE_4 = 4.0  # from SAM's grid


class AdabDecoder(MaskedDecoder):
    """A decoder whose states also give embedding A and the attention biases that make B; names as published.

    Args:
        config: of the decoder.
        embed_dim: D, of the text space.
        clip_heads: H, a map of biases each.
    """

    def __init__(self, config: DecoderConfig, embed_dim: int, clip_heads: int) -> None:
        super().__init__(config)
        c, m = config.width, config.mask_width
        self.pool_proj = nn.Sequential(nn.LayerNorm(m), nn.Linear(m, c))
        self.mask_embed1 = Mlp(c, c, c, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))  # the length of A
        self.attn_proj = Mlp(m, m, m, m * clip_heads)
        self.bias_scaling = nn.Linear(1, 1)
        self.clip_heads = clip_heads

    def embedding(self, queries: Tensor, masks: Tensor, mask_features: Tensor) -> Tensor:
        """A, trained on the classes of the data set.

        Args:
            queries: (N, Q, C), normed.
            masks: (N, Q, h, w) logits.
            mask_features: (N, C, h, w).

        Returns:
            (N, Q, D), of one length, learned and at most 10. Of an empty mask it is the query's alone.
        """
        pooled = self.pool_proj(pool_inside(masks, mask_features))
        unit = F.normalize(self.mask_embed1(pooled + queries), dim=-1)
        return self.logit_scale.clamp(max=LONGEST) * unit

    def biases(self, mask_embeddings: Tensor, mask_features: Tensor, grid: tuple[int, int]) -> Tensor:
        """Where each query should look, for every head of CLIP.

        By the paper, an MLP maps the mask features (N, C, h, w) to G (N, H * C, h, w), and a query's bias is its
        product with G. The MLP's last layer is linear, G_h = W_h z + c_h, so <m, G_h> = <W_h^T m, z> + <m, c_h>: the
        queries are projected instead of the pixels, for a hundredth of the work and the memory.

        Args:
            mask_embeddings: (N, Q, C), what is multiplied with the mask features for masks.
            mask_features: (N, C, h, w).
            grid: CLIP's.

        Returns:
            (N, H, Q, grid cells): the largest bias that each cell covers.
        """
        maps = self.bias_maps(mask_embeddings, mask_features)
        n, heads, q = maps.shape[:3]
        return max_pool(maps.flatten(1, 2), grid).reshape(n, heads, q, grid[0] * grid[1])

    def bias_maps(self, mask_embeddings: Tensor, mask_features: Tensor) -> Tensor:
        """The biases before pooling: (N, Q, C), (N, C, h, w) -> (N, H, Q, h, w)."""
        n, q, c = mask_embeddings.shape
        h, w = mask_features.shape[2:]
        *hidden, last = self.attn_proj.layers
        z = mask_features.flatten(2).transpose(1, 2)  # (N, h w, C)
        for layer in hidden:
            z = F.relu(layer(z))
        weight: Tensor = last.weight.reshape(self.clip_heads, c, c)  # type: ignore[operator, assignment]
        offset: Tensor = last.bias.reshape(self.clip_heads, c)  # type: ignore[operator, assignment]
        scale, shift = self.bias_scaling.weight[0, 0], self.bias_scaling.bias[0]
        projected = (mask_embeddings[:, None] @ weight) * scale  # (N, H, Q, C)
        constant = (mask_embeddings @ offset.t()).transpose(1, 2) * scale + shift  # (N, H, Q)
        maps = projected.flatten(1, 2) @ z.transpose(1, 2) + constant.flatten(1)[..., None]
        return maps.reshape(n, self.clip_heads, q, h, w)


class LateUpsampling(ConvNorm):
    """A 1x1 convolution that enlarges its result instead of its input, then the norm.

    Both orders give the same numbers, as the convolution has no bias and interpolation mixes places, not channels;
    this one takes a sixteenth of the multiplications.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', 4 h, 4 w)."""
        x = F.conv2d(x, self.weight)
        x = F.interpolate(x, scale_factor=TO_STRIDE_4, mode="bilinear", align_corners=False)
        assert self.norm is not None
        y: Tensor = self.norm(x)
        return y


def pixel_decoder(config: EbsegConfig) -> PixelDecoder:
    """Mask2Former's, but res2 enters at SAM's stride and is enlarged inside."""
    c = config.sam.width
    decoder = PixelDecoder(config.pixel_decoder((c, c, c, c)))
    decoder.adapter_1 = LateUpsampling(c, config.width, 1, norm=nn.GroupNorm(GROUPS, config.width))
    return decoder


def adab_decoder(config: EbsegConfig) -> AdabDecoder:
    """The decoder of a config."""
    return AdabDecoder(config.decoder(), config.clip.embed_dim, config.clip.heads)
