"""`ovseg segment SOURCE...`: images, folders, videos, webcams and rosbag2 recordings without a graph."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.cli.frames import BAGS, VIDEOS, is_bag, open_frames
from ovseg_ros.cli.words import SYNTAX, read_words
from ovseg_ros.errors import ImageError
from ovseg_ros.palette import overlay
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.segmenter import Segmenter

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="image, folder, video, rosbag2 (.mcap, .db3), webcam:0"
    )
    parser.add_argument("--classes", metavar="WORDS", help=f"{SYNTAX}; default: the model's own")
    parser.add_argument("--out", type=Path, default=Path("segmented"), help="folder for the results")
    parser.add_argument("--model", default="street", help="model name (see `ovseg models`)")
    parser.add_argument("--device", default="cpu", help="cpu, or gpu for an Intel GPU")
    parser.add_argument("--threshold", type=float, default=0.0, help="confidence under which pixels stay unlabelled")
    parser.add_argument("--alpha", type=float, default=0.5, help="weight of the colours in overlays, 0..1")
    parser.add_argument("--frames", type=int, default=0, help="stop after so many frames of a video or webcam; 0: all")
    parser.add_argument("--topic", default="", help="image topic of a rosbag2 recording with several")
    parser.add_argument("--json", action="store_true", help="print a list of results")


def run(options: argparse.Namespace) -> int:
    """Write an overlay and a mask an image, or an overlay video a video."""
    for name in ("threshold", "alpha"):
        if not 0 <= getattr(options, name) <= 1:
            raise ImageError(f"--{name} {getattr(options, name)} is out of range; expected 0..1")
    sources = list(_expand(options.sources))
    words = read_words(options.classes) if options.classes else None
    segmenter = Segmenter.load(options.model, words, device=options.device, threshold=options.threshold)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"cannot write to the folder {options.out}: {error.strerror}") from error
    options.taken = set()  # names of results, so that a.png and a.jpg do not overwrite each other
    results: list[dict[str, Any]] = []
    failed = 0
    for source in tqdm(sources, unit="source", disable=options.json or len(sources) < 2):
        try:
            if not _is_image(source):
                results.append(_video(source, segmenter, options))
            else:
                results.append(_image(Path(source), segmenter, options))
        except ImageError as error:  # the other sources are still wanted
            failed += 1
            print(f"ovseg segment: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results[:20]:
            shown = ", ".join(f"{c['name']} {c['area']:.0%}" for c in result["classes"][:5])
            print(f"{result['source']}: {shown}")
        print(f"{len(results)} of {len(sources)} written to {options.out}/")
    return 2 if failed else 0


def _is_image(source: str) -> bool:
    return Path(source).suffix.lower() in IMAGES


def _expand(sources: list[str]) -> Iterator[str]:
    """Folders become the images, videos and bags in them; a source that is not there is an error before any work."""
    known = IMAGES + VIDEOS + BAGS
    for source in sources:
        path = Path(source)
        if source.startswith("webcam:") or (is_bag(path) and path.exists()):
            yield source
        elif path.is_dir():
            found = sorted(str(p) for p in path.iterdir() if p.suffix.lower() in known or is_bag(p))
            if not found:
                raise ImageError(f"the folder {path} holds no image, video or recording ({', '.join(known)})")
            yield from found
        elif not path.is_file():
            raise ImageError(f"there is no file or folder {path}")
        elif path.suffix.lower() not in known:
            raise ImageError(f"{path} is neither image, video nor recording; known endings: {', '.join(known)}")
        else:
            yield source


def _image(path: Path, segmenter: Segmenter, options: argparse.Namespace) -> dict[str, Any]:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ImageError(f"{path} is no readable image")
    rgb = _rgb(bgr)
    result = segmenter.segment(rgb)
    drawn = overlay(rgb, result, options.alpha)
    name = _free_name(path, options.taken)
    target, mask = options.out / f"{name}_overlay.png", options.out / f"{name}_mask.png"
    cv2.imwrite(str(target), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(mask), result.labels)
    return _describe(str(path), str(target), result) | {"mask": str(mask)}


def _free_name(path: Path, taken: set[str]) -> str:
    """A name for the results of `path`: its stem, with ending or number where an earlier source has that."""
    names = itertools.chain([path.stem, path.name.replace(".", "_")], (f"{path.stem}_{i}" for i in itertools.count(2)))
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


def _video(source: str, segmenter: Segmenter, options: argparse.Namespace) -> dict[str, Any]:
    name, fps, images = open_frames(source, options.topic)
    target = options.out / f"{_free_name(Path(name), options.taken)}_overlay.mp4"
    writer: cv2.VideoWriter | None = None
    result: Segmentation | None = None
    start = time.perf_counter()
    frames = 0
    for rgb in tqdm(itertools.islice(images, options.frames or None), unit="frame", disable=options.json, desc=name):
        result = segmenter.segment(rgb)
        drawn = cv2.cvtColor(overlay(rgb, result, options.alpha), cv2.COLOR_RGB2BGR)
        if writer is None:
            size = (drawn.shape[1], drawn.shape[0])
            writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        writer.write(drawn)
        frames += 1
    if writer is None or result is None:
        raise ImageError(f"no frame can be read from {source}")
    writer.release()
    seconds = time.perf_counter() - start
    return _describe(source, str(target), result) | {"frames": frames, "fps": round(frames / seconds, 1)}


def _describe(source: str, target: str, result: Segmentation) -> dict[str, Any]:
    classes = [
        {"id": c.id, "name": c.name, "area": round(c.area, 4), "confidence": round(c.confidence, 4)}
        for c in result.detected()
    ]
    return {"source": source, "overlay": target, "engine_ms": round(result.engine_ms, 2), "classes": classes}


def _rgb(bgr: NDArray[Any]) -> NDArray[np.uint8]:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
