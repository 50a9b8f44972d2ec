"""The errors that a user meets; the text of each is one sentence that names the value and the remedy."""

from __future__ import annotations


class OvsegError(Exception):
    """Base of every error that this project raises on purpose."""


class ImageError(OvsegError):
    """An image that cannot be used; `reason` is a short word to count it by."""

    def __init__(self, message: str, reason: str = "image") -> None:
        super().__init__(message)
        self.reason = reason


class VocabularyError(OvsegError):
    """Words, templates or thresholds that cannot form a vocabulary."""


class ModelError(OvsegError):
    """A model name or weights file that cannot be used."""


class EngineError(OvsegError):
    """An engine that cannot be built, loaded or run."""


class DatasetError(OvsegError):
    """A data set whose folder does not hold what its layout promises."""
