"""What the values of a recipe may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import ModelError
from ovseg_ros.training.choices import is_number, is_whole

if TYPE_CHECKING:
    from ovseg_ros.training.recipe import Recipe, SourceSpec

SCHEDULES = ("cosine", "poly", "step", "constant")
OPTIMIZERS = ("adamw", "sgd")
Check = Callable[[Any], bool]


def _whole(least: int) -> tuple[Check, str]:
    return (
        lambda v: is_whole(v, least),
        f"a whole number of at least {least}",
    )


def _number(least: float = 0.0, most: float = float("inf")) -> tuple[Check, str]:
    expected = f"a number of at least {least:g}" if most == float("inf") else f"a number in {least:g}..{most:g}"
    return lambda v: is_number(v) and least <= v <= most, expected


def _one_of(choices: tuple[str, ...]) -> tuple[Check, str]:
    return lambda v: v in choices, f"one of {', '.join(choices)}"


def _is_size(value: Any) -> bool:
    sides = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int) for v in value)
    return sides and all(v > 0 and v % 16 == 0 for v in value)


def _is_range(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(is_number, value)) and 0 < value[0] <= value[1]


def _is_part(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(is_number, value)) and 0 <= value[0] < value[1] <= 1


_SIZE = (_is_size, "[height, width], multiples of 16")
_RANGE = (_is_range, "[least, most], two numbers above 0")
_SHARE = _number(0, 1)
_TEXT = (lambda v: isinstance(v, str), "a text")
_SHARES: tuple[Check, str] = (
    lambda v: isinstance(v, tuple) and all(is_number(x) and 0 < x < 1 for x in v),
    "a list of shares between 0 and 1",
)
_BETAS: tuple[Check, str] = (
    lambda v: isinstance(v, tuple) and len(v) == 2 and all(is_number(x) and 0 <= x < 1 for x in v),
    "two numbers in 0..1",
)
_FACTORS: tuple[Check, str] = (
    lambda v: isinstance(v, Mapping) and all(isinstance(k, str) and is_number(x) and x >= 0 for k, x in v.items()),
    "a mapping from prefixes of parameter names to factors",
)
_MODEL: tuple[Check, str] = (
    lambda v: isinstance(v, Mapping) and isinstance(v.get("name"), str),
    "a model's name, or a mapping with `name` and sizes",
)
_GOALS: tuple[Check, str] = (
    lambda v: isinstance(v, Mapping) and all(isinstance(k, str) and _SHARE[0](x) for k, x in v.items()),
    "a mapping from titles of the card to numbers in 0..1",
)
_NAMES: tuple[Check, str] = (
    lambda v: isinstance(v, tuple) and all(isinstance(x, str) and x for x in v),
    "a list of models, such as [mini]",
)
_RECIPE: dict[str, tuple[Check, str]] = {
    "name": (lambda v: isinstance(v, str) and bool(v) and "/" not in v, "a text without a slash"),
    "source": _TEXT, "start": _TEXT, "licence": _TEXT, "data_note": _TEXT, "goals": _GOALS,
    "tried": _TEXT, "beside": _NAMES,
    "deploy_size": _SIZE, "crop": _SIZE, "zoom": _RANGE, "model": _MODEL, "multipliers": _FACTORS,
    "batch": _whole(1), "accumulate": _whole(1), "steps": _whole(0), "save_every": _whole(1), "warmup": _whole(0),
    "seed": _whole(0), "scenes": _whole(0), "frames": _whole(0),
    "focus": _SHARE, "ema": _SHARE, "momentum": _SHARE, "hue": _SHARE, "brightness": _SHARE,
    "contrast": _SHARE, "saturation": _SHARE, "stretch": _number(), "learning_rate": _number(),
    "weight_decay": _number(), "clip": _number(), "balance": _number(), "alignment": _number(), "dice": _number(),
    "power": _number(), "gamma": _number(), "milestones": _SHARES, "betas": _BETAS,
    "schedule": _one_of(SCHEDULES), "optimizer": _one_of(OPTIMIZERS),
}  # fmt: skip
_SOURCE: dict[str, tuple[Check, str]] = {
    "kind": (lambda v: isinstance(v, str) and bool(v), "simulator, camvid, folder or another data set's name"),
    "name": (lambda v: isinstance(v, str) and not set(v) & set("=/"), "a text without = and /"),
    "weight": (lambda v: is_number(v) and v > 0, "a number above 0"),
    "split": _TEXT,
    "part": (_is_part, "[from, to], two shares of the images in 0..1"),
    "scenes": _whole(0),
    "frames": _whole(0),
    "complete": (lambda v: v is None or isinstance(v, bool), "true or false"),
    "zoom": (lambda v: v is None or _is_range(v), _RANGE[1]),
    "focus": (lambda v: v is None or _SHARE[0](v), _SHARE[1]),
}
_WORDS = ("coloured", "name", "lexicon", "leave_out", "left_out")


def check_recipe(recipe: Recipe) -> None:
    """Refuse a value that cannot be; see `Recipe`."""
    _check(recipe, _RECIPE)
    for key in _WORDS:
        if not _SHARE[0](value := getattr(recipe.words, key)):
            raise ModelError(f"words: {key} is {value!r}; expected {_SHARE[1]}")
    if bool(recipe.source) == bool(recipe.sources):
        given = "both" if recipe.source else "neither"
        raise ModelError(f"{given} of `source` and `sources` given; expected one of them, such as `source: camvid`")
    if not recipe.steps and not recipe.start:
        raise ModelError("steps is 0; expected at least 1, or a `start` whose weights are taken as they are")
    names = [spec.name for spec in recipe.sources]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ModelError(f"two sources are called {twice!r}; give each a `name` of its own")


def check_source(spec: SourceSpec) -> None:
    """Refuse a value that cannot be; see `SourceSpec`."""
    _check(spec, _SOURCE)


def _check(spec: object, checks: dict[str, tuple[Check, str]]) -> None:
    for key, (good, expected) in checks.items():
        value = getattr(spec, key)
        if not good(value):
            raise ModelError(f"{key} is {value!r}; expected {expected}")
