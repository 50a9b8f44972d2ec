"""`ovseg build`: a model of the zoo with its weights, exported and compiled for a device."""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_ros.cli.words import read_words
from ovseg_ros.engine import engine_root
from ovseg_ros.errors import OvsegError
from ovseg_ros.models.systems import SystemSpec
from ovseg_ros.models.zoo import ModelSpec, find_spec
from ovseg_ros.vocabulary import MAX_CLASSES
from ovseg_ros.weights import GRAPH_FOLDER, MANIFEST_FILE, embedded_models, open_weights

NO_WORDS = "none"  # of --seen


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="one of `ovseg models`: METHOD-ARCHITECTURE such as naclip-vit-b-16, a paper's system such as ebseg-b, or "
        "one that is there",
    )
    parser.add_argument(
        "--weights",
        metavar="TAG|FILE|random",
        help="of the CLIP model, `openai` by default; of a system, its published checkpoint",
    )
    parser.add_argument(
        "--text", metavar="TAG|FILE", help="CLIP's weights for the words of a system whose checkpoint has none"
    )
    parser.add_argument(
        "--seen",
        metavar="SET|WORDS",
        help="what EBSeg was trained on: stuff171 (its paper's, the default), stuff156, voc15, panoptic133, none, or "
        "words as `ovseg segment` takes them",
    )
    parser.add_argument("--backend", default="auto", help="auto, openvino, tensorrt, tensorrt-rtx or torch")
    parser.add_argument("--device", help="cpu, gpu (Intel) or cuda; the backend's own by default")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--compute-capability", metavar="X.Y", help="build for a GPU that is not here, e.g. 8.7 (Orin)")
    parser.add_argument("--size", metavar="HxW", help="pixels the network works at, multiples of its patch")
    parser.add_argument("--windows", metavar="CROP,STEP", help="segment in overlapping windows, e.g. 224,112")
    parser.add_argument(
        "--max-classes", type=int, default=MAX_CLASSES, help="classes an engine holds, %(default)s by default"
    )
    parser.add_argument(
        "--encoder-alone", action="store_true", help="without labels, to time what they cost; give --name"
    )
    parser.add_argument("--name", help="what to call the result; the model's own name by default")
    parser.add_argument("--json", action="store_true", help="print what was built as JSON")


def run(options: argparse.Namespace) -> int:
    """Export where needed, compile, and say where the engine lies."""
    from ovseg_ros.engine import build_engine, check_target
    from ovseg_ros.text import open_text_encoder

    if not 1 <= options.max_classes <= MAX_CLASSES:
        raise OvsegError(f"--max-classes {options.max_classes} is out of range; an engine holds 1 to {MAX_CLASSES}")
    check_target(options.backend, options.precision, options.compute_capability, options.device)
    if options.model in embedded_models():
        _refuse_export_options(options)
        name = options.model
    else:
        name = _export(options)
    weights = open_weights(name)
    graph = weights.graph(open_text_encoder(weights.text_folder))
    with Bars(quiet=options.json) as progress:
        folder = build_engine(
            graph,
            options.backend,
            options.precision,
            device=options.device,
            compute_capability=options.compute_capability,
            progress=progress,
        )
    manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    note = json.loads((weights.folder / MANIFEST_FILE).read_text(encoding="utf-8")).get("note", "")
    if options.json:
        print(json.dumps({"name": name, "folder": str(folder), "note": note, **manifest}, indent=2))
    else:
        remark = "random weights: for timing alone" if weights.source == "random" else note
        remark = f" ({remark})" if remark else ""
        print(f"{name}{remark}: {manifest['backend']} {manifest['precision']} for {manifest['device']}\n{folder}")
    return 0


class Bars:
    """A progress bar for each phase of a build."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.close()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Phase `phase` has done `done` of `total` steps."""
        if phase not in self._bars:
            self._bars[phase] = tqdm(total=total, desc=phase, disable=self._quiet, leave=False)
        bar = self._bars[phase]
        bar.update(done - bar.n)


def _export(options: argparse.Namespace) -> str:
    """Export the image graph and the text tower; returns the name that the model goes by."""
    spec = _spec(options)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), tqdm(total=0, desc=f"export {spec.name}", bar_format="{desc} {elapsed}"):
            warnings.simplefilter("ignore")  # the exporter's, about its own internals
            folder = engine_root() / spec.name / GRAPH_FOLDER
            if isinstance(spec, SystemSpec):
                _system(spec, options, folder)
            else:
                _training_free(spec, options, folder)
    except ImportError as error:
        raise OvsegError(f"building {spec.name} needs {error.name}: pip install 'ovseg_ros[models]'") from error
    return spec.name


def _training_free(spec: ModelSpec, options: argparse.Namespace, folder: Path) -> None:
    for option in ("text", "seen"):
        if getattr(options, option):
            raise OvsegError(f"--{option} goes with systems such as ebseg-b; {spec.name} has no use for it")
    from ovseg_ros.models.build import build_model  # takes seconds
    from ovseg_ros.models.clip_segmenter import Windows

    windows = None
    if options.windows:
        windows = Windows(*_numbers(options.windows, ",", "windows", "CROP,STEP in pixels, e.g. 224,112"))
    build_model(
        spec,
        options.weights or spec.tag,
        folder,
        windows=windows,
        max_classes=options.max_classes,
        program=options.backend == "torch",
        encoder_alone=options.encoder_alone,
    )


def _system(spec: SystemSpec, options: argparse.Namespace, folder: Path) -> None:
    if options.windows:
        raise OvsegError(f"{spec.name} sees the whole image in one pass; leave --windows away")
    if not options.weights:
        raise OvsegError(
            f"{spec.name} needs its checkpoint ({spec.checkpoint}): give it with --weights FILE, or --weights random "
            "to time it"
        )
    seen = _seen_words(spec, options.seen)
    from ovseg_ros.models.build import build_system  # takes seconds

    build_system(
        spec,
        options.weights,
        folder,
        text=options.text or "",
        seen=seen,
        max_classes=options.max_classes,
        program=options.backend == "torch",
        encoder_alone=options.encoder_alone,
    )


def _seen_words(spec: SystemSpec, asked: str | None) -> Sequence[str]:
    """The words that a system was trained on, in a fixed order; none where it does not tell them from others."""
    if asked and not spec.seen:
        raise OvsegError(f"{spec.name} treats all words alike; leave --seen away")
    name = asked or spec.seen
    if name in ("", NO_WORDS):
        return ()
    if name.isidentifier():
        from ovseg_ros.evaluation.datasets.class_lists import training_words

        return sorted(training_words(name))
    return sorted({word for words in read_words(name).classes for word in words})


def _spec(options: argparse.Namespace) -> ModelSpec | SystemSpec:
    spec = find_spec(options.model)
    if options.size:
        height, width = _numbers(options.size.lower(), "x", "size", "HEIGHTxWIDTH in pixels, e.g. 384x512")
        spec = replace(spec, size=(height, width))
    if options.encoder_alone and not options.name:
        raise OvsegError("--encoder-alone makes a model that labels nothing; give it a --name of its own")
    if options.name:
        if Path(options.name).name != options.name or options.name.startswith("."):
            raise OvsegError(f"the name {options.name!r} is no folder name; use letters, digits and dashes")
        if options.name in embedded_models():
            raise OvsegError(f"{options.name!r} is an embedded model; choose another --name")
        spec = replace(spec, name=options.name)
    return spec


def _numbers(text: str, separator: str, what: str, form: str) -> tuple[int, int]:
    first, _, second = text.partition(separator)
    if not (first.strip().isdigit() and second.strip().isdigit() and int(first) and int(second)):
        raise OvsegError(f"the {what} {text!r} is not {form}")
    return int(first), int(second)


def _refuse_export_options(options: argparse.Namespace) -> None:
    """An embedded model is exported already."""
    for option in ("weights", "text", "seen", "size", "windows", "name", "encoder_alone"):
        if getattr(options, option):
            flag = option.replace("_", "-")
            raise OvsegError(f"{options.model} is embedded, with weights and size of its own; leave --{flag} away")
