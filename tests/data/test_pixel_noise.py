from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from tlmed.data.pixel_noise import uniform_noise

CPU = torch.device("cpu")


def murmur_finaliser(word: int) -> int:
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) % 2**32
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) % 2**32
    return word ^ (word >> 16)


def test_it_is_the_hash_of_place_and_key_in_whole_numbers() -> None:
    noise = uniform_noise(np.array([0.0, 0.75]), 5, 7, CPU)
    for image, key in enumerate([0, 3 * 2**30]):
        expected = [((murmur_finaliser(murmur_finaliser(i) ^ key) >> 9) + 0.5) / 2**23 for i in range(35)]
        assert noise[image].flatten().tolist() == expected


def test_it_is_uniform_and_independent_between_keys_and_neighbours() -> None:
    noise = uniform_noise(np.random.default_rng(0).random(4), 100, 100, CPU).numpy()[:, 0]
    assert stats.kstest(noise.ravel(), "uniform").pvalue > 0.01
    pairs = [(noise[0], noise[1]), (noise[:, :-1], noise[:, 1:]), (noise[:, :, :-1], noise[:, :, 1:])]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03
    assert noise.min() > 0
    assert noise.max() < 1
