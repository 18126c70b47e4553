from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tlmed.recipe.training import TrainingSettings
from tlmed.transfer.optim import (
    create_average,
    create_optimizer,
    learning_rate_at,
    set_learning_rate,
)
from tlmed.transfer.strategy import ParameterGroup


def test_the_rate_rises_linearly_then_falls_as_half_a_cosine() -> None:
    training = TrainingSettings(learning_rate=1.0, warmup_fraction=0.2, schedule="cosine")
    rates = [learning_rate_at(step, 10, training) for step in range(10)]
    assert rates[:2] == pytest.approx([1 / 3, 2 / 3])
    assert rates[2] == pytest.approx(1.0)
    assert rates[6] == pytest.approx(0.5)
    assert rates[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_the_constant_schedule_stays_up() -> None:
    training = TrainingSettings(learning_rate=0.1, warmup_fraction=0.0, schedule="constant")
    assert {learning_rate_at(step, 5, training) for step in range(5)} == {0.1}


def test_each_group_keeps_its_factor() -> None:
    model = nn.Linear(2, 2)
    groups = [ParameterGroup({"weight": model.weight}, 0.0, 0.5), ParameterGroup({"bias": model.bias}, 0.0)]
    optimizer = create_optimizer(groups, TrainingSettings(optimizer="sgd"))
    set_learning_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


def test_the_average_is_the_hand_computed_one_and_keeps_integers() -> None:
    model = nn.BatchNorm1d(1)
    average = create_average(model, decay=0.9)
    expected = None
    for count, value in enumerate([1.0, 3.0, 5.0]):
        with torch.no_grad():
            model.weight.fill_(value)
            model.num_batches_tracked.fill_(count)
        average.update_parameters(model)
        # The first update copies; then the decay is (1 + n) / (10 + n), here below 0.9.
        decay = (1 + count) / (10 + count)
        expected = value if expected is None else decay * expected + (1 - decay) * value
    assert average.module.weight.item() == pytest.approx(expected)
    assert average.module.num_batches_tracked.item() == 2
