from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import roc_auc_score

from tests.report.conftest import Recorded
from tests.report.run_folders import change, make_run
from tlmed.report.page_one.page import PageOne, page_one
from tlmed.report.page_one.validity import validity
from tlmed.report.page_template import render_template
from tlmed.report.record.run_record import read_run


def first_page(folder: Path, **wanted: Any) -> PageOne:
    return page_one(read_run(make_run(folder / "run", **wanted)))


def text(page: PageOne, item: int) -> str:
    """All that the item says, its numbers counted from 1."""
    section = page.items[item - 1]
    cells = [] if section.grid is None else [cell for row in section.grid.rows for cell in row]
    return "\n".join([section.title, *section.sentences, *cells])


def deliver(folder: Path, **card: Any) -> None:
    """Write as much of a bundle as page one reads."""
    (folder / "bundle").mkdir()
    (folder / "bundle" / "bundle.json").write_text(json.dumps({"licences": [], **card}), encoding="utf-8")


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
    assert "Words. Arm: one way of training" in text(plain, 11)


def test_the_answer_comes_with_what_it_speaks_for_and_excludes(plain: PageOne) -> None:
    assert plain.verdict == "cannot be told here"
    assert "Does training on related before the target help to tell ill from the rest?" in text(plain, 1)
    assert "Whether the related domain helped cannot be told here" in text(plain, 1)
    here = "This speaks for this training set and this checkpoint (the starting weights), with new patients"
    assert here in text(plain, 1)
    assert "Excluded: gains above 0." in text(plain, 2)
    assert "Below the margin of 0.02 (2 points)" in text(plain, 2)
    assert "Training steps: generic-related 1,234, generic 1,234." in text(plain, 2)
    assert plain.difference is not None


def test_who_was_tested_is_counted_by_class(plain: PageOne) -> None:
    said = text(plain, 3)
    assert "Tested: 30 patients, 60 images." in said
    assert "Sampling: case-control. Years: 2019 to 2020. Reference standard: RT-PCR." in said
    grid = plain.items[2].grid
    assert grid is not None
    assert grid.header == ("class", "test", "validation", "training")
    assert grid.rows[0] == (
        "ill (positive)",
        "14 patients, 28 images",
        "12 patients, 24 images",
        "20 patients, 40 images",
    )


def test_figures_of_the_delivered_arm_are_counts_at_a_threshold_from_elsewhere(plain: PageOne) -> None:
    said = text(plain, 4)
    assert "generic-related on test, means over 3 seeds." in said
    assert "the choice of patients and the chance of training" in said
    assert "(one for each seed), chosen on validation scores, not on test" in said
    assert "No model is delivered." in said
    assert " of 28" in said
    assert "no interval: too few patients" in said
    assert "groups" not in said
    assert ", each of 28 images" in said
    assert "Calibration slope 0." in text(plain, 5)
    assert "after Platt scaling fitted on validation scores (48 images)" in text(plain, 5)


def test_what_it_has_to_beat_holds_the_probe(plain: PageOne) -> None:
    grid = plain.items[5].grid
    assert grid is not None
    assert [row[0] for row in grid.rows] == [
        "the larger class, always",
        "frozen features + logistic regression (probe)",
    ]
    assert grid.rows[0][1:] == ("0.500", "chance itself: see 4")
    assert grid.rows[1][2].endswith(": cannot be told")


def test_leakage_and_shortcuts_are_answered_plainly(plain: PageOne) -> None:
    said = text(plain, 7)
    assert "Leakage: none known is left. No patient" in said
    assert "Whether related holds the same patients cannot be checked" in said
    where = "where colour mode is alike, the AUROC cannot be told from chance (0.613, 0.412 to 0.781)"
    assert f"Shortcut: YES, it could explain all of it: {where}" in said
    assert "In the data of target (training and test, cross-validated)" in said
    assert "the files' size, form and tags 0.910." in said
    assert "colour mode is RGB\n0.613 (0.412 to 0.781)" in said
    assert plain.items[0].sentences[0] == "A shortcut could explain the results: see 7."


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
    assert "was written down on 2026-01-02 03:04, before this recipe opened the test (digest 0123456789ab)" in conduct
    assert "Left out: of related 12 images as copies or leaks and 3 images unreadable." in conduct
    assert "Seeds (trainings repeated with other random numbers), by their numbers: 0, 1, 2." in conduct
    assert "Settings tried in this run: one an arm;" in conduct
    assert "all results hold for this checkpoint" in text(plain, 10)
    grid = plain.items[9].grid
    assert grid is not None
    assert grid.rows == (
        ("related", "related-images", "not stated", "no copies left; patients cannot be checked"),
        ("target", "target-images; Smith et al. 2020", "CC-BY-4.0", "none found"),
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
    assert text(page, 1).count("related domain helped") == 1
    assert "generic-related also beats generic-longer" in text(page, 1)
    assert "generic-related minus its controls: generic-longer +" in text(page, 2)
    assert "Excluded: gains below 0." in text(page, 2)
    assert ", and any loss." in text(page, 2)


def test_one_arm_alone_is_not_compared(tmp_path: Path) -> None:
    page = first_page(tmp_path, arms=("generic",))
    assert page.verdict == "nothing is compared"
    assert page.difference is None
    assert "How well does generic tell ill from the rest?" in text(page, 1)
    assert "One arm alone, generic: nothing is compared" in text(page, 1)
    assert "None: nothing is compared." in text(page, 2)
    assert "contrast" not in text(page, 9)


def test_one_seed_speaks_for_these_models_alone(tmp_path: Path) -> None:
    page = first_page(tmp_path, seeds=(0,))
    assert page.verdict == "cannot be told here"
    assert "one seed" in text(page, 1)
    assert "This speaks for these trained models on new patients" in text(page, 1)
    assert "the choice of patients, not the chance of training" in text(page, 4)
    assert " of 28" in text(page, 4)
    assert "Trained once, with one seed (number 0)." in text(page, 9)
    said = text(page, 2)
    assert "whether training again would give that is not known: train with two seeds or more, better five" in said
    assert not any(word in said for word in ("Excluded", ", p ", "To narrow", "groups"))
    assert page.difference is not None
    assert "other seeds are not in it" in page.difference.caption


def test_one_seed_that_shows_a_difference_does_not_read_as_proof(tmp_path: Path) -> None:
    arms = ("generic", "generic-related", "generic-longer")
    said = text(first_page(tmp_path, arms=arms, seeds=(0,), gain=1.0), 2)
    assert "These two models differ; whether training again would give that is not known" in said
    assert "generic-related minus its controls, these models alone: generic-longer (as much training, on the" in said


def test_without_groups_there_is_no_verdict(tmp_path: Path) -> None:
    page = first_page(tmp_path, waive=("groups_unknown",))
    assert page.verdict == "no verdict"
    assert page.difference is None
    assert "Tested: 60 images." in text(page, 3)
    assert "patients" not in text(page, 3)
    assert "they may be too narrow, because patients are not known" in text(page, 4)
    assert "Leakage: cannot be excluded." in text(page, 7)
    assert "A shortcut could explain the results; leakage cannot be excluded: see 7." in text(page, 1)
    assert "60 images, groups unknown" in text(page, 8)
    assert "Waived: groups_unknown." in text(page, 9)
    assert "target-images; Smith et al. 2020\nCC-BY-4.0\nno copies left; groups cannot be checked" in text(page, 10)


def test_a_refused_threshold_has_its_reason(tmp_path: Path) -> None:
    page = first_page(tmp_path, operating_points=[{"kind": "assure", "target": 0.99}])
    assert "Threshold to assure for sensitivity 0.99: refused (seed 0: to assure" in text(page, 4)
    assert "sensitivity\n" not in text(page, 4)
    none = first_page(tmp_path / "none", operating_points=[])
    assert "No threshold: the recipe asks for none." in text(none, 4)


def test_several_classes_have_no_threshold(tmp_path: Path) -> None:
    page = first_page(tmp_path, positive=None, sizes={"a": 12, "b": 12, "c": 12})
    assert "tell the classes apart" in text(page, 1)
    assert "a\n12 patients, 24 images" in text(page, 3)
    assert "No threshold: no class is named positive." in text(page, 4)
    assert "AUROC by image, mean over the classes" in text(page, 4)
    assert "Cannot be told: no class is named positive." in text(page, 5)
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
    assert "synthetic, made by tlmed\nno identical files left" in text(page, 10)


def test_a_waiver_stands_beside_the_figure_without_its_rows(tmp_path: Path) -> None:
    page = first_page(tmp_path, waive=("near_duplicate",))
    assert "Leakage and a shortcut could explain the results: see 7." in text(page, 1)
    assert "Leakage: YES, it could. Found and waived: near duplicate. Without the 2 images concerned" in text(page, 7)
    assert "Waived: near_duplicate." in text(page, 9)
    assert "found and waived: near_duplicate" in text(page, 10)


def test_a_question_that_was_changed_after_looking_stays_marked(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", study={"question": "Does chest CT of cancer help?"})
    record = read_run(folder)
    assert record.comparison is not None
    registered = {**record.comparison["registered"], "changed_after_looking": "it was else.", "others_on_this_test": 2}
    change(folder, "comparison.json", registered=registered)
    page = page_one(read_run(folder))
    assert "CHANGED AFTER LOOKING: it was else." in text(page, 9)
    assert "2 other recipes of this store asked something of this test" in text(page, 9)
    assert "before this recipe opened" not in text(page, 9)
    assert "Does chest CT of cancer help?" in text(page, 1)
    change(folder, "comparison.json", registered=None)
    assert "Nobody knows when this contrast was chosen" in text(page_one(read_run(folder)), 9)


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
    assert "Settings tried in this run: 2 an arm (long, short), chosen by inner folds, never on test" in text(page, 9)
    assert "external set elsewhere\nJones 2021\nCC0\nnone found" in text(page, 10)


def test_an_arm_with_only_controls_beside_it_is_not_compared(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", seeds=(0,))
    (folder / "comparison.json").unlink()
    page = page_one(read_run(folder))
    assert page.verdict == "nothing is compared"
    assert "generic-related has only controls beside it: nothing is compared" in text(page, 1)


def test_what_is_delivered_has_its_own_figures(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    deliver(folder, seed=1, num_members=1)
    record = read_run(folder)
    arm = record.predictions[(record.predictions["arm"] == "generic-related") & (record.predictions["seed"] == 1)]
    tested = arm[arm["split"] == "test"]
    own = roc_auc_score(tested["label"] == "ill", tested["p_ill"])
    point = record.metrics["operating_points"]["generic-related"][0]
    said = text(page_one(record), 4)
    assert (
        f"Delivered: the model of seed 1 alone: AUROC {own:.3f}, threshold {point['fits'][1]['threshold']:.3f}" in said
    )
    assert f"sensitivity {point['sensitivity']['numerators'][1]} of 28" in said
    assert f"specificity {point['specificity']['numerators'][1]} of 32." in said


@pytest.mark.parametrize(
    ("num_members", "said"),
    [(3, "the mean of the 3 fold models of seed 0"), (1, "one model of seed 0, trained anew on all cases")],
)
def test_what_folds_deliver_has_no_figures(recorded: Recorded, num_members: int, said: str) -> None:
    record = replace(recorded(folds=True), bundle={"seed": 0, "num_members": num_members, "licences": []})
    assert f"Delivered: {said}. It was never tested itself" in text(page_one(record), 4)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.91, 0.97, "The aim on test: kept (the interval lies at 0.9 or above)."),
        (0.70, 0.89, "The aim on test: missed (the interval lies below 0.9)."),
        (0.80, 0.95, "The aim on test: cannot be told (the interval holds 0.9)."),
        (None, None, "The aim on test: cannot be told ("),
    ],
)
def test_an_aim_is_kept_or_missed_by_its_interval(
    recorded: Recorded, low: float | None, high: float | None, said: str
) -> None:
    record = recorded()
    cell = record.metrics["operating_points"]["generic-related"][0]["sensitivity"]
    cell.update(low=low, high=high)
    assert said in text(page_one(record), 4)


@pytest.mark.parametrize(
    ("slope", "intercept", "said"),
    [
        ((0.8, 1.3), (-0.2, 0.2), "Yes, as far as these cases show"),
        ((1.1, 1.3), (-0.2, 0.2), "No, they are not calibrated: the interval of the slope does not hold 1."),
        ((0.3, 1.3), (0.1, 0.2), "No, they are not calibrated: the interval of the intercept does not hold 0."),
        ((0.4, 1.3), (-0.2, 0.2), "Cannot be told: the interval of the slope goes beyond 0.5 to 2."),
        ((0.9, 2.1), (-0.2, 0.2), "Cannot be told: the interval of the slope goes beyond 0.5 to 2."),
        ((None, None), (-0.2, 0.2), "Cannot be told: there is no interval."),
    ],
)
def test_calibration_has_a_verdict_and_its_notes(
    recorded: Recorded, slope: tuple[float, float], intercept: tuple[float, float], said: str
) -> None:
    record = recorded()
    calibrated = record.metrics["calibrated"]["generic-related"]
    calibrated["notes"] = ["Platt without a slope"]
    for name, limits in (("slope", slope), ("intercept", intercept)):
        calibrated["metrics"][f"calibration_{name}"].update(low=limits[0], high=limits[1])
    assert "Note: Platt without a slope." in text(page_one(record), 5)
    assert page_one(record).items[4].sentences[0].startswith(said)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1101, 0.2634, "Excluded: gains below 0.110, gains above 0.263, and any loss."),
        (-0.2634, -0.1101, "Excluded: losses below 0.110, losses above 0.263, and any gain."),
        (-0.03, 0.012, "Excluded: gains above 0.012, and losses above 0.030."),
        (-0.0003, 0.012, "Excluded: gains above 0.012, and losses above 0.0003."),
        (0.0, 0.012, "Excluded: gains above 0.012, and any loss."),
        (-1.0, 0.8, "Excluded: gains above 0.800."),
        (-1.0, 1.0, "Nothing is excluded."),
    ],
)
def test_what_is_excluded_lies_outside_the_limits(recorded: Recorded, low: float, high: float, said: str) -> None:
    record = recorded()
    assert record.comparison is not None
    record.comparison["contrasts"][0]["claims"]["b"].update(low=low, high=high)
    assert said in text(page_one(record), 2)


def test_a_shortcut_explains_a_part_only_where_all_that_is_alike_lies_above_chance(recorded: Recorded) -> None:
    record = recorded()
    variable = record.metrics["usage"][0]["details"]["variables"][0]
    variable["matched"]["auroc"]["low"] = 0.51
    assert "YES, it could explain a part: where each of these is alike" in text(page_one(record), 7)
    record.metrics["usage"][0]["details"]["variables"].append({**variable, "variable": "width", "matched": None})
    assert "YES, how much it could explain cannot be told: too few patients are alike" in text(page_one(record), 7)
    assert "follows colour mode and width, by which" in text(page_one(record), 7)


def test_no_sign_of_a_shortcut_says_how_little_was_looked_at(recorded: Recorded) -> None:
    record = recorded()
    variable = record.metrics["usage"][0]["details"]["variables"][0]
    variable.update(is_shortcut=False, is_followed=False)
    said = text(page_one(record), 7)
    no_sign = "Shortcut: no sign in generic-related, as far as 1 variable of files and table can show"
    assert f"{no_sign}: the score follows none of them." in said
    assert "Only these could be looked at; 1 more could not be;" in said
    assert "The data hold a shortcut: see 7." in text(page_one(record), 1)
    record.audit["findings"][1]["severity"] = "note"
    assert "see 7" not in text(page_one(record), 1)


def test_patients_on_both_sides_come_first(recorded: Recorded) -> None:
    record = recorded()
    details = {"stage": "target"}
    coarser = {"kind": "coarser_group", "severity": "warning", "message": "", "paths": [], "value": 12.0}
    record.audit["findings"].append({**coarser, "details": details})
    assert text(page_one(record), 7).split("\n")[1].startswith("LEAKAGE by patient: 12 patients have images in more")
    assert "Leakage and a shortcut could explain the results: see 7." in text(page_one(record), 1)
    details["stage"] = "related"
    assert "LEAKAGE" not in text(page_one(record), 7)


def test_earlier_domains_that_cannot_be_checked_are_named(recorded: Recorded) -> None:
    record = recorded()
    domains = {"far": record.domains["related"], **record.domains}
    leakage, *_ = validity(replace(record, domains=domains)).sentences
    assert "Whether far and related hold the same patients" in leakage


def test_a_probe_that_was_not_trained_is_said_to_be_absent(recorded: Recorded) -> None:
    grid = page_one(recorded()).items[5].grid
    assert grid is not None
    assert grid.rows[-1] == ("frozen features + logistic regression", "not trained in this run", "")


def test_a_caution_stands_out_and_tables_stack_on_a_phone(plain: PageOne) -> None:
    page = render_template("report.html.j2", name="small", first=plain, chapters=[], shared=None)
    assert '<p class="caution">A shortcut could explain the results: see 7.</p>' in page
    assert page.count('class="caution"') == 1
    assert '<td data-head="test">14 patients, 28 images</td>' in page


def test_a_shortcut_of_the_other_compared_arm_is_named(recorded: Recorded) -> None:
    record = recorded()
    other = deepcopy(record.metrics["usage"][0])
    other["details"]["arm"] = "generic"
    record.metrics["usage"].append(other)
    record.metrics["usage"][0]["details"]["variables"][0].update(is_shortcut=False, is_followed=False)
    page = page_one(record)
    assert "Shortcut of generic, which is compared: YES, its score follows colour mode;" in text(page, 7)
    assert page.items[0].sentences[0] == "A shortcut could explain the difference: see 7."
    other["details"]["arm"] = "probe"
    assert "Shortcut of probe" not in text(page_one(record), 7)


def test_what_arms_are_trained_on_stands_beside_any_question(recorded: Recorded) -> None:
    said = "generic-related: starting weights → related → target; generic: starting weights → target."
    assert said in text(page_one(recorded()), 1)
    assert said in text(page_one(recorded(study={"question": "Does it help?"})), 1)


def test_controls_are_told_where_nothing_can_be_told(recorded: Recorded) -> None:
    record = recorded(arms=("generic", "generic-related", "generic-longer", "generic-placebo"))
    page = page_one(record)
    assert page.verdict == "cannot be told here"
    assert "generic-longer (as much training, on the target alone) " in text(page, 2)
    assert "; generic-placebo (middle stage on permuted labels) " in text(page, 2)


def test_few_seeds_with_wide_limits_ask_for_seeds(recorded: Recorded) -> None:
    record = recorded(seeds=(0, 1))
    assert record.comparison is not None
    record.comparison["contrasts"][0]["claims"]["b"].update(low=-0.3, high=0.3)
    assert "Two seeds hardly show how seeds differ; train with five." in text(page_one(record), 2)
    record.comparison["contrasts"][0]["claims"]["b"].update(low=-0.2, high=0.2)
    assert "hardly" not in text(page_one(record), 2)


def test_a_range_is_said_in_words(recorded: Recorded) -> None:
    record = recorded()
    variable = record.metrics["usage"][0]["details"]["variables"][0]
    variable["matched"]["where"] = "bytes_per_pixel is 0.7742 to 0.7896"
    assert "file size per pixel is alike (0.774 to 0.79)" in text(page_one(record), 7)
    variable["matched"]["where"] = "not mode = RGBA"
    assert "colour mode is not RGBA" in text(page_one(record), 7)


def test_what_was_taken_out_is_counted(recorded: Recorded) -> None:
    record = recorded()
    assert "taken out" not in text(page_one(record), 7)
    record.domains["target"]["num_dropped"] = 5
    assert "5 images were taken out as copies or leaks" in text(page_one(record), 7)
    assert "none left; 5 images taken out" in text(page_one(record), 10)
