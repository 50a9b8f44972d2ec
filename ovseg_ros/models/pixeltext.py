"""PixelText: a small convolutional network whose pixels live in the space of a text encoder.

An encoder of plain 3x3 convolutions (fast on CPUs with AMX or AVX-512 as well as on GPUs), a top-down decoder to
stride 4, and one linear map into the text space. A pixel's score for a word is the cosine between the two, times a
learned scale; a learned constant stands for "none of these words".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.read_out import best_synonym, words


@dataclass(frozen=True)
class PixelTextConfig:
    """Sizes of a PixelText network; the defaults are those of both embedded checkpoints (2.9 M parameters)."""

    widths: tuple[int, int, int, int] = (32, 48, 96, 192)  # channels at strides 2, 4, 8, 16
    depths: tuple[int, int, int] = (1, 3, 3)  # residual blocks at strides 4, 8, 16
    features: int = 80  # channels of the decoder, the rank of the pixel embedding
    text_width: int = 256  # D, width of the text embeddings


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution and batch norm, size kept up to the stride."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs)
    )


class Block(nn.Module):
    """The basic residual block: two 3x3 convolutions, the second one dilated on request."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = conv_norm(width, width)
        self.second = conv_norm(width, width, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class Context(nn.Module):
    """What the whole image shows, added to every position: mean-pooled features through a small MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        out: Tensor = x + self.mlp(x.mean(dim=(2, 3), keepdim=True))
        return out


class PixelText(nn.Module):
    """Image to pixel features at a quarter of the resolution, and their cosine scores against words."""

    pixel_mean = pixel_std = (0.5, 0.5, 0.5)
    stride = 4
    coarse = 2

    def __init__(self, config: PixelTextConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PixelTextConfig()
        w2, w4, w8, w16 = config.widths
        d4, d8, d16 = config.depths
        d = config.features
        self.stem = nn.Sequential(conv_norm(3, w2, stride=2), nn.ReLU())
        self.stage4 = nn.Sequential(conv_norm(w2, w4, stride=2), nn.ReLU(), *(Block(w4) for _ in range(d4)))
        self.stage8 = nn.Sequential(conv_norm(w4, w8, stride=2), nn.ReLU(), *(Block(w8) for _ in range(d8)))
        self.stage16 = nn.Sequential(
            conv_norm(w8, w16, stride=2),
            nn.ReLU(),
            *(Block(w16, 1 + i % 3) for i in range(d16)),
            Context(w16),
        )
        self.lateral16, self.lateral8 = conv_norm(w16, d, 1), conv_norm(w8, d, 1)
        self.lateral4 = conv_norm(w4, d, 1)
        self.merge8, self.merge4 = conv_norm(d, d), conv_norm(d, d)
        self.to_text = nn.Linear(config.features, config.text_width, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.7))  # exp(2.7) = 15
        self.other = nn.Parameter(torch.tensor(0.2))  # cosine at which "none of these words" takes over

    def forward(self, x: Tensor) -> Tensor:
        """Pixel features.

        Args:
            x: (N, 3, H, W) RGB, 0..1 scaled to -1..1; H and W multiples of 16.

        Returns:
            (N, features, H/4, W/4); `to_text` maps them into the text space.
        """
        x4 = self.stage4(self.stem(x))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        y = F.relu(_double(self.lateral16(x16)) + self.lateral8(x8))
        y = F.relu(self.merge8(y))
        y = F.relu(_double(y) + self.lateral4(x4))
        return F.relu(self.merge4(y))

    def cosines(self, features: Tensor, text: Tensor) -> Tensor:
        """Cosine of every pixel with every word: (N, C, h, w), unit rows (K, D) or (N, K, D) -> (N, K, h, w).

        The map into the text space is applied to the words, not to the pixels: the same numbers by associativity,
        for C instead of D multiplications a pixel and word. The pixel's norm comes from the map's Gram matrix.
        """
        weight = self.to_text.weight  # (D, C)
        n, c, h, w = features.shape
        flat = features.reshape(n, c, h * w)
        gram = weight.t() @ weight  # (C, C)
        square = (flat * (gram @ flat)).sum(dim=1, keepdim=True)  # (N, 1, hw), |to_text(f)|^2
        return ((text @ weight) @ (flat * torch.rsqrt(square + 1e-6))).reshape(n, -1, h, w)

    def scale(self) -> Tensor:
        """The factor that turns cosines into logits, at most 50."""
        return self.log_scale.exp().clamp(max=50.0)

    def features(self, pixels: Tensor, text: Tensor) -> Tensor:
        """See `onepass.DenseModel`; the words are not looked at."""
        features: Tensor = self(pixels)
        return features

    def scores(self, features: Tensor, text: Tensor) -> Tensor:
        """See `onepass.DenseModel`: scaled cosines."""
        return best_synonym(self.cosines(features, words(text)), text) * self.scale()

    def other_logit(self) -> Tensor:
        """The logit of "none of these words"."""
        return self.other * self.scale()


def _double(x: Tensor) -> Tensor:
    """Twice the height and width, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
