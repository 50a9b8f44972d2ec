"""The devices that a run uses, through Lightning Fabric: one CPU or GPU, or many on one or several machines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from ovseg_ros.errors import ModelError
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.task import has_unused

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Devices:
    """What to train on; the options of `ovseg train` of the same names."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"


def make_fabric(where: Devices, recipe: Recipe) -> Any:
    """A Lightning Fabric, its processes started: with several devices, this program runs once for each from here on.

    Raises:
        ModelError: for devices that are not there, or a batch that they cannot share equally.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ModelError(f"training needs {error.name}; pip install 'ovseg_ros[train]'") from error
    processes = where.devices * where.nodes
    if min(where.devices, where.nodes) < 1:
        raise ModelError(f"--devices {where.devices} --nodes {where.nodes}; expected at least 1 of each")
    parts = processes * recipe.accumulate
    if recipe.batch % parts:
        raise ModelError(
            f"a batch of {recipe.batch} cannot be shared equally by {processes} devices in {recipe.accumulate} passes "
            f"each; choose a batch that is a multiple of {parts}"
        )
    accelerator = _accelerator(where.accelerator)
    if accelerator == "cuda" and torch.cuda.device_count() < where.devices:
        raise ModelError(f"--devices {where.devices}, but there are {torch.cuda.device_count()} CUDA devices here")
    strategy = "auto"
    if processes > 1:
        strategy = "ddp_find_unused_parameters_true" if has_unused(recipe) else "ddp"
    fabric = Fabric(
        accelerator=accelerator,
        devices=where.devices,
        num_nodes=where.nodes,
        precision=_precision(where.precision, accelerator),  # type: ignore[arg-type]
        strategy=strategy,
    )
    fabric.launch()
    return fabric


def default_workers(accelerator: str, devices: int) -> int:
    """Processes that prepare batches for each device: as many as keep it busy and leave a CPU to the training.

    On a CPU one is enough, since a training step takes several times as long as preparing its batch.
    """
    if accelerator == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(15, cores // devices - 1))


def _accelerator(wanted: str) -> str:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if wanted not in there:
        raise ModelError(f"--accelerator {wanted}; expected one of {', '.join(ACCELERATORS)}")
    if not there[wanted]:
        raise ModelError(f"--accelerator {wanted}: torch finds no such device; expected cpu, or a torch built for it")
    return wanted


def _precision(wanted: str, accelerator: str) -> str:
    """`auto` is bfloat16 with float32 weights where the device multiplies it faster than float32."""
    if wanted not in PRECISIONS:
        raise ModelError(f"--precision {wanted}; expected one of {', '.join(PRECISIONS)}")
    if wanted != "auto":
        return wanted
    fast = accelerator == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast else "32-true"
