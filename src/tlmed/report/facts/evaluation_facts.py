"""How a run measures and compares: calibration, thresholds, measures, intervals, the comparison's rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tlmed.evaluation.comparison.sentences import sentence_of_registration
from tlmed.report.facts.fact import METRIC_NAMES, Fact
from tlmed.report.figure_text import is_hidden, listed
from tlmed.report.record.run_record import RunRecord

_SPEAKS_FOR = {
    "a": "these trained models, on new patients",
    "b": "this training set{start}, over new patients and new seeds",
    "c": "new training sets of this size{start}",
}
_GIVEN_START = " and these starting weights"
_FITTED_ON = {"val": "validation", "out-of-fold": "out-of-fold"}
_MAPS = {
    "platt": "Platt scaling (Platt 1999)",
    "isotonic": "isotonic regression (Zadrozny & Elkan 2002)",
    "temperature": "temperature scaling (Guo et al. 2017)",
    "none": "nothing where that was not possible",
}
# Of an interval's `method` in metrics.json: a pattern in it, and what that is.
_INTERVALS = {
    "logit": "limits on the logit scale (Pepe 2003)",
    "DeLong": "DeLong's variance (DeLong et al. 1988)",
    r"Obuchowski(?!-)": "Obuchowski's variance for clustered data (Obuchowski 1997)",
    "Obuchowski-Rockette": "seeds or repeats as random readers (Obuchowski & Rockette 1995; Hillis 2007)",
    "Wilson": "Wilson's interval (Wilson 1927)",
    "clustered": "an effective sample size for clustered shares (Korn & Graubard 1998)",
    "bootstrap by group": "resampling of groups (Efron & Tibshirani 1993)",
    "delta method": "the delta method by group",
    "Nadeau-Bengio": "the correction for overlapping training sets (Nadeau & Bengio 2003)",
}
# What a claim's limits cover, and where its method comes from.
_CLAIMS = {
    "a": ("the choice of patients alone", "Efron & Tibshirani 1993"),
    "b": (
        "the choice of patients and of training seeds, given this training set{start}",
        "Obuchowski & Rockette 1995; Banerjee 1960",
    ),
    "c": ("the choice of patients and of the training set{from_start}", "Nadeau & Bengio 2003; Bouckaert & Frank 2004"),
}


def calibration_method(record: RunRecord) -> Fact:
    """What the delivered arm's probabilities went through."""
    told = record.metrics["calibrated"][record.metrics["delivered"]]
    source = "metrics.json: calibrated"
    if not told["metrics"]:
        reason = f" ({told['notes'][0]})" if told["notes"] else ""
        return Fact(f"Probabilities were not calibrated{reason}.", source)
    maps = listed(_MAPS[name] for name in told["method"].split(", "))
    return Fact(
        f"Probabilities were calibrated by {maps} on {told['num_units']} {_FITTED_ON[told['fitted_on']]} units, "
        "never on what they were tested on.",
        source,
    )


def threshold(record: RunRecord) -> Fact:
    """How the decision threshold was chosen."""
    source = "metrics.json: operating_points, recipe: evaluation.operating_points"
    arm = record.metrics["delivered"]
    points = record.metrics["operating_points"].get(arm, [])
    if not points:
        return Fact("No threshold was set: a unit is called the class with the highest probability.", source)
    where = _FITTED_ON[record.metrics["calibrated"][arm]["fitted_on"]]
    chosen = [_asked(point) for point in points if point["refused"] is None]
    refused = [
        f"{_asked(point)} ({point['refused']})"
        for point in points
        if point["refused"] is not None and not is_hidden(point)
    ]
    told = [f"A threshold was chosen on {where} scores, without test, {listed(chosen)}."] if chosen else []
    told += [f"No threshold could be chosen on {where} scores {listed(refused)}."] if refused else []
    told += [
        f"What came of the threshold {_asked(point)} is {point['refused']}." for point in points if is_hidden(point)
    ]
    return Fact(" ".join(told), source)


def _asked(point: dict[str, Any]) -> str:
    return f"to {point['kind']} for {point['of']} {point['target']:g}"


def measures(record: RunRecord) -> Fact:
    """What is measured."""
    if record.metrics["positive"] is None:
        told = "macro-averaged AUROC (each class against the rest), accuracy, balanced accuracy and F1 (macro)"
    else:
        told = (
            "discrimination by AUROC (Bamber 1975) and AUPRC, decisions by sensitivity and specificity, calibration "
            "by slope and intercept (Cox 1958) and the Brier score (Brier 1950)"
        )
    return Fact(f"Measured were {told}, on units that trained nothing.", "metrics.json: arms, calibrated")


def intervals(record: RunRecord) -> Fact:
    """What the intervals stand on and cover."""
    used = listed(_methods_in_words(record))
    by = f" The intervals use {used}." if used else ""
    return Fact(f"{record.metrics['interval']}{by}", "metrics.json: interval, method of each figure")


def _methods_in_words(record: RunRecord) -> Iterator[str]:
    metrics = record.metrics
    cells: list[dict[str, Any]] = [cell for row in metrics["arms"].values() for cell in row.values()]
    cells += [cell for row in metrics["calibrated"].values() for cell in row["metrics"].values()]
    found = {cell.get("method", "") for cell in cells}
    for pattern, words in _INTERVALS.items():
        if any(re.search(pattern, method) for method in found):
            yield words


def contrast(record: RunRecord) -> Fact | None:
    """What is compared, when that was fixed, and by which rules a verdict is given."""
    comparison = record.comparison
    if comparison is None:
        return None
    metric = METRIC_NAMES[comparison["metric"]]
    told = [
        f"The primary comparison is {comparison['primary']} in {metric}, by {comparison['unit']}, with a margin of "
        f"{100 * comparison['margin']:g} points. {sentence_of_registration(comparison['registered'])}",
        *_rules(comparison),
    ]
    return Fact(" ".join(told), "comparison.json, recipe: evaluation.comparison")


def speaks_for(comparison: Mapping[str, Any], contrast: Mapping[str, Any]) -> str | None:
    """What the verdict on a contrast holds for; None where it has no claim."""
    if contrast["speaks_for"] is None:
        return None
    start = _GIVEN_START if comparison["design"]["given_start"] else ""
    return _SPEAKS_FOR[contrast["speaks_for"]].format(start=start)


def _rules(comparison: dict[str, Any]) -> Iterator[str]:
    primary = comparison["contrasts"][0]
    if primary["speaks_for"] is not None:
        covered, cited = _CLAIMS[primary["speaks_for"]]
        method = primary["claims"][primary["speaks_for"]]["method"]
        is_given = comparison["design"]["given_start"]
        covered = covered.format(start=_GIVEN_START * is_given, from_start=", given these starting weights" * is_given)
        yield f"Its interval and p value cover {covered} ({method}; {cited})."
        yield (
            "A difference counts as equivalent where its 90 % interval lies within the margin (two one-sided tests; "
            "Schuirmann 1987)."
        )
    roles = [one["role"] for one in comparison["contrasts"]]
    if "control" in roles:
        yield (
            "That the domain helped, and not more training alone, is said only where the arm also beats every control, "
            "each at the 5 % level (intersection-union test; Berger 1982)."
        )
    if roles.count("secondary") > 1:
        yield f"The p values of the {roles.count('secondary')} secondary comparisons are adjusted together (Holm 1979)."


def needed_size(record: RunRecord) -> Fact | None:
    """How many groups a narrower interval would take."""
    if record.comparison is None or record.comparison["needed"] is None:
        return None
    return Fact(record.comparison["needed"]["sentence"], "comparison.json: needed")


def updating(record: RunRecord) -> Fact:
    """That nothing was fitted to what it was tested on."""
    outside = " External sets were predicted with calibration and thresholds from here, unchanged."
    return Fact(
        "No model was updated on what it was tested on." + outside * bool(record.metrics["external"]),
        "metrics.json: external",
    )
