"""Device, precision and seeds: the only place that knows Lightning Fabric."""

from __future__ import annotations

import logging
import warnings

import torch
from lightning.fabric import Fabric

from tlmed.recipe.protocol import RuntimeSettings
from tlmed.runtime.store import content_key

_PRECISION = {"float32": "32-true", "bf16": "bf16-mixed"}


def launch(runtime: RuntimeSettings) -> Fabric:
    """Return a launched Fabric for a resolved runtime (no `auto` left)."""
    for name in ("lightning.fabric", "lightning.pytorch"):  # they greet on every launch
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    fabric = Fabric(
        accelerator="cpu" if runtime.device == "cpu" else "cuda",
        devices=1,
        precision=_PRECISION[runtime.precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def seed_step(*parts: int | str) -> None:
    """Seed torch from what identifies a step, so that a resumed run draws what the undisturbed one drew."""
    torch.manual_seed(int(content_key(list(parts))[:15], 16))
