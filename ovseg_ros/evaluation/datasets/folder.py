"""One's own data: a folder of images, a folder of masks, and a file with the classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets.ids import RawIds
from ovseg_ros.evaluation.datasets.pairs import FolderDataset

FILES = ("classes.yaml", "classes.yml", "classes.txt")
NO_CLASS = ("unlabeled", "unlabelled", "void", "ignore", "ignored")  # names of what the truth says nothing of
REMEDY = "the folder needs images/, masks/ with a PNG of the same name each, and classes.txt or classes.yaml"
TOP = np.iinfo(np.uint16).max


def folder(root: str | Path, split: str | None = None) -> FolderDataset:
    """A plain folder: ROOT/images, ROOT/masks and ROOT/classes.yaml or .txt; with a split ROOT/SPLIT/images and so on.

    `classes.txt` holds a class a line, ids counted from 0. `classes.yaml` holds a list, or a mapping from the masks'
    ids to names, either on its own or under the key `classes`. A class is a name, or a name and synonyms parted by
    commas. Ids without a class, and classes called unlabeled, void or ignore, say nothing.

    Raises:
        DatasetError: naming the first file that was looked for and is not there, or what is wrong with the classes.
    """
    root = Path(root)
    base = root / split if split else root
    if not base.is_dir():
        raise DatasetError(f"there is no folder {base}; {REMEDY}")
    found = next((place / name for place in (base, root) for name in FILES if (place / name).is_file()), None)
    if found is None:
        raise DatasetError(f"there is no {root / FILES[0]} or {FILES[-1]}; {REMEDY}")
    classes = read_classes(found)
    return FolderDataset(base / "images", base / "masks", tuple(classes.values()), REMEDY, ids=RawIds.of(classes))


def read_classes(path: Path) -> dict[int, str]:
    """The class of each id in a file of classes; see `folder`.

    Raises:
        DatasetError: naming the file and what is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            content: object = text.strip().splitlines()
        else:
            content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = str(error).replace("\n", " ")
        raise DatasetError(f"cannot read the classes in {path}: {problem}") from error
    if isinstance(content, Mapping) and "classes" in content:
        content = content["classes"]
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or not content:
        raise DatasetError(f"{path} must hold a list of classes, or a mapping from the masks' ids to classes")
    classes: dict[int, str] = {}
    for raw, name in content.items():
        if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= TOP:
            raise DatasetError(f"{path} has the id {raw!r}; expected a whole number from 0 to {TOP}")
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(f"{path} has the class {name!r} for the id {raw}; expected a name")
        if name.strip().casefold() in NO_CLASS:
            continue
        if name.strip() in classes.values():
            raise DatasetError(f"{path} has the class {name.strip()!r} twice; each needs a name of its own")
        classes[raw] = name.strip()
    if not classes:
        raise DatasetError(f"{path} has no class besides {NO_CLASS[0]}; add the names of what the masks show")
    return classes
