"""ResNet with DeepLab's stem, as DeOP's and SimBaseline's mask nets have it: four maps from one image.

Three 3x3 convolutions for ResNet's one of 7x7, stride in the 3x3 of a bottleneck, and a dilation of its own for each
block of the last stage (DeepLabv3, arXiv 1706.05587, section 3.3: "multi-grid"). Names are those of detectron2's
checkpoints (R-103.pkl and what was trained from it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.mask2former.layers import ConvNorm

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes; the defaults are R-101c's.

    Attributes:
        blocks: of the four stages.
        stem: channels after the stem.
        bottleneck: channels of the first stage's 3x3 convolutions, twice as many in each further stage.
        channels: of the first stage's map, twice as many in each further stage.
        multi_grid: dilations of the last stage's blocks, from the first on; 1 for those beyond.
        norm: "frozen", statistics and factors as loaded, for pretrained weights; "batch" to train from nothing.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 23, 3)
    stem: int = 128
    bottleneck: int = 64
    channels: int = 256
    multi_grid: tuple[int, ...] = (1, 2, 4)
    norm: Literal["frozen", "batch"] = "frozen"

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of the maps at strides 4, 8, 16, 32."""
        c = self.channels
        return c, 2 * c, 4 * c, 8 * c


class ResNet(nn.Module):
    """The backbone: `stem`, `res2` to `res5`.

    Args:
        config: sizes.
    """

    def __init__(self, config: ResNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResNetConfig()
        half = config.stem // 2
        self.stem = nn.Module()
        self.stem.conv1 = _conv(config, 3, half, 3, stride=2, relu=True)
        self.stem.conv2 = _conv(config, half, half, 3, relu=True)
        self.stem.conv3 = _conv(config, half, config.stem, 3, relu=True)
        inputs = config.stem
        for stage, count in enumerate(config.blocks):
            width, inner = config.widths[stage], config.bottleneck * 2**stage
            blocks = []
            for i in range(count):
                dilation = config.multi_grid[i] if stage == 3 and i < len(config.multi_grid) else 1
                stride = 2 if stage and i == 0 else 1
                blocks.append(Bottleneck(config, inputs, inner, width, stride, dilation))
                inputs = width
            self.add_module(f"res{stage + 2}", nn.Sequential(*blocks))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Maps at strides 4, 8, 16, 32.

        Args:
            pixels: (N, 3, H, W) normalised, of any size; the maps' sides are rounded up.

        Returns:
            four tensors (N, C_i, H / stride, W / stride).
        """
        x = self.stem.conv3(self.stem.conv2(self.stem.conv1(pixels)))  # type: ignore[operator]
        x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for stage in ("res2", "res3", "res4", "res5"):
            x = getattr(self, stage)(x)
            maps.append(x)
        return maps


class Bottleneck(nn.Module):
    """1x1, 3x3 with stride and dilation, 1x1; the input, projected where shapes differ, is added."""

    def __init__(self, config: ResNetConfig, inputs: int, inner: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.shortcut = _conv(config, inputs, outputs, 1, stride=stride) if inputs != outputs or stride > 1 else None
        self.conv1 = _conv(config, inputs, inner, 1, relu=True)
        self.conv2 = _conv(config, inner, inner, 3, stride=stride, dilation=dilation, relu=True)
        self.conv3 = _conv(config, inner, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h / stride, w / stride)."""
        kept = x if self.shortcut is None else self.shortcut(x)
        return F.relu(kept + self.conv3(self.conv2(self.conv1(x))))


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and factors are buffers: nothing of it learns.

    Args:
        channels: C.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-5)


def _conv(
    config: ResNetConfig,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    relu: bool = False,
    stride: int = 1,
    dilation: int = 1,
) -> ConvNorm:
    """A convolution with the config's norm, started as detectron2 starts it."""
    norm = FrozenBatchNorm2d(outputs) if config.norm == "frozen" else nn.BatchNorm2d(outputs)
    conv = ConvNorm(inputs, outputs, kernel, norm=norm, relu=relu, stride=stride, dilation=dilation)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
