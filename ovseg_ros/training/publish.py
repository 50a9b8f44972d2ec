"""From a finished run to a checkpoint folder: the exported graph, its manifest, its scores and its card."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.evaluation.datasets import camvid
from ovseg_ros.evaluation.evaluate import Report, evaluate
from ovseg_ros.evaluation.synonyms import CAMVID_HELD_OUT
from ovseg_ros.hashing import file_hash
from ovseg_ros.models.export import export_onnx
from ovseg_ros.models.onepass import OnePass
from ovseg_ros.models.pixeltext import PixelText
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.vocabulary import Vocabulary
from ovseg_ros.weights import GRAPH_FILE, MANIFEST_FILE


def publish(
    checkpoint: Path, recipe: Recipe, text_folder: Path, classes: Vocabulary, folder: Path, camvid_root: Path
) -> dict[str, Report]:
    """Export a run's averaged weights, measure the exported graph, and write the checkpoint's folder.

    Args:
        checkpoint: a run's `checkpoint.pt`.
        recipe: the run's.
        text_folder: the text encoder it was trained with; copied beside `folder` where none is there.
        classes: the vocabulary the model starts with.
        folder: the checkpoint's folder, made or overwritten.
        camvid_root: where CamVid lies, for `street`.

    Returns:
        The reports that the card quotes, by protocol name.
    """
    state = torch.load(checkpoint, weights_only=False)
    net = PixelText(state["config"])
    net.load_state_dict(state["average"])
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder.parent / "text").exists():  # a checkpoint has its text encoder beside it
        shutil.copytree(text_folder, folder.parent / "text")
    encoder = StaticTextEncoder(folder.parent / "text")
    export_onnx(OnePass(net, recipe.deploy_size), folder / GRAPH_FILE, encoder.width)
    manifest: dict[str, Any] = {
        "name": recipe.name,
        "text_encoder": "../text",
        "text_identity": encoder.identity,
        "weights_hash": file_hash(folder / GRAPH_FILE),
        "size": list(recipe.deploy_size),
        "parameters": sum(p.numel() for p in net.parameters()),
        "steps": state["step"],
        "classes": list(classes.entries),
        "licence": recipe.licence,
        "data": recipe.data_note,
        "recipe": asdict(recipe),
        "scores": {},
    }
    _write(folder / MANIFEST_FILE, manifest)
    reports = measure(str(folder.resolve()), recipe, camvid_root)
    manifest["scores"] = {name: report.miou for name, report in reports.items()}
    _write(folder / MANIFEST_FILE, manifest)
    (folder / "README.md").write_text(card(manifest, reports), encoding="utf-8")
    return reports


def measure(model: str, recipe: Recipe, camvid_root: Path) -> dict[str, Report]:
    """The numbers of a card: with the trained words, and with words that were held out."""
    segmenter = Segmenter.load(model)
    if recipe.source == "camvid":
        data = camvid(camvid_root, "val")
        held_out = Vocabulary.parse([CAMVID_HELD_OUT[name] for name in data.classes])
        return {
            "camvid val": evaluate(segmenter, data, "camvid val"),
            "camvid val, held-out synonyms": evaluate(segmenter, data, "camvid val", words=held_out),
        }
    from ovseg_ros.evaluation.simulator import SimulatorDataset, held_out_vocabulary

    frames = SimulatorDataset()
    return {
        "unseen scenes": evaluate(segmenter, frames, "simulator"),
        "unseen scenes, held-out synonyms": evaluate(segmenter, frames, "simulator", words=held_out_vocabulary()),
    }


def card(manifest: dict[str, Any], reports: dict[str, Report]) -> str:
    """The model card, Markdown."""
    name = manifest["name"]
    lines = [
        f"# `{name}`",
        "",
        f"PixelText, {manifest['parameters'] / 1e6:.2f} M parameters, works at {manifest['size'][0]}x"
        f"{manifest['size'][1]}; its pixels live in the space of the text encoder in `{manifest['text_encoder']}`.",
        "",
        f"- Licence: {manifest['licence']}",
        f"- Trained on: {manifest['data']}",
        f"- By: `ovseg train {name}` ({manifest['steps']} steps of {manifest['recipe']['batch']} crops, seed "
        f"{manifest['recipe']['seed']})",
        f"- Starts with the words: {'; '.join(manifest['classes'])}",
        f"- SHA-256 of `{GRAPH_FILE}`: `{manifest['weights_hash']}`",
        "",
        "## Measured",
        "",
        "| data | mIoU | images | command |",
        "| --- | --- | --- | --- |",
    ]
    for title, report in reports.items():
        lines.append(f"| {title} | {report.miou:.4f} | {report.images} | `{_command(name, title)}` |")
    first = next(iter(reports.values()))
    lines += [
        "",
        f"Backend: {first.backend}. Protocol: {first.protocol}.",
        "",
        "| class | IoU | held-out word |",
    ]
    lines += ["| --- | --- | --- |"]
    second = list(reports.values())[-1]
    for kind, value in first.per_class.items():
        lines.append(f"| {kind} | {value:.3f} | {second.per_class.get(kind, float('nan')):.3f} |")
    lines += [
        "",
        "## Limits",
        "",
        "A small network trained on little: outside scenes like those it was trained on, and for words far from those "
        'it met, its masks are guesses. Confidence counts "none of these words" among the answers, so a threshold '
        "helps there.",
    ]
    return "\n".join(lines) + "\n"


def _command(name: str, title: str) -> str:
    where = "--dataset camvid --root ROOT --split val" if title.startswith("camvid") else "--dataset simulator"
    return f"ovseg evaluate {name} {where}" + (" --words held-out" if "held-out" in title else "")


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
