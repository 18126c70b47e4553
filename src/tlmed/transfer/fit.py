"""The only training loop: it steps, casts, checks, saves and resumes, for every strategy."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from tlmed.runtime.stopping import Stopped, deferred_stop, raise_if_stopped, stop_requested
from tlmed.transfer.checkpoint import TrainingProgress, TrainingState, load_checkpoint, save_checkpoint
from tlmed.transfer.finite import NonFiniteNumbers, first_non_finite
from tlmed.transfer.optim import (
    clip_gradient,
    create_average,
    create_optimizer,
    gradient_norm,
    learning_rate_at,
    set_learning_rate,
)
from tlmed.transfer.parameter_groups import check_covered
from tlmed.transfer.strategy import Strategy

LARGEST_SHARE_OF_SAVING = 0.02  # of the time; large networks are saved less often
_MAX_VALIDATIONS = 20  # points of the learning curve; each costs a pass over the validation images


class NonFiniteLoss(InputError):
    """The loss or its gradient became infinite or not a number; nothing was updated with it."""


@dataclass(frozen=True)
class FitTask:
    """What one stage trains on, and how.

    Attributes:
        name: for progress and messages.
        work_folder: keeps the training state until the stage is complete.
        steps: the batches, where they are others than random views of `train`.
        predict: from the network, `val` and the device to (N, K) float64 logits.
    """

    name: str
    training: TrainingSettings
    train: LabelledImages
    val: LabelledImages | None
    seed: int
    work_folder: Path
    steps: TrainingSteps | None = None
    predict: Callable[[torch.nn.Module, LabelledImages, torch.device], np.ndarray] = predict_logits


@dataclass(frozen=True)
class FitResult:
    """A trained stage.

    Attributes:
        state: the weights, averaged where the settings say so, float32 on the CPU.
        history: a row an epoch: epoch, learning_rate, train_loss, val_loss, val_accuracy (empty where not measured).
        seconds: spent training, over all resumptions.
        waiting_seconds: of these, spent waiting for the next batch.
    """

    state: dict[str, Tensor]
    history: pd.DataFrame
    num_steps: int
    seconds: float
    waiting_seconds: float


def fit(
    classifier: Classifier, strategy: Strategy, task: FitTask, runtime: RuntimeSettings, fabric: Fabric
) -> FitResult:
    """Train a classifier, going on from what an interrupted call with the same task saved.

    Every process of a Fabric with several calls it alike; the first one saves.

    Raises:
        NonFiniteLoss: before the update, naming the batch's files.
        NonFiniteNumbers: after an update, before anything is saved with it, naming the batch's files.
        Stopped: after a stop signal; the state is saved.
        OSError: disk full; the last saved state is untouched.
    """
    if task.training.select == "best" and task.val is None:
        raise InputError(f"{task.name}: training.select: best needs val images; add some, or write `select: last`.")
    strategy.prepare(classifier)
    groups = strategy.param_groups(classifier)
    check_covered(classifier, groups)
    training = task.training
    average = create_average(classifier, training.ema_decay) if training.ema_decay is not None else None
    computed: Any = torch.compile(classifier) if runtime.compile else classifier
    model, optimizer = fabric.setup(computed, create_optimizer(groups, training))
    if average is not None:
        average.to(fabric.device)
    state = TrainingState(classifier, optimizer, average)
    progress = load_checkpoint(task.work_folder, state)
    fabric.barrier()  # nobody saves before all have read
    loop = _Loop(classifier, model, strategy, task, runtime, fabric, state, progress)
    with deferred_stop():
        loop.run()
    result = state.best if training.select == "best" else loop.measured.state_dict()
    return FitResult(
        state={name: tensor.detach().cpu() for name, tensor in result.items()},
        history=pd.DataFrame(progress.history),
        num_steps=progress.step,
        seconds=progress.seconds,
        waiting_seconds=progress.waiting_seconds,
    )


@dataclass
class _Loop:
    classifier: Classifier
    model: Any
    strategy: Strategy
    task: FitTask
    runtime: RuntimeSettings
    fabric: Fabric
    state: TrainingState
    progress: TrainingProgress

    @property
    def measured(self) -> torch.nn.Module:
        """The network whose validation figures count: the moving average where there is one."""
        return self.classifier if self.state.average is None else self.state.average.module

    def run(self) -> None:
        task, progress, fabric = self.task, self.progress, self.fabric
        shard = (fabric.global_rank, fabric.world_size)
        steps = task.steps or TrainingSteps(task.train, task.training, task.seed, shard=shard)
        num_steps = task.training.epochs * steps.steps_per_epoch
        batches = iterate_steps(steps, progress.step, num_steps, self.runtime.num_workers, fabric.device)
        last_save = last_time = time.monotonic()
        pause = self.runtime.checkpoint_seconds
        with track(task.name, num_steps, "steps", done=progress.step, is_shown=fabric.is_global_zero) as bar:
            while progress.step < num_steps and not progress.is_finished:
                batch = next(batches)
                progress.waiting_seconds += time.monotonic() - last_time
                if progress.step % steps.steps_per_epoch == 0:
                    progress.loss_sum = 0.0
                must_stop = self._step(batch, learning_rate_at(progress.step, num_steps, task.training))
                progress.step += 1
                if progress.step % steps.steps_per_epoch == 0:
                    self._end_epoch(steps.steps_per_epoch, num_steps)
                    bar.describe(_note(progress.history[-1]))
                bar.advance()
                now = time.monotonic()
                progress.seconds += now - last_time
                last_time = now
                if must_stop or now - last_save > pause:
                    self._save()
                    last_save = last_time = time.monotonic()
                    pause = max(self.runtime.checkpoint_seconds, (last_save - now) / LARGEST_SHARE_OF_SAVING)
                if must_stop:
                    fabric.barrier()
                    raise_if_stopped()
                    raise Stopped(signal.SIGTERM)  # another process was asked

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(self.task.work_folder, self.state, self.progress)

    def _step(self, batch: Batch, rate: float) -> bool:
        """Update the weights once, and return whether some process was asked to stop."""
        set_learning_rate(self.state.optimizer, rate)
        seed_step(self.task.seed, self.progress.step, *([self.fabric.global_rank] if self.fabric.global_rank else []))
        loss, must_stop = self._agree(self._backward(batch), stop_requested())
        self._check_finite("loss", loss, batch.positions)
        norm = float(gradient_norm(self.classifier))
        self._check_finite("gradient", norm, batch.positions)
        if self.task.training.clip_norm is not None:
            within_fabric: Any = self.state.optimizer
            clip_gradient(within_fabric.optimizer, norm, self.task.training.clip_norm)
        self.state.optimizer.step()
        self.state.optimizer.zero_grad(set_to_none=True)
        if self.state.average is not None:
            self.state.average.update_parameters(self.classifier)
        self._check_state(batch.positions)
        self.progress.loss_sum += loss
        return must_stop

    def _backward(self, batch: Batch) -> float:
        """Add the gradient of the batch, in as many parts as the settings say, and return its loss."""
        parts = batch.split(self.task.training.accumulation)
        total = 0.0
        for number, part in enumerate(parts, start=1):
            with self.fabric.no_backward_sync(self.model, enabled=number < len(parts)):
                loss = self.strategy.loss(self.model, part) / len(parts)
                self.fabric.backward(loss)
            total += float(loss.detach())
        return total

    def _agree(self, loss: float, must_stop: bool) -> tuple[float, bool]:
        """Mean loss over all processes, and whether any was asked to stop: they go on, or stop, together."""
        if self.fabric.world_size == 1:
            return loss, must_stop
        both = torch.tensor([loss, float(must_stop)], dtype=torch.float64, device=self.fabric.device)
        reduced: Any = self.fabric.all_reduce(both, reduce_op="mean")
        mean_loss, share_stopped = reduced.tolist()
        return mean_loss, share_stopped > 0

    def _check_finite(self, what: str, value: float, positions: Tensor) -> None:
        if math.isfinite(value):
            return
        of_all: Any = self.fabric.all_gather(positions)
        raise NonFiniteLoss(
            f"{self.task.name}: the {what} became {value} at step {self.progress.step + 1}, before any update with it; "
            f"{self._what_to_do(of_all.flatten().tolist())}"
        )

    def _check_state(self, positions: Tensor) -> None:
        # Batch norms' statistics, moments and averages may go astray while loss and gradient stay finite.
        name = first_non_finite(self.measured.state_dict())
        if name is not None:
            raise NonFiniteNumbers(
                f"{self.task.name}: {name} is not finite after step {self.progress.step + 1}, and nothing was saved "
                f"with it; {self._what_to_do(positions.tolist())}"
            )

    def _what_to_do(self, positions: Sequence[int]) -> str:
        paths = ", ".join(self.task.train.paths[position] for position in positions)
        return f"lower training.learning_rate, or look at the batch's images: {paths}"

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
        if self.task.val is not None and self._is_validated(epoch):
            row |= self.fabric.broadcast(self._validate(self.task.val) if self.fabric.is_global_zero else row)
            self.strategy.prepare(self.classifier)
        progress.history.append(row)
        self._keep_best(epoch, row["val_loss"])

    def _is_validated(self, epoch: int) -> bool:
        training = self.task.training
        if training.select == "best" or training.patience is not None:
            return True
        return epoch % math.ceil(training.epochs / _MAX_VALIDATIONS) == 0 or epoch == training.epochs

    def _keep_best(self, epoch: int, val_loss: float | None) -> None:
        """Remember the epoch of the lowest validation loss, and end the training where none came for too long."""
        progress, training = self.progress, self.task.training
        if val_loss is None:
            return
        if progress.best_loss is None or val_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = val_loss, epoch
            if training.select == "best":
                self.state.best = {name: tensor.detach().clone() for name, tensor in self.measured.state_dict().items()}
        elif training.patience is not None and epoch - progress.best_epoch >= training.patience:
            progress.is_finished = True

    def _validate(self, images: LabelledImages) -> dict[str, float | None]:
        with self.fabric.autocast():
            logits = self.task.predict(self.measured, images, self.fabric.device)
        log_likelihood = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        chosen = log_likelihood[np.arange(len(images)), images.labels]
        return {"val_loss": float(-chosen.mean()), "val_accuracy": float((logits.argmax(1) == images.labels).mean())}


def _note(row: dict[str, float | None]) -> str:
    loss, accuracy = row["train_loss"], row["val_accuracy"]
    return f"loss {loss:.3f}" + (f", val accuracy {accuracy:.3f}" if accuracy is not None else "")
