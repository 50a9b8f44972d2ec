"""Published SAM checkpoints into the parts here: names are the same, so it is a matter of taking the right ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.converting import unmatched

Part = Literal["image_encoder", "prompt_encoder", "mask_decoder"]


def load_sam(module: nn.Module, part: Part, state: Mapping[str, object], source: str = "the checkpoint") -> None:
    """Put one part of a SAM checkpoint into a module.

    Args:
        module: an `ImageEncoder`, `PromptEncoder` or `MaskDecoder`; changed in place. An image encoder without a neck
            leaves the checkpoint's aside.
        part: what the checkpoint calls it.
        state: the whole checkpoint, names and tensors, for instance of sam_vit_b_01ec64.pth.
        source: what to call the checkpoint in errors, for instance its file name.

    Raises:
        ModelError: a tensor is missing, left over, or of another shape; names the first five of each kind.
    """
    start = f"{part}."
    expected = {start + key: value for key, value in module.state_dict().items()}
    found = {key: value for key, value in state.items() if key.startswith(start) and isinstance(value, Tensor)}
    neck = f"{start}neck."
    if part == "image_encoder" and not any(key.startswith(neck) for key in expected):
        found = {key: value for key, value in found.items() if not key.startswith(neck)}
    if problems := unmatched(expected, found):
        raise ModelError(
            f"{source} does not fit SAM's {part}: {problems}; "
            "take the checkpoint of the model's own size, for instance sam_vit_b_01ec64.pth for ViT-B"
        )
    module.load_state_dict({key.removeprefix(start): value for key, value in found.items()})
