"""What the difference of arms is worth, by what it is claimed for: these models, this training set, or new ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from tlmed.evaluation.intervals import MIN_FOLDS
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import check_level, checked_numbers
from tlmed.evaluation.statistics.jackknife import jackknife_covariance
from tlmed.evaluation.statistics.multi_reader import error_covariances
from tlmed.evaluation.tests import splits_vary

_OF_EQUIVALENCE = 0.90  # two one-sided tests at 5 % ask whether this interval lies within the margin
_NO_VARIATION = 1e-20  # rounding of equal figures leaves less
_LEAST_P = 1e-300
_MOST_COUNTED, _MOST_FREEDOM = 5, 7  # folds, see `claim_over_training_sets`
_NO_SURER = "no narrower than for these models"
_OVER_FOLDS = "corrected resampled t (Nadeau & Bengio 2003) within folds, approximate"


@dataclass(frozen=True)
class Claim:
    """A contrast of arms, and how far it may be off for what it is claimed for.

    Attributes:
        kind: "a" these trained models on new patients; "b" this training set, new patients and seeds; "c" new training
            sets of this size.
        value: the contrast.
        low: lower limit at the level asked for; not kept within what a difference can be.
        high: upper limit.
        low_90: lower limit at 90 %, which says whether arms are equivalent.
        high_90: upper limit at 90 %.
        standard_error: of the value.
        degrees_of_freedom: of the standard error. In (b) the limits are not t times it: see `claim_over_seeds`.
        p_value: two-sided, of being 0.
        method: its name.
    """

    kind: Literal["a", "b", "c"]
    value: float
    low: float
    high: float
    low_90: float
    high_90: float
    standard_error: float
    degrees_of_freedom: float
    p_value: float
    method: str


@dataclass(frozen=True, eq=False)
class ArmFigures:
    """A metric of one arm on a test set, by training seed.

    Attributes:
        seeds: of the R trainings; one alone where all seeds come to the same.
        values: (R,) the metric of each.
        left_out: (G, R) the same without each group of the test set, in an order that is the same for all arms.
    """

    seeds: tuple[object, ...]
    values: Floats
    left_out: Floats


@dataclass(frozen=True)
class _Part:
    """One of the independent parts of a squared standard error, and what is known about it."""

    variance: float
    freedom: float


def claim_of_these_models(
    weights: Mapping[str, float], arms: Mapping[str, ArmFigures], *, level: float = 0.95
) -> Claim | None:
    """Return what a contrast of the arms' means over seeds is on new patients, the trained models being what they are.

    The standard error is the jackknife's over groups, with G - 1 degrees of freedom.

    Args:
        weights: of each arm in the contrast, such as 1 and -1.
        arms: the figures of these arms, perhaps of others too.
        level: of confidence.

    Returns:
        The claim; None where leaving out groups changes nothing.

    Raises:
        ValueError: fewer than two groups, figures that are missing, or a level outside (0, 1).

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5, with groups as the units.
    """
    of_cases = _Part(_variance_over_cases(weights, arms), _num_groups(weights, arms) - 1)
    return _claim("a", _value(weights, arms), [of_cases], level, "jackknife by group")


def claim_over_seeds(
    weights: Mapping[str, float], arms: Mapping[str, ArmFigures], *, level: float = 0.95
) -> Claim | None:
    """Return what a contrast of arms is over new patients and new seeds, with this training set.

    Obuchowski and Rockette's analysis of random readers, who are seeds. The squared standard error has two parts:

    - S, what other seeds would change: the variance of the seeds' figures over their number. Where the arms have the
      same seeds it is that of the contrast by seed, s^2 / R with R - 1 degrees of freedom; arms of one seed, which no
      seed changes, are subtracted from each. Where seeds differ (another run, another tool) arms are independent:
      S = sum_k w_k^2 s_k^2 / R_k, with Satterthwaite's degrees of freedom.
    - C, what other patients would change in all seeds alike: the jackknife's covariance of two different seeds,
      `cov2`, of the contrast by seed; or, which is the same thing without pairs, the jackknife's variance of the
      contrast of means less sum_k w_k^2 (variance_k - cov2_k) / R_k, which is in S already. At least 0, with G - 1
      degrees of freedom.

    The half width is sqrt(t_S^2 S + t_C^2 C), each part with the quantile of its own degrees of freedom, after
    Banerjee, who proved that such limits hold at least at their level. Hillis' (S + C)^2 / (S^2 / (R - 1)) degrees of
    freedom for the sum, which is what readers are compared by, take a small s^2 of few seeds at its word: in
    `benchmarks/verdicts.py` they find a difference where there is none in 11 % of comparisons of two seeds and 7 % of
    three where seeds vary as much as cases. The price is wide limits with two seeds; from five on it is small.

    Pairs by seed gain something only where arms share stages that are trained anew with each seed; the seeds of two
    arms are otherwise independent draws, and pairs then cost degrees of freedom: by simulation 3 % of the width with
    five seeds that vary as on COVID-CT, 8 % where they vary as cases do. Where half of that is shared they save 12 %.

    It is never narrower than `claim_of_these_models`, and its p-value never smaller. New seeds cannot make surer than
    these models are on new patients; but S is estimated, and with few seeds it is small by luck at times, while C has
    the noise that each seed adds to its own cases taken out. Where that happens, these models' limits hold.

    Precondition: an arm has one seed only where other seeds would come to the same. Of an arm that was trained once
    the figures cannot tell how seeds differ, and nobody may make this claim; see `claim_of_these_models`.

    Args: as `claim_of_these_models`.

    Returns:
        The claim; None where neither seeds nor groups change anything.

    Raises:
        ValueError: as `claim_of_these_models`.

    Source: Obuchowski & Rockette, Commun Stat Simul Comput 1995;24:285; Hillis, Stat Med 2007;26:596; limits,
    Banerjee, Sankhya 1960;22:351; degrees of freedom, Satterthwaite, Biometrics Bull 1946;2:110.
    """
    by_seed = _contrast_by_seed(weights, arms)
    compared_weights, compared = (weights, arms) if by_seed is None else ({"": 1.0}, {"": by_seed})
    of_each, shared = [], _variance_over_cases(compared_weights, compared)
    for arm, weight in compared_weights.items():
        num_seeds = len(compared[arm].values)
        if num_seeds > 1:
            factor = weight**2 / num_seeds
            of_each.append(_Part(factor * float(compared[arm].values.var(ddof=1)), num_seeds - 1))
            covariance = jackknife_covariance(compared[arm].left_out)
            errors = error_covariances(covariance[None, :, None, :], 1, num_seeds)
            shared -= factor * (errors.variance - errors.cov2)
    of_seeds = _Part(sum(part.variance for part in of_each), _satterthwaite(of_each))
    of_cases = _Part(max(shared, 0.0), _num_groups(weights, arms) - 1)
    pairs = "paired" if by_seed is not None else "not paired"
    method = f"Obuchowski-Rockette, seeds as random readers, {pairs}; limits after Banerjee"
    claim = _claim("b", _value(weights, arms), [of_seeds, of_cases], level, method)
    return _no_surer(claim, claim_of_these_models(weights, arms, level=level))


def _no_surer(claim: Claim | None, of_models: Claim | None) -> Claim | None:
    """The claim over seeds with the wider limits of both, at each level, and the larger standard error and p-value."""
    if claim is None or of_models is None:
        return claim if of_models is None else replace(of_models, kind="b", method=f"{of_models.method}; {_NO_SURER}")
    by_error = max(claim, of_models, key=lambda one: one.standard_error)
    widest = max(claim, of_models, key=lambda one: one.high - one.low)
    widest_90 = max(claim, of_models, key=lambda one: one.high_90 - one.low_90)
    floored = replace(
        claim,
        low=widest.low,
        high=widest.high,
        low_90=widest_90.low_90,
        high_90=widest_90.high_90,
        standard_error=by_error.standard_error,
        degrees_of_freedom=by_error.degrees_of_freedom,
        p_value=max(claim.p_value, of_models.p_value),
    )
    return claim if floored == claim else replace(floored, method=f"{claim.method}; {_NO_SURER}")


def claim_over_training_sets(
    differences: Floats, *, num_train: float, num_test: float, level: float = 0.95
) -> Claim | None:
    """Return what a contrast of arms is over new training sets of this size, from the folds of repeated k-fold.

    The standard error is sqrt((1 / J + n_test / n_train) s^2), where at most five folds count in J, however many folds
    and repeats there are; s^2 has one degree of freedom less than there are folds, at most seven. What folds share by
    training on overlapping data cannot be estimated from them (Bengio & Grandvalet, J Mach Learn Res 2004;5:1089), and
    more of them do not show it either: with all 15 folds of three repeats in J, 12 % of comparisons find a difference
    where there is none if new training sets change the contrast 1.7 times as much as new patients do (in variance;
    0.04 to 0.24 times in small models that were really fitted); so, it is 6 % at most (`benchmarks/verdicts.py`;
    docs/coverage.md). Where training sets change it even more, nothing in the folds shows it.

    Args:
        differences: (J,) the contrast within each fold of each repeat.
        num_train: groups in training, on average over folds.
        num_test: in test.
        level: of confidence.

    Returns:
        The claim; None where all folds come to the same. See `refuses_training_set_claim`.

    Raises:
        ValueError: fewer than two folds, no groups, differences that are missing, or a level outside (0, 1).

    Source: Nadeau & Bengio, Mach Learn 2003;52:239; for repeated folds, Bouckaert & Frank, PAKDD 2004, LNCS 3056:3.
    """
    numbers = checked_numbers(differences, "differences")
    if len(numbers) < 2 or min(num_train, num_test) < 1:
        raise ValueError(f"{len(numbers)} folds of {num_test:g} groups, {num_train:g} in training: too few")
    if not splits_vary(numbers):
        return None
    num_counted, freedom = min(len(numbers), _MOST_COUNTED), min(len(numbers) - 1, _MOST_FREEDOM)
    variance = (1 / num_counted + num_test / num_train) * float(numbers.var(ddof=1))
    return _claim("c", float(numbers.mean()), [_Part(variance, freedom)], level, _OVER_FOLDS)


def refuses_training_set_claim(*, num_folds: int, num_repeats: int) -> str | None:
    """Return why folds of this design say nothing about new training sets; None where they do.

    Few folds alone are refused: with J - 1 degrees of freedom Student's t is too wide to tell. No other design finds
    too much where there is nothing by being what it is, small folds least of all: by simulation
    (`benchmarks/verdicts.py`) 40 groups in 10 folds in at most 1 % of comparisons. What `claim_over_training_sets` says
    of training sets that vary much holds for every design.

    Args:
        num_folds: of each repeat.
        num_repeats: that part the groups anew; seeds on the same folds are one.
    """
    num_splits = num_folds * num_repeats
    if num_splits < MIN_FOLDS:
        return f"{num_splits} folds in all; a claim about new training sets needs {MIN_FOLDS}"
    return None


def _contrast_by_seed(weights: Mapping[str, float], arms: Mapping[str, ArmFigures]) -> ArmFigures | None:
    """The contrast of each seed, arms of one seed being the same in all; None where arms have other seeds."""
    several = [arms[arm].seeds for arm in weights if len(arms[arm].seeds) > 1]
    seeds = several[0] if several else ("any",)
    if any(set(others) != set(seeds) for others in several):
        return None
    values, left_out = np.zeros(len(seeds)), np.zeros((_num_groups(weights, arms), len(seeds)))
    for arm, weight in weights.items():
        figures = arms[arm]
        order = [figures.seeds.index(seed) for seed in seeds] if len(figures.seeds) > 1 else [0] * len(seeds)
        values += weight * figures.values[order]
        left_out += weight * figures.left_out[:, order]
    return ArmFigures(seeds, values, left_out)


def _value(weights: Mapping[str, float], arms: Mapping[str, ArmFigures]) -> float:
    return float(sum(weight * arms[arm].values.mean() for arm, weight in weights.items()))


def _variance_over_cases(weights: Mapping[str, float], arms: Mapping[str, ArmFigures]) -> float:
    """Of the contrast of the arms' means over seeds."""
    left_out = sum(weight * arms[arm].left_out.mean(axis=1) for arm, weight in weights.items())
    return float(jackknife_covariance(np.asarray(left_out)[:, None])[0, 0])


def _num_groups(weights: Mapping[str, float], arms: Mapping[str, ArmFigures]) -> int:
    return len(arms[next(iter(weights))].left_out)


def _claim(
    kind: Literal["a", "b", "c"], value: float, parts: Iterable[_Part], level: float, method: str
) -> Claim | None:
    check_level(level)
    parts = [part for part in parts if part.variance > 0]
    variance = sum(part.variance for part in parts)
    if variance < _NO_VARIATION:
        return None
    half, half_90 = (_half_width(parts, (1 - one) / 2) for one in (level, _OF_EQUIVALENCE))
    return Claim(
        kind,
        value,
        value - half,
        value + half,
        value - half_90,
        value + half_90,
        math.sqrt(variance),
        _satterthwaite(parts),
        _p_value(value, parts),
        method,
    )


def _satterthwaite(parts: Iterable[_Part]) -> float:
    """Degrees of freedom of a sum of independent parts; infinite where there is none."""
    parts = list(parts)
    squares = sum(part.variance**2 / part.freedom for part in parts)
    return sum(part.variance for part in parts) ** 2 / squares if squares > 0 else math.inf


def _half_width(parts: Iterable[_Part], tail: float) -> float:
    return math.sqrt(sum(float(stdtrit(part.freedom, tail)) ** 2 * part.variance for part in parts))


def _p_value(value: float, parts: list[_Part]) -> float:
    """Twice the tail at which a limit is 0."""
    statistic = abs(value) / math.sqrt(sum(part.variance for part in parts))
    tails = [max(float(stdtr(part.freedom, -statistic)), _LEAST_P) for part in parts]
    if min(tails) == max(tails):
        return 2 * tails[0]

    def excess(logarithm: float) -> float:
        return _half_width(parts, math.exp(logarithm)) - abs(value)

    # No smaller than with the most degrees of freedom alone, but for rounding; at a tail of 0.5 there is no width.
    return 2 * math.exp(brentq(excess, math.log(min(tails)) - 1e-6, math.log(0.5)))
