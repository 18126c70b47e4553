"""What the delivered arm said of each test unit: calibrated, and decided at the threshold chosen without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from tlmed.evaluation.assessment.assessment import Assessment
from tlmed.evaluation.assessment.net_benefit import measure_net_benefit
from tlmed.evaluation.assessment.threshold_choice import with_scores
from tlmed.evaluation.decisions.decision_rule import DecisionRule, as_classes
from tlmed.evaluation.decisions.held_out_fit import classes_of, complete_table, fit_held_out
from tlmed.evaluation.estimates.prediction_table import aggregate_units
from tlmed.recipe.protocol import EvaluationSettings
from tlmed.report.figure_text import is_hidden

Decision = Literal["prespecified threshold", "more probable class", "refused", "not shown"]


@dataclass(frozen=True, eq=False)
class DeliveredArm:
    """The delivered arm on test.

    Attributes:
        name: of the arm.
        units: a row a test unit and seed: seed, unit, group, label, fold, calibrated `p_` columns; where a class counts
            as disease is_positive, score (the calibrated probability of disease), threshold and called. Without a
            prespecified threshold units are called positive above 0.5. The delivered seed comes first.
        classes: in the order of their columns.
        positive: the classes that count as disease.
        threshold: the prespecified threshold in words, or why there is none.
        decision: what units are called by; `refused` where a threshold was asked for and refused, `not
            shown` where the record is one that hides what came of it.
        assessment: the same with its figures, for pictures of one classifier.
    """

    name: str
    units: pd.DataFrame
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    threshold: str
    decision: Decision
    assessment: Assessment


def decide_delivered(
    evaluation: EvaluationSettings, predictions: pd.DataFrame, metrics: Mapping[str, Any]
) -> DeliveredArm:
    """Calibrate and decide as `metrics.json` was measured: from val, or across folds.

    Args:
        evaluation: settings of the recipe.
        predictions: of every arm and seed, before calibration.
        metrics: content of `metrics.json`.
    """
    name = metrics["delivered"]
    table = complete_table(predictions[predictions["arm"] == name])
    classes, positive = tuple(classes_of(table)), as_classes(evaluation.positive)
    positive = tuple(one for one in classes if one in positive)
    seeds = [_decide_seed(rows, evaluation, positive) for _, rows in table.groupby("seed", sort=False)]
    units = pd.concat(seeds, ignore_index=True)
    decision = _decision(metrics, positive)
    shown = units.drop(columns="threshold", errors="ignore")
    if decision == "prespecified threshold":
        units["called"] = shown["called"] = units["score"] >= units["threshold"]
    elif positive:
        units = units.assign(threshold=0.5, called=units["score"] > 0.5)
    cells = {**metrics["arms"][name], **metrics["calibrated"][name]["metrics"]}
    of_one = {"num_folds": metrics["num_folds"], "arms": {name: cells}, "decision_curve": None}
    if positive:
        of_one["decision_curve"] = measure_net_benefit(units, evaluation.sampling, evaluation.prevalence)
    said = _threshold_in_words(metrics, decision)
    return DeliveredArm(name, units, classes, positive, said, decision, Assessment(of_one, shown, classes))


def _decision(metrics: Mapping[str, Any], positive: tuple[str, ...]) -> Decision:
    points = metrics["operating_points"].get(metrics["delivered"], ())
    if not positive or not points:
        return "more probable class"
    if points[0]["refused"] is None:
        return "prespecified threshold"
    return "not shown" if is_hidden(points[0]) else "refused"


def _decide_seed(rows: pd.DataFrame, evaluation: EvaluationSettings, positive: tuple[str, ...]) -> pd.DataFrame:
    """Under folds each fold's rule is fitted on the scores of the others."""
    tested = rows[rows["split"] == "test"]
    decided = []
    for fold in np.unique(tested["fold"]).tolist():
        rule = fit_held_out(
            rows if fold < 0 else rows[rows["fold"] != fold],
            positive=evaluation.positive,
            calibration=evaluation.calibration,
            operating_points=evaluation.operating_points,
        )
        decided.append(_apply(rule, aggregate_units(tested[tested["fold"] == fold]), positive))
    return pd.concat(decided, ignore_index=True)


def _apply(rule: DecisionRule, units: pd.DataFrame, positive: tuple[str, ...]) -> pd.DataFrame:
    columns = [f"p_{name}" for name in rule.classes]
    calibrated = rule.apply(units[columns].to_numpy(dtype=np.float64))
    units = units.assign(**dict(zip(columns, calibrated.T, strict=True)))
    if not positive:
        return units
    first = rule.points[0].point if rule.points else None
    return with_scores(units, positive).assign(threshold=np.nan if first is None else first.threshold)


def _threshold_in_words(metrics: Mapping[str, Any], decision: Decision) -> str:
    if decision == "more probable class":
        return "No threshold was asked for: a unit is called by its most probable class."
    name = metrics["delivered"]
    first = metrics["operating_points"][name][0]
    asked = f"to {first['kind']} for {first['of']} {first['target']:g}"
    if decision == "not shown":
        return f"What came of the threshold {asked} is {first['refused']}."
    if decision == "refused":
        return f"The threshold {asked} was refused ({first['refused']}), so no unit is decided."
    fitted_on = metrics["calibrated"][name]["fitted_on"]
    where = "validation" if fitted_on == "val" else fitted_on
    return f"The threshold {asked} was chosen on {where} scores, without test."


@dataclass(frozen=True)
class CalledWrongly:
    """A test unit that the delivered model called wrongly.

    Attributes:
        kind: `false positive`, `false negative`, or `called CLASS` where no class counts as disease.
        score: calibrated probability of disease, or of the class that it was called.
        distance: of the score from the threshold, or the score.
    """

    unit: str
    group: str
    label: str
    kind: str
    score: float
    distance: float


def most_confident_errors(delivered: DeliveredArm, num_of_each_kind: int) -> list[CalledWrongly]:
    """Return the errors of the delivered seed, false positives first, each kind by falling distance.

    Args:
        delivered: arm.
        num_of_each_kind: at most.
    """
    units = delivered.units[delivered.units["seed"] == delivered.units["seed"].iloc[0]]
    if delivered.positive:
        wrong = units[units["called"] != units["is_positive"]]
        kinds = np.where(wrong["called"], "false positive", "false negative")
        wrong = wrong.assign(kind=kinds, distance=(wrong["score"] - wrong["threshold"]).abs())
    else:
        probabilities = units[[f"p_{name}" for name in delivered.classes]].to_numpy()
        called, score = np.array(delivered.classes)[probabilities.argmax(axis=1)], probabilities.max(axis=1)
        units = units.assign(kind=[f"called {name}" for name in called], score=score, distance=score)
        wrong = units[called != units["label"].to_numpy()]
    ordered = wrong.sort_values(["distance", "unit"], ascending=[False, True])
    kept = ordered.groupby("kind", sort=False).head(num_of_each_kind)
    kept = kept.sort_values("kind", key=lambda kind: kind != "false positive", kind="stable")
    return [
        CalledWrongly(
            str(row["unit"]),
            str(row["group"]),
            str(row["label"]),
            row["kind"],
            float(row["score"]),
            float(row["distance"]),
        )
        for row in kept.to_dict("records")
    ]
