from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlmed.data.loaders import Batch, LabelledImages
from tlmed.models.classifier import Classifier, create_classifier
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.recipe.protocol import RuntimeSettings
from tlmed.recipe.training import StrategySettings, TrainingSettings
from tlmed.runtime import stopping
from tlmed.runtime.device import launch, seed_step
from tlmed.transfer.fit import FitResult, FitTask, NonFiniteLoss, fit
from tlmed.transfer.strategies import create_strategy
from tlmed.transfer.strategy import Strategy

TRAINING = TrainingSettings(epochs=3, batch_size=8, learning_rate=1e-3)


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    generator = np.random.default_rng(0)
    labels = np.arange(24) % 2
    pixels = generator.integers(0, 120, (24, 1, 32, 32), dtype=np.uint8) + (100 * labels[:, None, None, None]).astype(
        np.uint8
    )
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    return LabelledImages(mapped, np.arange(24), labels, [f"image {i}.png" for i in range(24)])


def classifier() -> Classifier:
    seed_step("initial weights", 0)
    return create_classifier(BackboneSettings(name="test_resnet"), ImageSettings(size=32), 2)


def train(
    images: LabelledImages,
    work_folder: Path,
    training: TrainingSettings = TRAINING,
    runtime: RuntimeSettings | None = None,
    strategy: Strategy | None = None,
    model: Classifier | None = None,
) -> FitResult:
    runtime = runtime or RuntimeSettings(device="cpu", precision="float32", workers=0)
    task = FitTask("stage test", training, images, images, seed=0, work_folder=work_folder)
    strategy = strategy or create_strategy(StrategySettings(), training, None)
    return fit(model or classifier(), strategy, task, runtime, launch(runtime))


def equal(one: FitResult, other: FitResult) -> bool:
    return all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())


def in_layout(layout: torch.memory_format) -> Classifier:
    return classifier().to(memory_format=layout)  # type: ignore[call-overload]


class StopAt(nn.Module):
    """A strategy that sends this process a stop signal at given steps."""

    def __init__(self, inner: Strategy, steps: set[int]) -> None:
        super().__init__()
        self._inner, self._steps, self._count = inner, steps, 0
        self.prepare, self.param_groups = inner.prepare, inner.param_groups

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        self._count += 1
        if self._count in self._steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return self._inner.loss(model, batch)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_stopped_and_resumed_training_ends_in_the_same_bytes(
    images: LabelledImages, tmp_path: Path, optimizer: str, layout: torch.memory_format
) -> None:
    training = TRAINING.model_copy(update={"optimizer": optimizer})
    undisturbed = train(images, tmp_path / "undisturbed", training, model=in_layout(layout))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stopping.install_stop_signals()
    try:
        for _ in range(3):
            strategy = StopAt(create_strategy(StrategySettings(), training, None), {2})
            with pytest.raises(stopping.Stopped):
                train(images, tmp_path / "stopped", training, strategy=strategy, model=in_layout(layout))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    resumed = train(images, tmp_path / "stopped", training, model=in_layout(layout))
    assert equal(undisturbed, resumed)
    assert undisturbed.history.equals(resumed.history)
    assert resumed.num_steps == 9


def test_it_learns_and_keeps_the_curve(images: LabelledImages, tmp_path: Path) -> None:
    result = train(images, tmp_path, TRAINING.model_copy(update={"epochs": 12, "learning_rate": 3e-3}))
    assert result.history["epoch"].tolist() == list(range(1, 13))
    assert result.history["val_accuracy"].iloc[-1] == 1.0
    assert result.history["train_loss"].iloc[-1] < result.history["train_loss"].iloc[0]


def test_workers_do_not_change_the_bytes(images: LabelledImages, tmp_path: Path) -> None:
    here = train(images, tmp_path / "a")
    elsewhere = train(images, tmp_path / "b", runtime=RuntimeSettings(device="cpu", precision="float32", workers=2))
    assert equal(here, elsewhere)


def test_bf16_keeps_float32_weights_and_learns(images: LabelledImages, tmp_path: Path) -> None:
    runtime = RuntimeSettings(device="cpu", precision="bf16", workers=0)
    result = train(images, tmp_path, TRAINING.model_copy(update={"epochs": 12, "learning_rate": 3e-3}), runtime)
    assert {tensor.dtype for tensor in result.state.values()} <= {torch.float32, torch.int64}
    assert result.history["val_accuracy"].iloc[-1] == 1.0


def test_the_linear_probe_changes_the_head_alone(images: LabelledImages, tmp_path: Path) -> None:
    start = classifier()
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    strategy = create_strategy(StrategySettings(kind="linear-probe"), TRAINING, None)
    result = train(images, tmp_path, strategy=strategy, model=start)
    changed = {name for name, tensor in result.state.items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_a_non_finite_loss_stops_before_the_update_and_names_the_files(images: LabelledImages, tmp_path: Path) -> None:
    model = classifier()
    before = [parameter.clone() for parameter in model.parameters()]

    class Broken(StopAt):
        def loss(self, model: nn.Module, batch: Batch) -> Tensor:
            return super().loss(model, batch) * float("nan")

    with pytest.raises(NonFiniteLoss, match=r"became nan at step 1.*image \d+\.png"):
        train(
            images, tmp_path, strategy=Broken(create_strategy(StrategySettings(), TRAINING, None), set()), model=model
        )
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
