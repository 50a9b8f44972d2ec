"""CLIP checkpoints into our trunks: names, layouts, and clear errors for those of another architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.converting import checkpoint_tensors, renamed

# (pattern in a checkpoint, our name); the first that matches is taken
RENAMES = (
    (re.compile(r"^positional_embedding$"), "positions.table"),
    (re.compile(r"^attnpool\.positional_embedding$"), "attnpool.positions.table"),
    (re.compile(r"^(?:transformer\.)?resblocks\.(\d+)\.learned_position$"), r"extra_positions.\1.table"),
    (re.compile(r"^learned_position$"), "extra_positions.input.table"),
    (re.compile(r"^(?:transformer\.)?resblocks\.(\d+)\.attn\.qkv\.(weight|bias)$"), r"blocks.\1.attn.in_proj_\2"),
    (re.compile(r"^(?:transformer\.)?resblocks\.(\d+)\.attn\.proj\.(weight|bias)$"), r"blocks.\1.attn.out_proj.\2"),
    (re.compile(r"^(?:transformer\.)?resblocks\.(\d+)\.(.+)$"), r"blocks.\1.\2"),
)


def load_clip(model: nn.Module, state: Mapping[str, object], source: str = "the checkpoint") -> None:
    """Put a checkpoint's vision tower into one of our trunks.

    Takes state dicts of open_clip and OpenAI (whole models, or their `visual` part), of wrappers that put "module."
    before the names or the dict under "state_dict", and the layouts of the systems built on CLIP: separate q, k and v
    weights (CAT-Seg), "qkv" and "proj" (EBSeg), learned positions (DeOP; left as they are where the checkpoint has
    none). Half-precision weights become the model's.

    Args:
        model: a `VisionTransformer`, one of the training-free methods, or a `ModifiedResNet`; changed in place.
        state: names and tensors; the text tower is left aside.
        source: what to call the checkpoint in errors, for instance its file name.

    Raises:
        ModelError: the checkpoint is of another architecture; names the first key that differs, and both shapes.
    """
    ours = model.state_dict()
    theirs = vision_state(state)
    if not theirs:
        raise ModelError(f"{source} holds no CLIP vision tower: expected keys such as visual.conv1.weight")
    for key, tensor in ours.items():
        # counters of training, which some checkpoints lack, and position tables that are trained from plain CLIP
        if key.endswith("num_batches_tracked") or key.startswith("extra_positions."):
            theirs.setdefault(key, tensor)
        if key not in theirs:
            raise ModelError(f"{source} lacks {key} {_shape(tensor)}: it is of another architecture than the model")
        if theirs[key].shape != tensor.shape:
            raise ModelError(
                f"{source} is of another architecture than the model: {key} is {_shape(theirs[key])} in the checkpoint "
                f"and {_shape(tensor)} in the model"
            )
    left = [key for key in theirs if key not in ours]
    if left:
        raise ModelError(
            f"{source} is of another architecture than the model, which has no {left[0]} {_shape(theirs[left[0]])}"
        )
    model.load_state_dict(theirs)


def vision_state(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The vision tower's tensors of a checkpoint under our names, separate q, k, v weights joined."""
    tensors = checkpoint_tensors(state, under="state_dict")
    if any(key.startswith("visual.") for key in tensors):
        tensors = {key.removeprefix("visual."): value for key, value in tensors.items() if key.startswith("visual.")}
    elif "conv1.weight" not in tensors:
        return {}
    return {renamed(key, RENAMES): value for key, value in _joined(tensors).items()}


def _joined(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """q_proj_weight, k_proj_weight and v_proj_weight of each block as one in_proj_weight, rows in that order."""
    result = dict(tensors)
    for key in tensors:
        if not key.endswith("attn.q_proj_weight"):
            continue
        stem = key.removesuffix("q_proj_weight")
        parts = [stem + f"{letter}_proj_weight" for letter in "qkv"]
        if all(part in result for part in parts):
            result[stem + "in_proj_weight"] = torch.cat([result.pop(part) for part in parts])
    return result


def _shape(tensor: Tensor) -> str:
    """A shape as one reads it: (768, 3, 16, 16)."""
    return str(tuple(tensor.shape))
