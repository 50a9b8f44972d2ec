"""The services `/set_vocabulary` and `/get_vocabulary`, words set as a parameter, and synonyms for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ovseg_ros import ros
from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.parameters import Settings
from ovseg_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovseg_ros.lexicon import Lexicon
    from ovseg_ros.segmenter import Segmenter

LOAD_PATIENCE = 30.0  # seconds that a service call waits for the model


class VocabularyServices:
    """Puts words in force and says which are.

    Args:
        node: the node that gets the services.
        settings: the settings in force.
        segmenter: the segmenter, once it is loaded; waits for it up to so many seconds, then gives None.
        show: lets the parameter `vocabulary` show the words in force.
        changed: called after a change.
    """

    def __init__(
        self,
        node: ros.Node,
        settings: Callable[[], Settings],
        segmenter: Callable[[float], Segmenter | None],
        show: Callable[[Sequence[str]], None],
        changed: Callable[[], None],
    ) -> None:
        self._node, self._settings, self._segmenter = node, settings, segmenter
        self._show, self._changed = show, changed
        self._lexicon: Lexicon | None = None
        node.create_service(ros.SetVocabulary, "set_vocabulary", self._on_set)
        node.create_service(ros.GetVocabulary, "get_vocabulary", self._on_get)

    def open_lexicon(self) -> None:
        """Load WordNet where the parameter `synonyms` asks for it: here, so that no later change of words waits for it.

        Raises:
            LexiconError: there is no WordNet.
        """
        if self._settings().synonyms == "wordnet":
            from ovseg_ros.lexicon import Lexicon  # here, as most nodes never need it

            lexicon = Lexicon.open()
            lexicon.preload()
            self._lexicon = lexicon

    def add_synonyms(self, segmenter: Segmenter) -> None:
        """Give the words in force synonyms, where the parameter asks for them.

        Raises:
            OvsegError: the words with their synonyms can't be used.
        """
        if (vocabulary := self._with_synonyms(segmenter.vocabulary)) != segmenter.vocabulary:
            segmenter.set_vocabulary(vocabulary)

    def use_words(self, words: Sequence[str]) -> None:
        """Put words in force that came as the parameter `vocabulary`.

        Raises:
            OvsegError: they can't be used; the old ones stay.
        """
        if tuple(words) != self._loaded_segmenter().vocabulary.entries:
            self._use(Vocabulary.parse(list(words)))

    def _use(self, vocabulary: Vocabulary) -> Vocabulary:
        """Put words in force, between two frames."""
        segmenter = self._loaded_segmenter()
        try:
            vocabulary = segmenter.set_vocabulary(self._with_synonyms(vocabulary))
        except OvsegError:
            raise
        except Exception as error:  # a callback that raises would end the node
            raise OvsegError(f"the words can't be used: {type(error).__name__}: {error}") from error
        self._changed()
        self._node.get_logger().info(f"vocabulary {vocabulary.version}: {len(vocabulary)} classes")
        return vocabulary

    def _with_synonyms(self, vocabulary: Vocabulary) -> Vocabulary:
        if self._lexicon is None:
            return vocabulary
        from ovseg_ros.lexicon import diversify

        return diversify(vocabulary, self._lexicon)

    def _loaded_segmenter(self) -> Segmenter:
        if (segmenter := self._segmenter(LOAD_PATIENCE)) is None:
            raise OvsegError(f"the model {self._settings().model} is not loaded yet; try again in a moment")
        return segmenter

    def _on_set(self, request: Any, response: Any) -> Any:
        try:
            vocabulary = Vocabulary.parse(
                list(request.classes),
                templates=list(request.templates) or None,
                thresholds=[float(level) for level in request.thresholds] or None,
                background=request.background or None,
            )
            vocabulary = self._use(vocabulary)
            self._show(vocabulary.entries)
            response.success, response.message = True, f"{len(vocabulary)} classes in force"
        except OvsegError as error:
            response.success, response.message = False, str(error)
            self._node.get_logger().warning(f"set_vocabulary refused: {error}")
        if (segmenter := self._segmenter(0.0)) is not None:
            response.classes = list(segmenter.vocabulary.entries)
            response.version = segmenter.vocabulary.version
        return response

    def _on_get(self, _: Any, response: Any) -> Any:
        response.model = self._settings().model
        try:
            vocabulary = self._loaded_segmenter().vocabulary
        except OvsegError:
            return response  # no words yet
        response.classes, response.templates = list(vocabulary.entries), list(vocabulary.templates)
        response.thresholds = [float("nan") if level is None else level for level in vocabulary.thresholds]
        if vocabulary.background is not None:
            response.background = vocabulary.names[vocabulary.background]
        response.version = vocabulary.version
        return response
