from __future__ import annotations

from typing import Any

from tests.report.run_records import REGISTERED, contrast, run_record
from tlmed.evaluation.comparison.sentences import sentence_of_registration
from tlmed.report.facts import evaluation_facts


def test_the_rules_of_a_comparison_are_those_that_it_used() -> None:
    contrasts = [
        contrast("x minus y", "primary", "b"),
        contrast("x minus longer", "control", "b"),
        contrast("x minus z", "secondary", "b", p_holm=0.1),
        contrast("z minus y", "secondary", "b", p_holm=0.2),
    ]
    fact = evaluation_facts.contrast(run_record(comparison={"contrasts": contrasts}))
    assert fact is not None
    assert "(method b; Obuchowski & Rockette 1995; Banerjee 1960)" in fact.statement
    assert "(intersection-union test; Berger 1982)" in fact.statement
    assert "The p values of the 2 secondary comparisons are adjusted together (Holm 1979)." in fact.statement


def test_a_comparison_without_a_claim_names_no_test() -> None:
    fact = evaluation_facts.contrast(run_record(comparison={"contrasts": [contrast("x minus y", "primary", None)]}))
    assert fact is not None
    assert "interval" not in fact.statement
    assert "Holm" not in fact.statement


def test_other_questions_asked_of_the_same_test_set_are_counted() -> None:
    registered = {**REGISTERED, "others_on_this_test": 3}
    fact = evaluation_facts.contrast(run_record(comparison={"registered": registered}))
    assert fact is not None
    assert sentence_of_registration(registered) in fact.statement
    assert "3 other recipes" in fact.statement


def test_starting_weights_that_were_given_bound_what_is_claimed() -> None:
    record = run_record(seeds=(0, 1))
    assert record.comparison is not None
    primary = record.comparison["contrasts"][0]
    assert evaluation_facts.speaks_for(record.comparison, primary) == (
        "this training set, over new patients and new seeds"
    )
    record.comparison["design"]["given_start"] = True
    assert evaluation_facts.speaks_for(record.comparison, primary) == (
        "this training set and these starting weights, over new patients and new seeds"
    )
    fact = evaluation_facts.contrast(record)
    assert fact is not None
    assert "given this training set and these starting weights (method b;" in fact.statement


def test_several_thresholds_are_told_apart_from_refused_ones() -> None:
    asked = {"kind": "aim", "of": "sensitivity", "target": 0.9, "refused": None, "fits": [{"threshold": 0.4}]}
    refused = {**asked, "kind": "assure", "refused": "too few"}
    points = {"operating_points": {"generic-related": [asked, {**asked, "of": "specificity"}, refused]}}
    assert evaluation_facts.threshold(run_record(metrics=points)).statement == (
        "A threshold was chosen on validation scores, without test, to aim for sensitivity 0.9 and to aim for "
        "specificity 0.9. No threshold could be chosen on validation scores to assure for sensitivity 0.9 (too few)."
    )
    none: dict[str, Any] = {"operating_points": {"generic-related": []}}
    assert evaluation_facts.threshold(run_record(metrics=none)).statement.startswith("No threshold was set")


def test_scores_that_were_not_calibrated_have_the_reason() -> None:
    record = run_record()
    record.metrics["calibrated"]["generic-related"] |= {"metrics": {}, "notes": ["one class alone"]}
    told = evaluation_facts.calibration_method(record).statement
    assert told == "Probabilities were not calibrated (one class alone)."


def test_methods_are_cited_as_the_figures_used_them() -> None:
    one, several = (evaluation_facts.intervals(run_record(seeds=seeds)).statement for seeds in ((0,), (0, 1)))
    assert "Obuchowski's variance for clustered data (Obuchowski 1997)" in one
    assert "random readers" not in one
    assert "seeds or repeats as random readers (Obuchowski & Rockette 1995; Hillis 2007)" in several
    assert "(Obuchowski 1997)" not in several


def test_external_sets_are_predicted_as_delivered() -> None:
    told = evaluation_facts.updating(run_record(metrics={"external": {"elsewhere": {}}})).statement
    assert told.endswith("External sets were predicted with calibration and thresholds from here, unchanged.")


def test_how_many_groups_are_needed_is_the_comparison_s_sentence() -> None:
    fact = evaluation_facts.needed_size(run_record())
    assert fact is not None
    assert fact.statement == "About 240 test groups would be needed."
    assert evaluation_facts.needed_size(run_record(arms=("generic-related",))) is None
