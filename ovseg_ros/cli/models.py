"""`ovseg models`: what is there, and what can be built."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ovseg_ros.errors import ModelError
from ovseg_ros.models.systems import SystemSpec, listed_systems
from ovseg_ros.models.zoo import ModelSpec, licence_of, listed_models
from ovseg_ros.weights import GRAPH_FILE, MANIFEST_FILE, Weights, embedded_models, known_models, open_weights

NAME_WIDTH = 24


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(options: argparse.Namespace) -> int:
    """List embedded checkpoints, models built here, and models that `ovseg build` can make."""
    found = [open_weights(name) for name in known_models()]
    there = {weights.name for weights in found}
    listed: list[ModelSpec | SystemSpec] = [*listed_systems(), *listed_models()]
    possible = [spec for spec in listed if spec.name not in there]
    if options.json:
        print(json.dumps([*map(_describe, found), *map(_describe_spec, possible)], indent=2))
        return 0
    for weights in found:
        _print(weights)
    print("\nto be built with `ovseg build MODEL`:")
    for spec in possible:
        licence, paper = _terms(spec)
        print(_line(spec.name, "", spec.size, licence, paper))
    return 0


def _print(weights: Weights) -> None:
    """A model that is there, with what was measured of it."""
    described = _describe(weights)
    size, timing = described["megabytes"], described["timing"]
    remark = "random weights" if weights.source == "random" else described["note"]
    print(_line(weights.name, "missing" if size is None else f"{size} MB", weights.size, weights.licence, remark))
    for title, value in weights.scores.items():
        print(f"{'':{NAME_WIDTH}s} mIoU {value:.3f}  {title}")
    if timing:
        print(f"{'':{NAME_WIDTH}s} {timing['ms']:g} ms  {timing['machine']}: {timing['command']}")


def _line(name: str, megabytes: str, size: tuple[int, int], licence: str, remark: str) -> str:
    return f"{name:{NAME_WIDTH}s} {megabytes:>9s}  {size[0]}x{size[1]}  {licence}  {remark}".rstrip()


def _describe(weights: Weights) -> dict[str, Any]:
    manifest = _manifest(weights)
    return {
        "name": weights.name,
        "state": "embedded" if weights.name in embedded_models() else "built",
        "megabytes": _megabytes(weights),
        "size": list(weights.size),
        "licence": weights.licence,
        "weights": weights.source,
        "scores": weights.scores,
        "timing": _timing(weights, manifest),
        "note": manifest.get("note", ""),
        "classes": list(weights.classes),
        "folder": str(weights.folder),
    }


def _describe_spec(spec: ModelSpec | SystemSpec) -> dict[str, Any]:
    licence, paper = _terms(spec)
    return {
        "name": spec.name,
        "state": "can be built",
        "megabytes": None,
        "size": list(spec.size),
        "licence": licence,
        "weights": spec.checkpoint if isinstance(spec, SystemSpec) else spec.tag,
        "scores": {},
        "timing": None,
        "note": paper,
        "classes": [],
        "folder": None,
    }


def _terms(spec: ModelSpec | SystemSpec) -> tuple[str, str]:
    """Licence of the weights that are taken, and the paper of a system."""
    return (spec.licence, spec.paper) if isinstance(spec, SystemSpec) else (licence_of(spec.tag), "")


def _manifest(weights: Weights) -> dict[str, Any]:
    return dict(json.loads((weights.folder / MANIFEST_FILE).read_text(encoding="utf-8")))


def _timing(weights: Weights, manifest: dict[str, Any]) -> dict[str, Any] | None:
    """Milliseconds a frame, and the machine and command that measured them; None where nobody has.

    Raises:
        ModelError: the manifest says it in another form.
    """
    timing = manifest.get("timing")
    if timing is None:
        return None
    try:
        return {"ms": float(timing["ms"]), "command": str(timing["command"]), "machine": str(timing["machine"])}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the manifest of {weights.name} has a timing {timing!r}; expected ms, command and machine"
        ) from error


def _megabytes(weights: Weights) -> float | None:
    graph = weights.folder / GRAPH_FILE
    return round(graph.stat().st_size / 1e6, 1) if graph.is_file() else None
