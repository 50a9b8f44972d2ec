"""What a run has learned so far, as a picture: image, truth and masks side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from ovseg_ros.models.onepass import OnePass
from ovseg_ros.palette import overlay
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.text import StaticTextEncoder, text_table
from ovseg_ros.training.loop import Trainer
from ovseg_ros.training.sources import Source
from ovseg_ros.vocabulary import Vocabulary


@torch.no_grad()
def draw_progress(trainer: Trainer, source: Source, encoder: StaticTextEncoder, path: Path, count: int = 4) -> None:
    """Write a PNG with `count` rows: image, truth, labels of the averaged network."""
    vocabulary = Vocabulary.parse(list(source.kinds))
    text = torch.from_numpy(text_table(vocabulary, encoder))
    ids = {kind: i for i, kind in enumerate(source.kinds)}
    model = OnePass(trainer.average, trainer.recipe.deploy_size)
    rows = []
    for index in np.linspace(0, len(source) - 1, count).astype(int):
        picture = source.load(int(index))
        labels, confidence = model(torch.from_numpy(picture.rgb)[None], text)
        table = np.full(256, 255, np.uint8)
        for i, region in enumerate(picture.regions):
            table[i] = ids[region.kind]
        truth = Segmentation(table[picture.ids], np.full(picture.ids.shape, 255, np.uint8), vocabulary)
        guess = Segmentation(labels[0].numpy().astype(np.uint8), confidence[0].numpy(), vocabulary)
        rows.append(np.hstack([picture.rgb, overlay(picture.rgb, truth, 0.6), overlay(picture.rgb, guess, 0.6)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
