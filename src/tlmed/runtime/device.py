"""Device, precision and seeds: the only place that knows Lightning Fabric."""

from __future__ import annotations

import logging
import os
import shutil
import warnings

import torch
from lightning.fabric import Fabric

from tlmed.errors import InputError
from tlmed.recipe.protocol import RuntimeSettings
from tlmed.runtime.hardware import num_cores
from tlmed.runtime.store import content_key

_PRECISION = {"float32": "32-true", "bf16": "bf16-mixed"}


def launch(runtime: RuntimeSettings, *, devices: int = 1) -> Fabric:
    """Return a launched Fabric for a resolved runtime (no `auto` left).

    Args:
        devices: processes of the group; more than one only within `runtime.ranks.run_in_ranks`.

    Raises:
        InputError: `runtime.compile` on a machine that cannot.
    """
    for name in ("lightning.fabric", "lightning.pytorch"):  # they greet on every launch
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    if runtime.compile and runtime.device == "cpu" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        raise InputError("runtime.compile: no C++ compiler is on this machine; install one (g++), or leave it out.")
    _choose_algorithms(runtime)
    if devices > 1 and runtime.device == "cpu":
        torch.set_num_threads(max(1, num_cores() // devices))
    fabric = Fabric(
        accelerator="cpu" if runtime.device == "cpu" else "cuda",
        devices=devices,
        strategy="auto" if devices == 1 else "ddp",
        precision=_PRECISION[runtime.precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _choose_algorithms(runtime: RuntimeSettings) -> None:
    """On a GPU: the fastest convolutions by trial, or those that give equal bytes in every run."""
    if runtime.device != "cuda":
        return
    torch.backends.cudnn.benchmark = not runtime.deterministic
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS's condition for equal results
        torch.use_deterministic_algorithms(True)


def seed_step(*parts: int | str) -> None:
    """Seed torch from what identifies a step, so that a resumed run draws what the undisturbed one drew."""
    torch.manual_seed(int(content_key(list(parts))[:15], 16))
