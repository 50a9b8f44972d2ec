"""Text encoders that run without torch, and the text tables made with them."""

from __future__ import annotations

from pathlib import Path

from ovseg_ros.errors import ModelError
from ovseg_ros.text.base import TextEncoder, read_manifest
from ovseg_ros.text.clip import ClipTextEncoder
from ovseg_ros.text.static import StaticTextEncoder
from ovseg_ros.text.table import text_table

__all__ = ["ClipTextEncoder", "StaticTextEncoder", "TextEncoder", "open_text_encoder", "text_table"]


def open_text_encoder(folder: str | Path, precision: str = "auto") -> TextEncoder:
    """Open a text encoder of whichever kind its manifest names.

    Args:
        folder: the encoder's.
        precision: of a CLIP tower, see `ClipTextEncoder`; a static encoder has no arithmetic to speak of.

    Raises:
        ModelError: when the folder holds no text encoder, a damaged one or one of an unknown kind.
    """
    folder = Path(folder)
    kind = read_manifest(folder).get("kind", "static")
    if kind == "static":
        return StaticTextEncoder(folder)
    if kind == "clip":
        return ClipTextEncoder(folder, precision)
    raise ModelError(f"the text encoder in {folder} is of the kind {kind!r}; known: static, clip")
