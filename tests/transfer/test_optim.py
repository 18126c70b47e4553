from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tlmed.recipe.training import TrainingSettings
from tlmed.transfer.optim import (
    clip_gradient,
    create_average,
    create_optimizer,
    gradient_norm,
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


@pytest.mark.parametrize(("limit", "expected"), [(2.5, [-1.5, -2.0]), (5.0, [-3.0, -4.0]), (9.0, [-3.0, -4.0])])
def test_a_clipped_step_is_the_hand_computed_one(limit: float, expected: list[float]) -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = create_optimizer(
        [ParameterGroup({"weight": weight}, 0.0)], TrainingSettings(optimizer="sgd", learning_rate=1.0, momentum=0.0)
    )
    weight.grad = torch.tensor([3.0, 4.0])
    clip_gradient(optimizer, 5.0, limit)
    optimizer.step()
    assert weight.tolist() == pytest.approx(expected)


def test_a_small_gradient_after_a_clipped_one_is_left_alone() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = create_optimizer(
        [ParameterGroup({"weight": weight}, 0.0)], TrainingSettings(optimizer="sgd", learning_rate=1.0, momentum=0.0)
    )
    for gradient in ([30.0, 40.0], [0.3, 0.4]):
        weight.grad = torch.tensor(gradient)
        clip_gradient(optimizer, float(weight.grad.norm()), 1.0)
        optimizer.step()
    assert weight.tolist() == pytest.approx([-0.9, -1.2])


def test_adamw_clips_as_the_library_does() -> None:
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    training = TrainingSettings(learning_rate=0.1)
    optimizer = create_optimizer([ParameterGroup(dict(ours.named_parameters()), 0.01)], training)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=0.01)
    for scale in (1.0, 20.0, 0.01):
        for model in (ours, theirs):
            model.zero_grad()
            (scale * model(torch.ones(4, 3)).square().sum()).backward()
        clip_gradient(optimizer, float(gradient_norm(ours)), 1.0)
        optimizer.step()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)
