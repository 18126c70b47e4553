"""How well calibration and thresholds hold on test that were fitted without it.

On a fixed test set they are fitted on each seed's val units and applied unchanged. Under folds they are cross-fitted:
those of a fold are fitted on the out-of-fold scores of the other folds of the same repeat. The networks behind those
scores did train on the fold, as in every cross-fitting that does not train folds within folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlmed.evaluation.calibration import CALIBRATION_METRICS
from tlmed.evaluation.decisions.decision_rule import DecisionRule
from tlmed.evaluation.decisions.held_out_fit import (
    Calibration,
    ScoredUnits,
    checked_positive_classes,
    classes_of,
    complete_table,
    fit_units,
    held_out_rows,
    is_disease,
)
from tlmed.evaluation.estimates.calibration_intervals import interval_of_linearised, linearise_calibration
from tlmed.evaluation.estimates.figure_cells import NO_VARIATION, Cell, Conditions, Part, too_few_groups
from tlmed.evaluation.estimates.fixed_split import estimate_composites
from tlmed.evaluation.estimates.shares import estimate_share
from tlmed.evaluation.metrics import Floats, Integers, Scored
from tlmed.evaluation.statistics.array_checks import Booleans, group_index
from tlmed.evaluation.statistics.one_class import score_one_class
from tlmed.evaluation.statistics.prevalence import Sampling, weights_at_prevalence
from tlmed.recipe.protocol import OperatingPointSettings

_ACROSS_FOLDS = ", cross-fitted over folds, approximate"


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
        prevalence: of disease where the model is to be used: unless sampling was consecutive, probabilities are shifted
            and test is weighted to it.

    Returns:
        Two keys for `metrics.json`; cells are those of `figure_cells.Cell`. `calibrated`: {ARM: {method, fitted_on,
        num_units (of the smallest fit), calibrated_to (its prevalence), at_prevalence, notes, values_are, metrics
        {METRIC: cell}}}, no metrics where nothing was calibrated. `operating_points`: {ARM: a list with kind, of,
        target, refused, fits (by seed and fold: threshold, and what it came to where it was chosen), and unless refused
        sensitivity and specificity on test: a cell with numerators, one a seed, and denominator}}.

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
        """One of them, for what all share."""
        return next(iter(self.rules.values()))

    @property
    def is_cross_fitted(self) -> bool:
        """Whether the rules are those of folds."""
        return self.any_rule.fitted_on == "out-of-fold"

    @property
    def groups(self) -> Integers:
        """(N,) the group of each unit, 0, 1, ..."""
        return group_index(self.units.groups, len(self.units.groups))

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
    can_shift = sampling != "consecutive" and all(rule.prevalence is not None for rule in rules)
    at = prevalence if can_shift else None
    return {
        "method": ", ".join(sorted({rule.method for rule in rules})),
        "fitted_on": smallest.fitted_on,
        "num_units": smallest.num_units,
        "calibrated_to": smallest.prevalence,
        "at_prevalence": at,
        "notes": sorted({rule.note for rule in rules if rule.note is not None}),
        "values_are": _values_are(seeds),
        "metrics": _calibration_metrics(seeds, sampling, at) if is_calibrated else {},
    }


def _calibration_metrics(
    seeds: Sequence[_Applied], sampling: Sampling, prevalence: float | None
) -> dict[str, dict[str, Any]]:
    rule, groups = seeds[0].any_rule, seeds[0].groups
    others = [name for name in rule.classes if name not in rule.positive]
    of_two = (" or ".join(others), " or ".join(rule.positive))
    # What is measured here has been shifted, where a prevalence is stated.
    conditions = Conditions(of_two if rule.positive else rule.classes, sampling, prevalence, are_shifted=True)
    parts = [Part(f"seed {applied.seed}", _scored(applied, prevalence)) for applied in seeds]
    too_few = too_few_groups(parts[0].scored, groups, conditions.classes)
    remark = _ACROSS_FOLDS if seeds[0].is_cross_fitted else ""
    cells: dict[str, Cell] = {}
    if rule.positive:
        cells |= _slope_and_intercepts([part.scored for part in parts], groups, prevalence, too_few, remark)
    cells |= estimate_composites({"brier": conditions.metrics["brier"]}, parts, groups, too_few, remark=remark)
    return {name: conditions.completed(name, cell, parts).as_json() for name, cell in cells.items()}


def _slope_and_intercepts(
    of_seeds: Sequence[Scored], groups: Integers, prevalence: float | None, too_few: str | None, remark: str
) -> dict[str, Cell]:
    weights = np.ones((1, len(groups)))
    if prevalence is not None:
        weights = weights_at_prevalence(of_seeds[0], weights, prevalence)
    linearised = [linearise_calibration(scored, groups, weights[0]) for scored in of_seeds]
    cells = {}
    for name in CALIBRATION_METRICS:
        estimate = interval_of_linearised([of_seed[name] for of_seed in linearised])
        if estimate.value is None or too_few is not None:
            cells[name] = Cell(estimate.value, too_few=too_few)
        elif estimate.low is None:
            cells[name] = Cell(estimate.value, no_interval=NO_VARIATION)
        else:
            cells[name] = Cell(estimate.value, estimate.low, estimate.high, f"delta method by group{remark}")
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
    told: dict[str, Any] = {
        **asked,
        "refused": None if refused is None else _refusal(refused),
        "fits": [{name: value for name, value in fit.items() if name not in {*asked, "refused"}} for fit in fits],
    }
    if refused is not None:
        return told
    is_positive, called = seeds[0].is_positive, [applied.decide(index) for applied in seeds]
    decided = [score_one_class(is_positive, one.astype(np.float64)) for one in called]
    for name, wanted in (("sensitivity", True), ("specificity", False)):
        cell = estimate_share(name, decided, seeds[0].groups, None, out_of_fold=seeds[0].is_cross_fitted)
        of_class = is_positive == wanted
        right = [int((one[of_class] == wanted).sum()) for one in called]
        told[name] = {**cell.as_json(), "numerators": right, "denominator": int(of_class.sum())}
    return told


def _refusal(fit: dict[str, Any]) -> str:
    where = "" if fit["fold"] < 0 else f", without fold {fit['fold']}"
    return f"seed {fit['seed']}{where}: {fit['refused']}"


def _values_are(seeds: Sequence[_Applied]) -> str:
    if seeds[0].is_cross_fitted:
        return f"cross-fitted over {len(seeds[0].rules)} folds, means over {len(seeds)} repeats"
    return f"means over {len(seeds)} seeds" if len(seeds) > 1 else "of one seed"
