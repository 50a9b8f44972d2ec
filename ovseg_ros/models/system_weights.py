"""The papers' systems as networks, with weights of published checkpoints or random numbers, and their text towers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.hashing import file_hash
from ovseg_ros.models import catseg_weights, deop_text, ebseg_weights, gkc_weights
from ovseg_ros.models.catseg import CatSeg
from ovseg_ros.models.catseg_config import CatSegConfig
from ovseg_ros.models.checkpoints import RANDOM, open_checkpoint
from ovseg_ros.models.clip_config import ClipResNetConfig, read_open_clip
from ovseg_ros.models.converting import checkpoint_tensors, read_checkpoint, unmatched
from ovseg_ros.models.deop import Deop, DeopConfig
from ovseg_ros.models.deop_weights import load_deop
from ovseg_ros.models.ebseg import Ebseg
from ovseg_ros.models.ebseg_config import EbsegConfig
from ovseg_ros.models.esc_config import EscConfig
from ovseg_ros.models.esc_net import EscNet
from ovseg_ros.models.esc_weights import start_from_catseg, start_from_sam
from ovseg_ros.models.gkc import Gkc
from ovseg_ros.models.gkc_config import GkcConfig
from ovseg_ros.models.systems import SystemSpec
from ovseg_ros.models.two_stream import sim_baseline
from ovseg_ros.models.two_stream_weights import load_from_deop

RN101 = ClipResNetConfig(layers=(3, 4, 23, 3), embed_dim=512)
LEAST_VISION = {"image_size": 32, "patch_size": 32, "layers": 1, "width": 64}  # of a CLIP whose text tower is wanted
NOT_TEXT = ("visual.", "attn_mask", "logit_scale")  # of an open_clip model


@dataclass(frozen=True)
class File:
    """A checkpoint file.

    Attributes:
        name: for errors.
        hash: SHA-256 in hex.
        content: names and tensors, or a dict that has them.
    """

    name: str
    hash: str
    content: dict[str, object]


@dataclass(frozen=True)
class System:
    """How a system is made and filled.

    Attributes:
        configs: its sizes, by name.
        make: a network of such sizes, random.
        load: puts files into it; returns what is to be known of the result, "" where the files give all of it.
        text: the text tower's tensors in a file, under open_clip's names; empty where it has none.
        tower: what words run through: the open_clip model itself, or one behind a learned prompt. Random without file.
    """

    configs: Mapping[str, Callable[[], Any]]
    make: Callable[[Any], nn.Module]
    load: Callable[[Any, Sequence[File]], str]
    text: Callable[[Mapping[str, object]], dict[str, Tensor]]
    tower: Callable[[CLIP, File | None], nn.Module] = lambda model, _: model


@dataclass(frozen=True)
class OpenSystem:
    """A network of the papers with weights.

    Attributes:
        net: in evaluation mode, float32, on the CPU; takes images of any size that divides. Masks are enlarged before
            their classes are mixed, as published; see `mask_read_out.read_out_masks`.
        source: what the weights came from: file names with hashes, or "random".
        note: what is to be known of them; "" where they are a published model's.
        files: the files.
    """

    net: nn.Module
    source: str
    note: str
    files: tuple[File, ...]


def open_system(spec: SystemSpec, weights: str) -> OpenSystem:
    """Make a network and load its weights.

    Args:
        spec: which.
        weights: the path of the published checkpoint, several with commas between them, or "random" (seed 0).

    Raises:
        ModelError: for files that are missing, damaged, of another system or of another size.
    """
    files = () if weights == RANDOM else tuple(_read(spec, part.strip()) for part in weights.split(","))
    system = SYSTEMS[spec.system]
    torch.manual_seed(0)
    net: Any = system.make(system.configs[spec.config]())
    if hasattr(net, "fine"):  # masks: label for label as published, which costs nothing measurable at these sizes
        net.fine = True
    note = system.load(net, files) if files else ""
    source = " + ".join(f"{file.name} sha256:{file.hash[:16]}" for file in files) or RANDOM
    return OpenSystem(net.eval().requires_grad_(False), source, note, files)


def open_text(spec: SystemSpec, files: Sequence[File], text: str = "") -> nn.Module:
    """What encodes a system's words, for `clip_text.export_text_tower`.

    Args:
        spec: which system.
        files: its checkpoint's; none for random weights.
        text: an open_clip tag, a CLIP file, or "random", for checkpoints without a text tower.

    Raises:
        ModelError: no file has a text tower and `text` names none; both do; or it is of another architecture.
    """
    system = SYSTEMS[spec.system]
    towers = ((file, system.text(file.content)) for file in files)
    found = next(((file, state) for file, state in towers if "token_embedding.weight" in state), None)
    if text:
        if found:
            raise ModelError(f"{found[0].name} has the text tower that it was trained with; leave --text away")
        model = open_checkpoint(spec.architecture, text).model
    else:
        torch.manual_seed(0)
        model = _text_model(spec.architecture)
        if found:
            _load_text(model, found[1], f"{found[0].name}'s", spec.architecture)
        elif files:
            raise ModelError(f"{files[0].name} has no text tower; name CLIP's with --text openai or --text FILE")
    return system.tower(model, files[0] if files else None).eval()


def _read(spec: SystemSpec, path: str) -> File:
    if not Path(path).suffix and "/" not in path:  # a tag, as of open_clip
        raise ModelError(
            f"{spec.name} has no weights by the name {path!r}; give its checkpoint ({spec.checkpoint}) with --weights "
            "FILE, or --weights random to time it"
        )
    content = read_checkpoint(Path(path))
    return File(Path(path).name, file_hash(Path(path)), content)


def _text_model(architecture: str) -> CLIP:
    """An open_clip model for its text tower alone, random."""
    config = read_open_clip(architecture)
    return CLIP(config["embed_dim"], LEAST_VISION, config["text_cfg"], quick_gelu=config.get("quick_gelu", False))


def _load_text(model: CLIP, state: Mapping[str, Tensor], whose: str, architecture: str) -> None:
    """Put a checkpoint's text tower into a model, in place; what a text tower does not need is left aside."""
    expected = {key: x for key, x in model.state_dict().items() if not key.startswith(NOT_TEXT)}
    found = {key: x for key, x in state.items() if not key.startswith(NOT_TEXT)}
    if problems := unmatched(expected, found):
        raise ModelError(f"{whose} text tower is not {architecture}'s: {problems}; take the checkpoint of its config")
    model.load_state_dict({key: x.float() for key, x in found.items()}, strict=False)


def _whole(load: Callable[[Any, Mapping[str, object], str], object]) -> Callable[[Any, Sequence[File]], str]:
    """A converter whose one file gives the whole network."""

    def fill(net: Any, files: Sequence[File]) -> str:
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise ModelError(f"one checkpoint holds the whole system; got {len(files)}: {names}")
        load(net, files[0].content, files[0].name)
        return ""

    return fill


def _start_esc_net(net: EscNet, files: Sequence[File]) -> str:
    """CAT-Seg's trunk and fusion, and SAM's decoder blocks where they are given."""
    sam = [file for file in files if any(key.startswith("mask_decoder.") for key in checkpoint_tensors(file.content))]
    catseg = [file for file in files if file not in sam]
    if len(catseg) != 1 or len(sam) > 1:
        raise ModelError(
            f"an ESC-Net starts from a CAT-Seg checkpoint, and a SAM's may follow after a comma; got {len(catseg)} and "
            f"{len(sam)}: {', '.join(file.name for file in files)}"
        )
    fresh = set(start_from_catseg(net, catseg[0].content, catseg[0].name).fresh)
    if sam:
        fresh &= set(start_from_sam(net, sam[0].content, sam[0].name).fresh)
    return f"a start for training, not a trained model: {len(fresh)} of {len(net.state_dict())} tensors are random"


def _prompted(model: CLIP, file: File | None) -> nn.Module:
    """DeOP's tower, behind the prompt that it learned."""
    if file is None:
        context = 0.02 * torch.randn(deop_text.VECTORS, model.token_embedding.embedding_dim)
    else:
        context = deop_text.learned_context(file.content, file.name)
    return deop_text.PromptedTower(model, context)


SYSTEMS: dict[str, System] = {
    "ebseg": System(
        {"base": EbsegConfig.base, "large": EbsegConfig.large},
        Ebseg,
        _whole(ebseg_weights.load_ebseg),
        ebseg_weights.text_tower,
    ),
    "deop": System(
        {"base": DeopConfig.base},
        Deop,
        _whole(lambda net, state, source: load_deop(net, state, source=source)),
        deop_text.text_tower,
        _prompted,
    ),
    "two-stream": System(  # what DeOP saves, of the same parts
        {"base": DeopConfig.base},
        lambda config: sim_baseline(config.masks, config.clip),
        _whole(load_from_deop),
        deop_text.text_tower,
        _prompted,
    ),
    "gkc": System(  # without the heads that training alone uses
        {"rn50": lambda: GkcConfig(teacher=None), "rn101": lambda: GkcConfig(RN101, teacher=None)},
        Gkc,
        _whole(gkc_weights.load_gkc),
        gkc_weights.text_tower,
    ),
    "esc-net": System(
        {"base": EscConfig.base, "large": EscConfig.large},
        EscNet,
        _start_esc_net,
        catseg_weights.text_tower,
    ),
    "cat-seg": System(
        {"base": CatSegConfig.base, "large": CatSegConfig.large},
        CatSeg,
        _whole(catseg_weights.load_catseg),
        catseg_weights.text_tower,
    ),
}
