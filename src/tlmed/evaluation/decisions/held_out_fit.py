"""Calibration and operating points of a classifier, fitted on units that trained nothing and test nothing.

These are the val units, or under folds the out-of-fold ones. What cannot be fitted is left out and its reason kept, so
that a run of many hours does not end in an error about its last step; a command whose only answer it is looks at
`DecisionRule.refusals`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from tlmed.errors import InputError, did_you_mean
from tlmed.evaluation.decisions.decision_rule import ChosenPoint, DecisionRule, FittedOn, ProbabilityMap, as_classes
from tlmed.evaluation.decisions.multiclass_recalibration import fit_temperature, fit_temperature_locally
from tlmed.evaluation.decisions.recalibration import fit_isotonic, fit_platt, fit_platt_intercept
from tlmed.evaluation.decisions.thresholds import aim, assure
from tlmed.evaluation.estimates.prediction_table import NO_FOLD, PROBABILITY, aggregate_units
from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.array_checks import Booleans
from tlmed.recipe.protocol import OperatingPointSettings

Calibration = Literal["platt", "isotonic", "none"]

_ONLY_ARM = "model"


@dataclass(frozen=True, eq=False)
class ScoredUnits:
    """Units that one arm and seed scored, in the order of their names.

    Attributes:
        labels: (N,) class index.
        probabilities: (N, K), before calibration.
        groups: (N,) names.
        folds: (N,) the fold that held each out, -1 without folds.
    """

    labels: Integers
    probabilities: Floats
    groups: np.ndarray
    folds: Integers

    @classmethod
    def of(cls, rows: pd.DataFrame, classes: Sequence[str]) -> ScoredUnits:
        """Return the units of a table's rows, a row an image.

        Args:
            rows: of one arm, seed and split, with every column that `complete_table` adds.
            classes: in the order of the probabilities.

        Raises:
            InputError: a unit has two labels or two groups.
        """
        units = aggregate_units(rows).sort_values("unit", key=lambda column: column.astype(str))
        return cls(
            labels=np.array([classes.index(str(label)) for label in units["label"]], dtype=np.int64),
            probabilities=units[[PROBABILITY + name for name in classes]].to_numpy(dtype=np.float64),
            groups=units["group"].astype(str).to_numpy(),
            folds=units["fold"].to_numpy(dtype=np.int64),
        )

    def take(self, chosen: Booleans) -> ScoredUnits:
        """Return the units that are chosen."""
        return ScoredUnits(self.labels[chosen], self.probabilities[chosen], self.groups[chosen], self.folds[chosen])


def fit_held_out(
    predictions: pd.DataFrame,
    *,
    positive: str | Sequence[str] | None,
    calibration: Calibration = "platt",
    operating_points: Sequence[OperatingPointSettings] = (),
) -> DecisionRule:
    """Fit calibration and operating points of one arm and seed on its val units, or on its out-of-fold ones.

    With two classes `platt` is fitted with two parameters, and where the scores separate the classes, or rank them
    backwards, with the intercept alone. With more it is a temperature and an intercept for each class.

    Args:
        predictions: as `evaluate_predictions` takes it, of one arm and seed.
        positive: what counts as disease; several classes are summed.
        calibration: `isotonic` is for two classes and 1,000 units or more.
        operating_points: thresholds to choose, on the calibrated probability of disease.

    Raises:
        InputError: no val rows and no folds (see `held_out_rows`), `positive` is missing or no class, or a unit has two
            labels or groups.
    """
    table = complete_table(predictions)
    classes = classes_of(table)
    rows, fitted_on = held_out_rows(table)
    return fit_units(
        ScoredUnits.of(rows, classes),
        fitted_on,
        classes=classes,
        positive=checked_positive_classes(positive, classes),
        calibration=calibration,
        operating_points=operating_points,
    )


def fit_units(
    units: ScoredUnits,
    fitted_on: FittedOn,
    *,
    classes: Sequence[str],
    positive: Sequence[str],
    calibration: Calibration,
    operating_points: Sequence[OperatingPointSettings],
) -> DecisionRule:
    """Fit calibration and operating points on units; see `fit_held_out`."""
    fitted, note = _fit_map(units, classes, positive, calibration)
    num_groups = len(set(units.groups))
    rule = DecisionRule(tuple(classes), tuple(positive), fitted, (), fitted_on, len(units.labels), num_groups, note)
    is_positive = is_disease(units, classes, positive)
    scores = rule.of_disease(rule.apply(units.probabilities))
    points = [_choose(settings, is_positive, scores, units.groups, positive) for settings in operating_points]
    return replace(rule, points=tuple(points))


def held_out_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, FittedOn]:
    """Return the rows of a completed table on which calibration and thresholds may be fitted, and what they are.

    Raises:
        InputError: there are none.
    """
    if (table["fold"] >= 0).any():
        return table[table["fold"] >= 0], "out-of-fold"
    if (table["split"] == "val").any():
        return table[table["split"] == "val"], "val"
    raise InputError(
        "predictions: a calibration or threshold chosen on test is refused, because it makes the figures there better "
        "than they are, and here are no rows of the split 'val' and no folds to choose it on; add the val rows."
    )


def complete_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a predictions table with the columns that a plain one may leave out."""
    defaults: dict[str, Any] = {
        "split": "test",
        "arm": _ONLY_ARM,
        "seed": 0,
        "fold": NO_FOLD,
        "group": predictions["unit"],
    }
    return predictions.assign(**{name: value for name, value in defaults.items() if name not in predictions})


def classes_of(table: pd.DataFrame) -> list[str]:
    """Return the classes of a predictions table in the order of its columns."""
    return [name.removeprefix(PROBABILITY) for name in map(str, table) if name.startswith(PROBABILITY)]


def checked_positive_classes(positive: str | Sequence[str] | None, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that count as disease, in their order.

    Raises:
        InputError: none is named of two, or one that is no class, or all of them.
    """
    named = as_classes(positive)
    for name in named:
        if name not in classes:
            raise InputError(f"positive: the predictions have no class {name!r}.{did_you_mean(name, classes)}")
    if not named and len(classes) == 2:
        raise InputError(f"positive is missing: say which of {' and '.join(map(repr, classes))} counts as disease.")
    if set(named) == set(classes):
        raise InputError("positive: it names every class, so that nothing is left to tell disease from; leave one out.")
    return tuple(name for name in classes if name in named)


def is_disease(units: ScoredUnits, classes: Sequence[str], positive: Sequence[str]) -> Booleans:
    """Return (N,) whether each unit is of a positive class."""
    return np.isin(units.labels, [classes.index(name) for name in positive])


def _fit_map(
    units: ScoredUnits, classes: Sequence[str], positive: Sequence[str], calibration: Calibration
) -> tuple[ProbabilityMap | None, str | None]:
    if calibration == "none":
        return None, None
    if len(classes) > 2:
        if calibration == "isotonic":
            return None, f"not calibrated: isotonic is for two classes, not {len(classes)}; take platt"
        fits = (fit_temperature, fit_temperature_locally)
        return _first_that_fits([partial(fit, units.labels, units.probabilities) for fit in fits])
    of_positive = units.probabilities[:, classes.index(positive[0])]
    two_classes = (fit_isotonic,) if calibration == "isotonic" else (fit_platt, fit_platt_intercept)
    return _first_that_fits([partial(fit, is_disease(units, classes, positive), of_positive) for fit in two_classes])


def _first_that_fits(fits: Sequence[Callable[[], ProbabilityMap]]) -> tuple[ProbabilityMap | None, str | None]:
    """Return the first map that can be fitted, and why those before it could not."""
    refusal = None
    for fit in fits:
        try:
            return fit(), None if refusal is None else f"fitted without a slope: {refusal}"
        except ValueError as error:
            refusal = str(error)
    return None, f"not calibrated: {refusal}"


def _choose(
    settings: OperatingPointSettings,
    is_positive: Booleans,
    scores: Floats,
    groups: np.ndarray,
    positive: Sequence[str],
) -> ChosenPoint:
    if not positive:
        return ChosenPoint(settings, None, "no class is named as positive, so there is no threshold to choose")
    choose = assure if settings.kind == "assure" else aim
    try:
        return ChosenPoint(settings, choose(is_positive, scores, groups, of=settings.of, target=settings.target), None)
    except ValueError as error:
        return ChosenPoint(settings, None, str(error))
