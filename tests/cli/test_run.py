"""What `tlmed run` leaves behind, prints, and does not do twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.cli.project import Project, Tlmed

CHAIN = """
  - name: related
    data: {phantom: {kind: chest-findings, num_images: 48, size: 32}}
  - name: target"""


def metrics(folder: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.whole_report
def test_run_folder_holds_everything(tlmed: Tlmed, project: Project) -> None:
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    folder = Path("runs/small")
    report = (folder / "report.html").read_text(encoding="utf-8")
    for heading in ("The question", "Flow of cases", "Chain and lineage", "CLAIM 2024", "Text and tables for a paper"):
        assert heading in report
    assert {file.name for file in (folder / "tables").iterdir()} == {"results.csv", "results.docx", "comparison.csv"}
    splits = pd.read_csv(folder / "splits.csv")
    assert list(splits) == ["path", "unit", "group", "split", "fold"]
    assert splits["split"].value_counts().to_dict() == {"train": 12, "test": 8, "val": 4}
    predictions = pd.read_parquet(folder / "predictions.parquet")
    expected = ["path", "unit", "group", "label", "split", "arm", "seed", "fold", "p_sick", "p_well"]
    assert list(predictions) == expected
    assert {arm: len(part) for arm, part in predictions.groupby("arm")} == {"probe": 12, "scratch": 12}
    assert predictions["split"].value_counts().to_dict() == {"test": 16, "val": 8}
    assert set(predictions["fold"]) == {-1}
    np.testing.assert_allclose(predictions[["p_sick", "p_well"]].sum(axis=1), 1)
    measured = metrics("runs/small")
    assert (measured["num_units"], measured["num_groups"], measured["positive"]) == (8, 8, "sick")
    assert "epochs: 1" in (folder / "recipe.yaml").read_text(encoding="utf-8")
    findings = json.loads((folder / "audit.json").read_text(encoding="utf-8"))["findings"]
    assert {finding["kind"] for finding in findings} >= {"shortcut_metadata", "simple_baseline"}
    assert {finding["severity"] for finding in findings} <= {"note", "warning"}
    assert {"majority", "metadata", "thumbnail-forest"} <= set(measured["baselines"])  # type: ignore[call-overload]
    assert measured["operating_points"]["scratch"][0]["target"] == 0.9  # type: ignore[index]
    assert load_file(folder / "bundle/model.safetensors")
    assert "Not a medical device" in (folder / "bundle/README.md").read_text(encoding="utf-8")
    pictures = sorted((folder / "figures").glob("*.png"))
    assert [picture.name.split("-")[0] for picture in pictures] == ["arms", *["confusion"] * 2, "learning"]
    for picture in pictures:
        with Image.open(picture) as opened:
            assert np.asarray(opened.convert("L")).std() > 10  # something is drawn
    assert "AUROC" in answer.out
    assert "probe" in answer.out
    assert "scratch" in answer.out


def test_stage_folder_holds_weights_history_and_card(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--arm", "scratch")
    (stage,) = Path("runs/stages").glob("*/")
    assert sorted(file.name for file in stage.iterdir()) == [
        "digests.json",
        "history.csv",
        "model.safetensors",
        "stage.json",
    ]
    card = json.loads((stage / "stage.json").read_text(encoding="utf-8"))
    assert (card["name"], card["num_train_images"], card["classes"]) == ("target", 12, ["sick", "well"])
    assert list(pd.read_csv(stage / "history.csv"))[:3] == ["epoch", "learning_rate", "train_loss"]


def test_the_probes_card_says_how_its_penalty_was_chosen(tlmed: Tlmed, project: Project) -> None:
    assert tlmed("run", project.recipe, "--arm", "probe").exit_code == 0
    (stage,) = Path("runs/stages").glob("*/")
    card = json.loads((stage / "stage.json").read_text(encoding="utf-8"))
    solved = card["logistic_regression"]
    assert (card["strategy"]["kind"], card["num_steps"]) == ("logistic-regression", 0)
    assert (solved["num_folds"], solved["num_features"]) == (
        5,
        load_file(stage / "model.safetensors")["head.weight"].shape[1],
    )
    assert solved["held_out_losses"][f"{solved['c']:g}"] == min(solved["held_out_losses"].values())
    history = pd.read_csv(stage / "history.csv")
    assert list(history) == ["epoch", "learning_rate", "train_loss", "val_loss", "val_accuracy"]
    assert history["epoch"].tolist() == [1]
    assert history["learning_rate"].isna().all()
    assert not Path("runs/small/bundle").exists()  # another arm is delivered


def test_seeds_share_the_probe_of_given_weights(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--arm", "scratch")
    project.change_recipe("training:", "weights: stage:small/target\ntraining:")
    arguments = ("--out", "runs/probe", "--arm", "probe", "--seed", "0", "--seed", "1", "--json")
    answer = json.loads(tlmed("run", project.recipe, *arguments).out)
    assert len(answer["trained"]) == 1
    one, other = (
        part["p_sick"].tolist() for _, part in pd.read_parquet("runs/probe/predictions.parquet").groupby("seed")
    )
    assert one == other
    (picture,) = Path("runs/probe/figures").glob("confusion-*.png")  # one for both
    assert picture.name.startswith("confusion-probe-seed0-")


def test_the_plan_names_a_shared_probe_once_with_its_seeds(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--arm", "scratch")
    project.change_recipe("training:", "weights: stage:small/target\ntraining:")
    shown = tlmed("run", project.recipe, "--seed", "1", "--seed", "4", "--dry-run").out
    text = " ".join(shown.replace("│", " ").split())
    assert text.count("=> probe") == 1
    assert "target (logistic-regression) seeds 1, 4, 12 images" in text
    assert text.count("target seed 4, ") == 2  # scratch and generic


def test_the_plan_refuses_batches_that_cannot_be_shared(tlmed: Tlmed, project: Project) -> None:
    for more in (("--dry-run",), ()):
        answer = tlmed("run", project.recipe, "--set", "runtime.devices=3", *more)
        assert answer.exit_code == 1
        assert "stage 'target': 4 images a step" in answer.err
        assert "Traceback" not in answer.err
    assert not list(Path("runs").glob("stages/*"))  # not even the probe


def test_the_probe_is_delivered_where_the_recipe_says_so(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("training:", "deliver: probe\ntraining:")
    assert tlmed("run", project.recipe).exit_code == 0
    card = json.loads(Path("runs/small/bundle/bundle.json").read_text(encoding="utf-8"))
    assert card["arm"] == "probe"
    predicted = pd.DataFrame(json.loads(tlmed("predict", "runs/small/bundle", project.folder / "data", "--json").out))
    run = pd.read_parquet("runs/small/predictions.parquet").query("arm == 'probe'")
    joined = run.merge(predicted.assign(path=predicted["path"].map(lambda path: Path(path).name)), on="path")
    assert len(joined) == 12
    np.testing.assert_allclose(joined["p_sick_x"], joined["raw_sick"], atol=1e-6)


def test_same_run_again_trains_nothing_and_says_the_same(tlmed: Tlmed, project: Project) -> None:
    first = json.loads(tlmed("run", project.recipe, "--json").out)
    second = json.loads(tlmed("run", project.recipe, "--json").out)
    assert len(first["trained"]) == 2
    assert second["trained"] == []
    assert second["metrics"] == first["metrics"]


def test_arms_share_their_beginning_and_may_be_added(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("\n  - name: target", CHAIN)
    one = json.loads(tlmed("run", project.recipe, "--arm", "related", "--json").out)
    assert list(one["metrics"]["arms"]) == ["related"]
    assert len(one["trained"]) == 2
    both = json.loads(tlmed("run", project.recipe, "--json").out)
    assert "different seeds" not in both["metrics"]["interval"]
    uneven = json.loads(tlmed("run", project.recipe, "--arm", "related", "--seed", "1", "--json").out)
    assert "different seeds (related: 0, 1; probe: 0; scratch: 0)" in uneven["metrics"]["interval"]
    assert set(both["metrics"]["arms"]) == {"related", "probe", "scratch"}
    assert len(both["trained"]) == 2


def test_seeds_may_be_added_and_widen_what_the_interval_covers(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--seed", "0")
    tlmed("run", project.recipe, "--seed", "1")
    predictions = pd.read_parquet("runs/small/predictions.parquet")
    assert sorted(predictions["seed"].unique()) == [0, 1]
    assert "different seeds" not in tlmed("run", project.recipe, "--seed", "0").out
    for _, of_arm in predictions.groupby("arm"):
        by_seed = [part["p_sick"].to_numpy() for _, part in of_arm.groupby("seed")]
        assert not np.allclose(by_seed[0], by_seed[1])


def test_set_overrides_the_recipe(tlmed: Tlmed, project: Project) -> None:
    arguments = ("--arm", "scratch", "--set", "chain.target.training={epochs: 2}")
    assert tlmed("run", project.recipe, *arguments).exit_code == 0
    assert len(pd.read_csv(next(Path("runs/stages").glob("*/history.csv")))) == 2


def test_set_rules_over_what_stages_say(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("manifest.csv}", "manifest.csv}\n    training: {epochs: 3}\n    preset: tl-med")
    arguments = ("--arm", "scratch", "--set", "training.epochs=2", "--set", "preset=small-data")
    assert tlmed("run", project.recipe, *arguments).exit_code == 0
    card = json.loads(next(Path("runs/stages").glob("*/stage.json")).read_text(encoding="utf-8"))
    assert (card["training"]["epochs"], card["training"]["optimizer"]) == (2, "adamw")


def test_corrected_test_labels_change_figures_and_pictures(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--arm", "scratch")
    (before,) = Path("runs/small/figures").glob("confusion*.png")
    pixels = before.read_bytes()
    project.change_manifest(lambda table: table.assign(label=table["label"].mask(table["path"] == "23.png", "well")))
    assert json.loads(tlmed("run", project.recipe, "--arm", "scratch", "--json").out)["trained"] == []
    (after,) = Path("runs/small/figures").glob("confusion*.png")
    assert after.read_bytes() != pixels


def test_names_that_the_store_uses_are_refused(tlmed: Tlmed, project: Project) -> None:
    answer = tlmed("run", project.recipe, "--out", "runs/images")
    assert answer.exit_code == 1
    assert "runs/images" in answer.err


def test_the_recipe_itself_is_never_overwritten(tlmed: Tlmed, project: Project) -> None:
    before = project.recipe.read_text(encoding="utf-8")
    answer = tlmed("run", project.recipe, "--out", ".")
    assert answer.exit_code == 1
    assert "would replace it" in answer.err
    assert project.recipe.read_text(encoding="utf-8") == before


def test_workers_do_not_change_a_byte(tlmed: Tlmed, project: Project) -> None:
    for number in (0, 2):
        arguments = ("--arm", "scratch", "--out", f"w{number}/run", "--set", f"runtime.workers={number}")
        answer = tlmed("run", project.recipe, *arguments)
        assert answer.exit_code == 0, answer.err
    first, second = (next(Path(f"w{number}").glob("stages/*/model.safetensors")).read_bytes() for number in (0, 2))
    assert first == second


def test_stage_of_another_run_serves_as_starting_weights(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe)
    project.change_recipe("training:", "weights: stage:small/target\ntraining:")
    answer = json.loads(tlmed("run", project.recipe, "--out", "runs/second", "--json").out)
    assert list(answer["metrics"]["arms"]) == ["probe", "scratch", "generic"]
    assert len(answer["trained"]) == 2  # scratch is the first run's


def test_plan_shows_what_is_cached_and_trains_nothing(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("\n  - name: target", CHAIN)
    plan = json.loads(tlmed("run", project.recipe, "--dry-run", "--json").out)
    assert [(task["stage"], task["cached"]) for task in plan["tasks"]] == [
        ("target", False),
        ("target", False),
        ("related", False),
        ("target", False),
    ]
    assert not list(Path("runs").glob("stages/*"))
    in_train = [row for row in plan["counts"] if row["domain"] == "target" and row["split"] == "train"]
    assert [(row["class"], row["images"], row["groups"]) for row in in_train] == [("sick", 6, 6), ("well", 6, 6)]
    tlmed("run", project.recipe, "--arm", "scratch")
    after = tlmed("run", project.recipe, "--dry-run")
    assert "cached" in after.out
    assert "3 of 4 stages to train" in after.out


def test_holdout_draws_a_test_set_by_group(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table.drop(columns="split"))
    assert "split: holdout" in tlmed("run", project.recipe).err
    project.change_recipe("positive: sick", "positive: sick, protocol: {split: holdout, test_fraction: 0.25}")
    assert tlmed("run", project.recipe).exit_code == 0
    splits = pd.read_csv("runs/small/splits.csv")
    assert splits["split"].value_counts()["test"] == 6
    assert splits.groupby("group")["split"].nunique().max() == 1


@pytest.mark.parametrize("preset", ["tl-med", "small-data"])
def test_presets_train(tlmed: Tlmed, project: Project, preset: str) -> None:
    project.change_recipe("training:", f"preset: {preset}\ntraining:")
    assert tlmed("run", project.recipe).exit_code == 0


def test_linear_probe_leaves_the_backbone_as_it_was(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--arm", "scratch")
    project.change_recipe("training:", "weights: stage:small/target\ntraining:")
    project.change_recipe("manifest.csv}", "manifest.csv}\n    strategy: {kind: linear-probe}")
    assert tlmed("run", project.recipe, "--out", "runs/probe", "--arm", "generic").exit_code == 0
    cards = {file.parent: json.loads(file.read_text()) for file in Path("runs/stages").glob("*/stage.json")}
    states = {card["strategy"]["kind"]: load_file(folder / "model.safetensors") for folder, card in cards.items()}
    changed = {n for n, value in states["linear-probe"].items() if not np.array_equal(value, states["finetune"][n])}
    assert changed == {"head.weight", "head.bias"}
