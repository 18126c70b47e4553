from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from tlmed.data.mixing import Box, Mix, cut_box, draw_mix, mixed, partners
from tlmed.recipe.training import TrainingSettings


def mixes_of(training: TrainingSettings, count: int = 600, edge: int = 64) -> list[Mix | None]:
    return [draw_mix(training, 0, step, edge, edge) for step in range(count)]


def test_off_by_default_and_with_probability_zero() -> None:
    assert mixes_of(TrainingSettings(), 5) == [None] * 5
    assert mixes_of(TrainingSettings(mixup=1.0, mix_probability=0.0), 5) == [None] * 5


def test_it_depends_on_seed_and_step_alone() -> None:
    training = TrainingSettings(mixup=0.4)
    assert draw_mix(training, 3, 7, 8, 8) == draw_mix(training, 3, 7, 8, 8)
    drawn = {draw_mix(training, seed, step, 8, 8) for seed, step in ((3, 7), (3, 8), (4, 7))}
    assert len(drawn) == 3


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_of_mixup_follow_the_beta_distribution(alpha: float) -> None:
    drawn = mixes_of(TrainingSettings(mixup=alpha))
    assert all(mix is not None and mix.box is None for mix in drawn)
    assert stats.kstest([mix.share for mix in drawn if mix], stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_with_both_each_batch_draws_one_and_some_stay_as_they_are() -> None:
    drawn = mixes_of(TrainingSettings(mixup=0.2, cutmix=1.0, mix_probability=0.6))
    num_mixed = sum(mix is not None for mix in drawn)
    num_cut = sum(mix is not None and mix.box is not None for mix in drawn)
    assert stats.binomtest(num_mixed, len(drawn), 0.6).pvalue > 0.01
    assert stats.binomtest(num_cut, num_mixed, 0.5).pvalue > 0.01


def test_boxes_are_hand_computed_and_clipped() -> None:
    assert cut_box(0.75, 0.5, 0.25, 40, 80) == Box(10, 30, 0, 40)  # half of each edge, about row 20 and column 20
    assert cut_box(0.75, 0.0, 0.99, 40, 80) == Box(0, 10, 59, 80)
    assert cut_box(0.0, 0.5, 0.5, 40, 80) == Box(0, 40, 0, 80)
    box = cut_box(1.0, 0.3, 0.3, 40, 80)
    assert (box.bottom - box.top) * (box.right - box.left) == 0


def test_the_share_of_cutmix_is_what_is_left_of_the_area() -> None:
    images = torch.stack([torch.zeros(1, 50, 50), torch.ones(1, 50, 50)])
    shares = []
    for mix in mixes_of(TrainingSettings(cutmix=1.0), 200, 50):
        assert mix is not None
        whole = mixed(images.clone(), mix)
        assert float((whole[0] == 0).double().mean()) == pytest.approx(mix.share, abs=1e-12)
        assert float((whole[1] == 1).double().mean()) == pytest.approx(mix.share, abs=1e-12)
        shares.append(mix.share)
    assert np.std(shares) > 0.2


def test_partners_are_neighbours_and_the_last_of_an_odd_batch_is_alone() -> None:
    assert partners(4).tolist() == [1, 0, 3, 2]
    assert partners(5).tolist() == [1, 0, 3, 2, 4]
    assert partners(1).tolist() == [0]


@pytest.mark.parametrize("mix", [Mix(0.3, None), Mix(0.9, Box(1, 4, 2, 3))])
def test_images_are_mixed_as_in_a_loop(mix: Mix) -> None:
    images = torch.rand(5, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    whole = mixed(images.clone(), mix)
    for i, j in enumerate([1, 0, 3, 2, 4]):
        for row in range(6):
            for column in range(6):
                own, other = images[i, :, row, column], images[j, :, row, column]
                if mix.box is None:
                    expected = 0.3 * own + 0.7 * other
                else:
                    expected = other if 1 <= row < 4 and 2 <= column < 3 else own
                torch.testing.assert_close(whole[i, :, row, column], expected)
