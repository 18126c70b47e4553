from __future__ import annotations

from typing import Any

from tlmed.report.run.run_summary import summary_sentences

SHARE = {"value": 0.9, "low": 0.8, "high": 0.95, "numerators": [9, 8], "denominator": 10}


def metrics(**changes: Any) -> dict[str, Any]:
    return {
        "delivered": "full",
        "arms": {"full": {"auroc": SHARE}},
        "weighted_training": False,
        "operating_points": {"full": []},
        "calibrated": {"full": {"fitted_on": "val", "notes": [], "metrics": {}, "num_units": 36}},
        "audit_warnings": [],
        "usage": [],
        "external": {},
        "external_openings": {"elsewhere": 2},
        "test_openings": 1,
        **changes,
    }


def test_a_first_look_needs_no_more_than_to_be_called_so() -> None:
    assert summary_sentences(metrics()) == ["What is tested on was opened for the first time."]
    assert summary_sentences(metrics(test_openings=7))[-1].startswith("What is tested on was opened 7 times")


def test_operating_points_are_counts_with_limits_and_refusals_have_their_reason() -> None:
    asked = {"kind": "aim", "of": "sensitivity", "target": 0.9}
    few = {**SHARE, "low": None, "high": None, "too_few": "6 groups"}
    points = [
        {**asked, "refused": None, "sensitivity": SHARE, "specificity": few},
        {**asked, "kind": "assure", "refused": "needs at least 59 positives", "fits": [{}]},
    ]
    held, refused, _ = summary_sentences(metrics(operating_points={"full": points}))
    assert "full, threshold to aim for sensitivity 0.9, chosen on val scores" in held
    assert "sensitivity 0.900 (9, 8 of 10; 0.800 to 0.950)" in held
    assert "specificity 0.900 (9, 8 of 10; no interval: too few groups)" in held
    assert refused == "full, threshold to assure for sensitivity 0.9: refused (needs at least 59 positives)."


def test_weighted_training_and_shortcuts_are_warnings() -> None:
    usage = [
        {"severity": "warning", "message": "arm 'full': the score follows mode = RGB"},
        {"severity": "note", "message": "arm 'scratch': follows nothing"},
    ]
    followed, weighted, _ = summary_sentences(metrics(weighted_training=True, usage=usage))
    assert weighted.startswith("Warning, weighted training")
    assert followed == "Warning, shortcut: arm 'full': the score follows mode = RGB."


def test_headlines_without_flagged_rows_and_on_external_sets_stand_apart() -> None:
    cell = {"value": 0.75, "low": None, "high": None, "too_few": "8 groups"}
    rest = {"num_flagged": 3, "num_units": 17, "arms": {"full": {"auroc": cell}}}
    external = {
        "elsewhere": {"num_unreadable": 2, "num_units": 40, "groups_known": True, "arms": {"full": {"auroc": SHARE}}}
    }
    without, outside, _ = summary_sentences(metrics(without_flagged=rest, external=external))
    assert "Without the 3 test images" in without
    assert "(17 units left), AUROC: full 0.750 (no interval: too few groups)." in without
    assert outside == (
        "External set elsewhere (40 units, 2 unreadable left out; opened 2 times), AUROC: full 0.900 (0.800 to 0.950)."
    )


def test_what_was_chosen_is_counted_by_arm() -> None:
    chosen = [{"arm": "full", "candidate": name} for name in ("long", "short", "long")]
    assert summary_sentences(metrics(chosen=chosen))[0] == (
        "Settings chosen by inner folds, never on test: full: long 2x, short 1x."
    )


def test_what_the_audit_warned_of_stands_beside_the_result() -> None:
    warnings = [
        {"kind": "shortcut_metadata", "severity": "warning", "message": "target: told with AUROC 0.99"},
        {"kind": "near_duplicate", "severity": "error", "message": "target: 2 pairs"},
    ]
    data, waived, _ = summary_sentences(metrics(audit_warnings=warnings))
    assert data == "Warning, data, shortcut_metadata: target: told with AUROC 0.99."
    assert waived == "Warning, waived error, near_duplicate: target: 2 pairs."


def test_a_calibration_that_was_not_fitted_as_asked_says_why() -> None:
    calibrated = {"full": {"fitted_on": "val", "notes": ["isotonic needs 1,000 units"], "metrics": {}}}
    assert summary_sentences(metrics(calibrated=calibrated))[0] == "full, calibration: isotonic needs 1,000 units."


def test_each_source_that_was_left_out_has_its_own_figure() -> None:
    of_source = {"num_units": 30, "arms": {"full": {"auroc": SHARE}}}
    assert summary_sentences(metrics(by_source={"north": of_source}))[0] == (
        "Source north alone (30 units), AUROC: full 0.900 (0.800 to 0.950)."
    )


def test_a_calibration_on_few_units_is_to_be_believed_little() -> None:
    fitted = {"fitted_on": "val", "notes": [], "metrics": {"brier": SHARE}}
    few, many = ({"full": {**fitted, "num_units": number}} for number in (36, 100))
    assert "fitted on 36 units alone" in summary_sentences(metrics(calibrated=few))[0]
    assert summary_sentences(metrics(calibrated=many)) == ["What is tested on was opened for the first time."]


def test_a_delivered_coin_is_called_one() -> None:
    arms = {"full": {"auroc": {"value": 0.56, "low": 0.41, "high": 0.7}}}
    assert summary_sentences(metrics(arms=arms))[0] == (
        "Warning: full, which is delivered, cannot be told from chance (AUROC 0.560 (0.410 to 0.700))."
    )


def test_an_external_set_without_patients_is_image_level() -> None:
    measured = {"num_unreadable": 0, "num_units": 40, "groups_known": False, "arms": {"full": {"auroc": SHARE}}}
    outside = summary_sentences(metrics(external={"elsewhere": measured}))[0]
    assert "40 units; patients unknown, so image-level; opened 2 times" in outside
