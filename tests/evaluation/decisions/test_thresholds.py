from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm

from tlmed.evaluation.decisions.thresholds import Aim, OperatingPoint, aim, assure, num_needed_to_assure

_AIMS: tuple[Aim, ...] = ("sensitivity", "specificity")


def _random(seed: int, num_units: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores in steps of 0.1, so that many are tied."""
    generator = np.random.default_rng(seed)
    is_positive = generator.random(num_units) < 0.4
    return is_positive, norm.cdf(generator.normal(2.5 * is_positive - 1.2, 1) * 0.7).round(1)


def _best_by_trying(is_positive: np.ndarray, scores: np.ndarray, of: Aim, target: float, assured: bool) -> int:
    """How many units the best threshold calls positive."""
    called = []
    for threshold in np.unique(scores)[1:]:
        right = scores[is_positive] >= threshold if of == "sensitivity" else scores[~is_positive] < threshold
        limit = binomtest(int(right.sum()), len(right), alternative="greater").proportion_ci(0.95, "exact").low
        if (limit if assured else right.mean()) >= target:
            called.append(int((scores >= threshold).sum()))
    return min(called) if of == "sensitivity" else max(called)


def test_aim_by_hand() -> None:
    is_positive = [0, 0, 1, 0, 1, 0, 1, 1]
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9]
    # Three of four positives need the one at 0.5; the threshold is half way to the next lower score.
    found = aim(is_positive, scores, of="sensitivity", target=0.75)
    assert found.threshold == pytest.approx(0.45)
    assert (found.sensitivity, found.specificity) == (0.75, 0.75)
    assert (found.num_positives, found.num_negatives, found.assured) == (4, 4, False)
    assert found.lower_limit == pytest.approx(beta.ppf(0.05, 3, 2))
    found = aim(is_positive, scores, of="specificity", target=0.75)
    assert found.threshold == pytest.approx(0.45)
    assert aim(is_positive, scores, of="sensitivity", target=0.76).threshold == pytest.approx(0.25)
    assert aim(is_positive, scores, of="specificity", target=0.76).threshold == pytest.approx(0.65)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("of", _AIMS)
def test_no_better_threshold_reaches_the_target(of: Aim, seed: int) -> None:
    is_positive, scores = _random(seed)
    for target in (0.5, 0.75):
        for choose, assured in ((aim, False), (assure, True)):
            found = choose(is_positive, scores, of=of, target=target)
            called = scores >= found.threshold
            assert int(called.sum()) == _best_by_trying(is_positive, scores, of, target, assured)
            assert found.sensitivity == called[is_positive].mean()
            assert found.specificity == pytest.approx((~called[~is_positive]).mean())
            right = called[is_positive] if of == "sensitivity" else ~called[~is_positive]
            exact = binomtest(int(right.sum()), len(right), alternative="greater").proportion_ci(0.95, "exact").low
            assert found.lower_limit == pytest.approx(exact, abs=1e-10)


@pytest.mark.parametrize(("num_right", "num_units"), [(55, 100), (7, 10), (29, 50), (57, 100), (14, 25)])
def test_a_share_that_is_the_target_reaches_it(num_right: int, num_units: int) -> None:
    scores = np.arange(num_units * 2) / 1000
    is_positive = np.arange(num_units * 2) % 2 == 1
    for of in _AIMS:
        found = aim(is_positive, scores, of=of, target=num_right / num_units)
        assert getattr(found, of) == num_right / num_units


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_number_needed_is_the_least_with_which_a_limit_reaches_the_target(target: float, level: float) -> None:
    def best_limit(num_units: int) -> float:
        return float(binomtest(num_units, num_units, alternative="greater").proportion_ci(level, "exact").low)

    num_units = num_needed_to_assure(target, level=level)
    assert best_limit(num_units) >= target
    assert num_units == 1 or best_limit(num_units - 1) < target


def test_too_few_units_are_refused_with_the_number_needed() -> None:
    assert num_needed_to_assure(0.95) == 59
    is_positive = np.arange(200) >= 142
    with pytest.raises(ValueError, match="needs at least 59 positives, each of its own group; here are 58"):
        assure(is_positive, np.arange(200), of="sensitivity", target=0.95)
    is_positive = np.arange(200) >= 141
    assert assure(is_positive, np.arange(200), of="sensitivity", target=0.95).sensitivity == 1.0
    with pytest.raises(ValueError, match="needs at least 299 negatives, each of its own group; here are 141"):
        assure(is_positive, np.arange(200), of="specificity", target=0.99)


def test_units_of_a_group_count_as_one_and_more_the_less_even_they_are() -> None:
    is_positive = np.arange(400) >= 200
    scores, pairs = np.arange(400), np.arange(400) // 2
    # 200 positives in pairs count as 100.
    grouped = assure(is_positive, scores, pairs, of="sensitivity", target=0.9)
    alone = assure(is_positive[::2], scores[::2], of="sensitivity", target=0.9)
    assert grouped.sensitivity == pytest.approx(alone.sensitivity, abs=0.01)
    share = grouped.sensitivity
    assert grouped.lower_limit == pytest.approx(beta.ppf(0.05, 100 * share, 100 * (1 - share) + 1))
    # One group of 100 among the positives, and 100 of one: 200^2 / (100^2 + 100).
    uneven = np.where(np.arange(400) >= 300, 400, np.arange(400))
    with pytest.raises(ValueError, match=r"29 positives, each of its own group; here are 200, which count as 3\.96"):
        assure(is_positive, scores, uneven, of="sensitivity", target=0.9)
    # Groups of the other class do not matter, nor do they to the point.
    assert assure(is_positive, scores, uneven, of="specificity", target=0.9).lower_limit > 0.9
    assert aim(is_positive, scores, uneven, of="sensitivity", target=0.9).threshold == pytest.approx(219.5)


@pytest.mark.parametrize("of", _AIMS)
def test_assured_thresholds_hold_in_the_population_and_those_aimed_at_every_second_time(of: Aim) -> None:
    generator = np.random.default_rng(0)
    is_positive = np.arange(160) % 2 == 0
    num_held = {"aim": 0, "assure": 0}
    for _ in range(200):
        scores = generator.normal(2.0 * is_positive, 1)
        for name, choose in (("aim", aim), ("assure", assure)):
            threshold = choose(is_positive, scores, of=of, target=0.9).threshold
            truth = norm.sf(threshold, 2) if of == "sensitivity" else norm.cdf(threshold)
            num_held[name] += bool(truth >= 0.9)
    # Of 200, 190 or more; three standard deviations are 9. The exact share is above 95 %, for ranks are whole.
    assert num_held["assure"] >= 190 - 9
    assert 60 < num_held["aim"] < 140


def test_rounding_does_not_decide_between_neighbouring_scores() -> None:
    lower, upper = 0.5, float(np.nextafter(0.5, 1))
    found = aim([0, 0, 1, 1], [0.1, lower, upper, 0.9], of="sensitivity", target=0.99)
    assert found.threshold == upper
    assert (found.sensitivity, found.specificity) == (1.0, 1.0)


def test_what_is_no_decision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"only calling every unit positive reaches a sensitivity of 0\.9"):
        aim([1, 0, 1, 0], [0.1, 0.2, 0.3, 0.4], of="sensitivity", target=0.9)
    with pytest.raises(ValueError, match=r"only calling no unit positive reaches a specificity of 0\.9"):
        aim([1, 0, 1, 0], [0.1, 0.2, 0.3, 0.4], of="specificity", target=0.9)
    lowest = np.arange(100) % 2 == 0
    with pytest.raises(ValueError, match=r"only calling every unit positive reaches a sensitivity of 0\.94 with 95%"):
        assure(lowest, np.arange(100), of="sensitivity", target=0.94)
    with pytest.raises(ValueError, match="all scores are the same"):
        aim([1, 0], [0.5, 0.5], of="sensitivity", target=0.9)


@pytest.mark.parametrize("choose", [aim, assure])
def test_what_is_wrong_is_said(choose: Callable[..., OperatingPoint]) -> None:
    for target in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="the target of sensitivity must be between 0 and 1"):
            choose([1, 0], [0.9, 0.5], of="sensitivity", target=target)
        with pytest.raises(ValueError, match="the target must be between 0 and 1"):
            num_needed_to_assure(target)
    with pytest.raises(ValueError, match="all units are of one class"):
        choose([1, 1], [0.9, 0.5], of="sensitivity", target=0.9)
    with pytest.raises(ValueError, match="missing or infinite"):
        choose([1, 0], [0.9, np.nan], of="sensitivity", target=0.9)
    with pytest.raises(ValueError, match="groups has 1 values for 2 units"):
        choose([1, 0], [0.9, 0.5], ["a"], of="sensitivity", target=0.9)
    with pytest.raises(ValueError, match="confidence level must be between 0 and 1"):
        choose([1, 0], [0.9, 0.5], of="sensitivity", target=0.9, level=95)
    with pytest.raises(ValueError, match="for sensitivity or specificity, not for 'ppv'"):
        choose([1, 0], [0.9, 0.5], of="ppv", target=0.9)
