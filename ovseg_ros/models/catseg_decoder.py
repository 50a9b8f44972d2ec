"""CAT-Seg's upsampling: from the aggregated correlation of each class to its mask, guided by CLIP's earlier features.

Cho et al., arXiv 2303.11797, section 3.3; ESC-Net (arXiv 2411.14723) ends alike.

Shapes: N images, T classes, h x w cells.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.catseg_classes import as_maps
from ovseg_ros.models.catseg_config import AggregatorConfig

GROUP = 16  # channels of a group norm's group


class Decoder(nn.Module):
    """Two steps that double the resolution, and a mask logit.

    Args:
        config: sizes.
    """

    def __init__(self, config: AggregatorConfig) -> None:
        super().__init__()
        first, second = config.decoder_widths
        self.decoder_guidance_projection = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())
            for inputs, outputs in zip(config.tap_widths, config.tap_guidance, strict=True)
        )
        self.decoder1 = Up(config.width, config.tap_guidance[0], first)
        self.decoder2 = Up(first, config.tap_guidance[1], second)
        self.head = nn.Conv2d(second, 1, 3, padding=1)

    def forward(self, x: Tensor, taps: tuple[Tensor, Tensor]) -> Tensor:
        """Mask logits.

        Args:
            x: (N, T, h, w, C).
            taps: CLIP's features (N, C1, 2 h, 2 w) and (N, C2, 4 h, 4 w).

        Returns:
            (N, T, 4 h, 4 w).
        """
        n, t = x.shape[:2]
        guidance = [project(tap) for project, tap in zip(self.decoder_guidance_projection, taps, strict=True)]
        maps = self.decoder2(self.decoder1(as_maps(x), guidance[0]), guidance[1])
        logits: Tensor = self.head(maps)  # (N T, 1, 4 h, 4 w)
        return logits.reshape(n, t, *logits.shape[2:])


class Up(nn.Module):
    """Twice the resolution: a transposed convolution, the guidance beside it, two convolutions.

    Args:
        inputs: channels.
        guidance: channels of them that the guidance takes.
        outputs: channels.
    """

    def __init__(self, inputs: int, guidance: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs - guidance, 2, 2)
        self.conv = DoubleConv(inputs, outputs)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """(N T, C, h, w) and (N, G, 2 h, 2 w) -> (N T, C', 2 h, 2 w)."""
        y: Tensor = self.conv(self.up(x), guidance)
        return y


class DoubleConv(nn.Module):
    """Twice a convolution, group norm and ReLU; the first sees the guidance, which is convolved once for all classes.

    Args:
        inputs: channels of maps and guidance together.
        outputs: channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        groups = max(1, outputs // GROUP)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.rest = nn.Sequential(
            nn.GroupNorm(groups, outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(groups, outputs),
            nn.ReLU(),
        )

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """(N T, C, h, w) and (N, G, h, w) -> (N T, C', h, w)."""
        weight = self.first.weight
        own = F.conv2d(x, weight[:, : x.shape[1]], padding=1)
        shared = F.conv2d(guidance, weight[:, x.shape[1] :], padding=1)
        both = own.reshape(shared.shape[0], -1, *own.shape[1:]) + shared[:, None]  # (N, T, C', h, w)
        y: Tensor = self.rest(both.reshape(own.shape))
        return y
