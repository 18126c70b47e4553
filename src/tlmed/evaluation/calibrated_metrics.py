"""How well calibration and thresholds hold on test that were fitted without it.

On a fixed test set they are fitted on each seed's val units and applied unchanged. Under folds they are cross-fitted:
those of a fold are fitted on the out-of-fold scores of the other folds of the same repeat. The networks behind those
scores did train on the fold, as in every cross-fitting that does not train folds within folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlmed.evaluation.array_checks import Booleans
from tlmed.evaluation.calibration import CALIBRATION_METRICS
from tlmed.evaluation.decision_rule import DecisionRule
from tlmed.evaluation.held_out_fit import (
    Calibration,
    ScoredUnits,
    checked_positive_classes,
    classes_of,
    complete_table,
    fit_units,
    held_out_rows,
    is_disease,
)
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS, bootstrap_by_group
from tlmed.evaluation.metrics import Floats, Metric, Scored, brier
from tlmed.evaluation.one_class import score_one_class
from tlmed.evaluation.prevalence import Sampling, metrics_at_prevalence, prevalence_note
from tlmed.evaluation.proportions import clustered_wilson_limits
from tlmed.recipe.protocol import OperatingPointSettings

_NO_SLOPE = "the probabilities part the classes perfectly, so no slope fits best"


def measure_calibrated(
    predictions: pd.DataFrame,
    *,
    positive: str | Sequence[str] | None,
    calibration: Calibration,
    operating_points: Sequence[OperatingPointSettings],
    sampling: Sampling = "unknown",
    prevalence: float | None = None,
) -> dict[str, Any]:
    """Measure on test what calibration and thresholds come to that were fitted on val, or across folds.

    Args:
        predictions: as `evaluate_predictions` takes it, with val rows or folds.
        positive: what counts as disease; several classes are summed. None, with more than two classes, leaves the
            Brier score alone.
        calibration: see `fit_held_out`.
        operating_points: thresholds to choose.
        sampling: how the cases came together.
        prevalence: of disease where the model is to be used: probabilities are shifted and test is weighted to it.

    Returns:
        Two keys for `metrics.json`. `calibrated`: {ARM: {method, fitted_on, num_units (of the smallest fit),
        calibrated_to (its prevalence), at_prevalence, notes, interval, metrics {METRIC: {value, low, high, note?}}}},
        no metrics where nothing was calibrated. `operating_points`: {ARM: a list with kind, of, target, refused, fits
        (by seed and fold: threshold, and what it came to where it was chosen), sensitivity and specificity on test
        {value, low, high, numerators (one a seed), denominator, method, too_few?}}.

    Raises:
        InputError: no val rows and no folds, so that only test would be left to choose on; `positive` is missing or no
            class; a unit has two labels or groups.
    """
    table = complete_table(predictions)
    classes = classes_of(table)
    disease = checked_positive_classes(positive, classes)
    calibrated, points = {}, {}
    for arm, part in table.groupby("arm", sort=False):
        seeds = [
            _measure_seed(rows, classes, disease, calibration, operating_points)
            for _, rows in part.groupby("seed", sort=True)
        ]
        calibrated[str(arm)] = _describe_calibration(seeds, sampling, prevalence)
        points[str(arm)] = [_describe_point(settings, index, seeds) for index, settings in enumerate(operating_points)]
    return {"calibrated": calibrated, "operating_points": points}


@dataclass(frozen=True, eq=False)
class _Applied:
    """The test units of one arm and seed, under rules that were fitted without them.

    Attributes:
        rules: of each fold, or of fold -1 alone.
        calibrated: (N, K) probabilities, each under the rule of its unit's fold.
    """

    seed: int
    units: ScoredUnits
    rules: dict[int, DecisionRule]
    calibrated: Floats

    @property
    def any_rule(self) -> DecisionRule:
        """One of them, for the classes that all share."""
        return next(iter(self.rules.values()))

    @property
    def is_positive(self) -> Booleans:
        """(N,) whether each unit is of a positive class."""
        return is_disease(self.units, self.any_rule.classes, self.any_rule.positive)

    def decide(self, index: int) -> Booleans:
        """(N,) decisions at one operating point, each by the threshold of its unit's fold."""
        called = np.zeros(len(self.calibrated), dtype=np.bool_)
        for fold, rule in self.rules.items():
            point, inside = rule.points[index].point, self.units.folds == fold
            assert point is not None  # asked only where no fold refused
            called[inside] = rule.decide(self.calibrated[inside], point)
        return called


def _measure_seed(
    rows: pd.DataFrame,
    classes: Sequence[str],
    positive: Sequence[str],
    calibration: Calibration,
    operating_points: Sequence[OperatingPointSettings],
) -> _Applied:
    held_out, fitted_on = held_out_rows(rows)
    units, fitting = (ScoredUnits.of(some, classes) for some in (rows[rows["split"] == "test"], held_out))
    rules, calibrated = {}, np.empty_like(units.probabilities)
    for fold in np.unique(units.folds).tolist():
        inside = units.folds == fold
        rules[fold] = fit_units(
            fitting.take(fitting.folds != fold) if fitted_on == "out-of-fold" else fitting,
            fitted_on,
            classes=classes,
            positive=positive,
            calibration=calibration,
            operating_points=operating_points,
        )
        calibrated[inside] = rules[fold].apply(units.probabilities[inside])
    return _Applied(int(rows["seed"].iloc[0]), units, rules, calibrated)


def _describe_calibration(seeds: Sequence[_Applied], sampling: Sampling, prevalence: float | None) -> dict[str, Any]:
    rules = [rule for applied in seeds for rule in applied.rules.values()]
    smallest = min(rules, key=lambda rule: rule.num_units)
    is_calibrated = any(rule.map is not None for rule in rules)
    # Where a fold was not calibrated, there is no prevalence to shift from.
    at = prevalence if all(rule.prevalence is not None for rule in rules) else None
    return {
        "method": ", ".join(sorted({rule.method for rule in rules})),
        "fitted_on": smallest.fitted_on,
        "num_units": smallest.num_units,
        "calibrated_to": smallest.prevalence,
        "at_prevalence": at,
        "notes": sorted({rule.note for rule in rules if rule.note is not None}),
        "interval": _covered(seeds),
        "metrics": _calibration_metrics(seeds, sampling, at) if is_calibrated else {},
    }


def _calibration_metrics(
    seeds: Sequence[_Applied], sampling: Sampling, prevalence: float | None
) -> dict[str, dict[str, Any]]:
    has_positive = bool(seeds[0].any_rule.positive)
    metrics: dict[str, Metric] = {**(CALIBRATION_METRICS if has_positive else {}), "brier": brier}
    if prevalence is not None:
        metrics = metrics_at_prevalence(metrics, prevalence)
    estimates = bootstrap_by_group(metrics, [_scored(one, prevalence) for one in seeds], seeds[0].units.groups)
    cells: dict[str, dict[str, Any]] = {}
    for name, estimate in estimates.items():
        note = prevalence_note(name, sampling, reweighted=prevalence is not None)
        if estimate.value is None:
            note = _NO_SLOPE
        cells[name] = {**asdict(estimate), **({"note": note} if note is not None else {})}
    return cells


def _scored(applied: _Applied, prevalence: float | None) -> Scored:
    """Disease or not; without a positive class, every class."""
    rule, probabilities = applied.any_rule, applied.calibrated
    if not rule.positive:
        return Scored(applied.units.labels, probabilities)
    if prevalence is not None:
        probabilities = probabilities.copy()
        for fold, of_fold in applied.rules.items():
            inside = applied.units.folds == fold
            probabilities[inside] = of_fold.shift(probabilities[inside], prevalence)
    return score_one_class(applied.is_positive, rule.of_disease(probabilities))


def _describe_point(settings: OperatingPointSettings, index: int, seeds: Sequence[_Applied]) -> dict[str, Any]:
    fits = [
        {"seed": applied.seed, "fold": fold, **rule.points[index].to_card()}
        for applied in seeds
        for fold, rule in applied.rules.items()
    ]
    refused = next((fit for fit in fits if fit["refused"] is not None), None)
    asked = settings.model_dump(mode="json")
    told = {
        **asked,
        "refused": None if refused is None else _refusal(refused),
        "fits": [{name: value for name, value in fit.items() if name not in {*asked, "refused"}} for fit in fits],
    }
    if refused is not None:
        return told
    called = np.stack([applied.decide(index) for applied in seeds])
    is_positive, groups = seeds[0].is_positive, seeds[0].units.groups
    method = f"clustered Wilson, 95 %. {_covered(seeds)}"
    return {
        **told,
        "sensitivity": {**_share(called[:, is_positive], groups[is_positive], "positive"), "method": method},
        "specificity": {**_share(~called[:, ~is_positive], groups[~is_positive], "negative"), "method": method},
    }


def _refusal(fit: dict[str, Any]) -> str:
    where = "" if fit["fold"] < 0 else f", without fold {fit['fold']}"
    return f"seed {fit['seed']}{where}: {fit['refused']}"


def _share(right: Booleans, groups: np.ndarray, name: str) -> dict[str, Any]:
    """(S, N) right decisions of S seeds on N units of one class -> their mean share, its interval, and counts."""
    _, group_of_unit = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of_unit).astype(np.float64)
    cell: dict[str, Any] = {
        "value": float(right.mean()),
        "low": None,
        "high": None,
        "numerators": right.sum(axis=1).tolist(),
        "denominator": right.shape[1],
    }
    if len(sizes) < MIN_GROUPS_IN_A_CLASS:
        too_few = f"{len(sizes)} groups have {name} units; an interval needs {MIN_GROUPS_IN_A_CLASS}"
        return {**cell, "too_few": too_few}
    counts = np.bincount(group_of_unit, weights=right.mean(axis=0)).astype(np.float64)
    low, high = clustered_wilson_limits(counts[None, :], sizes)
    return {**cell, "low": float(low[0]), "high": float(high[0])}


def _covered(seeds: Sequence[_Applied]) -> str:
    """What a value is the mean of, and what its interval leaves out."""
    if seeds[0].any_rule.fitted_on == "out-of-fold":
        return (
            f"Cross-fitted over {len(seeds[0].rules)} folds, mean over {len(seeds)} repeats; intervals are "
            "approximate, for folds share their training data."
        )
    if len(seeds) > 1:
        return f"Mean over {len(seeds)} seeds."
    return "One seed: intervals cover the choice of cases, not the chance of training."
