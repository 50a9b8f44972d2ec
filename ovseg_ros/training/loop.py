"""The training loop, on Lightning Fabric: one device or many, resumable to the bit, with a log of what it learns."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ovseg_ros.errors import ModelError
from ovseg_ros.training.batches import parts_of
from ovseg_ros.training.checkpoint import FILE, read_checkpoint, write_checkpoint
from ovseg_ros.training.log import Clock, Log
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.optim import Average, make_optimizer, rate_factor
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.task import Sealed, Task


class Trainer:
    """One run of a recipe in a folder.

    Nothing that a step does depends on the past but through weights, optimiser and average: its batch and its random
    numbers (dropout and the like) are functions of seed, step and place in the batch. A checkpoint therefore needs no
    random states, and a run may be continued on another number of devices.

    Args:
        recipe: what to do.
        mix: the training images.
        task: the network and its loss, its weights as they are to start.
        folder: checkpoint and log go here; a checkpoint found here is continued.
        fabric: the devices (`engine.make_fabric`); this process's CPU in float32 where None.

    Raises:
        ModelError: when the folder holds a checkpoint of another recipe, or the run to start from is not there.
    """

    def __init__(self, recipe: Recipe, mix: Mix, task: Task[Any], folder: Path, fabric: Any = None) -> None:
        if fabric is None:
            from lightning_fabric import Fabric

            fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
        self.recipe, self.task, self.folder, self.fabric = recipe, task, folder, fabric
        self.net, self.step = task.net, 0
        self.parts = fabric.world_size * recipe.accumulate
        self.average = Average(self.net, recipe.ema)
        start = None if self.checkpoint.exists() or not recipe.start else folder.parent / recipe.start / FILE
        if start is not None:
            self._start_from(start)
        self._model, self.optimizer = fabric.setup(task, make_optimizer(self.net, recipe))
        self.average.net.to(fabric.device)
        if self.checkpoint.exists():
            self._restore()
        self._mix = mix
        self.clock = Clock()
        fabric.barrier()
        folder.mkdir(parents=True, exist_ok=True)
        self.log = Log(folder, self.step) if fabric.is_global_zero else None

    @property
    def checkpoint(self) -> Path:
        """Where the state of the run lies."""
        return self.folder / FILE

    def run(self, *, save_every: int | None = None, workers: int = 1, quiet: bool = False) -> Iterator[int]:
        """Train to the end.

        Args:
            save_every: steps between checkpoints; the recipe's where None.
            workers: processes that prepare batches; 0 prepares them here.
            quiet: no progress bar.

        Yields:
            The number of steps done, each time a checkpoint has been written, for pictures.

        Raises:
            ModelError: when the loss is no finite number; the last checkpoint is one from before.
        """
        if self.step >= self.recipe.steps:
            if not self.checkpoint.exists():  # a recipe of no steps: what it starts from, with other choices
                self.task.batches(self._mix, self.parts)  # what is remembered of the mix is part of the checkpoint
                self.save()
            return
        every = save_every or self.recipe.save_every
        bar = tqdm(
            total=self.recipe.steps,
            initial=self.step,
            unit="step",
            disable=quiet or not self.fabric.is_global_zero,
            mininterval=2,
        )
        try:
            yield from self._steps(self._timed(iter(self._loader(workers))), every, bar)
        finally:
            bar.close()
            if self.log is not None:
                self.log.close()

    def _steps(self, batches: Iterator[Any], every: int, bar: Any) -> Iterator[int]:
        """`run`, interval by interval."""
        while self.step < self.recipe.steps:
            since, sums = self.step, dict[str, Tensor]()
            while self.step == since or (self.step % every and self.step < self.recipe.steps):
                for key, value in self._train_step(batches).items():
                    sums[key] = sums[key] + value if key in sums else value
                self.step += 1
                bar.update()
            self.clock.stop()
            values = self._end_interval({key: value / (self.step - since) for key, value in sums.items()})
            bar.set_postfix({key: f"{value:.3g}" for key, value in values.items()})
            yield self.step
            self.clock.start()

    def _loader(self, workers: int) -> Any:
        """This process's parts of the steps still to do, in their order."""
        steps = range(self.step, self.recipe.steps)
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        loader: DataLoader[Any] = DataLoader(
            self.task.batches(self._mix, self.parts),
            batch_size=None,
            sampler=[part for step in steps for part in parts_of(step, self.parts, rank, processes)],
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=self.fabric.device.type == "cuda",
        )
        return self.fabric.setup_dataloaders(loader, use_distributed_sampler=False)

    def _timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches, each fetched when the one before is used up, and the waiting for them timed."""
        batch = next(batches)
        self.clock.start()
        while batch is not None:
            yield batch
            begun = time.perf_counter()
            batch = next(batches, None)
            self.clock.waited += time.perf_counter() - begun

    def _train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """One step of the optimiser; the loss and the task's scalars, averaged over this process's parts."""
        recipe, passes = self.recipe, self.recipe.accumulate
        factor = rate_factor(recipe, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self._model.train()
        logged: dict[str, Tensor] = {}
        own = parts_of(self.step, self.parts, self.fabric.global_rank, self.fabric.world_size)
        for number, part in enumerate(own, start=1):
            batch = Sealed(next(batches))  # first: where the loader opens here, it takes a random number
            torch.manual_seed((recipe.seed << 40) + part)
            with self.fabric.no_backward_sync(self._model, enabled=number < passes):
                loss, values = self._model(batch)
                self.fabric.backward(loss / passes)
            for key, value in {"loss": loss, **values}.items():
                logged[key] = logged.get(key, 0.0) + value.detach() / passes
        if recipe.clip:  # not finite: float16's scaler skips the step; otherwise the loss tells at the interval's end
            self.fabric.clip_gradients(self._model, self.optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.net, self.step)
        return logged

    def _end_interval(self, means: dict[str, Tensor]) -> dict[str, float]:
        """Save and log; what was logged."""
        values = {key: float(self.fabric.all_reduce(value, reduce_op="mean")) for key, value in means.items()}
        if not math.isfinite(values["loss"]):
            raise ModelError(
                f"the loss is {values['loss']} before step {self.step}; lower learning_rate or clip, or use "
                f"--precision 32-true. {self.checkpoint} holds the state from before, if any was saved"
            )
        self.save()
        values |= {"learning_rate": self.optimizer.param_groups[0]["lr"], "wait": self.clock.share}
        if self.log is not None:
            self.log.row(self.step, values)
        return values

    def save(self) -> None:
        """Write the whole state atomically; the first process does, the others wait for it."""
        if self.fabric.is_global_zero:
            state = {
                "recipe": self.recipe.plain(),
                "config": self.task.config(),
                "step": self.step,
                "net": self.net.state_dict(),
                "average": self.average.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
            }
            write_checkpoint(self.checkpoint, state)
        self.fabric.barrier()

    def _restore(self) -> None:
        state = read_checkpoint(self.checkpoint)
        recipe = state.get("recipe")
        if isinstance(recipe, str):  # of 0.1.0
            changed = [] if recipe.startswith(f"Recipe(name={self.recipe.name!r},") else ["name"]
        else:
            changed = self.recipe.differences(recipe or {})
        if changed:
            raise ModelError(
                f"{self.checkpoint} belongs to another recipe (which differs in {', '.join(changed)}); continue with "
                "the same one, or give another --out"
            )
        load_weights(self.net, state["net"], self.checkpoint)
        load_weights(self.average.net, state["average"], self.checkpoint)
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", self.recipe.learning_rate)
        self.fabric.strategy.precision.load_state_dict(state.get("precision", {}))
        self.step = state["step"]

    def _start_from(self, checkpoint: Path) -> None:
        """Take the averaged weights of another run."""
        if not checkpoint.exists():
            raise ModelError(
                f"{self.recipe.name} continues from {self.recipe.start}, and {checkpoint} is not there; "
                f"run `ovseg train {self.recipe.start}` first"
            )
        average = read_checkpoint(checkpoint)["average"]
        load_weights(self.net, average, checkpoint)
        load_weights(self.average.net, average, checkpoint)


def load_weights(net: torch.nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Put a checkpoint's weights into a network.

    Raises:
        ModelError: when they are those of another network.
    """
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:300]
        raise ModelError(
            f"the weights in {path} are of another network ({problem}); check the recipe's model"
        ) from error
