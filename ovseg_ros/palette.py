"""Stable colours for words, overlays and legends."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.segmentation import Segmentation

UNLABELLED_COLOUR = (0, 0, 0)


def colours(names: Sequence[str]) -> NDArray[np.uint8]:
    """Colours of words: the same word has the same colour in every image, vocabulary and process.

    A hash of the word gives its hue, saturation and value. Where two words of one vocabulary would look alike, the
    later one takes the next free hue of a golden-ratio walk.

    Returns:
        (K, 3) uint8 RGB.
    """
    chosen: list[tuple[int, int, int]] = []
    for name in names:
        digest = hashlib.sha256(name.encode()).digest()
        hue, shade = digest[0] / 256 + digest[1] / 65536, digest[2] % 3
        for _ in range(8):
            colour = _colour(hue, shade)
            if all(sum(abs(a - b) for a, b in zip(colour, other, strict=True)) > 60 for other in chosen[-64:]):
                break
            hue, shade = (hue + 0.618034) % 1, (shade + 1) % 3
        chosen.append(colour)
    return np.array(chosen, np.uint8).reshape(-1, 3)


def colour_mask(segmentation: Segmentation) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, black where unlabelled."""
    table = np.zeros((segmentation.unlabelled + 1, 3), np.uint8)
    table[: len(segmentation.vocabulary)] = colours(segmentation.vocabulary.names)
    if segmentation.labels.dtype == np.uint8:
        three = cv2.merge([segmentation.labels] * 3)
        return cv2.LUT(three, table[None]).astype(np.uint8, copy=False)
    mask: NDArray[np.uint8] = table[segmentation.labels]
    return mask


def overlay(
    rgb: NDArray[np.uint8], segmentation: Segmentation, alpha: float = 0.5, legend: bool = True
) -> NDArray[np.uint8]:
    """The image with its labels' colours laid over it; unlabelled pixels stay as they are.

    Args:
        rgb: (H, W, 3) uint8.
        segmentation: of the same size.
        alpha: weight of the colours, 0..1.
        legend: whether to list the largest classes in the top left corner.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    painted = cv2.addWeighted(rgb, 1 - alpha, colour_mask(segmentation), alpha, 0)
    bare = np.equal(segmentation.labels, segmentation.unlabelled).view(np.uint8)
    cv2.copyTo(rgb, bare, painted)
    result = painted.astype(np.uint8, copy=False)
    if legend:
        draw_legend(result, segmentation)
    return result


def draw_legend(image: NDArray[np.uint8], segmentation: Segmentation, limit: int = 12) -> None:
    """Write the largest classes with their colours into the image's top left corner, in place."""
    table = colours(segmentation.vocabulary.names)
    scale = max(image.shape[0] / 480, 0.5)
    line = round(16 * scale)
    for row, found in enumerate(segmentation.detected()[:limit]):
        y = 4 + row * line
        colour = tuple(int(v) for v in table[found.id])
        cv2.rectangle(image, (4, y), (4 + line - 4, y + line - 4), colour, cv2.FILLED)
        text = found.name if found.name.isascii() else ascii(found.name)
        place = (4 + line, y + line - 5)
        for shade, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(image, text[:28], place, cv2.FONT_HERSHEY_SIMPLEX, 0.42 * scale, shade, thickness, cv2.LINE_AA)


def _colour(hue: float, shade: int) -> tuple[int, int, int]:
    saturation, value = ((0.85, 0.95), (0.6, 1.0), (0.95, 0.65))[shade]
    r, g, b = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(r * 255), round(g * 255), round(b * 255)
