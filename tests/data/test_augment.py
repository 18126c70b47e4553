from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from tlmed.data.augment import as_float, draw_numbers, training_views
from tlmed.recipe.training import ViewSettings

STILL = {"shift": 0.0, "scale": 0.0, "rotation_degrees": 0.0, "brightness": 0.0, "contrast": 0.0}


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 16, 16), dtype=np.uint8)


def test_switched_off_or_all_zero_is_the_image_itself() -> None:
    pixels, draws = images(), draw_numbers(0, 0, [0, 1])
    assert torch.equal(training_views(pixels, draws, ViewSettings(enabled=False)), as_float(pixels))
    torch.testing.assert_close(
        training_views(pixels, draws, ViewSettings(**STILL)), as_float(pixels), atol=1e-5, rtol=0
    )


def test_flip_mirrors_left_and_right_and_is_off_by_default() -> None:
    pixels, draws = images(), draw_numbers(0, 0, [0, 1])
    flipped = training_views(pixels, draws, ViewSettings(**STILL, horizontal_flip=1.0))
    torch.testing.assert_close(flipped, as_float(pixels).flip(3), atol=1e-5, rtol=0)
    assert ViewSettings().horizontal_flip == 0.0


def test_a_shift_moves_by_the_stated_fraction() -> None:
    pixels = images(1)
    draws = np.full((1, 8), 0.5)
    draws[0, 2] = 1.0  # the largest shift along x
    moved = training_views(pixels, draws, ViewSettings(**{**STILL, "shift": 0.25}))
    torch.testing.assert_close(moved[:, :, :, :12], as_float(pixels)[:, :, :, 4:], atol=1e-5, rtol=0)


def test_brightness_and_contrast_are_hand_computed() -> None:
    pixels = np.full((1, 1, 4, 4), 102, dtype=np.uint8)  # 0.4
    draws = np.full((1, 8), 0.5)
    draws[0, 5], draws[0, 6] = 1.0, 0.0
    view = training_views(pixels, draws, ViewSettings(**{**STILL, "contrast": 0.5, "brightness": 0.1}))
    torch.testing.assert_close(view, torch.full((1, 1, 4, 4), (0.4 - 0.5) * 1.5 + 0.5 - 0.1), atol=1e-5, rtol=0)


def test_draws_depend_on_seed_epoch_and_position_alone() -> None:
    together = draw_numbers(3, 2, [5, 9])
    assert np.array_equal(together[1], draw_numbers(3, 2, [9])[0])
    others = [draw_numbers(4, 2, [9]), draw_numbers(3, 1, [9]), draw_numbers(3, 2, [8])]
    assert all(not np.array_equal(together[1], other[0]) for other in others)
    assert together.min() >= 0
    assert together.max() < 1


def test_the_first_draws_are_the_generators_first_numbers() -> None:
    expected = np.random.Generator(np.random.Philox(key=[3, (2 << 32) + 9])).random(8)
    assert np.array_equal(draw_numbers(3, 2, [9])[0, :8], expected)


def test_a_rotation_turns_about_the_centre() -> None:
    draws = np.full((2, 8), 0.5)
    draws[:, 0] = 1.0
    turned = training_views(images(), draws, ViewSettings(**{**STILL, "rotation_degrees": 90.0}))
    torch.testing.assert_close(turned, as_float(images()).rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_mild_geometry_is_that_of_torchs_affine_grid() -> None:
    draws = draw_numbers(0, 0, [0, 1])
    settings = ViewSettings(brightness=0.0, contrast=0.0)
    symmetric = 2 * draws - 1
    matrices = []
    for row in symmetric:
        angle, zoom = math.radians(10) * row[0], 1 + 0.12 * row[1]
        cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
        matrices.append([[cosine, -sine, 0.12 * row[2]], [sine, cosine, 0.12 * row[3]]])
    grid = functional.affine_grid(torch.tensor(matrices, dtype=torch.float32), [2, 1, 16, 16], align_corners=False)
    expected = functional.grid_sample(as_float(images()), grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(training_views(images(), draws, settings), expected, atol=1e-4, rtol=0)


def test_a_tensor_gives_what_an_array_gives() -> None:
    draws, settings = draw_numbers(0, 0, [0, 1]), ViewSettings(random_operations=2, erasing=1.0)
    of_array = training_views(images(), draws, settings)
    assert torch.equal(training_views(torch.from_numpy(images()), draws, settings), of_array)
