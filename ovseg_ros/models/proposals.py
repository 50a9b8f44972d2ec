"""A MaskFormer that names its own proposals: SimBaseline's first stream, and a `MaskModel` by itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.mask_read_out import Proposals, name_logits, with_no_object
from ovseg_ros.models.maskformer import MaskFormer

SCALE = 100.0  # from cosines to logits, a constant


class MaskFormerProposer(nn.Module):
    """Proposals with embeddings by the decoder itself, which knows the classes that it was trained on; a `MaskModel`.

    Xu et al., arXiv 2112.14757, section 3.1: the classifier of MaskFormer ends in the text space, and "no object" is
    one more direction there.

    Args:
        net: the mask net, of any size.
        no_object: (1, D) the direction; None starts from a random one.
    """

    pixel_mean, pixel_std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
    stride, multiple, coarse, fine = 4, 32, 1, False

    def __init__(self, net: MaskFormer, no_object: Tensor | None = None) -> None:
        super().__init__()
        width = net.config.text_width
        if no_object is None:
            no_object = width**-0.5 * torch.randn(1, width)
        if no_object.shape != (1, width):
            raise ValueError(f'the direction of "no object" is {tuple(no_object.shape)}; expected (1, {width})')
        self.net = net
        self.no_object = nn.Parameter(no_object.detach().clone())

    def forward(self, pixels: Tensor, text: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Every state of the decoder, for losses on each: (N, 3, H, W) normalised, (K, S, D) words.

        Returns:
            mask logits (N, Q, H / 4, W / 4) and class logits (N, Q, K + 1), "no object" last, of each.
        """
        return [(state.masks, self.logits(F.normalize(state.embeddings, dim=2), text)) for state in self.net(pixels)]

    def features(self, pixels: Tensor, text: Tensor) -> Proposals:
        """See `onepass.MaskModel`; only what the last layer says is worked out."""
        features, coarsest = self.net.maps(pixels)
        predictor = self.net.predictor
        query = predictor.queries(coarsest, last=True)[0]
        return Proposals(predictor.masks(query, features), F.normalize(predictor.class_embed(query), dim=2))

    def classes(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """See `onepass.MaskModel`."""
        logits = self.logits(embeddings, text)
        return with_no_object(logits[..., :-1], logits[..., -1:])

    def logits(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """Scaled cosines: (N, Q, D) unit vectors, (K, S, D) -> (N, Q, K + 1), "no object" last."""
        nothing = embeddings @ F.normalize(self.no_object, dim=1).t()
        return SCALE * torch.cat([name_logits(embeddings, text), nothing], dim=2)
