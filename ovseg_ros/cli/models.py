"""`ovseg models`: what is there, and what can be built."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ovseg_ros.models.zoo import ModelSpec, licence_of, listed_models
from ovseg_ros.weights import GRAPH_FILE, Weights, embedded_models, known_models, open_weights


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(options: argparse.Namespace) -> int:
    """List embedded checkpoints, models built here, and models that `ovseg build` can make."""
    found = [open_weights(name) for name in known_models()]
    there = {weights.name for weights in found}
    possible = [spec for spec in listed_models() if spec.name not in there]
    if options.json:
        print(json.dumps([*map(_describe, found), *map(_describe_spec, possible)], indent=2))
        return 0
    for weights in found:
        size = _megabytes(weights)
        shown = "missing" if size is None else f"{size} MB"
        random = "  random weights" if weights.source == "random" else ""
        print(f"{weights.name:24s} {shown:>9s}  {weights.size[0]}x{weights.size[1]}  {weights.licence}{random}")
        for title, value in weights.scores.items():
            print(f"{'':24s} mIoU {value:.3f}  {title}")
    print("\nto be built with `ovseg build MODEL`:")
    for spec in possible:
        print(f"{spec.name:24s} {'':>9s}  {spec.size[0]}x{spec.size[1]}  {licence_of(spec.tag)}")
    return 0


def _describe(weights: Weights) -> dict[str, Any]:
    return {
        "name": weights.name,
        "state": "embedded" if weights.name in embedded_models() else "built",
        "megabytes": _megabytes(weights),
        "size": list(weights.size),
        "licence": weights.licence,
        "weights": weights.source,
        "scores": weights.scores,
        "classes": list(weights.classes),
        "folder": str(weights.folder),
    }


def _describe_spec(spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "state": "can be built",
        "megabytes": None,
        "size": list(spec.size),
        "licence": licence_of(spec.tag),
        "weights": spec.tag,
        "scores": {},
        "classes": [],
        "folder": None,
    }


def _megabytes(weights: Weights) -> float | None:
    graph = weights.folder / GRAPH_FILE
    return round(graph.stat().st_size / 1e6, 1) if graph.is_file() else None
