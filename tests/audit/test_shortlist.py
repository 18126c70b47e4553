from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tlmed.audit.shortlist import coarse_thumbnails, resampling, shortlist_pairs


def _textures(num: int, seed: int = 0, size: int = 64) -> np.ndarray:
    """(num, size, size) smooth random pictures, no two alike."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (num, 12, 12)).astype(np.float32)
    return np.stack(
        [
            np.clip(np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC)), 0, 255)
            for one in coarse
        ]
    ).astype(np.uint8)


def test_resampling_averages_over_what_falls_into_each_pixel() -> None:
    halves = resampling(4, 2, 0.0, 1.0)
    np.testing.assert_allclose(halves, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    # The part from 1/8 to 7/8 of four pixels: half of the first, the second; the third, half of the fourth.
    cropped = resampling(4, 2, 0.125, 0.875)
    np.testing.assert_allclose(cropped, [[1 / 3, 2 / 3, 0, 0], [0, 0, 2 / 3, 1 / 3]], rtol=1e-6)


def test_coarse_thumbnails_do_not_depend_on_gain_and_offset_and_name_what_is_blank() -> None:
    pictures = _textures(3) // 4 + 20
    pictures[2] = 77
    coarse, has_contrast = coarse_thumbnails(pictures)
    assert has_contrast.tolist() == [True, True, False]
    np.testing.assert_allclose(np.linalg.norm(coarse[:2], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(coarse_thumbnails(pictures * 2 + 30)[0][:2], coarse[:2], atol=1e-4)


@pytest.mark.parametrize("num", [2, 30, 1500])
def test_copies_are_listed_and_few_others_are(num: int) -> None:
    pictures = _textures(num)
    copied = np.arange(0, num, 5)
    copies = (pictures[copied] * 0.8).astype(np.uint8)
    pairs = shortlist_pairs(np.concatenate([pictures, copies]))
    expected = {(source, num + index) for index, source in enumerate(copied.tolist())}
    assert expected <= {tuple(pair) for pair in pairs.tolist()}
    assert (pairs[:, 0] < pairs[:, 1]).all()
    if num > 64:  # of fewer all pairs are listed
        assert len(pairs) < 8 * (num + len(copies))


def test_equal_seeds_give_equal_pairs_and_blank_pictures_none() -> None:
    pictures = _textures(200)
    pictures[::2] = 0
    pictures[1::4] = pictures[1]
    pairs = shortlist_pairs(pictures, seed=3)
    np.testing.assert_array_equal(pairs, shortlist_pairs(pictures, seed=3))
    assert (pairs % 2 == 1).all()
    assert len(pairs) > 0
    assert shortlist_pairs(np.zeros((5, 64, 64), dtype=np.uint8)).shape == (0, 2)
    assert shortlist_pairs(np.zeros((0, 64, 64), dtype=np.uint8)).shape == (0, 2)
