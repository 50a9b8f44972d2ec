"""From a recipe's sources and the folders a user names to a mix of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ovseg_ros.errors import ModelError
from ovseg_ros.evaluation.datasets import DATASETS, Dataset, open_dataset
from ovseg_ros.evaluation.synonyms import CAMVID_HELD_OUT
from ovseg_ros.training.mix import Ingredient, Mix
from ovseg_ros.training.recipe import Recipe, SourceSpec
from ovseg_ros.training.sources import CamVidSource, DatasetSource, Source, published_words

TRUSTED = ("simulator", "camvid")  # sources whose every labelled pixel is taken to show its class alone


def open_mix(
    recipe: Recipe, roots: Mapping[str, Path], folder: Path, *, processes: int = 2, render: bool = True
) -> Mix:
    """The sources of a recipe.

    Args:
        recipe: names them.
        roots: folder by the source's name; a single one without a name ("") serves the only source that needs one.
            For the simulator, where its renders lie or go, `folder / "renders"` where none is given.
        folder: the run's.
        processes: of the renderer.
        render: render what is missing.

    Raises:
        ModelError: when a root is missing, or one is given that no source is called by.
        DatasetError: for a data set that is not what its layout promises.
    """
    check_roots(recipe, roots)
    found = []
    for spec in recipe.ingredients:
        complete = spec.kind in TRUSTED if spec.complete is None else spec.complete
        source = _open(spec, recipe, roots, folder, processes if render else 0)
        found.append(Ingredient(spec.name, source, spec.weight, complete, spec.zoom, spec.focus))
    return Mix(found, recipe.seed, held_out_words(recipe))


def held_out_words(recipe: Recipe) -> set[str]:
    """The words that a run may not use in any of its sources, because the card measures what they are understood as."""
    kinds = {spec.kind for spec in (*recipe.ingredients, *recipe.measured)}
    words: set[str] = set(CAMVID_HELD_OUT.values()) if "camvid" in kinds else set()
    if "simulator" in kinds:
        from ovseg_ros.sim import KINDS

        words |= {word for kind in KINDS.values() for word in kind.held_out_synonyms}
    return words


def check_roots(recipe: Recipe, roots: Mapping[str, Path]) -> None:
    """Every data set needs its folder, and every folder a data set; see `open_mix`."""
    specs = {spec.name: spec for spec in (*recipe.measured, *recipe.ingredients)}
    needing = [name for name, spec in specs.items() if spec.kind != "simulator"]
    for name in roots:
        if name and name not in specs:
            raise ModelError(f"--root {name}=...: {recipe.name} has no source {name!r}, only {', '.join(specs)}")
    if roots.get("") is not None and len(needing) != 1:
        sources = " ".join(f"--root {name}=DIR" for name in needing or specs)
        raise ModelError(f"--root without a name, but {recipe.name} has several sources or none; give {sources}")
    missing = [name for name in needing if name not in roots and "" not in roots]
    if missing:
        options = " ".join(f"--root {name}=DIR" for name in missing) if len(needing) > 1 else "--root DIR"
        raise ModelError(f"--root is missing: the folder that holds {' and '.join(missing)}; give {options}")


def root_of(spec: SourceSpec, roots: Mapping[str, Path]) -> Path:
    """A data set's folder, after `check_roots`."""
    return roots[spec.name] if spec.name in roots else roots[""]


def open_data(spec: SourceSpec, root: Path, *, measure: bool) -> Dataset:
    """A data set by the name that `ovseg evaluate --dataset` knows it by, in the split that the spec means.

    Raises:
        ModelError: for an unknown data set.
        DatasetError: for a folder that is not what the layout promises.
    """
    split = "val" if measure and spec.part == (0.0, 1.0) else "train"
    if spec.kind not in DATASETS:
        known = ", ".join(sorted({"simulator", *DATASETS}))
        raise ModelError(f"the source {spec.kind!r} is unknown; expected one of {known}")
    wanted = spec.split or (split if split in DATASETS[spec.kind].splits else None)
    return open_dataset(spec.kind, root, wanted)


def _open(spec: SourceSpec, recipe: Recipe, roots: Mapping[str, Path], folder: Path, processes: int) -> Source:
    if spec.kind == "simulator":
        from ovseg_ros.training.renders import SimulatorSource

        if not spec.scenes or not spec.frames:
            raise ModelError(f"the source {spec.name} of {recipe.name} needs `scenes` and `frames`, both at least 1")
        source = SimulatorSource(roots.get(spec.name, folder / "renders"), spec.scenes, spec.frames)
        if processes:
            source.render(processes)
        return source
    root = root_of(spec, roots)
    if spec.kind == "camvid":
        return CamVidSource(root, spec.split or "train", spec.part)
    return DatasetSource(open_data(spec, root, measure=False), published_words(spec.kind), spec.part)
