from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor, nn

from tlmed.data.loaders import Batch
from tlmed.recipe.training import StrategySettings, TrainingSettings
from tlmed.transfer.finetune import Finetune
from tlmed.transfer.loss import batch_loss, cross_entropy, inverse_frequency

WEIGHTS = torch.tensor([0.5, 1.0, 2.5])


def batch(shares: list[float] | None) -> Batch:
    labels, partners = torch.tensor([0, 2, 1, 2]), torch.tensor([2, 0, 2, 1])
    images, positions = torch.zeros(4, 1, 2, 2), torch.arange(4)
    if shares is None:
        return Batch(images, labels, positions)
    return Batch(images, labels, positions, partners, torch.tensor(shares))


def logits() -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def by_hand(one: Batch, smoothing: float, weights: np.ndarray) -> float:
    """Each image's log-likelihoods against its smoothed target, one label at a time, in float64."""
    log_likelihood = log_softmax(logits().double().numpy(), axis=1)
    assert one.partner_labels is not None
    assert one.shares is not None
    total = divisor = 0.0
    for i, share in enumerate(one.shares.double().tolist()):
        for label, part in ((int(one.labels[i]), share), (int(one.partner_labels[i]), 1 - share)):
            target = np.full(3, smoothing / 3)
            target[label] += 1 - smoothing
            total -= part * float((target * weights * log_likelihood[i]).sum())
            divisor += part * weights[label]
    return total / divisor


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_mixed_batches_are_hand_computed(smoothing: float, weights: Tensor | None) -> None:
    one = batch([0.7, 0.7, 0.2, 1.0])
    criterion = cross_entropy(TrainingSettings(label_smoothing=smoothing), weights)
    expected = by_hand(one, smoothing, np.ones(3) if weights is None else weights.double().numpy())
    assert float(batch_loss(criterion, logits(), one)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_share_of_one_or_nothing_is_an_unmixed_batch(smoothing: float, weights: Tensor | None) -> None:
    criterion = cross_entropy(TrainingSettings(label_smoothing=smoothing), weights)
    of_torch = nn.CrossEntropyLoss(weight=weights, label_smoothing=smoothing)
    assert torch.equal(batch_loss(criterion, logits(), batch(None)), of_torch(logits(), batch(None).labels))
    whole = batch([1.0] * 4)
    torch.testing.assert_close(batch_loss(criterion, logits(), whole), of_torch(logits(), whole.labels))
    swapped = batch([0.0] * 4)
    torch.testing.assert_close(batch_loss(criterion, logits(), swapped), of_torch(logits(), swapped.partner_labels))


def test_fine_tuning_minimises_the_mixed_loss() -> None:
    class Fixed(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            return torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4

    training = TrainingSettings(label_smoothing=0.0)
    one = Batch(torch.zeros(1, 1, 2, 2), *torch.tensor([[0], [0], [1]]), torch.tensor([0.6]))
    expected = 0.6 * math.log(4 / 3) + 0.4 * math.log(4)
    assert float(Finetune(StrategySettings(), training, None).loss(Fixed(), one)) == pytest.approx(expected, rel=1e-6)


def test_inverse_frequency_is_balanced() -> None:
    assert inverse_frequency(torch.tensor([0, 0, 0, 1]), 2).tolist() == pytest.approx([4 / 6, 2.0])
