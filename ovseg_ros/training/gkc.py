"""Training GKC's mini: masks and names, further names drawn for every segment, and a frozen CLIP that teaches.

Han et al., arXiv 2303.09181. The trunk starts as the mini CLIP and is fine-tuned; the teacher is that CLIP as it lies
on disk. What differs from the paper, because pictures are cropped anew in every step and nothing can be looked up:

- The teacher sees the crops of the batch, light and size changed, and masks at the stride of the truth; the released
  code cuts its segments out of the image before augmentation.
- Which names are likely for a segment, it tells by the same look that is distilled, grey around the segment; the paper
  asks CLIP once, in advance, about boxes with their surroundings. Segments beyond `looks` may be asked for by any name.
- A segment is all that a picture shows of a word, so every class of an image has one name in its list.

As published, masks are compared everywhere: a pixel without truth counts as outside of every segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from ovseg_ros.errors import ModelError
from ovseg_ros.models.gkc import Gkc
from ovseg_ros.models.gkc_config import MINI_TRUNK, GkcConfig
from ovseg_ros.models.gkc_teacher import Teacher
from ovseg_ros.models.gkc_trunk import ViTTrunk
from ovseg_ros.models.mask2former.config import MINI
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.batches import Batch, Batches
from ovseg_ros.training.choices import check_whole
from ovseg_ros.training.clip_task import ClipTask
from ovseg_ros.training.diversification import all_names, draw_names, likely, name_table, synonym_probabilities
from ovseg_ros.training.lexicon import lexicon_words
from ovseg_ros.training.losses.criterion import MaskLosses, total
from ovseg_ros.training.losses.distillation import Form, choose_segments
from ovseg_ros.training.losses.gkc import GkcLosses, GkcState, GkcTeaching, GkcWords, gkc_terms
from ovseg_ros.training.losses.points import uniform
from ovseg_ros.training.matching import MatchCost, Segments
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.words import Question, Region, WordSampler, balanced_weights

Trunk = Literal["clip", "resnet"]
Names = Literal["drawn", "max", "mean", "none"]
Distillation = Literal["folded", "separate", "image", "distance", "none"]
FORMS: dict[str, tuple[str, ...]] = {
    "trunk": get_args(Trunk),
    "names": get_args(Names),
    "distillation": get_args(Distillation),
}
COUNTS = ("width", "heads", "queries", "pixel_layers", "pixel_mlp", "layers", "mlp", "looks")
WEIGHTS = ("plain", "synonyms", "distill", "distill_text")


@dataclass(frozen=True)
class GkcChoices:
    """What a recipe's `model` may set; the defaults of the training are the paper's.

    Attributes:
        trunk: "clip", the mini CLIP's, fine-tuned; or "resnet", a small one of CLIP's kind that starts from nothing.
        names: text diversification: a further name "drawn" for each segment; all names of a class pooled by "max" or
            "mean"; "none".
        likely: probability among the names of its class from which a segment may be asked for by one; 0 takes any.
        distillation: see `losses.distillation.distillation`; "none" leaves the teacher's lessons out.
        looks: the most segments of a batch that the teacher sees.
        plain, synonyms, distill, distill_text: see `losses.gkc.GkcLosses`.
        no_object, region_dropout: the same.
        points: where masks are compared, see `losses.criterion.MaskLosses` and `matching.MatchCost`; 0 everywhere.
        width, heads, queries, pixel_layers, pixel_mlp, layers, mlp: see `GkcConfig`.
    """

    trunk: Trunk = "clip"
    names: Names = "drawn"
    likely: float = 0.1
    distillation: Distillation = "folded"
    looks: int = 200
    plain: float = 2.0
    synonyms: float = 10.0
    distill: float = 10.0
    distill_text: float = 10.0
    no_object: float = 0.1
    region_dropout: float = 0.5
    points: int = 12_544
    width: int = MINI.width
    heads: int = MINI.heads
    queries: int = MINI.queries
    pixel_layers: int = MINI.pixel_layers
    pixel_mlp: int = MINI.pixel_mlp
    layers: int = MINI.layers
    mlp: int = MINI.mlp

    def __post_init__(self) -> None:
        for key, known in FORMS.items():
            if getattr(self, key) not in known:
                raise ValueError(f"{key} is {getattr(self, key)!r}; expected one of {', '.join(known)}")
        check_whole(self, {**dict.fromkeys(COUNTS, 1), "points": 0})
        for key in (*WEIGHTS, "likely", "no_object", "region_dropout"):
            most = float("inf") if key in WEIGHTS else 1.0
            if type(value := getattr(self, key)) not in (int, float) or not 0 <= value <= most or value == float("inf"):
                raise ValueError(f"{key} is {value!r}; expected a number in 0..{most:g}")
        if self.width % self.heads or self.width % 32:
            raise ValueError(f"width is {self.width}; expected a multiple of 32 and of heads, {self.heads}")

    def losses(self) -> GkcLosses:
        """Weights and forms of the loss."""
        form: Form = "folded" if self.distillation == "none" else self.distillation
        return GkcLosses(
            MaskLosses(classes=(), cost=MatchCost(points=self.points), points=self.points),
            plain=self.plain,
            synonyms=self.synonyms,
            distill=self.distill,
            distill_text=self.distill_text,
            no_object=self.no_object,
            region_dropout=self.region_dropout,
            pool="mean" if self.names == "mean" else "max",
            form=form,
        )


@dataclass(frozen=True)
class NamedBatch(Batch):
    """A batch that also knows what else its words are called.

    Attributes:
        names: for each of the K words all training names of what it stands for, the word itself first.
        distinct: those names, each once.
        names_text: (L, D) float32 unit vectors of `distinct`, as the text encoder has them.
    """

    names: tuple[tuple[str, ...], ...]
    distinct: tuple[str, ...]
    names_text: Tensor


class NameSampler(WordSampler):
    """Draws a batch's vocabulary and tells the further names of the last one."""

    def draw(self, regions: Sequence[Region], rng: np.random.Generator) -> Question:
        """See `WordSampler`."""
        self.question = super().draw(regions, rng)
        return self.question

    def names(self) -> tuple[tuple[str, ...], ...]:
        """`NamedBatch.names` of the vocabulary drawn last: held-out words are in none, colours before every name."""
        found = []
        for word, key in zip(self.question.words, self.question.keys, strict=True):
            own: tuple[str, ...] = ()
            if key is not None:
                colour, kind = key
                own = (*self.kinds[kind], *(self.lexicon.get(kind, ()) if self.mix.lexicon else ()))
                own = tuple(f"{colour} {name}" for name in own) if colour else own
            found.append(tuple(dict.fromkeys((word, *own))))
        return tuple(found)

    def embed(self, words: Sequence[str]) -> Tensor:
        """(L, D) float32 unit vectors."""
        return torch.from_numpy(self._embed(words))


class NamedBatches(Batches):
    """The run's batches with the further names of their words."""

    sampler: NameSampler

    def __getitem__(self, part: int) -> NamedBatch:
        plain = super().__getitem__(part)
        names = self.sampler.names()
        distinct = tuple(dict.fromkeys(name for own in names for name in own))
        same = {f.name: getattr(plain, f.name) for f in fields(plain)}
        return NamedBatch(**same, names=names, distinct=distinct, names_text=self.sampler.embed(distinct))


@dataclass(frozen=True)
class Look:
    """What the teacher makes of some segments: (t,) int64 and (t, D) float for each image."""

    segments: list[Tensor]
    embeddings: list[Tensor]


class GkcTask(ClipTask[GkcChoices]):
    """GKC on the mini CLIP; `model` may set `clip` and what `GkcChoices` has.

    Loss weights by word (`Batch.weights`) have no place in the published loss and are left aside.
    """

    Choices = GkcChoices
    net: Gkc
    stride = Gkc.stride
    unused = True  # the scale of the distillation in some of its forms

    def __init__(self, recipe: Recipe, encoder: StaticTextEncoder) -> None:
        super().__init__(recipe, encoder)
        c, clip = self.choices, self.clip
        sizes = {key: getattr(c, key) for key in COUNTS if key != "looks"}
        trunk = clip.config if c.trunk == "clip" else replace(MINI_TRUNK, embed_dim=encoder.width)
        teacher = None if c.distillation == "none" else clip.config.embed_dim
        try:
            self.net = Gkc(replace(GkcConfig.mini(trunk), teacher=teacher, **sizes))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"model: GKC cannot have the sizes {dict(recipe.model)}: {error}") from error
        if isinstance(self.net.backbone, ViTTrunk):
            self.net.backbone.clip.load_state_dict(clip.state_dict())
        self.losses = c.losses()
        asks = c.names == "drawn" and c.likely > 0
        # in a list, as the CLIP itself: no part of the checkpoint
        self._teacher = [Teacher(clip)] if asks or c.distillation != "none" else []

    def batches(self, mix: Mix, parts: int) -> Dataset[Any]:
        """See `Task`; batches know the further names of their words."""
        recipe = self.recipe
        weights = balanced_weights(mix.pixel_counts(), recipe.balance)
        more = lexicon_words(mix.kinds, mix.forbidden) if recipe.words.lexicon else {}
        sampler = NameSampler(mix.kinds, mix.colours, weights, self.encoder, recipe.words, more, mix.forbidden)
        return NamedBatches(mix, sampler, recipe, parts=parts, stride=self.stride)

    def batch_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See `losses.gkc.gkc_terms`; a word that a picture is not asked about has no part in its classes."""
        assert isinstance(batch, NamedBatch)
        truth = self.truth(batch)
        look = self.look(batch, truth)
        words = self.words(batch, truth, look)
        states = [GkcState(*state) for state in self.net(self.pixels(batch))]
        teaching = None
        if look is not None and self.choices.distillation != "none":
            teaching = GkcTeaching(look.segments, look.embeddings, self.net.text_scale)
        loss, logged = total(gkc_terms(states, truth, words, teaching, self.losses))
        return loss, {**logged, "scale": words.scale.detach()}

    def look(self, batch: Batch, truth: Sequence[Segments]) -> Look | None:
        """The teacher's embeddings of up to `looks` segments of the batch, drawn at random; None without a teacher."""
        if not self._teacher:
            return None
        teacher = self._teacher[0].to(batch.images.device)
        chosen = choose_segments([len(own.labels) for own in truth], self.choices.looks, uniform())
        masks = [own.masks.repeat_interleave(self.stride, 1).repeat_interleave(self.stride, 2) for own in truth]
        segments, embeddings = teacher.look(list(batch.images), masks, chosen)
        return Look(segments, [own.float() for own in embeddings])

    def words(self, batch: NamedBatch, truth: Sequence[Segments], look: Look | None) -> GkcWords:
        """The words as the loss takes them, with further names as `choices.names` has it."""
        text, kind = batch.text, self.choices.names
        plain = GkcWords(text, self.net.no_object, self.net.logit_scale.exp(), asked=batch.asked)
        if kind == "none":
            return plain
        table = self._moved(batch.names_text)  # (L, D)
        place = {name: i for i, name in enumerate(batch.distinct)}

        def embed(names: Sequence[str]) -> Tensor:
            return table[[place[name] for name in names]]

        if kind != "drawn":
            names, owner = all_names(batch.names)
            return replace(plain, names=embed(names), owner=owner.to(table.device))
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        lists = []
        for image, own in enumerate(truth):
            owners = own.labels.tolist()
            lists.append(draw_names(batch.words, owners, self._open_to(batch, image, owners, look), rng))
        drawn = name_table(lists, embed)
        return replace(plain, names=drawn.names, labels=drawn.labels, real=drawn.real)

    def _open_to(
        self, batch: NamedBatch, image: int, owners: Sequence[int], look: Look | None
    ) -> list[tuple[str, ...]]:
        """The names that each segment of an image may draw: those likely for what the teacher saw, or any.

        Args:
            batch: the batch.
            image: which of its images.
            owners: the word of each of its segments.
            look: what the teacher saw.
        """
        found = [batch.names[owner] for owner in owners]
        if look is None or not self.choices.likely:
            return found
        place = {name: i for i, name in enumerate(batch.distinct)}
        for segment, embedding in zip(look.segments[image].tolist(), look.embeddings[image], strict=True):
            if len(names := found[segment]) > 1:
                text = batch.names_text[[place[name] for name in names]]
                with torch.autocast(text.device.type, enabled=False):
                    chances = synonym_probabilities(embedding[None], text)[0]
                found[segment] = likely(names, chances.tolist(), self.choices.likely)
        return found

    def _moved(self, text: Tensor) -> Tensor:
        """Unit vectors, each moved by as much as the sampler moves a batch's words."""
        if not (length := self.recipe.words.noise):
            return text
        noise = F.normalize(torch.randn(text.shape), dim=1).to(text.device)
        return F.normalize(text + length * noise, dim=1)
