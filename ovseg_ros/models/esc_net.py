"""ESC-Net: blocks of SAM's decoder, prompted by CLIP's correlation, between CLIP and its upsampling.

Lee et al., "Effective SAM Combination for Open-Vocabulary Semantic Segmentation", CVPR 2025, arXiv 2411.14723. No code
was published; `EscConfig` and `esc_block` say what of this is the paper's and what is our choice. Correlation, fusion
and decoder are CAT-Seg's (`catseg`), which the paper builds on.

A fixed budget of classes is looked at, so that time does not grow with the vocabulary (`catseg_correlation`).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ovseg_ros.models.catseg import CostModel, Embedding
from ovseg_ros.models.catseg_correlation import Correlation
from ovseg_ros.models.catseg_decoder import Decoder
from ovseg_ros.models.esc_block import EscBlock
from ovseg_ros.models.esc_config import EscConfig
from ovseg_ros.models.sam.prompt_encoder import PromptEncoder

Learning = Literal["attention", "nothing", "everything"]
SAM_SIDE = 1024  # pixels of the image that SAM's coordinates refer to; cells of any grid are placed in it


class EscNet(CostModel):
    """ESC-Net; a `catseg_pass.ShortlistModel`, so an `onepass.DenseModel`, and trained through `forward`.

    Args:
        config: sizes and choices.
    """

    def __init__(self, config: EscConfig | None = None) -> None:
        self.config = c = config or EscConfig()
        super().__init__(c.clip, c.fusion, c.budget)
        self.sigmoid = c.sigmoid
        grid = SAM_SIDE // 16
        self.prompt_encoder = PromptEncoder(c.sam, (grid, grid), (SAM_SIDE, SAM_SIDE))
        self.embedding = Embedding(c.fusion, c.clip.embed_dim)
        self.blocks = nn.ModuleList(EscBlock(c, first=i == 0) for i in range(c.fusion.layers))
        self.decoder = Decoder(c.fusion)

    def aggregate(self, found: Correlation, features: Tensor, taps: tuple[Tensor, Tensor]) -> Tensor:
        """See `CostModel`."""
        volume, words = self.embedding(found)
        for block in self.blocks:
            features, volume = block(features, volume, found.cosines, words, self.prompt_encoder)
        logits: Tensor = self.decoder(volume, taps)
        return logits

    def other_logit(self) -> Tensor | None:
        """See `CostModel`; a softmax over the words may have that answer as well (`EscConfig.other`)."""
        return self.prompt_encoder.no_mask_embed.weight.new_zeros(()) if self.config.other else super().other_logit()

    def learn(self, clip: Learning = "attention") -> list[nn.Parameter]:
        """Let learn what the paper trains, and freeze the rest.

        Published is that the attention weights of CLIP learn at a hundredth of the rate, as does the SAM block; of CLIP
        that is `attn.in_proj_weight` of every block here, and the positions as in CAT-Seg. Parts that the config's
        ablation leaves idle are frozen, so that every parameter that learns has a gradient.

        Args:
            clip: which of CLIP's weights learn; "nothing" for the frozen trunk, "everything" for one from scratch.

        Returns:
            the parameters that learn.
        """
        self.requires_grad_(True)
        for name, parameter in self.trunk.clip.named_parameters():
            attention = name.endswith("attn.in_proj_weight") or name == "positions.table"
            parameter.requires_grad_(clip == "everything" or (clip == "attention" and attention))
        encoder = self.prompt_encoder
        idle: list[nn.Module] = [encoder.point_embeddings[i] for i in (0, 2, 3)]
        if not self.config.uses_points:
            idle.append(encoder.point_embeddings[1])
        idle.append(encoder.no_mask_embed if self.config.uses_masks else encoder.mask_downscaling)
        if not self.config.sam.depth:
            idle.append(encoder)
        for module in idle:
            module.requires_grad_(False)
        return [parameter for parameter in self.parameters() if parameter.requires_grad]
