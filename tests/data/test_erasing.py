from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from tlmed.data.erasing import erase, erased_boxes
from tlmed.recipe.training import ViewSettings


def draws(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 6))


@pytest.mark.parametrize("largest", [0.01, 0.2, 0.5])
def test_boxes_lie_inside_and_never_exceed_the_largest_area(largest: float) -> None:
    top, bottom, left, right = erased_boxes(draws(2000), largest, 64, 64).T
    area = (bottom - top) * (right - left) / 64**2
    assert area.max() <= largest
    assert area.max() > 0.8 * largest
    assert min(top.min(), left.min()) == 0  # the edges are reached
    assert max(bottom.max(), right.max()) == 64


def test_a_box_is_hand_computed() -> None:
    # Area 0.02 + 0.5 * 0.23 = 0.135 at aspect 1: edge sqrt(0.135) * 100 = 36.7, so 36; a middle draw of 65 places: 32.
    boxes = erased_boxes(np.array([[0.0, 0.5, 0.5, 0.5, 0.999, 0.0]]), 0.25, 100, 100)
    assert boxes.tolist() == [[32, 68, 64, 100]]


def test_noise_fills_the_box_and_nothing_else_changes() -> None:
    numbers = draws(40)
    images = torch.full((40, 3, 32, 32), 0.25)
    erase(images, numbers, ViewSettings(erasing=0.5, erasing_area=0.5))
    boxes = erased_boxes(numbers, 0.5, 32, 32)
    filled = []
    for image, number, (top, bottom, left, right) in zip(images, numbers, boxes, strict=True):
        inside = torch.zeros(32, 32, dtype=torch.bool)
        inside[top:bottom, left:right] = bool(number[0] < 0.5)
        assert torch.equal(image[0] != 0.25, inside)
        assert torch.equal(image[0], image[1])  # grey stays grey
        assert torch.equal(image[0], image[2])
        filled += image[0][inside].tolist()
    assert 0 < (numbers[:, 0] < 0.5).sum() < 40
    assert stats.kstest(filled, "uniform").pvalue > 0.01
