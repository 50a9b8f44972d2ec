"""`ovseg build`: a model of the zoo with its weights, exported and compiled for a device."""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_ros.engine import engine_root
from ovseg_ros.errors import OvsegError
from ovseg_ros.models.zoo import ModelSpec, find_model
from ovseg_ros.vocabulary import MAX_CLASSES
from ovseg_ros.weights import GRAPH_FOLDER, embedded_models, open_weights


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model", metavar="MODEL", help="METHOD-ARCHITECTURE such as naclip-vit-b-16, or one that is there"
    )
    parser.add_argument("--weights", metavar="TAG|FILE|random", help="of the CLIP model; `openai` by default")
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
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if options.json:
        print(json.dumps({"name": name, "folder": str(folder), **manifest}, indent=2))
    else:
        random = " (random weights: for timing alone)" if weights.source == "random" else ""
        print(f"{name}{random}: {manifest['backend']} {manifest['precision']} for {manifest['device']}\n{folder}")
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
    try:
        from ovseg_ros.models.build import build_model
        from ovseg_ros.models.clip_segmenter import Windows
    except ImportError as error:
        raise OvsegError(f"building {spec.name} needs {error.name}: pip install 'ovseg_ros[models]'") from error
    windows = None
    if options.windows:
        windows = Windows(*_numbers(options.windows, ",", "windows", "CROP,STEP in pixels, e.g. 224,112"))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), tqdm(total=0, desc=f"export {spec.name}", bar_format="{desc} {elapsed}"):
        warnings.simplefilter("ignore")  # the exporter's, about its own internals
        folder = engine_root() / spec.name / GRAPH_FOLDER
        build_model(
            spec,
            options.weights or spec.tag,
            folder,
            windows=windows,
            max_classes=options.max_classes,
            program=options.backend == "torch",
            encoder_alone=options.encoder_alone,
        )
    return spec.name


def _spec(options: argparse.Namespace) -> ModelSpec:
    spec = find_model(options.model)
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
    for option in ("weights", "size", "windows", "name", "encoder_alone"):
        if getattr(options, option):
            flag = option.replace("_", "-")
            raise OvsegError(f"{options.model} is embedded, with weights and size of its own; leave --{flag} away")
