"""From the node's settings to a segmenter."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg_ros.resources import find
from ovseg_ros.ros.parameters import Settings
from ovseg_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovseg_ros.engine import Progress
    from ovseg_ros.segmenter import Segmenter


def load_segmenter(settings: Settings, progress: Progress | None = None) -> Segmenter:
    """The segmenter that the settings ask for; its engine is built on first use, which takes a while.

    Args:
        settings: which model, and where it runs.
        progress: told how the build goes on.

    Raises:
        OvsegError: the model, engine or vocabulary can't be used; the text says what to do.
    """
    from ovseg_ros.segmenter import Segmenter  # here, as importing the inference engine takes seconds

    return Segmenter.load(
        settings.model,
        first_words(settings),
        device=settings.device,
        precision=settings.precision,
        backend=settings.backend,
        threshold=settings.threshold,
        progress=progress,
    )


def first_words(settings: Settings) -> Vocabulary | None:
    """The vocabulary that the node starts with; None for the model's own.

    Raises:
        VocabularyError: the words or the file can't be used.
    """
    if settings.words:
        return Vocabulary.parse(settings.words)
    if not settings.vocabulary_file:
        return None
    path = Path(settings.vocabulary_file)
    if path.suffix == "" and not path.exists():  # the name of a file that ships, such as household
        with suppress(FileNotFoundError):  # the error about the path as given is the clearer one
            path = find(f"config/vocabularies/{path}.yaml")
    return Vocabulary.load(path)
