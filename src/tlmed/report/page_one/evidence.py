"""Items of page one about how well the delivered arm does, and how much more than simple methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlmed.evaluation.assessment.case_data import counted, plural
from tlmed.evaluation.estimates.prediction_table import aggregate_units
from tlmed.evaluation.statistics.auroc import auroc
from tlmed.recipe.recipe import PROBE_ARM
from tlmed.report.figure_text import refusal_text, value_text
from tlmed.report.page_one.wording import figure_in_words, in_its_words, independent_noun, limits_in_words
from tlmed.report.parts import Grid, Section
from tlmed.report.record.case_counts import positive_classes, tested_cases
from tlmed.report.record.run_record import RunRecord

_CHANCE = 0.5
_WIDEST_SLOPE = (0.5, 2.0)  # half and double of what is right
_BASELINES = {
    "majority": "the larger class, always",
    "metadata": "the files' size, form and tags alone",
    "intensity": "brightness and contrast alone",
    "thumbnail-forest": "32 x 32 thumbnails, decision trees",
    "thumbnail-neighbour": "32 x 32 thumbnails, the most alike",
}
_PROBE, _CHANCE_ITSELF = "frozen features + logistic regression", "chance itself: see 4"
_METHODS = {"platt": "Platt scaling", "isotonic": "isotonic regression"}
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
        (f"AUROC by {metrics['unit']}{_macro(record)}", value_text(auroc), limits_in_words(record, auroc), "")
    ]
    sentences = [_whose(record)]
    if auroc["low"] is not None and auroc["low"] <= _CHANCE:
        sentences.append("It cannot be told from chance: the interval holds 0.5.")
    points = metrics["operating_points"].get(arm, ())
    if not positive_classes(record) or not points:
        what = "no class is named positive" if not positive_classes(record) else "the recipe asks for none"
        sentences.append(f"No threshold: {what}.")
        rows.append(_row(record, metrics["arms"][arm]["balanced_accuracy"], "balanced accuracy"))
    elif points[0]["refused"] is not None:
        sentences.append(f"{_asked(points[0])}: {in_its_words(record, refusal_text(points[0]))}.")
    else:
        sentences.append(_threshold(record, points[0]))
        rows += [_row(record, points[0][name], name) for name in ("sensitivity", "specificity")]
    sentences += _own_figures(record)
    calls = "right calls, seed by seed" if _num_seeds(record) > 1 else "right calls"
    return Section(
        "How well it tells", tuple(sentences), Grid(("figure", "value", "95 % interval", calls), tuple(rows))
    )


def _whose(record: RunRecord) -> str:
    cover = f"the choice of {tested_cases(record).independent}"
    several = _num_seeds(record) > 1
    covered = f"{cover} and the chance of training" if several else f"{cover}, not the chance of training"
    if not record.metrics["groups_known"]:
        covered += "; they may be too narrow, because patients are not known"
    what = f"means over {_num_seeds(record)} seeds" if several else "one seed"
    return f"{record.metrics['delivered']} on test, {what}. Intervals cover {covered}."


def _num_seeds(record: RunRecord) -> int:
    return int(record.predictions.loc[record.predictions["arm"] == record.metrics["delivered"], "seed"].nunique())


def _own_figures(record: RunRecord) -> Iterator[str]:
    """What is delivered, and its own figures: those above are of all seeds."""
    bundle, arm = record.bundle, record.metrics["delivered"]
    if bundle is None:
        yield "No model is delivered."
        return
    seed = f"seed {bundle['seed']}"
    if record.metrics["num_folds"] is not None:
        made = f"the mean of the {bundle['num_members']} fold models of {seed}"
        what = made if bundle["num_members"] > 1 else f"one model of {seed}, trained anew on all cases"
        yield f"Delivered: {what}. It was never tested itself: no case here is new to it."
        return
    if _num_seeds(record) == 1:
        yield f"Delivered: this model ({seed})."
        return
    own = [] if (auroc_of_seed := _auroc_of(record, bundle["seed"])) is None else [f"AUROC {auroc_of_seed:.3f}"]
    points = record.metrics["operating_points"].get(arm, ())
    if points and points[0]["refused"] is None:
        # Counts stand in the order of the seeds.
        place = sorted({fit["seed"] for fit in points[0]["fits"]}).index(bundle["seed"])
        threshold = next(fit["threshold"] for fit in points[0]["fits"] if fit["seed"] == bundle["seed"])
        own.append(f"threshold {threshold:.3f}")
        for name in ("sensitivity", "specificity"):
            own.append(f"{name} {points[0][name]['numerators'][place]} of {points[0][name]['denominator']}")
    yield f"Delivered: the model of {seed} alone{': ' if own else ''}{', '.join(own)}."


def _auroc_of(record: RunRecord, seed: int) -> float | None:
    """Of one seed's own scores on test; None where no class is named positive."""
    positive, table = positive_classes(record), record.predictions
    if not positive:
        return None
    chosen = (table["arm"] == record.metrics["delivered"]) & (table["seed"] == seed) & (table["split"] == "test")
    units = aggregate_units(table[chosen])
    return auroc(units["label"].isin(positive), units[[f"p_{label}" for label in positive]].sum(axis=1))


def _macro(record: RunRecord) -> str:
    return "" if positive_classes(record) else ", mean over the classes"


def _row(record: RunRecord, cell: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return (name, value_text(cell), limits_in_words(record, cell), _calls(record, cell))


def _calls(record: RunRecord, cell: Mapping[str, Any]) -> str:
    """Such as "5 of 36 images", or "5, 2, each of 36 images" of as many seeds."""
    if "numerators" not in cell:
        return ""
    each = ", each" if len(cell["numerators"]) > 1 else ""
    cases = f"{cell['denominator']} {plural(record.metrics['unit'])}"
    return f"{', '.join(map(str, cell['numerators']))}{each} of {cases}"


def _asked(point: Mapping[str, Any]) -> str:
    return f"Threshold to {point['kind']} for {point['of']} {point['target']:g}"


def _threshold(record: RunRecord, point: Mapping[str, Any]) -> str:
    """The threshold or thresholds, and whether what it aimed at was reached on test."""
    thresholds = [fit["threshold"] for fit in point["fits"]]
    low, high = f"{min(thresholds):.3f}", f"{max(thresholds):.3f}"
    of_each = "seed and fold" if record.metrics["num_folds"] is not None else "seed"
    said = low if low == high else f"{low} to {high} (one for each {of_each})"
    cell, target = point[point["of"]], point["target"]
    if cell["low"] is None:
        kept = f"cannot be told ({limits_in_words(record, cell)})"
    elif cell["low"] >= target:
        kept = f"kept (the interval lies at {target:g} or above)"
    elif cell["high"] < target:
        kept = f"missed (the interval lies below {target:g})"
    else:
        kept = f"cannot be told (the interval holds {target:g})"
    chosen = f"chosen on {_fitted_on(record)} scores, not on test"
    return f"{_asked(point)}: {said}, {chosen}. The aim on test: {kept}."


def _fitted_on(record: RunRecord) -> str:
    fitted_on = str(record.metrics["calibrated"][record.metrics["delivered"]]["fitted_on"])
    return "validation" if fitted_on == "val" else fitted_on


def calibration(record: RunRecord) -> Section:
    """Slope and intercept on test, of what was fitted without it."""
    calibrated = record.metrics["calibrated"][record.metrics["delivered"]]
    title = "Can its probabilities be believed"
    if "calibration_slope" not in calibrated["metrics"]:
        reason = "; ".join(calibrated["notes"]) or (
            "no class is named positive" if not positive_classes(record) else "the recipe asks for no calibration"
        )
        return Section(title, (f"Cannot be told: {in_its_words(record, reason)}.",))
    cells = calibrated["metrics"]
    method = _METHODS.get(calibrated["method"], calibrated["method"])
    slope, intercept = (cells[f"calibration_{name}"] for name in ("slope", "intercept"))
    return Section(
        title,
        (
            _is_calibrated(slope, intercept),
            f"Calibration slope {figure_in_words(record, slope)}, where 1 is right; intercept "
            f"{figure_in_words(record, intercept)}, where 0 is right: on test, after {method} fitted on "
            f"{_fitted_on(record)} scores ({counted(calibrated['num_units'], record.metrics['unit'])}).",
            *(f"Note: {in_its_words(record, note)}." for note in calibrated["notes"]),
        ),
    )


def _is_calibrated(slope: Mapping[str, Any], intercept: Mapping[str, Any]) -> str:
    """The slope is believed to be near 1 only where its limits leave nothing beyond half and double."""
    if slope["low"] is None or intercept["low"] is None:
        return "Cannot be told: there is no interval."
    wrong = [
        f"the interval of the {name} does not hold {right}"
        for name, cell, right in (("slope", slope, 1), ("intercept", intercept, 0))
        if not cell["low"] <= right <= cell["high"]
    ]
    if wrong:
        return f"No, they are not calibrated: {' and '.join(wrong)}."
    if slope["low"] < _WIDEST_SLOPE[0] or slope["high"] > _WIDEST_SLOPE[1]:
        return f"Cannot be told: the interval of the slope goes beyond {_WIDEST_SLOPE[0]:g} to {_WIDEST_SLOPE[1]:g}."
    return "Yes, as far as these cases show: the interval of the slope holds 1, that of the intercept 0."


def baselines(record: RunRecord) -> Section:
    """What a model has to beat."""
    metrics, arm = record.metrics, record.metrics["delivered"]
    rows = [
        (
            _BASELINES.get(name, name),
            figure_in_words(record, row["auroc"]) if row["auroc"]["low"] is not None else value_text(row["auroc"]),
            _CHANCE_ITSELF if name == "majority" else _beaten(record, row["auroc_difference"]),
        )
        for name, row in sorted(metrics["baselines"].items(), key=lambda pair: list(_BASELINES).index(pair[0]))
    ]
    if PROBE_ARM not in metrics["arms"]:
        rows.append((_PROBE, "not trained in this run", ""))
    elif arm != PROBE_ARM:
        difference = _contrast(record, arm, PROBE_ARM)
        rows.append(
            (
                f"{_PROBE} ({PROBE_ARM})",
                figure_in_words(record, metrics["arms"][PROBE_ARM]["auroc"]),
                "not compared" if difference is None else _beaten(record, difference),
            )
        )
    sentence = (
        "AUROC of simple methods, trained on the same training cases, on the same test cases; a model that does not "
        "beat them has shown little."
    )
    header = ("method", "AUROC on test", f"{arm} minus it")
    return Section("What it has to beat", (sentence,), Grid(header, tuple(rows)))


def _beaten(record: RunRecord, difference: Mapping[str, Any]) -> str:
    if difference["value"] is None:
        return "undefined"
    value = value_text(difference, "+")
    if difference["low"] is None:
        return f"{value}: cannot be told, {limits_in_words(record, difference)}"
    told = f"{value} ({limits_in_words(record, difference, '+')})"
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


def where_tested(record: RunRecord) -> Section:
    """Internal, temporal and external figures, each by its name."""
    metrics, protocol = record.metrics, record.metrics["protocol"]
    arm, split = metrics["delivered"], protocol["split"]
    here = figure_in_words(record, metrics["arms"][arm]["auroc"])
    cases = _size(metrics, independent_noun(record))
    none = ("none", "", "")
    internal = none if split == "temporal" else (_SPLITS[split], cases, here)
    temporal = ("later cases than training", cases, here) if split == "temporal" else none
    rows = [("internal", *internal), ("temporal", *temporal)]
    rows += [
        (
            f"external: {name}",
            "other data, only tested on",
            _size(one, "group"),
            figure_in_words(record, one["arms"][arm]["auroc"]),
        )
        for name, one in metrics["external"].items()
    ] or [("external", *none)]
    sentence = f"Never merged: how {arm} does elsewhere, or later, is not told by how it does here."
    return Section("Where it was tested", (sentence,), Grid(("kind", "test set", "cases", "AUROC"), tuple(rows)))


def _size(measured: Mapping[str, Any], group: str) -> str:
    units = counted(measured["num_units"], measured["unit"])
    return (
        f"{counted(measured['num_groups'], group)}, {units}" if measured["groups_known"] else f"{units}, groups unknown"
    )
