"""Where ESC-Net starts: SAM's decoder and CAT-Seg's or CLIP's trunk, from their published checkpoints.

No checkpoint of ESC-Net itself was published. Every tensor of a start has a place, or the report says why not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ovseg_ros.errors import ModelError
from ovseg_ros.models.catseg_weights import split as split_catseg
from ovseg_ros.models.converting import checkpoint_tensors, renamed, unmatched
from ovseg_ros.models.esc_net import EscNet
from ovseg_ros.models.sam.weights import load_sam

TRANSFORMER = "mask_decoder.transformer.layers."

# (pattern of CAT-Seg's names under `catseg`'s, ours); its guidance projection goes to every block
RENAMES = (
    (re.compile(r"^aggregator\.layers\.(\d+)\."), r"blocks.\1.fusion."),
    (re.compile(r"^aggregator\.(embedding|decoder)\."), r"\1."),
)
GUIDANCE = "aggregator.guidance_projection."


@dataclass(frozen=True)
class Start:
    """What a checkpoint gave a model.

    Attributes:
        taken: our names that have its values now.
        fresh: our names that still have their random ones, or those of another checkpoint.
        aside: its names that were not used, with the reason.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    aside: dict[str, str]


def start_from_sam(model: EscNet, state: Mapping[str, object], source: str = "the checkpoint") -> Start:
    """Put SAM's prompt encoder and two-way blocks into every ESC block, in place: the pretrained SAM block.

    Without this the SAM block is random, which is the paper's ablation.

    Args:
        model: of SAM ViT-B's widths, as `base()` and `large()` are.
        state: of sam_vit_b_01ec64.pth.
        source: what to call it in errors.

    Raises:
        ModelError: the checkpoint is no SAM, or of other sizes than the model; names the first tensors that differ.
    """
    tensors = checkpoint_tensors(state)
    layers = {key.removeprefix(TRANSFORMER): x for key, x in tensors.items() if key.startswith(TRANSFORMER)}
    if not layers:
        raise ModelError(f"{source} holds no SAM decoder: expected keys such as {TRANSFORMER}0.norm1.weight")
    ours = {f"blocks.{i}.sam.{key}": x for i in range(len(model.blocks)) for key, x in layers.items()}
    _check(model, ours, source, [key for key in model.state_dict() if re.match(r"blocks\.\d+\.sam\.", key)])
    load_sam(model.prompt_encoder, "prompt_encoder", tensors, source)
    model.load_state_dict(ours, strict=False)
    taken = (*ours, *(f"prompt_encoder.{key}" for key in model.prompt_encoder.state_dict()))
    used = {f"{TRANSFORMER}{key}" for key in layers}
    aside = {
        key: "the image encoder; CLIP is ours"
        if key.startswith("image_encoder.")
        else "what follows the two-way blocks"
        for key in tensors
        if key not in used and not key.startswith("prompt_encoder.")
    }
    return _start(model, taken, aside)


def start_from_catseg(model: EscNet, state: Mapping[str, object], source: str = "the checkpoint") -> Start:
    """Put CAT-Seg's trunk, embedding, layers and decoder into ESC-Net, in place.

    Its layers go into the first blocks, one each; further blocks keep their random fusion.

    Args:
        model: of CAT-Seg's sizes, as `base()` and `large()` are.
        state: of model_base.pth or model_large.pth.
        source: what to call it in errors.

    Raises:
        ModelError: the checkpoint is no CAT-Seg, has more layers than the model blocks, or other sizes; counts and
            names the tensors that differ.
    """
    converted, aside = split_catseg(state, source)
    ours: dict[str, Tensor] = {}
    for key, tensor in converted.items():
        if key.startswith(GUIDANCE):
            ours |= {
                f"blocks.{i}.guidance_projection.{key.removeprefix(GUIDANCE)}": tensor for i in range(len(model.blocks))
            }
        else:
            ours[renamed(key, RENAMES)] = tensor
    _check(model, ours, source, [key for key in model.state_dict() if key.startswith(("trunk.", "decoder."))])
    model.load_state_dict(ours, strict=False)
    return _start(model, tuple(ours), aside)


def _start(model: EscNet, taken: tuple[str, ...], aside: dict[str, str]) -> Start:
    return Start(taken, tuple(key for key in model.state_dict() if key not in set(taken)), aside)


def _check(model: EscNet, ours: Mapping[str, Tensor], source: str, needed: list[str]) -> None:
    """Refuse tensors without a place, of other shapes, and the lack of needed ones."""
    expected = model.state_dict()
    if problems := unmatched(expected, ours, expected.keys() - set(needed)):
        raise ModelError(
            f"{source} is of other sizes than the ESC-Net: {problems}; take the checkpoint of the config's own trunk"
        )
