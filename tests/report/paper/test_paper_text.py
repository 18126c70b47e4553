from __future__ import annotations

import re
from typing import Any

import pytest
from sklearn.metrics import roc_auc_score

from tests.report.run_records import REGISTERED, VERDICT, contrast, run_record
from tlmed.report.paper.citations import REFERENCES, cited_in
from tlmed.report.paper.paper_text import methods, paper_chapter, results
from tlmed.report.parts import Section
from tlmed.report.record.run_record import RunRecord

MORE_THAN_IT_KNOWS = re.compile(r"improv|outperform|significant|superior|better|prove", re.IGNORECASE)
REFUSED = {"kind": "aim", "of": "sensitivity", "target": 0.9, "refused": "needs at least 59 positives", "fits": [{}]}
RUNS: dict[str, dict[str, Any]] = {
    "one seed": {},
    "three seeds": {"seeds": (0, 1, 2)},
    "folds": {"num_folds": 4, "seeds": (0, 1)},
    "one arm": {"arms": ("generic-related",)},
    "several classes": {"classes": ("a", "b", "c"), "positive": None, "num_units": 120},
    "no groups": {"groups_known": False},
    "refused threshold": {"metrics": {"operating_points": {"generic-related": [REFUSED]}}},
}


def methods_text(record: RunRecord) -> str:
    return " ".join(methods(record))


def results_text(record: RunRecord) -> str:
    return " ".join(results(record))


@pytest.fixture(params=list(RUNS))
def record(request: pytest.FixtureRequest) -> RunRecord:
    return run_record(**RUNS[request.param])


def test_no_run_says_more_than_its_verdict(record: RunRecord) -> None:
    told = f"{methods_text(record)} {results_text(record)}"
    assert MORE_THAN_IT_KNOWS.search(told) is None
    assert "None" not in told
    assert "nan" not in re.findall(r"\w+", told)


def test_what_cannot_be_told_stays_so() -> None:
    told = results_text(run_record())
    assert VERDICT["sentence"] in told
    assert "helped" not in told.replace(VERDICT["sentence"], "")


def test_the_attribution_stands_behind_the_verdict() -> None:
    found = {"word": "extra training", "sentence": "Extra training helped, whatever its domain."}
    verdict = {"word": "helped", "sentence": "The related domain helped, with this training set."}
    told = results_text(run_record(comparison={"attribution": found, "verdict": verdict}))
    assert f"{verdict['sentence']} {found['sentence']}" in told


def test_numbers_are_those_of_the_predictions() -> None:
    record = run_record()
    rows = record.predictions
    tested = rows[(rows["arm"] == "generic-related") & (rows["split"] == "test")]
    expected = roc_auc_score(tested["label"] == "sick", tested["p_sick"])
    told = results_text(record)
    assert f"The AUROC of generic-related for sick on 40 images was {expected:.3f} (95 % CI " in told
    # Images 40 to 79, two a patient, patients of either class in turn.
    assert "Tested were 40 images of 20 patients (sick: 10 patients, 20 images; well: 10 patients, 20 images)." in told
    held = record.metrics["operating_points"]["generic-related"][0]["sensitivity"]["numerators"][0]
    assert f"sensitivity was {held} of 20, {held / 20:.3f} (" in told


def test_one_arm_compares_nothing() -> None:
    record = run_record(**RUNS["one arm"])
    assert "One arm was trained, so nothing is compared." in results_text(record)
    assert "primary comparison" not in methods_text(record)


def test_without_groups_there_are_none() -> None:
    record = run_record(**RUNS["no groups"])
    assert "leakage between them cannot be excluded" in methods_text(record)
    assert "Tested were 40 images (sick: 20 images; well: 20 images)." in results_text(record)


def test_folds_are_repeated_and_compared_as_training_sets() -> None:
    of_folds = {"contrasts": [contrast("generic-related minus generic", "primary", "c")]}
    record = run_record(**RUNS["folds"], comparison=of_folds)
    told = methods_text(record)
    assert "4-fold cross-validation was repeated 2 times" in told
    assert "generic and generic-related with 2 repeats (0, 1)" in told
    assert "the choice of patients and of the training set (method c; Nadeau & Bengio 2003; Bouckaert" in told
    assert "on 60 out-of-fold units" in told


def test_several_classes_have_macro_figures() -> None:
    told = results_text(run_record(**RUNS["several classes"]))
    assert "The macro AUROC of generic-related on 60 images was" in told
    assert "AUROC of generic-related for" not in told


def test_a_refused_threshold_has_its_reason() -> None:
    record = run_record(**RUNS["refused threshold"])
    reason = "to aim for sensitivity 0.9 (needs at least 59 positives)"
    assert f"No threshold could be chosen on validation scores {reason}." in methods_text(record)
    assert "generic-related has no threshold to aim for sensitivity 0.9: needs at least 59 positives." in results_text(
        record
    )


def test_a_comparison_that_was_changed_after_looking_says_so_for_ever() -> None:
    changed = {**REGISTERED, "changed_after_looking": "the metric was AUPRC."}
    told = methods_text(run_record(comparison={"registered": changed}))
    assert "CHANGED AFTER LOOKING: the metric was AUPRC." in told
    assert "before this recipe opened the test" not in told
    assert "Nobody knows when this contrast was chosen" in methods_text(run_record(comparison={"registered": None}))


def test_further_comparisons_are_counted_after_holm() -> None:
    contrasts = [
        contrast("generic-related minus generic", "primary", "b"),
        contrast("a minus b", "secondary", "b", p_holm=0.03),
        contrast("c minus b", "secondary", "b", p_holm=0.5),
        contrast("d minus b", "secondary", None),
    ]
    told = results_text(run_record(comparison={"contrasts": contrasts}))
    assert "Of 2 secondary comparisons, those with an adjusted p below 0.05: a minus b (+0.010, p 0.030)." in told


def test_what_is_not_stated_stands_in_brackets() -> None:
    told = methods_text(run_record(study={"years": "2019 to 2020."}))
    assert "Years: 2019 to 2020." in told
    assert "[ethics: not stated.]" in told


def test_synthetic_patients_have_no_years() -> None:
    chain = [
        {"name": "related", "data": {"folder": "x"}},
        {"name": "target", "data": {"phantom": {"kind": "chest-target"}}},
    ]
    told = methods_text(run_record(chain=chain))
    assert told.startswith("All images of the target are synthetic.")
    assert "[" not in told


def test_references_are_those_that_the_text_cites(record: RunRecord) -> None:
    told = f"{methods_text(record)} {results_text(record)}"
    years = set(re.findall(r"[A-Z][\w&. ]+? (?:et al\. |& [A-Z]\w+ )?(?:19|20)\d\d(?=[);])", told))
    for found in years:
        assert any(found.endswith(short) for short in REFERENCES), found
    section = paper_chapter(record).parts[-1]
    assert isinstance(section, Section)
    assert section.sentences == tuple(cited_in(told))
    assert section.sentences
