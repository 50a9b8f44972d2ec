"""SAM's prompt encoder: points, boxes and masks as embeddings of the mask decoder's width.

Kirillov et al., arXiv 2304.02643, appendix A. All choices are by arithmetic, not by indexing with conditions, so that
prompts may come from inside an exported graph.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from ovseg_ros.models.sam.config import SamDecoderConfig
from ovseg_ros.models.sam.layers import MapNorm

PADDING, NEGATIVE, POSITIVE = -1, 0, 1  # labels of points
CORNERS = (2, 3)  # indices of the embeddings of a box's corners


class PromptEncoder(nn.Module):
    """Prompts as tokens (sparse) and as a map (dense).

    Args:
        config: sizes.
        grid: (h, w) of the image embedding that dense prompts are added to.
        image_size: (height, width) in pixels that coordinates refer to.
    """

    def __init__(self, config: SamDecoderConfig, grid: tuple[int, int], image_size: tuple[int, int]) -> None:
        super().__init__()
        c, m = config.width, config.mask_channels
        self.grid, self.image_size = grid, image_size
        self.pe_layer = FourierPositions(c // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, c) for _ in range(4))  # negative, positive, two corners
        self.not_a_point_embed = nn.Embedding(1, c)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, m // 4, 2, 2),
            MapNorm(m // 4),
            nn.GELU(),
            nn.Conv2d(m // 4, m, 2, 2),
            MapNorm(m),
            nn.GELU(),
            nn.Conv2d(m, c, 1),
        )
        self.no_mask_embed = nn.Embedding(1, c)

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed the prompts of B masks.

        Args:
            points: places (B, P, 2) float, x and y in pixels, and labels (B, P) integer: 1 in the mask, 0 outside,
                -1 none at all.
            boxes: (B, 4) float, x0 y0 x1 y1 in pixels.
            masks: (B, 1, 4 h, 4 w) float logits.

        Returns:
            sparse (B, T, C), T = P + 2 with boxes, P + 1 without (a point that is none marks their absence), 0 with
            neither; dense (B, C, h, w).

        Raises:
            ValueError: prompts of different numbers of masks, or of other shapes.
        """
        count = _count(points, boxes, masks)
        sparse = []
        if points is not None:
            sparse.append(self.embed_points(*points, padded=boxes is None))
        if boxes is not None:
            sparse.append(self.embed_boxes(boxes))
        empty = self.no_mask_embed.weight.new_zeros((count, 0, self.no_mask_embed.embedding_dim))
        return torch.cat(sparse, dim=1) if sparse else empty, self.embed_masks(masks, count)

    def embed_points(self, places: Tensor, labels: Tensor, padded: bool = True) -> Tensor:
        """(B, P, 2) in pixels, (B, P) -> (B, P or P + 1, C); `padded` adds one that is none."""
        places = places + 0.5  # to the centre of the pixel
        if padded:
            places = torch.cat([places, torch.zeros_like(places[:, :1])], dim=1)
            labels = torch.cat([labels, torch.full_like(labels[:, :1], PADDING)], dim=1)
        label = labels[..., None]  # (B, P, 1)
        positions = self.positions_of(places)
        kind = torch.where(label == POSITIVE, self._point(POSITIVE), self._point(NEGATIVE))
        return torch.where(label == PADDING, self.not_a_point_embed.weight, positions + kind)

    def embed_boxes(self, boxes: Tensor) -> Tensor:
        """(B, 4) in pixels -> (B, 2, C), one token a corner."""
        corners = self.positions_of(boxes.reshape(-1, 2, 2) + 0.5)
        return corners + torch.cat([self._point(i) for i in CORNERS])

    def embed_masks(self, masks: Tensor | None, count: int) -> Tensor:
        """(B, 1, 4 h, 4 w) -> (B, C, h, w); the same learned vector everywhere where there is no mask."""
        h, w = self.grid
        if masks is None:
            return self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(count, -1, h, w)
        if tuple(masks.shape[1:]) != (1, 4 * h, 4 * w):
            raise ValueError(
                f"mask prompts are {tuple(masks.shape)}; expected (B, 1, {4 * h}, {4 * w}), four times the grid a side"
            )
        y: Tensor = self.mask_downscaling(masks)
        return y

    def dense_positions(self) -> Tensor:
        """Positions of the image embedding's cells, (1, C, h, w)."""
        h, w = self.grid
        weight = self.no_mask_embed.weight
        y = (torch.arange(h, device=weight.device, dtype=weight.dtype) + 0.5) / h
        x = (torch.arange(w, device=weight.device, dtype=weight.dtype) + 0.5) / w
        places = torch.stack([x[None, :].expand(h, w), y[:, None].expand(h, w)], dim=-1)
        encoded: Tensor = self.pe_layer(places)
        return encoded.permute(2, 0, 1)[None]

    def positions_of(self, places: Tensor) -> Tensor:
        """Positions of places in pixels: (..., 2) x and y -> (..., C)."""
        height, width = self.image_size
        encoded: Tensor = self.pe_layer(places / places.new_tensor([width, height]))
        return encoded

    def _point(self, index: int) -> Tensor:
        """One of the four learned kinds of points, (1, C)."""
        weight: Tensor = self.point_embeddings[index].weight  # type: ignore[assignment]
        return weight


class FourierPositions(nn.Module):
    """Sines and cosines of random projections of a place (Tancik et al., arXiv 2006.10739, section 6).

    Args:
        features: projections; the encoding has twice as many channels.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, places: Tensor) -> Tensor:
        """(..., 2), x and y in 0..1 -> (..., 2 features)."""
        around = 2 * places - 1
        matrix = self.positional_encoding_gaussian_matrix
        # two products, not one of matrices, which autocast would round to half precision: the angles go up to 20
        angle = 2 * pi * (around[..., :1] * matrix[0] + around[..., 1:] * matrix[1])
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


def _count(points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None) -> int:
    """How many masks the prompts ask for; 1 without any prompt."""
    given = {
        name: tensor
        for name, tensor in (("points", points[0] if points else None), ("boxes", boxes), ("masks", masks))
        if tensor is not None
    }
    if points is not None and (points[0].shape[-1] != 2 or points[0].shape[:2] != points[1].shape):
        raise ValueError(
            f"points are {tuple(points[0].shape)} with labels {tuple(points[1].shape)}; expected (B, P, 2) and (B, P)"
        )
    if boxes is not None and boxes.shape[1:] != (4,):
        raise ValueError(f"boxes are {tuple(boxes.shape)}; expected (B, 4), x0 y0 x1 y1 in pixels")
    counts = {name: tensor.shape[0] for name, tensor in given.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"prompts are for different numbers of masks: {counts}; give all of them the same")
    return next(iter(counts.values()), 1)
