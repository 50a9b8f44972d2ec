"""The node's parameters: each has its default, its meaning and its limits here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from math import inf, isfinite
from typing import Any

from ovseg_ros import ros
from ovseg_ros.errors import OvsegError

NO_WORDS = ("",)  # rclpy can't tell the type of an empty array


class ParameterError(OvsegError):
    """A value that a parameter can't take; the text names both."""


def _setting(
    default: Any, meaning: str, *, low: float = -inf, high: float = inf, one_of: Sequence[str] = (), live: bool = False
) -> Any:
    return field(
        default=default, metadata={"meaning": meaning, "low": low, "high": high, "one_of": tuple(one_of), "live": live}
    )


@dataclass(frozen=True)
class Settings:
    """Values of all parameters; the ones that are not live are fixed when the node starts."""

    model: str = _setting("mini", "Name of the model (`ovseg models` lists them) or path of its folder.")
    device: str = _setting("cpu", "Where the engine runs: cpu, gpu (Intel) or cuda, cuda:1, ...")
    backend: str = _setting(
        "auto",
        "What runs the engine; auto goes by the device.",
        one_of=("auto", "openvino", "tensorrt", "tensorrt-rtx", "torch"),
    )
    precision: str = _setting(
        "auto",
        "Of the engine's arithmetic; auto is the fastest that the device has.",
        one_of=("auto", "fp32", "bf16", "fp16"),
    )
    vocabulary: tuple[str, ...] = _setting(
        NO_WORDS,
        "The classes, each a name and its synonyms such as 'person, human'; ['']: vocabulary_file, or the model's own.",
        live=True,
    )
    vocabulary_file: str = _setting(
        "", "YAML file of classes for the start, or the name of one that ships, such as household."
    )
    synonyms: str = _setting(
        "none",
        "Where classes that have no synonyms of their own get some: wordnet (Debian's package wordnet-base), or none.",
        one_of=("none", "wordnet"),
    )
    threshold: float = _setting(0.0, "Confidence under which a pixel stays unlabelled.", low=0.0, high=1.0, live=True)
    max_rate: float = _setting(
        0.0, "Most frames a second that are segmented; 0: as fast as they come.", low=0.0, high=1000.0, live=True
    )
    image_transport: str = _setting(
        "auto",
        "raw: topic image; compressed: topic image/compressed; auto: raw, or compressed where only that is published.",
        one_of=("auto", "raw", "compressed"),
    )
    image_reliability: str = _setting(
        "auto",
        "QoS of the image subscription; auto takes what the publishers offer.",
        one_of=("auto", "best_effort", "reliable"),
        live=True,
    )
    queue_depth: int = _setting(
        2, "QoS history depth of the image subscription; the newest frame wins in any case.", low=1, high=100
    )
    depth_tolerance: float = _setting(
        0.05, "Most seconds between the stamps of an image and the depth used for its points.", low=0.0, live=True
    )
    overlay_alpha: float = _setting(0.5, "How strongly colours cover the overlay.", low=0.0, high=1.0, live=True)
    min_region_area: float = _setting(
        0.001, "Share of the image under which a region makes no detection.", low=0.0, high=1.0, live=True
    )
    image_timeout: float = _setting(
        5.0, "Seconds without an image after which the node says why; 0: never.", low=0.0, live=True
    )
    diagnostics_period: float = _setting(
        1.0, "Seconds between messages on /diagnostics; 0: none.", low=0.0, high=3600.0
    )

    @property
    def words(self) -> tuple[str, ...]:
        """The entries of `vocabulary`, none where it is left at its default."""
        return () if self.vocabulary == NO_WORDS else self.vocabulary

    def changed(self, values: dict[str, Any]) -> Settings:
        """A copy with new values, checked.

        Raises:
            ParameterError: a value has the wrong type or lies outside its range.
        """
        known = {f.name: f for f in fields(self)}
        return replace(self, **{name: _checked(known[name], value) for name, value in values.items()})


class Parameters:
    """Declares the parameters on a node and keeps `settings` in agreement with them.

    Args:
        node: the node.
        words: called for new words set as the parameter `vocabulary`; an OvsegError that it raises rejects them and
            becomes the reason.
        applied: called with the new settings after a change.

    Raises:
        ParameterError: a value given at the start is not valid.
    """

    def __init__(
        self, node: ros.Node, words: Callable[[Sequence[str]], None], applied: Callable[[Settings], None]
    ) -> None:
        self._node, self._words, self._applied = node, words, applied
        values = {}
        for item in fields(Settings):
            default = list(item.default) if isinstance(item.default, tuple) else item.default
            try:
                values[item.name] = node.declare_parameter(item.name, default, _descriptor(item)).value
            except ros.ParameterException as error:
                raise ParameterError(f"parameter {item.name}: {error}") from error
        self.settings = Settings().changed(values)
        node.add_on_set_parameters_callback(self._on_set)

    def show_words(self, words: Sequence[str]) -> None:
        """Let the parameter `vocabulary` show words that are in force already."""
        self.settings = replace(self.settings, vocabulary=tuple(words))
        self._node.set_parameters([ros.Parameter("vocabulary", value=list(words))])

    def _on_set(self, parameters: Sequence[Any]) -> Any:
        known = {item.name for item in fields(Settings)}
        values = {parameter.name: parameter.value for parameter in parameters if parameter.name in known}
        try:
            settings = self.settings.changed(values)
            if settings.vocabulary != self.settings.vocabulary:
                self._words(settings.vocabulary)  # last, as it is the one that can fail from here on
        except OvsegError as error:
            return ros.SetParametersResult(successful=False, reason=str(error))
        if settings != self.settings:
            self.settings = settings
            self._applied(settings)
        return ros.SetParametersResult(successful=True)


def _checked(item: Any, value: Any) -> Any:
    name, default, limits = item.name, item.default, item.metadata
    if isinstance(default, tuple):
        if isinstance(value, str) or not all(isinstance(entry, str) for entry in value or [0]):
            raise ParameterError(f"parameter {name} must be a list of texts such as ['person, human'], not {value!r}")
        return tuple(value)
    if isinstance(default, str):
        if not isinstance(value, str) or (limits["one_of"] and value not in limits["one_of"]):
            kind = " or ".join(limits["one_of"]) or "a text"
            raise ParameterError(f"parameter {name} must be {kind}, not {value!r}")
        return value
    # `threshold:=1` is an integer to ROS, and as good a number
    number = isinstance(value, (int, float) if isinstance(default, float) else int) and not isinstance(value, bool)
    if not number or not isfinite(value) or not limits["low"] <= value <= limits["high"]:
        kind = "a number" if isinstance(default, float) else "a whole number"
        upper = (
            f"from {limits['low']:g} to {limits['high']:g}" if limits["high"] < inf else f"of {limits['low']:g} or more"
        )
        raise ParameterError(f"parameter {name} must be {kind} {upper}, not {value!r}")
    return type(default)(value)


def _descriptor(item: Any) -> Any:
    limits = item.metadata
    descriptor = ros.ParameterDescriptor(
        description=limits["meaning"],
        read_only=not limits["live"],
        additional_constraints=f"one of {', '.join(limits['one_of'])}" if limits["one_of"] else "",
        dynamic_typing=isinstance(item.default, float),  # so that whole numbers are taken too; _checked has the limits
    )
    if isinstance(item.default, float) and limits["high"] < inf:
        descriptor.floating_point_range = [
            ros.FloatingPointRange(from_value=limits["low"], to_value=limits["high"], step=0.0)
        ]
    elif isinstance(item.default, int) and limits["high"] < inf:
        descriptor.integer_range = [ros.IntegerRange(from_value=limits["low"], to_value=limits["high"], step=1)]
    return descriptor
