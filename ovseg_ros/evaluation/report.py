"""A report to look at: scores, the per-class table, and the worst and best images beside truth and prediction.

As one HTML file without anything outside it, or as one PNG.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.evaluate import Shown
from ovseg_ros.evaluation.results import ClassScore, Report
from ovseg_ros.palette import UNLABELLED_COLOUR, colours

Image = NDArray[np.uint8]
ENDINGS = (".html", ".htm", ".png")
WIDTH = 420  # pixels of each picture in the HTML, at most
LISTED = 0.01  # share of an image's pixels from which on a class is in its legend
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2733; max-width: 1340px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
.scores { display: flex; flex-wrap: wrap; gap: 10px; }
.scores div { border: 1px solid #d5dbe3; border-radius: 8px; padding: 8px 14px; }
.scores b { display: block; font-size: 1.5em; } .scores div:first-child b { color: #0b63b0; }
table { border-collapse: collapse; } td, th { padding: 2px 12px 2px 0; text-align: left; }
.classes td:nth-child(n+3), .classes th:nth-child(n+3) { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: #e8edf3; width: 160px; height: 10px; } .bar i { display: block; background: #0b63b0; height: 10px; }
.row { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; margin: 0 0 4px; } .row img { width: 100%; }
.chip { display: inline-block; margin-right: 12px; white-space: nowrap; }
.chip i { display: inline-block; width: 12px; height: 12px; margin-right: 4px; vertical-align: -1px; }
.note { color: #5b6775; } figure { margin: 0 0 26px; } code { overflow-wrap: anywhere; }
"""


def write_report(path: Path, report: Report, worst: Sequence[Shown], best: Sequence[Shown]) -> None:
    """Write a report.

    Args:
        path: ends in .html or .png.
        report: the numbers.
        worst, best: images, see `Evaluation.extremes`.

    Raises:
        OvsegError: for another ending, or where the file cannot be written.
    """
    check_ending(path)
    try:
        if path.suffix == ".png":
            done, data = cv2.imencode(".png", cv2.cvtColor(picture(report, worst, best), cv2.COLOR_RGB2BGR))
            if not done:
                raise OSError("OpenCV cannot encode it")
            path.write_bytes(data.tobytes())
        else:
            path.write_text(page(report, worst, best), encoding="utf-8")
    except OSError as error:
        raise OvsegError(f"cannot write the report {path}: {error}; give another place") from error


def check_ending(path: Path) -> None:
    """Refuse what is neither HTML nor PNG, before hours of measuring.

    Raises:
        OvsegError: naming the endings.
    """
    if path.suffix not in ENDINGS:
        raise OvsegError(f"the report {path} is neither HTML nor PNG; give a name that ends in .html or .png")


def page(report: Report, worst: Sequence[Shown], best: Sequence[Shown]) -> str:
    """The report as HTML, pictures inside."""
    title = html.escape(f"{report.model} on {report.dataset}")
    scores = "".join(f"<div><b>{value:.4f}</b>{html.escape(name)}</div>" for name, value in report.summary().items())
    facts = {
        "images": str(report.images),
        "protocol": report.protocol,
        "prompts": report.prompt_line(),
        "classes (hash)": report.classes_hash,
        "weights (SHA-256)": report.weights_hash,
        "backend": report.backend,
        "engine": f"{report.engine_ms:.1f} ms an image",
    }
    rows = "".join(f"<tr><td>{key}</td><td><code>{html.escape(value)}</code></td></tr>" for key, value in facts.items())
    names = [row.name for row in report.classes]
    ordered = sorted(report.classes, key=lambda row: (row.iou is None, -(row.iou or 0), row.name))
    columns = ("class", "", "IoU", "accuracy", "boundary F", "pixels", "seen")
    head = f"<tr>{''.join(f'<th>{column}</th>' for column in columns)}</tr>"
    pictures = "".join(
        f"<h2>{heading}</h2>" + "".join(_figure(shown, names) for shown in images)
        for heading, images in (("Worst images", worst), ("Best images", best))
        if images
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<style>{STYLE}</style></head><body><h1>{title}</h1><div class="scores">{scores}</div>'
        f"<h2>What the numbers depend on</h2><table>{rows}</table>{pictures}<h2>Classes</h2>"
        f'<table class="classes">{head}{"".join(_class_row(row) for row in ordered)}</table></body></html>\n'
    )


def picture(report: Report, worst: Sequence[Shown], best: Sequence[Shown], width: int = 1260) -> Image:
    """The report as one picture, (H, width, 3) uint8 RGB: scores, per-class table, and a row an image."""
    names = [row.name for row in report.classes]
    scores = "   ".join(f"{name} {value:.4f}" for name, value in report.summary().items())
    strips = [_text(f"{report.model} on {report.dataset}, {report.images} images", width, 0.8)]
    strips += [_text(line, width, 0.5) for line in (*_wrapped(scores, 125), *_wrapped(report.provenance(), 125))]
    cells = [f"{row.name[:24]} {row.iou:.3f}" for row in report.classes if row.iou is not None and row.pixels]
    for start in range(0, len(cells), 5):
        strips.append(_columns(cells[start : start + 5], width))
    for heading, images in (("Worst images: image, truth, prediction", worst), ("Best images", best)):
        if images:
            strips.append(_text(heading, width, 0.65))
        for shown in images:
            strips += _picture_row(shown, names, width)
    return np.concatenate(strips)


def paint(rgb: Image, labels: NDArray[np.integer], classes: Sequence[str], alpha: float = 0.75) -> Image:
    """The classes' colours over an image, (H, W, 3) uint8; black where the labels say nothing."""
    table = np.array([*_colours(tuple(classes)), UNLABELLED_COLOUR], np.uint8).reshape(-1, 3)
    known = (labels >= 0) & (labels < len(classes))
    mask = table[np.where(known, labels, len(classes))]
    painted = cv2.addWeighted(rgb, 1 - alpha, mask, alpha, 0).astype(np.uint8, copy=False)
    painted[~known] = UNLABELLED_COLOUR
    return painted


def _panels(shown: Shown, names: Sequence[str], width: int) -> list[Image]:
    """Image, truth and prediction at a width of so many pixels, if they are wider."""
    rgb = shown.sample.rgb
    truth: NDArray[np.integer] = shown.sample.labels
    predicted = shown.predicted
    if rgb.shape[1] > width:
        size = (width, max(1, round(rgb.shape[0] * width / rgb.shape[1])))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        truth, predicted = (_shrunk(x, size) for x in (truth, predicted))
    return [rgb, paint(rgb, truth, names), paint(rgb, predicted, names)]


def _shrunk(labels: NDArray[np.integer], size: tuple[int, int]) -> NDArray[np.integer]:
    rows = np.arange(size[1]) * labels.shape[0] // size[1]
    columns = np.arange(size[0]) * labels.shape[1] // size[0]
    small: NDArray[np.integer] = labels[np.ix_(rows, columns)]
    return small


def _legend(shown: Shown, names: Sequence[str]) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colours of the classes that truth or prediction show, largest first."""
    table = _colours(tuple(names))
    both = np.concatenate([shown.sample.labels.ravel().astype(np.int64), shown.predicted.ravel().astype(np.int64)])
    counts = np.bincount(both[(both >= 0) & (both < len(names))], minlength=len(names))
    large = [i for i in np.argsort(-counts, kind="stable") if counts[i] >= LISTED * shown.sample.labels.size]
    return [(names[i], (int(table[i][0]), int(table[i][1]), int(table[i][2]))) for i in large[:12]]


def _figure(shown: Shown, names: Sequence[str]) -> str:
    images = "".join(
        f'<img alt="{label}" src="data:image/{kind};base64,{_encoded(panel, kind)}">'
        for label, kind, panel in zip(
            ("image", "truth", "prediction"), ("jpeg", "png", "png"), _panels(shown, names, WIDTH), strict=True
        )
    )
    chips = "".join(
        f'<span class="chip"><i style="background:rgb{colour}"></i>{html.escape(name)}</span>'
        for name, colour in _legend(shown, names)
    )
    name = html.escape(shown.sample.name)
    return (
        f'<figure><div class="row">{images}</div><figcaption>{name}, mIoU {shown.miou:.3f} '
        f'<span class="note">image, truth, prediction</span><br>{chips}</figcaption></figure>'
    )


def _class_row(row: ClassScore) -> str:
    share = 0.0 if row.iou is None else row.iou
    seen = "" if row.seen is None else ("yes" if row.seen else "no")
    cells = "".join(f"<td>{'-' if v is None else f'{v:.3f}'}</td>" for v in (row.iou, row.accuracy, row.boundary_f))
    bar = f'<div class="bar"><i style="width:{100 * share:.1f}%"></i></div>'
    return f"<tr><td>{html.escape(row.name)}</td><td>{bar}</td>{cells}<td>{row.pixels}</td><td>{seen}</td></tr>"


def _encoded(rgb: Image, kind: str) -> str:
    _, data = cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return base64.b64encode(data.tobytes()).decode()


def _picture_row(shown: Shown, names: Sequence[str], width: int) -> list[Image]:
    """One image's panels, side by side, and a line under them."""
    panels = _panels(shown, names, width // 3 - 4)
    row = np.full((panels[0].shape[0] + 4, width, 3), 255, np.uint8)
    for i, panel in enumerate(panels):
        left = i * (width // 3)
        row[: panel.shape[0], left : left + panel.shape[1]] = panel
    line = np.full((26, width, 3), 255, np.uint8)
    x = _write(line, f"{shown.sample.name}, mIoU {shown.miou:.3f}", 4, 0.45)
    for name, colour in _legend(shown, names):
        if x + 120 > width:
            break
        cv2.rectangle(line, (x + 14, 6), (x + 26, 18), colour, cv2.FILLED)
        x = _write(line, name, x + 30, 0.45)
    return [row, line]


@lru_cache(maxsize=4)
def _colours(names: tuple[str, ...]) -> Image:
    return colours(names)


def _text(text: str, width: int, scale: float) -> Image:
    strip = np.full((round(18 + 26 * scale), width, 3), 255, np.uint8)
    _write(strip, text, 4, scale)
    return strip


def _columns(cells: Sequence[str], width: int) -> Image:
    strip = np.full((20, width, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        _write(strip, cell, 4 + i * (width // 5), 0.42)
    return strip


def _write(strip: Image, text: str, x: int, scale: float) -> int:
    """Write a line into a strip; returns where it ends. OpenCV's font knows ASCII alone."""
    shown = text if text.isascii() else ascii(text)[1:-1]
    place = (x, strip.shape[0] - 8)
    cv2.putText(strip, shown, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (30, 40, 50), 1, cv2.LINE_AA)
    return x + int(cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0])


def _wrapped(text: str, length: int) -> list[str]:
    """A text in lines of at most so many characters, cut between words where it can be."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and len(lines[-1]) + 1 + len(word) <= length:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
