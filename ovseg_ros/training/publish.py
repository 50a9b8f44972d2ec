"""From a finished run to a checkpoint folder: the exported graph, its manifest, its scores and its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ovseg_ros.evaluation.evaluate import Report, evaluate
from ovseg_ros.hashing import file_hash
from ovseg_ros.models.export import export_onnx
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.card import card
from ovseg_ros.training.checkpoint import read_checkpoint
from ovseg_ros.training.loop import load_weights
from ovseg_ros.training.measure import measurements
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.task import open_task
from ovseg_ros.vocabulary import Vocabulary
from ovseg_ros.weights import GRAPH_FILE, MANIFEST_FILE


def publish(
    checkpoint: Path,
    recipe: Recipe,
    text_folder: Path,
    classes: Vocabulary,
    folder: Path,
    roots: Mapping[str, Path],
) -> dict[str, Report]:
    """Export a run's averaged weights, measure the exported graph, and write the checkpoint's folder.

    Args:
        checkpoint: a run's `checkpoint.pt`.
        recipe: the run's.
        text_folder: the text encoder it was trained with; copied beside `folder` where none is there.
        classes: the vocabulary the model starts with.
        folder: the checkpoint's folder, made or overwritten.
        roots: where the data sets lie, as `ingredients.open_mix` takes them.

    Returns:
        The reports that the card quotes, by title.

    Raises:
        ModelError: for a checkpoint that is damaged or of another network.
    """
    state = read_checkpoint(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder.parent / "text").exists():  # a checkpoint has its text encoder beside it
        shutil.copytree(text_folder, folder.parent / "text")
    encoder = StaticTextEncoder(folder.parent / "text")
    task = open_task(replace(recipe, model=state["config"]), encoder)
    load_weights(task.net, state["average"], checkpoint)
    export_onnx(task.deployed(task.net, recipe.deploy_size), folder / GRAPH_FILE, encoder.width)
    manifest: dict[str, Any] = {
        "name": recipe.name,
        "architecture": type(task.net).__name__,
        "text_encoder": "../text",
        "text_identity": encoder.identity,
        "weights_hash": file_hash(folder / GRAPH_FILE),
        "size": list(recipe.deploy_size),
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "steps": state["step"],
        "classes": list(classes.entries),
        "licence": recipe.licence,
        "data": recipe.data_note,
        "recipe": recipe.plain(),
        "scores": {},
    }
    _write(folder / MANIFEST_FILE, manifest)
    segmenter, reports, commands = Segmenter.load(str(folder.resolve())), {}, {}
    others = {name: Segmenter.load(name) for name in recipe.beside}
    beside: dict[str, dict[str, float]] = {}
    for measurement in measurements(recipe, roots):
        title = measurement.title
        reports[title] = evaluate(segmenter, measurement.data, title, question=measurement.question)
        commands[title] = f"ovseg evaluate {recipe.name} {measurement.options}"
        beside[title] = {
            name: evaluate(other, measurement.data, title, question=measurement.question).miou
            for name, other in others.items()
        }
    more = task.finish(folder)
    manifest["scores"] = {title: report.miou for title, report in reports.items()}
    if more:
        manifest["other_scores"] = more
    _write(folder / MANIFEST_FILE, manifest)
    (folder / "README.md").write_text(card(manifest, reports, commands, more, beside), encoding="utf-8")
    return reports


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
