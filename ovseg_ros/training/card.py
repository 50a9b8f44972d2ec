"""A checkpoint's card: what it was trained on and what was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovseg_ros.errors import ModelError
from ovseg_ros.evaluation.evaluate import Report
from ovseg_ros.training.measure import HELD_OUT, PAIRS
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.weights import GRAPH_FILE


def card(
    manifest: dict[str, Any],
    reports: dict[str, Report],
    commands: dict[str, str],
    more: Mapping[str, float] | None = None,
    beside: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """The model card, Markdown.

    Args:
        manifest: the checkpoint's.
        reports: what was measured, by title; one with held-out words follows the one with trained words.
        commands: how each is measured again, by title.
        more: further scores by title, which the training itself measured.
        beside: by title, the mIoU of other models on the same data, by their names.
    """
    name, recipe = manifest["name"], manifest["recipe"]
    lines = [
        f"# `{name}`",
        "",
        f"{manifest['architecture']}, {manifest['parameters'] / 1e6:.2f} M parameters, works at "
        f"{manifest['size'][0]}x{manifest['size'][1]}; its pixels live in the space of the text encoder in "
        f"`{manifest['text_encoder']}`.",
        "",
        f"- Licence: {manifest['licence']}",
        f"- Trained on: {manifest['data']}",
        f"- By: {_stages(name, recipe)} ({manifest['steps']} steps of {recipe['batch']} crops, seed {recipe['seed']})",
        f"- Starts with the words: {'; '.join(manifest['classes'])}",
        f"- SHA-256 of `{GRAPH_FILE}`: `{manifest['weights_hash']}`",
        "",
        "## Measured",
        "",
    ]
    if reports:
        lines += _table(reports, commands, recipe.get("goals", {}), beside or {})
        if recipe.get("tried"):
            lines += ["", recipe["tried"]]
        first = next(iter(reports.values()))
        lines += ["", f"Backend: {first.backend}. Protocol: {first.protocol}."]
        shown = [title for title in reports if not title.endswith((HELD_OUT, PAIRS))]
        for title in shown:
            lines += ["", *_classes(title, reports[title], reports.get(title + HELD_OUT), len(shown) > 1)]
    else:
        lines += ["Nothing: the recipe keeps no images apart (`part` or `measure`)."]
    if more:
        lines += ["", *(f"- {title}: {value:.4f}" for title, value in more.items())]
    lines += [
        "",
        "## Limits",
        "",
        "A small network trained on little: outside scenes like those it was trained on, and for words far from those "
        'it met, its masks are guesses. Confidence counts "none of these words" among the answers, so a threshold '
        "helps there.",
    ]
    return "\n".join(lines) + "\n"


def _table(
    reports: dict[str, Report],
    commands: dict[str, str],
    goals: Mapping[str, float],
    beside: Mapping[str, Mapping[str, float]],
) -> list[str]:
    """A row for each measurement; columns for goals and other models where there are any."""
    others = list(next(iter(beside.values()), {}))
    heads = ["data", "mIoU", *(["goal"] if goals else []), *(f"`{name}`" for name in others), "images", "command"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for title, report in reports.items():
        cells = [title, f"{report.miou:.4f}", *([_goal(report.miou, goals.get(title))] if goals else [])]
        cells += [f"{beside[title][name]:.4f}" for name in others]
        lines.append(_row([*cells, str(report.images), f"`{commands[title]}`"]))
    return lines


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _goal(reached: float, goal: float | None) -> str:
    """A goal, and how far it is where it was not reached."""
    if goal is None:
        return ""
    return f"{goal:.2f}, reached" if reached >= goal else f"{goal:.2f}, {goal - reached:.4f} short of it"


def _stages(name: str, recipe: dict[str, Any]) -> str:
    """The commands that train it, the first stage first, as far back as they are shipped recipes."""
    stages, start = [name], recipe.get("start", "")
    while start:
        stages.insert(0, start)
        try:
            start = Recipe.load(start).start
        except ModelError:  # a user's own, of which only the name is known
            break
    return ", then ".join(f"`ovseg train {stage}`" for stage in stages)


def _classes(title: str, report: Report, held_out: Report | None, several: bool) -> list[str]:
    """The table of a data set's classes, under its title where there are several data sets."""
    lines = [f"### {title}", ""] if several else []
    if held_out is None:
        lines += ["| class | IoU |", "| --- | --- |"]
        return lines + [f"| {kind} | {value:.3f} |" for kind, value in report.per_class.items()]
    lines += ["| class | IoU | held-out word |", "| --- | --- | --- |"]
    for kind, value in report.per_class.items():
        lines.append(f"| {kind} | {value:.3f} | {held_out.per_class.get(kind, float('nan')):.3f} |")
    return lines
