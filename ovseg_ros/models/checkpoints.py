"""Where a CLIP model's weights come from: open_clip's hub by tag, a file, or random numbers."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import huggingface_hub.constants as hub
import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg
from torch import nn

from ovseg_ros.errors import ModelError
from ovseg_ros.hashing import file_hash
from ovseg_ros.models.clip_config import MEAN, STD
from ovseg_ros.models.zoo import licence_of

RANDOM = "random"


@dataclass(frozen=True)
class Checkpoint:
    """A CLIP model with its weights.

    Attributes:
        model: open_clip's, in evaluation mode, float32, on the CPU.
        source: what it came from: a tag, a file name with its hash, or "random".
        licence: of the weights, as far as is known.
        pixel_mean, pixel_std: statistics that its images are normalised by, RGB in 0..1.
    """

    model: nn.Module
    source: str
    licence: str
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]


def open_checkpoint(architecture: str, weights: str) -> Checkpoint:
    """Load a CLIP model.

    Args:
        architecture: an open_clip name, for example ViT-B-16.
        weights: a tag of open_clip's for this architecture, the path of a state dict (.pt, .bin, .safetensors), or
            "random" (seed 0).

    Raises:
        ModelError: for an unknown tag, weights that cannot be downloaded, or a file of another architecture.
    """
    if weights == RANDOM:
        torch.manual_seed(0)
        return _checkpoint(_empty(architecture), RANDOM, licence_of(RANDOM), {})
    path = Path(weights)
    if path.suffix or "/" in weights:
        return _from_file(architecture, path)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if weights not in tags:
        raise ModelError(
            f"open_clip has no weights {weights!r} for {architecture}; its tags: {', '.join(tags) or 'none'}; "
            "or give a file, or random"
        )
    online = _reachable(urlparse(hub.ENDPOINT).hostname or "")
    try:
        # the hub's client shows a progress bar, and checks what it got against the hub's hash
        with _quiet_hub(online):
            model = open_clip.create_model(architecture, pretrained=weights)
    except Exception as error:  # of urllib, requests, httpx or the hub's client, whichever serves this tag
        raise ModelError(
            f"the weights {weights} of {architecture} cannot be downloaded "
            f"({_reason(error) if online else 'there is no network'}); give --weights FILE or --weights random"
        ) from error
    return _checkpoint(model, weights, licence_of(weights), get_pretrained_cfg(architecture, weights) or {})


def _from_file(architecture: str, path: Path) -> Checkpoint:
    if not path.is_file():
        raise ModelError(f"there is no weights file {path}; give a file, a tag of open_clip's, or random")
    try:
        state = open_clip.factory.load_state_dict(str(path), device="cpu", weights_only=True)
    except Exception as error:  # torch, pickle, zipfile and safetensors each have their own
        raise ModelError(f"{path} is no readable checkpoint ({_reason(error)})") from error
    model = _empty(architecture)
    _check(state, model.state_dict(), f"{path} is no {architecture}")
    model.load_state_dict(state, strict=False)
    return _checkpoint(model, f"{path.name} sha256:{file_hash(path)[:16]}", "that of the file", {})


def _empty(architecture: str) -> nn.Module:
    """The architecture with random weights, without open_clip's warning that they are random."""
    with _quiet(logging.ERROR, ""):
        model: nn.Module = open_clip.create_model(architecture, pretrained=None)
    return model


def _check(state: dict[str, Any], expected: dict[str, torch.Tensor], problem: str) -> None:
    """Refuse a state dict that lacks a tensor or has one of another shape; what it has beside them is left aside."""
    for key, tensor in expected.items():
        if key == "attn_mask":  # the causal mask, a constant that some files hold
            continue
        if key not in state:
            raise ModelError(f"{problem}: it has no {key} {tuple(tensor.shape)}; name the model of its architecture")
        if state[key].shape != tensor.shape:
            raise ModelError(
                f"{problem}: {key} is {tuple(state[key].shape)} in the file and {tuple(tensor.shape)} in the model; "
                "name the model of its architecture"
            )


@contextlib.contextmanager
def _quiet_hub(online: bool) -> Iterator[None]:
    """Without a network the hub's client asks its cache alone, instead of trying for a minute; it logs no requests."""
    offline = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = offline or not online
    try:
        with _quiet(logging.CRITICAL, "huggingface_hub", "httpx", ""):
            yield
    finally:
        hub.HF_HUB_OFFLINE = offline


@contextlib.contextmanager
def _quiet(level: int, *names: str) -> Iterator[None]:
    """Loggers of other libraries say nothing below a level; "" is the root."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)


def _reachable(host: str) -> bool:
    """Whether a host's name resolves; assumed where a proxy does that."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _checkpoint(model: nn.Module, source: str, licence: str, config: dict[str, Any]) -> Checkpoint:
    mean, std = (tuple(config.get(key) or default) for key, default in (("mean", MEAN), ("std", STD)))
    return Checkpoint(model.eval().float(), source, licence, mean, std)


def _reason(error: Exception) -> str:
    """The first line of an error, or its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
