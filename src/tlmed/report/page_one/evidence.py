"""Items of page one about how well the delivered arm does, and what else could explain it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlmed.recipe.recipe import PROBE_ARM
from tlmed.report.figure_text import counts_text, figure_text, limits_text, value_text
from tlmed.report.parts import Grid, Section
from tlmed.report.record.case_counts import counted, group_noun, plural, positive_classes, tested_cases
from tlmed.report.record.run_record import RunRecord

_CHANCE = 0.5
_NUM_VARIABLES = 3
_BASELINES = {
    "majority": "the larger class, always",
    "metadata": "the files' size, form and tags alone",
    "intensity": "brightness and contrast alone",
    "thumbnail-forest": "32 x 32 thumbnails, decision trees",
    "thumbnail-neighbour": "32 x 32 thumbnails, the most alike",
}
_SHORTCUT_KINDS = ("shortcut_metadata", "shortcut_border", "shortcut_column", "source_confounding")
_METHODS = {"platt": "Platt scaling", "isotonic": "isotonic regression"}
_VARIABLES = {
    "border score": "what the pictures' outer edge alone tells",
    "mode": "colour mode",
    "format": "file format",
    "ratio": "aspect ratio",
    "bytes_per_pixel": "bytes a pixel",
    "num_exif_tags": "number of EXIF tags",
    "exif_software": "EXIF software",
}
_SPLITS = {
    "manifest": "the data set's own split",
    "holdout": "a hold-out set",
    "kfold": "folds, out of fold",
    "leave-one-source-out": "each source in turn, by models that never saw it",
}


def discrimination(record: RunRecord) -> Section:
    """AUROC by unit; sensitivity and specificity at the threshold that was fixed before test."""
    metrics, arm = record.metrics, record.metrics["delivered"]
    auroc = metrics["arms"][arm]["auroc"]
    rows: list[tuple[str, ...]] = [
        (f"AUROC by {metrics['unit']}{_macro(record)}", value_text(auroc), limits_text(auroc), "")
    ]
    sentences = [_delivered(record)]
    if auroc["low"] is not None and auroc["low"] <= _CHANCE:
        sentences.append("It cannot be told from chance: the interval holds 0.5.")
    points = metrics["operating_points"].get(arm, ())
    if not positive_classes(record) or not points:
        what = "no class is named positive" if not positive_classes(record) else "the recipe asks for none"
        sentences.append(f"No threshold: {what}.")
        rows.append(_row(metrics["arms"][arm]["balanced_accuracy"], "balanced accuracy"))
    elif points[0]["refused"] is not None:
        sentences.append(f"{_asked(points[0])}: refused ({points[0]['refused']}).")
    else:
        sentences.append(
            f"{_asked(points[0])}: {_threshold(points[0])}, chosen on {_fitted_on(record)} scores, not on test."
        )
        rows += [_row(points[0][name], name) for name in ("sensitivity", "specificity")]
    return Section(
        "How well it tells", tuple(sentences), Grid(("figure", "value", "95 % interval", "right calls"), tuple(rows))
    )


def _delivered(record: RunRecord) -> str:
    seeds = record.predictions.loc[record.predictions["arm"] == record.metrics["delivered"], "seed"].nunique()
    cover = f"the choice of {tested_cases(record).independent}"
    covered = f"{cover} and the chance of training" if seeds > 1 else f"{cover}, not the chance of training"
    if not record.metrics["groups_known"]:
        covered += "; they may be too narrow, because patients are not known"
    return f"{record.metrics['delivered']}, the arm that is delivered, on test. Intervals cover {covered}."


def _macro(record: RunRecord) -> str:
    return "" if positive_classes(record) else ", mean over the classes"


def _row(cell: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return (name, value_text(cell), limits_text(cell), counts_text(cell) if "numerators" in cell else "")


def _asked(point: Mapping[str, Any]) -> str:
    return f"Threshold to {point['kind']} for {point['of']} {point['target']:g}"


def _threshold(point: Mapping[str, Any]) -> str:
    thresholds = [fit["threshold"] for fit in point["fits"]]
    low, high = min(thresholds), max(thresholds)
    return f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"


def _fitted_on(record: RunRecord) -> str:
    return str(record.metrics["calibrated"][record.metrics["delivered"]]["fitted_on"])


def calibration(record: RunRecord) -> Section:
    """Slope and intercept on test, of what was fitted without it."""
    calibrated = record.metrics["calibrated"][record.metrics["delivered"]]
    title = "Can its probabilities be believed"
    if "calibration_slope" not in calibrated["metrics"]:
        reason = "; ".join(calibrated["notes"]) or (
            "no class is named positive" if not positive_classes(record) else "the recipe asks for no calibration"
        )
        return Section(title, (f"Not told: {reason}.",))
    cells = calibrated["metrics"]
    method = _METHODS.get(calibrated["method"], calibrated["method"])
    slope, intercept = (figure_text(cells[f"calibration_{name}"]) for name in ("slope", "intercept"))
    return Section(
        title,
        (
            f"Calibration slope {slope}, where 1 is right; intercept {intercept}, where 0 is right.",
            f"On test, after {method} fitted on {calibrated['fitted_on']} scores "
            f"({counted(calibrated['num_units'], record.metrics['unit'])}).",
        ),
    )


def baselines(record: RunRecord) -> Section:
    """What a model has to beat."""
    metrics, arm = record.metrics, record.metrics["delivered"]
    rows = [
        (
            _BASELINES.get(name, name),
            figure_text(row["auroc"]) if row["auroc"]["low"] is not None else value_text(row["auroc"]),
            _beaten(row["auroc_difference"]),
        )
        for name, row in sorted(metrics["baselines"].items(), key=lambda pair: list(_BASELINES).index(pair[0]))
    ]
    if PROBE_ARM in metrics["arms"] and arm != PROBE_ARM:
        difference = _contrast(record, arm, PROBE_ARM)
        rows.append(
            (
                "frozen features + logistic regression (probe)",
                figure_text(metrics["arms"][PROBE_ARM]["auroc"]),
                "not compared" if difference is None else _beaten(difference),
            )
        )
    sentence = "AUROC of simple methods on the same test cases; a model that does not beat them has shown little."
    return Section("What it has to beat", (sentence,), Grid(("method", "AUROC", f"{arm} minus it"), tuple(rows)))


def _beaten(difference: Mapping[str, Any]) -> str:
    if difference["value"] is None:
        return "undefined"
    value = value_text(difference, "+")
    if difference["low"] is None:
        return value
    told = f"{value} ({limits_text(difference, '+')})"
    if difference["low"] > 0:
        return f"{told}: beaten"
    return f"{told}: NOT beaten, it is better" if difference["high"] < 0 else f"{told}: cannot be told"


def _contrast(record: RunRecord, first: str, second: str) -> Mapping[str, Any] | None:
    """The difference of two arms with the limits that its verdict stands on."""
    if record.comparison is None or record.comparison["metric"] != "auroc":
        return None
    for contrast in record.comparison["contrasts"]:
        if contrast["weights"] == {first: 1, second: -1}:
            claim = contrast["claims"].get(contrast["speaks_for"], {"not_claimed": ""})
            return {"value": contrast["value"], "low": None, "high": None} if "not_claimed" in claim else claim
    return None


def validity(record: RunRecord) -> Section:
    """Whether leakage or a shortcut could explain the result, answered plainly."""
    usage = next((one for one in record.metrics["usage"] if one["details"]["arm"] == record.metrics["delivered"]), None)
    variables = [] if usage is None else usage["details"]["variables"]
    shown = [one for one in variables if one["is_shortcut"]] or [one for one in variables if one["is_followed"]]
    shown = (shown or variables)[:_NUM_VARIABLES]
    return Section(
        "Could leakage or a shortcut explain it",
        (_leakage(record), _shortcut(record, usage), *_told_without_disease(record)),
        _matched(record, shown) if shown else None,
    )


def _leakage(record: RunRecord) -> str:
    waived = [one for one in record.audit["findings"] if one["severity"] == "error"]
    group = group_noun(record)
    if waived:
        kinds = ", ".join(dict.fromkeys(one["kind"].replace("_", " ") for one in waived))
        return f"Leakage: YES, it could. Found and waived: {kinds}.{_without_flagged(record)}"
    if not record.metrics["groups_known"]:
        return (
            "Leakage: cannot be excluded. Which images belong to one patient is not known, so the same patient may "
            "stand in training and test. Copies were looked for, and none is left."
        )
    return (
        f"Leakage: none known is left. No {group}, identical file or near-copy of test stands in the target's training "
        f"data; what did was taken out.{_untold_overlap(record)}"
    )


def _untold_overlap(record: RunRecord) -> str:
    """Earlier stages may have seen the same persons under other ids, or none."""
    target, *_ = reversed(record.domains)
    column = record.domains[target]["group_column"]
    chain = {name: domain for name, domain in record.domains.items() if name != target}
    untold = [name for name, domain in chain.items() if domain["group_column"] != column]
    if not untold:
        return ""
    return (
        f" Whether {' and '.join(untold)} holds the same {plural(group_noun(record))} cannot be checked; copies were."
    )


def _without_flagged(record: RunRecord) -> str:
    rest = record.metrics.get("without_flagged")
    if rest is None:
        return ""
    number = counted(rest["num_flagged"], "image")
    if "not_measured" in rest:
        return f" Without the {number} concerned nothing could be measured."
    arm = record.metrics["delivered"]
    return f" Without the {number} concerned {arm} has AUROC {figure_text(rest['arms'][arm]['auroc'])}."


def _shortcut(record: RunRecord, usage: Mapping[str, Any] | None) -> str:
    if usage is None:
        why = "no class is named positive" if not positive_classes(record) else "nothing was measured"
        return f"Shortcut: not looked at in the scores, because {why}."
    variables = usage["details"]["variables"]
    if not variables:
        return "Shortcut: cannot be told; in the test cases nothing varies enough that a score could follow."
    names = [_in_words(one["variable"]) for one in variables if one["is_shortcut"]]
    if names:
        return (
            f"Shortcut: YES, it could explain a part. Within the classes the score of {record.metrics['delivered']} "
            f"follows {' and '.join(names[:_NUM_VARIABLES])}, by which the class is told as well. No proof: sicker "
            "patients may also have other files."
        )
    followed = any(one["is_followed"] for one in variables)
    said = "follows some, but none that would flatter the result" if followed else "follows none of them"
    return f"Shortcut: no sign. Of {counted(len(variables), 'variable')} of files and table the score {said}."


def _in_words(variable: str) -> str:
    """Of a variable, or of a level or range of it, such as "mode = RGB"."""
    name = next((name for name in _VARIABLES if variable.removeprefix("not ").startswith(name)), None)
    return variable if name is None else variable.replace(name, _VARIABLES[name], 1)


def _told_without_disease(record: RunRecord) -> Iterator[str]:
    """What tells the class in the data, whether or not a model uses it."""
    told = [one for one in record.audit["findings"] if one["kind"] in _SHORTCUT_KINDS and one["severity"] == "warning"]
    for finding in told:
        stage, _, message = finding["message"].partition(": ")
        yield f"In the data of {stage}: {message}."


def _matched(record: RunRecord, variables: list[Mapping[str, Any]]) -> Grid:
    arm = record.metrics["delivered"]
    group = plural(group_noun(record))
    usage = next(one for one in record.metrics["usage"] if one["details"]["arm"] == arm)
    on_all = figure_text(usage["details"]["auroc"])
    rows = []
    for one in variables:
        matched = one["matched"]
        alike = f"too few {group} are alike" if matched is None else figure_text(matched["auroc"])
        where = one["variable"] if matched is None else matched["where"]
        rows.append((_in_words(where), alike, on_all))
    return Grid(("only where ...", f"AUROC of {arm} there", "on all"), tuple(rows))


def where_tested(record: RunRecord) -> Section:
    """Internal, temporal and external figures, each by its name."""
    metrics, protocol = record.metrics, record.metrics["protocol"]
    arm, split = metrics["delivered"], protocol["split"]
    here = figure_text(metrics["arms"][arm]["auroc"])
    cases = _size(metrics, group_noun(record))
    none = ("none", "", "")
    internal = none if split == "temporal" else (_SPLITS[split], cases, here)
    temporal = ("later cases than training", cases, here) if split == "temporal" else none
    rows = [("internal", *internal), ("temporal", *temporal)]
    rows += [
        (f"external: {name}", "other data, only tested on", _size(one, "group"), figure_text(one["arms"][arm]["auroc"]))
        for name, one in metrics["external"].items()
    ] or [("external", *none)]
    sentence = f"Never merged: how {arm} does elsewhere, or later, is not told by how it does here."
    return Section("Where it was tested", (sentence,), Grid(("kind", "test set", "cases", "AUROC"), tuple(rows)))


def _size(measured: Mapping[str, Any], group: str) -> str:
    units = counted(measured["num_units"], measured["unit"])
    return (
        f"{counted(measured['num_groups'], group)}, {units}" if measured["groups_known"] else f"{units}, groups unknown"
    )
