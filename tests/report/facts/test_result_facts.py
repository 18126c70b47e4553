from __future__ import annotations

from typing import Any

from tests.report.run_records import contrast, run_record
from tlmed.report.facts import result_facts

CELL = {"value": 0.7, "low": 0.6, "high": 0.8}


def variable(**changes: Any) -> dict[str, Any]:
    matched = {"where": "mode = RGB", "num_groups": 20, "auroc": {"value": 0.62, "low": 0.42, "high": 0.78}}
    return {"variable": "mode = RGB", "is_shortcut": True, "p_value_holm": 0.0004, "matched": matched, **changes}


def usage(*variables: dict[str, Any], arm: str = "generic-related") -> dict[str, Any]:
    return {"severity": "warning", "message": "arm follows", "details": {"arm": arm, "variables": list(variables)}}


def test_external_sets_stand_apart() -> None:
    measured = {"num_units": 50, "arms": {"generic-related": {"auroc": CELL}}}
    told = result_facts.external_testing(run_record(metrics={"external": {"north": measured, "south": measured}}))
    assert told.statement == (
        "On the external set north (50 images), AUROC of generic-related was 0.700 (95 % CI 0.600 to 0.800). "
        "On the external set south (50 images), AUROC of generic-related was 0.700 (95 % CI 0.600 to 0.800)."
    )


def test_sources_that_were_left_out_are_told_one_by_one() -> None:
    by_source = {"north": {"num_units": 30, "arms": {"generic-related": {"auroc": {**CELL, "low": None}}}}}
    told = result_facts.clusters(run_record(metrics={"by_source": by_source})).statement
    assert told == (
        "AUROC of generic-related on each source, left out of training: north (30 units) 0.700 (no interval)."
    )


def test_what_the_delivered_arm_follows_is_told_with_the_matched_figure() -> None:
    followed = usage(variable(), variable(variable="width", is_shortcut=False))
    told = result_facts.robustness(run_record(metrics={"usage": [usage(arm="generic"), followed]})).statement
    assert told.endswith(
        "Within the classes the score follows mode = RGB (adjusted p < 0.001; AUROC where it is alike (mode = RGB) "
        "0.620 (95 % CI 0.420 to 0.780)). It could explain all of the AUROC: where it is alike, no more than chance is "
        "shown (mode = RGB: 0.620 (0.420 to 0.780))."
    )


def test_a_variable_without_alike_units_has_no_matched_figure() -> None:
    told = result_facts.robustness(run_record(metrics={"usage": [usage(variable(matched=None))]})).statement
    assert told.endswith(
        "Within the classes the score follows mode = RGB (adjusted p < 0.001). "
        "How much of the AUROC it could explain cannot be told: too few groups are alike in mode = RGB."
    )


def test_where_nothing_is_followed_the_finding_says_so() -> None:
    told = result_facts.robustness(run_record(metrics={"usage": [usage(variable(is_shortcut=False))]})).statement
    assert told.endswith("Shortcuts: arm follows.")


def test_figures_without_flagged_images_are_given_where_they_could_be_measured() -> None:
    rest = {"num_flagged": 6, "arms": {"generic-related": {"auroc": CELL}}}
    told = result_facts.robustness(run_record(metrics={"without_flagged": rest})).statement
    assert "Without the 6 test images that waived findings are about, AUROC of generic-related was 0.700" in told
    unmeasured = {"num_flagged": 6, "not_measured": "one class alone"}
    told = result_facts.robustness(run_record(metrics={"without_flagged": unmeasured})).statement
    assert "Without the 6 test images that waived findings are about nothing could be measured" in told


def test_right_calls_are_counts() -> None:
    record = run_record()
    point = record.metrics["operating_points"]["generic-related"][0]
    right = (point["sensitivity"]["numerators"][0], point["specificity"]["numerators"][0])
    assert result_facts.failures(record).statement == (
        f"Of the first threshold: {right[0]} of 20 positive units were called positive and {right[1]} of 20 negative "
        "units were called negative; the others are errors."
    )


def test_secondary_comparisons_without_p_values_are_counted() -> None:
    alone = [contrast("x minus y", "primary", "b")]
    assert result_facts.secondary(run_record(comparison={"contrasts": alone})) is None
    fact = result_facts.secondary(run_record(comparison={"contrasts": [*alone, contrast("z", "secondary", None)]}))
    assert fact is not None
    assert fact.statement == "No p value is given for 1 secondary comparison."


def test_how_it_was_tested_is_never_called_external() -> None:
    told = result_facts.internal_testing(run_record(metrics={"test_openings": 4})).statement
    assert told.startswith("Testing was internal, on a held-out part of the same data.")
    assert "opened 4 times" in told
    sources = run_record(evaluation={"protocol": {"split": "leave-one-source-out"}})
    assert result_facts.internal_testing(sources).statement.startswith("Testing was internal-external")
