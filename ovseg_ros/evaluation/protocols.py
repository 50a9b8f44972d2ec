"""Evaluation protocols as data: how an image is brought to a network, and how its answers become labels.

The same network differs by several mIoU points between protocols, so a number says which one it was taken with. The
published ones need class scores: probabilities or logits are averaged over windows, or resized to the size of the
labels, before the arg-max. A compiled engine gives labels alone; which protocols it can serve, and how that differs,
is `engine_way`'s answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.metrics import Over

Size = tuple[int, int]  # height, width
Image = NDArray[np.uint8]


class ProtocolError(OvsegError):
    """A protocol that is unknown, or that a model cannot serve."""


@dataclass(frozen=True)
class Resize:
    """How the 8-bit image is resized first, its aspect kept.

    Attributes:
        short, longest: the short side becomes `short` pixels, unless the long side would pass `longest`.
        way: "pillow" (detectron2: bilinear with antialias) or "opencv" (mmcv: bilinear without).
    """

    short: int
    longest: int
    way: Literal["pillow", "opencv"]

    def size(self, height: int, width: int) -> Size:
        """What an image of this size becomes."""
        if self.way == "opencv":  # mmcv rounds once
            factor = min(self.short / min(height, width), self.longest / max(height, width))
            return int(height * factor + 0.5), int(width * factor + 0.5)
        factor = self.short / min(height, width)
        h, w = (self.short, factor * width) if height < width else (factor * height, self.short)
        if max(h, w) > self.longest:
            factor = self.longest / max(h, w)
            h, w = h * factor, w * factor
        return int(h + 0.5), int(w + 0.5)

    def __call__(self, rgb: Image) -> Image:
        """(H, W, 3) uint8 RGB -> the same, resized."""
        height, width = self.size(rgb.shape[0], rgb.shape[1])
        if (height, width) == rgb.shape[:2]:
            return rgb
        if self.way == "opencv":
            return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        try:
            from PIL import Image as Pillow
        except ImportError as error:
            raise ProtocolError("this protocol resizes as Pillow does, which is missing; pip install pillow") from error
        picture = Pillow.fromarray(np.ascontiguousarray(rgb))
        return np.asarray(picture.resize((width, height), Pillow.Resampling.BILINEAR), np.uint8)


@dataclass(frozen=True)
class Windows:
    """Overlapping square windows; the last of a row or column is moved back into the image."""

    side: int
    step: int

    def starts(self, length: int) -> list[int]:
        """First pixels of the windows along an axis of some length."""
        count = math.ceil(max(length - self.side, 0) / self.step) + 1
        return [max(0, min(i * self.step, length - self.side)) for i in range(count)]


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate.

    Attributes:
        name: what it is called by.
        summary: for reports.
        resize: of the 8-bit image; None feeds it as it is, and the deployed graph resizes it.
        square: side that the image is then brought to, bilinear in floating point and without its aspect; None keeps.
        windows: cut from that; None feeds the whole.
        whole: side of a square view of the whole image that weighs as much as all windows together; None for none.
        average: what is averaged over windows and resized to the labels' size: "scores" as the network gives them
            (logits, or the mass of mask networks), or "probabilities" (sigmoid or softmax of logits).
        words_apart: every synonym is a class of the softmax, and the best one speaks for its class at the end;
            otherwise the network takes the best synonym by itself.
        multiple: the sides of the network's input are padded to multiples of it with the mean colour, cut off later.
        prompts: the published prompt set; None leaves it to the text encoder.
        names: the variants of class lists that go with it, the first that there is; then "canonical".
        background_threshold: confidence under which a pixel counts as background, on data sets that evaluate one.
        over: which classes the mean IoU counts; see `metrics.Confusion.miou`.
    """

    name: str
    summary: str
    resize: Resize | None = None
    square: int | None = None
    windows: Windows | None = None
    whole: int | None = None
    average: Literal["scores", "probabilities"] = "scores"
    words_apart: bool = False
    multiple: int = 32
    prompts: str | None = None
    names: tuple[str, ...] = ()
    background_threshold: float = 0.0
    over: Over = "truth"

    @property
    def is_native(self) -> bool:
        """Whether images go as they are into the deployed graph, which does everything."""
        return self.resize is None


def _mmseg(short: int) -> Protocol:
    return Protocol(
        f"mmseg{short}",
        f"short side {short} (at most 2048), windows of 224 every 112, logits averaged and resized to the labels",
        resize=Resize(short, 2048, "opencv"),
        windows=Windows(224, 112),
        words_apart=True,
        multiple=1,
        prompts="P80",
        names=("training-free",),
        background_threshold=0.1,  # SCLIP's and NACLIP's; a softmax of 40 times the cosine
        over="union",
    )


def _single(short: int, prompts: str | None) -> Protocol:
    longest = 4 * short
    return Protocol(
        f"single{short}",
        f"short side {short} (at most {longest}), whole image, class maps resized to the labels",
        resize=Resize(short, longest, "pillow"),
        prompts=prompts,
    )


NATIVE = Protocol("native", "whole image, resized inside the graph")
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        NATIVE,
        _single(640, "P14"),  # SAN, EBSeg
        _single(512, None),  # DeOP, GKC; DeOP learns its prompt
        Protocol(  # CAT-Seg with its sliding window, ESC-Net
            "catseg",
            "640x640, four windows of 384 and the whole at 384, probabilities averaged and resized to the labels",
            resize=Resize(640, 2560, "pillow"),
            square=640,
            windows=Windows(384, 256),
            whole=384,
            average="probabilities",
            multiple=1,
            prompts="P1",
            names=("catseg",),
        ),
        _mmseg(336),  # the training-free methods
        _mmseg(560),  # the same for Cityscapes
    )
}


def find_protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        ProtocolError: for an unknown one.
    """
    if name not in PROTOCOLS:
        raise ProtocolError(f"there is no protocol {name[:40]!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def engine_way(protocol: Protocol, size: Size) -> str:
    """How an engine, which gives labels and no scores, serves a protocol: a sentence for the report.

    An engine takes the arg-max at its own size and repeats labels up to the image's. For `native` that is the
    protocol. A protocol of one window it serves where it was exported at the very size that the image is resized to
    (`check_engine_size`). Windows it cannot serve: averaging needs scores.

    Args:
        protocol: the protocol.
        size: (height, width) that the graph works at.

    Raises:
        ProtocolError: when only a network with scores can serve it.
    """
    graph = f"{size[0]}x{size[1]}"
    if protocol.is_native:
        return f"native: whole image, resized to {graph} inside the graph"
    if protocol.windows or protocol.square or protocol.average == "probabilities":
        raise ProtocolError(
            f"the protocol {protocol.name} averages scores over windows, and an engine gives labels alone; "
            "evaluate the torch network with --network, or take --protocol native"
        )
    return (
        f"{protocol.name} on an engine of {graph}: {protocol.summary.partition(',')[0]}, whole image, arg-max at "
        "that size and labels, not class maps, resized to the image (nearest)"
    )


def check_engine_size(protocol: Protocol, size: Size, image: Size) -> None:
    """Refuse an image that an engine of some size would distort.

    Raises:
        ProtocolError: when the protocol resizes the image to another size than the graph's.
    """
    if protocol.resize is None:
        return
    wanted = protocol.resize.size(*image)
    if wanted != size:
        raise ProtocolError(
            f"{protocol.name} resizes an image of {image[0]}x{image[1]} to {wanted[0]}x{wanted[1]}, and this engine "
            f"works at {size[0]}x{size[1]}; export it at that size, evaluate the torch network with --network, or "
            "take --protocol native"
        )
