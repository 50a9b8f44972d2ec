"""`ovseg evaluate MODEL`: mIoU on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg_ros.cli.words import SYNTAX, read_words
from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import FolderDataset, camvid
from ovseg_ros.evaluation.evaluate import evaluate
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovseg_ros.evaluation.datasets import Dataset

DATASETS = ("camvid", "simulator", "folder")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", help="model name (see `ovseg models`) or a checkpoint's folder")
    parser.add_argument("--dataset", choices=DATASETS, required=True, help="folder: ROOT/images and ROOT/masks")
    parser.add_argument("--root", type=Path, help="where the data set lies (not for the simulator)")
    parser.add_argument("--split", default="val", help="camvid: train, val or test")
    parser.add_argument("--words", default="names", help=f"names, held-out (synonyms never trained on), or {SYNTAX}")
    parser.add_argument("--scenes", type=int, default=40, help="simulator: how many unseen scenes")
    parser.add_argument("--frames", type=int, default=4, help="simulator: frames a scene")
    parser.add_argument("--first", type=int, default=0, help="simulator: offset of the first evaluation seed")
    parser.add_argument("--device", default="cpu", help="cpu, or gpu for an Intel GPU")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Measure, print."""
    dataset, name = _dataset(options)
    words = _words(options, dataset)
    segmenter = Segmenter.load(options.model, device=options.device, precision=options.precision)
    report = evaluate(segmenter, dataset, name, words=words, quiet=options.json)
    print(report.json() if options.json else report.table())
    return 0


def _dataset(options: argparse.Namespace) -> tuple[Dataset, str]:
    if options.dataset == "simulator":
        from ovseg_ros.evaluation.simulator import SimulatorDataset

        if options.scenes < 1 or options.frames < 1 or options.first < 0:
            raise DatasetError("--scenes and --frames must be at least 1, and --first at least 0")
        return SimulatorDataset(options.scenes, options.frames, options.first), "simulator"
    if options.root is None:
        raise DatasetError(f"--root is missing: the folder that holds {options.dataset}")
    if options.dataset == "camvid":
        return camvid(options.root, options.split), f"camvid {options.split}"
    names = _read_names(options.root / "classes.txt")
    return FolderDataset(options.root / "images", options.root / "masks", names), str(options.root)


def _read_names(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the class list {path}: one class name a line, ids from 0") from error


def _words(options: argparse.Namespace, dataset: Dataset) -> Vocabulary | None:
    if options.words == "names":
        return None
    if options.words != "held-out":
        return read_words(options.words)
    if options.dataset == "simulator":
        from ovseg_ros.evaluation.simulator import held_out_vocabulary

        return held_out_vocabulary()
    if options.dataset == "camvid":
        from ovseg_ros.evaluation.synonyms import CAMVID_HELD_OUT

        return Vocabulary.parse([CAMVID_HELD_OUT[name] for name in dataset.classes])
    raise DatasetError("a plain folder has no held-out words; give them with --words")
