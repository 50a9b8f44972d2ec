"""Find the files that ship with the package: weights, configuration, vocabularies, interface definitions."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent  # resolved, so that a symlink install finds the source tree


def find(name: str) -> Path:
    """Path of a shipped file or folder such as `weights/mini` or `config/segment.yaml`.

    The source tree comes first, so that an edit counts at once in editable and symlink installs; then
    `share/ovseg_ros` under each folder above the installed package (pip and colcon both put it there).

    Raises:
        FileNotFoundError: names the resource and where it was looked for.
    """
    for root in roots():
        path = root / name
        if path.exists():
            return path
    looked = ", ".join(str(root) for root in roots()) or "no folder"
    raise FileNotFoundError(f"{name} is not in {looked}; is ovseg_ros installed completely?")


def roots() -> list[Path]:
    """Folders that may hold the resources, the best first."""
    source = [_PACKAGE.parent] if (_PACKAGE.parent / "package.xml").is_file() else []
    shares = [parent / "share" / "ovseg_ros" for parent in _PACKAGE.parents]
    return source + [share for share in shares if share.is_dir()]


def shipped_recipes() -> list[str]:
    """Names of the training recipes that come with the package, sorted."""
    return sorted(path.stem for path in (_PACKAGE / "training" / "recipes").glob("*.yaml"))
