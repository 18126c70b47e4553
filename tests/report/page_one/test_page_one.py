from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.run_folders import change, make_run
from tlmed.report.page_one.page import PageOne, page_one
from tlmed.report.record.run_record import read_run


def first_page(folder: Path, **wanted: Any) -> PageOne:
    return page_one(read_run(make_run(folder / "run", **wanted)))


def text(page: PageOne, item: int) -> str:
    """All that the item says, its numbers counted from 1."""
    section = page.items[item - 1]
    cells = [] if section.grid is None else [cell for row in section.grid.rows for cell in row]
    return "\n".join([section.title, *section.sentences, *cells])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> PageOne:
    study = {"years": "2019 to 2020", "reference_standard": "RT-PCR"}
    return first_page(tmp_path_factory.mktemp("plain"), arms=("probe", "generic", "generic-related"), study=study)


def test_eleven_items_in_their_order(plain: PageOne) -> None:
    assert [item.title for item in plain.items] == [
        "The question",
        "The difference",
        "Who was tested",
        "How well it tells",
        "Can its probabilities be believed",
        "What it has to beat",
        "Could leakage or a shortcut explain it",
        "Where it was tested",
        "How the test was kept honest",
        "Where the data come from",
        "Research use only, not a medical device.",
    ]
    assert plain.notice is None


def test_the_answer_comes_with_what_it_speaks_for_and_excludes(plain: PageOne) -> None:
    assert plain.verdict == "cannot be told here"
    assert "Does training on related before the target help to tell ill from the rest?" in text(plain, 1)
    assert "Whether the related domain helped cannot be told here" in text(plain, 1)
    assert "This speaks for this training set, with new patients and new seeds" in text(plain, 1)
    assert "Excluded: gains above 0." in text(plain, 2)
    assert "Below 0.02 (2 points)" in text(plain, 2)
    assert "generic 1,234 steps, time not measured" in text(plain, 2)
    assert plain.difference is not None


def test_who_was_tested_is_counted_by_class(plain: PageOne) -> None:
    said = text(plain, 3)
    assert "30 patients, 60 images (ill (positive): 14 patients, 28 images; well: 16 patients, 32 images)" in said
    assert "Sampling: case-control. Years: 2019 to 2020. Reference standard: RT-PCR." in said
    grid = plain.items[2].grid
    assert grid is not None
    assert grid.header == ("class", "test", "validation", "training")
    assert grid.rows[0] == ("ill", "14 patients, 28 images", "12 patients, 24 images", "20 patients, 40 images")


def test_figures_of_the_delivered_arm_are_counts_at_a_threshold_from_elsewhere(plain: PageOne) -> None:
    said = text(plain, 4)
    assert "generic-related, the arm that is delivered, on test." in said
    assert "the choice of patients and the chance of training" in said
    assert "chosen on val scores, not on test" in said
    assert " of 28" in said
    assert "no interval: too few groups" in said
    assert "Calibration slope 0." in text(plain, 5)
    assert "after Platt scaling fitted on val scores (48 images)" in text(plain, 5)


def test_what_it_has_to_beat_holds_the_probe(plain: PageOne) -> None:
    grid = plain.items[5].grid
    assert grid is not None
    assert [row[0] for row in grid.rows] == [
        "the larger class, always",
        "frozen features + logistic regression (probe)",
    ]
    assert grid.rows[1][2].endswith(": cannot be told")


def test_leakage_and_shortcuts_are_answered_plainly(plain: PageOne) -> None:
    said = text(plain, 7)
    assert "Leakage: none known is left. No patient" in said
    assert "Whether related holds the same patients cannot be checked" in said
    assert "Shortcut: YES, it could explain a part" in said
    assert "In the data of target: from the files' size" in said
    assert "colour mode = RGB\n0.613 (0.412 to 0.781)" in said


def test_kinds_of_test_stand_apart(plain: PageOne) -> None:
    grid = plain.items[7].grid
    assert grid is not None
    assert [row[:2] for row in grid.rows] == [
        ("internal", "the data set's own split"),
        ("temporal", "none"),
        ("external", "none"),
    ]


def test_conduct_and_sources(plain: PageOne) -> None:
    conduct = text(plain, 9)
    assert "fixed before test was opened (2026-01-02 03:04, digest 0123456789ab)" in conduct
    assert "Left out: of related 12 images as copies or leaks and 3 images unreadable." in conduct
    assert "Seeds: 0, 1, 2. Settings tried an arm: one, the recipe's." in conduct
    grid = plain.items[9].grid
    assert grid is not None
    assert grid.rows == (
        ("related", "related-images", "not stated", "files checked; groups cannot be checked"),
        ("target", "target-images; Smith et al. 2020", "CC-BY-4.0", "checked"),
        (
            "starting weights of generic, generic-related, probe",
            "a file: generic-model.safetensors",
            "not stated",
            "cannot be checked",
        ),
    )


def test_a_gain_is_said_to_be_the_domain_s_only_beside_its_controls(tmp_path: Path) -> None:
    arms = ("generic", "generic-related", "generic-longer", "generic-placebo")
    page = first_page(tmp_path, arms=arms, gain=1.0)
    assert page.verdict == "related domain helped"
    assert "The related domain helped: generic-related also beats generic-longer" in text(page, 1)
    assert "Excluded: gains above 0." in text(page, 2)
    assert "and any loss" in text(page, 2)


def test_one_arm_alone_is_not_compared(tmp_path: Path) -> None:
    page = first_page(tmp_path, arms=("generic",))
    assert page.verdict == "nothing is compared"
    assert page.difference is None
    assert "How well does generic tell ill from the rest?" in text(page, 1)
    assert "One arm alone, generic: nothing is compared" in text(page, 1)
    assert "None: nothing is compared." in text(page, 2)
    assert "primary contrast" not in text(page, 9)


def test_one_seed_speaks_for_these_models_alone(tmp_path: Path) -> None:
    page = first_page(tmp_path, seeds=(0,))
    assert page.verdict == "cannot be told here"
    assert "one seed" in text(page, 1)
    assert "This speaks for these trained models on new patients" in text(page, 1)
    assert "the choice of patients, not the chance of training" in text(page, 4)
    assert " of 28" in text(page, 4)
    assert "Seeds: 0." in text(page, 9)


def test_without_groups_there_is_no_verdict(tmp_path: Path) -> None:
    page = first_page(tmp_path, waive=("groups_unknown",))
    assert page.verdict == "no verdict"
    assert page.difference is None
    assert "Tested: 60 images (ill (positive): 28 images; well: 32 images)" in text(page, 3)
    assert "patients" not in text(page, 3)
    assert "they may be too narrow, because patients are not known" in text(page, 4)
    assert "Leakage: cannot be excluded." in text(page, 7)
    assert "60 images, groups unknown" in text(page, 8)
    assert "Waived: groups_unknown." in text(page, 9)
    assert "target-images; Smith et al. 2020\nCC-BY-4.0\nfiles checked; groups cannot be checked" in text(page, 10)


def test_a_refused_threshold_has_its_reason(tmp_path: Path) -> None:
    page = first_page(tmp_path, operating_points=[{"kind": "assure", "target": 0.99}])
    assert "Threshold to assure for sensitivity 0.99: refused (seed 0: to assure" in text(page, 4)
    assert "sensitivity\n" not in text(page, 4)
    none = first_page(tmp_path / "none", operating_points=[])
    assert "No threshold: the recipe asks for none." in text(none, 4)


def test_several_classes_have_no_threshold(tmp_path: Path) -> None:
    page = first_page(tmp_path, positive=None, sizes={"a": 12, "b": 12, "c": 12})
    assert "tell the classes apart" in text(page, 1)
    assert "a: 12 patients, 24 images; b: 12 patients" in text(page, 3)
    assert "No threshold: no class is named positive." in text(page, 4)
    assert "AUROC by image, mean over the classes" in text(page, 4)
    assert "Not told: no class is named positive." in text(page, 5)
    assert "Shortcut: not looked at in the scores, because no class is named positive." in text(page, 7)


def test_under_folds_every_case_is_tested(tmp_path: Path) -> None:
    page = first_page(tmp_path, folds=True)
    assert "60 images, each held out once a repeat" in text(page, 3)
    assert "out-of-fold scores" in text(page, 4)
    assert "folds, out of fold" in text(page, 8)
    grid = page.items[2].grid
    assert grid is not None
    assert grid.header == ("class", "out of fold")


def test_what_is_synthetic_is_said_at_the_very_top(tmp_path: Path) -> None:
    page = first_page(tmp_path, synthetic=True)
    assert page.notice == (
        "Synthetic images, made by tlmed: related, target. Nothing here speaks for patients. "
        "Constructed so that the middle domain helps."
    )
    assert "synthetic, made by tlmed\nidentical files checked" in text(page, 10)


def test_a_waiver_stands_beside_the_figure_without_its_rows(tmp_path: Path) -> None:
    page = first_page(tmp_path, waive=("near_duplicate",))
    assert "Leakage: YES, it could. Found and waived: near duplicate. Without the 2 images concerned" in text(page, 7)
    assert "Waived: near_duplicate." in text(page, 9)
    assert "checked; waived: near_duplicate" in text(page, 10)


def test_a_question_that_was_changed_after_looking_stays_marked(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", study={"question": "Does chest CT of cancer help?"})
    record = read_run(folder)
    assert record.comparison is not None
    registered = {**record.comparison["registered"], "changed_after_looking": "it was else.", "others_on_this_test": 2}
    change(folder, "comparison.json", registered=registered)
    page = page_one(read_run(folder))
    assert "Changed after looking: it was else." in text(page, 9)
    assert "2 other primary contrasts had been asked of this test set" in text(page, 9)
    assert "fixed before" not in text(page, 9)
    assert "Does chest CT of cancer help?" in text(page, 1)
    change(folder, "comparison.json", registered=None)
    assert "is not known: before or after looking" in text(page_one(read_run(folder)), 9)


def test_external_sets_and_later_cases_are_named(tmp_path: Path) -> None:
    folder = make_run(
        tmp_path / "run",
        seeds=(0,),
        protocol={"split": "temporal"},
        external={"elsewhere": {"folder": "/srv/elsewhere", "licence": "CC0", "reference": "Jones 2021"}},
        choose={"among": {"short": {"epochs": 1}, "long": {"epochs": 9}}},
    )
    metrics = read_run(folder).metrics
    elsewhere = {name: metrics[name] for name in ("arms", "unit", "num_units", "num_groups", "groups_known")}
    change(folder, "metrics.json", external={"elsewhere": elsewhere}, external_openings={"elsewhere": 2})
    page = page_one(read_run(folder))
    grid = page.items[7].grid
    assert grid is not None
    assert [row[:2] for row in grid.rows] == [
        ("internal", "none"),
        ("temporal", "later cases than training"),
        ("external: elsewhere", "other data, only tested on"),
    ]
    assert "External set elsewhere: opened 2 times." in text(page, 9)
    assert "Settings tried an arm: 2 (long, short), chosen by inner folds, never on test" in text(page, 9)
    assert "external set elsewhere\nJones 2021\nCC0\nchecked" in text(page, 10)


def test_an_arm_with_only_controls_beside_it_is_not_compared(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", seeds=(0,))
    (folder / "comparison.json").unlink()
    page = page_one(read_run(folder))
    assert page.verdict == "nothing is compared"
    assert "generic-related has only controls beside it: nothing is compared" in text(page, 1)
