"""Places in which a number goes astray during training, for the tests and `benchmarks/faults.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tlmed.data.loaders import Batch
from tlmed.transfer import fit
from tlmed.transfer.finetune import Finetune

NAN = float("nan")


@dataclass
class Training:
    """What a fault can reach; `factor` multiplies the loss."""

    model: nn.Module
    batch: Batch
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    factor: float = 1.0

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def layers(self, kind: type[nn.Module]) -> list[Any]:
        return [layer for layer in self.model.modules() if isinstance(layer, kind)]


def _poison(tensor: Tensor, value: float = NAN) -> None:
    with torch.no_grad():
        tensor.reshape(-1)[0] = value


def _poison_gradient(parameter: nn.Parameter) -> None:
    parameter.register_hook(lambda gradient: gradient * NAN)


def _activation(training: Training) -> None:
    layers = training.layers(nn.Conv2d)
    layers[len(layers) // 2].register_forward_hook(lambda _layer, _inputs, output: output * NAN)


def _loss(training: Training) -> None:
    training.factor = NAN


def _infinite_loss(training: Training) -> None:
    training.factor = float("inf")


def _average(training: Training) -> None:
    assert training.average is not None
    _poison(next(training.average.parameters()))


# Each is done just before the forward pass of one step.
PLACES: dict[str, Callable[[Training], None]] = {
    "input view": lambda training: _poison(training.batch.images),
    "infinite input view": lambda training: _poison(training.batch.images, float("inf")),
    "first weight": lambda training: _poison(training.parameters[0].data),
    "activation": _activation,
    "head": lambda training: _poison(training.parameters[-1].data),
    "loss": _loss,
    "infinite loss": _infinite_loss,
    "first gradient": lambda training: _poison_gradient(training.parameters[0]),
    "last gradient": lambda training: _poison_gradient(training.parameters[-1]),
    "moment": lambda training: _poison(training.optimizer.state[training.parameters[0]]["exp_avg"]),
    "batch statistics": lambda training: _poison(training.layers(nn.BatchNorm2d)[0].running_mean),
    "average": _average,
}


@contextmanager
def fault_at(place: str, step: int) -> Iterator[None]:
    """Let a number go astray at one place in a step (from 1) of every fine-tuning in this block."""
    made: dict[str, Any] = {"average": None}
    counted = [0]
    true_loss = Finetune.loss

    def keep(name: str, create: Callable[..., Any]) -> Callable[..., Any]:
        def created(*arguments: Any, **options: Any) -> Any:
            made[name] = create(*arguments, **options)
            return made[name]

        return created

    def loss(strategy: Finetune, model: nn.Module, batch: Batch) -> Tensor:
        counted[0] += 1
        training = Training(model, batch, **made)
        if counted[0] == step:
            PLACES[place](training)
        return true_loss(strategy, model, training.batch) * training.factor

    with (
        mock.patch.object(fit, "create_optimizer", keep("optimizer", fit.create_optimizer)),
        mock.patch.object(fit, "create_average", keep("average", fit.create_average)),
        mock.patch.object(Finetune, "loss", loss),
        mock.patch.object(fit, "LARGEST_SHARE_OF_SAVING", math.inf),  # every step is saved
    ):
        yield
