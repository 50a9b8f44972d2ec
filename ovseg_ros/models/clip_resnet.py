"""CLIP's modified ResNet: four feature maps, dense text-aligned features, and the embedding by attention pooling.

A stem of three convolutions, strides by average pooling before a convolution of stride 1, and attention in place of
the last average pool. Radford et al., arXiv 2103.00020, section 2.4.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.clip_config import ClipResNetConfig
from ovseg_ros.models.positions import PositionTable, Resize

STRIDE = 32
Dense = Literal["value", "qk"]


class ModifiedResNet(nn.Module):
    """CLIP's ResNet trunk.

    Args:
        config: sizes; `ClipResNetConfig.from_open_clip(name)`.
        dense: how the pool gives dense features: "value", each position through the value and output projections
            alone, without position (MaskCLIP, arXiv 2112.01071), or "qk", its own attention with every position as a
            query (GKC, arXiv 2303.09181).
        resize: how the pool's positions meet other grids, see `PositionTable`.
    """

    def __init__(self, config: ClipResNetConfig, dense: Dense = "value", resize: Resize = "size") -> None:
        super().__init__()
        self.config = config
        self.dense = dense
        self.stride, self.pixel_mean, self.pixel_std = STRIDE, config.mean, config.std
        w = config.width
        self.conv1 = nn.Conv2d(3, w // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w // 2)
        self.conv2 = nn.Conv2d(w // 2, w // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(w // 2)
        self.conv3 = nn.Conv2d(w // 2, w, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(w)
        self.layer1 = make_stage(w, w, config.layers[0], stride=1)
        self.layer2 = make_stage(4 * w, 2 * w, config.layers[1], stride=2)
        self.layer3 = make_stage(8 * w, 4 * w, config.layers[2], stride=2)
        self.layer4 = make_stage(16 * w, 8 * w, config.layers[3], stride=2)
        self.attnpool = AttentionPool(config, resize)

    def forward(self, image: Tensor) -> Tensor:
        """Dense features.

        Args:
            image: (N, 3, H, W) float, normalised by the config's mean and std; H and W multiples of 32.

        Returns:
            (N, D, H / 32, W / 32) float, in the space of the text embeddings, not L2-normalised.

        Raises:
            ValueError: H or W is no multiple of 32.
        """
        x = self.stages(image)[-1]
        return self.attnpool.values(x) if self.dense == "value" else self.attnpool(x)[1]

    def image_features(self, image: Tensor) -> Tensor:
        """CLIP's embedding of the whole image: (N, 3, H, W) -> (N, D)."""
        pooled: Tensor = self.attnpool(self.stages(image)[-1])[0]
        return pooled

    def stages(self, image: Tensor) -> list[Tensor]:
        """res2 to res5: (N, 4w, H/4, W/4), (N, 8w, H/8, W/8), (N, 16w, H/16, W/16), (N, 32w, H/32, W/32)."""
        height, width = image.shape[2], image.shape[3]
        if height % STRIDE or width % STRIDE:
            raise ValueError(
                f"the image is {height} x {width} pixels (height x width); both must be multiples of {STRIDE}: "
                f"resize or pad it"
            )
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps

    def bake(self, grid: tuple[int, int]) -> None:
        """Resize the pool's positions once for (H / 32, W / 32), before an export."""
        self.attnpool.positions.bake(grid)


def make_stage(inputs: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks of one resolution; the first takes the stride and the change of width."""
    first = Bottleneck(inputs, planes, stride)
    return nn.Sequential(first, *(Bottleneck(4 * planes, planes, 1) for _ in range(blocks - 1)))


class Bottleneck(nn.Module):
    """1x1, 3x3, average pool by the stride, 1x1 to four times the width, and the shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * planes
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, 4 planes, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        if self.stride > 1:
            x, y = F.avg_pool2d(x, self.stride), F.avg_pool2d(y, self.stride)
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class AttentionPool(nn.Module):
    """Attention over the mean and all positions of a map; the mean's output is CLIP's image embedding."""

    def __init__(self, config: ClipResNetConfig, resize: Resize = "size") -> None:
        super().__init__()
        c = 32 * config.width
        self.heads = config.heads
        self.positions = PositionTable(config.image_size // STRIDE, c, c**-0.5, resize)
        self.q_proj = nn.Linear(c, c)
        self.k_proj = nn.Linear(c, c)
        self.v_proj = nn.Linear(c, c)
        self.c_proj = nn.Linear(c, config.embed_dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=c**-0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, h, w) -> the embedding (N, D) and the dense features (N, D, h, w) of the same attention."""
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)  # (N, h w, C)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + self.positions((h, w))
        q, k, v = (
            layer(tokens).reshape(n, 1 + h * w, self.heads, c // self.heads).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = self.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # (N, 1 + h w, D)
        return y[:, 0], y[:, 1:].transpose(1, 2).reshape(n, -1, h, w)

    def values(self, x: Tensor) -> Tensor:
        """Every position by itself, without attention and position: (N, C, h, w) -> (N, D, h, w)."""
        y: Tensor = self.c_proj(self.v_proj(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return y
