"""Items of page one about what was asked, what came out, and what that speaks for and excludes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlmed.evaluation.comparison.contrast_claims import ONE_SEED
from tlmed.recipe.recipe import resolve_arms
from tlmed.report.page_one.interval_drawing import draw_interval
from tlmed.report.page_one.validity import caution
from tlmed.report.page_one.wording import arms_in_words, compared_arms, in_its_words, limits_in_words
from tlmed.report.parts import Drawing, Section
from tlmed.report.record.case_counts import positive_classes, tested_cases
from tlmed.report.record.run_record import RunRecord

NOTHING_COMPARED = "nothing is compared"
_METRIC_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}
_WHOLE = 1.0  # no difference of two shares lies beyond
_WIDE = 0.5  # an interval that says nothing
_SEEDS_ADVISED = 5
_NUMBERS = {2: "Two", 3: "Three", 4: "Four"}
_CONTROLS = {"longer": "as much training, on the target alone", "placebo": "middle stage on permuted labels"}
_TRAIN_MORE = "train with two seeds or more, better five (for example --seed 0 --seed 1 --seed 2)"


def question(record: RunRecord) -> Section:
    """The question, its answer in a sentence, and what the answer speaks for; first what else could explain it."""
    title, stated, comparison = "The question", record.recipe.study.question, record.comparison
    warned = filter(None, [caution(record)])
    asked = [stated] if stated else []
    if comparison is None:
        arm, others = record.metrics["delivered"], len(record.metrics["arms"]) > 1
        asked = asked or [f"How well does {arm} {_told_apart(record)}?"]
        alone = f"{arm} has only controls beside it" if others else f"One arm alone, {arm}"
        said = f"{alone}: nothing is compared, so nothing is said of what helped."
        return Section(title, (*warned, *asked, arms_in_words(record), said))
    primary = comparison["contrasts"][0]
    asked = asked or [_asked(record, primary)]
    return Section(
        title,
        (
            *warned,
            *asked,
            arms_in_words(record),
            in_its_words(record, comparison["verdict"]["sentence"]),
            *_attributed(record, comparison["attribution"]),
            _speaks_for(primary, tested_cases(record).independent, given_start=comparison["design"]["given_start"]),
        ),
    )


def _attributed(record: RunRecord, attribution: Mapping[str, Any] | None) -> list[str]:
    """To what a gain is due."""
    return [] if attribution is None else [in_its_words(record, str(attribution["sentence"]))]


def _asked(record: RunRecord, primary: Mapping[str, Any]) -> str:
    """The primary contrast as a question."""
    arms, weights = resolve_arms(record.recipe), primary["weights"]
    better, worse = (max(weights, key=weights.__getitem__), min(weights, key=weights.__getitem__))
    before, added = arms[worse].stages, [stage for stage in arms[better].stages if stage not in arms[worse].stages]
    if not added or set(before) - set(arms[better].stages) or arms[better].weights != arms[worse].weights:
        return f"Does {better} {_told_apart(record)} better than {worse}?"
    return (
        f"Does training on {' and '.join(added)} before the target help to {_told_apart(record)}? ({better} against "
        f"{worse})"
    )


def _told_apart(record: RunRecord) -> str:
    positive = positive_classes(record)
    return f"tell {' or '.join(positive)} from the rest" if positive else "tell the classes apart"


def _speaks_for(contrast: Mapping[str, Any], independent: str, *, given_start: bool) -> str:
    here = "this training set and this checkpoint (the starting weights)" if given_start else "this training set"
    start = ", from this checkpoint (the starting weights)" if given_start else ""
    other = "other training data or other weights" if given_start else "other training data"
    said = {
        "a": f"This speaks for these trained models on new {independent} like those tested; not for what "
        "training once more would give.",
        "b": f"This speaks for {here}, with new {independent} and new seeds; not for {other}.",
        "c": f"This speaks for new training sets of this size, drawn in the same way{start}.",
    }
    if contrast["speaks_for"] is None:
        return "This speaks for nothing beyond the cases tested."
    return said[contrast["speaks_for"]]


def difference(record: RunRecord) -> Section:
    """Both arms' figures, what is excluded, what would be needed to know more, and what the gain cost."""
    comparison = record.comparison
    if comparison is None:
        return Section("The difference", (f"None: {NOTHING_COMPARED}.",))
    claim = _claim(comparison["contrasts"][0])
    of_models = _is_of_models(comparison)
    excluded = None if claim is None or of_models else _excluded(claim)
    margin = comparison["margin"]
    too_small = (
        f"Below the margin of {margin:.3g} ({100 * margin:.3g} points) a difference is held too small to matter."
    )
    return Section(
        "The difference",
        (
            _values(record, comparison, claim),
            *([_of_these_models(comparison, claim)] if of_models and claim is not None else []),
            too_small if excluded is None else f"{excluded} {too_small}",
            *_controls(record, comparison),
            f"{_needed(record, comparison, claim)} {_cost(comparison)}".lstrip(),
        ),
    )


def _claim(contrast: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the verdict stands on; None where nothing is claimed."""
    if contrast["speaks_for"] is None:
        return None
    claim: Mapping[str, Any] = contrast["claims"][contrast["speaks_for"]]
    return None if "not_claimed" in claim else claim


def _values(record: RunRecord, comparison: Mapping[str, Any], claim: Mapping[str, Any] | None) -> str:
    """The drawing beside it has the difference and its limits; where there is none, this says why."""
    primary, metric = comparison["contrasts"][0], _METRIC_NAMES[comparison["metric"]]
    cells = {arm: record.metrics["arms"][arm][comparison["metric"]] for arm in primary["weights"]}
    values = ", ".join(f"{arm} {cell['value']:.3f}" for arm, cell in cells.items() if cell["value"] is not None)
    if claim is not None:
        p_value = "" if _is_of_models(comparison) else f", p {claim['p_value']:.2g}"
        return f"{metric} by {comparison['unit']}: {values}; {primary['name']} is drawn here{p_value}."
    reason = in_its_words(record, str(primary["reason"]))
    value = "undefined" if primary["value"] is None else f"{primary['value']:+.3f}"
    return f"{metric} by {comparison['unit']}: {values}; {primary['name']} {value}. No interval: {reason}."


def _is_of_models(comparison: Mapping[str, Any]) -> bool:
    """Whether nothing is known of other seeds, so that limits of these models would read as proof."""
    return bool(comparison["contrasts"][0]["speaks_for"] == "a")


def _of_these_models(comparison: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    """What limits without the chance of training show, and what is missing."""
    differ = claim["low"] > 0 or claim["high"] < 0
    models = "These two models differ" if differ else "Whether even these two models differ cannot be told"
    reason = comparison["contrasts"][0]["reason"]
    missing = _TRAIN_MORE if reason in (None, ONE_SEED) else str(reason)
    return f"{models}; whether training again would give that is not known: {missing}."


def _controls(record: RunRecord, comparison: Mapping[str, Any]) -> list[str]:
    """The first arm against each control that was trained, whatever the verdict."""
    first, known, is_said = compared_arms(record)[0], resolve_arms(record.recipe), comparison["attribution"] is not None
    told = []
    for contrast in comparison["contrasts"]:
        if contrast["role"] != "control" or contrast["weights"].get(first) != 1:
            continue
        control = next(arm for arm in contrast["weights"] if arm != first)
        # Item 1 has said what they are where a gain is attributed.
        kind = _CONTROLS.get(str(known[control].control)) if control in known and not is_said else None
        claim = _claim(contrast)
        cell = {"value": contrast["value"], "low": None, "high": None, "no_interval": contrast["reason"]}
        shown = cell if claim is None else claim
        value = "undefined" if contrast["value"] is None else f"{contrast['value']:+.3f}"
        told.append(f"{control}{'' if kind is None else f' ({kind})'} {value} ({limits_in_words(record, shown, '+')})")
    of_models = ", these models alone" if _is_of_models(comparison) else ""
    return [f"{first} minus its controls{of_models}: {'; '.join(told)}."] if told else []


def _needed(record: RunRecord, comparison: Mapping[str, Any], claim: Mapping[str, Any] | None) -> str:
    """What would show more; more patients are not what is missing where there are too few seeds."""
    if _is_of_models(comparison):
        return ""
    if claim is not None and comparison["contrasts"][0]["speaks_for"] == "b" and claim["high"] - claim["low"] > _WIDE:
        seeds = min(len(comparison["design"]["seeds"][arm]) for arm in compared_arms(record))
        if seeds < _SEEDS_ADVISED:
            return f"{_NUMBERS.get(seeds, str(seeds))} seeds hardly show how seeds differ; train with five."
    return in_its_words(record, comparison["needed"]["sentence"])


def _excluded(claim: Mapping[str, Any]) -> str:
    """What lies outside the limits, both ways."""
    low, high = claim["low"], claim["high"]
    if low > 0:
        return f"Excluded: gains below {_amount(low)}, gains above {_amount(high)}, and any loss."
    if high < 0:
        return f"Excluded: losses below {_amount(-high)}, losses above {_amount(-low)}, and any gain."
    gains = f"gains above {_amount(high)}" if high > 0 else "any gain"
    losses = f"losses above {_amount(-low)}" if low < 0 else "any loss"
    told = [*([gains] if high < _WHOLE else []), *([losses] if low > -_WHOLE else [])]
    return f"Excluded: {', and '.join(told)}." if told else "Nothing is excluded."


def _amount(difference: float) -> str:
    """Three digits, or one that counts: never 0.000."""
    text = f"{difference:.3f}"
    return f"{difference:.1g}" if float(text) == 0 else text


def _cost(comparison: Mapping[str, Any]) -> str:
    """Optimiser steps of each arm, and time where it was measured."""
    told = []
    for arm in comparison["contrasts"][0]["weights"]:
        cost = comparison["cost"][arm]
        time = "" if cost["seconds"] is None else f" ({cost['seconds']:.0f} s)"
        told.append(f"{arm} {cost['steps']:,.0f}{time}")
    return f"Training steps: {', '.join(told)}."


def drawn_difference(comparison: Mapping[str, Any] | None) -> Drawing | None:
    """The primary difference on a line; None where there is no interval."""
    if comparison is None:
        return None
    primary = comparison["contrasts"][0]
    claim = _claim(primary)
    return (
        None
        if claim is None
        else draw_interval(primary["name"], claim, comparison["margin"], of_models=_is_of_models(comparison))
    )
