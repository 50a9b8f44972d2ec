"""`ovseg models`: what is there."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ovseg_ros.weights import GRAPH_FILE, Weights, known_models, open_weights


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(options: argparse.Namespace) -> int:
    """List the embedded checkpoints."""
    found = [open_weights(name) for name in known_models()]
    if options.json:
        print(json.dumps([_describe(weights) for weights in found], indent=2))
        return 0
    for weights in found:
        size = _megabytes(weights)
        shown = "missing" if size is None else f"{size} MB"
        print(f"{weights.name:10s} {shown:>8s}  {weights.size[0]}x{weights.size[1]}  {weights.licence}")
        for title, value in weights.scores.items():
            print(f"{'':10s} mIoU {value:.3f}  {title}")
    return 0


def _describe(weights: Weights) -> dict[str, Any]:
    return {
        "name": weights.name,
        "megabytes": _megabytes(weights),
        "size": list(weights.size),
        "licence": weights.licence,
        "scores": weights.scores,
        "classes": list(weights.classes),
        "folder": str(weights.folder),
    }


def _megabytes(weights: Weights) -> float | None:
    graph = weights.folder / GRAPH_FILE
    return round(graph.stat().st_size / 1e6, 1) if graph.is_file() else None
