"""A number that goes astray anywhere stops the training within its step, and nothing is saved with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.transfer.faults import PLACES, fault_at
from tlmed.data.loaders import LabelledImages
from tlmed.errors import InputError
from tlmed.models.classifier import create_classifier
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.recipe.protocol import RuntimeSettings
from tlmed.recipe.training import StrategySettings, TrainingSettings
from tlmed.runtime.device import launch, seed_step
from tlmed.transfer.finite import NonFiniteNumbers, check_finite, first_non_finite
from tlmed.transfer.fit import FitTask, fit
from tlmed.transfer.strategies import create_strategy

RUNTIME = RuntimeSettings(device="cpu", precision="float32", workers=0, checkpoint_seconds=1e-9)
FAULTY_STEP = 3


def train(work_folder: Path, training: TrainingSettings) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (24, 1, 32, 32), dtype=np.uint8)
    images = LabelledImages(pixels, np.arange(24), np.arange(24) % 2, [f"image {i}.png" for i in range(24)])
    seed_step("initial weights", 0)
    classifier = create_classifier(BackboneSettings(name="test_resnet"), ImageSettings(size=32), 2)
    task = FitTask("stage test", training, images, images, seed=0, work_folder=work_folder)
    fit(classifier, create_strategy(StrategySettings(), training, None), task, RUNTIME, launch(RUNTIME))


@pytest.mark.parametrize("ema_decay", [0.99, None])
@pytest.mark.parametrize("place", PLACES)
def test_training_stops_within_the_step(tmp_path: Path, place: str, ema_decay: float | None) -> None:
    if place == "average" and ema_decay is None:
        ema_decay = 0.5
    training = TrainingSettings(epochs=3, batch_size=8, ema_decay=ema_decay)
    with (
        fault_at(place, FAULTY_STEP),
        pytest.raises(InputError, match=rf"stage test: .* step {FAULTY_STEP}.*image \d+\.png"),
    ):
        train(tmp_path, training)
    saved = load_file(tmp_path / "training.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in saved.values())
    assert {int(tensor) for name, tensor in saved.items() if name.endswith(".step")} == {FAULTY_STEP - 1}


def test_the_name_of_the_tensor_is_told() -> None:
    tensors = {
        "counts": torch.tensor([1, 2]),
        "none": torch.empty(0),
        "fine": torch.ones(3),
        "large": torch.tensor(3e38),
    }
    assert first_non_finite(tensors) is None
    assert first_non_finite({}) is None
    for value in (float("nan"), float("-inf")):
        broken = tensors | {"broken": torch.tensor([1.0, value])}
        assert first_non_finite(broken) == "broken"
        with pytest.raises(NonFiniteNumbers, match="weights X: broken holds numbers that are not finite"):
            check_finite(broken, "weights X")
