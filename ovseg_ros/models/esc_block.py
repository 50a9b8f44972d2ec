"""One block of ESC-Net: prompts from the correlation, SAM's decoder on them class by class, and the fusion of both.

Lee et al., arXiv 2411.14723, section 3. What the paper leaves open is chosen in `EscConfig` and, of the wiring, here:

- Blocks hand on the image features and a volume of C channels for each class. What prompts are made of is one number a
  cell: the cosine, from the second block on plus a reading of the volume that starts at zero, and the volume gains an
  embedding of that number, which starts at zero as well. So a fresh block reads what CLIP says.
- Image features enter SAM's width by a 1x1 convolution and a layer norm, as SAM's own neck ends, and return by another
  1x1 convolution that starts at zero and is added: a fresh block disturbs nothing.
- The regions' masks are one mask prompt, as they do not overlap and SAM takes one.
- Of SAM's two-way transformer the last attention is left out: it changes tokens, and the image cells alone are used.

Shapes: N images, T classes, h x w cells, P = h w, D channels of the text space, C of the volume, E of SAM.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.catseg import AggregatorLayer, ImageGuidance
from ovseg_ros.models.esc_config import EscConfig
from ovseg_ros.models.esc_prompts import cell_places, pseudo_prompts
from ovseg_ros.models.sam.layers import MapNorm
from ovseg_ros.models.sam.prompt_encoder import PADDING, POSITIVE, PromptEncoder
from ovseg_ros.models.sam.two_way import TwoWayBlock

FINER = 4  # cells a side of a mask prompt to a cell of the image, SAM's


class EscBlock(nn.Module):
    """One of the blocks; the prompt encoder is shared by all and handed in.

    Args:
        config: sizes and choices.
        first: the first block, whose prompts are made of the cosines alone.
    """

    def __init__(self, config: EscConfig, first: bool) -> None:
        super().__init__()
        self.config, self.first = config, first
        c, e, d = config.fusion, config.sam, config.clip.embed_dim
        if not first:
            self.reading = _zero(nn.Linear(c.width, 1))
            self.embedding = _zero(nn.Linear(1, c.width))
        if e.depth:
            self.inlet = nn.Sequential(nn.Conv2d(d, e.width, 1), MapNorm(e.width))
            self.sam = nn.ModuleList(TwoWayBlock(e.width, e.heads, e.mlp, first=i == 0) for i in range(e.depth))
            self.outlet = _zero(nn.Conv2d(e.width, d, 1))
        self.guidance_projection = ImageGuidance(c, d)
        self.fusion = AggregatorLayer(c)

    def forward(
        self, features: Tensor, volume: Tensor, cosines: Tensor, words: Tensor, encoder: PromptEncoder
    ) -> tuple[Tensor, Tensor]:
        """Refine both.

        Args:
            features: (N, D, h, w) float, of the image.
            volume: (N, T, h, w, C) float, of each class.
            cosines: (N, T, h, w) float, of CLIP's features and the words.
            words: (N, T, G) float, guidance of the fusion.
            encoder: of prompts.

        Returns:
            features and volume, as they came in.
        """
        reading = cosines
        if not self.first:
            reading = cosines + self.reading(volume)[..., 0]
            volume = volume + self.embedding(reading[..., None])
        if self.config.sam.depth:
            features = features + self.outlet(self.aggregate(features, reading, cosines, encoder))
        guidance = self.guidance_projection(features).permute(0, 2, 3, 1)  # (N, h, w, G)
        return features, self.fusion(volume, guidance, words)

    def aggregate(self, features: Tensor, reading: Tensor, cosines: Tensor, encoder: PromptEncoder) -> Tensor:
        """The SAM block on each class, and its results merged: (N, D, h, w) -> (N, E, h, w)."""
        n, t, h, w = reading.shape
        cells = self.inlet(features)  # (N, E, h, w)
        if self.config.prompts == "none":  # all classes would give the same
            t = 1
        tokens, dense = self.prompts(reading[:, :t].reshape(n * t, h, w), encoder)
        image = (cells[:, None] + dense.reshape(-1, t, *dense.shape[1:])).flatten(0, 1)  # (N T, E, h, w)
        x, y = tokens, image.flatten(2).transpose(1, 2)  # (N T, P, E)
        places = ((cell_places(h, w, features) + 0.5) / features.new_tensor([w, h]))[None]
        positions: Tensor = encoder.pe_layer(places)  # (1, P, E)
        for block in self.sam:
            x, y = block(x, y, tokens, positions)
        weights = merge_weights(cosines[:, :t], self.config.merge_scale)  # (N, T)
        merged = weights[:, None] @ y.reshape(n, t, -1)  # (N, 1, P E)
        out: Tensor = merged.reshape(n, h * w, -1).transpose(1, 2).reshape(n, -1, h, w)
        return out

    def prompts(self, maps: Tensor, encoder: PromptEncoder) -> tuple[Tensor, Tensor]:
        """What SAM is shown of each map: (B, h, w) -> tokens (B, O + 1, E) and a map (B, E, h, w).

        One token is "no point", SAM's sign that there is no box, and stands alone where points are not used. Without
        masks the map is SAM's "no mask" everywhere, (B, E, 1, 1).
        """
        c = self.config
        b, h, w = maps.shape
        tokens = encoder.not_a_point_embed.weight.expand(b, 1, -1)
        dense = encoder.no_mask_embed.weight[..., None, None].expand(b, -1, 1, 1)
        if c.prompts == "none":
            return tokens, dense
        found = pseudo_prompts(maps, c.alpha, c.regions, c.iterations, c.temperature)
        if c.uses_points:
            height, width = encoder.image_size
            pixels = (found.points + 0.5) * found.points.new_tensor([width / w, height / h]) - 0.5
            tokens = encoder.embed_points(pixels, torch.where(found.found, POSITIVE, PADDING))
        if c.uses_masks:
            share = found.strength * found.regions.amax(dim=1)
            logits = c.mask_range * (2 * share - 1)
            size = (FINER * h, FINER * w)
            fine = F.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)
            dense = encoder.mask_downscaling(fine)
        return tokens, dense


def merge_weights(cosines: Tensor, scale: float) -> Tensor:
    """How much each class says: (N, T, h, w) -> (N, T), a softmax of the highest cosines."""
    return (scale * cosines.flatten(2).amax(dim=2)).softmax(dim=1)


def _zero(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """The layer with all its parameters at zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
