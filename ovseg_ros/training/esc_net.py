"""Training ESC-Net's mini: masks of the words, from CLIP's correlation and SAM's blocks that it prompts.

Lee et al., "Effective SAM Combination for Open-Vocabulary Semantic Segmentation", CVPR 2025, arXiv 2411.14723. No code
was published. The paper says a cross entropy of pixels, and learning rates of a hundredth for CLIP's attention and for
SAM's blocks, which come pretrained. What differs here:

- CLIP comes from `clip-mini`. SAM's blocks come from random numbers, as no SAM is as small, so they learn at the full
  rate; a recipe's `multipliers` say which rate CLIP has (`trunk.clip.`).
- Pictures have pixels that show none of the words asked, which a softmax over words cannot say. `other` adds that
  answer, at a logit of 0; without it such pixels teach nothing. `sigmoid` is CAT-Seg's loss (arXiv 2303.11797), where
  each word is a yes or no and "none of these" a no to all.
- A picture is trained with few of its batch's words, `train_budget`: those it shows, then those that CLIP finds nearest
  to being there. Words cost what pictures cost, and the nearest wrong ones teach most.
- A word that a picture is not asked about (`Batch.asked`) has no part in its loss, nor have pixels without truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.catseg_correlation import spread
from ovseg_ros.models.catseg_pass import ShortlistPass
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.esc_config import EscConfig, Prompts
from ovseg_ros.models.esc_net import EscNet, Learning
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.batches import Batch
from ovseg_ros.training.choices import check_flags, check_whole
from ovseg_ros.training.clip_task import NEVER, ClipTask
from ovseg_ros.training.losses import dice_loss
from ovseg_ros.training.losses.precision import in_float32
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.words import IGNORE

COUNTS = ("layers", "regions", "iterations", "budget", "train_budget", "width", "guidance", "sam_width")


@dataclass(frozen=True)
class EscChoices:
    """What a recipe's `model` may set; `EscConfig` and `AggregatorConfig` tell what it means.

    Attributes:
        prompts, alpha, regions, iterations, temperature, budget, sigmoid, other: as `EscConfig`'s.
        layers: ESC blocks; the paper has four.
        depth: two-way blocks in a SAM block; 0 leaves the SAM block out.
        train_budget: words that a picture is trained with at most.
        learn: which of CLIP's weights learn, see `EscNet.learn`.
        width, guidance: channels of the fusion and of what guides it.
        sam_width: channels of prompts and SAM block.
    """

    prompts: Prompts = "both"
    alpha: float = 0.5
    regions: int = 5
    iterations: int = 10
    temperature: float = 1.0
    layers: int = 2
    depth: int = 2
    budget: int = 32
    train_budget: int = 16
    sigmoid: bool = False
    other: bool = False
    learn: Learning = "attention"
    width: int = 48
    guidance: int = 32
    sam_width: int = 64

    def __post_init__(self) -> None:
        check_whole(self, {**dict.fromkeys(COUNTS, 1), "depth": 0})
        check_flags(self, ("sigmoid", "other"))
        if self.sigmoid and self.other:
            raise ValueError("other is true beside sigmoid, whose words can all be a no anyway; leave one of them out")
        if self.learn not in get_args(Learning):
            raise ValueError(f"learn is {self.learn!r}; expected {', '.join(get_args(Learning))}")

    def config(self, clip: ClipVisionConfig) -> EscConfig:
        """The mini around a CLIP, with these choices.

        Raises:
            ValueError: the model cannot have them.
        """
        mini = EscConfig.mini(clip)
        fusion = replace(mini.fusion, width=self.width, guidance=self.guidance, layers=self.layers)
        sam = replace(mini.sam, width=self.sam_width, mlp=2 * self.sam_width, depth=self.depth)
        own = ("prompts", "alpha", "regions", "iterations", "temperature", "budget", "sigmoid", "other")
        return replace(mini, fusion=fusion, sam=sam, **{name: getattr(self, name) for name in own})


class EscNetTask(ClipTask[EscChoices]):
    """ESC-Net on a mini CLIP; `recipe.dice` weighs a dice loss beside the paper's cross entropy."""

    Choices = EscChoices
    net: EscNet

    def __init__(self, recipe: Recipe, encoder: StaticTextEncoder) -> None:
        super().__init__(recipe, encoder)
        try:
            net = EscNet(self.choices.config(self.clip.config))
        except (TypeError, ValueError) as error:
            raise ModelError(f"model: {recipe.model['name']} cannot have these sizes: {error}") from error
        net.trunk.clip.load_state_dict(self.clip.state_dict())
        net.learn(self.choices.learn)
        self.net = net

    def batch_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The entropy of pixels over the words that count for their picture, and `dice` times the dice loss."""
        count = len(batch.words)
        ranks = shown(batch.targets, count).int() + batch.asked.int()  # what is not asked comes last
        found = self.net.shortlist(self.pixels(batch), batch.text[:, None], ranks, self.choices.train_budget)
        kept = torch.zeros_like(batch.asked).scatter(1, found.classes, True)  # (B, K)
        terms = word_losses(
            spread(found, count),
            batch.targets,
            batch.weights,
            batch.asked & kept,
            other=self.choices.other,
            sigmoid=self.choices.sigmoid,
            dice=self.recipe.dice,
        )
        return torch.stack(list(terms.values())).sum(), terms

    def one_pass(self, net: nn.Module, size: tuple[int, int]) -> ShortlistPass:
        """Only the shortlist reaches the size of the image."""
        return ShortlistPass(net, size)


def shown(targets: Tensor, count: int) -> Tensor:
    """Which of `count` words each picture's truth has: (B, h, w) int64 as `Batch.targets` -> (B, count) bool."""
    place = targets.flatten(1).where(targets.flatten(1) != IGNORE, count)  # (B, h w), no word at `count`
    return torch.zeros(len(targets), count + 1, device=targets.device).scatter(1, place, 1.0)[:, :count] > 0


@in_float32
def word_losses(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    counted: Tensor,
    *,
    other: bool = False,
    sigmoid: bool = False,
    dice: float = 0.0,
) -> dict[str, Tensor]:
    """What pixels are to say about the words that count for their picture.

    Args:
        logits: (B, K, h, w) float, upsampled bilinear to the truth's size.
        targets: (B, H, W) int64 in 0..K (K: none of these words), -100 ignored. A pixel of a word that does not count
            is ignored as well; so is K where it is no answer.
        weights: (K + 1,) float, the share of each target's pixels in the cross entropy.
        counted: (B, K) bool; the other words' logits have no part.
        other: "none of these words" is an answer of the softmax, its logit 0.
        sigmoid: binary entropy of every word by itself, unweighted, in place of the cross entropy over all.
        dice: weight of `losses.dice_loss`, over the softmax in which the masks are read out.

    Returns:
        Float32 scalars "entropy" and, where it has a weight, "dice"; 0 where every pixel is ignored.
    """
    scores = logits.float()
    if scores.shape[2:] != targets.shape[1:]:
        scores = F.interpolate(scores, size=targets.shape[1:], mode="bilinear", align_corners=False)
    none = other or sigmoid
    answers = torch.cat([counted, torch.full_like(counted[:, :1], none)], dim=1)  # (B, K + 1)
    answered = answers.gather(1, targets.clamp(min=0).flatten(1)).reshape(targets.shape)
    truth = targets.where(answered, IGNORE)  # which leaves what was ignored before as it is, too
    masked = scores.masked_fill(~counted[:, :, None, None], NEVER)
    whole = torch.cat([masked, torch.full_like(scores[:, :1], 0.0 if none else NEVER)], dim=1)  # (B, K + 1, H, W)
    entropy = _each_entropy(scores, truth, counted) if sigmoid else _entropy(whole, truth, weights)
    terms = {"entropy": entropy}
    if dice:
        terms["dice"] = dice * dice_loss(whole.softmax(dim=1), truth)
    return terms


def _entropy(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross entropy: (B, K + 1, H, W), (B, H, W), (K + 1,) -> scalar."""
    total = (weights[truth.clamp(min=0)] * (truth != IGNORE)).sum().clamp(min=1e-6)
    return F.cross_entropy(logits, truth, weight=weights, ignore_index=IGNORE, reduction="sum") / total


def _each_entropy(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Mean binary entropy over words and pixels that count: (B, K, H, W), (B, H, W), (B, K) -> scalar."""
    known = truth != IGNORE
    yes = F.one_hot(truth.where(known, logits.shape[1]), logits.shape[1] + 1)[..., :-1].movedim(3, 1)
    mask = counted[:, :, None, None] & known[:, None]  # (B, K, H, W)
    entropy = F.binary_cross_entropy_with_logits(logits, yes.to(logits), reduction="none")
    return (entropy * mask).sum() / mask.sum().clamp(min=1)
