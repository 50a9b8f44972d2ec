"""What a run has learned so far, as a picture: image, truth and masks side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.palette import overlay
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.text import StaticTextEncoder, text_table
from ovseg_ros.training.loop import Trainer
from ovseg_ros.training.mix import Mix
from ovseg_ros.vocabulary import Vocabulary


@torch.no_grad()
def draw_progress(trainer: Trainer, mix: Mix, encoder: StaticTextEncoder, path: Path, count: int = 4) -> None:
    """Write a PNG with `count` rows, each image, truth, and labels of the averaged network, and log it.

    The rows come from all sources, as evenly as may be; each is asked for its own source's kinds by name.
    """
    rows: list[NDArray[np.uint8]] = []
    sources = len(mix.ingredients)
    for number, one in enumerate(mix.ingredients):
        shown = count // sources + (number < count % sources)
        for index in np.linspace(0, len(one.source) - 1, shown).astype(int):
            row = _row(trainer, mix, encoder, number, int(index))
            if rows and row.shape != rows[0].shape:
                height, width, _ = rows[0].shape
                row = cv2.resize(row, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
            rows.append(row)
    drawn = np.vstack(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
    if trainer.log is not None:
        trainer.log.picture(trainer.step, drawn)


def _row(trainer: Trainer, mix: Mix, encoder: StaticTextEncoder, number: int, index: int) -> NDArray[np.uint8]:
    """(H, 3 W, 3) uint8: one picture, its truth, and what the network says."""
    picture = mix.load(number, index)
    words = [(kind, named) for kind, named in mix.kinds.items() if mix.knows(number, kind)]
    vocabulary = Vocabulary.parse([named[0] for _, named in words])
    ids = {kind: i for i, (kind, _) in enumerate(words)}
    device = trainer.fabric.device
    model = trainer.task.deployed(trainer.average.net, trainer.recipe.deploy_size).to(device).eval()
    text = torch.from_numpy(text_table(vocabulary, encoder)).to(device)
    labels, confidence = model(torch.from_numpy(picture.rgb)[None].to(device), text)
    table = np.full(256, np.iinfo(np.uint16).max, np.uint16)
    for i, region in enumerate(picture.regions):
        table[i] = ids[region.kind]
    truth = Segmentation(table[picture.ids], np.full(picture.ids.shape, 255, np.uint8), vocabulary)
    guess = Segmentation(labels[0].cpu().numpy().astype(np.uint16), confidence[0].cpu().numpy(), vocabulary)
    shown: NDArray[np.uint8] = np.hstack(
        [picture.rgb, overlay(picture.rgb, truth, 0.6), overlay(picture.rgb, guess, 0.6)]
    )
    return shown
