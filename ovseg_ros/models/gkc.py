"""GKC: a mask network whose queries land in CLIP's text space, and no CLIP image encoder beside it.

Han et al., "Global Knowledge Calibration for Fast Open-Vocabulary Segmentation", ICCV 2023, arXiv 2303.09181. CLIP's
ResNet is fine-tuned as the backbone of Mask2Former, and each query is projected into the text space. What keeps the
open vocabulary alive while it learns the words of one data set is in the training alone: synonyms drawn for every
segment (`training.diversification`), and a frozen CLIP that shows what its image encoder makes of each segment
(`gkc_teacher`), held to how the words lie (`training.losses.distillation`).

Deployed, it is one trunk and two decoders, and nothing runs whose result is not used: the decoder's last state alone
has a class, no state a student. The results are those of the published code.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.clip_config import ClipResNetConfig
from ovseg_ros.models.gkc_config import GkcConfig
from ovseg_ros.models.gkc_trunk import ResNetTrunk, ViTTrunk
from ovseg_ros.models.mask2former import DecoderConfig, MaskedDecoder, PixelDecoder
from ovseg_ros.models.mask_read_out import Proposals, measured_class_map, name_logits

MEAN = (0.485, 0.456, 0.406)  # ImageNet's, of pixels in 0..1, RGB: as published, though the trunk is CLIP's
STD = (0.229, 0.224, 0.225)


class GkcState(NamedTuple):
    """What training punishes of one state of the decoder; `training.losses.gkc.GkcState` takes the three in order.

    Attributes:
        masks: (N, Q, h, w) logits, at stride 4.
        embeddings: (N, Q, D), in the text space, of any length.
        students: (N, Q, D'), in the teacher's space, of any length; None without a teacher.
    """

    masks: Tensor
    embeddings: Tensor
    students: Tensor | None


class GkcDecoder(MaskedDecoder):
    """Mask2Former's decoder, with a linear layer on the queries that all heads of a state start from."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.class_embed = nn.Linear(config.width, config.width)


class Gkc(nn.Module):
    """The model; an `onepass.MaskModel`.

    Args:
        config: sizes.
    """

    pixel_mean, pixel_std = MEAN, STD
    stride, multiple = 4, 32
    coarse = 2
    fine = False

    def __init__(self, config: GkcConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or GkcConfig()
        self.backbone: ResNetTrunk | ViTTrunk
        if isinstance(c.clip, ClipResNetConfig):
            self.backbone = ResNetTrunk(c.clip)
        else:
            self.backbone = ViTTrunk(c.clip, c.taps)
        self.pixel_decoder = PixelDecoder(c.pixel_decoder(self.backbone.channels))
        self.decoder = GkcDecoder(c.decoder())
        width = c.clip.embed_dim
        # every state has projections of its own; those of all but the last serve training
        self.embed_proj = nn.Linear(c.width, width)
        self.aux_embed_proj = nn.ModuleList(nn.Linear(c.width, width) for _ in range(c.layers))
        if c.teacher is not None:
            self.kd_proj = nn.Linear(c.width, c.teacher)
            self.aux_kd_proj = nn.ModuleList(nn.Linear(c.width, c.teacher) for _ in range(c.layers))
            self.text_scale = nn.Parameter(torch.ones(()))  # s of `training.losses.distillation`
        self.no_object = nn.Parameter(width**-0.5 * torch.randn(1, width))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(c.scale)), requires_grad=c.learn_scale)

    # training

    def forward(self, pixels: Tensor) -> list[GkcState]:
        """All states of the decoder, from before its first layer to after its last, for the losses.

        Args:
            pixels: as for `features`.

        Raises:
            ValueError: the sides of the pixels are no multiples of 32.
        """
        mask_features, levels = self.pixel_decoder(self.backbone.maps(pixels))
        states = self.decoder.states(levels, mask_features)
        return [
            GkcState(state.masks, *self.heads(self.decoder.class_embed(state.query), i))
            for i, state in enumerate(states)
        ]

    def heads(self, f: Tensor, state: int) -> tuple[Tensor, Tensor | None]:
        """A state's embeddings and students: `class_embed`'s output (N, Q, C) -> (N, Q, D) and (N, Q, D')."""
        last = state == self.config.layers
        embed = self.embed_proj if last else self.aux_embed_proj[state]
        students = None
        if self.config.teacher is not None:
            # as published, of f itself, where the embedding is of ReLU(f)
            students = (self.kd_proj if last else self.aux_kd_proj[state])(f)
        return embed(F.relu(f)), students

    # deployment

    def features(self, pixels: Tensor, text: Tensor) -> Proposals:
        """See `onepass.MaskModel`; the words are not looked at.

        Args:
            pixels: (N, 3, H, W) normalised by `pixel_mean` and `pixel_std`, H and W multiples of 32.
            text: unused.

        Returns:
            Masks (N, Q, H/4, W/4) and their embeddings, (N, Q, D) unit vectors.
        """
        mask_features, levels = self.pixel_decoder(self.backbone.maps(pixels))
        state = self.decoder.last_state(levels, mask_features)
        return Proposals(state.masks, self.embed(self.decoder.class_embed(state.query)))

    def embed(self, f: Tensor) -> Tensor:
        """Queries of the last state in the text space: `class_embed`'s output (N, Q, C) -> (N, Q, D) unit vectors."""
        return F.normalize(self.embed_proj(F.relu(f)), dim=-1)

    def classes(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """See `onepass.MaskModel`."""
        return self.logits(embeddings, text).softmax(dim=-1)[..., :-1]

    def logits(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """Scaled cosines, the best synonym of each class, "no object" last.

        Args:
            embeddings: (N, Q, D) unit vectors.
            text: (K, S, D) unit vectors.

        Returns:
            (N, Q, K + 1).

        Raises:
            ValueError: the words are of another text space.
        """
        if text.shape[-1] != embeddings.shape[-1]:
            raise ValueError(
                f"the words' embeddings have {text.shape[-1]} numbers each, the model's text space "
                f"{embeddings.shape[-1]}: encode the words with the model's own text encoder"
            )
        no_object = embeddings @ F.normalize(self.no_object, dim=-1).t()  # (N, Q, 1)
        return self.logit_scale.exp() * torch.cat([name_logits(embeddings, text), no_object], dim=-1)

    def class_map(self, pixels: Tensor, text: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, K, height, width) of the size asked for; see `mask_read_out.measured_class_map`."""
        return measured_class_map(self, pixels, text, size)

    def bake(self, size: tuple[int, int]) -> None:
        """Resize position tables once for (height, width) of the input; a ResNet has none and still takes any size."""
        self.backbone.bake(size)
