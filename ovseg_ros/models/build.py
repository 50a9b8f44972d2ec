"""From a model of the zoo and its weights to a folder that engines are built from, in the form of `weights/mini`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ovseg_ros.engine.cache import cache_root
from ovseg_ros.errors import ModelError
from ovseg_ros.folders import written_whole
from ovseg_ros.hashing import file_hash
from ovseg_ros.models.catseg_pass import ShortlistPass
from ovseg_ros.models.checkpoints import RANDOM, Checkpoint, open_checkpoint
from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.clip_segmenter import ClipSegmenter, Windows
from ovseg_ros.models.clip_text import export_text_tower
from ovseg_ros.models.clip_weights import load_clip
from ovseg_ros.models.ebseg_words import SeenWords
from ovseg_ros.models.export import export_onnx
from ovseg_ros.models.onepass import EncoderAlone, OnePass
from ovseg_ros.models.system_weights import open_system, open_text
from ovseg_ros.models.systems import SystemSpec
from ovseg_ros.models.training_free import training_free
from ovseg_ros.models.zoo import ModelSpec, licence_of
from ovseg_ros.text import TextEncoder, open_text_encoder, text_table
from ovseg_ros.vocabulary import Vocabulary
from ovseg_ros.weights import GRAPH_FILE, MANIFEST_FILE

CLASSES = ("wall", "floor", "ceiling", "door", "window", "chair", "table", "person, human", "plant", "box", "other")
RANDOM_DATA = "none: random numbers, for timing"


@dataclass(frozen=True)
class Parts:
    """What a folder is exported from.

    Attributes:
        tower: encodes the words; see `export_text_tower`.
        whole: the deployed graph, by the text encoder that `tower` became.
        source: of the weights.
        licence: of the weights.
        data: what they were trained on.
        note: what else is to be known of them.
    """

    tower: nn.Module
    whole: Callable[[TextEncoder], OnePass]
    source: str
    licence: str
    data: str
    note: str = ""


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
    """Load a CLIP's weights, export the image graph and the text tower, and write `folder` whole or not at all.

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
        **_settings(spec, max_classes, encoder_alone),
        "method": spec.method,
        "scale": spec.scale,
        "windows": None if windows is None else [windows.crop, windows.step],
    }
    if _is_there(folder, {**settings, "weights": weights}, program):
        return
    checkpoint = open_checkpoint(spec.architecture, weights)
    whole = (EncoderAlone if encoder_alone else OnePass)(clip_segmenter(spec, checkpoint, windows), spec.size)
    data = RANDOM_DATA if weights == RANDOM else f"{checkpoint.source}'s"
    parts = Parts(checkpoint.model, lambda _: whole, checkpoint.source, checkpoint.licence, data)
    _export(folder, settings, parts, program)


def build_system(
    spec: SystemSpec,
    weights: str,
    folder: Path,
    *,
    text: str = "",
    seen: Sequence[str] = (),
    max_classes: int = 1024,
    program: bool = False,
    encoder_alone: bool = False,
) -> None:
    """The same for one of the papers' systems, whose checkpoint holds the text tower as well.

    Args:
        spec: which system; its size must be a multiple of `spec.multiple`.
        weights: a checkpoint, or "random"; see `system_weights.open_system`.
        folder: as for `build_model`.
        text: where the text tower comes from where the checkpoint has none; see `system_weights.open_text`.
        seen: words that the system was trained on, which its balance weighs differently (EBSeg).
        max_classes, program, encoder_alone: as for `build_model`.

    Raises:
        ModelError: as `build_model`; or for a system whose encoder cannot do without words.
    """
    if problem := spec.refuse_size():
        raise ModelError(problem)
    if encoder_alone and spec.budget:
        raise ModelError(f"the words take part in {spec.system} from the start, so that it has no encoder alone")
    settings = {
        **_settings(spec, max_classes, encoder_alone),
        "system": spec.system,
        "config": spec.config,
        "text_weights": text,
        "seen_words": list(seen),
        "masks": "none" if spec.budget else "as published",
    }
    if _is_there(folder, {**settings, "weights": weights}, program):
        return
    opened = open_system(spec, weights)
    tower = open_text(spec, opened.files, text)

    def whole(encoder: TextEncoder) -> OnePass:
        net = cast(Any, opened.net)
        remember_seen(net, encoder, seen)
        net.bake(spec.size)
        return (EncoderAlone if encoder_alone else ShortlistPass if spec.budget else OnePass)(net, spec.size)

    licence, data = spec.licence, f"{opened.source}'s"
    if weights == RANDOM:
        licence, data = licence_of(RANDOM), RANDOM_DATA
    _export(folder, settings, Parts(tower, whole, opened.source, licence, data, opened.note), program)


def remember_seen(net: nn.Module, encoder: TextEncoder, words: Sequence[str]) -> None:
    """Tell a network which words it was trained on, by their embeddings, in place; without words nothing changes.

    Args:
        net: one with a `SeenWords` by the name of `seen`.
        encoder: of its text space, whose own prompts are used.
        words: any number.

    Raises:
        ModelError: the network takes no interest in them.
    """
    if not words:
        return
    memory = getattr(net, "seen", None)
    if not isinstance(memory, SeenWords):
        raise ModelError(f"{type(net).__name__} does not tell seen words from new ones; name none")
    vocabulary = Vocabulary(tuple((word,) for word in words))
    memory.remember(torch.from_numpy(text_table(vocabulary, encoder, cache_root() / "text"))[:, 0])


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


def _settings(spec: ModelSpec | SystemSpec, max_classes: int, encoder_alone: bool) -> dict[str, Any]:
    """What the manifest says of any model, and an export depends on."""
    return {
        "name": spec.name,
        "architecture": spec.architecture,
        "size": list(spec.size),
        "prompts": spec.prompts,
        "max_classes": max_classes,
        "encoder_alone": encoder_alone,
    }


def _export(folder: Path, settings: dict[str, Any], parts: Parts, program: bool) -> None:
    """Write graph, text tower and manifest."""
    try:
        with written_whole(folder) as scratch:
            export_text_tower(parts.tower, scratch / "text", settings["architecture"], prompts=settings["prompts"])
            encoder = open_text_encoder(scratch / "text")
            whole = parts.whole(encoder)
            export_onnx(whole, scratch / GRAPH_FILE, encoder.width, lossless=True, program=program)
            made = {
                "text_encoder": "text",
                "text_identity": encoder.identity,
                "weights": parts.source,
                "weights_hash": file_hash(scratch / GRAPH_FILE),
                "parameters": sum(p.numel() for p in whole.net.parameters()),
                "classes": list(CLASSES),
                "licence": parts.licence,
                "data": parts.data,
                "note": parts.note,
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
