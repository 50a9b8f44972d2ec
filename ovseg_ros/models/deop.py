"""DeOP: proposals and words decoupled, and CLIP run once for all proposals instead of once for each.

Han et al., "Open-Vocabulary Semantic Segmentation with Decoupled One-Pass Network", ICCV 2023, arXiv 2304.01198. Two
networks share nothing but the image: a class-agnostic mask net (`maskformer`) and a frozen CLIP. The proposals tell
CLIP's last block which patches to keep apart (`deop_severance`, section 3.2) and which of its features name them
(`deop_anchors`, section 3.3). Proposals and embeddings hear nothing of the words, which may be any.

Deployed, nothing runs whose result is not used: the severed block projects no queries and no keys, the mask net reads
its last layer only, and words come as a table, encoded once. The results are those of the published code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.clip import BlockRule, VisionTransformer
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.deop_anchors import AnchorDecoder, pooled
from ovseg_ros.models.deop_severance import Severance, policy_of, severance_weights
from ovseg_ros.models.mask_read_out import Proposals, measured_class_map, name_logits, with_no_object
from ovseg_ros.models.maskformer import MaskFormer, MaskFormerConfig
from ovseg_ros.models.resnet import ResNetConfig

MEAN = (0.485, 0.456, 0.406)  # ImageNet's, of pixels in 0..1, RGB
STD = (0.229, 0.224, 0.225)
DIVISOR = 32  # sides of the mask net's input

Classifier = Literal["anchors", "pooling"]
Stage = Literal["masks", "anchors"]


@dataclass(frozen=True)
class DeopConfig:
    """Sizes and choices; the defaults are the published model's, R-101c and CLIP ViT-B/16.

    Attributes:
        masks: the mask net; its queries are the proposals.
        clip: the trunk. Its pixel statistics are not used: see `mean`.
        positions: side of the grid of the learned extra positions, and the blocks that add one to their input.
        severance: of the trunk's last block.
        residual: factor of that block's own input; 0.2 in the published demo.
        classifier: "anchors" as published, "pooling" for plain means inside proposals.
        anchor_layers, anchor_heads, anchor_hidden, dropout: of the anchor decoder.
        temperature: from cosines to logits, a constant.
        mean, std: of pixels in 0..1, RGB. Both networks see the same tensor, as published with ImageNet's statistics.
    """

    masks: MaskFormerConfig = field(default_factory=MaskFormerConfig)
    clip: ClipVisionConfig = field(default_factory=lambda: ClipVisionConfig(quick_gelu=True))
    positions: tuple[int, tuple[int, ...]] | None = (24, (1, 2, 3, 4, 5))
    severance: Severance = "weighted"
    residual: float = 1.0
    classifier: Classifier = "anchors"
    anchor_layers: int = 1
    anchor_heads: int = 8
    anchor_hidden: int = 1024
    dropout: float = 0.1
    temperature: float = 100.0
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    @classmethod
    def base(cls) -> DeopConfig:
        """The published model."""
        return cls()

    @classmethod
    def mini(cls, clip: ClipVisionConfig) -> DeopConfig:
        """A size that trains on two cores, on a small CLIP: 32 proposals from a ResNet of ten blocks.

        The mask net starts from nothing, so the pixel statistics are those that CLIP knows.
        """
        backbone = ResNetConfig((2, 2, 3, 3), 32, 16, 64, (1, 2, 4), "batch")
        masks = MaskFormerConfig(backbone, 96, 96, 32, 3, 4, 384, 0.0, 256, clip.embed_dim)
        side = clip.image_size // clip.patch
        return cls(
            masks,
            clip,
            (side, tuple(range(1, clip.layers // 2))),
            anchor_hidden=2 * clip.embed_dim,
            dropout=0.0,
            mean=clip.mean,
            std=clip.std,
        )


@dataclass(frozen=True)
class Prediction:
    """What training punishes.

    Attributes:
        masks: (N, Q, h, w) logits, at stride 4.
        logits: (N, Q, K + 1), "no object" last.
    """

    masks: Tensor
    logits: Tensor


class Deop(nn.Module):
    """The model; an `onepass.MaskModel`.

    Args:
        config: sizes and choices.

    Raises:
        ValueError: for an unknown severance or classifier.
    """

    stride, coarse, fine = 4, 1, False

    def __init__(self, config: DeopConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DeopConfig()
        if config.classifier not in ("anchors", "pooling"):
            raise ValueError(f"classifier is {config.classifier!r}; expected anchors or pooling")
        self.pixel_mean, self.pixel_std = config.mean, config.std
        self.multiple = math.lcm(DIVISOR, config.clip.patch)
        self.proposer = MaskFormer(config.masks)
        rule = BlockRule(policy_of(config.severance), config.residual)
        self.trunk = VisionTransformer(config.clip, {-1: rule}, extra_positions=config.positions)
        width = config.clip.embed_dim
        self.anchors = AnchorDecoder(
            width, config.masks.queries, config.anchor_layers, config.anchor_heads, config.anchor_hidden, config.dropout
        )
        self.no_object = nn.Parameter(width**-0.5 * torch.randn(1, width))
        self.frozen_masks = False

    def forward(self, pixels: Tensor, text: Tensor) -> Prediction:
        """The third stage's output, for a loss on the class map: anchors learn, and no gradient reaches the masks.

        Args:
            pixels: (N, 3, H, W), normalised by `pixel_mean` and `pixel_std`, sides multiples of `multiple`.
            text: (K, S, D) unit vectors of the words, with gradients where prompts learn.
        """
        with torch.no_grad():
            masks = self.proposer.propose(pixels)
        return Prediction(masks, self.logits(self.embed(pixels, masks), text))

    def mask_states(self, pixels: Tensor, text: Tensor) -> list[Prediction]:
        """The second stage's outputs: what the mask net alone says after each of its layers; arguments as `forward`."""
        states = self.proposer(pixels)
        return [Prediction(x.masks, self.logits(F.normalize(x.embeddings, dim=-1), text)) for x in states]

    def embed(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Proposals in the text space: (N, 3, H, W), mask logits (N, Q, h, w) -> (N, Q, D) unit vectors.

        Masks may come from anywhere; the anchor decoder has queries for as many as the mask net makes, pooling takes
        any number.
        """
        if masks.shape[1] == 0:
            return pixels.new_zeros(len(pixels), 0, self.config.clip.embed_dim)
        patch = self.config.clip.patch
        grid = (pixels.shape[2] // patch, pixels.shape[3] // patch)
        features = self.trunk(pixels, severance_weights(self.config.severance, masks, grid))
        features = F.normalize(features, dim=1)
        inside = F.interpolate(masks.sigmoid(), size=grid, mode="bilinear", align_corners=False)
        embeddings: Tensor = self.anchors(features, inside) if self._uses_anchors else pooled(features, inside)
        return embeddings

    def logits(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """Scaled cosines: (N, Q, D), (K, S, D) -> (N, Q, K + 1), "no object" last."""
        return torch.cat([self._name_logits(embeddings, text), self._no_object_logit(embeddings)], dim=-1)

    def features(self, pixels: Tensor, text: Tensor) -> Proposals:
        """See `onepass.MaskModel`."""
        masks = self.proposer.propose(pixels)
        return Proposals(masks, self.embed(pixels, masks))

    def classes(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """See `onepass.MaskModel`."""
        return with_no_object(self._name_logits(embeddings, text), self._no_object_logit(embeddings))

    def class_map(self, pixels: Tensor, text: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, K, height, width) of the size asked for; see `mask_read_out.measured_class_map`."""
        return measured_class_map(self, pixels, text, size)

    def learn(self, stage: Stage) -> list[nn.Parameter]:
        """Let learn what a stage trains and freeze the rest; the prompt is apart, see `deop_prompt`.

        Args:
            stage: "masks", the second: the mask net and "no object". "anchors", the third: the anchor decoder unless
                proposals are pooled, the trunk's extra positions and "no object". The mask net's dropout stays active
                then, as published, but statistics of batch norms stand still.

        Returns:
            the parameters that learn.
        """
        self.requires_grad_(False)
        self.frozen_masks = stage == "anchors"
        named = [self.anchors] if self._uses_anchors else []
        parts = [self.proposer] if stage == "masks" else [*named, self.trunk.extra_positions]
        for part in parts:
            part.requires_grad_(True)
        self.no_object.requires_grad_(True)
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def train(self, mode: bool = True) -> Deop:
        """As for any module; see `learn` for what stays as it is."""
        super().train(mode)
        if self.frozen_masks:
            for module in self.proposer.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def bake(self, size: tuple[int, int]) -> None:
        """Resize position tables once for (height, width) of the input; what is exported then serves that alone."""
        patch = self.config.clip.patch
        self.trunk.bake((size[0] // patch, size[1] // patch))

    @property
    def _uses_anchors(self) -> bool:
        return self.config.classifier == "anchors"

    def _name_logits(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """(N, Q, K)."""
        return self.config.temperature * name_logits(embeddings, text)

    def _no_object_logit(self, embeddings: Tensor) -> Tensor:
        """(N, Q, 1)."""
        direction = F.normalize(self.no_object, dim=-1)
        return self.config.temperature * embeddings @ direction.t()
