from __future__ import annotations

import numpy as np
import pytest

from tlmed.evaluation.estimates.curve_bands import curve_band
from tlmed.evaluation.estimates.fixed_split import estimate_auroc
from tlmed.evaluation.estimates.unit_scores import SeedScores
from tlmed.evaluation.metrics import Integers, Scored
from tlmed.evaluation.statistics.curves import GRID, precision_by_recall, sensitivity_by_false_alarms


def _seeds(num_seeds: int, num_groups: int = 80, *, folds: int | None = None) -> tuple[list[SeedScores], Integers]:
    """Two units a group, of one class; seeds agree but for some noise."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_groups) % 2, 2)
    groups = np.repeat(np.arange(num_groups), 2)
    case = generator.normal(labels, 1.0) + np.repeat(generator.normal(size=num_groups), 2) * 0.5
    seeds = []
    for seed in range(num_seeds):
        score = 1 / (1 + np.exp(-case - generator.normal(size=len(labels)) * 0.3))
        of_fold = None if folds is None else generator.permutation(num_groups)[groups] % folds
        seeds.append(SeedScores(seed, Scored(labels, np.stack([1 - score, score], axis=1), 1), of_fold))
    return seeds, groups


def _area(curve: np.ndarray) -> float:
    return float(np.trapezoid(curve, GRID))


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_the_band_agrees_with_the_interval_of_the_auroc(num_seeds: int) -> None:
    seeds, groups = _seeds(num_seeds)
    band = curve_band(sensitivity_by_false_alarms, seeds, groups)
    auroc = estimate_auroc([one.scored for one in seeds], groups, None)
    assert band.low is not None
    assert band.high is not None
    assert auroc.value is not None
    assert auroc.low is not None
    assert auroc.high is not None
    assert _area(band.values) == pytest.approx(auroc.value, abs=0.01)
    # Points of a curve that all were at their limits at once would be further off than their mean is, not much.
    assert 1.0 < (_area(band.high) - _area(band.low)) / (auroc.high - auroc.low) < 1.8
    assert _area(band.low) < auroc.low + 0.01
    assert _area(band.high) > auroc.high - 0.01


def test_the_band_holds_its_curve_and_rises() -> None:
    seeds, groups = _seeds(3)
    for curve in (sensitivity_by_false_alarms, precision_by_recall):
        band = curve_band(curve, seeds, groups)
        assert band.low is not None
        assert band.high is not None
        assert (band.low <= band.values).all()
        assert (band.values <= band.high).all()
        mean = np.mean([curve(one.scored, np.ones((1, 160)))[0] for one in seeds], axis=0)
        assert band.values == pytest.approx(mean)
    rising = curve_band(sensitivity_by_false_alarms, seeds, groups)
    assert (np.diff(rising.values) >= 0).all()
    assert rising.method == "percentiles of 500 resamples of the 80 groups, by class, and of the 3 seeds"


def test_seeds_that_differ_widen_the_band() -> None:
    seeds, groups = _seeds(2)
    scored = seeds[0].scored
    poor = Scored(scored.labels, scored.probabilities[:, ::-1].copy(), 1)
    alike = curve_band(sensitivity_by_false_alarms, [seeds[0], SeedScores(1, scored, None)], groups)
    apart = curve_band(sensitivity_by_false_alarms, [seeds[0], SeedScores(1, poor, None)], groups)
    assert alike.low is not None
    assert alike.high is not None
    assert apart.low is not None
    assert apart.high is not None
    assert (apart.high - apart.low).mean() > 2 * (alike.high - alike.low).mean()


def test_too_few_groups_have_no_band() -> None:
    band = curve_band(sensitivity_by_false_alarms, *_seeds(1, num_groups=12))
    assert band.low is None
    assert band.method == "no band: fewer than 10 groups of a class"


def test_over_folds_the_curve_is_that_within_folds() -> None:
    seeds, groups = _seeds(2, folds=5)
    band = curve_band(sensitivity_by_false_alarms, seeds, groups)
    within = []
    for one in seeds:
        assert one.folds is not None
        for fold in range(5):
            members = one.folds == fold
            part = Scored(one.scored.labels[members], one.scored.probabilities[members], 1)
            within.append(sensitivity_by_false_alarms(part, np.ones((1, members.sum())))[0])
    assert band.values == pytest.approx(np.mean(within, axis=0))
    assert band.low is not None
    assert band.low[0] <= band.values[0]
    assert band.low[-1] == band.values[-1] == 1.0
    assert "Nadeau" in band.method


def test_two_folds_are_too_few_for_a_band() -> None:
    band = curve_band(sensitivity_by_false_alarms, *_seeds(1, folds=2))
    assert band.high is None
    assert band.method.startswith("no band: 2 folds in all")
