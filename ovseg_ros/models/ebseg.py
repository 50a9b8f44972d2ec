"""EBSeg: masks from SAM, words from CLIP, and three embeddings of each mask in balance.

Shan et al., "Open-Vocabulary Semantic Segmentation with Image Embedding Balancing", CVPR 2024, arXiv 2406.09829.
SAM's frozen encoder and CLIP's first blocks feed a Mask2Former decoder ("AdaB", section 3.2). Each of its masks has
three embeddings in the text space: A, trained on the classes of the data set; B, of a query that runs through CLIP's
last blocks and looks where the mask is; D, CLIP's own features pooled in the mask. Their class probabilities are
multiplied with exponents that know which classes were trained on (section 3.3).

Deployed, nothing runs whose result is not used: A, the biases and B only for the decoder's last state, the streams
of CLIP once (`ebseg_clip`), queries projected instead of pixels (`ebseg_heads`). The results are those of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.balance import Exponents, balance, ebseg_exponents
from ovseg_ros.models.clip import VisionTransformer
from ovseg_ros.models.ebseg_clip import Streams, extract, recognise
from ovseg_ros.models.ebseg_config import EbsegConfig
from ovseg_ros.models.ebseg_decoder import adab_decoder, pixel_decoder
from ovseg_ros.models.ebseg_inputs import DIVISOR, for_clip, padded_inputs, whole_patches
from ovseg_ros.models.ebseg_pooling import pool_inside
from ovseg_ros.models.ebseg_words import SeenWords
from ovseg_ros.models.mask_read_out import Proposals, name_logits
from ovseg_ros.models.sam.config import PIXEL_MEAN, PIXEL_STD
from ovseg_ros.models.sam.image_encoder import ImageEncoder
from ovseg_ros.models.sam.layers import MapNorm

LOG_100 = 4.6052  # CLIP's own scale of logits
FROM_SAM = (1.0, 2.0, 1.0, 0.5)  # scales of its maps; the first is brought to stride 4 by the pixel decoder


class EbsegState(NamedTuple):
    """What training punishes of one state of the decoder.

    Attributes:
        masks: (N, Q, h, w) logits, at stride 4.
        a, b: (N, Q, D), the embeddings A and B.
    """

    masks: Tensor
    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class Encoded:
    """What both encoders make of the images.

    Attributes:
        mask_features: (N, C, h, w), at stride 4.
        levels: what queries look at, (N, C, h_i, w_i) at strides 32, 16, 8.
        streams: CLIP's tokens before the recognition head.
    """

    mask_features: Tensor
    levels: list[Tensor]
    streams: Streams


class Ebseg(nn.Module):
    """EBSeg, an `onepass.MaskModel`.

    Args:
        config: sizes.
    """

    pixel_mean, pixel_std = PIXEL_MEAN, PIXEL_STD
    stride, multiple = 4, DIVISOR
    coarse = 2
    fine = False

    def __init__(self, config: EbsegConfig) -> None:
        super().__init__()
        self.config = config
        self.exponents: tuple[Exponents, Exponents, Exponents]  # of A, D and B
        self.exponents = ebseg_exponents(config.alpha, config.beta, config.gamma)
        self.clip = VisionTransformer(config.clip)
        self.sam = ImageEncoder(config.sam)
        self.fusion = nn.ModuleList(
            nn.Sequential(MapNorm(config.clip.width), nn.Conv2d(config.clip.width, config.sam.width, 1))
            for _ in config.fused
        )
        self.pixel_decoder = pixel_decoder(config)
        self.decoder = adab_decoder(config)
        self.bg_embed = nn.Parameter(torch.randn(1, config.clip.embed_dim) * config.clip.embed_dim**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(LOG_100))
        self.seen = SeenWords(config.clip.embed_dim)

    # deployment

    def features(self, pixels: Tensor, text: Tensor) -> Proposals:
        """See `onepass.MaskModel`; the words are not looked at.

        Args:
            pixels: (N, 3, H, W) normalised by SAM's statistics, H and W multiples of 32.
            text: unused.

        Returns:
            Masks (N, Q, H/4, W/4) and their embeddings side by side, (N, Q, 3 D): A, D, B; those that the balance
            leaves out are neither computed nor there.
        """
        return self.propose(pixels, for_clip(pixels, self.config.clip, self.config.clip_scale))

    def propose(self, sam_pixels: Tensor, clip_pixels: Tensor) -> Proposals:
        """As `features`, from both encoders' own inputs (`ebseg_inputs.padded_inputs`)."""
        d_counts, b_counts = (e.seen > 0 or e.new > 0 for e in self.exponents[1:])
        encoded = self.encode(sam_pixels, clip_pixels, second=d_counts)
        state = self.decoder.last_state(encoded.levels, encoded.mask_features)
        embeddings = [self.decoder.embedding(state.query, state.masks, encoded.mask_features)]
        if not b_counts and not d_counts:
            return Proposals(state.masks, embeddings[0])
        bias = self.decoder.biases(state.mask_embedding, encoded.mask_features, encoded.streams.grid)
        b, dense = recognise(self.clip, encoded.streams, self.config.recognise_from, bias)
        if dense is not None:
            small = F.interpolate(state.masks, size=dense.shape[2:], mode="bilinear", align_corners=False)
            embeddings.append(pool_inside(small, dense))
        if b_counts:
            embeddings.append(b)
        return Proposals(state.masks, torch.cat(embeddings, dim=-1))

    def classes(self, embeddings: Tensor, text: Tensor, seen: Tensor | None = None) -> Tensor:
        """Probabilities of classes by their best synonym, "no object" dropped.

        Args:
            embeddings: (N, Q, n D) of `features`.
            text: (K, S, D) unit vectors.
            seen: (K,) float, 1 for classes that were trained on; default by the names that `self.seen` remembers.

        Returns:
            (N, Q, K).
        """
        seen = self.seen(text) if seen is None else seen
        used = [e for i, e in enumerate(self.exponents) if i == 0 or e.seen > 0 or e.new > 0]
        terms = embeddings.chunk(len(used), dim=-1)
        logits = [self.logits(term, text) for term in terms]
        void = logits[0].softmax(dim=-1)[..., -1:]
        return balance([y[..., :-1].softmax(dim=-1) for y in logits], used, seen, void)

    def logits(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """Scaled products with the words, the best synonym of each class, and "no object" last.

        Args:
            embeddings: (N, Q, D), A, B or D.
            text: (K, S, D) unit vectors.

        Returns:
            (N, Q, K + 1).
        """
        background = embeddings @ F.normalize(self.bg_embed, dim=-1).t()
        return torch.cat([name_logits(embeddings, text), background], dim=-1) * self.logit_scale.exp()

    # training

    def forward(self, pixels: Tensor) -> list[EbsegState]:
        """All states of the decoder, from before its first layer to after its last, for the losses.

        The queries of all states run through CLIP side by side, as none sees another.

        Args:
            pixels: as for `features`.
        """
        clip_pixels = for_clip(pixels, self.config.clip, self.config.clip_scale)
        encoded = self.encode(pixels, clip_pixels, second=False)
        states = self.decoder.states(encoded.levels, encoded.mask_features)
        embeddings = torch.cat([state.mask_embedding for state in states], dim=1)  # (N, states * Q, C)
        bias = self.decoder.biases(embeddings, encoded.mask_features, encoded.streams.grid)
        b, _ = recognise(self.clip, encoded.streams, self.config.recognise_from, bias)
        return [
            EbsegState(state.masks, self.decoder.embedding(state.query, state.masks, encoded.mask_features), own)
            for state, own in zip(states, b.chunk(len(states), dim=1), strict=True)
        ]

    def freeze(self, *, sam: bool = True) -> Ebseg:
        """Leave to training what the paper trains: not CLIP nor SAM, but the positions of both.

        Args:
            sam: freeze SAM's encoder; not where it starts from random numbers.
        """
        self.requires_grad_(True)
        self.clip.requires_grad_(False)
        self.logit_scale.requires_grad_(False)
        self.clip.positions.table.requires_grad_(True)
        if sam:
            self.sam.requires_grad_(False)
            self.sam.pos_embed.requires_grad_(True)
        return self

    # both

    def encode(self, sam_pixels: Tensor, clip_pixels: Tensor, *, second: bool) -> Encoded:
        """Both encoders, their fusion and the pixel decoder; `second` asks for CLIP's second stream."""
        c = self.config
        streams = extract(
            self.clip,
            whole_patches(clip_pixels, c.clip.patch),
            c.recognise_from,
            c.fused,
            c.second_from if second else None,
        )
        maps = [
            x if scale == 1 else F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
            for x, scale in zip(self.sam.taps(sam_pixels, c.sam_taps), FROM_SAM, strict=True)
        ]
        for i, (fuse, x) in enumerate(zip(self.fusion, streams.maps, strict=True), start=1):
            maps[i] = maps[i] + F.interpolate(fuse(x), size=maps[i].shape[2:], mode="bilinear", align_corners=False)
        mask_features, levels = self.pixel_decoder(maps)
        return Encoded(mask_features, levels, streams)

    def bake(self, size: tuple[int, int]) -> None:
        """Resize all position tables for images of (height, width), for export; others are refused afterwards."""
        height, width = (int(self.config.clip_scale * side) // self.config.clip.patch for side in size)
        self.clip.bake((height, width))
        self.sam.bake((size[0] // self.config.sam.patch, size[1] // self.config.sam.patch))


@torch.no_grad()
def class_map(model: Ebseg, image: Tensor, text: Tensor, out: tuple[int, int], seen: Tensor | None = None) -> Tensor:
    """The class map of the published code at the size of the labels, for measurements.

    An image of any size is padded to a multiple of 32; masks are enlarged to the padded size, cropped, resized to
    `out`, and only then mixed: sum over proposals of probability times sigmoid(mask).

    Args:
        model: in evaluation mode.
        image: (N, 3, H, W) RGB in 0..255.
        text: (K, S, D) unit vectors.
        out: (height, width) of the result.
        seen: see `Ebseg.classes`.

    Returns:
        (N, K, height, width) float.
    """
    sam_pixels, clip_pixels = padded_inputs(image, model.config.clip, model.config.clip_scale)
    proposals = model.propose(sam_pixels, clip_pixels)
    classes = model.classes(proposals.embeddings, text, seen)  # (N, Q, K)
    masks = F.interpolate(proposals.masks, size=sam_pixels.shape[2:], mode="bilinear", align_corners=False)
    masks = masks[:, :, : image.shape[2], : image.shape[3]]
    masks = F.interpolate(masks, size=out, mode="bilinear", align_corners=False).sigmoid()
    return torch.einsum("nqk,nqhw->nkhw", classes, masks)
