"""Page one: what was asked, what came out, how sure that is, and what speaks against it. In this order, always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlmed.recipe.recipe import resolve_arms
from tlmed.report.page_one.conduct import cases_tested, conduct, sources
from tlmed.report.page_one.evidence import baselines, calibration, discrimination, validity, where_tested
from tlmed.report.page_one.interval_drawing import draw_interval
from tlmed.report.parts import Drawing, Section
from tlmed.report.record.case_counts import positive_classes, tested_cases
from tlmed.report.record.run_record import RunRecord

NOTHING_COMPARED = "nothing is compared"
RESEARCH_ONLY = "Research use only, not a medical device."
_METRIC_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}


@dataclass(frozen=True)
class PageOne:
    """The first page.

    Attributes:
        notice: what was constructed, where images are synthetic, or the recipe's note; None otherwise.
        verdict: in its own words, such as "cannot be told here".
        items: in order, numbered from 1.
        difference: drawn beside the second item; None where there is no interval.
    """

    notice: str | None
    verdict: str
    items: tuple[Section, ...]
    difference: Drawing | None


def page_one(record: RunRecord) -> PageOne:
    """Return the first page of a run's report."""
    comparison = record.comparison
    items = (
        _question(record),
        _difference(record),
        cases_tested(record),
        discrimination(record),
        calibration(record),
        baselines(record),
        validity(record),
        where_tested(record),
        conduct(record),
        sources(record),
        Section(
            RESEARCH_ONLY,
            ("No figure here says that the model is safe or useful for patients; nothing was tried on any.",),
        ),
    )
    return PageOne(_notice(record), _headline(comparison), items, _drawn(comparison))


def _headline(comparison: Mapping[str, Any] | None) -> str:
    """The verdict in its own words; what helped is named after what it is due to."""
    if comparison is None:
        return NOTHING_COMPARED
    attribution = comparison["attribution"]
    if attribution is None:
        return str(comparison["verdict"]["word"])
    return f"{'the middle stage' if attribution['word'] == 'not known' else attribution['word']} helped"


def _notice(record: RunRecord) -> str | None:
    made = [stage.name for stage in record.recipe.chain if stage.data.phantom is not None]
    made += [name for name, data in record.recipe.evaluation.external.items() if data.phantom is not None]
    what = f"Synthetic images, made by tlmed: {', '.join(made)}. Nothing here speaks for patients." if made else None
    return " ".join(filter(None, (what, record.recipe.note))) or None


def _question(record: RunRecord) -> Section:
    title, stated, comparison = "The question", record.recipe.study.question, record.comparison
    asked = [stated] if stated else []
    if comparison is None:
        arm, others = record.metrics["delivered"], len(record.metrics["arms"]) > 1
        asked = asked or [f"How well does {arm} {_told_apart(record)}?"]
        alone = f"{arm} has only controls beside it" if others else f"One arm alone, {arm}"
        return Section(title, (*asked, f"{alone}: nothing is compared, so nothing is said of what helped."))
    primary = comparison["contrasts"][0]
    asked = asked or [_asked(record, primary)]
    attribution = comparison["attribution"]
    return Section(
        title,
        (
            *asked,
            comparison["verdict"]["sentence"],
            *([attribution["sentence"]] if attribution is not None else []),
            _speaks_for(primary, tested_cases(record).independent),
        ),
    )


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


def _speaks_for(contrast: Mapping[str, Any], independent: str) -> str:
    said = {
        "a": f"This speaks for these trained models on new {independent} like those tested; not for training anew.",
        "b": f"This speaks for this training set, with new {independent} and new seeds; not for other training data.",
        "c": "This speaks for new training sets of this size, drawn in the same way.",
    }
    if contrast["speaks_for"] is None:
        return "This speaks for nothing beyond the cases tested."
    return said[contrast["speaks_for"]]


def _difference(record: RunRecord) -> Section:
    comparison = record.comparison
    if comparison is None:
        return Section("The difference", (f"None: {NOTHING_COMPARED}.",))
    primary, metric = comparison["contrasts"][0], _METRIC_NAMES[comparison["metric"]]
    claim = _claim(primary)
    sentences = [f"{_value(record, comparison, metric)}{_limits(primary, claim)}"]
    margin = comparison["margin"]
    too_small = f"Below {margin:.3g} ({100 * margin:.3g} points) a difference is held too small to matter."
    sentences.append(too_small if claim is None else f"{_excluded(claim)} {too_small}")
    sentences.append(f"{comparison['needed']['sentence']} {_cost(comparison)}")
    return Section("The difference", tuple(sentences))


def _claim(contrast: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the verdict stands on; None where nothing is claimed."""
    if contrast["speaks_for"] is None:
        return None
    claim: Mapping[str, Any] = contrast["claims"][contrast["speaks_for"]]
    return None if "not_claimed" in claim else claim


def _value(record: RunRecord, comparison: Mapping[str, Any], metric: str) -> str:
    primary = comparison["contrasts"][0]
    cells = {arm: record.metrics["arms"][arm][comparison["metric"]] for arm in primary["weights"]}
    values = "; ".join(f"{arm} {cell['value']:.3f}" for arm, cell in cells.items() if cell["value"] is not None)
    if primary["value"] is None:
        return f"{primary['name']} in {metric} by {comparison['unit']}: undefined"
    return f"{primary['name']} in {metric} by {comparison['unit']}: {primary['value']:+.3f} ({values})"


def _limits(contrast: Mapping[str, Any], claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return f". No interval: {contrast['reason']}."
    return f". 95 % interval {claim['low']:+.3f} to {claim['high']:+.3f}, p {claim['p_value']:.2g}."


def _excluded(claim: Mapping[str, Any]) -> str:
    gains = f"gains above {claim['high']:.3f}" if claim["high"] > 0 else "any gain"
    losses = f"losses above {-claim['low']:.3f}" if claim["low"] < 0 else "any loss"
    return f"Excluded: {gains}, and {losses}. Not excluded: all between."


def _cost(comparison: Mapping[str, Any]) -> str:
    arms = list(comparison["contrasts"][0]["weights"])
    cost = comparison["cost"]
    told = []
    for arm in arms:
        seconds = cost[arm]["seconds"]
        time = "time not measured" if seconds is None else f"{seconds:.0f} s"
        told.append(f"{arm} {cost[arm]['steps']:,.0f} steps, {time}")
    return f"Training: {'; '.join(told)}."


def _drawn(comparison: Mapping[str, Any] | None) -> Drawing | None:
    if comparison is None:
        return None
    primary = comparison["contrasts"][0]
    claim = _claim(primary)
    return None if claim is None else draw_interval(primary["name"], claim, comparison["margin"])
