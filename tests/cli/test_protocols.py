"""How `tlmed run` divides the target, and what it says where it cannot."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cli.project import Project, Tlmed

SMALL = Path("runs/small")


def evaluate_with(project: Project, settings: str) -> None:
    project.change_recipe("{positive: sick}", f"{{positive: sick, {settings}}}")


def only(project: Project, arms: str = "scratch: {stages: [target], weights: none}") -> None:
    project.change_recipe("evaluation:", f"arms: {{{arms}}}\nevaluation:")


def metrics() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SMALL / "metrics.json").read_text(encoding="utf-8"))
    return content


def test_kfold_tests_every_patient_once_a_repeat(tlmed: Tlmed, project: Project) -> None:
    only(project)
    evaluate_with(project, "protocol: {split: kfold, folds: 3, repeats: 2}")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    predictions = pd.read_parquet(SMALL / "predictions.parquet")
    assert set(predictions["split"]) == {"test"}
    assert predictions.groupby("seed")["path"].nunique().to_dict() == {0: 24, 1: 24}
    assert sorted(predictions["fold"].unique()) == [0, 1, 2]
    splits = pd.read_csv(SMALL / "splits.csv")
    assert list(splits) == ["path", "unit", "group", "split", "fold", "seed"]
    assert splits.groupby(["seed", "group"])["fold"].nunique().max() == 1
    assert metrics()["num_units"] == 24
    assert len(list(Path("runs/stages").glob("*/stage.json"))) == 6
    assert tlmed("run", project.recipe, "--json").out.count('"trained": []') == 1


def test_the_dry_run_sums_up_folds(tlmed: Tlmed, project: Project) -> None:
    evaluate_with(project, "protocol: {split: kfold, folds: 3, repeats: 2}")
    out = tlmed("run", project.recipe, "--dry-run").out
    assert "3 folds" in out
    assert out.count("6 trainings") == 2  # of the probe and of scratch
    assert "12 of 12 stages to train" in out


def test_seeds_that_do_not_fit_the_repeats_are_refused(tlmed: Tlmed, project: Project) -> None:
    evaluate_with(project, "seeds: [0, 1], protocol: {split: kfold, repeats: 3}")
    assert "2 seeds do not fit 3 repeats" in tlmed("run", project.recipe).err


def test_a_class_with_fewer_patients_than_folds_is_named(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table[(table["label"] == "well") | (table.index < 6)])
    evaluate_with(project, "protocol: {split: kfold, folds: 5, repeats: 1}")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 1
    assert "class 'sick' has 3 groups, too few for one in each of 5 folds; write `folds: 3`" in answer.err


def test_the_past_trains_and_the_future_tests(tlmed: Tlmed, project: Project) -> None:
    only(project)
    project.change_manifest(lambda table: table.assign(time=[f"20{10 + row % 12}-01-01" for row in range(24)]))
    evaluate_with(project, 'protocol: {split: temporal, train_until: "2017-12-31"}')
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    splits = pd.read_csv(SMALL / "splits.csv")
    assert set(splits.loc[splits["split"] == "test", "path"]) == {f"{row:02d}.png" for row in range(24) if row % 12 > 7}


def test_each_source_is_left_out_in_turn(tlmed: Tlmed, project: Project) -> None:
    only(project)
    project.change_manifest(lambda table: table.assign(source=["north"] * 12 + ["south"] * 12))
    evaluate_with(project, "protocol: {split: leave-one-source-out}")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    predictions = pd.read_parquet(SMALL / "predictions.parquet")
    assert predictions.groupby("fold")["path"].apply(sorted).tolist() == [
        [f"{row:02d}.png" for row in range(12)],
        [f"{row:02d}.png" for row in range(12, 24)],
    ]


def test_leaving_sources_out_needs_the_column(tlmed: Tlmed, project: Project) -> None:
    evaluate_with(project, "protocol: {split: leave-one-source-out}")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 1
    assert "no column 'source' to leave out in turn" in answer.err


def external_set(project: Project, rows: range, folder: str) -> None:
    """Further patients, as images that the project does not hold."""
    from PIL import Image

    place = project.folder / folder
    place.mkdir()
    generator = np.random.default_rng(99)
    table = []
    for row in rows:
        Image.fromarray(generator.integers(0, 255, (40, 40), dtype=np.uint8)).save(place / f"x{row}.png")
        table.append({"path": f"x{row}.png", "label": ("well", "sick")[row % 2], "patient": f"x{row}"})
    pd.DataFrame(table).to_csv(place / "manifest.csv", index=False)


def test_external_sets_are_measured_apart(tlmed: Tlmed, project: Project) -> None:
    only(project)
    external_set(project, range(6), "elsewhere")
    evaluate_with(project, "external: {elsewhere: {manifest: elsewhere/manifest.csv}}")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    measured = metrics()
    assert measured["external"]["elsewhere"]["num_units"] == 6
    assert measured["num_units"] == 8
    assert len(pd.read_parquet(SMALL / "external/elsewhere.parquet")) == 6


def test_after_folds_an_external_set_measures_what_is_delivered(tlmed: Tlmed, project: Project) -> None:
    only(project)
    external_set(project, range(6), "elsewhere")
    protocol = "protocol: {split: kfold, folds: 3, repeats: 2}"
    evaluate_with(project, f"{protocol}, external: {{elsewhere: {{manifest: elsewhere/manifest.csv}}}}")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    outside = pd.read_parquet(SMALL / "external/elsewhere.parquet")
    assert set(outside["seed"]) == {0}
    told = json.loads(tlmed("predict", SMALL / "bundle", project.folder / "elsewhere", "--json").out)
    by_bundle = {Path(row["path"]).name: row["raw_sick"] for row in told}
    np.testing.assert_allclose(outside["p_sick"], outside["path"].map(by_bundle), atol=1e-6)
    assert "elsewhere" in (SMALL / "bundle/README.md").read_text(encoding="utf-8")


def test_an_external_set_that_was_trained_on_is_refused_before_training(tlmed: Tlmed, project: Project) -> None:
    evaluate_with(project, "external: {copy: {manifest: data/manifest.csv}}")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 1
    assert "external set copy" in answer.err
    assert "24 images are identical to images of the stage 'target'" in answer.err
    assert not list(Path("runs").glob("stages/*/stage.json"))


def test_an_external_set_with_a_near_copy_is_refused(tlmed: Tlmed, project: Project) -> None:
    from PIL import Image

    external_set(project, range(6), "elsewhere")
    with Image.open(project.folder / "data/03.png") as image:
        image.resize((64, 64), Image.Resampling.BILINEAR).save(project.folder / "elsewhere/x3.png")
    evaluate_with(project, "external: {elsewhere: {manifest: elsewhere/manifest.csv}}")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 1
    assert "1 images are near-copies of images of the stage 'target' (x3.png)" in answer.err


def test_each_training_set_chooses_its_settings_by_inner_folds(tlmed: Tlmed, project: Project) -> None:
    only(project)
    evaluate_with(project, "choose: {folds: 2, among: {short: {epochs: 1}, long: {epochs: 2}}}")
    assert "4 inner trainings choose settings" in tlmed("run", project.recipe, "--dry-run").out
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    (choice,) = metrics()["chosen"]
    assert (choice["arm"], choice["seed"], choice["fold"]) == ("scratch", 0, -1)
    means = choice["inner_auroc"]
    assert set(means) == {"short", "long"}
    assert choice["candidate"] == max(means, key=means.__getitem__)
    # 2 candidates in 2 inner folds, and the chosen one on the whole training set.
    assert len(list(Path("runs/stages").glob("*/stage.json"))) == 5


def test_what_takes_no_steps_has_nothing_to_choose(tlmed: Tlmed, project: Project) -> None:
    evaluate_with(project, "choose: {folds: 2, among: {short: {epochs: 1}, long: {epochs: 2}}}")
    tlmed("run", project.recipe)
    assert {choice["arm"] for choice in metrics()["chosen"]} == {"scratch"}


def test_inner_folds_never_see_val_or_test(tlmed: Tlmed, project: Project) -> None:
    only(project)
    evaluate_with(project, "choose: {folds: 2, among: {short: {epochs: 1}, long: {epochs: 2}}}")
    tlmed("run", project.recipe)
    cards = [json.loads(file.read_text()) for file in Path("runs/stages").glob("*/stage.json")]
    assert sorted((card["num_train_images"], card["num_val_images"]) for card in cards) == [*[(6, 0)] * 4, (12, 4)]


@pytest.mark.parametrize("kind", ["border-only", "permuted-labels"])
def test_a_control_arm_is_added_to_a_finished_run(tlmed: Tlmed, project: Project, kind: str) -> None:
    only(project)
    tlmed("run", project.recipe)
    before = metrics()["arms"]["scratch"]
    answer = tlmed("run", project.recipe, "--control", kind)
    assert answer.exit_code == 0, answer.err
    after = metrics()["arms"]
    assert list(after) == ["scratch", f"scratch-{kind}"]
    assert after["scratch"] == before
    assert len(list(Path("runs/stages").glob("*/stage.json"))) == 2
    assert json.loads((SMALL / "bundle/bundle.json").read_text())["arm"] == "scratch"


def test_controls_stay_when_others_are_added_or_none_is_named(tlmed: Tlmed, project: Project) -> None:
    only(project)
    tlmed("run", project.recipe, "--control", "border-only")
    for further in (["--control", "permuted-labels"], []):
        answer = tlmed("run", project.recipe, *further)
        assert answer.exit_code == 0, answer.err
        assert list(metrics()["arms"]) == ["scratch", "scratch-border-only", "scratch-permuted-labels"]


def test_an_unknown_control_is_named(tlmed: Tlmed, project: Project) -> None:
    answer = tlmed("run", project.recipe, "--control", "border")
    assert answer.exit_code == 1
    assert "unknown kind 'border'. Did you mean 'border-only'?" in answer.err


def test_looks_at_one_test_set_are_counted_over_recipes(tlmed: Tlmed, project: Project) -> None:
    only(project)
    tlmed("run", project.recipe)
    tlmed("run", project.recipe)
    assert metrics()["test_openings"] == 1
    answer = tlmed("run", project.recipe, "--set", "training.epochs=2", "--out", "runs/other")
    assert answer.exit_code == 0, answer.err
    assert json.loads(Path("runs/other/metrics.json").read_text())["test_openings"] == 2
    assert "opened 2 times" in answer.out


def test_another_threshold_is_another_look(tlmed: Tlmed, project: Project) -> None:
    only(project)
    tlmed("run", project.recipe)
    changed = "evaluation.operating_points=[{of: specificity, target: 0.8}]"
    answer = tlmed("run", project.recipe, "--set", changed, "--out", "runs/other")
    assert answer.exit_code == 0, answer.err
    assert json.loads(Path("runs/other/metrics.json").read_text())["test_openings"] == 2


def test_warnings_of_the_audit_stand_beside_the_results_and_in_the_card(tlmed: Tlmed, project: Project) -> None:
    """Every sick patient's file is of another size."""
    from PIL import Image

    only(project)
    for file in sorted((project.folder / "data").glob("*.png"))[1::2]:
        with Image.open(file) as image:
            image.resize((50, 50)).save(file)
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    results, card = ((SMALL / name).read_text(encoding="utf-8") for name in ("results.md", "bundle/README.md"))
    assert "audit, warning, shortcut_metadata" in answer.err
    for text in (answer.out.replace("\n", " "), results, card):
        assert "shortcut_metadata" in text


def test_a_bundle_knows_what_it_was_trained_on(tlmed: Tlmed, project: Project) -> None:
    only(project)
    tlmed("run", project.recipe)
    known = set(json.loads((SMALL / "bundle/bundle.json").read_text())["trained_on"])
    table = pd.read_csv(project.manifest)
    for row in table.itertuples():
        digest = hashlib.sha256((project.folder / "data" / str(row.path)).read_bytes()).hexdigest()
        assert (digest[:16] in known) == (row.split != "test")
