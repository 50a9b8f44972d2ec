"""Sizes of SAM's parts as data; the defaults are those of the published ViT-B model."""

from __future__ import annotations

from dataclasses import dataclass

PIXEL_MEAN = (0.485, 0.456, 0.406)  # of pixels in 0..1, RGB: ImageNet's, as SAM was trained with
PIXEL_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class SamEncoderConfig:
    """The image encoder, a ViT with windows.

    Attributes:
        image_size: pixels a side that it was trained on; sets the native grid of its positions.
        patch: pixels a side of a patch.
        width: channels of a token, C.
        depth: blocks.
        heads: attention heads, a divisor of `width`.
        mlp: hidden width of a block's MLP.
        window: patches a side of the window that a block attends in.
        global_blocks: indices of the blocks that attend to the whole image.
        neck: channels of the two convolutions after the last block; 0 for none (EBSeg).
    """

    image_size: int = 1024
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    window: int = 14
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    neck: int = 256

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of the {self.heads} heads: change either")
        if self.image_size % self.patch:
            raise ValueError(f"image_size {self.image_size} is no multiple of the patch, {self.patch}: change either")
        if any(not 0 <= i < self.depth for i in self.global_blocks):
            raise ValueError(f"global_blocks are {self.global_blocks}; expected indices from 0 to {self.depth - 1}")

    @property
    def grid(self) -> int:
        """Patches a side of the native grid."""
        return self.image_size // self.patch


@dataclass(frozen=True)
class SamDecoderConfig:
    """Prompt encoder and mask decoder.

    Attributes:
        width: channels of prompts and image embedding.
        mask_channels: of the convolutions that a mask prompt passes.
        heads: of every attention.
        mlp: hidden width of a two-way block's MLP.
        depth: two-way blocks.
        masks: masks for an ambiguous prompt; one more for an unambiguous one.
        iou_hidden, iou_depth: the MLP that predicts each mask's quality.
    """

    width: int = 256
    mask_channels: int = 16
    heads: int = 8
    mlp: int = 2048
    depth: int = 2
    masks: int = 3
    iou_hidden: int = 256
    iou_depth: int = 3
