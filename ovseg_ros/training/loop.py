"""The training loop: resumable to the bit, with a progress bar, a log and pictures of what is being learned."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from ovseg_ros.errors import ModelError
from ovseg_ros.models.pixeltext import PixelText, PixelTextConfig
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.batches import Batch, Batches
from ovseg_ros.training.losses import word_loss
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.sources import Source
from ovseg_ros.training.words import WordSampler, balanced_weights


class Trainer:
    """One run of a recipe in a folder.

    Args:
        recipe: what to do.
        source: the training images.
        encoder: the text encoder to align with.
        folder: checkpoint, log and pictures go here; a checkpoint found here is continued.
        config: the network's sizes; the embedded checkpoints' where None.

    Raises:
        ModelError: when the folder holds a checkpoint of another recipe, or the run to start from is not there.
    """

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        encoder: StaticTextEncoder,
        folder: Path,
        config: PixelTextConfig | None = None,
    ) -> None:
        self.recipe, self.folder = recipe, folder
        torch.manual_seed(recipe.seed)
        # channels last: the layout that convolutions on CPUs and tensor cores want
        self.net = PixelText(config or PixelTextConfig()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        decay = [p for p in self.net.parameters() if p.ndim > 1]
        rest = [p for p in self.net.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
        )
        weights = balanced_weights(source.pixel_counts(), recipe.balance)
        sampler = WordSampler(source.kinds, source.colours, weights, encoder, recipe.words)
        self.batches = Batches(source, sampler, recipe)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._restore()
        elif recipe.start:
            self._start_from(folder.parent / recipe.start / self.checkpoint.name)

    @property
    def checkpoint(self) -> Path:
        """Where the state of the run lies."""
        return self.folder / "checkpoint.pt"

    def run(self, *, save_every: int = 100, workers: int = 1, quiet: bool = False) -> Iterator[int]:
        """Train to the end; yields the step after every save, for pictures and scores.

        Yields:
            The number of steps done, each time a checkpoint has been written.
        """
        loader = DataLoader(
            self.batches,
            batch_size=None,
            sampler=range(self.step, self.recipe.steps),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
        bar = tqdm(loader, total=self.recipe.steps, initial=self.step, unit="step", disable=quiet, mininterval=2)
        for batch in bar:
            loss = self._train_step(batch)
            self.step += 1
            bar.set_postfix(loss=f"{loss:.3f}", scale=f"{float(self.net.scale().detach()):.1f}", refresh=False)
            if self.step % save_every == 0 or self.step == self.recipe.steps:
                self.save()
                self._log(loss)
                yield self.step

    def _train_step(self, batch: Batch) -> float:
        recipe, net = self.recipe, self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=_fast_bfloat16()):
            features = net(images)
        cosines = net.cosines(features.float(), batch.text)
        terms = (recipe.alignment, recipe.dice)
        loss = word_loss(cosines, net.other, net.scale(), batch.targets, batch.weights, *terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        self.optimizer.step()
        self._update_average()
        return float(loss.detach())

    def _learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to zero."""
        recipe = self.recipe
        if self.step < recipe.warmup:
            return recipe.learning_rate * (self.step + 1) / recipe.warmup
        progress = (self.step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential moving average of weights and batch-norm statistics, faster while the run is young."""
        keep = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)

    def save(self) -> None:
        """Write the whole state atomically."""
        state: dict[str, Any] = {
            "recipe": repr(self.recipe),
            "config": self.net.config,
            "step": self.step,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        scratch = self.checkpoint.with_suffix(".tmp")
        torch.save(state, scratch)
        os.replace(scratch, self.checkpoint)

    def _restore(self) -> None:
        state = _load(self.checkpoint)
        if state["recipe"] != repr(self.recipe):
            raise ModelError(
                f"{self.checkpoint} belongs to another recipe; continue with the same one, or give another --out"
            )
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _start_from(self, checkpoint: Path) -> None:
        """Take the averaged weights of another run."""
        if not checkpoint.exists():
            raise ModelError(
                f"{self.recipe.name} continues from {self.recipe.start}, and {checkpoint} is not there; "
                f"run `ovseg train {self.recipe.start}` first"
            )
        state = _load(checkpoint)
        self.net.load_state_dict(state["average"])
        self.average.load_state_dict(state["average"])

    def _log(self, loss: float) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step, "loss": round(loss, 5)}) + "\n")


def _load(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's state; a damaged file is a ModelError."""
    try:
        state: dict[str, Any] = torch.load(checkpoint, weights_only=False)
        return state
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise ModelError(f"{checkpoint} is damaged ({error}); delete it to start anew") from error


def _fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
