"""The report's chapters of results and pictures, in the order of its contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlmed.evaluation.estimates.prediction_table import read_test_rows
from tlmed.evaluation.estimates.unit_scores import UnitScores, score_units
from tlmed.recipe.recipe import resolve_arms
from tlmed.report.chapters.audit_chapter import audit_parts
from tlmed.report.chapters.curve_pictures import draw_curves
from tlmed.report.chapters.error_gallery import error_galleries
from tlmed.report.chapters.flow_drawing import count_flow, draw_flow
from tlmed.report.chapters.lineage_drawing import draw_lineage
from tlmed.report.chapters.seed_dots import TITLES, draw_primary_contrast, draw_seeds
from tlmed.report.chapters.subgroup_sections import subgroups_of_run
from tlmed.report.chapters.training_curves import draw_training_curves
from tlmed.report.pages.comparison_sections import comparison_sections
from tlmed.report.pages.evaluation_figures import draw_assessment
from tlmed.report.parts import Chapter, Drawing, Grid, Picture, Section
from tlmed.report.record.delivered_arm import DeliveredArm, decide_delivered
from tlmed.report.record.run_record import RunRecord
from tlmed.report.run.tables import baselines_section, results_section
from tlmed.runtime.progress import format_seconds

_ONE_ARM = "One arm alone: nothing to compare it with."


def result_chapters(record: RunRecord) -> list[Chapter]:
    """Return flow, audit, chain, results, comparison, curves, the delivered arm, training, errors and subgroups."""
    metrics, evaluation = record.metrics, record.recipe.evaluation
    delivered = decide_delivered(evaluation, record.predictions, metrics)
    scores = score_units(read_test_rows(record.predictions, evaluation.positive, metrics["unit"]))
    return [
        Chapter("Flow of cases", "flow", (draw_flow(count_flow(record, delivered), delivered.threshold),)),
        Chapter("Audit of the data", "audit", tuple(audit_parts(record))),
        Chapter("Chain and lineage", "chain", tuple(_lineage(record))),
        Chapter("Results of all arms", "results", tuple(_results(record))),
        Chapter("Comparison of arms", "comparison", tuple(_comparison(record, scores))),
        Chapter("ROC and precision-recall curves", "curves", tuple(_curves(scores, metrics))),
        Chapter("The delivered arm", "delivered", tuple(_delivered(delivered))),
        Chapter("Training curves", "training", (_training(record),)),
        Chapter("Most confident errors", "errors", tuple(error_galleries(record.folder, record.pictures, delivered))),
        Chapter("Subgroups", "subgroups", tuple(subgroups_of_run(record, delivered))),
    ]


def _lineage(record: RunRecord) -> list[Drawing]:
    controls = {name: arm.control for name, arm in resolve_arms(record.recipe).items() if arm.control is not None}
    return draw_lineage(record.lineage, record.metrics["delivered"], controls)


def _results(record: RunRecord) -> list[Section]:
    results = results_section(record.metrics)
    said = (record.metrics["interval"], *results.sentences)
    return [Section("", said, results.grid), baselines_section(record.metrics)]


def _comparison(record: RunRecord, scores: UnitScores) -> list[Section | Picture]:
    comparison = record.comparison
    if comparison is None:
        reason = _ONE_ARM if len(record.metrics["arms"]) == 1 else "The arms were not compared."
        return [Section("", (reason,)), draw_seeds(scores, record.metrics, "auroc")]
    return [
        *(_without_secondary(section, comparison) for section in comparison_sections(comparison)),
        _costs(comparison, record.metrics),
        draw_seeds(scores, record.metrics, comparison["metric"]),
        draw_primary_contrast(comparison),
    ]


def _without_secondary(section: Section, comparison: Mapping[str, Any]) -> Section:
    """Secondary contrasts stand in the table; there are too many to say each once more."""
    secondary = {one["sentence"] for one in comparison["contrasts"] if one["role"] == "secondary"}
    kept = tuple(said for said in section.sentences if said.partition(": ")[2] not in secondary)
    return Section(section.title, kept, section.grid)


def _costs(comparison: Mapping[str, Any], metrics: Mapping[str, Any]) -> Section:
    """What each arm cost beside what it gained over the second arm of the primary contrast."""
    metric, primary = comparison["metric"], comparison["contrasts"][0]
    reference = next(arm for arm, weight in primary["weights"].items() if weight < 0)
    base = metrics["arms"][reference][metric]["value"]
    rows = []
    for arm, cost in comparison["cost"].items():
        value = metrics["arms"][arm][metric]["value"]
        gain = "-" if arm == reference or None in (value, base) else f"{value - base:+.3f}"
        seconds = "not measured" if cost["seconds"] is None else format_seconds(cost["seconds"])
        rows.append((arm, "-" if value is None else f"{value:.3f}", gain, f"{cost['steps']:.0f}", seconds))
    said = (
        "Steps of the optimiser and time of all stages of an arm's chain, a mean over seeds and folds; stages that "
        "arms share are counted in each. Generic weights that were downloaded cost nothing here and much elsewhere. "
        "The differences stand with their limits among the contrasts.",
    )
    header = ("arm", TITLES.get(metric, metric), f"minus {reference}", "steps", "training time")
    return Section("Cost beside gain", said, Grid(header, tuple(rows)))


def _curves(scores: UnitScores, metrics: Mapping[str, Any]) -> list[Section | Picture]:
    if len(scores.classes) == 2:
        return [*draw_curves(scores, metrics)]
    said = "Several classes, none of them named as positive: see the delivered arm for each class against the rest."
    return [Section("", (said,))]


def _delivered(delivered: DeliveredArm) -> list[Section | Picture]:
    pictures = draw_assessment(delivered.assessment, with_roc=not delivered.positive)
    return [Section("", (f"{delivered.name}, calibrated. {delivered.threshold}",)), *pictures]


def _training(record: RunRecord) -> Section | Picture:
    picture = draw_training_curves(record.lineage, record.histories)
    return picture if picture is not None else Section("", ("No stage with a history: nothing took steps here.",))
