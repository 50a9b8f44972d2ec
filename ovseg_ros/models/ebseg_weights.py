"""EBSeg's published checkpoints into our model: which tensor goes where, and every one that goes nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip_weights import vision_state
from ovseg_ros.models.converting import checkpoint_tensors, first_names, unmatched
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


def load_ebseg(model: Ebseg, state: Mapping[str, object], source: str = "the checkpoint") -> None:
    """Put a published EBSeg checkpoint into a model of the same sizes, in place; the names it was trained on stay.

    Args:
        model: of `EbsegConfig.base()` or `large()` for EBSeg_base.pth and EBSeg_large.pth.
        state: names and tensors, or detectron2's dict with these under "model".
        source: what to call it in errors.

    Raises:
        ModelError: the checkpoint is of something else or of other sizes; counts the tensors that do not match and
            names the first of them. `converting.unmatched` gives all.
    """
    converted = ebseg_state(state, source)
    if problems := unmatched(model.state_dict(), converted, OURS_ALONE):
        raise ModelError(f"{source} is no EBSeg of the model's sizes: {problems}; take the checkpoint of its config")
    model.load_state_dict({**converted, **{key: model.state_dict()[key] for key in OURS_ALONE}})


def ebseg_state(state: Mapping[str, object], source: str = "the checkpoint") -> dict[str, Tensor]:
    """A published checkpoint under our names; what has no place in our model keeps its own.

    Raises:
        ModelError: it holds no EBSeg.
    """
    tensors = checkpoint_tensors(state)
    if not any(key.startswith(EXTRACTOR) for key in tensors):
        raise ModelError(
            f"{source} holds no EBSeg (it begins with {first_names(tensors)}); expected keys such as "
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
        for key, value in checkpoint_tensors(state).items()
        if key.startswith(TEXT_TOWER) and key != "ov_classifier.bg_embed"
    }


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
