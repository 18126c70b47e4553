from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.report.run_records import REGISTERED, run_record
from tlmed.report.facts.limits import limitations, limits

MATCHED = {"where": "mode = RGB", "num_groups": 12, "auroc": {"value": 0.6, "low": 0.4, "high": 0.8}}
SHORTCUT = {"variable": "mode = RGB", "is_shortcut": True, "matched": MATCHED}
USAGE = {"severity": "warning", "message": "follows", "details": {"arm": "generic-related", "variables": [SHORTCUT]}}
NO_SHORTCUT = {"severity": "note", "message": "none", "details": {"arm": "generic-related", "variables": []}}
REFUSED = {"kind": "aim", "of": "sensitivity", "target": 0.9, "refused": "too few", "fits": [{"threshold": None}]}
CHANGED = {**REGISTERED, "changed_after_looking": "the metric.", "others_on_this_test": 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "One seed alone (generic and generic-related)"),
        ({}, "No external set was tested"),
        ({}, "Sampling is case-control and no prevalence is stated"),
        ({}, "What the labels rest on is not stated"),
        ({}, "Whether the score follows a shortcut was not looked at"),
        ({}, "Whether test images were among those that weights start.safetensors came from cannot be checked"),
        ({"seeds": (0, 1)}, "The comparison holds with this training set"),
        ({"groups_known": False}, "leakage cannot be excluded"),
        ({"groups_known": False}, "Checks were waived: groups_unknown"),
        ({"num_units": 40}, "fewer than 10 patients in test (sick: 5 patients, 10 images and well: 5 patients, 10"),
        ({"arms": ("generic-related",)}, "One arm was trained"),
        ({"num_folds": 4, "seeds": (0, 1)}, "The folds' models share training data"),
        ({"metrics": {"test_openings": 3}}, "opened 3 times"),
        ({"metrics": {"usage": [USAGE]}}, "The score of generic-related follows something"),
        ({"metrics": {"usage": [USAGE]}}, "It could explain all of the AUROC"),
        ({}, "(weights start.safetensors) holds for this checkpoint: other weights of the same kind may come out"),
        ({"metrics": {"weighted_training": True}}, "Training weighed the classes"),
        ({"metrics": {"operating_points": {"generic-related": [REFUSED]}}}, "refused (aim for sensitivity 0.9)"),
        (
            {"metrics": {"audit_warnings": [{"kind": "shortcut_border", "severity": "warning"}]}},
            "The audit warns of shortcut_border",
        ),
        ({"comparison": {"registered": CHANGED}}, "CHANGED AFTER LOOKING: the metric."),
        ({"comparison": {"registered": CHANGED}}, "2 other recipes of this store asked something of this test"),
        ({"comparison": {"registered": None}}, "Nobody knows when this contrast was chosen"),
    ],
)
def test_what_a_run_lacks_is_a_limit(changes: dict[str, Any], said: str) -> None:
    assert said in " ".join(limits(run_record(**changes)))


def test_what_a_run_has_is_none() -> None:
    evaluation = {"sampling": "consecutive"}
    verdict = {"word": "equivalent", "sentence": "Equivalent."}
    external: dict[str, Any] = {"elsewhere": {}}
    record = run_record(
        seeds=(0, 1),
        evaluation=evaluation,
        weights="none",
        comparison={"verdict": verdict},
        metrics={"external": external, "usage": [NO_SHORTCUT]},
        study={"reference_standard": "RT-PCR"},
    )
    assert limits(record) == [
        "The comparison holds with this training set: another of the same size may give another answer.",
        "It is for research use only, and not a medical device.",
    ]
    assert limitations(record).statement.startswith("2 limits")


def test_synthetic_images_come_first() -> None:
    chain = [
        {"name": "related", "data": {"folder": "x"}},
        {"name": "target", "data": {"phantom": {"kind": "chest-target"}}},
    ]
    told = limits(run_record(chain=chain))
    assert told[0] == "The target's images are synthetic: nothing here is about patients."
    assert not any("labels rest on" in one for one in told)


def test_a_coin_and_uncalibrated_scores_are_called_so() -> None:
    record = run_record()
    record.metrics["arms"]["generic-related"]["auroc"] |= {"value": 0.55, "low": 0.45, "high": 0.65}
    record.metrics["calibrated"]["generic-related"]["metrics"] = {}
    told = " ".join(limits(record))
    assert "generic-related, cannot be told from chance" in told
    assert "Probabilities are not calibrated" in told


def test_what_a_copy_does_not_show_was_not_refused() -> None:
    hidden = {**REFUSED, "refused": "not shown", "fits": []}
    told = " ".join(limits(run_record(metrics={"operating_points": {"generic-related": [hidden]}})))
    assert "refused" not in told


def test_a_network_that_was_trained_once_more_was_tested_on_nothing() -> None:
    record = run_record()
    assert record.bundle is not None
    bundle = {**record.bundle, "calibration": {**record.bundle["calibration"], "transferred": True}}
    assert "The delivered network itself was tested on nothing" in " ".join(limits(replace(record, bundle=bundle)))
