"""Published SAM checkpoints into the parts here: names are the same, so it is a matter of taking the right ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from ovseg_ros.errors import ModelError

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
    found = {
        key.removeprefix(f"{part}."): value
        for key, value in state.items()
        if key.startswith(f"{part}.") and isinstance(value, Tensor)
    }
    expected = module.state_dict()
    if part == "image_encoder" and not any(key.startswith("neck.") for key in expected):
        found = {key: value for key, value in found.items() if not key.startswith("neck.")}
    wrong = [
        f"{key} is {tuple(found[key].shape)} in it and {tuple(tensor.shape)} in the model"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    missing = [f"it lacks {part}.{key}" for key in expected if key not in found]
    left = [f"the model has no {part}.{key}" for key in found if key not in expected]
    problems = missing[:5] + wrong[:5] + left[:5]
    if problems:
        count = len(missing) + len(wrong) + len(left)
        raise ModelError(
            f"{source} does not fit SAM's {part} ({count} tensors differ): {'; '.join(problems)}; "
            "take the checkpoint of the model's own size, for instance sam_vit_b_01ec64.pth for ViT-B"
        )
    module.load_state_dict(found)
