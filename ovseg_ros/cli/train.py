"""`ovseg train RECIPE`: train, export, measure, and write the checkpoint's card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import ModelError
from ovseg_ros.resources import find, shipped_recipes
from ovseg_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovseg_ros.training.mix import Mix
    from ovseg_ros.training.recipe import Recipe

PACKAGES = "pip install 'ovseg_ros[train,sim]'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    names = ", ".join(shipped_recipes())
    parser.add_argument("recipe", help=f"{names}, text (makes the text encoder) or the YAML file of a recipe")
    parser.add_argument(
        "--root",
        action="append",
        default=[],
        metavar="[SOURCE=]DIR",
        help="the folder of a source's data; with several sources once for each, as camvid=DIR",
    )
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/RECIPE. A run there is continued")
    parser.add_argument("--steps", type=int, help="train so many steps instead of the recipe's")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe, such as seed=1 or model.depths=[1,1,1]; may be repeated",
    )
    parser.add_argument("--processes", type=int, default=2, help="processes that render the simulator's scenes")
    parser.add_argument("--workers", type=int, help="processes per device that prepare batches; default by the device")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--devices", type=int, default=1, help="devices of this machine to train on at once")
    parser.add_argument("--nodes", type=int, default=1, help="machines; start the command on each (docs/training.md)")
    parser.add_argument("--precision", default="auto", help="auto, 32-true, bf16-mixed or 16-mixed")
    parser.add_argument(
        "--weights", type=Path, help="where the finished checkpoint goes; default OUT/weights. `weights` ships it"
    )


def run(options: argparse.Namespace) -> int:
    """Run or continue a training."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ModelError(f"training needs {error.name}; {PACKAGES}") from error
    if options.recipe == "text":
        return _train_text(options)
    from ovseg_ros.training.checkpoint import finished
    from ovseg_ros.training.ingredients import check_roots
    from ovseg_ros.training.recipe import Recipe

    for name, least in (("steps", 0), ("processes", 1), ("workers", 0)):
        if (value := getattr(options, name)) is not None and value < least:
            raise ModelError(f"--{name} {value}; expected at least {least}")
    recipe = Recipe.load(options.recipe, options.set, steps=options.steps)
    roots = _roots(options.root, recipe)
    check_roots(recipe, roots)
    folder = options.out or Path("runs") / recipe.name
    if finished(folder, recipe.steps):
        return _publish(recipe, options, folder, _open_mix(recipe, roots, folder, options, render=False), roots)
    return _train(recipe, roots, folder, options)


def _train(recipe: Recipe, roots: dict[str, Path], folder: Path, options: argparse.Namespace) -> int:
    import torch

    from ovseg_ros.text import StaticTextEncoder
    from ovseg_ros.training.engine import Devices, default_workers, make_fabric
    from ovseg_ros.training.loop import Trainer
    from ovseg_ros.training.pictures import draw_progress
    from ovseg_ros.training.task import open_task

    devices = Devices(options.accelerator, options.devices, options.nodes, options.precision)
    fabric = make_fabric(devices, recipe)
    if fabric.is_global_zero:  # renders what is missing, once
        _open_mix(recipe, roots, folder, options)
    fabric.barrier()
    mix = _open_mix(recipe, roots, folder, options, render=False)
    encoder = StaticTextEncoder(find("weights/text"))
    torch.manual_seed(recipe.seed)
    trainer = Trainer(recipe, mix, open_task(recipe, encoder), folder, fabric)
    if trainer.step and fabric.is_global_zero:
        print(f"continuing {folder} at step {trainer.step} of {recipe.steps}")
    workers = options.workers
    if workers is None:
        workers = default_workers(fabric.device.type, options.devices)
    for step in trainer.run(workers=workers):
        if fabric.is_global_zero:
            draw_progress(trainer, mix, encoder, folder / "pictures" / f"{step:06d}.png")
    if not fabric.is_global_zero:
        return 0
    print(f"waited for data {trainer.clock.share:.1%} of {trainer.clock.total:.0f} s, with {workers} workers")
    return _publish(recipe, options, folder, mix, roots)


def _roots(given: list[str], recipe: Recipe) -> dict[str, Path]:
    """`--root DIR` as {"": DIR}, `--root NAME=DIR` as {NAME: DIR}."""
    roots: dict[str, Path] = {}
    names = {spec.name for spec in (*recipe.ingredients, *recipe.measured)}
    for entry in given:
        name, equals, folder = entry.partition("=")
        if not equals or (name not in names and Path(entry).exists()):  # a folder's name may hold "=" as well
            name, folder = "", entry
        if name in roots:
            raise ModelError(f"--root {entry}: {name or 'a folder without a name'} is given twice")
        roots[name] = Path(folder)
    return roots


def _open_mix(
    recipe: Recipe, roots: dict[str, Path], folder: Path, options: argparse.Namespace, *, render: bool = True
) -> Mix:
    from ovseg_ros.training.ingredients import open_mix

    mix = open_mix(recipe, roots, folder, processes=options.processes, render=render)
    Vocabulary.parse(mix.entries())  # words that the checkpoint could not start with are refused before hours of work
    return mix


def _publish(recipe: Recipe, options: argparse.Namespace, folder: Path, mix: Mix, roots: dict[str, Path]) -> int:
    from ovseg_ros.training.publish import publish

    target = (options.weights or folder / "weights") / recipe.name
    reports: dict[str, Any] = publish(
        folder / "checkpoint.pt", recipe, find("weights/text"), Vocabulary.parse(mix.entries()), target, roots
    )
    for report in reports.values():
        print(report.table())
    print(f"written to {target}/")
    return 0


def _train_text(options: argparse.Namespace) -> int:
    try:
        from ovseg_ros.training.text import make_text_encoder

        folder = make_text_encoder((options.weights or Path("runs")) / "text")
    except ImportError as error:
        raise ModelError(f"making the text encoder needs {error.name}; {PACKAGES}") from error
    print(f"written to {folder}/")
    return 0
