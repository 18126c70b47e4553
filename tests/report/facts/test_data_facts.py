from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.report.run_records import run_record
from tlmed.report.facts import data_facts


def test_sources_are_named_with_licence_and_reference() -> None:
    record = run_record()
    record.domains["target"] |= {"licence": "CC BY 4.0", "reference": "Yang 2020"}
    told = data_facts.data_sources(record).statement
    assert "An earlier domain, related, is related-images (reference: not stated; licence: not stated)." in told
    assert "The target domain, target, is target-images (reference: Yang 2020; licence: CC BY 4.0)." in told


def test_a_synthetic_domain_is_called_so() -> None:
    chain = [
        {"name": "related", "data": {"phantom": {"kind": "everyday"}}},
        {"name": "target", "data": {"folder": "x"}},
    ]
    told = data_facts.data_sources(run_record(chain=chain)).statement
    assert told.startswith("An earlier domain, related, is synthetic: drawn by a program (related-images).")


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ({"split": "holdout", "test_fraction": 0.25}, "A test set of 25 % of the groups was drawn at random"),
        ({"split": "temporal", "train_until": "2020-06"}, "tested on what came later than 2020-06."),
        ({"split": "temporal"}, "tested on what came later."),
        ({"split": "leave-one-source-out"}, "Each source was left out of training in turn"),
    ],
)
def test_the_division_is_that_of_the_protocol(protocol: dict[str, Any], said: str) -> None:
    assert said in data_facts.partition(run_record(evaluation={"protocol": protocol})).statement


def test_overlap_that_was_accepted_is_not_called_disjoint() -> None:
    disjoint = data_facts.disjointness(run_record())
    assert disjoint.missing == ()
    assert disjoint.statement == "No group (patient) of the target stands in two parts."
    waived = data_facts.disjointness(run_record(waive=["group_overlap", "duplicate"])).statement
    assert waived.startswith("That groups (patient) stand in several parts was accepted.")
    assert "Waived, so that what was found stayed in: group_overlap and duplicate." in waived


def test_domains_without_groups_are_not_called_disjoint() -> None:
    record = run_record()
    record.domains["related"]["group_column"] = None
    fact = data_facts.disjointness(record)
    assert "Which images of related are of one patient is not known" in fact.statement
    assert fact.missing == ("data.group_pattern (or a patient column) of related",)
    record.domains["related"]["group_column"] = "study"
    fact = data_facts.disjointness(record)
    assert "The groups of related are named otherwise than the target's" in fact.statement
    assert fact.missing == ()
    coarser = {"kind": "coarser_group", "severity": "warning", "value": 7, "details": {"stage": "target"}}
    leaky = replace(record, audit={**record.audit, "findings": [coarser]})
    assert "7 patients have images in more than one part" in data_facts.disjointness(leaky).statement
    unknown = data_facts.disjointness(run_record(groups_known=False))
    assert len(unknown.missing) == 2


def test_predictors_are_what_is_left_of_the_pixels() -> None:
    told = data_facts.predictors(run_record(image={"size": 64, "mode": "grey", "fit": "squash"})).statement
    assert "brought to 64 x 64 pixels in one grey channel, without keeping its aspect ratio" in told
    assert "What is finer than that, or lost by it, the network does not see." in told


def test_stages_of_other_sizes_are_listed() -> None:
    chain = [
        {"name": "related", "data": {"folder": "x"}, "image": {"size": 64}},
        {"name": "target", "data": {"folder": "y"}},
    ]
    image = {"mode": "rgb", "fit": "crop"}
    told = data_facts.preprocessing(run_record(chain=chain, image=image)).statement
    assert "224 x 224 pixels (related: 64 and target: 224) in three colour channels, after cropping" in told


def test_what_was_left_out_is_counted_by_domain() -> None:
    record = run_record()
    record.domains["target"] |= {"num_dropped": 1, "num_unreadable": 2}
    told = data_facts.exclusions(record).statement
    assert "of related 3 images as copies, contradicting labels or leaks, and 0 images as unreadable" in told
    assert "of target 1 image as copies, contradicting labels or leaks, and 2 images as unreadable" in told
    assert data_facts.missing_data(record).statement.endswith("left out: 0 images of related and 2 images of target.")


def test_the_audit_is_summed_up_by_kind() -> None:
    record = run_record()
    assert data_facts.audit(record).statement.endswith("Nothing above a note was found. No tags were looked at.")
    findings = [
        {"severity": severity, "kind": kind}
        for severity, kind in (("warning", "shortcut_border"), ("error", "duplicate"), ("note", "groups_unknown"))
    ]
    told = data_facts.audit(replace(record, audit={**record.audit, "findings": findings})).statement
    assert "Errors, waived: duplicate. Warnings: shortcut_border. No tags were looked at." in told


def test_a_stated_prevalence_stands_beside_the_sampling() -> None:
    told = data_facts.sampling(run_record(evaluation={"sampling": "consecutive", "prevalence": 0.1})).statement
    assert told == "The cases are consecutive. The prevalence where the model is to be used is stated as 0.1."
