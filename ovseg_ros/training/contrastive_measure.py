"""What a mini CLIP knows of scenes it never saw: its regions by name, and its dense features under two methods.

`python -m ovseg_ros.training.contrastive_measure FOLDER` measures a finished one, as its card does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovseg_ros.evaluation.datasets import Dataset
from ovseg_ros.evaluation.evaluate import evaluate
from ovseg_ros.evaluation.protocols import NATIVE
from ovseg_ros.evaluation.simulator import SimulatorDataset, held_out_vocabulary
from ovseg_ros.evaluation.subjects import NetworkSubject
from ovseg_ros.models.attention import Identity
from ovseg_ros.models.clip import BlockRule, VisionTransformer, to_map
from ovseg_ros.models.clip_mini import as_segmenter, load_mini_clip, pool, text_identity
from ovseg_ros.resources import find
from ovseg_ros.text import StaticTextEncoder, TextEncoder, text_table
from ovseg_ros.training.regions import connected, cut, greyed, window_around
from ovseg_ros.vocabulary import Vocabulary

SCENES, FRAMES = 20, 2  # evaluation scenes, and frames of each
SIZE = (360, 480)  # of the frames, as the training renders are
LEAST = 150  # pixels of a region that is asked about
MARGIN = 0.2  # around its box, as a share of the longer side
METHODS = ("naclip", "clearclip")
SCALE = 40.0  # from cosines to logits where the temperature is not known; no score depends on it, only confidence
VALUES = BlockRule(Identity(), residual=0, ffn=False)
LOOKS = ("crops", "crops on grey", "dense features")


@dataclass(frozen=True)
class RegionScore:
    """Zero-shot classification of regions.

    Attributes:
        accuracy: share of the regions whose nearest word is right.
        balanced: the mean of that over the kinds that occur.
        regions: how many were asked about.
    """

    accuracy: float
    balanced: float
    regions: int


def measure(
    trunk: VisionTransformer,
    encoder: TextEncoder,
    size: tuple[int, int],
    scale: float = SCALE,
    *,
    scenes: int = SCENES,
    frames: int = FRAMES,
) -> dict[str, float]:
    """Scores on frames of evaluation scenes, by title.

    Args:
        trunk: in evaluation mode for the call.
        encoder: of its text space.
        size: (height, width) that the dense features are computed at.
        scale: from cosines to logits.
        scenes, frames: how many scenes, and frames of each.
    """
    data = SimulatorDataset(scenes, frames, height=SIZE[0], width=SIZE[1])
    words = {"": Vocabulary.parse(data.classes), ", held-out synonyms": held_out_vocabulary()}
    try:
        scores = {}
        for (look, title), score in classify(trunk, data, encoder, words).items():
            scores[f"accuracy on regions of unseen scenes, {look}{title}"] = score.accuracy
            scores[f"mean accuracy over kinds, {look}{title}"] = score.balanced
        for method in METHODS:
            net = as_segmenter(trunk, method, size, scale)
            subject = NetworkSubject(net, encoder, NATIVE, model="clip-mini", size=size)
            scores[f"mIoU of {method}"] = evaluate(subject, data, "simulator", quiet=True).miou
    finally:
        data.close()
    return scores


@torch.inference_mode()
def classify(
    trunk: VisionTransformer, data: Dataset, encoder: TextEncoder, words: dict[str, Vocabulary]
) -> dict[tuple[str, str], RegionScore]:
    """Which word is nearest to every connected region: by its crop, by its crop on grey, by its own dense features.

    Args:
        trunk: in evaluation mode for the call, back as it was afterwards.
        data: images with labels.
        encoder: of the trunk's text space.
        words: vocabularies by title, each with one class for each of the data's.

    Returns:
        Scores by look (`LOOKS`) and title.
    """
    mode, device = trunk.training, trunk.proj.device
    trunk.eval()
    truth: list[int] = []
    rows: dict[str, list[Tensor]] = {look: [] for look in LOOKS}
    for index in range(len(data)):
        sample = data[index]
        found = list(things(sample.labels, len(data.classes)))
        if not found:
            continue
        truth += [label for label, _ in found]
        for look, embedded in zip(LOOKS, _embed(trunk, sample.rgb, [mask for _, mask in found]), strict=True):
            rows[look].append(embedded)
    trunk.train(mode)
    scores = {}
    for title, vocabulary in words.items():
        table = torch.from_numpy(text_table(vocabulary, encoder)).to(device)  # (K, S, D)
        for look, parts in rows.items():
            if parts:
                best = torch.einsum("nd,ksd->nks", torch.cat(parts), table).amax(dim=2).argmax(dim=1)
                scores[look, title] = _score(best.cpu().numpy(), np.array(truth))
    return scores


def things(labels: NDArray[np.integer], classes: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Every connected region of a labelled image (H, W) that is large enough: its label and mask (H, W)."""
    for label in np.unique(labels):
        if label < classes:
            for mask in connected(labels == label, LEAST):
                yield int(label), mask


def _embed(trunk: VisionTransformer, rgb: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> Iterator[Tensor]:
    """(n, D) embeddings of n regions of an image, one for each of `LOOKS`."""
    side, patch = trunk.config.image_size, trunk.config.patch
    crops, grey = [], []
    for mask in masks:
        crop, inside = cut(rgb, mask.astype(np.uint8), window_around(mask, MARGIN), side)
        crops.append(crop)
        grey.append(greyed(crop, inside == 1))
    for images in (crops, grey):
        yield trunk.image_features(_normalised(trunk, np.stack(images)))
    height, width = (length // patch * patch for length in rgb.shape[:2])
    x, grid = trunk.embed(_normalised(trunk, rgb[None, :height, :width]))
    yield _pooled(trunk, x, grid, np.stack(masks)[:, :height, :width])


def _pooled(trunk: VisionTransformer, x: Tensor, grid: tuple[int, int], masks: NDArray[np.bool_]) -> Tensor:
    """(n, D), the mean of the value-only features of the whole frame over each mask (n, H, W)."""
    from ovseg_ros.models.attention import Context

    last = trunk.config.layers - 1
    for index in range(last):
        x = trunk.step(index, x, Context(grid))
    features = to_map(trunk.project(trunk.step(last, x, Context(grid), VALUES)), grid)
    shares = F.avg_pool2d(torch.from_numpy(masks).float()[:, None], trunk.config.patch)[:, 0].to(x.device)
    return pool(features, shares, torch.zeros(len(masks), dtype=torch.int64, device=x.device))


def _normalised(trunk: VisionTransformer, rgb: NDArray[np.uint8]) -> Tensor:
    """(n, H, W, 3) uint8 -> (n, 3, H, W) float as the trunk wants it."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(trunk.proj.device).permute(0, 3, 1, 2).float() / 255
    mean, std = (pixels.new_tensor(v).reshape(3, 1, 1) for v in (trunk.config.mean, trunk.config.std))
    return (pixels - mean) / std


def _score(best: NDArray[np.int64], truth: NDArray[np.int64]) -> RegionScore:
    right = best == truth
    kinds = [float(right[truth == kind].mean()) for kind in np.unique(truth)]
    return RegionScore(float(right.mean()), float(np.mean(kinds)), len(truth))


def main() -> None:
    """Measure the mini CLIP in a folder and print its scores as JSON."""
    parser = argparse.ArgumentParser(prog="python -m ovseg_ros.training.contrastive_measure", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds trunk.safetensors")
    parser.add_argument("--text", type=Path, default=None, help="the text encoder's folder; default: the shipped one")
    parser.add_argument("--size", type=int, nargs=2, default=(288, 384), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--frames", type=int, default=FRAMES)
    options = parser.parse_args()
    encoder = StaticTextEncoder(options.text or find("weights/text"))
    if (wanted := text_identity(options.folder)) not in ("", encoder.identity):
        parser.error(f"{options.folder} was trained with the text encoder {wanted[:12]}; give its folder by --text")
    size = (options.size[0], options.size[1])
    trunk = load_mini_clip(options.folder)
    print(json.dumps(measure(trunk, encoder, size, scenes=options.scenes, frames=options.frames), indent=2))


if __name__ == "__main__":
    main()
