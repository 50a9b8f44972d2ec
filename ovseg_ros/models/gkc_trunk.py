"""GKC's trunks: a CLIP image encoder as the backbone of a mask network, four maps at strides 4 to 32.

CLIP's ResNet without its pool is the paper's. A ViT is the released code's other choice, for which no results are
published: its maps after four blocks, enlarged and reduced as DenseCLIP does it (arXiv 2112.01518).
"""

from __future__ import annotations

from torch import Tensor, nn

from ovseg_ros.models.clip import VisionTransformer, to_map
from ovseg_ros.models.clip_config import ClipResNetConfig, ClipVisionConfig
from ovseg_ros.models.clip_resnet import ModifiedResNet


class ResNetTrunk(ModifiedResNet):
    """CLIP's ResNet up to res5, `conv1` to `layer4`; what its base does with the pool is gone with it."""

    def __init__(self, config: ClipResNetConfig) -> None:
        super().__init__(config)
        del self.attnpool
        self.channels = (4 * config.width, 8 * config.width, 16 * config.width, 32 * config.width)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> four maps (N, C_i, H / 4 .. H / 32, W / 4 .. W / 32)."""
        return self.stages(pixels)

    def bake(self, size: tuple[int, int]) -> None:
        """Nothing to do: without the pool there are no positions."""


class ViTTrunk(nn.Module):
    """A CLIP ViT with patches of 8 or 16 and a pyramid on its maps.

    Args:
        config: of the ViT.
        taps: blocks after which the maps for res2 to res5 are taken.

    Raises:
        ValueError: for other patches.
    """

    def __init__(self, config: ClipVisionConfig, taps: tuple[int, int, int, int]) -> None:
        super().__init__()
        if config.patch not in (8, 16):
            raise ValueError(f"the trunk's patch is {config.patch} pixels; expected 8 or 16, or a ResNet")
        self.taps = taps
        self.clip = VisionTransformer(config)
        for unused in (self.clip.ln_post.weight, self.clip.ln_post.bias, self.clip.proj):
            unused.requires_grad_(False)
        c = config.width
        self.channels = (c, c, c, c)
        self.pyramid = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, c), *_rescale(c, config.patch, stride)) for stride in (4, 8, 16, 32)
        )

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """(N, 3, H, W), sides multiples of 32 -> four maps (N, C, H / 4 .. H / 32, W / 4 .. W / 32)."""
        _, tokens = self.clip.features(pixels, self.taps)
        patch = self.clip.config.patch
        grid = (pixels.shape[2] // patch, pixels.shape[3] // patch)
        return [level(to_map(x, grid)) for level, x in zip(self.pyramid, tokens, strict=True)]

    def bake(self, size: tuple[int, int]) -> None:
        """Resize CLIP's positions once for (height, width) of the input, before an export."""
        patch = self.clip.config.patch
        self.clip.bake((size[0] // patch, size[1] // patch))


def _rescale(channels: int, patch: int, stride: int) -> list[nn.Module]:
    """From the patches' stride to another one."""
    if stride >= patch:
        return [nn.MaxPool2d(stride // patch)] if stride > patch else []
    up: list[nn.Module] = [nn.ConvTranspose2d(channels, channels, 2, stride=2)]
    if patch == 4 * stride:
        up += [nn.BatchNorm2d(channels), nn.GELU(), nn.ConvTranspose2d(channels, channels, 2, stride=2)]
    return up
