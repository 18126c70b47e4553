"""Fitting a classifier's probabilities to local cases on one part of them, and showing on the other what it does."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from tlmed.errors import InputError
from tlmed.evaluation.decisions.recalibration import PlattScaling, fit_platt_locally
from tlmed.evaluation.evaluate import evaluate_predictions
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS
from tlmed.evaluation.statistics.array_checks import Booleans
from tlmed.evaluation.statistics.prevalence import Sampling

SHOWN = ("calibration_in_the_large", "calibration_slope", "brier", "ece")
_MIN_GROUPS = 2 * MIN_GROUPS_IN_A_CLASS
_ARM = "model"


def recalibrate_locally(
    units: pd.DataFrame, *, unit: str, groups_known: bool, sampling: Sampling, seed: int = 0
) -> dict[str, Any]:
    """Fit a recalibration map on half of the groups and report on the other half only.

    Args:
        units: a row a unit of one model: unit, group, seed, fold, is_positive, score.
        unit: what a decision is about.
        groups_known: whether `group` is more than a stand-in.
        sampling: how the cases came together.
        seed: of the halves.

    Returns:
        `map` (the content of `recalibration.json`), `fitted_on` and `reported_on` {num_units, num_positives,
        num_groups}, `before` and `after` {METRIC: cell}, and `note`.

    Raises:
        InputError: several models, fewer than 20 groups with units of a class, or scores that cannot be fitted.
    """
    if len(units[["seed", "fold"]].drop_duplicates()) > 1:
        raise InputError(
            "--recalibrate: the table holds several seeds or folds, and a map belongs to one model; choose by --seed, "
            "or recalibrate the delivered bundle."
        )
    _check_enough(units)
    fits = _stratified_half(units, seed)
    fitted, reported = units[fits], units[~fits]
    try:
        scaling = fit_platt_locally(fitted["is_positive"].to_numpy(), fitted["score"].to_numpy())
    except ValueError as error:
        raise InputError(f"--recalibrate: {error}.") from error

    def measure(scores: np.ndarray) -> dict[str, Any]:
        table = two_classes(reported, scores)
        metrics = evaluate_predictions(
            table, positive="positive", unit=unit, groups_known=groups_known, sampling=sampling
        )
        return {name: metrics["arms"][_ARM][name] for name in SHOWN}

    scores = reported["score"].to_numpy()
    what = (
        "the intercept alone (fewer than 100 of the rarer class)" if scaling.intercept_only else "slope and intercept"
    )
    return {
        "map": map_to_json(scaling),
        "fitted_on": _count(fitted),
        "reported_on": _count(reported),
        "before": measure(scores),
        "after": measure(scaling.apply(scores)),
        "note": (
            f"The groups were halved by class; {what} was fitted on one half, and what stands here was measured on the "
            "other, at the prevalence of these cases, which it is calibrated to. It keeps their order, so AUROC stays; "
            "a threshold t becomes the recalibrated t."
        ),
    }


def two_classes(units: pd.DataFrame, scores: np.ndarray | pd.Series[float]) -> pd.DataFrame:
    """Return a predictions table of the classes `positive` and `negative` with these scores."""
    labels = np.where(units["is_positive"], "positive", "negative")
    numbers = np.asarray(scores, dtype=np.float64)
    kept = units[["unit", "group", "seed", "fold"]]
    return kept.assign(label=labels, p_positive=numbers, p_negative=1 - numbers).reset_index(drop=True)


def map_to_json(scaling: PlattScaling) -> dict[str, Any]:
    """Return the map with how it is applied."""
    return {
        "kind": "platt",
        "apply": "log-odds of the positive class -> slope * log-odds + intercept -> probability",
        **asdict(scaling),
    }


def _check_enough(units: pd.DataFrame) -> None:
    num_groups = [units["group"][units["is_positive"] == truth].nunique() for truth in (True, False)]
    if min(num_groups) < _MIN_GROUPS:
        raise InputError(
            f"--recalibrate needs at least {_MIN_GROUPS} groups with positive and {_MIN_GROUPS} with negative units, "
            f"half to fit on and half to report on; here are {num_groups[0]} and {num_groups[1]}."
        )


def _stratified_half(units: pd.DataFrame, seed: int) -> Booleans:
    """(N,) whether a unit's group is in the half to fit on: every second one of each class, in random order."""
    has_positive = units.groupby("group", sort=True)["is_positive"].any()
    generator = np.random.default_rng(seed)
    chosen: list[str] = []
    for truth in (True, False):
        names = has_positive.index[has_positive == truth].to_numpy()
        chosen += list(generator.permutation(names)[::2])
    return np.asarray(units["group"].isin(chosen))


def _count(units: pd.DataFrame) -> dict[str, int]:
    return {
        "num_units": len(units),
        "num_positives": int(units["is_positive"].sum()),
        "num_groups": int(units["group"].nunique()),
    }
