"""The torch network of a model, with weights and text encoder, for inputs of any size."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.pixeltext import PixelText, PixelTextConfig
from ovseg_ros.models.positions import PositionTable
from ovseg_ros.resources import find
from ovseg_ros.text import TextEncoder, open_text_encoder
from ovseg_ros.weights import MANIFEST_FILE, Weights, open_weights


@dataclass(frozen=True)
class Network:
    """A network ready to be evaluated.

    Attributes:
        name: the model's.
        net: in evaluation mode.
        encoder: of its text space.
        size: (height, width) of its exported graph; None for one that is not exported.
    """

    name: str
    net: nn.Module
    encoder: TextEncoder
    size: tuple[int, int] | None


def open_network(model: str, weights: str = "") -> Network:
    """Load a network.

    Args:
        model: a model that `ovseg build` made (its text tower is taken from there), or the `checkpoint.pt` of a
            training run, whose averaged weights are taken with the text encoder that ships.
        weights: a tag, a file or "random", for a built model whose weights came from a file.

    Raises:
        ModelError: for an unknown model, a damaged checkpoint, or weights that are not there.
    """
    if Path(model).suffix == ".pt":
        return _trained(Path(model))
    built = open_weights(model)
    manifest = json.loads((built.folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    if "system" in manifest:
        return _system(built, manifest, weights)
    if "method" not in manifest:
        raise ModelError(
            f"{model} has no torch network, only its exported graph; give its training run's checkpoint.pt, or take "
            "--protocol native"
        )
    return _clip(built, manifest, weights)


def _trained(path: Path) -> Network:
    """PixelText from a run's checkpoint."""
    encoder = open_text_encoder(find("weights/text"))
    try:
        with torch.serialization.safe_globals([PixelTextConfig]):
            state = torch.load(path, map_location="cpu", weights_only=True)
        net = PixelText(_sizes(state["config"], encoder.width))
        net.load_state_dict(state["average"])
    except FileNotFoundError as error:
        raise ModelError(f"there is no checkpoint {path}; `ovseg train` writes one") from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} is no checkpoint of a training run ({type(error).__name__}: {error})") from error
    if encoder.width != net.config.text_width:
        raise ModelError(f"{path} speaks a text space of {net.config.text_width} numbers, not the shipped encoder's")
    return Network(path.parent.name or path.stem, net.eval(), encoder, None)


def _sizes(config: Any, text_width: int) -> PixelTextConfig:
    """The network's sizes as a checkpoint has them: a mapping, or in those of 0.1.0 the config itself."""
    if isinstance(config, PixelTextConfig):
        return config
    if (name := config["name"]) != "pixeltext":
        raise ValueError(f"it is a checkpoint of {name}")
    sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items() if k != "name"}
    return PixelTextConfig(**sizes, text_width=text_width)


def _clip(built: Weights, manifest: dict[str, Any], weights: str) -> Network:
    """A training-free method on the CLIP model that the build was made from."""
    from ovseg_ros.models.build import clip_segmenter
    from ovseg_ros.models.checkpoints import open_checkpoint
    from ovseg_ros.models.zoo import model_spec

    spec = model_spec(manifest["method"], manifest["architecture"])  # its name may be the user's own
    spec = replace(spec, size=built.size, scale=manifest.get("scale", spec.scale))
    checkpoint = open_checkpoint(spec.architecture, weights or _unfiled(built))
    _check_source(built, checkpoint.source)
    net = clip_segmenter(spec, checkpoint)
    for module in net.modules():
        if isinstance(module, PositionTable):  # baked for one grid, and protocols have many
            module.grid = module.baked = None
    return Network(built.name, net.eval(), open_text_encoder(built.text_folder, "fp32"), built.size)


def _system(built: Weights, manifest: dict[str, Any], weights: str) -> Network:
    """A paper's system, from the checkpoint that the build was made from."""
    from ovseg_ros.models.build import remember_seen
    from ovseg_ros.models.system_weights import open_system
    from ovseg_ros.models.systems import listed_systems

    sizes = (manifest["system"], manifest["config"])
    spec = next((spec for spec in listed_systems() if (spec.system, spec.config) == sizes), None)
    if spec is None:
        raise ModelError(f"{built.name} is of a system that is no longer there, {sizes[0]} {sizes[1]}; build it anew")
    opened = open_system(spec, weights or _unfiled(built))
    _check_source(built, opened.source)
    encoder = open_text_encoder(built.text_folder, "fp32")
    remember_seen(opened.net, encoder, manifest["seen_words"])
    return Network(built.name, opened.net, encoder, built.size)


def _unfiled(built: Weights) -> str:
    """What a model was built from, where that was no file."""
    if "sha256:" in built.source:
        raise ModelError(f"{built.name} was built from the file {built.source}; give it with --weights FILE")
    return built.source


def _check_source(built: Weights, source: str) -> None:
    """Refuse other weights than the model's."""
    if source != built.source:
        raise ModelError(f"{built.name} was built from {built.source}, not from {source}; build it anew")
