"""A curve of one arm with its band: where each of its points would lie with other groups and other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlmed.evaluation.estimates.across_folds import mean_over_folds, split_by_fold
from tlmed.evaluation.estimates.unit_scores import SeedScores
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS, are_enough_to_resample, resample_by_group
from tlmed.evaluation.metrics import Floats, Integers, Metric

_MOST_RESAMPLES, _FEWEST_RESAMPLES, _UNITS_AT_MOST_RESAMPLES = 500, 200, 1000
_LIMITS = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class CurveBand:
    """A curve and its pointwise 95 % band.

    Attributes:
        values: (M,) of the curve, the mean over seeds and folds.
        low: (M,) lower ends; None without a band.
        high: (M,) upper ends; None without a band.
        method: what the band is made by, or why there is none.
    """

    values: Floats
    low: Floats | None
    high: Floats | None
    method: str


def curve_band(curve: Metric, seeds: Sequence[SeedScores], groups: Integers) -> CurveBand:
    """Return the mean curve of an arm and its band.

    A fixed test set: percentiles over resamples of whole groups, by class, and of seeds, one fewer than there are, for
    otherwise their variance comes out too small by (r - 1) / r. Points of a step curve are quantiles, for which a
    jackknife does not work. Folds: the curve is that within folds, averaged; its limits are those of
    `across_folds.mean_over_folds` at each point.

    Args:
        curve: one of `statistics.curves`.
        seeds: the same N units, scored by each seed.
        groups: (N,) the group of each unit, 0, 1, ...

    Source: whole clusters, Field & Welsh, J R Stat Soc B 2007;69:369; r - 1 draws, Rao & Wu, J Am Stat Assoc
    1988;83:231.
    """
    return _on_fixed_test(curve, seeds, groups) if seeds[0].folds is None else _over_folds(curve, seeds, groups)


def _on_fixed_test(curve: Metric, seeds: Sequence[SeedScores], groups: Integers) -> CurveBand:
    of_seeds = [one.scored for one in seeds]
    ones = np.ones((1, len(groups)))
    values = np.mean([curve(scored, ones)[0] for scored in of_seeds], axis=0)
    if not are_enough_to_resample(of_seeds[0], groups):
        return CurveBand(values, None, None, f"no band: fewer than {MIN_GROUPS_IN_A_CLASS} groups of a class")
    generator = np.random.default_rng(0)
    by_size = _MOST_RESAMPLES * _UNITS_AT_MOST_RESAMPLES // len(groups)
    num_resamples = min(_MOST_RESAMPLES, max(_FEWEST_RESAMPLES, by_size))
    resampled = resample_by_group({"curve": curve}, of_seeds, groups, num_resamples=num_resamples, generator=generator)[
        "curve"
    ]
    what = f"{num_resamples} resamples of the {int(groups.max()) + 1} groups, by class"
    if len(seeds) > 1:
        drawn = generator.integers(len(seeds), size=(num_resamples, len(seeds) - 1))
        resampled = np.take_along_axis(resampled, drawn[:, :, None], axis=1)
        what += f", and of the {len(seeds)} seeds"
    low, high = np.nanquantile(resampled.mean(axis=1), _LIMITS, axis=0)
    # Resamples of a step curve lean to one side where it is steep; a band that leaves its curve out helps nobody.
    return CurveBand(values, np.minimum(low, values), np.maximum(high, values), f"percentiles of {what}")


def _over_folds(curve: Metric, seeds: Sequence[SeedScores], groups: Integers) -> CurveBand:
    folds = split_by_fold(seeds)
    of_folds = np.stack([curve(fold.scored, np.ones((1, len(fold.members))))[0] for fold in folds])
    cells = [mean_over_folds(points, folds, groups, bounds=(0.0, 1.0)) for points in of_folds.T]
    values = of_folds.mean(axis=0)
    if cells[0].too_few is not None:
        return CurveBand(values, None, None, f"no band: {cells[0].too_few}")
    # Where all folds come to the same there is no width.
    low, high = (
        np.array([value if limit is None else limit for value, limit in zip(values, limits, strict=True)])
        for limits in ([cell.low for cell in cells], [cell.high for cell in cells])
    )
    return CurveBand(values, low, high, f"means over {len(folds)} folds with limits after Nadeau & Bengio, approximate")
