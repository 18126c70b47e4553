"""One classifier on one set of cases: all figures at its threshold, by subgroup, after local recalibration.

`evaluate.evaluate_predictions` gives the figures and their intervals; here is which table it is asked about, and what a
reader must be told beside its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlmed.errors import InputError
from tlmed.evaluation.assessment.case_data import Cases, counted
from tlmed.evaluation.assessment.exclusions import count_exclusions, shares_with_exclusions_as_wrong
from tlmed.evaluation.assessment.local_recalibration import recalibrate_locally, two_classes
from tlmed.evaluation.assessment.net_benefit import measure_net_benefit
from tlmed.evaluation.assessment.subgroups import measure_subgroups
from tlmed.evaluation.assessment.threshold_choice import (
    AppliedThreshold,
    Target,
    chosen_threshold,
    default_threshold,
    stated_threshold,
    with_scores,
)
from tlmed.evaluation.evaluate import aggregate_units, evaluate_predictions
from tlmed.evaluation.statistics.prevalence import Sampling

AT_THRESHOLD = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "macro_f1", "mcc")
_OF_A_FURTHER_POINT = ("sensitivity", "specificity", "ppv", "npv")
_ARM = "model"
_IMAGE_LEVEL = "Groups are unknown: image-level; leakage cannot be excluded."
_OUT_OF_FOLD = (
    "Out-of-fold: every score is that of a model which was not trained on the case. Scores of different folds are no "
    "one model's, so AUROC is computed within folds and averaged; figures are about the way of training, not one model."
)
_STATED = "Stated as fixed beforehand; if it was chosen on these cases, sensitivity and specificity are too good."


@dataclass(frozen=True)
class Question:
    """What is to be measured.

    Attributes:
        positive: the classes that count as disease; none with more than two classes gives macro averages.
        sampling: how the cases came together.
        prevalence: stated one, to which what depends on it is re-weighted.
        threshold: fixed beforehand.
        target: what thresholds chosen on val rows are to reach.
        delivered: thresholds that belong to the classifier, each with where it comes from; the first one leads.
        subgroups: columns.
        recalibrate: fit to local cases on half of the groups, report on the other.

    Raises:
        InputError: a prevalence outside (0, 1).
    """

    positive: tuple[str, ...] = ()
    sampling: Sampling = "unknown"
    prevalence: float | None = None
    threshold: float | None = None
    target: Target | None = None
    delivered: tuple[tuple[float, str], ...] = ()
    subgroups: tuple[str, ...] = ()
    recalibrate: bool = False

    def __post_init__(self) -> None:
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise InputError(
                f"--prevalence: {self.prevalence:g} must lie between 0 and 1: it is the share of disease where the "
                "classifier is to be used, such as 0.05 for 5 %."
            )


@dataclass(frozen=True, eq=False)
class Assessment:
    """The answer.

    Attributes:
        metrics: content of `metrics.json`: that of `evaluate_predictions` with figures at the threshold, and `notes`,
            `threshold`, `operating_points`, `decision_curve`, `excluded`, `if_excluded_were_wrong`, `subgroups`,
            `recalibration`.
        units: a row a test unit and seed: unit, group, label, seed, fold, `p_` columns; with a positive class also
            is_positive, score, called.
        classes: in the order of their columns.
    """

    metrics: dict[str, Any]
    units: pd.DataFrame
    classes: tuple[str, ...]

    @property
    def cells(self) -> dict[str, dict[str, Any]]:
        """{METRIC: cell} of the one arm."""
        return next(iter(self.metrics["arms"].values()))


def assess(cases: Cases, question: Question) -> Assessment:
    """Measure one classifier.

    Raises:
        InputError: the table is malformed, holds one class, or cannot answer what is asked.
    """
    classes = tuple(str(name).removeprefix("p_") for name in cases.table if str(name).startswith("p_"))
    # One of several classes is measured against the rest, which a list says.
    positive = tuple(dict.fromkeys(question.positive))
    named = positive[0] if len(classes) == 2 and len(positive) == 1 else list(positive) or None
    table = _without_metadata(cases.test)
    metrics = evaluate_predictions(
        table,
        positive=named,
        unit=cases.unit,
        groups_known=cases.groups_known,
        sampling=question.sampling,
        prevalence=question.prevalence,
    )
    units = _with_columns(aggregate_units(table), cases.test, question.subgroups)
    metrics |= {
        # Images within a unit have no threshold of their own.
        "by_unit": {cases.unit: metrics["arms"]},
        "notes": _notes(cases),
        "excluded": count_exclusions(cases.left_out),
        "threshold": None,
        "operating_points": [],
        "decision_curve": None,
        "if_excluded_were_wrong": None,
        "subgroups": None,
        "recalibration": None,
    }
    if positive:
        units = with_scores(units, positive)
        units = _add_decisions(metrics, units, cases, question, positive)
        _add_details(metrics, units, cases, question)
    elif question.threshold is not None or question.target or question.subgroups or question.recalibrate:
        raise InputError(
            f"a threshold, subgroups and recalibration need a class that counts as disease; name one or more of "
            f"{', '.join(classes)} by --positive."
        )
    return Assessment(metrics, units, classes)


def _without_metadata(table: pd.DataFrame) -> pd.DataFrame:
    kept = ("path", "unit", "group", "label", "split", "arm", "seed", "fold")
    return table[[name for name in table if name in kept or str(name).startswith("p_")]]


def _with_columns(units: pd.DataFrame, rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Bring the columns that subgroups are made by from the images to the units."""
    for name in columns:
        num_values = rows.groupby("unit")[name].nunique(dropna=False)
        if (num_values > 1).any():
            raise InputError(f"--subgroup {name}: unit {num_values.idxmax()!r} has images with several values of it.")
        units = units.assign(**{name: units["unit"].map(rows.groupby("unit")[name].first())})
    return units


def _notes(cases: Cases) -> list[str]:
    notes = [] if cases.groups_known else [_IMAGE_LEVEL]
    notes += [_OUT_OF_FOLD] if cases.has_folds else []
    if cases.num_trained_on:
        notes.append(f"Left out: {counted(cases.num_trained_on, 'row')} of the split 'train', which trained the model.")
    return notes


def _thresholds(
    units: pd.DataFrame, cases: Cases, question: Question, positive: Sequence[str]
) -> list[AppliedThreshold]:
    """The threshold that leads, then the delivered further ones."""
    if question.threshold is not None and question.target is not None:
        raise InputError(
            "a threshold is either stated (--threshold) or chosen on val rows (--aim, --assure), not both."
        )
    if question.threshold is not None:
        return [stated_threshold(units, question.threshold, _STATED)]
    if question.target is not None:
        val = cases.table[cases.table["split"] == "val"] if "split" in cases.table else cases.table.iloc[:0]
        val_units = val if val.empty else with_scores(aggregate_units(_without_metadata(val)), positive)
        return [chosen_threshold(units, val_units, question.target)]
    if question.delivered:
        return [stated_threshold(units, value, origin) for value, origin in question.delivered]
    return [default_threshold(units)]


def _add_decisions(
    metrics: dict[str, Any], units: pd.DataFrame, cases: Cases, question: Question, positive: Sequence[str]
) -> pd.DataFrame:
    """Put the figures at the threshold in the place of those at 0.5; return the units with `called`."""
    first, *further = _thresholds(units, cases, question, positive)
    called = first.calls(units)
    metrics["threshold"] = first.to_json()
    (arm,) = metrics["arms"]
    if first.is_chosen:
        measured = _measure_calls(units, called, cases, question)
        at_threshold = {name: measured["arms"][_ARM][name] for name in AT_THRESHOLD}
        metrics["arms"][arm] = {**metrics["arms"][arm], **at_threshold}
        metrics["undefined"] = [f"{arm}/{name}" for name, cell in metrics["arms"][arm].items() if cell["value"] is None]
    for point in further:
        cells = _measure_calls(units, point.calls(units), cases, question)["arms"][_ARM]
        metrics["operating_points"].append(point.to_json() | {name: cells[name] for name in _OF_A_FURTHER_POINT})
    return units.assign(called=called)


def _measure_calls(units: pd.DataFrame, called: np.ndarray, cases: Cases, question: Question) -> dict[str, Any]:
    """Figures of decisions, with the intervals that fit the design: as probabilities on either side of a half."""
    return evaluate_predictions(
        two_classes(units, np.where(called, 0.75, 0.25)),
        positive="positive",
        unit=cases.unit,
        groups_known=cases.groups_known,
        sampling=question.sampling,
        prevalence=question.prevalence,
    )


def _add_details(metrics: dict[str, Any], units: pd.DataFrame, cases: Cases, question: Question) -> None:
    cells = next(iter(metrics["arms"].values()))
    once = units.drop_duplicates("unit")
    metrics["if_excluded_were_wrong"] = shares_with_exclusions_as_wrong(
        cells["sensitivity"]["value"],
        cells["specificity"]["value"],
        once,
        cases.left_out,
        sorted(set(once["label"][once["is_positive"]])),
    )
    metrics["decision_curve"] = measure_net_benefit(units, question.sampling, question.prevalence)
    if question.subgroups:
        metrics["subgroups"] = measure_subgroups(units, question.subgroups)
    if question.recalibrate:
        metrics["recalibration"] = recalibrate_locally(
            units, unit=cases.unit, groups_known=cases.groups_known, sampling=question.sampling
        )
