"""A training run as data: one YAML file under `training/recipes/`, or a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ovseg_ros.errors import ModelError
from ovseg_ros.resources import shipped_recipes
from ovseg_ros.training.recipe_checks import check_recipe, check_source
from ovseg_ros.training.words import WordMix

T = TypeVar("T")
MODEL = {"name": "pixeltext"}  # trained where a recipe names none
# keys that the weights of a run do not depend on: they may change between its first start and its end
AFTERWARDS = ("deploy_size", "licence", "data_note", "measure", "beside", "goals", "tried", "save_every")


@dataclass(frozen=True)
class SourceSpec:
    """One of the sources that a run draws its pictures from; in `measure`, one of the data sets of its card."""

    kind: str  # simulator, camvid, or any data set that `ovseg evaluate --dataset` knows
    name: str = ""  # what --root NAME=DIR and the log call it; the kind where empty
    weight: float = 1.0  # its share of the draws is this over the sum of all sources' weights
    split: str = ""  # of the data set; where empty, `train`, or `val` to measure whole data sets, if it has them
    part: tuple[float, float] = (0.0, 1.0)  # which stretch of the images in their order, to keep some for measuring
    scenes: int = 0  # simulator: how many training scenes
    frames: int = 0  # simulator: frames of each
    complete: bool | None = None  # see `mix.Ingredient`; None: true for simulator and camvid, else false
    zoom: tuple[float, float] | None = None  # as the recipe's, for this source alone
    focus: float | None = None  # as the recipe's, for this source alone

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.kind)
        check_source(self)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, except where its data lie and what it runs on.

    Sizes are (height, width) in pixels. `zoom` is the range of crop pixels per image pixel. `docs/training.md` has a
    table of the keys.

    Raises:
        ModelError: for a value that cannot be, naming key, value and what was expected.
    """

    name: str
    source: str = ""  # one source alone, in short: the kind of the only entry of `sources`
    deploy_size: tuple[int, int] = (240, 320)  # what the exported graph works at, multiples of 16
    sources: tuple[SourceSpec, ...] = ()
    measure: tuple[SourceSpec, ...] = ()  # the card's data sets; those that belong to the sources where empty
    model: Mapping[str, Any] = field(default_factory=lambda: dict(MODEL))  # the task and its network's sizes
    crop: tuple[int, int] = (192, 256)
    zoom: tuple[float, float] = (0.6, 1.2)
    stretch: float = 0.15  # log-range of the aspect ratio
    focus: float = 0.0  # share of crops placed around a thing, rare kinds more often; the others lie anywhere
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.02  # of the full circle; more would blur the names of colours
    batch: int = 16  # crops of one optimiser step, over all devices
    accumulate: int = 1  # in how many passes a device goes through its share of the batch
    steps: int = 2000
    warmup: int = 100  # steps
    learning_rate: float = 2e-3
    schedule: str = "cosine"  # cosine, poly, step or constant
    power: float = 0.9  # poly: (1 - progress) ** power
    milestones: tuple[float, ...] = (0.67, 0.89)  # step: at these shares of the run the rate is multiplied by gamma
    gamma: float = 0.1
    optimizer: str = "adamw"  # adamw or sgd
    betas: tuple[float, float] = (0.9, 0.999)  # adamw
    momentum: float = 0.9  # sgd
    weight_decay: float = 0.02  # of weights with two axes or more
    multipliers: Mapping[str, float] = field(default_factory=dict)  # learning rate factor by prefix of parameter names
    clip: float = 5.0  # greatest norm of a step's gradient; 0 clips nothing
    balance: float = 0.5  # power of the loss weights against rare kinds
    alignment: float = 0.3  # weight of 1 - cosine to the right word
    dice: float = 0.0  # weight of the dice loss over the words that the batch shows
    ema: float = 0.997
    seed: int = 0
    start: str = ""  # the recipe whose finished run gives the first weights, in the folder beside this run's
    scenes: int = 0  # with `source: simulator`
    frames: int = 0  # with `source: simulator`
    words: WordMix = field(default_factory=WordMix)
    save_every: int = 100  # steps between checkpoints, lines of the log and pictures
    licence: str = "Apache-2.0"
    data_note: str = ""
    beside: tuple[str, ...] = ()  # other models that the card measures on the same data
    goals: Mapping[str, float] = field(default_factory=dict)  # mIoU that the card compares with, by its titles
    tried: str = ""  # what was done towards them, for the card

    def __post_init__(self) -> None:
        check_recipe(self)

    @property
    def ingredients(self) -> tuple[SourceSpec, ...]:
        """The sources in their long form."""
        return self.sources or (SourceSpec(self.source, scenes=self.scenes, frames=self.frames),)

    @property
    def measured(self) -> tuple[SourceSpec, ...]:
        """What the card measures: `measure`, or each source on images that are known not to be trained on."""
        if self.measure:
            return self.measure
        found = []
        for spec in self.ingredients:
            if spec.kind in ("simulator", "camvid"):
                found.append(replace(spec, split="", part=(0.0, 1.0)))
            elif spec.part[0] == 0 and spec.part[1] < 1:
                found.append(replace(spec, part=(spec.part[1], 1.0)))
        return tuple(found)

    def plain(self) -> dict[str, Any]:
        """As dicts, lists, texts and numbers."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """The keys that weights depend on and in which another recipe, as `plain` gives it, differs."""
        mine, defaults = self.plain(), Recipe("default", "default").plain()
        keys = [key for key in {**mine, **other} if key not in AFTERWARDS]
        return [key for key in keys if mine.get(key) != other.get(key, defaults.get(key))]

    @classmethod
    def load(cls, name: str, settings: Sequence[str] = (), **overrides: Any) -> Recipe:
        """A shipped recipe by name, or any YAML file by path.

        Args:
            name: of the recipe, or its path, ending in .yaml or .yml.
            settings: changes as KEY=VALUE, the value as YAML has it, a key inside a mapping as `model.widths`.
            overrides: changes by key; those that are None are left out.

        Raises:
            ModelError: for an unknown recipe or key, or a value that cannot be.
        """
        try:
            content = yaml.safe_load(_read(name))
        except yaml.YAMLError as error:
            raise ModelError(f"the recipe {name} cannot be read: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise ModelError(f"the recipe {name} cannot be read: it is no mapping; its keys are {_keys(cls)}")
        content = {**content, **{k: v for k, v in overrides.items() if v is not None}}
        model = content.get("model", dict(MODEL))
        content["model"] = {"name": model} if isinstance(model, str) else model
        for setting in settings:
            _set(content, setting)
        try:
            content["words"] = _build(WordMix, content.get("words", {}), "words")
            for key in ("sources", "measure"):
                entries = content.get(key, [])
                if not isinstance(entries, list):
                    raise ModelError(f"{key} is {entries!r}; expected a list of mappings such as {{kind: camvid}}")
                content[key] = [_build(SourceSpec, entry, key) for entry in entries]
            return _build(cls, content, "")
        except ModelError as error:
            raise ModelError(f"the recipe {name} cannot be used: {error}") from error


def _read(name: str) -> str:
    """The text of a shipped recipe or of a YAML file."""
    if not name.endswith((".yaml", ".yml")):
        if name not in (known := shipped_recipes()):
            raise ModelError(f"there is no recipe {name!r}; known: {', '.join(known)}, text, or a YAML file")
        return (files("ovseg_ros.training") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the recipe {name}: {error}") from error


def _set(content: dict[str, Any], setting: str) -> None:
    """Apply KEY=VALUE."""
    path, equals, text = setting.partition("=")
    *outer, key = path.split(".")
    inner: Any = content
    for step in outer:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else None
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not equals or not key or not isinstance(inner, dict) or (value is None and text != "null"):
        raise ModelError(
            f"the setting {setting!r} is not KEY=VALUE with a key of the recipe, such as model.depths=[1,1,1]"
        )
    inner[key] = value


def _build(kind: type[T], content: object, place: str) -> T:
    """A dataclass from a mapping, lists as tuples; unknown and missing keys are told with those there are."""
    where = f" of {place}" if place else ""
    if not isinstance(content, dict):
        raise ModelError(f"{place} holds {content!r}; expected a mapping with the keys {_keys(kind)}")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    unknown = next((key for key in content if key not in known), None)
    if unknown is not None:
        raise ModelError(f"there is no key {unknown!r}{where}; its keys are {_keys(kind)}")
    for name, spec in known.items():
        if spec.default is MISSING and spec.default_factory is MISSING and name not in content:
            raise ModelError(f"the key {name!r}{where} is missing")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})


def _keys(kind: type) -> str:
    return ", ".join(f.name for f in fields(kind))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
