"""What `ovseg segment` does with one image, video or stretch of a recording, here or on any worker."""

from __future__ import annotations

import itertools
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.cli.frames import Frames, Recording, Window, is_webcam, open_frames
from ovseg_ros.errors import ImageError
from ovseg_ros.palette import overlay
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.vocabulary import Vocabulary

STATE = ".ovseg"  # folder in the output folder for what a run keeps until it is whole
Facts = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """One source, by whatever means it is read.

    Attributes:
        path: absolute, since workers may run elsewhere; a webcam stays as it is.
        shown: as the user wrote it.
        name: of the results.
        stamp: size and time of change, so that a changed file is segmented anew.
    """

    path: str
    shown: str = field(compare=False)
    name: str
    stamp: tuple[int, int]

    @classmethod
    def of(cls, source: str, name: str) -> Source:
        """A source that is there."""
        path = source if is_webcam(source) else os.path.abspath(source)
        status = os.stat(path) if os.path.exists(path) else None
        return cls(path, source, name, (status.st_size, status.st_mtime_ns) if status else (0, 0))


@dataclass(frozen=True)
class Image(Source):
    """Gives NAME_overlay.png and NAME_mask.png."""


@dataclass(frozen=True)
class Video(Source):
    """A video, webcam or short recording; gives NAME_overlay.mp4."""


@dataclass(frozen=True)
class Stretch(Source):
    """A part of a long recording; gives labels, from which `Draw` makes the whole one's video."""

    recording: Recording
    number: int
    window: Window


@dataclass(frozen=True)
class Whole(Source):
    """A long recording all of whose stretches are done."""

    recording: Recording
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class SegmentWork:
    """Segments images, videos and stretches; what decides the results counts, the rest does not."""

    model: str = field(compare=False)
    weights: str  # their hash
    backend: tuple[str, str]  # its name and its precision
    device: str
    words: Vocabulary
    threshold: float
    alpha: float
    frames: int
    topic: str
    out: Path = field(compare=False)  # absolute
    bars: bool = field(default=False, compare=False)  # whether each video has a progress bar
    segmenter: Segmenter | None = field(default=None, compare=False)  # one that is there, for work in this process

    def __call__(self) -> Callable[[Source], Facts]:
        """Open the model."""
        segmenter = self.segmenter or Segmenter.load(
            self.model, self.words, device=self.device, threshold=self.threshold
        )
        return partial(self._segment, segmenter)

    def _segment(self, segmenter: Segmenter, source: Source) -> Facts:
        if isinstance(source, Image):
            return self._image(segmenter, source)
        if isinstance(source, Stretch):
            return self._stretch(segmenter, source)
        return self._video(segmenter, source)

    def _image(self, segmenter: Segmenter, source: Source) -> Facts:
        bgr = cv2.imread(source.path, cv2.IMREAD_COLOR)
        if bgr is None:
            raise ImageError(f"{source.shown} is no readable image")
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        result = segmenter.segment(rgb)
        drawn = cv2.cvtColor(overlay(rgb, result, self.alpha), cv2.COLOR_RGB2BGR)
        for name, pixels in zip(image_results(source), (drawn, result.labels), strict=True):
            _write_whole(self.out / name, _png(pixels))
        return _describe(result)

    def _video(self, segmenter: Segmenter, source: Source) -> Facts:
        name, fps, images = open_frames(source.path, self.topic)
        images = itertools.islice(images, self.frames or None)
        results: list[Segmentation] = []  # the latest alone

        def drawn() -> Frames:
            for rgb in tqdm(images, unit="frame", disable=not self.bars, desc=name):
                results[:] = [segmenter.segment(rgb)]
                yield overlay(rgb, results[0], self.alpha)

        start = time.perf_counter()
        # Ctrl-C is how a webcam ends
        count = _write_video(self.out, video_result(source), fps, drawn(), endless=is_webcam(source.path))
        if not results:
            raise ImageError(f"no frame can be read from {source.shown}")
        return _describe(results[0]) | {"frames": count, "seconds": time.perf_counter() - start}

    def _stretch(self, segmenter: Segmenter, source: Stretch) -> Facts:
        target = stretch_result(self.out, source.name, source.number)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_suffix(".writing")
        start, count, facts = time.perf_counter(), 0, {}
        with zipfile.ZipFile(scratch, "w") as file:
            for count, rgb in enumerate(source.recording.frames(source.window), 1):
                result = segmenter.segment(rgb)
                file.writestr(f"{count}.png", _png(result.labels))
                facts = _describe(result)  # the last frame's describe the recording
        scratch.replace(target)
        return facts | {"frames": count, "seconds": time.perf_counter() - start}


@dataclass(frozen=True)
class Draw:
    """Makes the overlay video of a long recording from the labels of its stretches.

    A video's frames build on one another, so that one worker has to write it from first to last.
    """

    words: Vocabulary
    alpha: float
    out: Path = field(compare=False)

    def __call__(self) -> Callable[[Whole], Facts]:
        """Nothing to set up."""
        return self._draw

    def _draw(self, source: Whole) -> Facts:
        return {"frames": _write_video(self.out, video_result(source), source.recording.fps, self._drawn(source))}

    def _drawn(self, source: Whole) -> Frames:
        for number, window in enumerate(source.windows):
            path = stretch_result(self.out, source.name, number)
            try:
                file = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile) as error:
                raise ImageError(f"the labels {path} of {source.shown} are gone; run again without --resume") from error
            with file:
                names = file.namelist()
                for name, rgb in zip(names, source.recording.frames(window), strict=True):
                    labels: Any = cv2.imdecode(np.frombuffer(file.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
                    # the legend goes by area, so that the confidence does not matter
                    result = Segmentation(labels, np.zeros(labels.shape, np.uint8), self.words)
                    yield overlay(rgb, result, self.alpha)


def image_results(source: Source) -> tuple[str, str]:
    """File names of an image's overlay and mask."""
    return f"{source.name}_overlay.png", f"{source.name}_mask.png"


def video_result(source: Source) -> str:
    """File name of a video's overlay."""
    return f"{source.name}_overlay.mp4"


def stretch_result(out: Path, name: str, number: int) -> Path:
    """Where the labels of a recording's stretch lie until its video is drawn."""
    return out / STATE / "labels" / f"{name}.{number:05d}.zip"


def joined(stretches: Sequence[Facts]) -> Facts:
    """The facts of a recording from those of its stretches, in order."""
    last = next((facts for facts in reversed(stretches) if facts["frames"]), {})
    return last | {key: sum(facts[key] for facts in stretches) for key in ("frames", "seconds")}


def _describe(result: Segmentation) -> Facts:
    classes = [
        {"id": c.id, "name": c.name, "area": round(c.area, 4), "confidence": round(c.confidence, 4)}
        for c in result.detected()
    ]
    return {"engine_ms": round(result.engine_ms, 2), "classes": classes}


def _write_video(out: Path, name: str, fps: float, frames: Iterable[NDArray[np.uint8]], endless: bool = False) -> int:
    """Write RGB frames, all or nothing; returns how many. Without any, there is no video.

    Args:
        out: the folder for results.
        name: of the video.
        fps: frames a second.
        frames: (H, W, 3) uint8 each.
        endless: whether a Ctrl-C ends the frames and not the command.
    """
    scratch = out / STATE / "drawing" / name
    scratch.parent.mkdir(parents=True, exist_ok=True)
    writer: cv2.VideoWriter | None = None
    count = 0
    try:
        for rgb in frames:
            writer = writer or _open_video(scratch, fps, rgb)
            writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
            count += 1
    except KeyboardInterrupt:
        if not endless:
            raise
    if writer is not None:
        writer.release()
        scratch.replace(out / name)
    return count


def _open_video(path: Path, fps: float, rgb: NDArray[np.uint8]) -> cv2.VideoWriter:
    size = (rgb.shape[1], rgb.shape[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        raise ImageError(f"cannot write the video {path} of {size[0]}x{size[1]} pixels; is there room?")
    return writer


def _png(pixels: NDArray[Any]) -> bytes:
    good, encoded = cv2.imencode(".png", pixels)
    if not good:
        raise ImageError(f"{pixels.shape} {pixels.dtype} cannot be written as PNG")
    return encoded.tobytes()


def _write_whole(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all."""
    scratch = path.with_name(f".{path.name}.writing")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}") from error
