"""`ovseg bench`: models side by side, or with --wire the node from camera stamp to mask in another process."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import platform
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_ros.cli import wire
from ovseg_ros.errors import OvsegError
from ovseg_ros.vocabulary import MAX_CLASSES
from ovseg_ros.weights import known_models, open_weights

COLUMNS = (
    "model", "backend", "precision", "network", "height", "width", "classes", "batch", "p50_ms", "p95_ms", "p99_ms",
    "preprocess_ms", "engine_ms", "post_ms", "fps", "gflop", "peak_share", "memory_mb",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="models to compare; those that are there by default")
    parser.add_argument("--image", nargs="+", default=["480x640"], metavar="HxW", help="sizes of the camera's image")
    parser.add_argument("--classes", nargs="+", type=int, default=[10], metavar="K", help="class counts")
    parser.add_argument("--batch", nargs="+", type=int, default=[1], metavar="N", help="images a call")
    parser.add_argument("--device", default="cpu", help="cpu, gpu (Intel) or cuda")
    parser.add_argument("--backend", default="auto", help="auto, openvino, tensorrt, tensorrt-rtx or torch")
    parser.add_argument("--precision", nargs="+", default=["auto"], help="auto, fp32, bf16 or fp16; several compare")
    parser.add_argument("--repeats", type=int, default=30, help="calls of each case, %(default)s by default")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the table as a picture (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    wire.configure(parser.add_argument_group("the node on the wire"))


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    if options.wire:
        height, width = _size(options.image[0])
        model = options.models[0] if options.models else "mini"
        return wire.run(wire.Drive(model, height, width, options.frames, options.fps), as_json=options.json)
    if options.plot and importlib.util.find_spec("matplotlib") is None:  # before minutes of measuring
        raise OvsegError("--plot needs matplotlib: pip install matplotlib")
    report = compare(options)
    if options.plot:
        plot(report["results"], options.plot)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """The report of models side by side."""
    from ovseg_ros.engine import open_engine
    from ovseg_ros.evaluation.benchmark import Case, graph_gflop, matmul_peak, measure, row
    from ovseg_ros.text import open_text_encoder

    if options.repeats < 1 or min(options.batch) < 1 or not 1 <= min(options.classes) <= max(options.classes):
        raise OvsegError("--repeats, --batch and --classes count from 1")
    if max(options.classes) > MAX_CLASSES:
        raise OvsegError(f"--classes {max(options.classes)} is more than an engine holds ({MAX_CLASSES})")
    sizes = [_size(text) for text in options.image]
    cases = []
    for model, precision in itertools.product(options.models or known_models(), options.precision):
        weights = open_weights(model)
        graph = weights.graph(open_text_encoder(weights.text_folder))
        before = wire.resident_mb(os.getpid())
        engine = open_engine(graph, options.device, precision, backend=options.backend)
        memory = wire.resident_mb(os.getpid()) - before
        for (height, width), classes, batch in itertools.product(sizes, options.classes, options.batch):
            gflop = graph_gflop(graph.path, height, width, classes, graph.text_width) * batch
            cases.append(Case(engine, height, width, classes, batch, gflop, memory))
    with tqdm(total=len(cases) * options.repeats, unit="call", disable=options.json) as bar:
        times = measure(cases, options.repeats, bar.update)
    on_cpu = options.device == "cpu"
    peaks = {p: matmul_peak(p) if on_cpu else None for p in {case.engine.manifest.precision for case in cases}}
    return {
        "results": [row(c, t, peaks[c.engine.manifest.precision]) for c, t in zip(cases, times, strict=True)],
        "machine": {
            "processor": cases[0].engine.manifest.device,
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "matmul_gflops": {p: round(v, 1) for p, v in peaks.items() if v is not None},
        },
    }


def table(report: dict[str, Any]) -> str:
    """The results as an aligned table, the machine under it."""
    rows = [[_cell(result[column]) for column in COLUMNS] for result in report["results"]]
    widths = [max(len(r[i]) for r in [list(COLUMNS), *rows]) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(r, widths, strict=True)) for r in [list(COLUMNS), *rows]]
    machine = report["machine"]
    peaks = ", ".join(f"{value} GFLOP/s in {p}" for p, value in machine["matmul_gflops"].items())
    return "\n".join(
        [*lines, "", f"{machine['processor']}, {machine['cores']} cores; matrix products: {peaks or 'n/a'}"]
    )


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """A bar a case: median time by stage, and a mark at the 95th percentile."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [f"{r['model']} {r['precision']}\n{r['height']}x{r['width']}, {r['classes']} words" for r in results]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.6 * len(results)), layout="constrained")
    left = [0.0] * len(results)
    for stage in ("preprocess_ms", "engine_ms", "post_ms"):
        values = [r[stage] for r in results]
        axes.barh(names, values, left=left, label=stage.removesuffix("_ms"))
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.plot([r["p95_ms"] for r in results], names, "k|", markersize=14, label="p95")
    axes.invert_yaxis()
    axes.set_xlabel("ms a call")
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise OvsegError(f"the size {text!r} is not HEIGHTxWIDTH in pixels, e.g. 480x640")
    return int(height), int(width)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "-" if value is None else str(value)
