from __future__ import annotations

import numpy as np
import pytest

from tlmed.data.blanking import blanked
from tlmed.recipe.model import Blanking


def _pixels(shape: tuple[int, ...] = (3, 1, 80, 160)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("blanking", "rows", "columns"), [("border-only", (10, 70), (20, 140)), ("centre-blanked", (16, 64), (32, 128))]
)
def test_the_middle_is_one_grey_level_and_the_rest_as_it_was(
    blanking: Blanking, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    pixels = _pixels()
    hidden = blanked(pixels, blanking)
    inside = np.zeros(pixels.shape, dtype=bool)
    inside[..., slice(*rows), slice(*columns)] = True
    assert set(hidden[inside].tolist()) == {128}
    np.testing.assert_array_equal(hidden[~inside], pixels[~inside])
    assert hidden.dtype == np.uint8


@pytest.mark.parametrize("blanking", ["border-only", "centre-blanked"])
def test_nothing_of_the_middle_is_left_to_tell_images_apart(blanking: Blanking) -> None:
    pixels, others = _pixels(), _pixels()
    others[..., 16:64, 32:128] = 255
    np.testing.assert_array_equal(blanked(pixels, blanking), blanked(others, blanking))


def test_the_pixels_that_were_given_stay() -> None:
    pixels = _pixels()
    blanked(pixels, "border-only")
    np.testing.assert_array_equal(pixels, _pixels())
    assert blanked(pixels, None) is pixels


def test_one_image_without_further_axes() -> None:
    assert (blanked(_pixels((16, 16)), "border-only")[2:14, 2:14] == 128).all()
