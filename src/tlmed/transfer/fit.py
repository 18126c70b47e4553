"""The only training loop: it steps, casts, checks, saves and resumes, for every strategy."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning.fabric import Fabric
from torch import Tensor

from tlmed.data.loaders import Batch, LabelledImages, TrainingSteps, iterate_steps
from tlmed.errors import InputError
from tlmed.evaluation.predict import predict_logits
from tlmed.models.classifier import Classifier
from tlmed.recipe.protocol import RuntimeSettings
from tlmed.recipe.training import TrainingSettings
from tlmed.runtime.device import seed_step
from tlmed.runtime.progress import track
from tlmed.runtime.stopping import deferred_stop, raise_if_stopped, stop_requested
from tlmed.transfer.checkpoint import TrainingProgress, TrainingState, load_checkpoint, save_checkpoint
from tlmed.transfer.optim import check_covered, create_average, create_optimizer, learning_rate_at, set_learning_rate
from tlmed.transfer.strategy import Strategy

_MAX_VALIDATIONS = 20  # points of the learning curve; each costs a pass over the validation images


class NonFiniteLoss(InputError):
    """The loss became infinite or not a number; nothing was updated with it."""


@dataclass(frozen=True)
class FitTask:
    """What one stage trains on, and how.

    Attributes:
        name: for progress and messages.
        work_folder: keeps the training state until the stage is complete.
    """

    name: str
    training: TrainingSettings
    train: LabelledImages
    val: LabelledImages | None
    seed: int
    work_folder: Path


@dataclass(frozen=True)
class FitResult:
    """A trained stage.

    Attributes:
        state: the weights, averaged where the settings say so, float32 on the CPU.
        history: a row an epoch: epoch, learning_rate, train_loss, val_loss, val_accuracy (empty where not measured).
        seconds: spent training, over all resumptions.
    """

    state: dict[str, Tensor]
    history: pd.DataFrame
    num_steps: int
    seconds: float


def fit(
    classifier: Classifier, strategy: Strategy, task: FitTask, runtime: RuntimeSettings, fabric: Fabric
) -> FitResult:
    """Train a classifier, going on from what an interrupted call with the same task saved.

    Raises:
        NonFiniteLoss: before the update, naming the batch's files.
        Stopped: after a stop signal; the state is saved.
        OSError: disk full; the last saved state is untouched.
    """
    strategy.prepare(classifier)
    groups = strategy.param_groups(classifier)
    check_covered(classifier, groups)
    training = task.training
    average = create_average(classifier, training.ema_decay) if training.ema_decay is not None else None
    model, optimizer = fabric.setup(classifier, create_optimizer(groups, training))
    if average is not None:
        average.to(fabric.device)
    state = TrainingState(classifier, optimizer, average)
    progress = load_checkpoint(task.work_folder, state)
    loop = _Loop(classifier, model, strategy, task, runtime, fabric, state, progress)
    with deferred_stop():
        loop.run()
    result = classifier if average is None else average.module
    return FitResult(
        state={name: tensor.detach().cpu() for name, tensor in result.state_dict().items()},
        history=pd.DataFrame(progress.history),
        num_steps=progress.step,
        seconds=progress.seconds,
    )


@dataclass
class _Loop:
    classifier: Classifier
    model: torch.nn.Module
    strategy: Strategy
    task: FitTask
    runtime: RuntimeSettings
    fabric: Fabric
    state: TrainingState
    progress: TrainingProgress

    def run(self) -> None:
        task, progress = self.task, self.progress
        steps = TrainingSteps(task.train, task.training.views, task.training.batch_size, task.seed)
        num_steps = task.training.epochs * steps.steps_per_epoch
        last_save = last_time = time.monotonic()
        with track(task.name, num_steps, "steps", done=progress.step) as bar:
            for batch in iterate_steps(steps, progress.step, num_steps, self.runtime.num_workers):
                if progress.step % steps.steps_per_epoch == 0:
                    progress.loss_sum = 0.0
                progress.loss_sum += self._step(batch, learning_rate_at(progress.step, num_steps, task.training))
                progress.step += 1
                if progress.step % steps.steps_per_epoch == 0:
                    self._end_epoch(steps.steps_per_epoch, num_steps)
                    bar.describe(_note(progress.history[-1]))
                bar.advance()
                now = time.monotonic()
                progress.seconds += now - last_time
                last_time = now
                if stop_requested() or now - last_save > self.runtime.checkpoint_seconds:
                    save_checkpoint(task.work_folder, self.state, progress)
                    last_save = time.monotonic()
                    raise_if_stopped()

    def _step(self, batch: Batch, rate: float) -> float:
        moved = Batch(*(tensor.to(self.fabric.device, non_blocking=True) for tensor in batch))
        set_learning_rate(self.state.optimizer, rate)
        seed_step(self.task.seed, self.progress.step)
        loss = self.strategy.loss(self.model, moved)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NonFiniteLoss(self._explain_non_finite(value, moved.positions))
        self.fabric.backward(loss)
        self.state.optimizer.step()
        self.state.optimizer.zero_grad(set_to_none=True)
        if self.state.average is not None:
            self.state.average.update_parameters(self.classifier)
        return value

    def _explain_non_finite(self, value: float, positions: Tensor) -> str:
        paths = [self.task.train.paths[int(position)] for position in positions.cpu()]
        return (
            f"{self.task.name}: the loss became {value} at step {self.progress.step + 1}, before any update with it; "
            f"lower training.learning_rate, or look at the batch's images: {', '.join(paths)}"
        )

    def _end_epoch(self, steps_per_epoch: int, num_steps: int) -> None:
        progress = self.progress
        epoch = progress.step // steps_per_epoch
        row: dict[str, float | None] = {
            "epoch": epoch,
            "learning_rate": learning_rate_at(progress.step - 1, num_steps, self.task.training),
            "train_loss": progress.loss_sum / steps_per_epoch,
            "val_loss": None,
            "val_accuracy": None,
        }
        every = math.ceil(self.task.training.epochs / _MAX_VALIDATIONS)
        if self.task.val is not None and (epoch % every == 0 or epoch == self.task.training.epochs):
            row |= self._validate(self.task.val)
            self.strategy.prepare(self.classifier)
        progress.history.append(row)

    def _validate(self, images: LabelledImages) -> dict[str, float | None]:
        measured = self.classifier if self.state.average is None else self.state.average.module
        with self.fabric.autocast():
            logits = predict_logits(measured, images, self.fabric.device)
        log_likelihood = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        chosen = log_likelihood[np.arange(len(images)), images.labels]
        return {"val_loss": float(-chosen.mean()), "val_accuracy": float((logits.argmax(1) == images.labels).mean())}


def _note(row: dict[str, float | None]) -> str:
    loss, accuracy = row["train_loss"], row["val_accuracy"]
    return f"loss {loss:.3f}" + (f", val accuracy {accuracy:.3f}" if accuracy is not None else "")
