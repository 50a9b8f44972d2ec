"""GKC's teacher: a frozen CLIP image encoder that looks at one segment at a time.

What it makes of a segment is what the query matched to it learns from (arXiv 2303.09181, text-guided distillation); and
which synonyms it finds likely for a segment decides which of them training may use (text diversification).

It is never trained and its batch norms always use their stored statistics. The released code leaves the teacher in
training mode with the rest of the model, so that there its embeddings depend on which crops share a batch; the paper
calls it frozen, and so is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.clip import VisionTransformer
from ovseg_ros.models.clip_resnet import ModifiedResNet

GREY = 128.0  # what is not the segment, in 0..255
BATCH = 50  # crops encoded at a time


class Teacher(nn.Module):
    """A CLIP image encoder, frozen for good.

    Args:
        clip: gives the embedding of an image, and the statistics its input is normalised with.
        side: pixels a side of what it is shown; None takes the size that it was trained on. As published 224, which is
            CLIP's own.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: VisionTransformer | ModifiedResNet, side: int | None = None) -> None:
        super().__init__()
        self.clip = clip.eval().requires_grad_(False)
        self.side = clip.config.image_size if side is None else side
        self.register_buffer("mean", 255 * torch.tensor(clip.config.mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(clip.config.std).reshape(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Teacher:
        """Stays in evaluation mode, whatever is asked of the model around it."""
        return super().train(False)

    @torch.no_grad()
    def crops(self, image: Tensor, masks: Tensor, *, masked: bool = True) -> tuple[Tensor, Tensor]:
        """Segments cut out of an image, as the teacher looks at them.

        Args:
            image: (3, H, W) uint8 RGB, best as it was before any augmentation.
            masks: (M, H, W) bool.
            masked: grey outside the segment, as for distillation; otherwise what the image has there, as for the
                choice of synonyms.

        Returns:
            (m, 3, s, s) float, normalised; and (m,) int64, which segments these are: empty ones are left out.

        Raises:
            ValueError: the image is no uint8, or of another size than its masks.
        """
        if image.dtype != torch.uint8 or image.shape[1:] != masks.shape[1:]:
            raise ValueError(
                f"the image is {tuple(image.shape)} {image.dtype} and its masks {tuple(masks.shape)}; expected "
                "(3, H, W) uint8 and (M, H, W)"
            )
        kept = masks.flatten(1).any(dim=1).nonzero()[:, 0]
        pixels = image.to(torch.float32)
        cut = []
        for mask in masks[kept]:
            box = _box(mask)
            shown = torch.where(mask, pixels, GREY) if masked else pixels
            cut.append((self._resized(shown[:, box[0], box[1]]) - self.mean) / self.std)
        return torch.stack(cut) if cut else pixels.new_zeros(0, 3, self.side, self.side), kept

    @torch.no_grad()
    def forward(self, crops: Tensor) -> Tensor:
        """CLIP's embeddings, not normalised: (m, 3, s, s) -> (m, D); m may be 0."""
        if not len(crops):
            return crops.new_zeros(0, self.clip.config.embed_dim)
        return torch.cat([self.clip.image_features(part) for part in torch.split(crops, BATCH)])

    def look(
        self, images: Sequence[Tensor], masks: Sequence[Tensor], chosen: Sequence[Tensor] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What it makes of the segments of a batch: `segments` and `embeddings` of `training.losses.gkc.GkcTeaching`.

        Args:
            images: (3, H, W) uint8 each, of any size each.
            masks: (M, H, W) bool of each.
            chosen: (t,) int64 of each, the segments to look at; None takes all. Published: at most 200 a batch,
                `training.losses.distillation.choose_segments`.

        Returns:
            (m,) int64 for each image, the segments that were not empty; and (m, D) float for each, not normalised.
        """
        chosen = [torch.arange(len(own)) for own in masks] if chosen is None else chosen
        segments, crops = [], []
        for image, own, these in zip(images, masks, chosen, strict=True):
            cut, kept = self.crops(image, own[these.to(own.device)])
            segments.append(these.to(kept.device)[kept])
            crops.append(cut)
        embeddings = self(torch.cat(crops))
        return segments, list(torch.split(embeddings, [len(own) for own in crops]))

    def _resized(self, crop: Tensor) -> Tensor:
        """As Pillow resizes, bicubic, antialias, to whole values after each axis: (3, h, w) -> (3, s, s)."""
        x = crop[None]
        for size in ((crop.shape[1], self.side), (self.side, self.side)):
            x = F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False).round().clamp(0, 255)
        return x[0]


def _box(mask: Tensor) -> tuple[slice, slice]:
    """Rows and columns around a mask (H, W), not empty.

    As published, its last row and its last column stay outside; where that would leave nothing, they do not.
    """
    rows, columns = (mask.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    first, last = (int(rows[0]), int(columns[0])), (int(rows[-1]), int(columns[-1]))
    top, left = (slice(a, max(b, a + 1)) for a, b in zip(first, last, strict=True))
    return top, left
