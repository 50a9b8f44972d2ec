"""A small CLIP whose words come from a frozen static text encoder, so that only its image tower has weights.

Image tower: `VisionTransformer`. Text tower: any text encoder of the project; its unit vectors are the text space.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.attention import Context, Identity
from ovseg_ros.models.clip import PLAIN, BlockRule, VisionTransformer, to_map
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.clip_segmenter import ClipSegmenter
from ovseg_ros.models.clip_weights import load_clip
from ovseg_ros.models.positions import Resize
from ovseg_ros.models.training_free import METHODS, training_free

TRUNK_FILE = "trunk.safetensors"
TEMPERATURE, MAX_SCALE = 0.07, 100.0  # CLIP, arXiv 2103.00020, section 2.5: the first one, and the bound of its inverse
# How the last block is read where features are dense: each token its own value, with residual and MLP (MaskCLIP's
# form) and without both (the form of the methods on ClearCLIP, whose attention then only averages over neighbours).
DENSE_RULES = (METHODS["maskclip"], BlockRule(Identity(), residual=0, ffn=False))


class MiniClip(nn.Module):
    """A ViT trunk and the learned temperature of its contrastive loss.

    Args:
        config: of the trunk; `embed_dim` is the text encoder's width.
    """

    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.trunk = VisionTransformer(config)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    def forward(self, images: Tensor, dense: bool = True) -> tuple[Tensor, list[Tensor]]:
        """Embeddings of whole images and of their patches.

        Args:
            images: (N, 3, H, W) float, normalised by the trunk's config.
            dense: whether the patches are wanted.

        Returns:
            (N, D), the CLS token's, not normalised; and a (N, D, h, w) for each of `DENSE_RULES`, none where not
            wanted. All blocks but the last run once for all of them.
        """
        trunk = self.trunk
        x, grid = trunk.embed(images)
        context, last = Context(grid), trunk.config.layers - 1
        for index in range(last):
            x = trunk.step(index, x, context, PLAIN)
        whole = trunk.project(trunk.step(last, x, context, PLAIN)[:, 0])
        rules = DENSE_RULES if dense else ()
        return whole, [to_map(trunk.project(trunk.step(last, x, context, rule)), grid) for rule in rules]

    def scale(self) -> Tensor:
        """From cosines to logits, a scalar in 0..100."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)


def pool(features: Tensor, masks: Tensor, owner: Tensor) -> Tensor:
    """The mean unit feature of regions.

    Args:
        features: (N, D, h, w) float.
        masks: (P, h, w) float, how much of each patch a region covers, 0..1.
        owner: (P,) int64, the image of each region.

    Returns:
        (P, D) float; zeros for an empty mask.
    """
    unit = F.normalize(features, dim=1)[owner]  # (P, D, h, w)
    summed = torch.einsum("pdhw,phw->pd", unit, masks)
    return summed / masks.sum(dim=(1, 2)).clamp(min=1e-6)[:, None]


def as_segmenter(trunk: VisionTransformer, method: str, size: tuple[int, int], scale: float) -> ClipSegmenter:
    """A training-free method with a trunk's weights, in evaluation mode.

    Args:
        trunk: the weights, copied.
        method: see `training_free`.
        size: (height, width) of its images; its position tables are resized for them once.
        scale: from cosines to logits.
    """
    patch = trunk.config.patch
    own = training_free(method, trunk.config)
    own.load_state_dict(trunk.state_dict())
    own.bake((size[0] // patch, size[1] // patch))
    return ClipSegmenter(own, scale).eval()


def save_mini_clip(trunk: VisionTransformer, folder: Path, **notes: str) -> Path:
    """Write a trunk as `trunk.safetensors` in half precision, its config among the file's metadata.

    Args:
        trunk: the weights.
        folder: made where it is not there.
        notes: further metadata, for instance the identity of the text encoder.

    Returns:
        The file.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().half().contiguous() for name, tensor in trunk.state_dict().items()}
    save_file(state, folder / TRUNK_FILE, metadata={**notes, "config": json.dumps(asdict(trunk.config))})
    (folder / TRUNK_FILE).chmod(0o644)  # which safetensors makes its writer's alone
    return folder / TRUNK_FILE


def load_mini_clip(
    path: Path | str,
    rules: dict[int, BlockRule] | None = None,
    resize: Resize = "size",
    extra_positions: tuple[int, tuple[int, ...]] | None = None,
) -> VisionTransformer:
    """A trunk that `save_mini_clip` wrote, in evaluation mode.

    Args:
        path: the file, or the folder that holds it (for instance `weights/clip-mini`).
        rules, resize, extra_positions: as for `VisionTransformer`.

    Raises:
        ModelError: when the file is missing, damaged, or no mini CLIP's.
    """
    config, state, file = _read(Path(path))
    trunk = VisionTransformer(config, rules, resize, extra_positions)
    load_clip(trunk, state, str(file))
    return trunk.eval()


def text_identity(path: Path | str) -> str:
    """The identity of the text encoder that a mini CLIP was trained with; "" where the file does not say.

    Raises:
        ModelError: as `load_mini_clip`.
    """
    return str(_metadata(Path(path))[0].get("text_identity", ""))


def _metadata(path: Path) -> tuple[dict[str, str], dict[str, Tensor], Path]:
    """Metadata and tensors of a file, or of the one in a folder."""
    from safetensors import SafetensorError, safe_open

    file = path / TRUNK_FILE if path.is_dir() else path
    if not file.is_file():
        raise ModelError(f"there is no mini CLIP {file}; make one with `ovseg train clip-mini`")
    try:
        with safe_open(file, "pt") as opened:
            return dict(opened.metadata() or {}), {name: opened.get_tensor(name) for name in opened.keys()}, file  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is damaged ({error}); make it again with `ovseg train clip-mini`") from error


def _read(path: Path) -> tuple[ClipVisionConfig, dict[str, Tensor], Path]:
    metadata, state, file = _metadata(path)
    try:
        plain = json.loads(metadata["config"])
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        config = ClipVisionConfig(**sizes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{file} is no mini CLIP: its metadata has no usable config ({error})") from error
    return config, state, file
