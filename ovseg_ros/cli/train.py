"""`ovseg train RECIPE`: train, export, measure, and write the checkpoint's card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg_ros.errors import ModelError
from ovseg_ros.resources import find
from ovseg_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovseg_ros.training.recipe import Recipe
    from ovseg_ros.training.sources import Source

PACKAGES = "pip install 'ovseg_ros[train,sim]'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("recipe", help="mini, street, text (the text encoder) or a recipe's YAML file")
    parser.add_argument("--root", type=Path, help="street: the folder that holds CamVid")
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/RECIPE. A run there is continued")
    parser.add_argument("--steps", type=int, help="train so many steps instead of the recipe's")
    parser.add_argument("--processes", type=int, default=2, help="mini: processes that render")
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
    from ovseg_ros.training.loop import Trainer
    from ovseg_ros.training.pictures import draw_progress
    from ovseg_ros.training.recipe import Recipe

    if options.steps is not None and options.steps < 1:
        raise ModelError(f"--steps {options.steps}; a run has at least one step")
    recipe = Recipe.load(options.recipe, steps=options.steps)
    folder = options.out or Path("runs") / recipe.name
    source = _source(recipe, options, folder)
    text_folder = find("weights/text")
    from ovseg_ros.text import StaticTextEncoder

    encoder = StaticTextEncoder(text_folder)
    trainer = Trainer(recipe, source, encoder, folder)
    if trainer.step:
        print(f"continuing {folder} at step {trainer.step} of {recipe.steps}")
    for step in trainer.run():
        draw_progress(trainer, source, encoder, folder / "pictures" / f"{step:06d}.png")
    return _publish(recipe, options, folder, text_folder, source)


def _source(recipe: Recipe, options: argparse.Namespace, folder: Path) -> Source:
    if recipe.source == "camvid":
        if options.root is None:
            raise ModelError("--root is missing: the folder that holds CamVid (train/, trainannot/, val/, valannot/)")
        from ovseg_ros.training.sources import CamVidSource

        return CamVidSource(options.root)
    if recipe.source == "simulator":
        from ovseg_ros.training.renders import SimulatorSource

        source = SimulatorSource(folder / "renders", recipe.scenes, recipe.frames)
        source.render(options.processes)
        return source
    raise ModelError(f"the recipe's source {recipe.source!r} is unknown; expected camvid or simulator")


def _publish(recipe: Recipe, options: argparse.Namespace, folder: Path, text_folder: Path, source: Source) -> int:
    from ovseg_ros.training.publish import publish

    target = (options.weights or folder / "weights") / recipe.name
    classes = Vocabulary.parse([", ".join(words) for words in source.kinds.values()])
    reports = publish(folder / "checkpoint.pt", recipe, text_folder, classes, target, options.root)
    for report in reports.values():
        print(report.table())
    print(f"written to {target}/")
    return 0


def _train_text(options: argparse.Namespace) -> int:
    try:
        from ovseg_ros.training.text import distil

        folder = distil((options.weights or Path("runs")) / "text")
    except ImportError as error:
        raise ModelError(f"distilling the text encoder needs {error.name}; {PACKAGES}") from error
    print(f"written to {folder}/")
    return 0
