"""`ovseg evaluate MODEL`: mIoU on a data set, under a named protocol."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg_ros.cli.words import SYNTAX, read_words
from ovseg_ros.errors import DatasetError, OvsegError
from ovseg_ros.evaluation.against import Labelled
from ovseg_ros.evaluation.boundary import TOLERANCE
from ovseg_ros.evaluation.datasets import DATASETS, Part, class_lists, open_dataset
from ovseg_ros.evaluation.evaluate import Evaluation, Source
from ovseg_ros.evaluation.protocols import PROTOCOLS, Protocol, ProtocolError, find_protocol
from ovseg_ros.evaluation.questions import published_question
from ovseg_ros.evaluation.report import check_ending, write_report
from ovseg_ros.evaluation.results import Report
from ovseg_ros.evaluation.scores import Question
from ovseg_ros.evaluation.subjects import EngineSource, NetworkSource, is_checkpoint
from ovseg_ros.prompts import PROMPT_SETS, prompt_set
from ovseg_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovseg_ros.evaluation.datasets import Dataset

NAMED_WORDS = ("names", "held-out", "held-out-pairs")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model", help="model name (see `ovseg models`), a checkpoint's folder, or a run's checkpoint.pt"
    )
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", choices=(*DATASETS, "simulator"), required=True, metavar="NAME", help=_datasets())
    data.add_argument("--root", type=Path, help="where the data set lies (not for the simulator)")
    data.add_argument("--split", help="such as val or train; by default the one that papers report on")
    data.add_argument("--part", metavar="FROM,TO", help="a stretch of the images in their order, such as 0.8,1")
    data.add_argument("--scenes", type=int, default=40, help="simulator: how many unseen scenes")
    data.add_argument("--frames", type=int, default=4, help="simulator: frames a scene")
    data.add_argument("--first", type=int, default=0, help="simulator: offset of the first evaluation seed")
    asked = parser.add_argument_group("what is asked")
    asked.add_argument(
        "--words",
        default="names",
        help="names (the data set's class list), held-out (synonyms never trained on; simulator, camvid), "
        f"held-out-pairs (simulator: things in colours never trained on), or {SYNTAX}",
    )
    asked.add_argument(
        "--names", metavar="VARIANT", help="of the class list: canonical, synonyms, catseg or training-free"
    )
    asked.add_argument("--prompts", metavar="SET", help=f"{', '.join(PROMPT_SETS)}; by default the protocol's")
    asked.add_argument("--threshold", type=float, help="confidence (0..1) under which a pixel is background or nothing")
    asked.add_argument("--trained-on", metavar="SET", help="stuff171, stuff156, voc15 or panoptic133: reports hIoU")
    asked.add_argument("--boundary", type=float, default=TOLERANCE, metavar="SHARE", help=_boundary())
    how = parser.add_argument_group("how")
    how.add_argument("--protocol", default="native", help=f"{', '.join(PROTOCOLS)}; by default %(default)s")
    how.add_argument("--network", action="store_true", help="evaluate the torch network, not an engine made from it")
    how.add_argument("--weights", default="", help="with --network: the weights file that the model was built from")
    how.add_argument("--device", default="cpu", help="cpu, gpu (Intel) or cuda")
    how.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16")
    how.add_argument("--backend", default="auto", help="auto, openvino, tensorrt, tensorrt-rtx or torch")
    how.add_argument("--against", metavar="FORM", help=_against())
    how.add_argument("--workers", type=int, help="processes; 0, and the default on a cluster, is one a core; else 1")
    how.add_argument("--cluster", metavar="ADDRESS", help="spread over a Ray cluster: auto, local or its address")
    out = parser.add_argument_group("results")
    out.add_argument("--out", type=Path, help="folder for the results of every image; the same command goes on there")
    out.add_argument("--report", type=Path, metavar="FILE", help="report with worst and best images, .html or .png")
    out.add_argument("--show", type=int, default=4, help="how many worst and best images, %(default)s by default")
    out.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Measure, print."""
    _check(options)
    protocol = find_protocol(options.protocol)
    dataset, question = _asked(options, protocol)
    source = _source(options, protocol)
    if options.against is not None:
        labelled = Labelled(dataset, _other(options, source), question)
        dataset, question = labelled, replace(question, dataset=f"{question.dataset}, {labelled.title}")
    evaluation = Evaluation(source, dataset, question)
    folder = None if options.out is None else options.out / "images"
    workers = options.workers if options.workers is not None else 0 if options.cluster else 1
    found = evaluation.run(folder=folder, workers=workers, cluster=options.cluster, quiet=options.json)
    if options.out is not None:
        found.write(options.out)
    if options.report is not None:
        write_report(options.report, found, *evaluation.extremes(found, options.show))
    _print(found, options)
    return 0


def _print(found: Report, options: argparse.Namespace) -> None:
    print(found.json() if options.json else found.table())
    if not options.json and options.report is not None:
        print(f"report: {options.report}")


def _check(options: argparse.Namespace) -> None:
    """Refuse what would only show after the work."""
    if options.report is not None:
        check_ending(options.report)
        if not options.report.parent.is_dir():
            raise OvsegError(f"there is no folder {options.report.parent} for the report; make it first")
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise OvsegError(f"--threshold {options.threshold} is out of range; expected 0..1")
    if not 0 <= options.boundary < 1:
        raise OvsegError(f"--boundary {options.boundary} is out of range; expected a share of the diagonal, or 0")
    if options.show < 0 or (options.workers or 0) < 0:
        raise OvsegError("--show and --workers count from 0")


def _source(options: argparse.Namespace, protocol: Protocol) -> Source:
    threshold = options.threshold or 0.0
    if options.network or is_checkpoint(options.model):
        return NetworkSource(options.model, protocol, options.device, options.weights, threshold)
    if options.weights:
        raise ProtocolError("--weights goes with --network: an engine has its weights already")
    return EngineSource(options.model, protocol, options.device, options.precision, options.backend, threshold)


def _other(options: argparse.Namespace, source: Source) -> Source:
    """The form of the model whose labels are the truth."""
    if not isinstance(source, EngineSource):
        raise ProtocolError("--against compares engines; a torch network has one form only")
    backend, _, precision = options.against.rpartition(":")
    if not backend:
        return replace(source, precision=precision)
    return replace(source, precision=precision, backend=backend, device="cpu")


def _asked(options: argparse.Namespace, protocol: Protocol) -> tuple[Dataset, Question]:
    """The data set, and the question with every option applied."""
    tolerance = options.boundary or None
    if options.words == "held-out-pairs":
        dataset, question = _pairs(options)
    else:
        dataset, title = _dataset(options)
        listed = options.dataset in class_lists()
        if options.words == "names" and listed:
            return dataset, published_question(
                options.dataset,
                protocol,
                title=title,
                variant=_variant(options.names),
                prompts=options.prompts,
                trained_on=options.trained_on,
                threshold=options.threshold,
                tolerance=tolerance,
            )
        words = _words(options, dataset)
        question = Question(title, tuple(dataset.classes), words, over=protocol.over)
    if options.names or options.trained_on:
        raise DatasetError("--names and --trained-on choose among published class lists; they go with --words names")
    templates = options.prompts or protocol.prompts
    words = question.words if question.words.templates or not templates else _prompted(question.words, templates)
    return dataset, replace(question, words=words, tolerance=tolerance)


def _prompted(words: Vocabulary, name: str) -> Vocabulary:
    return replace(words, templates=prompt_set(name))


def _variant(name: str | None) -> str | None:
    return "multi" if name == "synonyms" else name


def _dataset(options: argparse.Namespace) -> tuple[Dataset, str]:
    if options.dataset == "simulator":
        from ovseg_ros.evaluation.simulator import SimulatorDataset

        if options.part is not None:
            raise DatasetError("--part is of data sets; the simulator takes --first, --scenes and --frames")
        return SimulatorDataset(*_scenes(options)), "simulator"
    if options.root is None:
        raise DatasetError(f"--root is missing: the folder that holds {options.dataset}")
    dataset: Dataset = open_dataset(options.dataset, options.root, options.split)
    split = options.split or DATASETS[options.dataset].default
    title = str(options.root) if options.dataset == "folder" else options.dataset
    title = f"{title} {split}" if split else title
    if options.part is None:
        return dataset, title
    part = Part(dataset, _part(options.part))
    return part, f"{title}, {part.title}"


def _part(text: str) -> tuple[float, float]:
    try:
        first, last = (float(number) for number in text.split(","))
    except ValueError:
        first = last = -1.0
    if not 0 <= first < last <= 1:
        raise DatasetError(f"--part {text!r} is no stretch of the images; expected two shares in 0..1, such as 0.8,1")
    return first, last


def _pairs(options: argparse.Namespace) -> tuple[Dataset, Question]:
    if options.dataset != "simulator":
        raise DatasetError(f"{options.dataset} has no colour-thing pairs; --words held-out-pairs is the simulator's")
    from ovseg_ros.evaluation.simulator import held_out_pairs

    return held_out_pairs(*_scenes(options))


def _scenes(options: argparse.Namespace) -> tuple[int, int, int]:
    if options.scenes < 1 or options.frames < 1 or options.first < 0:
        raise DatasetError("--scenes and --frames must be at least 1, and --first at least 0")
    return options.scenes, options.frames, options.first


def _words(options: argparse.Namespace, dataset: Dataset) -> Vocabulary:
    if options.words == "names":
        return Vocabulary.parse(dataset.classes)
    if options.words != "held-out":
        return read_words(options.words)
    if options.dataset == "simulator":
        from ovseg_ros.evaluation.simulator import held_out_vocabulary

        return held_out_vocabulary()
    if options.dataset == "camvid":
        from ovseg_ros.evaluation.synonyms import CAMVID_HELD_OUT

        return Vocabulary.parse([CAMVID_HELD_OUT[name] for name in dataset.classes])
    raise DatasetError(f"{options.dataset} has no held-out words; give them with --words")


def _datasets() -> str:
    return f"{', '.join(DATASETS)} or simulator; folder: ROOT/images, ROOT/masks and ROOT/classes.txt"


def _against() -> str:
    return (
        "[BACKEND:]PRECISION, such as fp32 or openvino:fp32 (on the CPU), whose labels take the truth's place: "
        "pACC is the share of labels that stay"
    )


def _boundary() -> str:
    return "tolerance of the boundary scores as a share of the diagonal, %(default)s by default; 0 leaves them out"
