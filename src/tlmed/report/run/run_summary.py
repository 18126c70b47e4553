"""What qualifies a run's results table, in sentences: on the screen and in `results.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlmed.report.figure_text import counts_text, figure_text, limits_text, refusal_text, value_text
from tlmed.report.run.tables import results_markdown

_FEW_TO_CALIBRATE_ON = 100
_CHANCE = 0.5


def summary_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know beside the table.

    Args:
        metrics: content of `metrics.json`.
    """
    return [
        *_chance(metrics),
        *_audit(metrics),
        *_usage(metrics),
        *_weighted_training(metrics),
        *_calibration(metrics),
        *_operating_points(metrics),
        *_by_source(metrics),
        *_without_flagged(metrics),
        *_external(metrics),
        *_chosen(metrics),
        openings_in_words(int(metrics["test_openings"])),
    ]


def results_text(metrics: Mapping[str, Any]) -> str:
    """Return the content of `results.md`."""
    sentences = "\n\n".join([metrics["interval"], *summary_sentences(metrics)])
    return f"{results_markdown(metrics)}\n{sentences}\n\nResearch use only, not a medical device.\n"


def _operating_points(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Of the delivered arm."""
    arm = metrics["delivered"]
    for point in metrics["operating_points"].get(arm, ()):
        asked = f"{arm}, threshold to {point['kind']} for {point['of']} {point['target']:g}"
        if point["refused"] is not None:
            yield f"{asked}: {refusal_text(point)}."
            continue
        fitted_on = metrics["calibrated"][arm]["fitted_on"]
        where = "on test" if fitted_on == "val" else "each fold by what the others chose,"
        yield (
            f"{asked}, chosen on {fitted_on} scores: {where} sensitivity {_share(point['sensitivity'])}, specificity "
            f"{_share(point['specificity'])}."
        )


def _chance(metrics: Mapping[str, Any]) -> Iterator[str]:
    arm = metrics["delivered"]
    cell = metrics["arms"][arm]["auroc"]
    if cell["low"] is not None and cell["low"] <= _CHANCE:
        yield f"Warning: {arm}, which is delivered, cannot be told from chance (AUROC {figure_text(cell)})."


def _audit(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What was found in the data before training, and is neither mended nor a mere note."""
    for finding in metrics["audit_warnings"]:
        waived = "waived error" if finding["severity"] == "error" else "data"
        yield f"Warning, {waived}, {finding['kind']}: {finding['message']}."


def _calibration(metrics: Mapping[str, Any]) -> Iterator[str]:
    arm = metrics["delivered"]
    calibrated = metrics["calibrated"][arm]
    if calibrated["metrics"] and calibrated["num_units"] < _FEW_TO_CALIBRATE_ON:
        yield (
            f"{arm}, calibration: fitted on {calibrated['num_units']} units alone; believe its probabilities only as "
            "far as the slope on test allows."
        )
    notes = calibrated["notes"]
    if notes:
        more = f" (and {len(notes) - 1} like it in other seeds or folds)" if len(notes) > 1 else ""
        yield f"{arm}, calibration: {notes[0]}{more}."


def _by_source(metrics: Mapping[str, Any]) -> Iterator[str]:
    for source, measured in metrics.get("by_source", {}).items():
        yield f"Source {source} alone ({measured['num_units']} units), AUROC: {_aurocs(measured)}."


def _aurocs(measured: Mapping[str, Any]) -> str:
    return "; ".join(f"{arm} {figure_text(row['auroc'])}" for arm, row in measured["arms"].items())


def _weighted_training(metrics: Mapping[str, Any]) -> Iterator[str]:
    if metrics["weighted_training"]:
        yield (
            "Warning, weighted training: class weights or balanced sampling raise the rarer class's probabilities, so "
            "0.5, which the table's accuracy, sensitivity and specificity stand on, is nobody's choice of threshold; "
            "use an operating point, which is chosen on calibrated scores."
        )


def _share(cell: Mapping[str, Any]) -> str:
    return f"{value_text(cell)} ({counts_text(cell)}; {limits_text(cell)})"


def _usage(metrics: Mapping[str, Any]) -> Iterator[str]:
    for finding in metrics["usage"]:
        if finding["severity"] == "warning":
            yield f"Warning, shortcut: {finding['message']}."


def _without_flagged(metrics: Mapping[str, Any]) -> Iterator[str]:
    if "without_flagged" not in metrics:
        return
    rest = metrics["without_flagged"]
    if "not_measured" in rest:
        yield (
            f"Warning: without the {rest['num_flagged']} test images that waived findings are about nothing could be "
            f"measured ({rest['not_measured']})"
        )
        return
    yield (
        f"Without the {rest['num_flagged']} test images that waived findings are about ({rest['num_units']} units "
        f"left), AUROC: {_aurocs(rest)}."
    )


def _external(metrics: Mapping[str, Any]) -> Iterator[str]:
    for name, measured in metrics["external"].items():
        unknown = "" if measured["groups_known"] else "; patients unknown, so image-level"
        left_out = f", {measured['num_unreadable']} unreadable left out" if measured["num_unreadable"] else ""
        number = metrics["external_openings"][name]
        opened = f"; opened {number} time{'' if number == 1 else 's'}"
        size = f"{measured['num_units']} units{left_out}{unknown}{opened}"
        yield f"External set {name} ({size}), AUROC: {_aurocs(measured)}."


def _chosen(metrics: Mapping[str, Any]) -> Iterator[str]:
    counts: dict[str, dict[str, int]] = {}
    for choice in metrics.get("chosen", ()):
        of_arm = counts.setdefault(choice["arm"], {})
        of_arm[choice["candidate"]] = of_arm.get(choice["candidate"], 0) + 1
    if counts:
        told = "; ".join(f"{arm}: " + ", ".join(f"{name} {n}x" for name, n in of.items()) for arm, of in counts.items())
        yield f"Settings chosen by inner folds, never on test: {told}."


def openings_in_words(number: int) -> str:
    """Say how often a test set was opened, this time included."""
    if number == 1:
        return "What is tested on was opened for the first time."
    return (
        f"What is tested on was opened {number} times, over all recipes of this store: the more often, the more what "
        "looks best may be luck."
    )
