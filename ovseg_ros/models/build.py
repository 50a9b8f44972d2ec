"""From a model of the zoo and its weights to a folder that engines are built from, in the form of `weights/mini`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from torch import nn

from ovseg_ros.errors import ModelError
from ovseg_ros.folders import written_whole
from ovseg_ros.hashing import file_hash
from ovseg_ros.models.checkpoints import RANDOM, Checkpoint, open_checkpoint
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.clip_segmenter import ClipSegmenter, Windows
from ovseg_ros.models.clip_text import export_text_tower
from ovseg_ros.models.clip_weights import load_clip
from ovseg_ros.models.export import export_onnx
from ovseg_ros.models.onepass import EncoderAlone, OnePass
from ovseg_ros.models.training_free import training_free
from ovseg_ros.models.zoo import ModelSpec
from ovseg_ros.text import open_text_encoder
from ovseg_ros.weights import GRAPH_FILE, MANIFEST_FILE

CLASSES = ("wall", "floor", "ceiling", "door", "window", "chair", "table", "person, human", "plant", "box", "other")


def build_model(
    spec: ModelSpec,
    weights: str,
    folder: Path,
    *,
    windows: Windows | None = None,
    max_classes: int = 1024,
    program: bool = False,
    encoder_alone: bool = False,
) -> None:
    """Load weights, export the image graph and the text tower, and write `folder` whole or not at all.

    Args:
        spec: which model; its size must be a multiple of the patch.
        weights: a tag, a file, or "random"; see `checkpoints.open_checkpoint`.
        folder: made, or replaced once the new one is complete.
        windows: segment in overlapping windows; the whole image at once where None.
        max_classes: what engines of it are to hold.
        program: export for the torch backend as well.
        encoder_alone: leave out all that has to do with words, to time what it costs.

    Raises:
        ModelError: for weights that cannot be used, a size that does not fit, or a folder that cannot be written.
    """
    config = ClipVisionConfig.from_open_clip(spec.architecture)
    _check_size(spec, config.patch, windows)
    settings = {
        "name": spec.name,
        "method": spec.method,
        "architecture": spec.architecture,
        "size": list(spec.size),
        "scale": spec.scale,
        "prompts": spec.prompts,
        "windows": None if windows is None else [windows.crop, windows.step],
        "max_classes": max_classes,
        "encoder_alone": encoder_alone,
    }
    if _is_there(folder, {**settings, "weights": weights}, program):
        return
    checkpoint = open_checkpoint(spec.architecture, weights)
    segmenter = clip_segmenter(spec, checkpoint, windows)
    try:
        with written_whole(folder) as scratch:
            export_text_tower(checkpoint.model, scratch / "text", spec.architecture, prompts=spec.prompts)
            encoder = open_text_encoder(scratch / "text")
            whole = (EncoderAlone if encoder_alone else OnePass)(segmenter, spec.size)
            export_onnx(whole, scratch / GRAPH_FILE, encoder.width, lossless=True, program=program)
            made = {
                "text_encoder": "text",
                "text_identity": encoder.identity,
                "weights": checkpoint.source,
                "weights_hash": file_hash(scratch / GRAPH_FILE),
                "parameters": sum(p.numel() for p in segmenter.parameters()),
                "classes": list(CLASSES),
                "licence": checkpoint.licence,
                "data": "none: random numbers, for timing" if weights == RANDOM else f"{checkpoint.source}'s",
                "scores": {},
            }
            content = json.dumps({**settings, **made}, indent=2) + "\n"
            (scratch / MANIFEST_FILE).write_text(content, encoding="utf-8")
    except OSError as error:
        raise ModelError(f"cannot write {folder}: {error}; free some space or set OVSEG_ENGINES") from error


def _is_there(folder: Path, settings: dict[str, object], program: bool) -> bool:
    """Whether a whole export with these settings lies in the folder already; weights of a file are exported anew."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        whole = file_hash(folder / GRAPH_FILE) == manifest["weights_hash"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if program and not (folder / GRAPH_FILE).with_suffix(".pt2").is_file():
        return False
    return whole and all(manifest.get(key) == value for key, value in settings.items())


def clip_segmenter(spec: ModelSpec, checkpoint: Checkpoint, windows: Windows | None = None) -> ClipSegmenter:
    """The torch model of a spec with a checkpoint's weights, in evaluation mode, positions baked for its grid."""
    config = ClipVisionConfig.from_open_clip(spec.architecture)
    config = replace(
        config, quick_gelu=_quick_gelu(checkpoint.model), mean=checkpoint.pixel_mean, std=checkpoint.pixel_std
    )
    trunk = training_free(spec.method, config)
    load_clip(trunk, checkpoint.model.state_dict(), checkpoint.source)
    height, width = (windows.crop, windows.crop) if windows else spec.size
    trunk.bake((height // config.patch, width // config.patch))
    return ClipSegmenter(trunk, spec.scale, windows).eval()


def _quick_gelu(model: nn.Module) -> bool:
    """Whether an open_clip model was made with OpenAI's activation, which some tags turn on for any architecture."""
    return any(type(module).__name__ == "QuickGELU" for module in model.modules())


def _check_size(spec: ModelSpec, patch: int, windows: Windows | None) -> None:
    height, width = spec.size
    if min(height, width) < patch or height % patch or width % patch:
        near = "x".join(str(max(1, round(side / patch)) * patch) for side in spec.size)
        raise ModelError(
            f"the size {height}x{width} is no multiple of {spec.architecture}'s patch, {patch}; try {near}"
        )
    if windows and (min(height, width) < windows.crop or windows.crop % patch or windows.step % patch):
        raise ModelError(
            f"windows of {windows.crop} every {windows.step} pixels do not fit {height}x{width} with a patch of {patch}"
        )
