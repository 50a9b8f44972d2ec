"""A CLIP trunk as a segmenter: cosines of dense features and words, on the whole image or on windows of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.clip import VisionTransformer
from ovseg_ros.models.read_out import best_synonym, words
from ovseg_ros.models.training_free import ResClip


@dataclass(frozen=True)
class Windows:
    """Overlapping square windows; the last of a row or column is moved back into the image, as mmseg does."""

    crop: int = 224  # pixels a side
    step: int = 112  # pixels from one window to the next

    def starts(self, length: int) -> list[int]:
        """First pixels of the windows along an axis of some length."""
        if length <= self.crop:
            return [0]
        count = -(-(length - self.crop) // self.step) + 1
        return [min(i * self.step, length - self.crop) for i in range(count)]


class ClipSegmenter(nn.Module):
    """Labels by the cosine of a trunk's features and the words, times a constant; an `onepass.DenseModel`.

    Args:
        trunk: gives dense features in the text space, with any method's attention.
        scale: from cosines to logits (seeds: 40 for the training-free methods, 100 as CLIP itself was trained).
        windows: None segments the whole image at once; otherwise each window by itself, unit features averaged where
            windows overlap. As the score is linear in the features, that is the average of the windows' logits.
    """

    coarse = 1  # a patch is coarse enough

    def __init__(self, trunk: VisionTransformer, scale: float = 40.0, windows: Windows | None = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.scale = scale
        self.windows = windows
        self.pixel_mean, self.pixel_std, self.stride = trunk.config.mean, trunk.config.std, trunk.config.patch
        if windows and (windows.crop % self.stride or windows.step % self.stride):
            raise ValueError(f"windows of {windows.crop} every {windows.step} do not lie on patches of {self.stride}")

    def scores(self, features: Tensor, text: Tensor) -> Tensor:
        """See `onepass.DenseModel`: scaled cosines."""
        n, d, h, w = features.shape
        cosines = words(text) @ features.reshape(n, d, h * w)  # (N, K S, hw)
        return best_synonym(cosines.reshape(n, -1, h, w), text) * self.scale

    def other_logit(self) -> None:
        """CLIP has no answer for "none of these words"."""
        return

    def features(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Unit features, or their average over windows: (N, 3, H, W) -> (N, D, h, w)."""
        if self.windows is None:
            return self._dense(pixels, text)
        height, width = pixels.shape[2:]
        crop = self.windows.crop
        places = [(y, x) for y in self.windows.starts(height) for x in self.windows.starts(width)]
        if any(y % self.stride or x % self.stride for y, x in places) or min(height, width) < crop:
            raise ValueError(
                f"an image of {height}x{width} cannot be cut into windows of {crop} on patches of {self.stride}"
            )
        n = pixels.shape[0]
        cut = torch.cat([pixels[:, :, y : y + crop, x : x + crop] for y, x in places])
        dense = self._dense(cut, text)
        parts = dense.reshape(len(places), n, *dense.shape[1:]).unbind(0)  # windows of (N, D, c, c)
        grid = (height // self.stride, width // self.stride)
        total = torch.zeros(())
        count = torch.zeros(grid)
        for (y, x), part in zip(places, parts, strict=True):
            top, left, side = y // self.stride, x // self.stride, crop // self.stride
            total = total + F.pad(part, (left, grid[1] - left - side, top, grid[0] - top - side))
            count[top : top + side, left : left + side] += 1
        return total / count

    def _dense(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Unit features of whole images; ResCLIP's second pass is gated by its own labels, so it reads the words."""
        return _unit(self.trunk(pixels, text) if isinstance(self.trunk, ResClip) else self.trunk(pixels))


def _unit(features: Tensor) -> Tensor:
    """Unit length along the channels."""
    return features * torch.rsqrt((features * features).sum(dim=1, keepdim=True).clamp(min=1e-12))
