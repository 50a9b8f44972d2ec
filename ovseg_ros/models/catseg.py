"""CAT-Seg: CLIP's correlation of cells and words, aggregated over space and over classes into masks.

Cho et al., "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic Segmentation", CVPR 2024, arXiv 2303.11797. Here
for its own sake, and as what ESC-Net (`esc_net`) is built upon and may start from.

Results are those of the published code; what it computes once a class although it is the same for all of them
(projections of image features), and copies of the padding token, are computed once.

Shapes: N images, K classes of S synonyms, T of them kept, D channels of the text space, C of the aggregation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.attention import Identity
from ovseg_ros.models.catseg_classes import ClassAttention, as_cells
from ovseg_ros.models.catseg_config import AggregatorConfig, CatSegConfig
from ovseg_ros.models.catseg_correlation import Correlation, Shortlist, correlate, spread
from ovseg_ros.models.catseg_decoder import Decoder
from ovseg_ros.models.catseg_swin import SwinPair
from ovseg_ros.models.clip import BlockRule, VisionTransformer, to_map
from ovseg_ros.models.clip_config import ClipVisionConfig

DENSE = {-1: BlockRule(Identity(), from_cls=True)}  # CLIP's last block mixes no patches
WINDOW_CELLS = 24  # of CLIP along either side of what published inference shows it


class GuidedTrunk(nn.Module):
    """CLIP's dense features, and two earlier maps upsampled to guide the decoder.

    Args:
        clip: sizes of CLIP.
        config: says which maps.
    """

    def __init__(self, clip: ClipVisionConfig, config: AggregatorConfig) -> None:
        super().__init__()
        self.taps = config.taps
        self.clip = VisionTransformer(clip, DENSE)
        self.upsample1 = nn.ConvTranspose2d(clip.width, config.tap_widths[0], 2, 2)
        self.upsample2 = nn.ConvTranspose2d(clip.width, config.tap_widths[1], 4, 4)

    def forward(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(N, 3, H, W) normalised -> features (N, D, h, w), and maps at twice and four times that resolution."""
        features, (first, second) = self.clip.features(pixels, self.taps)
        grid = (features.shape[2], features.shape[3])
        return features, (self.upsample1(to_map(first, grid)), self.upsample2(to_map(second, grid)))


class AggregatorLayer(nn.Module):
    """One round of spatial and of class aggregation.

    Args:
        config: sizes.
    """

    def __init__(self, config: AggregatorConfig) -> None:
        super().__init__()
        c = config
        self.pooling, self.train_pooling = c.pooling, c.train_pooling
        self.swin_block = SwinPair(c.width, c.guidance, c.heads, c.window)
        self.attention = ClassAttention(c.width, c.guidance, c.heads, c.padded)

    def forward(self, x: Tensor, image: Tensor, words: Tensor) -> Tensor:
        """(N, T, h, w, C), guidance of the image (N, h, w, G) and of the words (N, T, G) -> (N, T, h, w, C)."""
        x = self.swin_block(x, image)
        y: Tensor = self.attention(x, words, self.train_pooling if self.training else self.pooling)
        return y


class Embedding(nn.Module):
    """Correlations as vectors that know their surroundings, and the words as guidance.

    Args:
        config: sizes.
        text_width: D.
    """

    def __init__(self, config: AggregatorConfig, text_width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, config.width, 7, padding=3)
        self.text_guidance_projection = nn.Sequential(nn.Linear(text_width, config.guidance), nn.ReLU())

    def forward(self, found: Correlation) -> tuple[Tensor, Tensor]:
        """-> (N, T, h, w, C) and (N, T, G)."""
        n, t, h, w = found.cosines.shape
        volume = self.conv1(found.cosines.reshape(n * t, 1, h, w))
        return as_cells(volume, t), self.text_guidance_projection(found.words)


class ImageGuidance(nn.Sequential):
    """What the spatial aggregation sees of the image: (N, D, h, w) -> (N, G, h, w).

    Args:
        config: sizes.
        text_width: D.
    """

    def __init__(self, config: AggregatorConfig, text_width: int) -> None:
        super().__init__(nn.Conv2d(text_width, config.guidance, 3, padding=1), nn.ReLU())


class Aggregator(nn.Module):
    """From the correlation to mask logits.

    Args:
        config: sizes.
        text_width: D.
    """

    def __init__(self, config: AggregatorConfig, text_width: int) -> None:
        super().__init__()
        self.embedding = Embedding(config, text_width)
        self.guidance_projection = ImageGuidance(config, text_width)
        self.layers = nn.ModuleList(AggregatorLayer(config) for _ in range(config.layers))
        self.decoder = Decoder(config)

    def forward(self, found: Correlation, features: Tensor, taps: tuple[Tensor, Tensor]) -> Tensor:
        """Aggregate.

        Args:
            found: of `features` and the words.
            features: (N, D, h, w), of any length.
            taps: see `Decoder`.

        Returns:
            (N, T, 4 h, 4 w) mask logits.
        """
        volume, words = self.embedding(found)
        image = self.guidance_projection(features).permute(0, 2, 3, 1)  # (N, h, w, G)
        for layer in self.layers:
            volume = layer(volume, image, words)
        logits: Tensor = self.decoder(volume, taps)
        return logits


class CostModel(nn.Module, ABC):
    """What CAT-Seg and ESC-Net have in common; a `catseg_pass.ShortlistModel` and so an `onepass.DenseModel`.

    Args:
        clip: sizes of CLIP.
        config: sizes of the aggregation.
        budget: most classes of an image that are aggregated.
    """

    stride = 4  # the upsampling of its maps that comes closest to its input's size, exact for patches of 16
    coarse = 1
    sigmoid = True  # classes are trained each by itself

    def __init__(self, clip: ClipVisionConfig, config: AggregatorConfig, budget: int) -> None:
        super().__init__()
        self.pixel_mean, self.pixel_std, self.multiple = clip.mean, clip.std, clip.patch
        self.patch, self.budget = clip.patch, budget
        self.window = WINDOW_CELLS * clip.patch  # where an image is seen in several, each is squeezed into this square
        self.trunk = GuidedTrunk(clip, config)

    @abstractmethod
    def aggregate(self, found: Correlation, features: Tensor, taps: tuple[Tensor, Tensor]) -> Tensor:
        """Mask logits of the classes that were kept, (N, T, 4 h, 4 w)."""

    def shortlist(
        self, pixels: Tensor, text: Tensor, present: Tensor | None = None, budget: int | None = None
    ) -> Shortlist:
        """Mask logits of the classes with the highest correlation.

        Args:
            pixels: (N, 3, H, W) float, normalised by `pixel_mean` and `pixel_std`; H and W multiples of CLIP's patch.
            text: (K, S, D) float, S synonyms a class, padded by repeating.
            present: (N, K) bool, classes to keep before all others, or integers, to keep by; None for none.
            budget: most classes that are kept; the model's own where None.

        Returns:
            T = min(K, budget) of them, at four cells a patch.
        """
        features, taps = self.trunk(pixels)
        found = correlate(features, text, budget or self.budget, present)
        return Shortlist(self.aggregate(found, features, taps), found.classes)

    def forward(self, pixels: Tensor, text: Tensor, present: Tensor | None = None) -> Tensor:
        """Mask logits of all classes, for the losses of `training.losses.per_pixel`.

        Args:
            pixels, text: as for `shortlist`; in training the classes of the batch, at best no more than the budget.
            present: (N, K) bool, the classes in the truth, which must not be missed where there are more.

        Returns:
            (N, K, 4 H / patch, 4 W / patch); -100 for classes that were not kept.
        """
        return spread(self.shortlist(pixels, text, present), text.shape[0])

    def features(self, pixels: Tensor, text: Tensor) -> Tensor:
        """See `onepass.DenseModel`: the logits themselves, as the words take part from the start."""
        logits: Tensor = self(pixels, text)
        return logits

    def scores(self, features: Tensor, text: Tensor) -> Tensor:
        """See `onepass.DenseModel`."""
        return features

    def other_logit(self) -> Tensor | None:
        """A class trained by itself says no where its logit is negative: "none of these words" lies at 0."""
        return next(self.parameters()).new_zeros(()) if self.sigmoid else None

    def bake(self, size: tuple[int, int]) -> None:
        """Resize position tables once for (height, width) of the input; what is exported then serves that alone."""
        self.trunk.clip.bake((size[0] // self.patch, size[1] // self.patch))


class CatSeg(CostModel):
    """CAT-Seg.

    Args:
        config: sizes.
    """

    def __init__(self, config: CatSegConfig | None = None) -> None:
        self.config = c = config or CatSegConfig()
        super().__init__(c.clip, c.aggregator, c.budget)
        self.aggregator = Aggregator(c.aggregator, c.clip.embed_dim)

    def aggregate(self, found: Correlation, features: Tensor, taps: tuple[Tensor, Tensor]) -> Tensor:
        """See `CostModel`."""
        logits: Tensor = self.aggregator(found, features, taps)
        return logits

    def class_map(self, image: Tensor, text: Tensor, side: int, out: tuple[int, int]) -> Tensor:
        """The published inference in one shot; the one with windows is `evaluation`'s protocol "catseg".

        The image is normalised, padded to multiples of 32 with the mean colour, and squeezed into a square. As
        published the padding stays in the result, which so is off by up to 31 pixels at the right and below.

        Args:
            image: (N, 3, H, W) RGB in 0..255.
            text: (K, S, D).
            side: of the square, in pixels: 384 for the base model and 336 for the large one.
            out: (height, width) of the result.

        Returns:
            (N, K, height, width), each class's probability by itself.
        """
        mean, std = (255 * image.new_tensor(x).reshape(1, 3, 1, 1) for x in (self.pixel_mean, self.pixel_std))
        pixels = F.pad((image - mean) / std, (0, -image.shape[3] % 32, 0, -image.shape[2] % 32))
        pixels = F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
        probabilities = self(pixels, text).sigmoid()
        return F.interpolate(probabilities, size=out, mode="bilinear", align_corners=False)
