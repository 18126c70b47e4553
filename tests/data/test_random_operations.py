from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from tlmed.data.augment import NUM_DRAWS, as_float, draw_numbers, training_views
from tlmed.data.random_operations import LARGEST, OPERATIONS, DrawnOperations, blurred, draw_operations, geometry
from tlmed.recipe.training import ViewSettings

STILL = {"shift": 0.0, "scale": 0.0, "rotation_degrees": 0.0, "brightness": 0.0, "contrast": 0.0}
EDGE = 32


def pixels(count: int = 1, channels: int = 1) -> np.ndarray:
    grey = np.random.default_rng(0).integers(40, 216, (count, 1, EDGE, EDGE), dtype=np.uint8)
    return np.repeat(grey, channels, axis=1)


def view(kind: str, magnitude: float, *, direction: float = 0.9, third: float = 0.9, channels: int = 1) -> torch.Tensor:
    """An image after one operation alone; directions and axes from 0.5 on are positive, and x."""
    draws = np.full((1, NUM_DRAWS), 0.5)
    draws[0, 14:17] = (OPERATIONS.index(kind) + 0.5) / len(OPERATIONS), direction, third
    settings = ViewSettings(**STILL, random_operations=1, random_magnitude=magnitude)
    return training_views(pixels(channels=channels), draws, settings)


def image() -> np.ndarray:
    return np.asarray(as_float(pixels()).numpy()[0, 0], dtype=np.float64)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("brightness", image() + 0.1),
        ("contrast", (image() - 0.5) * 1.18 + 0.5),
        ("gamma", image() ** 2**0.2),
        ("sharpen", image() + 0.4 * (image() - ndimage.gaussian_filter(image(), 1.0, mode="nearest", truncate=3.0))),
    ],
)
def test_intensity_is_hand_computed(kind: str, expected: np.ndarray) -> None:
    changed = view(kind, 0.2)[0, 0].numpy()
    np.testing.assert_allclose(changed, expected.clip(0, 1), atol=1e-5)


def test_the_direction_is_drawn() -> None:
    np.testing.assert_allclose(view("brightness", 0.2, direction=0.4)[0, 0], (image() - 0.1).clip(0, 1), atol=1e-5)


@pytest.mark.parametrize("deviation", [1.0, 2.0])
def test_blur_is_scipys(deviation: float) -> None:
    expected = ndimage.gaussian_filter(image(), deviation, mode="nearest", truncate=3.0)
    np.testing.assert_allclose(blurred(as_float(pixels()), deviation)[0, 0], expected, atol=1e-6)


def test_blur_is_measured_in_edges_of_the_image() -> None:
    strength_of_one_pixel = 1 / EDGE / LARGEST["blur"]
    assert strength_of_one_pixel > 1  # one pixel of 32 is more than it ever blurs: a third of it, then
    changed = view("blur", strength_of_one_pixel / 3)
    torch.testing.assert_close(changed, blurred(as_float(pixels()), 1 / 3), atol=1e-5, rtol=0)


def test_noise_is_normal_with_the_stated_deviation_and_its_own_key() -> None:
    added = (view("noise", 0.5, third=0.3)[0, 0].numpy() - image()).ravel()
    assert stats.kstest(added / (0.5 * LARGEST["noise"]), "norm").pvalue > 0.01
    assert not torch.equal(view("noise", 0.5, third=0.3), view("noise", 0.5, third=0.4))


def test_a_shift_moves_by_the_stated_fraction_along_the_drawn_axis() -> None:
    quarter = 0.25 / LARGEST["shift"]
    original = as_float(pixels())
    along_x, along_y = view("shift", quarter, third=0.9), view("shift", quarter, third=0.1)
    torch.testing.assert_close(along_x[:, :, :, :24], original[:, :, :, 8:], atol=1e-5, rtol=0)
    torch.testing.assert_close(along_y[:, :, :24], original[:, :, 8:], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kind", "third", "expected"),
    [
        ("rotate", 0.5, [[np.sqrt(0.75), -0.5, 0], [0.5, np.sqrt(0.75), 0], [0, 0, 1]]),  # 30 degrees
        ("shear", 0.9, [[1, 0.3, 0], [0, 1, 0], [0, 0, 1]]),
        ("shear", 0.1, [[1, 0, 0], [0.3, 1, 0], [0, 0, 1]]),
        ("zoom", 0.5, [[1.5, 0, 0], [0, 1.5, 0], [0, 0, 1]]),
        ("blur", 0.5, np.eye(3)),
    ],
)
def test_matrices_at_full_strength(kind: str, third: float, expected: list[list[float]]) -> None:
    drawn = DrawnOperations(np.array([[OPERATIONS.index(kind)]]), np.array([[LARGEST[kind]]]), np.array([[third]]))
    np.testing.assert_allclose(geometry(drawn)[0], expected, atol=1e-12)


def test_two_operations_follow_each_other() -> None:
    kinds = np.array([[OPERATIONS.index("zoom"), OPERATIONS.index("shift")]])
    together = geometry(DrawnOperations(kinds, np.array([[0.5, 0.25]]), np.array([[0.9, 0.9]])))[0]
    # A point of the view is shifted by 0.5 (a quarter of the edge), then zoomed: 1.5 * (0.2 + 0.5).
    np.testing.assert_allclose(together @ [0.2, 0.4, 1.0], [1.05, 0.6, 1.0])


def test_operations_and_directions_are_drawn_uniformly() -> None:
    drawn = draw_operations(
        np.random.default_rng(0).random((3000, 12)), ViewSettings(random_operations=2, random_magnitude=1)
    )
    assert drawn.kinds.shape == (3000, 2)
    assert stats.chisquare(np.bincount(drawn.kinds.ravel(), minlength=len(OPERATIONS))).pvalue > 0.01
    assert stats.binomtest(int((drawn.strengths > 0).sum()), 6000).pvalue > 0.01
    np.testing.assert_allclose(np.abs(drawn.strengths), np.array(list(LARGEST.values()))[drawn.kinds])


def test_no_strength_no_change() -> None:
    draws = draw_numbers(0, 0, range(8))
    still = ViewSettings(**STILL, random_operations=4, random_magnitude=0.0)
    torch.testing.assert_close(training_views(pixels(8), draws, still), as_float(pixels(8)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", OPERATIONS)
def test_grey_stays_grey_and_in_range(kind: str) -> None:
    colours = view(kind, 1.0, channels=3)
    assert torch.equal(colours[:, 0], colours[:, 1])
    assert torch.equal(colours[:, 0], colours[:, 2])
    assert torch.equal(colours[:, :1], view(kind, 1.0))
    assert not torch.equal(colours[:, :1], as_float(pixels()))
    assert colours.min() >= 0
    assert colours.max() <= 1


def test_a_view_does_not_depend_on_the_batch_around_it() -> None:
    settings = ViewSettings(random_operations=3, random_magnitude=0.5, erasing=0.5)
    stored, draws = pixels(12), draw_numbers(0, 0, range(12))
    together = training_views(stored, draws, settings)
    for row in range(12):
        assert torch.equal(together[row], training_views(stored[row : row + 1], draws[row : row + 1], settings)[0])
