"""CAT-Seg's published checkpoints into our model: every tensor has a place, is left aside for a reason, or is an error.

The files are model_base.pth and model_large.pth, of `CatSegConfig.base()` and `large()`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ovseg_ros.errors import ModelError
from ovseg_ros.models.catseg import CatSeg
from ovseg_ros.models.clip_weights import vision_state
from ovseg_ros.models.converting import checkpoint_tensors, first_names, left_aside, renamed, unmatched

CLIP = "sem_seg_head.predictor.clip_model."
AGGREGATOR = "sem_seg_head.predictor.transformer."

# what has no place in our model, and why
LEFT_ASIDE = (
    (re.compile(rf"^{re.escape(AGGREGATOR)}.*\.attn_mask$"), "which cells a window hides is computed"),
    (re.compile(r"^(clip_)?pixel_(mean|std)$"), "constants of ours"),
    (re.compile(rf"^{re.escape(CLIP)}(?!visual\.)"), "the words' encoder; text_tower gives it"),
)

# (pattern in a checkpoint, our name), for all but CLIP
RENAMES = (
    (re.compile(r"^upsample([12])\."), r"trunk.upsample\1."),
    (re.compile(rf"^{re.escape(AGGREGATOR)}(conv1|text_guidance_projection)\."), r"aggregator.embedding.\1."),
    (
        re.compile(rf"^{re.escape(AGGREGATOR)}(decoder_guidance_projection|decoder[12]|head)\."),
        r"aggregator.decoder.\1.",
    ),
    (re.compile(rf"^{re.escape(AGGREGATOR)}"), "aggregator."),
)
DOUBLE_CONV = re.compile(r"\.conv\.double_conv\.(\d+)\.")  # one sequence of layers, whose first stands apart here


def load_catseg(model: CatSeg, state: Mapping[str, object], source: str = "the checkpoint") -> dict[str, str]:
    """Put a published checkpoint into a model of the same sizes, in place once all fits.

    Args:
        model: of `CatSegConfig.base()` or `large()`.
        state: names and tensors, or detectron2's dict with these under "model".
        source: what to call it in errors.

    Returns:
        the names that were left aside, with the reason.

    Raises:
        ModelError: the checkpoint is of something else or of other sizes; counts the tensors that do not match and
            names the first of them. `converting.unmatched` gives all.
    """
    ours, aside = split(state, source)
    if problems := unmatched(model.state_dict(), ours):
        raise ModelError(f"{source} is no CAT-Seg of the model's sizes: {problems}; take the checkpoint of its config")
    model.load_state_dict(ours)
    return aside


def split(state: Mapping[str, object], source: str = "the checkpoint") -> tuple[dict[str, Tensor], dict[str, str]]:
    """A checkpoint's tensors under our names, and the names left aside with their reasons.

    Raises:
        ModelError: it holds no CAT-Seg.
    """
    tensors = checkpoint_tensors(state)
    if not any(key.startswith(AGGREGATOR) for key in tensors):
        raise ModelError(
            f"{source} holds no CAT-Seg (it begins with {first_names(tensors)}); expected keys such as "
            f"{AGGREGATOR}conv1.weight: take model_base.pth or model_large.pth"
        )
    aside = left_aside(tensors, LEFT_ASIDE)
    visual = {key.removeprefix(CLIP): tensor for key, tensor in tensors.items() if key.startswith(f"{CLIP}visual.")}
    ours = {f"trunk.clip.{key}": tensor for key, tensor in vision_state(visual).items()}
    for key, tensor in tensors.items():
        if key not in aside and not key.startswith(CLIP):
            ours[_rename(key)] = tensor
    return ours, aside


def text_tower(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The words' encoder in a published checkpoint, fine-tuned with the rest, under open_clip's names.

    Without the vision tower; `load_state_dict(..., strict=False)` of the architecture's open_clip model takes it.
    """
    tower = {
        key.removeprefix(CLIP): tensor
        for key, tensor in checkpoint_tensors(state).items()
        if key.startswith(CLIP) and not key.startswith(f"{CLIP}visual.")
    }
    for key in [key for key in tower if key.endswith(".q_proj_weight")]:
        stem = key.removesuffix("q_proj_weight")
        tower[f"{stem}in_proj_weight"] = torch.cat([tower.pop(f"{stem}{letter}_proj_weight") for letter in "qkv"])
    return tower


def _rename(key: str) -> str:
    key = renamed(key, RENAMES)
    found = DOUBLE_CONV.search(key)
    if found:
        index = int(found[1])
        key = DOUBLE_CONV.sub(".conv.first." if index == 0 else f".conv.rest.{index - 1}.", key)
    return key
