"""What came out of a run, in sentences that say no more than its figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlmed.evaluation.assessment.case_data import counted
from tlmed.report.facts.fact import Fact, figure, p_value, positive_in_words, share
from tlmed.report.facts.shortcut_reach import explained_by_shortcuts
from tlmed.report.figure_text import figure_text, is_hidden, listed, value_text
from tlmed.report.record.run_record import RunRecord
from tlmed.report.run.run_summary import openings_in_words

_ALPHA = 0.05
_NOBODY_CALLED = "Without a threshold no unit was called positive or negative."


def performance(record: RunRecord) -> Fact:
    """Of the delivered arm, before any threshold."""
    metrics = record.metrics
    arm = metrics["delivered"]
    row = metrics["arms"][arm]
    units = counted(metrics["num_units"], metrics["unit"])
    if metrics["positive"] is None:
        told = (
            f"The macro AUROC of {arm} on {units} was {figure(row['auroc'])}, its accuracy {figure(row['accuracy'])}, "
            f"its balanced accuracy {figure(row['balanced_accuracy'])}."
        )
    else:
        told = f"The AUROC of {arm} for {positive_in_words(record)} on {units} was {figure(row['auroc'])}."
    return Fact(told, "metrics.json: arms")


def accuracy_at_threshold(record: RunRecord) -> Fact:
    """Sensitivity and specificity as counts."""
    metrics = record.metrics
    arm, source = metrics["delivered"], "metrics.json: operating_points"
    points = metrics["operating_points"].get(arm, [])
    if not points:
        return Fact("No threshold was set beforehand, so there is no sensitivity at one.", source)
    return Fact(" ".join(_at(arm, point) for point in points), source)


def _at(arm: str, point: dict[str, Any]) -> str:
    asked = f"to {point['kind']} for {point['of']} {point['target']:g}"
    if point["refused"] is not None:
        if is_hidden(point):
            return f"Sensitivity and specificity at the threshold {asked} are {point['refused']}."
        return f"{arm} has no threshold {asked}: {point['refused']}."
    return (
        f"At the threshold of {arm} {asked}, sensitivity was {share(point['sensitivity'])}, and specificity was "
        f"{share(point['specificity'])}."
    )


def calibration(record: RunRecord) -> Fact:
    """Slope and intercept of the delivered arm."""
    told, source = record.metrics["calibrated"][record.metrics["delivered"]], "metrics.json: calibrated"
    if not told["metrics"]:
        return Fact("Calibration was not measured, for the probabilities were not calibrated.", source)
    titles = {
        "calibration_slope": "calibration slope (1 is right)",
        "calibration_intercept": "calibration intercept (0 is right)",
        "brier": "Brier score",
    }
    figures = [f"{title} {figure(told['metrics'][name])}" for name, title in titles.items() if name in told["metrics"]]
    return Fact(f"After calibration: {listed(figures)}.", source)


def failures(record: RunRecord) -> Fact:
    """What was called right and wrong at the threshold."""
    metrics = record.metrics
    points = [one for one in metrics["operating_points"].get(metrics["delivered"], []) if one["refused"] is None]
    if not points:
        hidden = any(map(is_hidden, metrics["operating_points"].get(metrics["delivered"], [])))
        told = "How units were called is not shown in this copy." if hidden else _NOBODY_CALLED
        return Fact(told, "metrics.json: operating_points")
    right = points[0]
    called = [
        f"{listed(right[of]['numerators'])} of {right[of]['denominator']} {which} units were called {which}"
        for of, which in (("sensitivity", "positive"), ("specificity", "negative"))
    ]
    return Fact(f"Of the first threshold: {listed(called)}; the others are errors.", "metrics.json: operating_points")


def verdict(record: RunRecord) -> Fact:
    """The comparison's own sentence, and what it is put down to."""
    comparison, source = record.comparison, "comparison.json: verdict, attribution"
    if comparison is None:
        return Fact("One arm was trained, so nothing is compared.", "metrics.json: arms")
    attribution = comparison["attribution"]
    return Fact(
        " ".join([comparison["verdict"]["sentence"], *([attribution["sentence"]] if attribution is not None else [])]),
        source,
    )


def secondary(record: RunRecord) -> Fact | None:
    """How many of the further comparisons stand out; each of them in the table."""
    if record.comparison is None:
        return None
    others = [one for one in record.comparison["contrasts"] if one["role"] == "secondary"]
    if not others:
        return None
    tested = [one for one in others if one["p_holm"] is not None]
    source = "comparison.json: contrasts"
    if not tested:
        return Fact(f"No p value is given for {counted(len(others), 'secondary comparison')}.", source)
    below = [
        f"{one['name']} ({one['value']:+.3f}, p {p_value(one['p_holm'])})" for one in tested if one["p_holm"] < _ALPHA
    ]
    found = listed(below) if below else "none"
    return Fact(
        f"Of {counted(len(tested), 'secondary comparison')}, those with an adjusted p below 0.05: {found}.", source
    )


def robustness(record: RunRecord) -> Fact:
    """What the delivered arm has to beat, and whether it goes by something else than the disease."""
    metrics = record.metrics
    told = [*_baselines(metrics), *_without_flagged(metrics), *_shortcuts(metrics)]
    return Fact(" ".join(told), "metrics.json: baselines, usage, without_flagged")


def _baselines(metrics: dict[str, Any]) -> Iterator[str]:
    told = [
        f"{name} {_limited(row['auroc'])}, {row['auroc_difference']['arm']} minus it "
        f"{_limited(row['auroc_difference'], '+')}"
        for name, row in metrics["baselines"].items()
    ]
    joint = any("level" in row["auroc_difference"] for row in metrics["baselines"].values())
    rule = " (limits of the differences hold for all of them together; Dunn 1961)" * joint
    yield f"AUROC of simple baselines on the same units{rule}: {'; '.join(told)}."


def _limited(cell: dict[str, Any], sign: str = "") -> str:
    """With limits where there are some; why there are none stands with the baselines' table."""
    return value_text(cell, sign) if cell["low"] is None else figure_text(cell, sign)


def _without_flagged(metrics: dict[str, Any]) -> Iterator[str]:
    rest = metrics.get("without_flagged")
    if rest is None:
        return
    without = f"Without the {counted(rest['num_flagged'], 'test image')} that waived findings are about"
    if "not_measured" in rest:
        yield f"{without} nothing could be measured ({rest['not_measured']})."
    else:
        cell = rest["arms"][metrics["delivered"]]["auroc"]
        yield f"{without}, AUROC of {metrics['delivered']} was {figure(cell)}."


def _shortcuts(metrics: dict[str, Any]) -> Iterator[str]:
    """Of the delivered arm."""
    findings = [one for one in metrics["usage"] if one["details"]["arm"] == metrics["delivered"]]
    if not findings:
        yield "Whether the score follows something else than the disease was not looked at."
    for finding in findings:
        followed = [one for one in finding["details"]["variables"] if one["is_shortcut"]]
        if not followed:
            yield f"Shortcuts: {finding['message']}."
            continue
        yield (
            f"Within the classes the score follows {listed(_followed(one) for one in followed)}. "
            f"{explained_by_shortcuts(finding)}"
        )


def _followed(variable: dict[str, Any]) -> str:
    matched = variable["matched"]
    alike = "" if matched is None else f"; AUROC where it is alike ({matched['where']}) {figure(matched['auroc'])}"
    return f"{variable['variable']} (adjusted p {p_value(variable['p_value_holm'])}{alike})"


def clusters(record: RunRecord) -> Fact:
    """Figures by source, where sources were held out."""
    by_source, arm = record.metrics.get("by_source", {}), record.metrics["delivered"]
    if not by_source:
        return Fact(
            "Differences between hospitals or other clusters were not examined.", "metrics.json without by_source"
        )
    told = "; ".join(
        f"{source} ({counted(one['num_units'], 'unit')}) {figure(one['arms'][arm]['auroc'])}"
        for source, one in by_source.items()
    )
    return Fact(f"AUROC of {arm} on each source, left out of training: {told}.", "metrics.json: by_source")


def internal_testing(record: RunRecord) -> Fact:
    """What of the target's own data was tested on."""
    split = record.recipe.evaluation.protocol.split
    told = {
        "temporal": "Testing was internal, on later cases of the same sources",
        "kfold": "Testing was internal, out of fold",
        "leave-one-source-out": "Testing was internal-external: each source by models that had not seen it",
    }.get(split, "Testing was internal, on a held-out part of the same data")
    openings = openings_in_words(record.metrics["test_openings"])
    return Fact(f"{told}. {openings}", "recipe: evaluation.protocol, metrics.json: test_openings")


def external_testing(record: RunRecord) -> Fact:
    """Every external set for itself."""
    metrics = record.metrics
    arm = metrics["delivered"]
    told = [
        f"On the external set {name} ({counted(measured['num_units'], metrics['unit'])}), AUROC of {arm} was "
        f"{figure(measured['arms'][arm]['auroc'])}."
        for name, measured in metrics["external"].items()
    ]
    return Fact(" ".join(told) or "No external data set was tested.", "metrics.json: external")
