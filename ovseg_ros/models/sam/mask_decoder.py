"""SAM's mask decoder: prompt tokens and the image embedding in, masks and how good each may be out.

Kirillov et al., arXiv 2304.02643, appendix A.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ovseg_ros.models.mask2former.layers import Mlp
from ovseg_ros.models.sam.config import SamDecoderConfig
from ovseg_ros.models.sam.layers import MapNorm
from ovseg_ros.models.sam.two_way import TwoWayTransformer


class MaskDecoder(nn.Module):
    """Two-way transformer, upscaling, and one small network a mask.

    Args:
        config: sizes.
    """

    def __init__(self, config: SamDecoderConfig) -> None:
        super().__init__()
        c = config.width
        count = config.masks + 1
        self.transformer = TwoWayTransformer(config)
        self.iou_token = nn.Embedding(1, c)
        self.mask_tokens = nn.Embedding(count, c)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(c, c // 4, 2, 2),
            MapNorm(c // 4),
            nn.GELU(),
            nn.ConvTranspose2d(c // 4, c // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(c, c, c, c // 8) for _ in range(count))
        hidden = [config.iou_hidden] * (config.iou_depth - 1)
        self.iou_prediction_head = Mlp(c, *hidden, count)

    def forward(
        self, image: Tensor, image_positions: Tensor, sparse: Tensor, dense: Tensor, several: bool
    ) -> tuple[Tensor, Tensor]:
        """Decode the masks of B prompts on one image.

        Args:
            image: (1, C, h, w), the image embedding.
            image_positions: (1, C, h, w), of the prompt encoder.
            sparse: (B, T, C) prompt tokens.
            dense: (B, C, h, w), added to the image.
            several: give the masks for an ambiguous prompt; otherwise the one for an unambiguous prompt.

        Returns:
            mask logits (B, M, 4 h, 4 w) and predicted IoU (B, M), M masks each.
        """
        b = sparse.shape[0]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])  # (1 + count, C)
        tokens = torch.cat([own.expand(b, *own.shape), sparse], dim=1)
        cells = image + dense  # (B, C, h, w)
        tokens, flat = self.transformer(cells, image_positions.expand_as(cells), tokens)
        up = self.output_upscaling(flat.transpose(1, 2).reshape(cells.shape))  # (B, C / 8, 4 h, 4 w)
        chosen = range(1, len(self.output_hypernetworks_mlps)) if several else range(1)
        weights = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in chosen], dim=1)
        masks = (weights @ up.flatten(2)).unflatten(2, up.shape[2:])  # (B, M, 4 h, 4 w)
        quality = self.iou_prediction_head(tokens[:, 0])
        return masks, quality[:, 1:] if several else quality[:, :1]
