"""Confidence intervals by resampling patients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tlmed.evaluation.metrics import Floats, Integers, Metric, Scored

NUM_RESAMPLES = 2000
MIN_GROUPS_IN_A_CLASS = 10
# Folds, over all repeats: with fewer, Student's t has so few degrees of freedom that intervals span the whole range.
MIN_FOLDS = 5
MAX_UNDEFINED_SHARE = 0.05
_LEVEL = 0.95
_WEIGHTS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its interval.

    Attributes:
        value: mean over seeds of the metric, None where it does not exist for a seed.
        low: lower end, None where no honest interval exists.
        high: upper end, None together with `low`.
    """

    value: float | None
    low: float | None
    high: float | None


def bootstrap_by_group(
    metrics: Mapping[str, Metric],
    scored: Sequence[Scored],
    groups: np.ndarray,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return each metric's mean over seeds and its 95 % percentile interval.

    A resample draws whole groups with replacement, because the units of one patient are alike: of each class as many
    groups as there are, a group's class being that of most of its units. With several seeds it also draws as many seeds
    with replacement, so that the interval covers cases and training; with one seed it covers cases alone.

    There is no interval where fewer than 10 groups hold an averaged class or belong to it, where more than 5 % of the
    resamples have no value, where it would have no width (as with an accuracy of 1), or where the value itself would
    lie outside (the calibration error of few units grows by resampling): the bootstrap then says less than it seems to.

    Equal groups, classes and `seed` give equal resamples, so that arms are measured on the same ones.

    Args:
        metrics: by name.
        scored: the same N units, scored by the classifier of each training seed.
        groups: (N,) the group of each unit.
        num_resamples: percentile intervals need 1,000 or more (Efron & Tibshirani 1993).
        seed: of the resampling.

    Raises:
        ValueError: no scores, or scores that are not of the same units.

    Source: percentile interval, Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; resampling of
    whole clusters, Field & Welsh, J R Stat Soc B 2007;69:369.
    """
    _check_same_units(scored, groups)
    ones = np.ones((1, len(groups)))
    values = {name: np.array([metric(one, ones)[0] for one in scored]) for name, metric in metrics.items()}
    if not are_enough_to_resample(scored[0], groups):
        return {name: Estimate(_finite_or_none(of_seeds.mean()), None, None) for name, of_seeds in values.items()}
    generator = np.random.default_rng(seed)
    seed_counts = _draw_seeds(len(scored), num_resamples, generator)
    resampled = resample_by_group(metrics, scored, groups, num_resamples=num_resamples, generator=generator)
    return {
        name: _estimate(values[name], _mean_of_drawn_seeds(by_seed, seed_counts)) for name, by_seed in resampled.items()
    }


def are_enough_to_resample(scored: Scored, groups: np.ndarray) -> bool:
    """Return whether enough groups hold each averaged class that occurs, and enough are mainly of each drawn from."""
    group_of_unit = np.unique(groups, return_inverse=True)[1]
    averaged = list(scored.averaged_classes)
    holding = num_groups_holding(scored, group_of_unit)[averaged]
    drawn_from = np.bincount(_group_strata(scored, group_of_unit), minlength=scored.num_classes)[averaged]
    counts = np.concatenate([holding, drawn_from])
    return bool(counts[counts > 0].min() >= MIN_GROUPS_IN_A_CLASS)


def resample_by_group(
    metrics: Mapping[str, Metric],
    scored: Sequence[Scored],
    groups: np.ndarray,
    *,
    num_resamples: int = NUM_RESAMPLES,
    generator: np.random.Generator,
) -> dict[str, Floats]:
    """Return (R, S) values of each metric for R resamples of whole groups, stratified by class, and each of S seeds.

    Args are those of `bootstrap_by_group`, which says how groups are drawn.
    """
    _check_same_units(scored, groups)
    group_of_unit = np.unique(groups, return_inverse=True)[1]
    strata = _group_strata(scored[0], group_of_unit)
    resampled: dict[str, list[Floats]] = {name: [] for name in metrics}
    for weights in _draw_groups(strata, group_of_unit, num_resamples, generator):
        for name, metric in metrics.items():
            resampled[name].append(np.stack([metric(one, weights) for one in scored], axis=1))
    return {name: np.concatenate(parts) for name, parts in resampled.items()}


def _check_same_units(scored: Sequence[Scored], groups: np.ndarray) -> None:
    if not scored:
        raise ValueError("no scores to resample")
    for one in scored:
        if not np.array_equal(one.labels, scored[0].labels) or len(one.labels) != len(groups):
            raise ValueError("all seeds must score the same units, and each unit needs a group")


def _group_strata(scored: Scored, group_of_unit: Integers) -> Integers:
    """(G,) class of most of the units of each group; a tie goes to the class that is rarer among all units."""
    counts = _units_by_group_and_class(scored, group_of_unit)
    rarest_first = np.argsort(counts.sum(axis=0), kind="stable")
    return np.asarray(rarest_first[counts[:, rarest_first].argmax(axis=1)])


def _units_by_group_and_class(scored: Scored, group_of_unit: Integers) -> Integers:
    """(G, K) number of units."""
    num_groups = int(group_of_unit.max()) + 1
    cells = np.bincount(group_of_unit * scored.num_classes + scored.labels, minlength=num_groups * scored.num_classes)
    return cells.reshape(num_groups, scored.num_classes)


def num_groups_holding(scored: Scored, group_of_unit: Integers) -> Integers:
    """Return the (K,) number of groups with a unit of each class."""
    return np.asarray((_units_by_group_and_class(scored, group_of_unit) > 0).sum(axis=0))


def _draw_groups(
    strata: Integers, group_of_unit: Integers, num_resamples: int, generator: np.random.Generator
) -> Iterator[Floats]:
    """Yield (R', N) weights, a bounded number of resamples at a time: how often each unit's group was drawn."""
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    step = max(1, _WEIGHTS_AT_ONCE // len(group_of_unit))
    for start in range(0, num_resamples, step):
        num_rows = min(step, num_resamples - start)
        counts = np.zeros((num_rows, len(strata)))
        for groups in members:
            counts[:, groups] = _count_draws(len(groups), num_rows, generator)
        yield counts[:, group_of_unit]


def _draw_seeds(num_seeds: int, num_resamples: int, generator: np.random.Generator) -> Integers:
    """(R, S) how often each seed was drawn."""
    if num_seeds == 1:
        return np.ones((num_resamples, 1), dtype=np.int64)
    return _count_draws(num_seeds, num_resamples, generator)


def _count_draws(num_items: int, num_rows: int, generator: np.random.Generator) -> Integers:
    """(R, M) counts of M draws with replacement from M items, in each row."""
    drawn = generator.integers(num_items, size=(num_rows, num_items))
    drawn += np.arange(num_rows)[:, None] * num_items
    return np.bincount(drawn.ravel(), minlength=num_rows * num_items).reshape(num_rows, num_items)


def _mean_of_drawn_seeds(by_seed: Floats, seed_counts: Integers) -> Floats:
    """(R, S) values and counts -> (R,), NaN where a drawn seed has no value."""
    # A seed that was not drawn must not pass on its NaN.
    drawn = np.where(seed_counts > 0, by_seed, 0.0)
    return np.asarray((drawn * seed_counts).sum(axis=1) / seed_counts.sum(axis=1))


def _estimate(of_seeds: Floats, resampled: Floats) -> Estimate:
    value = _finite_or_none(of_seeds.mean())
    defined = resampled[~np.isnan(resampled)]
    if value is None or len(defined) < (1.0 - MAX_UNDEFINED_SHARE) * len(resampled):
        return Estimate(value, None, None)
    low, high = np.quantile(defined, [(1.0 - _LEVEL) / 2.0, (1.0 + _LEVEL) / 2.0])
    # Resamples that agree but for rounding have no width either.
    if math.isclose(low, high, rel_tol=1e-12, abs_tol=1e-12) or not low <= value <= high:
        return Estimate(value, None, None)
    return Estimate(value, float(low), float(high))


def _finite_or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
