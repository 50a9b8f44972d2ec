"""EBSeg's published checkpoints into our model: which tensor goes where, and every one that goes nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip_weights import vision_state
from ovseg_ros.models.ebseg import Ebseg

# (start of a published name, start of ours); CLIP's vision tower is treated apart
PREFIXES = (
    ("backbone.", "sam."),
    ("sem_seg_head.clip_fusion_layers.", "fusion."),
    ("sem_seg_head.pixel_decoder.", "pixel_decoder."),
    ("sem_seg_head.predictor.", "decoder."),
)
NAMES = {"ov_classifier.bg_embed": "bg_embed", "ov_classifier.logit_scale": "logit_scale"}
TEXT_TOWER = "ov_classifier."  # what else begins so: the words' encoder, see `text_tower`
CONSTANTS = ("criterion.empty_weight", "ov_classifier.attn_mask")  # no model needs them
OURS_ALONE = ("seen.table",)  # the names of COCO-Stuff, which the published code reads from a file
EXTRACTOR, HEAD = "clip_visual_extractor.", "clip_rec_head."
SHOWN = 5  # tensors that an error names of each kind


@dataclass(frozen=True)
class Unmatched:
    """Every tensor for which checkpoint and model disagree.

    Attributes:
        missing: ours that the checkpoint lacks, by our names.
        left: the checkpoint's that the model has no place for, by our names where they have one.
        shapes: those of two shapes: name, shape in the checkpoint, shape in the model.
    """

    missing: tuple[str, ...]
    left: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.left or self.shapes)

    def __str__(self) -> str:
        parts = [
            *(f"it lacks {key}" for key in self.missing[:SHOWN]),
            *(f"{key} is {theirs} in it and {ours} in the model" for key, theirs, ours in self.shapes[:SHOWN]),
            *(f"the model has no {key}" for key in self.left[:SHOWN]),
        ]
        return f"{len(self.missing) + len(self.left) + len(self.shapes)} tensors do not match: {'; '.join(parts)}"


def load_ebseg(model: Ebseg, state: Mapping[str, object], source: str = "the checkpoint") -> None:
    """Put a published EBSeg checkpoint into a model of the same sizes, in place; the names it was trained on stay.

    Args:
        model: of `EbsegConfig.base()` or `large()` for EBSeg_base.pth and EBSeg_large.pth.
        state: names and tensors, or detectron2's dict with these under "model".
        source: what to call it in errors.

    Raises:
        ModelError: the checkpoint is of something else or of other sizes; counts the tensors that do not match and
            names the first of them. `unmatched` gives all.
    """
    converted = ebseg_state(state, source)
    if problems := unmatched(model, converted):
        raise ModelError(f"{source} is no EBSeg of the model's sizes: {problems}; take the checkpoint of its config")
    model.load_state_dict({**converted, **{key: model.state_dict()[key] for key in OURS_ALONE}})


def unmatched(model: Ebseg, converted: Mapping[str, Tensor]) -> Unmatched:
    """What a state of `ebseg_state` and a model do not share."""
    ours = {key: tuple(value.shape) for key, value in model.state_dict().items() if key not in OURS_ALONE}
    theirs = {key: tuple(value.shape) for key, value in converted.items()}
    return Unmatched(
        missing=tuple(key for key in ours if key not in theirs),
        left=tuple(key for key in theirs if key not in ours),
        shapes=tuple((key, theirs[key], ours[key]) for key in ours if key in theirs and theirs[key] != ours[key]),
    )


def ebseg_state(state: Mapping[str, object], source: str = "the checkpoint") -> dict[str, Tensor]:
    """A published checkpoint under our names; what has no place in our model keeps its own.

    Raises:
        ModelError: it holds no EBSeg.
    """
    tensors = _tensors(state)
    if not any(key.startswith(EXTRACTOR) for key in tensors):
        first = ", ".join(list(tensors)[:3]) or "nothing"
        raise ModelError(
            f"{source} holds no EBSeg (it begins with {first}); expected keys such as "
            f"{EXTRACTOR}conv1.weight: take EBSeg_base.pth or EBSeg_large.pth"
        )
    visual, converted = _split_clip(tensors, source)
    converted = {_rename(key): value for key, value in converted.items() if not _is_left_aside(key)}
    return converted | {f"clip.{key}": value for key, value in vision_state(visual).items()}


def text_tower(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The text encoder in a published checkpoint, under open_clip's names: CLIP's own, so that no other file is needed.

    Without the vision tower; `load_state_dict(..., strict=False)` of the architecture's open_clip model takes it.
    """
    return {
        key.removeprefix(TEXT_TOWER): value
        for key, value in _tensors(state).items()
        if key.startswith(TEXT_TOWER) and key != "ov_classifier.bg_embed"
    }


def read_checkpoint(path: Path) -> dict[str, object]:
    """The content of a checkpoint file, without running any code in it.

    Raises:
        ModelError: it is missing or no checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, for truncated files, pickles, text
        raise ModelError(f"cannot read {path} as a checkpoint ({type(error).__name__}); expected a .pth") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}; expected a dict of names and tensors")
    return content


def _tensors(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The names and tensors of a checkpoint, wherever it keeps them."""
    inner = state.get("model", state)
    inner = inner if isinstance(inner, Mapping) else state
    return {re.sub(r"^(module\.)+", "", str(key)): value for key, value in inner.items() if isinstance(value, Tensor)}


def _split_clip(tensors: dict[str, Tensor], source: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """CLIP's vision tower under open_clip's names, put together from both its parts, and the rest."""
    blocks = {int(m[1]) for key in tensors if (m := re.match(rf"{re.escape(EXTRACTOR)}resblocks\.(\d+)\.", key))}
    visual: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if key.startswith(EXTRACTOR):
            visual["visual." + key.removeprefix(EXTRACTOR).replace("resblocks.", "transformer.resblocks.", 1)] = value
        elif found := re.match(rf"{re.escape(HEAD)}resblocks\.(\d+)\.(.+)", key):
            visual[f"visual.transformer.resblocks.{int(found[1]) + len(blocks)}.{found[2]}"] = value
        elif not key.startswith(HEAD):
            rest[key] = value
        elif not torch.equal(value, tensors.get(EXTRACTOR + key.removeprefix(HEAD), value[:0])):
            raise ModelError(
                f"{source} has two different {key.removeprefix(HEAD)} in {EXTRACTOR[:-1]} and {HEAD[:-1]}; EBSeg has "
                "one: take the checkpoint as it was published"
            )
    return visual, rest


def _rename(key: str) -> str:
    for theirs, ours in PREFIXES:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return NAMES.get(key, key)


def _is_left_aside(key: str) -> bool:
    return key in CONSTANTS or (key.startswith(TEXT_TOWER) and key not in NAMES)
