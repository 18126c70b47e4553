"""How figures differ between parts of the cases, such as women and men: exploratory, with intervals that say so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from tlmed.errors import InputError
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS, Estimate
from tlmed.evaluation.statistics.array_checks import Booleans
from tlmed.evaluation.statistics.auroc import auroc, auroc_covariance, auroc_interval, logit_auroc_interval
from tlmed.evaluation.statistics.multiplicity import bonferroni_level
from tlmed.evaluation.statistics.proportions import clustered_wilson_interval

_LEVEL = 0.95
_METRICS = ("auroc", "sensitivity", "specificity")
_NUM_BINS = 3
_MAX_DISTINCT_NUMBERS = 6  # up to here a number is a code, such as a grade
_MAX_LEVELS = 20
_MISSING = "(missing)"
_NO_VARIATION = "some fold has too few groups of a class, or parts the classes perfectly"
_NONE = Estimate(None, None, None)


def measure_subgroups(units: pd.DataFrame, columns: Sequence[str]) -> dict[str, Any]:
    """Measure each level of some columns, and how far it is from all other units.

    Intervals are at the Bonferroni level of all that are shown. A difference is this level minus the rest; its limits
    are joined from those of the two (MOVER), which takes them as independent: where groups straddle levels it is too
    wide, never too narrow. Below 10 groups of a class there is a value and no interval.

    Under folds AUROC is the mean of those within folds. Several seeds are averaged; intervals then cover the choice of
    cases, not the chance of training.

    Args:
        units: a row a unit and seed: unit, group, seed, fold, is_positive, score, called, and the columns.
        columns: by which to part; numbers of more than 6 values are cut at their thirds.

    Returns:
        `note`, `level`, and `columns` {COLUMN: a list with, for each level, value, num_units, num_positives,
        num_groups, and METRIC and METRIC_difference of auroc, sensitivity and specificity: {value, low, high, and where
        there is no interval too_few or no_interval: why}}.

    Raises:
        InputError: a column of one value alone, or of more than 20.

    Source: MOVER, Zou & Donner, Stat Med 2008;27:1693 (for shares it is method 10 of Newcombe, Stat Med 1998;17:873);
    AUROC over folds, LeDell, Petersen & van der Laan, Electron J Stat 2015;9:1583; levels, Dunn, JASA 1961;56:52.
    """
    parted = {name: _part(units[name], name) for name in columns}
    num_intervals = 2 * len(_METRICS) * sum(len(in_order) for _, in_order in parted.values())
    level = bonferroni_level(_LEVEL, num_intervals)
    return {
        "note": (
            f"Exploratory: {num_intervals} intervals were looked at, so each is at {level:.2%} for all of them to hold "
            "together at 95 %. Differences are to all other units. A difference that shows is a question to be asked "
            "of new data; one that does not show is no proof that there is none."
        ),
        "level": level,
        "columns": {
            name: [_measure_level(units, levels == value, value, level) for value in in_order]
            for name, (levels, in_order) in parted.items()
        },
    }


def _part(values: pd.Series[Any], name: str) -> tuple[pd.Series[str], list[str]]:
    """Return (N,) the level of each row, and the levels in order."""
    numbers = pd.to_numeric(values, errors="coerce")
    is_number = bool((numbers.notna() | values.isna()).all()) and numbers.nunique() > _MAX_DISTINCT_NUMBERS
    if is_number:
        thirds = pd.qcut(numbers, _NUM_BINS, labels=False, duplicates="drop")
        names = {third: f"{part.min():g} to {part.max():g}" for third, part in numbers.groupby(thirds)}
        levels, in_order = thirds.map(names), list(names.values())
    else:
        levels = values.astype(object)
        in_order = sorted(map(str, levels.dropna().unique()))
    in_order += [_MISSING] if values.isna().any() else []
    if not 1 < len(in_order) <= _MAX_LEVELS:
        there = f"the one value {in_order[0]!r}" if len(in_order) == 1 else f"{len(in_order)} values"
        raise InputError(
            f"--subgroup {name}: the column has {there}; subgroups need 2 to {_MAX_LEVELS}, so group the values first."
        )
    return levels.astype(object).where(values.notna(), _MISSING).astype(str), in_order


def _measure_level(units: pd.DataFrame, chosen: pd.Series[bool], value: str, level: float) -> dict[str, Any]:
    part, rest = units[chosen], units[~chosen]
    once = part.drop_duplicates("unit")
    row: dict[str, Any] = {
        "value": value,
        "num_units": len(once),
        "num_positives": int(once["is_positive"].sum()),
        "num_groups": int(once["group"].nunique()),
    }
    for metric in _METRICS:
        here, there = _estimate(part, metric, level), _estimate(rest, metric, level)
        row[metric] = here
        row[f"{metric}_difference"] = _difference(here, there)
    return row


def _estimate(units: pd.DataFrame, metric: str, level: float) -> dict[str, Any]:
    """{value, low, high} and why there is no interval, where there is none."""
    positives = units["is_positive"].to_numpy()
    lacking = [
        f"{units['group'][of_class].nunique()} groups of {name}"
        for name, of_class, metrics in (
            ("positives", positives, ("auroc", "sensitivity")),
            ("negatives", ~positives, ("auroc", "specificity")),
        )
        if metric in metrics and units["group"][of_class].nunique() < MIN_GROUPS_IN_A_CLASS
    ]
    if metric == "auroc":
        estimate = _auroc(units, level, with_interval=not lacking)
    else:
        of_class = units[positives] if metric == "sensitivity" else units[~positives]
        succeeded = of_class["called"].to_numpy() == (metric == "sensitivity")
        estimate = _share(succeeded, of_class["group"], level, with_interval=not lacking)
    cell: dict[str, Any] = asdict(estimate)
    if lacking:
        return cell | {"too_few": f"{' and '.join(lacking)}; an interval needs {MIN_GROUPS_IN_A_CLASS}"}
    return cell if estimate.low is not None else cell | {"no_interval": _NO_VARIATION}


def _share(succeeded: Booleans, groups: pd.Series[str], level: float, *, with_interval: bool) -> Estimate:
    if not len(succeeded):
        return _NONE
    if not with_interval:
        return Estimate(float(succeeded.mean()), None, None)
    # The decisions of several seeds on a unit belong to its group, as several units would.
    return clustered_wilson_interval(succeeded, groups.to_numpy(), level=level)


def _auroc(units: pd.DataFrame, level: float, *, with_interval: bool) -> Estimate:
    models = list(_with_both_classes(units))
    if not models:
        return _NONE
    if len(models) == 1 and with_interval:
        return auroc_interval(*_arrays(models[0]), level=level)
    by_seed: dict[str, list[tuple[float, float]]] = {}
    for model in models:
        found = _value_and_variance(model)
        by_seed.setdefault(str(model["seed"].iloc[0]), []).append(found)
    value = float(np.mean([np.mean([one for one, _ in found]) for found in by_seed.values()]))
    # Folds hold different cases; the seeds see the same ones, and are taken as fully alike.
    variance = float(np.mean([np.sum([one for _, one in found]) / len(found) ** 2 for found in by_seed.values()]))
    if not with_interval or not 0 < value < 1 or not variance > 0:
        return Estimate(value, None, None)
    num_groups = min(units["group"][units["is_positive"] == truth].nunique() for truth in (True, False))
    return logit_auroc_interval(value, variance, degrees_of_freedom=num_groups - 1, level=level)


def _with_both_classes(units: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, model in units.groupby(["seed", "fold"], sort=False):
        if model["is_positive"].nunique() == 2:
            yield model


def _value_and_variance(model: pd.DataFrame) -> tuple[float, float]:
    """The variance is NaN where one group holds all units of a class."""
    positives, scores, groups = _arrays(model)
    if min(len(set(groups[positives])), len(set(groups[~positives]))) < 2:
        return auroc(positives, scores), math.nan
    found = auroc_covariance(positives, scores[None, :], groups)
    return float(found.values[0]), float(found.covariance[0, 0])


def _arrays(model: pd.DataFrame) -> tuple[Booleans, Any, Any]:
    return model["is_positive"].to_numpy(dtype=np.bool_), model["score"].to_numpy(), model["group"].to_numpy()


def _difference(here: dict[str, Any], there: dict[str, Any]) -> dict[str, float | None]:
    if here["value"] is None or there["value"] is None:
        return asdict(_NONE)
    value = here["value"] - there["value"]
    if here["low"] is None or there["low"] is None:
        return asdict(Estimate(value, None, None))
    below = math.hypot(here["value"] - here["low"], there["high"] - there["value"])
    above = math.hypot(here["high"] - here["value"], there["value"] - there["low"])
    return asdict(Estimate(value, value - below, value + above))
