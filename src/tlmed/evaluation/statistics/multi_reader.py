"""Arms x readers x cases on one test set: what holds for other readers and other cases alike.

Readers are whatever draws anew what an arm becomes: here training seeds.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2, f, t

from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import check_level, checked_numbers
from tlmed.evaluation.statistics.auroc import auroc_covariance
from tlmed.evaluation.statistics.jackknife import jackknife_covariance, leave_one_group_out_aurocs

_ALL_BUT_INFINITE = 1e6
_NO_VARIATION = 1e-20  # rounding of equal figures leaves less


@dataclass(frozen=True)
class ErrorCovariances:
    """What choosing other cases would change, averaged over arms and readers.

    Attributes:
        variance: of one arm and reader.
        cov1: of two arms of one reader.
        cov2: of two readers of one arm.
        cov3: of two arms of two readers.
    """

    variance: float
    cov1: float
    cov2: float
    cov3: float


@dataclass(frozen=True)
class ReaderMean:
    """A figure averaged over readers.

    Attributes:
        value: the mean, or the difference of two.
        low: lower limit.
        high: upper limit.
        standard_error: over readers and cases.
        degrees_of_freedom: of the standard error.
        p_value: two-sided, of being 0; None where that is no question.
    """

    value: float
    low: float
    high: float
    standard_error: float
    degrees_of_freedom: float
    p_value: float | None


@dataclass(frozen=True)
class MultiReader:
    """Whether arms differ, over readers and cases.

    Attributes:
        f_statistic: of all arms being equal.
        degrees_of_freedom: numerator, denominator (Hillis 2007).
        p_value: of it.
        mean_squares: of arms, and of arms x readers.
        covariances: error covariances.
        arms: each arm's mean, from its own readers alone.
        differences: of each pair of arms, by their indices: first minus second.
    """

    f_statistic: float
    degrees_of_freedom: tuple[float, float]
    p_value: float
    mean_squares: tuple[float, float]
    covariances: ErrorCovariances
    arms: tuple[ReaderMean, ...]
    differences: dict[tuple[int, int], ReaderMean]


def compare_readers(estimates: ArrayLike, covariance: ArrayLike, *, level: float = 0.95) -> MultiReader:
    """Compare arms by the figures of readers who all judged the same cases, readers and cases being random.

    F = MS(A) / E with E = MS(AR) + r max(Cov2 - Cov3, 0) and a - 1 and E^2 / (MS(AR)^2 / ((a - 1)(r - 1))) degrees of
    freedom; a difference of two arms has the standard error sqrt(2 E / r) and the latter.

    Args:
        estimates: (A, R) the figure of each arm and reader, such as AUROC.
        covariance: (A, R, A, R) their covariance for fixed arms and readers over the choice of cases.
        level: of confidence.

    Raises:
        ValueError: fewer than two arms or readers, shapes that do not fit, values that are missing, a covariance that
            is not symmetric, or no variation at all.

    Source: Obuchowski & Rockette, Commun Stat Simul Comput 1995;24:285; Hillis, Stat Med 2007;26:596.
    """
    check_level(level)
    figures = checked_numbers(estimates, "estimates", num_axes=2)
    num_arms, num_readers = figures.shape
    if num_arms < 2:
        raise ValueError("a comparison needs two arms or more; for one see mean_over_readers")
    covariances = error_covariances(covariance, num_arms, num_readers)
    of_arms, of_readers, mean = figures.mean(axis=1), figures.mean(axis=0), figures.mean()
    mean_square_arms = num_readers * ((of_arms - mean) ** 2).sum() / (num_arms - 1)
    residuals = figures - of_arms[:, None] - of_readers + mean
    inner_freedom = (num_arms - 1) * (num_readers - 1)
    mean_square_inner = float((residuals**2).sum() / inner_freedom)
    error = mean_square_inner + num_readers * max(covariances.cov2 - covariances.cov3, 0.0)
    if error < _NO_VARIATION:
        raise ValueError("neither readers nor cases vary in how the arms differ, so there is nothing to test by")
    freedom = _degrees_of_freedom(error, mean_square_inner, inner_freedom)
    statistic = float(mean_square_arms / error)
    matrix = np.asarray(covariance, dtype=np.float64)
    return MultiReader(
        statistic,
        (float(num_arms - 1), freedom),
        _f_tail(statistic, num_arms - 1, freedom),
        (float(mean_square_arms), mean_square_inner),
        covariances,
        tuple(mean_over_readers(figures[arm], matrix[arm, :, arm], level=level) for arm in range(num_arms)),
        {
            (i, j): _with_limits(float(of_arms[i] - of_arms[j]), math.sqrt(2 * error / num_readers), freedom, level, -1)
            for i, j in itertools.combinations(range(num_arms), 2)
        },
    )


def mean_over_readers(estimates: ArrayLike, covariance: ArrayLike, *, level: float = 0.95) -> ReaderMean:
    """Return the mean of one arm over readers of the same cases, and its interval over readers and cases.

    The squared standard error is E / r with E = MS(R) + r max(Cov2, 0), its degrees of freedom are
    E^2 / (MS(R)^2 / (r - 1)). Limits are kept within [0, 1].

    Args:
        estimates: (R,) the figure of each reader.
        covariance: (R, R) their covariance for fixed readers over the choice of cases.
        level: of confidence.

    Raises:
        ValueError: fewer than two readers, shapes that do not fit, values that are missing, or no variation at all.

    Source: Hillis, Stat Med 2007;26:596, for a single modality.
    """
    check_level(level)
    variance, freedom = variance_over_readers(estimates, covariance)
    if variance == 0:
        raise ValueError("neither readers nor cases vary, so there is no interval")
    return _with_limits(float(np.asarray(estimates).mean()), math.sqrt(variance), freedom, level, 0)


def variance_over_readers(estimates: ArrayLike, covariance: ArrayLike) -> tuple[float, float]:
    """Return the squared standard error of the mean in `mean_over_readers`, 0 without variation, and its freedom.

    For figures that are not from 0 to 1. Args, errors and source are those of `mean_over_readers`.
    """
    figures = checked_numbers(estimates, "estimates")
    num_readers = len(figures)
    cov2 = error_covariances(np.asarray(covariance)[None, :, None, :], 1, num_readers).cov2
    mean_square = float(figures.var(ddof=1))
    error = mean_square + num_readers * max(cov2, 0.0)
    if error < _NO_VARIATION:
        return 0.0, math.inf
    return error / num_readers, _degrees_of_freedom(error, mean_square, num_readers - 1)


def error_covariances(covariance: ArrayLike, num_arms: int, num_readers: int) -> ErrorCovariances:
    """Return the averages of an (A, R, A, R) covariance over what is alike: the same arm, the same reader.

    With one arm `cov1` and `cov3` are 0.

    Raises:
        ValueError: fewer than two readers, another shape, values that are missing, or a covariance that is not
            symmetric.

    Source: Obuchowski & Rockette, Commun Stat Simul Comput 1995;24:285.
    """
    matrix = checked_numbers(covariance, "covariance", num_axes=4)
    if num_readers < 2:
        raise ValueError("one reader does not show how readers differ; give two or more")
    if matrix.shape != (num_arms, num_readers) * 2:
        raise ValueError(f"covariance {matrix.shape} does not fit {num_arms} arms and {num_readers} readers")
    if not np.allclose(matrix, matrix.transpose(2, 3, 0, 1), rtol=1e-9, atol=1e-15):
        raise ValueError("covariance must be symmetric")
    same_arm, same_reader = np.eye(num_arms)[:, None, :, None], np.eye(num_readers)[None, :, None, :]
    return ErrorCovariances(
        _weighted_mean(matrix, same_arm * same_reader),
        _weighted_mean(matrix, (1 - same_arm) * same_reader),
        _weighted_mean(matrix, same_arm * (1 - same_reader)),
        _weighted_mean(matrix, (1 - same_arm) * (1 - same_reader)),
    )


def reader_aurocs(is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Return the (A, R) AUROCs and (A, R, A, R) covariance that `compare_readers` takes, by leaving out groups.

    Args:
        is_positive: (N,) whether each unit is.
        scores: (A, R, N) of each arm and reader.
        groups: (N,) the group of each unit; without, each unit is its own.

    Raises:
        ValueError: what `auroc_covariance` and `leave_one_group_out_aurocs` refuse.
    """
    numbers = checked_numbers(scores, "scores", num_axes=3)
    num_arms, num_readers, num_units = numbers.shape
    flat = numbers.reshape(-1, num_units)
    values = auroc_covariance(is_positive, flat, groups).values
    covariance = jackknife_covariance(leave_one_group_out_aurocs(is_positive, flat, groups))
    shape = (num_arms, num_readers)
    return values.reshape(shape), covariance.reshape(shape * 2)


def _weighted_mean(matrix: Floats, weights: Floats) -> float:
    weights = np.broadcast_to(weights, matrix.shape)
    return float((matrix * weights).sum() / weights.sum()) if weights.any() else 0.0


def _degrees_of_freedom(error: float, mean_square: float, freedom: int) -> float:
    """Hillis' degrees of freedom; infinitely many where readers do not vary."""
    return error**2 / (mean_square**2 / freedom) if mean_square**2 > 0 else math.inf


def _f_tail(statistic: float, numerator: int, denominator: float) -> float:
    if denominator > _ALL_BUT_INFINITE:
        return float(chi2.sf(statistic * numerator, numerator))
    return float(f.sf(statistic, numerator, denominator))


def _with_limits(value: float, error: float, freedom: float, level: float, least: float) -> ReaderMean:
    half_width = float(t.ppf((1 + level) / 2, freedom)) * error
    p_value = 2 * float(t.sf(abs(value) / error, freedom)) if least < 0 else None
    low, high = max(value - half_width, least), min(value + half_width, 1.0)
    return ReaderMean(value, low, high, error, freedom, p_value)
