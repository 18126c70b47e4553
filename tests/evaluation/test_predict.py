from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn

from tlmed.data.loaders import LabelledImages
from tlmed.evaluation.predict import predict_logits, softmax

_CPU = torch.device("cpu")


def _images(num_stored: int, rows: np.ndarray) -> LabelledImages:
    pixels = np.random.default_rng(0).integers(0, 256, size=(num_stored, 1, 4, 4), dtype=np.uint8)
    return LabelledImages(pixels, rows, np.zeros(len(rows), dtype=np.int64), [f"{row}.png" for row in rows])


def test_softmax_agrees_with_scipy() -> None:
    logits = np.random.default_rng(0).normal(scale=20, size=(50, 4))
    assert softmax(logits) == pytest.approx(scipy.special.softmax(logits, axis=1))


def test_softmax_survives_huge_logits() -> None:
    assert softmax(np.array([[1000.0, 999.0], [-1000.0, -3000.0]])) == pytest.approx(
        np.array([[1 / (1 + np.exp(-1)), 1 / (1 + np.e)], [1.0, 0.0]])
    )


def test_logits_are_those_of_each_row_in_order_over_several_batches() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(16, 3)
    rows = np.random.default_rng(1).permutation(100)[:70]
    images = _images(100, rows)
    told: list[int] = []
    logits = predict_logits(nn.Sequential(nn.Flatten(), linear), images, _CPU, told.append)
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    expected = images.pixels[rows].reshape(70, 16) / 255.0 @ weight.T + bias
    assert logits.dtype == np.float64
    assert logits == pytest.approx(expected, abs=1e-5)
    assert sum(told) == 70
    assert len(told) > 1


def test_the_classifier_predicts_in_evaluation_mode_and_is_not_changed() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 2))
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = _images(40, np.arange(40))
    first, second = predict_logits(model, images, _CPU), predict_logits(model, images, _CPU)
    assert np.array_equal(first, second)
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
