"""Training EBSeg: a small SAM of its own beside a frozen mini CLIP, by the paper's losses (arXiv 2406.09829).

What departs from the paper (section 4.1): the mini SAM starts from random numbers and is trained; the words of a batch
are drawn anew (`words.WordSampler`), and a picture's queries are held against the words that it answers only.

The trained words go with the checkpoint (`config()["seen"]`) and into the exported graph, since the balance of the
embeddings A, B and D knows them (section 3.3). The balance itself belongs to deployment: another one needs no other
training, but a run of no steps from a finished one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.ebseg import Ebseg, EbsegState
from ovseg_ros.models.ebseg_config import EbsegConfig
from ovseg_ros.models.onepass import OnePass
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.batches import Batch
from ovseg_ros.training.choices import check_flags, check_whole, is_number
from ovseg_ros.training.clip_task import ClipTask, asked_logits
from ovseg_ros.training.lexicon import lexicon_words
from ovseg_ros.training.losses.criterion import EBSEG, MaskLosses, total
from ovseg_ros.training.losses.ebseg import SSC, ebseg_terms
from ovseg_ros.training.matching import MaskState
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.words import IGNORE

VOID = -20.0  # mask logit that stands where there is no truth: outside, and as sure as float32 can tell


@dataclass(frozen=True)
class EbsegChoices:
    """What a recipe's `model` may set; the paper's values are the defaults, sizes those of `EbsegConfig.mini`.

    Attributes:
        clip_scale: side of CLIP's input against the image's.
        scale: of the logits by A, B and D, fixed; OpenAI's CLIP has learned 100, a mini one less.
        second_from: first block of CLIP with the second stream that D is pooled from, a sixth of its blocks in the
            paper; a small CLIP that never saw value-value attention bears less of it. Training ignores it.
        positions: train CLIP's positions.
        queries: proposals, Q.
        width: channels of both decoders and the queries, a multiple of 32.
        layers, pixel_layers: of the transformer decoder and of the pixel decoder.
        sam_width: channels of the mini SAM, a multiple of its 3 heads.
        ssc: weight of semantic structure consistency (section 3.4), 0 to leave it out.
        skip_empty: a picture without a labelled thing is left out of SSC; as published it takes the whole batch's
            to 0.
        points: where masks are matched and punished: at so many points of each. 0, which is no choice of the paper, at
            every cell; pixels without truth then have no part in a mask, otherwise they count as outside.
        alpha, beta, gamma: the balance of the embeddings in deployment, see `EbsegConfig`. Training ignores them. A
            alone is (0, 0, 0), B alone (0, 0, 1), D alone (1, 1, 0), A and B (0, 0, 0.7).
        seen: the trained words; those of the training pictures where none are given.
    """

    clip_scale: float = 0.5
    scale: float = 100.0
    second_from: int = 1
    positions: bool = True
    queries: int = 32
    width: int = 96
    layers: int = 3
    pixel_layers: int = 2
    sam_width: int = 96
    ssc: float = SSC
    skip_empty: bool = False
    points: int = 12_544
    alpha: float = 0.09
    beta: float = 0.3
    gamma: float = 0.7
    seen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_flags(self, ("positions", "skip_empty"))
        sizes = dict.fromkeys(("queries", "width", "layers", "pixel_layers", "sam_width"), 1)
        check_whole(self, {**sizes, "points": 0, "second_from": 0})
        for key, most in (("clip_scale", 2.0), ("scale", 1000.0), ("ssc", math.inf)):
            if not is_number(value := getattr(self, key)) or not 0 <= value <= most or (key != "ssc" and not value):
                raise ValueError(
                    f"{key} is {value!r}; expected a number above 0, at most {most:g}, and 0 for ssc alone"
                )
        for key in ("alpha", "beta", "gamma"):
            if not is_number(value := getattr(self, key)) or not 0 <= value <= 1:
                raise ValueError(f"{key} is {value!r}; expected a number in 0..1")
        if (most_d := max(self.alpha, self.beta)) + self.gamma > 1 + 1e-9:
            raise ValueError(
                f"alpha or beta, {most_d}, and gamma, {self.gamma}, are more than 1 together; A has the rest"
            )
        if not isinstance(self.seen, tuple) or not all(isinstance(word, str) and word for word in self.seen):
            raise ValueError(f"seen is {self.seen!r}; expected a list of words")

    def config(self, clip: ClipVisionConfig) -> EbsegConfig:
        """The network around a CLIP of five blocks or more.

        Raises:
            ValueError: for sizes that cannot be.
        """
        mini = EbsegConfig.mini(clip)
        return replace(
            mini,
            clip_scale=self.clip_scale,
            second_from=self.second_from,
            sam=replace(mini.sam, width=self.sam_width, mlp=4 * self.sam_width),
            width=self.width,
            queries=self.queries,
            pixel_layers=self.pixel_layers,
            pixel_mlp=2 * self.width,
            layers=self.layers,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
        )

    def losses(self) -> MaskLosses:
        """Weights, matching and points."""
        return replace(EBSEG, cost=replace(EBSEG.cost, points=self.points), points=self.points)


class EbsegTask(ClipTask[EbsegChoices]):
    """EBSeg around a mini CLIP: trained are the mini SAM, the fusion, both decoders and CLIP's positions."""

    Choices = EbsegChoices
    net: Ebseg

    def __init__(self, recipe: Recipe, encoder: StaticTextEncoder) -> None:
        super().__init__(recipe, encoder)
        choices = self.choices
        try:
            self.net = Ebseg(choices.config(self.clip.config))
        except ValueError as error:
            raise ModelError(f"model: ebseg cannot have the sizes {dict(recipe.model)}: {error}") from error
        for key in ("crop", "deploy_size"):
            _check_size(key, getattr(recipe, key), self.net)
        self.net.clip.load_state_dict(self.clip.state_dict())
        self.net.freeze(sam=False)
        self.net.clip.positions.table.requires_grad_(choices.positions)
        with torch.no_grad():
            self.net.logit_scale.fill_(math.log(choices.scale))
        self.losses = choices.losses()
        self.seen = choices.seen

    def batch_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """`ebseg_terms`, a word that a picture is not asked about having no part in its classes."""
        states: list[EbsegState] = self.net(self.pixels(batch))
        with torch.autocast(batch.images.device.type, enabled=False):
            terms = ebseg_terms(
                [self._state(state, batch) for state in states],
                states[-1].a.float(),
                self.truth(batch),
                batch.text,
                self.losses,
                self.choices.ssc,
                skip_empty=self.choices.skip_empty,
            )
            return total(terms)

    def batches(self, mix: Mix, parts: int) -> Dataset[Any]:
        """See `Task`; its words are those that count as seen."""
        self.seen = self.choices.seen or trained_words(mix, self.recipe)
        return super().batches(mix, parts)

    def config(self) -> dict[str, Any]:
        """The name, the CLIP and every choice, with the words that were trained."""
        return {**super().config(), "seen": list(self.seen)}

    def one_pass(self, net: nn.Module, size: tuple[int, int]) -> OnePass:
        """The graph, which remembers the trained words."""
        assert isinstance(net, Ebseg)
        table = torch.from_numpy(self.encoder.encode(self.seen))
        net.seen.remember(table[table.any(dim=1)])  # what the encoder knows no part of nobody can ask for
        return OnePass(net, size)

    def _state(self, state: EbsegState, batch: Batch) -> MaskState:
        """What the losses look at, in float32."""
        text = batch.text[:, None]  # (K, 1, D)
        classes = [asked_logits(self.net.logits(e.float(), text), batch.asked) for e in (state.a, state.b)]
        masks = state.masks.float()
        if not self.losses.points:  # masks and truth share their cells
            masks = masks.masked_fill((batch.targets == IGNORE)[:, None], VOID)
        return MaskState(masks, tuple(classes))


def trained_words(mix: Mix, recipe: Recipe) -> tuple[str, ...]:
    """Every word that regions of a mix are asked for by, synonyms included, in lower case and without colours."""
    words = {word for words in mix.kinds.values() for word in words}
    if recipe.words.lexicon:
        words |= {word for words in lexicon_words(mix.kinds, mix.forbidden).values() for word in words}
    return tuple(sorted({word.lower() for word in words}))


def _check_size(key: str, size: tuple[int, int], net: Ebseg) -> None:
    """Refuse sides that the network cannot take."""
    if any(side % net.multiple for side in size):
        raise ModelError(f"{key} is {list(size)}; ebseg needs multiples of {net.multiple}")
    scale, patch = net.config.clip_scale, net.config.clip.patch
    if int(scale * min(size)) < patch:
        raise ModelError(
            f"{key} is {list(size)}, of which CLIP sees {scale}: less than its patch of {patch}; raise clip_scale"
        )
