"""How long training will take: from stages trained here before, else from the network's arithmetic. No torch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tlmed.runtime.integrity import sealed_text
from tlmed.runtime.store import Store
from tlmed.transfer.plan import STAGES, StageTask

# Multiply-adds of one forward pass at 224 px, in units of 1e9, from the networks' papers and timm's result tables.
_GIGA_MACS_AT_224 = {
    "vit_tiny_patch16": 1.1,
    "vit_small_patch16": 4.3,
    "vit_base_patch16": 16.9,
    "resnet10t": 1.1,
    "resnet18": 1.8,
    "resnet50": 4.1,
    "densenet121": 2.9,
    "efficientnet_b0": 0.4,
    "swin_tiny": 4.5,
}
_TRAINING_FACTOR = 3  # forward, gradient by input, gradient by weight; a frozen backbone runs forward alone
_EFFICIENCY = 0.35  # of a large float32 matrix product's rate; networks are made of smaller ones
_PROBE_EDGE = 768


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds a stage will take, and what says so; seconds is None where nothing is known."""

    seconds: float | None
    basis: str


def estimate_seconds(task: StageTask, store: Store) -> TimeEstimate:
    """Estimate a stage's training time on this machine."""
    num_steps = task.training.epochs * max(1, len(task.rows("train")) // task.training.batch_size)
    num_images = num_passes(task, num_steps)
    measured = _measured_rate(task, store)
    if measured is not None:
        return TimeEstimate(num_images / measured, "measured on an earlier stage here")
    if task.recipe.runtime.device != "cpu":
        return TimeEstimate(None, "unknown until a first stage has run on this GPU")
    giga_macs = next((v for name, v in _GIGA_MACS_AT_224.items() if task.recipe.backbone.name.startswith(name)), None)
    if giga_macs is None:
        return TimeEstimate(None, "unknown until its first epoch")
    scale = (task.image.size / 224) ** 2
    if task.recipe.backbone.patch_size is not None and "patch16" in task.recipe.backbone.name:
        scale *= (16 / task.recipe.backbone.patch_size) ** 2
    factor = _TRAINING_FACTOR if task.strategy.kind == "finetune" else 1
    flop = 2e9 * giga_macs * scale * factor * num_images
    return TimeEstimate(flop / (_matrix_rate() * _EFFICIENCY), "rough, from the network's arithmetic")


def num_passes(task: StageTask, num_steps: int) -> int:
    """Return how often an image passes the network in so many steps of training; val counts where it is cached."""
    num_train, num_val = len(task.rows("train")), len(task.rows("val"))
    strategy = task.strategy
    if strategy.kind == "logistic-regression":
        return num_train + num_val
    if strategy.kind == "linear-probe" and strategy.cached_views:
        return strategy.cached_views * num_train + num_val
    return num_steps * min(task.training.batch_size, num_train)


def total(estimates: Iterable[TimeEstimate]) -> float | None:
    """Sum, or None where a part is unknown."""
    seconds = [estimate.seconds for estimate in estimates]
    return None if None in seconds else float(sum(second for second in seconds if second is not None))


def _measured_rate(task: StageTask, store: Store) -> float | None:
    rates = []
    for key in store.entries(STAGES):
        text = sealed_text(store.folder(STAGES, key), "stage.json")
        if text is None:
            continue  # damaged, so it will be made anew
        card = json.loads(text)
        same_network = card["backbone"] == task.recipe.backbone.model_dump(mode="json")
        same_form = card["image"]["size"] == task.image.size and card["image"]["mode"] == task.image.mode
        same_way = card["strategy"] == task.strategy.model_dump(mode="json")
        same_place = card["device"].startswith(task.recipe.runtime.device)
        same_precision = card["precision"] == task.recipe.runtime.precision
        if same_network and same_form and same_way and same_place and same_precision:
            rates.append(card["images_per_second"])
    return float(np.median(rates)) if rates else None


def _matrix_rate() -> float:
    """Measure float32 matrix multiplication, in operations a second; takes about 0.1 s."""
    matrix = np.ones((_PROBE_EDGE, _PROBE_EDGE), dtype=np.float32)
    matrix @ matrix
    start = time.perf_counter()
    repeats = 5
    for _ in range(repeats):
        matrix @ matrix
    return repeats * 2 * _PROBE_EDGE**3 / (time.perf_counter() - start)
