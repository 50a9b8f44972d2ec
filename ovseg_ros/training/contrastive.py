"""Training the mini CLIP: crops against captions, and regions against words, both ways (InfoNCE).

CLIP (arXiv 2103.00020, section 2.3) contrasts whole images with captions. With a text tower that is frozen and knows
synonyms already, and few pictures, its patches would learn little; so the same loss also contrasts regions, pooled
from the dense features of the last block's value-only forms, with their words (as RegionCLIP, arXiv 2112.09106, does
with boxes). `dense: 0` leaves plain CLIP.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.clip_mini import MiniClip, as_segmenter, pool, save_mini_clip
from ovseg_ros.models.onepass import OnePass
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.choices import check_whole
from ovseg_ros.training.contrastive_batches import CropBatch, CropBatches
from ovseg_ros.training.contrastive_captions import CaptionWriter
from ovseg_ros.training.lexicon import lexicon_words
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.regions import CropMix
from ovseg_ros.training.task import Task, sizes_of
from ovseg_ros.training.words import balanced_weights

DEPLOYED = "naclip"  # the method of the exported graph


@dataclass(frozen=True)
class MiniClipSizes:
    """What a recipe's `model` may set.

    Attributes:
        patch, width, layers, heads: of the trunk; its MLP is four times as wide, its image the recipe's crop.
        dense: weight of the regions' loss beside the crops', 0 to leave it out.
        regions: the most regions of a crop that have a part in it.
        per_picture: crops from one picture in a row.
        scenes, window, grey, margin: see `regions.CropMix`.
    """

    patch: int = 16
    width: int = 192
    layers: int = 6
    heads: int = 3
    dense: float = 1.0
    regions: int = 4
    per_picture: int = 2
    scenes: float = 0.4
    window: tuple[float, float] = (0.2, 1.0)
    grey: float = 0.15
    margin: tuple[float, float] = (0.05, 0.4)

    def __post_init__(self) -> None:
        check_whole(self, dict.fromkeys(("patch", "width", "layers", "heads", "regions", "per_picture"), 1))
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}; expected a multiple of heads, {self.heads}")
        for key, most in (("dense", float("inf")), ("scenes", 1.0), ("grey", 1.0)):
            if not 0 <= (value := getattr(self, key)) <= most:
                raise ValueError(f"{key} is {value!r}; expected a number in 0..{most:g}")
        for key, least in (("window", 0.05), ("margin", 0.0)):
            low, high = getattr(self, key)
            if not least <= low <= high <= 1:
                raise ValueError(f"{key} is [{low}, {high}]; expected two rising numbers in {least:g}..1")

    def crops(self) -> CropMix:
        """How pictures are cropped."""
        return CropMix(**{f.name: getattr(self, f.name) for f in fields(CropMix)})


class MiniClipTask(Task[CropBatch]):
    """A mini CLIP on the frozen static text encoder; `crop` is the trunk's (square) image."""

    net: MiniClip
    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Recipe, encoder: StaticTextEncoder) -> None:
        super().__init__(recipe, encoder)
        self.sizes: MiniClipSizes = sizes_of(recipe.model, MiniClipSizes)
        side, patch = recipe.crop[0], self.sizes.patch
        if recipe.crop != (side, side) or side % patch:
            raise ModelError(f"crop is {list(recipe.crop)}; {recipe.name} needs a square of a multiple of {patch}")
        if recipe.deploy_size[0] % patch or recipe.deploy_size[1] % patch:
            raise ModelError(f"deploy_size is {list(recipe.deploy_size)}; expected multiples of the patch, {patch}")
        width = self.sizes.width
        config = ClipVisionConfig(
            side, patch, width, self.sizes.layers, self.sizes.heads, 4 * width, embed_dim=encoder.width
        )
        self.net = MiniClip(config)
        self.stride = patch
        for name, value in (("mean", config.mean), ("std", config.std)):
            self.register_buffer(name, 255 * torch.tensor(value).reshape(3, 1, 1), persistent=False)

    def loss(self, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Crops against captions, plus `dense` times regions against words, the mean over the dense forms."""
        images = (batch.images.float() - self.mean) / self.std
        whole, dense = self.net(images, dense=self.sizes.dense > 0)
        with torch.autocast(whole.device.type, enabled=False):
            scale = self.net.scale()
            captions = info_nce(whole.float(), batch.captions, scale, batch.captions_counted)
            logged = {"captions": captions, "scale": scale}
            if not dense:
                return captions, logged
            pooled = [pool(features.float(), batch.masks, batch.owner) for features in dense]
            regions = torch.stack([info_nce(p, batch.words, scale, batch.words_counted) for p in pooled]).mean()
        return captions + self.sizes.dense * regions, {**logged, "regions": regions}

    def batches(self, mix: Mix, parts: int) -> Dataset[Any]:
        """See `Task`."""
        recipe = self.recipe
        more = lexicon_words(mix.kinds, mix.forbidden) if recipe.words.lexicon else {}
        return CropBatches(
            mix,
            self.encoder,
            CaptionWriter(mix.kinds, recipe.words, more),
            recipe,
            crops=self.sizes.crops(),
            patch=self.sizes.patch,
            regions=self.sizes.regions,
            per_picture=self.sizes.per_picture,
            weights=balanced_weights(mix.pixel_counts(), recipe.balance),
            parts=parts,
        )

    def config(self) -> dict[str, Any]:
        """The name and every size."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.sizes).items()}
        return {"name": self.recipe.model["name"], **plain}

    def deployed(self, net: nn.Module, size: tuple[int, int]) -> OnePass:
        """NACLIP on the trunk, at its learned temperature."""
        assert isinstance(net, MiniClip)
        return OnePass(as_segmenter(net.trunk, DEPLOYED, size, net.scale().item()), size)

    def finish(self, folder: Path) -> dict[str, float]:
        """Write the trunk beside the exported graph, for `load_mini_clip`, and measure what the graph does not show.

        Args:
            folder: the checkpoint's.

        Returns:
            Scores by title: zero-shot accuracy on regions of unseen scenes, and dense mIoU by method.
        """
        from ovseg_ros.training.contrastive_measure import measure

        save_mini_clip(self.net.trunk, folder, text_identity=self.encoder.identity)
        return measure(self.net.trunk, self.encoder, self.recipe.deploy_size, self.net.scale().item())


def info_nce(seen: Tensor, text: Tensor, scale: Tensor, counted: Tensor) -> Tensor:
    """The contrastive loss both ways: image to text and text to image, their mean (CLIP, figure 3).

    Args:
        seen: (n, D) float; row i belongs to text i. Normalised here.
        text: (n + A, D) unit vectors; the last A belong to no image and are wrong answers alone.
        scale: from cosines to logits, a scalar.
        counted: (n, n + A) bool, which texts an image is compared with, its own always among them. The others, which
            may be true of it as well, have no part in either direction.

    Returns:
        A scalar.
    """
    n = len(seen)
    logits = scale * F.normalize(seen, dim=1) @ text.T
    logits = logits.masked_fill(~counted, -torch.inf)  # (n, n + A)
    own = torch.arange(n, device=seen.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits[:, :n].T, own)) / 2
