"""`ovseg segment SOURCE...`: images, folders, videos, webcams and rosbag2 recordings without a graph."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ovseg_ros.cli.frames import BAGS, VIDEOS, Recording, is_bag, is_webcam, source_name
from ovseg_ros.cli.segment_work import (
    STATE,
    Draw,
    Facts,
    Image,
    SegmentWork,
    Source,
    Stretch,
    Video,
    Whole,
    image_results,
    joined,
    stretch_result,
    video_result,
)
from ovseg_ros.cli.words import SYNTAX, read_words
from ovseg_ros.errors import ImageError, OvsegError
from ovseg_ros.jobs import JobsError, Work, run_jobs
from ovseg_ros.lexicon import Lexicon, diversify
from ovseg_ros.segmenter import Segmenter

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
LOCK = ".lock"
STRETCH = 200  # frames of a recording that make one job


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="image, folder, video, rosbag2 (.mcap, .db3), webcam:0"
    )
    parser.add_argument("--classes", metavar="WORDS", help=f"{SYNTAX}; default: the model's own")
    parser.add_argument("--synonyms", action="store_true", help="add synonyms from WordNet to classes without any")
    parser.add_argument("--out", type=Path, default=Path("segmented"), help="folder for the results")
    parser.add_argument("--model", default="street", help="model name (see `ovseg models`)")
    parser.add_argument("--device", default="cpu", help="cpu, or gpu for an Intel GPU")
    parser.add_argument("--threshold", type=float, default=0.0, help="confidence under which pixels stay unlabelled")
    parser.add_argument("--alpha", type=float, default=0.5, help="weight of the colours in overlays, 0..1")
    parser.add_argument("--frames", type=int, default=0, help="stop after so many frames of a video or webcam; 0: all")
    parser.add_argument("--topic", default="", help="image topic of a rosbag2 recording with several")
    parser.add_argument("--workers", type=int, help="processes, 0: one a core; default 1, on a cluster 0")
    parser.add_argument("--cluster", metavar="ADDRESS", help="of a Ray cluster: host:port, auto or local")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run with this --out has done")
    parser.add_argument("--json", action="store_true", help="print a list of results")


def run(options: argparse.Namespace) -> int:
    """Write an overlay and a mask an image, or an overlay video a video."""
    for name in ("threshold", "alpha"):
        if not 0 <= getattr(options, name) <= 1:
            raise ImageError(f"--{name} {getattr(options, name)} is out of range; expected 0..1")
    if options.workers is None:
        options.workers = 0 if options.cluster else 1
    sources = list(_expand(options.sources))
    work = _work(options)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"cannot write to the folder {options.out}: {error.strerror}") from error
    named = _named(sources)
    with _state(options.out, options.resume, kept=len(sources) > 1 or options.resume):
        archive = _Archive(work, options)
        archive.plan([source for source in named if not is_webcam(source.path)])
        archive.segment()
        archive.draw()
        for source in named:
            if is_webcam(source.path):  # cannot be read elsewhere, nor a second time
                archive.watch(source)
    results = [archive.result(source) for source in named if source.name in archive.facts]
    for source in named:
        if failure := archive.failures.get(source.name):
            print(f"ovseg segment: {_told(source, failure)}", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results[:20]:
            shown = ", ".join(f"{c['name']} {c['area']:.0%}" for c in result["classes"][:5])
            print(f"{result['source']}: {shown}")
        print(f"{len(results)} of {len(sources)} written to {options.out}/")
    return 2 if archive.failures else 0


def _work(options: argparse.Namespace) -> SegmentWork:
    """What workers are to do; the model is opened here first, which builds its engine once for all of them."""
    words = read_words(options.classes) if options.classes else None
    lexicon = Lexicon.open() if options.synonyms else None
    segmenter = Segmenter.load(options.model, words, device=options.device, threshold=options.threshold)
    if lexicon is not None:
        segmenter.set_vocabulary(diversify(segmenter.vocabulary, lexicon))
    manifest = segmenter.engine.manifest
    return SegmentWork(
        model=os.path.abspath(options.model) if "/" in options.model else options.model,
        weights=manifest.weights_hash,
        backend=(manifest.backend, manifest.precision),
        device=options.device,
        words=replace(segmenter.vocabulary, version=0),
        threshold=options.threshold,
        alpha=options.alpha,
        frames=options.frames,
        topic=options.topic,
        out=options.out.absolute(),
        segmenter=segmenter if _is_serial(options) else None,
    )


@dataclass
class _Archive:
    """A run over all sources: what is to do, what came of it, and what failed, by the names of results."""

    work: SegmentWork
    options: argparse.Namespace
    items: list[tuple[str, Source]] = field(default_factory=list)
    wholes: dict[str, Whole] = field(default_factory=dict)  # long recordings
    facts: dict[str, Facts] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)

    def plan(self, sources: Sequence[Source]) -> None:
        """One job an image, a video and a short recording; several for a long one."""
        for source in sources:
            given = vars(source)
            if _is_image(source.path):
                self.items.append((source.name, Image(**given)))
            elif not is_bag(Path(source.path)) or self.options.frames:
                self.items.append((source.name, Video(**given)))
            else:
                try:
                    recording = Recording.open(Path(source.path), self.options.topic)
                except ImageError as error:
                    self.failures[source.name] = error
                    continue
                windows = tuple(recording.windows(STRETCH))
                if len(windows) == 1:
                    self.items.append((source.name, Video(**given)))
                    continue
                self.wholes[source.name] = Whole(**given, recording=recording, windows=windows)
                for number, window in enumerate(windows):
                    stretch = Stretch(**given, recording=recording, number=number, window=window)
                    self.items.append((f"{source.name}/{number}", stretch))

    def segment(self) -> None:
        """Everything that needs the model."""
        bars = _is_serial(self.options) and not self.options.json
        self._run(replace(self.work, bars=bars), self.items, "segment")
        for name, whole in self.wholes.items():
            keys = [f"{name}/{number}" for number in range(len(whole.windows))]
            failed = [self.failures.pop(key) for key in keys if key in self.failures]
            stretches = [self.facts.pop(key) for key in keys if key in self.facts]
            if failed:
                self.failures[name] = failed[0]
            else:
                self.facts[name] = joined(stretches)

    def draw(self) -> None:
        """The videos of long recordings."""
        whole = [(name, source) for name, source in self.wholes.items() if name in self.facts]
        segmented = dict(self.facts)
        self._run(Draw(self.work.words, self.work.alpha, self.work.out), whole, "draw")
        for name, source in whole:
            if name in self.failures:
                self.facts.pop(name)
                continue
            self.facts[name] = segmented[name]
            for number in range(len(source.windows)):
                stretch_result(self.work.out, name, number).unlink(missing_ok=True)

    def watch(self, source: Source) -> None:
        """A webcam, here and now."""
        work = replace(self.work, bars=not self.options.json)
        try:
            self.facts[source.name] = work()(Video(**vars(source)))
        except ImageError as error:
            self.failures[source.name] = error

    def result(self, source: Source) -> dict[str, Any]:
        """What is told of a source."""
        facts = self.facts[source.name]
        told = {"source": source.shown, "overlay": str(self.options.out / video_result(source))}
        told |= {key: facts[key] for key in ("engine_ms", "classes")}
        if _is_image(source.path):
            overlay, mask = (str(self.options.out / name) for name in image_results(source))
            return told | {"overlay": overlay, "mask": mask}
        return told | {"frames": facts["frames"], "fps": round(facts["frames"] / facts["seconds"], 1)}

    def _run(self, work: Work, items: Sequence[tuple[str, Source]], step: str) -> None:
        if not items:
            return
        by_key = dict(items)
        jobs = run_jobs(
            work,
            items,
            folder=self.work.out / STATE / step,
            workers=self.options.workers,
            cluster=self.options.cluster,
            quiet=self.options.json or len(items) < 2,
            describe=step,
            keep=lambda key, _: self._is_there(by_key[key]),
        )
        try:
            self.facts.update(jobs)
        except JobsError as error:
            if not error.failures:
                raise
            self.failures.update(error.failures)

    def _is_there(self, source: Source) -> bool:
        """Whether what a stored result tells of still lies in the output folder."""
        if isinstance(source, Image):
            return all((self.work.out / name).is_file() for name in image_results(source))
        if isinstance(source, Stretch) and stretch_result(self.work.out, source.name, source.number).is_file():
            return True
        return (self.work.out / video_result(source)).is_file()


@contextlib.contextmanager
def _state(out: Path, resume: bool, kept: bool) -> Iterator[None]:
    """The folder in `out` for what a run knows, for one run at a time; an earlier run's goes unless it is resumed."""
    folder = out / STATE
    try:
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0).acquire()
    except Timeout as error:
        raise JobsError(f"another run is writing to {out}; wait for it, or give another --out") from error
    except OSError as error:
        raise ImageError(f"cannot write to the folder {out}: {error.strerror}") from error
    with lock:
        if not resume:
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
        yield
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)


def _is_serial(options: argparse.Namespace) -> bool:
    return options.workers == 1 and not options.cluster


def _told(source: Source, error: Exception) -> str:
    return str(error) if isinstance(error, OvsegError) else f"{source.shown}: {type(error).__name__}: {error}"


def _is_image(source: str) -> bool:
    return Path(source).suffix.lower() in IMAGES


def _expand(sources: list[str]) -> Iterator[str]:
    """Folders become the images, videos and bags in them; a source that is not there is an error before any work."""
    known = IMAGES + VIDEOS + BAGS
    for source in sources:
        path = Path(source)
        if is_webcam(source) or (is_bag(path) and path.exists()):
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


def _named(sources: Sequence[str]) -> list[Source]:
    """Every source with a name for its results that no earlier one has: its stem, with ending or number if need be."""
    taken: set[str] = set()
    named = []
    for source in sources:
        stem = source_name(source)
        names = itertools.chain(
            [stem, Path(source).name.replace(".", "_")], (f"{stem}_{i}" for i in itertools.count(2))
        )
        name = next(name for name in names if name not in taken)
        taken.add(name)
        named.append(Source.of(source, name))
    return named
