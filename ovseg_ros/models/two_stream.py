"""The two-stream baseline: proposals from one network, then one CLIP pass for each of them, cut out of the image.

"SimBaseline" (Xu et al., A Simple Baseline for Open-Vocabulary Semantic Segmentation, arXiv 2112.14757, section 3),
which the one-pass systems are measured against: with Q proposals it costs Q passes of CLIP an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.clip import VisionTransformer
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.crops import boxes_of, crop_resize
from ovseg_ros.models.mask_read_out import Proposals, name_logits
from ovseg_ros.models.maskformer import MaskFormer, MaskFormerConfig
from ovseg_ros.models.onepass import MaskModel
from ovseg_ros.models.proposals import MaskFormerProposer


@dataclass(frozen=True)
class TwoStreamConfig:
    """What the baseline does with a proposal; the defaults are the published ones.

    Attributes:
        scale: from cosines to logits.
        threshold: probability of the mask above which a pixel is inside.
        fill: RGB in 0..1 of the pixels outside; None takes CLIP's mean colour.
        ensemble: weight w of the side that knows a class better: p^w q^(1-w) for classes seen in training, where p is
            the proposal network's own probability and q CLIP's, and p^(1-w) q^w for new ones (published: 0.8 on
            COCO-Stuff, 0.4 on Pascal Context). None takes q alone.
        batch: crops in one pass of CLIP, where their number is free; an exported graph has all of an image in one.
    """

    scale: float = 100.0
    threshold: float = 0.5
    fill: tuple[float, float, float] | None = None
    ensemble: float | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"the threshold is {self.threshold}; expected a probability between 0 and 1")
        if self.ensemble is not None and not 0 < self.ensemble < 1:
            raise ValueError(
                f"the ensemble's weight is {self.ensemble}; expected one between 0 and 1, or None for CLIP"
            )
        if self.batch < 1:
            raise ValueError(f"{self.batch} crops a pass; expected at least 1")


class TwoStream(nn.Module):
    """Proposals by any mask network, classified crop by crop; an `onepass.MaskModel`.

    Args:
        proposer: the mask network, a `MaskModel`. Its own classes matter only in the ensemble.
        clip: classifies the crops by its CLS token, at the image size of its config. Frozen, as a rule.
        config: see `TwoStreamConfig`.
        seen: gives 1.0 for each class that the proposer was trained on, (K, S, D) text -> (K,) float; None takes every
            class for new. Only the ensemble asks.
    """

    pixel_scale: Tensor
    pixel_shift: Tensor
    fill: Tensor

    def __init__(
        self,
        proposer: nn.Module,
        clip: VisionTransformer,
        config: TwoStreamConfig | None = None,
        seen: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.proposer, self.clip, self.seen = proposer, clip, seen
        self.config = config or TwoStreamConfig()
        own = cast(MaskModel, proposer)
        self.pixel_mean, self.pixel_std = own.pixel_mean, own.pixel_std
        self.stride, self.multiple, self.coarse, self.fine = own.stride, own.multiple, own.coarse, own.fine
        # from the proposer's normalised pixels to CLIP's
        mean, std = torch.tensor(clip.config.mean), torch.tensor(clip.config.std)
        scale, shift = torch.tensor(own.pixel_std) / std, (torch.tensor(own.pixel_mean) - mean) / std
        fill = torch.zeros(3) if self.config.fill is None else (torch.tensor(self.config.fill) - mean) / std
        for name, value in (("pixel_scale", scale), ("pixel_shift", shift), ("fill", fill)):
            self.register_buffer(name, value.reshape(1, 3, 1, 1), persistent=False)

    def features(self, pixels: Tensor, text: Tensor) -> Proposals:
        """See `onepass.MaskModel`.

        Returns:
            The proposer's masks; and embeddings (N, Q, D + 1 + C): CLIP's of the crop, of unit length and 0 where the
            mask is empty; 1 where it is not; and the proposer's own.
        """
        proposals = cast(MaskModel, self.proposer).features(pixels, text)
        crops, shown = self.embed(pixels, proposals.masks)
        marks = shown[:, :, None].to(crops.dtype)
        return Proposals(proposals.masks, torch.cat([crops, marks, proposals.embeddings], dim=2))

    def classes(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """See `onepass.MaskModel`: probabilities among the words, CLIP's or the ensemble's.

        As published, CLIP says nothing of "no object"; an empty mask has no class, and in the ensemble what the
        proposer says of it.
        """
        width = text.shape[2]
        crops, shown, own = embeddings[..., :width], embeddings[..., width : width + 1], embeddings[..., width + 1 :]
        q: Tensor = (self.config.scale * name_logits(crops, text)).softmax(dim=2)  # (N, Q, K)
        w = self.config.ensemble
        if w is None:
            return q * shown
        q = torch.where(shown > 0, q, torch.ones_like(q))
        p = cast(MaskModel, self.proposer).classes(own, text)
        new: Tensor = p ** (1 - w) * q**w
        if self.seen is None:
            return new
        return torch.where(self.seen(text) > 0.5, p**w * q ** (1 - w), new)

    def embed(self, pixels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP's embedding of every proposal's crop.

        Args:
            pixels: (N, 3, H, W) float, normalised as the proposer wants.
            masks: (N, Q, h, w) float logits; upsampled to H x W, bilinear.

        Returns:
            (N, Q, D) float of unit length, 0 for an empty mask; (N, Q) bool, whether a mask is not empty.
        """
        images = pixels * self.pixel_scale + self.pixel_shift
        if torch.compiler.is_compiling():  # a graph has one shape: empty masks are encoded too
            crops, shown = self.crops(images, masks)  # (N Q, ...)
            embeddings = self._encode(crops) * shown[:, None]
            return embeddings.reshape(*masks.shape[:2], -1), shown.reshape(masks.shape[:2])
        embeddings = images.new_zeros(*masks.shape[:2], self.clip.config.embed_dim)
        every = torch.zeros(masks.shape[:2], dtype=torch.bool, device=images.device)
        for image in range(len(masks)):
            for start in range(0, masks.shape[1], self.config.batch):
                part = slice(start, start + self.config.batch)
                crops, shown = self.crops(images[image : image + 1], masks[image : image + 1, part])
                every[image, part] = shown
                if bool(shown.any()):
                    embeddings[image, part][shown] = self._encode(crops[shown])
        return embeddings, every

    def crops(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """What CLIP sees of proposals.

        Args:
            images: (N, 3, H, W) float, normalised as CLIP wants.
            masks: (N, Q, h, w) float logits.

        Returns:
            (N Q, 3, s, s) float, s being CLIP's image size: the box around each mask, filled where the mask is not;
            and (N Q,) bool, whether a mask is not empty.
        """
        threshold = log(self.config.threshold / (1 - self.config.threshold))
        large = F.interpolate(masks, size=images.shape[2:], mode="bilinear", align_corners=False)
        inside = (large > threshold).to(images.dtype)  # (N, Q, H, W)
        boxes, shown = boxes_of(inside.flatten(0, 1))
        above = images - self.fill
        cut = (above[:, None] * inside[:, :, None]).flatten(0, 1) + self.fill  # (N Q, 3, H, W)
        return crop_resize(cut, boxes, self.clip.config.image_size), shown

    def bake(self, size: tuple[int, int]) -> None:
        """Resize position tables once for (height, width) of the input, before an export; CLIP's know the crop's."""
        side = self.clip.config.image_size // self.clip.config.patch
        self.clip.bake((side, side))
        if hasattr(self.proposer, "bake"):
            self.proposer.bake(size)  # type: ignore[operator]

    def _encode(self, crops: Tensor) -> Tensor:
        """(Q, 3, s, s) -> (Q, D), of unit length."""
        return F.normalize(self.clip.image_features(crops), dim=1)


def sim_baseline(
    masks: MaskFormerConfig | None = None, clip: ClipVisionConfig | None = None, config: TwoStreamConfig | None = None
) -> TwoStream:
    """The published baseline with random weights: MaskFormer on R-101c, CLIP ViT-B/16, unless other sizes are given."""
    clip = clip or ClipVisionConfig(quick_gelu=True)
    masks = masks or MaskFormerConfig(text_width=clip.embed_dim)
    if masks.text_width != clip.embed_dim:
        raise ValueError(f"the mask net names things in {masks.text_width} dimensions and CLIP in {clip.embed_dim}")
    return TwoStream(MaskFormerProposer(MaskFormer(masks)), VisionTransformer(clip), config)
