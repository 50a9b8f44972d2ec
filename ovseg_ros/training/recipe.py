"""A training run as data: one YAML file under `training/recipes/`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ovseg_ros.errors import ModelError
from ovseg_ros.training.words import WordMix


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, except where its data lie.

    Sizes are (height, width) in pixels. `zoom` is the range of crop pixels per image pixel.
    """

    name: str
    source: str  # camvid | simulator
    deploy_size: tuple[int, int]  # what the exported graph works at, multiples of 16
    crop: tuple[int, int] = (192, 256)
    zoom: tuple[float, float] = (0.6, 1.2)
    stretch: float = 0.15  # log-range of the aspect ratio
    focus: float = 0.0  # share of crops placed around a thing, rare kinds more often; the others lie anywhere
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.02  # of the full circle; more would blur the names of colours
    batch: int = 16
    steps: int = 2000
    warmup: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    balance: float = 0.5  # power of the loss weights against rare kinds
    alignment: float = 0.3  # weight of 1 - cosine to the right word
    dice: float = 0.0  # weight of the dice loss over the words that the batch shows
    ema: float = 0.997
    seed: int = 0
    start: str = ""  # the recipe whose finished run gives the first weights, in the folder beside this run's
    scenes: int = 0  # simulator: how many training scenes
    frames: int = 0  # simulator: frames of each
    words: WordMix = field(default_factory=WordMix)
    licence: str = "Apache-2.0"
    data_note: str = ""

    @classmethod
    def load(cls, name: str, **overrides: Any) -> Recipe:
        """A shipped recipe by name, or any YAML file by path; overrides that are None are left out.

        Raises:
            ModelError: for an unknown recipe or key.
        """
        path = Path(name) if name.endswith((".yaml", ".yml")) else None
        folder = files("ovseg_ros.training") / "recipes"
        if path is None:
            known = sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))
            if name not in known:
                raise ModelError(f"there is no recipe {name!r}; known: {', '.join(known)}, text, or a YAML file")
            text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        else:
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ModelError(f"cannot read the recipe {path}: {error}") from error
        try:
            content = yaml.safe_load(text)
            if not isinstance(content, dict):
                raise TypeError("it is no mapping")
            content = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
            content["words"] = WordMix(**content.get("words", {}))
            recipe = cls(**content)
        except (yaml.YAMLError, TypeError) as error:
            keys = ", ".join(f.name for f in fields(cls))
            problem = " ".join(str(error).split())
            raise ModelError(f"the recipe {name} cannot be read: {problem}; its keys are {keys}") from error
        return replace(recipe, **{k: v for k, v in overrides.items() if v is not None})
