"""Training DeOP's mini: first the mask net alone, then the anchors on frozen masks.

Han et al., arXiv 2304.01198, in three stages. The first learns a prompt of the text tower; the minis' text encoder is
static and takes no prompt, so it has none. The second (`stage: masks`) is MaskFormer's (arXiv 2107.06278) with a
matching that leaves the class out. The third (`stage: anchors`) matches nothing: it punishes the read-out. Both train
the same network, so that a recipe of the third starts from the second's weights (`start`).

Two things differ from the published losses, since our words change with every batch and our pictures are labelled in
part. A word that a picture is not asked about has no part in its loss, and "none of these words" is "no object". And
cells without truth are left out, where the released code makes them examples of nothing; `unlabelled: no-object` is as
released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.deop import Classifier, Deop, DeopConfig, Stage
from ovseg_ros.models.deop_severance import Severance
from ovseg_ros.models.maskformer import MaskFormerConfig
from ovseg_ros.models.resnet import ResNetConfig
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.batches import Batch
from ovseg_ros.training.choices import check_whole, is_number, is_whole
from ovseg_ros.training.clip_task import ClipTask, asked_logits
from ovseg_ros.training.losses.criterion import DEOP, MaskLosses, Terms, criterion, total
from ovseg_ros.training.losses.per_pixel import deop_terms
from ovseg_ros.training.matching import MaskState, Segments
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.words import IGNORE

Unlabelled = Literal["left-out", "no-object"]


@dataclass(frozen=True)
class DeopChoices:
    """What a recipe's `model` may set.

    Attributes:
        stage: what learns: "masks", the mask net; "anchors", what names its proposals.
        severance: of CLIP's last block, see `deop_severance`.
        residual: factor of that block's own input.
        classifier: "anchors", or "pooling" for plain means inside proposals, which needs no third stage. Empty:
            anchors after the stage that trains them, pooling before.
        temperature: from cosines to logits.
        positions: whether CLIP has extra positions, which the third stage trains.
        unlabelled: what a cell without truth teaches; see above.
        mask, dice, named: weights of the second stage's focal, dice and class loss. At its temperature the last one
            outweighs the others in a mask net without pretrained weights, and no class is asked of that net later.
        read_out_focal, read_out_dice: weights of the third stage's.
        cells: in the second stage, at how many random cells of the masks' grid an image's masks are compared with the
            truth; 0 at all of them.
        blocks, channels: of the mask net's ResNet; its stem has a half and its first bottleneck a quarter of them.
        width: of the mask net's pyramid and queries, a multiple of 32.
        layers: of its decoder.
        queries: the proposals.
    """

    stage: Stage = "masks"
    severance: Severance = "weighted"
    residual: float = 1.0
    classifier: Classifier | Literal[""] = ""
    temperature: float = 100.0
    positions: bool = True
    unlabelled: Unlabelled = "left-out"
    mask: float = DEOP.mask
    dice: float = DEOP.dice
    named: float = DEOP.classes[0]
    read_out_focal: float = 2.0
    read_out_dice: float = 0.8
    cells: int = 0
    blocks: tuple[int, int, int, int] = (2, 2, 3, 3)
    channels: int = 64
    width: int = 96
    layers: int = 3
    queries: int = 32

    def __post_init__(self) -> None:
        for key, known in (
            ("stage", get_args(Stage)),
            ("severance", get_args(Severance)),
            ("classifier", ("", *get_args(Classifier))),
            ("unlabelled", get_args(Unlabelled)),
            ("positions", (True, False)),
        ):
            if (value := getattr(self, key)) not in known:
                raise ValueError(f"{key} is {value!r}; expected one of {', '.join(repr(x) for x in known)}")
        check_whole(self, {"cells": 0, "channels": 4, "width": 32, "layers": 1, "queries": 1})
        if not (isinstance(self.blocks, tuple) and len(self.blocks) == 4 and all(is_whole(n, 1) for n in self.blocks)):
            raise ValueError(f"blocks is {self.blocks!r}; expected four whole numbers of at least 1")
        if self.channels % 4:
            raise ValueError(f"channels is {self.channels}; expected a multiple of 4")
        for key in ("residual", "temperature", "mask", "dice", "named", "read_out_focal", "read_out_dice"):
            if not is_number(value := getattr(self, key)) or value < 0:
                raise ValueError(f"{key} is {value!r}; expected a number of at least 0")
        if self.stage == "masks" and self.classifier == "anchors":
            raise ValueError("the stage masks trains no anchors; expected classifier pooling, or the stage anchors")

    def config(self, clip: ClipVisionConfig) -> DeopConfig:
        """The network on a CLIP, like `DeopConfig.mini` where nothing is chosen."""
        mini = DeopConfig.mini(clip)
        return replace(
            mini,
            masks=self._mask_net(mini.masks),
            positions=mini.positions if self.positions else None,
            severance=self.severance,
            residual=self.residual,
            classifier=self.classifier or ("pooling" if self.stage == "masks" else "anchors"),
            temperature=self.temperature,
        )

    def _mask_net(self, mini: MaskFormerConfig) -> MaskFormerConfig:
        c = self.channels
        backbone: ResNetConfig = replace(mini.backbone, blocks=self.blocks, stem=c // 2, bottleneck=c // 4, channels=c)
        return replace(
            mini,
            backbone=backbone,
            width=self.width,
            mask_width=self.width,
            hidden=4 * self.width,
            layers=self.layers,
            queries=self.queries,
        )

    def losses(self) -> MaskLosses:
        """Of the second stage."""
        cost = replace(DEOP.cost, mask=self.mask, dice=self.dice)
        return replace(DEOP, classes=(self.named,), mask=self.mask, dice=self.dice, cost=cost)


class DeopTask(ClipTask[DeopChoices]):
    """DeOP's mini on a mini CLIP; see `DeopChoices`."""

    net: Deop
    stride = Deop.stride
    Choices = DeopChoices

    def __init__(self, recipe: Recipe, encoder: StaticTextEncoder) -> None:
        super().__init__(recipe, encoder)
        try:
            net = Deop(self.choices.config(self.clip.config))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"model: DeOP cannot have these sizes: {error}") from error
        for key in ("crop", "deploy_size"):
            if any(side % net.multiple for side in getattr(recipe, key)):
                raise ModelError(f"{key} is {list(getattr(recipe, key))}; DeOP needs multiples of {net.multiple}")
        # CLIP has no extra positions: those stay at zero until the third stage
        net.trunk.load_state_dict({**net.trunk.state_dict(), **self.clip.state_dict()})
        # channels last: the layout that convolutions on CPUs and tensor cores want
        net.proposer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        net.learn(self.choices.stage)
        self.net = net

    def batch_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See `mask_terms` and `read_out_terms`; the sum of the stage's, and each by its name."""
        pixels, text = self.pixels(batch), batch.text[:, None]
        if self.choices.stage == "masks":
            return total(self.mask_terms(self._states(pixels, text, batch.asked), batch.targets))
        with torch.no_grad():
            masks = self.net.proposer.propose(pixels)
        embeddings = self.net.embed(pixels, masks)
        with torch.autocast(pixels.device.type, enabled=False):  # half precision would round logits of up to 100
            logits = self.net.logits(embeddings.float(), text)
        return total(self.read_out_terms(logits, masks, batch))

    def mask_terms(self, states: Sequence[MaskState], targets: Tensor) -> Terms:
        """The second stage: MaskFormer's focal, dice and class loss of every state, each matched by its masks alone.

        A segment for every word that a picture shows; whichever words those are, the masks only learn where things
        end. Cells of no word belong to no segment.

        Args:
            states: of the decoder, the last one being deployed.
            targets: (N, h, w), see `batches.Batch`, on the grid of the masks.

        Returns:
            Weighted terms by name.
        """
        count = self.choices.cells or targets[0].numel()
        words = states[-1].classes[0].shape[2] - 1
        everywhere = torch.ones_like(targets, dtype=torch.bool)
        cells = draw_cells(targets != IGNORE if self.choices.unlabelled == "left-out" else everywhere, count)
        chosen = targets.flatten(1).gather(1, cells)[:, None]  # (N, 1, count)
        truth = [Segments.from_labels(own, words) for own in chosen]
        seen = [replace(state, masks=read_cells(state.masks, cells)) for state in states]
        return criterion(seen, truth, self.choices.losses())[0]

    def read_out_terms(self, logits: Tensor, masks: Tensor, batch: Batch) -> Terms:
        """The third stage: focal and dice loss of the read-out (`per_pixel.deop_terms`).

        Pixels of "none of these words" are truly "no object", as ignored ones are in the released code.

        Args:
            logits: (N, Q, K + 1) float32, "no object" last.
            masks: (N, Q, h, w) logits.
            batch: the truth.

        Returns:
            Weighted terms by name.
        """
        words = logits.shape[2] - 1
        known = batch.targets != IGNORE  # (N, h, w)
        none = ~known | (batch.targets == words)
        asked = torch.cat([batch.asked, batch.asked.new_ones(len(batch.asked), 1)], dim=1)  # (N, K + 1)
        counted = asked[:, :, None, None]
        if self.choices.unlabelled == "left-out":
            counted = counted & known[:, None]
        weights = (self.choices.read_out_focal, self.choices.read_out_dice)
        targets = batch.targets.masked_fill(none, IGNORE)
        return deop_terms(asked_logits(logits, batch.asked), masks, targets, weights=weights, counted=counted)

    def _states(self, pixels: Tensor, text: Tensor, asked: Tensor) -> list[MaskState]:
        """What the mask net alone says after each of its layers, its class logits in float32."""
        states = self.net.proposer(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            unit = [F.normalize(state.embeddings.float(), dim=2) for state in states]
            logits = [asked_logits(self.net.logits(each, text), asked) for each in unit]
        return [MaskState(state.masks, (each,)) for state, each in zip(states, logits, strict=True)]


def draw_cells(known: Tensor, count: int) -> Tensor:
    """Random cells of each image, none twice before all have been drawn; of unknown ones only where no other is.

    Args:
        known: (N, h, w) bool.
        count: how many.

    Returns:
        (N, count) int64, places in the flattened grid.
    """
    flat = known.flatten(1)
    order = (torch.rand(flat.shape, device=flat.device) + ~flat).argsort(dim=1)  # known ones first
    amount = flat.sum(dim=1, keepdim=True)  # (N, 1)
    amount = amount.where(amount > 0, flat.shape[1])
    places = torch.arange(count, device=flat.device) % amount  # (N, count)
    return order.gather(1, places)


def read_cells(masks: Tensor, cells: Tensor) -> Tensor:
    """Masks at some cells: (N, Q, h, w), (N, count) -> (N, Q, 1, count)."""
    n, q, _, _ = masks.shape
    return masks.flatten(2).gather(2, cells[:, None].expand(n, q, -1))[:, :, None]
