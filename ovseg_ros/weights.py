"""Models that are there: checkpoints in `weights/` and what `ovseg build` exported; and whether each is whole."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg_ros.engine import Graph, engine_root
from ovseg_ros.errors import ModelError
from ovseg_ros.hashing import file_hash
from ovseg_ros.resources import find
from ovseg_ros.text import TextEncoder
from ovseg_ros.vocabulary import MAX_CLASSES

GRAPH_FILE = "model.onnx"
GRAPH_FOLDER = "graph"  # of a model among its engines, made by `ovseg build`
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Weights:
    """One checkpoint's folder: `model.onnx`, `manifest.json` and a card, `README.md`.

    Attributes:
        name: the model's name.
        folder: where it lies.
        text_folder: its text encoder.
        text_identity: the identity that encoder must have.
        hash: SHA-256 of the graph with its weights.
        size: (height, width) the network works at.
        classes: vocabulary entries the model starts with.
        licence: of the weights.
        scores: what the card reports, by name.
        source: where the weights came from: "" for an embedded checkpoint, a tag, a file, or "random".
        max_classes: what engines of it hold.
    """

    name: str
    folder: Path
    text_folder: Path
    text_identity: str
    hash: str
    size: tuple[int, int]
    classes: tuple[str, ...]
    licence: str
    scores: dict[str, Any]
    source: str = ""
    max_classes: int = MAX_CLASSES

    def graph(self, encoder: TextEncoder) -> Graph:
        """What engines are built from.

        Raises:
            ModelError: when the graph is missing or damaged, or the text encoder is another one.
        """
        path = self.folder / GRAPH_FILE
        if not path.is_file():
            raise ModelError(f"the weights {path} are missing; restore them or run `ovseg train {self.name}`")
        if file_hash(path) != self.hash:
            raise ModelError(f"the weights {path} are truncated or changed; restore them from the release")
        if encoder.identity != self.text_identity:
            raise ModelError(f"{self.name} was trained with another text encoder than the one in {self.text_folder}")
        return Graph(
            self.name,
            path,
            self.hash,
            encoder.identity,
            encoder.width,
            self.size,
            self.licence,
            max_classes=self.max_classes,
        )


def known_models() -> list[str]:
    """Names of the embedded checkpoints and of the models built here, each in alphabetical order."""
    built = engine_root().glob(f"*/{GRAPH_FOLDER}/{MANIFEST_FILE}")
    embedded = embedded_models()
    return embedded + sorted({path.parent.parent.name for path in built} - set(embedded))


def embedded_models() -> list[str]:
    """Names of the embedded checkpoints, in alphabetical order."""
    folder = find("weights")
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST_FILE}") if path.parent.name != "text")


def open_weights(model: str) -> Weights:
    """Find a model by name, or by the path of its folder.

    Raises:
        ModelError: for an unknown name (the nearest is offered) or a damaged manifest.
    """
    folder = Path(model) if "/" in model else find("weights") / model
    if "/" not in model and not os.path.isfile(folder / MANIFEST_FILE):
        folder = engine_root() / model / GRAPH_FOLDER
    path = folder / MANIFEST_FILE
    if not os.path.isfile(path) or model == "text":  # false as well where the name is too long for a file
        names = known_models()
        near = difflib.get_close_matches(model, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        if "-vit-" in model or "-rn" in model or model.endswith(("-b", "-l")):
            hint = f"make it with `ovseg build {model[:100]}`"
        raise ModelError(f"there is no model {model[:100]!r}; {hint}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Weights(
            name=content["name"],
            folder=folder,
            text_folder=(folder / content["text_encoder"]).resolve(),
            text_identity=content["text_identity"],
            hash=content["weights_hash"],
            size=(content["size"][0], content["size"][1]),
            classes=tuple(content["classes"]),
            licence=content["licence"],
            scores=content.get("scores", {}),
            source=content.get("weights", ""),
            max_classes=content.get("max_classes", MAX_CLASSES),
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(f"the manifest {path} is damaged ({error}); restore it from the release") from error
