"""How long training will take: from stages trained here before, else from the network's arithmetic. No torch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlmed.models.known_backbones import KnownBackbone, find_known_backbone
from tlmed.recipe.model import BackboneSettings
from tlmed.runtime.integrity import sealed_text
from tlmed.runtime.store import Store
from tlmed.transfer.stage_task import STAGES, StageTask

_TRAINING_FACTOR = 3  # forward, gradient by input, gradient by weight; a frozen backbone runs forward alone
# Of a large float32 matrix product's rate; networks are made of smaller ones. On one core with AMX, at about 100 px:
# VGG-16 0.14 and 0.14, ConvNeXt-T 0.34 and 0.36, Swin-T 0.44 and 0.76, ResNet-50 0.47 and 0.78, ViT-S 0.73 and 1.63,
# but EfficientNet-B0 0.12 and 0.07: a factor of three either way.
_EFFICIENCY = {"float32": 0.35, "bf16": 0.7}
_PROBE_EDGE, _PROBE_REPEATS = 768, 6
_ROUGH = "rough, from the network's arithmetic"
_UNKNOWN_ON_GPU = "unknown until a first stage has run on this GPU"


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds a stage will take, and what says so; seconds is None where nothing is known."""

    seconds: float | None
    basis: str


@dataclass(frozen=True)
class SpeedEstimate:
    """How fast a network is fine-tuned here, and what says so.

    Attributes:
        images_per_second: None where nothing is known.
        image_size: edge in pixels that this is for.
        basis: in words.
    """

    images_per_second: float | None
    image_size: int
    basis: str


def estimate_seconds(task: StageTask, store: Store) -> TimeEstimate:
    """Estimate a stage's training time on this machine."""
    num_images = num_passes(task, task.num_steps)
    measured = _measured_rate(task, store)
    if measured is not None:
        return TimeEstimate(num_images / measured, "measured on an earlier stage here")
    if task.recipe.runtime.device != "cpu":
        return TimeEstimate(None, _UNKNOWN_ON_GPU)
    known = find_known_backbone(task.recipe.backbone.name)
    if known is None:
        return TimeEstimate(None, "unknown until its first epoch")
    giga_multiply_adds = known.giga_multiply_adds_with(task.recipe.backbone, task.image.size)
    factor = _TRAINING_FACTOR if task.strategy.kind == "finetune" else 1
    return TimeEstimate(
        factor * num_images / _forward_rate(giga_multiply_adds, _matrix_rate(), task.recipe.runtime.precision), _ROUGH
    )


def estimate_speeds(
    backbones: Iterable[KnownBackbone], store: Store, device: str, precision: str
) -> dict[str, SpeedEstimate]:
    """Estimate how fast each network as it comes is fine-tuned on this machine, by name.

    Args:
        backbones: the networks.
        store: whose stages were measured; of several image sizes the most frequent one's median is taken.
        device, precision: as recipes write them, without `auto`. Without a measured stage nothing is known of a GPU.
    """
    cards = [
        card
        for card in _stage_cards(store)
        if card["strategy"]["kind"] == "finetune"
        and card["device"].startswith(device)
        and card["precision"] == precision
    ]
    matrix_rate = _matrix_rate() if device == "cpu" else None
    speeds = {}
    for known in backbones:
        settings = BackboneSettings(name=known.name)
        same = [card for card in cards if card["backbone"] == settings.model_dump(mode="json")]
        sizes = [card["image"]["size"] for card in same]
        if sizes:
            size = max(sorted(set(sizes)), key=sizes.count)
            rates = [c["images_per_second"] for c in same if c["image"]["size"] == size]
            speeds[known.name] = SpeedEstimate(float(np.median(rates)), size, "measured on earlier stages here")
        elif matrix_rate is None:
            speeds[known.name] = SpeedEstimate(None, known.image_size, _UNKNOWN_ON_GPU)
        else:
            rate = _forward_rate(known.giga_multiply_adds, matrix_rate, precision) / _TRAINING_FACTOR
            speeds[known.name] = SpeedEstimate(rate, known.image_size, _ROUGH)
    return speeds


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
    for card in _stage_cards(store):
        same_network = card["backbone"] == task.recipe.backbone.model_dump(mode="json")
        same_form = card["image"]["size"] == task.image.size and card["image"]["mode"] == task.image.mode
        same_way = card["strategy"] == task.strategy.model_dump(mode="json")
        same_place = card["device"].startswith(task.recipe.runtime.device)
        same_precision = card["precision"] == task.recipe.runtime.precision
        if same_network and same_form and same_way and same_place and same_precision:
            rates.append(card["images_per_second"])
    return float(np.median(rates)) if rates else None


def _stage_cards(store: Store) -> Iterator[dict[str, Any]]:
    for key in store.entries(STAGES):
        text = sealed_text(store.folder(STAGES, key), "stage.json")
        if text is not None:  # a damaged one will be made anew
            yield json.loads(text)


def _forward_rate(giga_multiply_adds: float, matrix_rate: float, precision: str) -> float:
    """Return images a second that pass a network once, given the operations a second of a matrix product."""
    return matrix_rate * _EFFICIENCY[precision] / (2e9 * giga_multiply_adds)


def _matrix_rate() -> float:
    """Measure float32 matrix multiplication, in operations a second, at its fastest; takes about 0.1 s."""
    matrix = np.ones((_PROBE_EDGE, _PROBE_EDGE), dtype=np.float32)
    seconds = []
    for _ in range(_PROBE_REPEATS):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * _PROBE_EDGE**3 / min(seconds)
