"""Features that are computed once, and what trains on them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlmed.data.augment import as_float
from tlmed.data.loaders import Batch, LabelledImages, TrainingSteps
from tlmed.models.classifier import Classifier, create_classifier
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.recipe.protocol import RuntimeSettings
from tlmed.recipe.training import StrategySettings, TrainingSettings
from tlmed.runtime import stopping
from tlmed.runtime.device import launch, seed_step
from tlmed.transfer.fit import FitResult, FitTask, fit
from tlmed.transfer.frozen_features import FrozenBackbone, NonFiniteFeatures
from tlmed.transfer.linear_probe import FeatureSteps, LinearProbe, fit_on_cached_views
from tlmed.transfer.logistic_probe import fit_logistic_regression

RUNTIME = RuntimeSettings(device="cpu", precision="float32", workers=0)
TRAINING = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-2)


@pytest.fixture
def images() -> LabelledImages:
    generator = np.random.default_rng(0)
    labels = np.arange(44) % 2
    pixels = generator.integers(0, 120, (44, 1, 32, 32), dtype=np.uint8)
    pixels[labels == 1, :, 8:24, 8:24] += 100
    return LabelledImages(pixels, np.arange(44), labels, [f"image {i}.png" for i in range(44)], np.arange(44) // 4)


def classifier() -> Classifier:
    seed_step("initial weights", 0)
    return create_classifier(BackboneSettings(name="test_resnet"), ImageSettings(size=32), 2)


def fit_task(images: LabelledImages, work_folder: Path, training: TrainingSettings = TRAINING) -> FitTask:
    return FitTask("stage test", training, images, images, seed=3, work_folder=work_folder)


def probe(training: TrainingSettings = TRAINING) -> LinearProbe:
    return LinearProbe(StrategySettings(kind="linear-probe"), training, None)


def train_cached(task: FitTask, num_views: int = 2, strategy: LinearProbe | None = None) -> FitResult:
    chosen = strategy or probe(task.training)
    return fit_on_cached_views(classifier(), chosen, task, num_views, RUNTIME, launch(RUNTIME))


def forward_hook_count(model: Classifier) -> list[int]:
    counts: list[int] = []
    model.backbone.register_forward_hook(lambda _module, inputs, _output: counts.append(len(inputs[0])))
    return counts


@torch.inference_mode()
def test_stored_features_are_those_of_one_image_after_another(images: LabelledImages) -> None:
    model = classifier().eval()
    alone = [model.features(as_float(images.pixels[[row]])).numpy()[0] for row in range(len(images))]
    features = FrozenBackbone(classifier(), launch(RUNTIME), "test").features(images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, np.stack(alone), atol=1e-5)


@torch.inference_mode()
def test_features_of_views_are_those_that_the_loop_would_show(images: LabelledImages) -> None:
    model = classifier().eval()
    features = FrozenBackbone(classifier(), launch(RUNTIME), "test").features_of_views(
        images, TRAINING.views, 2, seed=3
    )
    assert features.shape == (44, 2, model.head.in_features)
    steps, cached = TrainingSteps(images, TRAINING, 3), FeatureSteps(images, torch.from_numpy(features), TRAINING, 3)
    for step in (0, 4, steps.steps_per_epoch, 2 * steps.steps_per_epoch):
        batch, of_features = steps[step], cached[step]
        assert torch.equal(batch.positions, of_features.positions)
        assert torch.equal(batch.labels, of_features.labels)
        same = np.allclose(model.features(batch.images), of_features.images, atol=1e-5)
        assert same == (step < 2 * steps.steps_per_epoch)  # the third epoch sees the first one's views again
    third, first = cached[2 * steps.steps_per_epoch], torch.from_numpy(features[:, 0])
    assert torch.equal(third.images, first[third.positions])


def test_bf16_features_are_rounded_and_stored_as_float32(images: LabelledImages) -> None:
    exact = FrozenBackbone(classifier(), launch(RUNTIME), "test").features(images)
    bf16 = launch(RUNTIME.model_copy(update={"precision": "bf16"}))
    rounded = FrozenBackbone(classifier(), bf16, "test").features(images)
    assert rounded.dtype == np.float32
    assert not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, atol=0.05 * np.abs(exact).max())


def test_features_that_are_not_finite_name_the_image(images: LabelledImages) -> None:
    class Broken(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.where(inputs[:, 0, :2, 0] > 0.9, torch.nan, 0.0)

    pixels = images.pixels.copy()
    pixels[:, :, :2] = 0
    pixels[5, 0, 0, 0] = 255
    broken = Classifier(Broken(), 2, 2, mean=(0.0,), std=(1.0,))
    marked = LabelledImages(pixels, images.rows, images.labels, images.paths)
    with pytest.raises(NonFiniteFeatures, match=r"stage x: .* features of image 5\.png are not finite"):
        FrozenBackbone(broken, launch(RUNTIME), "stage x").features(marked)


def test_a_head_on_cached_views_learns_what_it_learns_behind_the_backbone(
    images: LabelledImages, tmp_path: Path
) -> None:
    cached = train_cached(fit_task(images, tmp_path / "cached"))
    model = classifier()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    direct = fit(model, probe(), fit_task(images, tmp_path / "direct"), RUNTIME, launch(RUNTIME))
    # In as many epochs as there are cached views both see the same views; what is left is rounding.
    assert list(cached.state) == list(direct.state)
    for name, tensor in cached.state.items():
        torch.testing.assert_close(tensor, direct.state[name], atol=1e-4, rtol=1e-3)
        assert torch.equal(tensor, before[name]) == (not name.startswith("head."))
    np.testing.assert_allclose(cached.history, direct.history, atol=1e-4)


def test_the_backbone_runs_once_a_view_and_once_for_val(images: LabelledImages, tmp_path: Path) -> None:
    model = classifier()
    counts = forward_hook_count(model)
    task = fit_task(images, tmp_path, TRAINING.model_copy(update={"epochs": 20}))
    result = fit_on_cached_views(model, probe(task.training), task, 2, RUNTIME, launch(RUNTIME))
    assert sum(counts) == (2 + 1) * len(images)
    assert result.num_steps == 20 * (len(images) // 8)
    assert result.history["val_accuracy"].iloc[-1] > 0.9


def test_training_without_val_leaves_its_figures_empty(images: LabelledImages, tmp_path: Path) -> None:
    task = FitTask("stage test", TRAINING, images, None, seed=0, work_folder=tmp_path)
    assert train_cached(task).history["val_loss"].isna().all()
    result, _ = fit_logistic_regression(classifier(), task, launch(RUNTIME))
    assert result.history["val_loss"].isna().all()


class StopAt(LinearProbe):
    """Sends this process a stop signal at one step."""

    step = 7

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        self.step -= 1
        if self.step == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(model, batch)


def test_a_stopped_and_resumed_probe_ends_in_the_same_bytes(images: LabelledImages, tmp_path: Path) -> None:
    undisturbed = train_cached(fit_task(images, tmp_path / "undisturbed"))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stopping.install_stop_signals()
    try:
        with pytest.raises(stopping.Stopped):
            task = fit_task(images, tmp_path / "stopped")
            train_cached(task, strategy=StopAt(StrategySettings(kind="linear-probe"), TRAINING, None))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    resumed = train_cached(fit_task(images, tmp_path / "stopped"))
    assert all(torch.equal(tensor, resumed.state[name]) for name, tensor in undisturbed.state.items())
    assert undisturbed.history.equals(resumed.history)


def test_logistic_regression_gives_an_ordinary_classifier_with_the_figures_it_states(
    images: LabelledImages, tmp_path: Path
) -> None:
    model = classifier()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result, head = fit_logistic_regression(model, fit_task(images, tmp_path), launch(RUNTIME))
    changed = {name for name, tensor in result.state.items() if not torch.equal(tensor, start[name])}
    assert changed == {"head.weight", "head.bias"}
    made = classifier()
    made.load_state_dict(result.state)
    with torch.inference_mode():
        logits = made.eval()(as_float(images.pixels))
    (row,) = result.history.to_dict("records")
    loss = float(nn.functional.cross_entropy(logits, torch.from_numpy(images.labels)))
    assert row["val_loss"] == pytest.approx(loss, abs=1e-4)
    assert row["train_loss"] == row["val_loss"]  # here val is train
    assert row["val_accuracy"] == (logits.argmax(1).numpy() == images.labels).mean() > 0.9
    assert row["learning_rate"] is None
    assert head.card()["num_features"] == made.head.in_features
    assert head.num_folds == 5


def test_logistic_regression_gives_the_same_bytes_again(images: LabelledImages, tmp_path: Path) -> None:
    one, other = (
        fit_logistic_regression(classifier(), fit_task(images, tmp_path), launch(RUNTIME))[0] for _ in range(2)
    )
    assert all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())


def test_a_stop_signal_ends_the_computation_of_features_at_once(images: LabelledImages, tmp_path: Path) -> None:
    model = classifier()
    model.backbone.register_forward_hook(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    counts = forward_hook_count(model)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stopping.install_stop_signals()
    try:
        with pytest.raises(stopping.Stopped):
            fit_logistic_regression(model, fit_task(images, tmp_path), launch(RUNTIME))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert len(counts) <= 1  # of two batches
