"""GKC checkpoints of the released code into our model, and a trunk's start from CLIP.

No checkpoint of GKC was ever published. Whoever trains one with the released code finds every tensor of it a place
here, or the reason why it has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip_weights import load_clip, vision_state
from ovseg_ros.models.converting import checkpoint_tensors, left_aside, renamed, unmatched
from ovseg_ros.models.gkc import Gkc
from ovseg_ros.models.gkc_trunk import ViTTrunk

TEXT_TOWER, TEACHER = "text_encoder.", "vision_clip."

# what has no place in our model, and why
LEFT_ASIDE = (
    (re.compile(r"^(criterion\.)?empty_weight$"), "the loss's class weights"),
    (re.compile(r"^text_encoder\."), "the words' encoder; text_tower gives it"),
    (re.compile(r"^vision_clip\."), "the teacher; teacher_state gives it"),
)
DISTILLATION = re.compile(r"^(kd_proj|aux_kd_proj|text_scale)\b")  # our names

# (pattern in a checkpoint, our name)
RENAMES = (
    (re.compile(r"^sem_seg_head\.pixel_decoder\."), "pixel_decoder."),
    (re.compile(r"^sem_seg_head\.predictor\."), "decoder."),
    (re.compile(r"^embed_proj\.1\."), "embed_proj."),
    (re.compile(r"^aux_embed_porj_(\d+)\.1\."), r"aux_embed_proj.\1."),
    (re.compile(r"^aux_kd_porj_(\d+)\."), r"aux_kd_proj.\1."),
    (re.compile(r"^non_object_embedding$"), "no_object"),
    (re.compile(r"^text_kd_logit_scale$"), "text_scale"),
)


def load_gkc(model: Gkc, state: Mapping[str, object], source: str = "the checkpoint") -> dict[str, str]:
    """Put a checkpoint of the released code into a model of the same sizes, in place once all fits.

    Args:
        model: with a ResNet trunk; without a teacher, the student heads are left aside.
        state: names and tensors, or detectron2's dict with these under "model".
        source: what to call it in errors.

    Returns:
        the names that were left aside, with the reason.

    Raises:
        ModelError: the checkpoint is of something else or of other sizes; counts the tensors that do not match and
            names the first of them. `converting.unmatched` gives all.
    """
    ours, aside = split(state)
    if model.config.teacher is None:
        students = [key for key in ours if DISTILLATION.match(key)]
        aside |= dict.fromkeys(students, "serves distillation, and the model has no teacher")
        ours = {key: value for key, value in ours.items() if key not in students}
    if problems := unmatched(model.state_dict(), ours):
        raise ModelError(f"{source} is no GKC of the model's sizes: {problems}; take the checkpoint of its config")
    model.load_state_dict(ours)
    return aside


def split(state: Mapping[str, object]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A checkpoint's tensors under our names, and the names left aside with reasons.

    A name that nothing is known about stays as it is.
    """
    tensors = checkpoint_tensors(state)
    aside = left_aside(tensors, LEFT_ASIDE)
    return {renamed(key, RENAMES): value for key, value in tensors.items() if key not in aside}, aside


def text_tower(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The text encoder in a checkpoint, CLIP's own, under open_clip's names."""
    return _below(state, TEXT_TOWER)


def teacher_state(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The teacher in a checkpoint, CLIP's own, for `clip_weights.load_clip`.

    Its positions are on a grid of 16 x 16, resized from CLIP's 7 x 7 by the released code for images of 512 pixels:
    take `ClipResNetConfig(image_size=512)`, `resize="bilinear"` and `Teacher(clip, side=224)`.
    """
    return _below(state, TEACHER)


def start_from_clip(model: Gkc, state: Mapping[str, object], source: str = "the checkpoint") -> None:
    """Let the trunk start from CLIP, as published: before training, in place; all else stays as it is.

    Args:
        model: whose `config.clip` is the checkpoint's architecture.
        state: a CLIP of open_clip or OpenAI; see `clip_weights.load_clip`.
        source: what to call it in errors.

    Raises:
        ModelError: the checkpoint is of another architecture.
    """
    if isinstance(model.backbone, ViTTrunk):
        load_clip(model.backbone.clip, state, source)
        return
    vision = {key: value for key, value in vision_state(state).items() if not key.startswith("attnpool.")}
    load_clip(model.backbone, {f"visual.{key}": value for key, value in vision.items()}, source)


def _below(state: Mapping[str, object], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in checkpoint_tensors(state).items() if key.startswith(prefix)
    }
