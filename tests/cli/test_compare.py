from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.cli.project import Tlmed
from tests.evaluation.comparison.arm_tables import arm_rows, in_folds
from tests.evaluation.prediction_rows import three_classes
from tlmed.evaluation.comparison.sentences import NOBODY_KNOWS

RECIPE = """
name: small
backbone: test_resnet
weights: file:weights.safetensors
chain:
  - name: related
    data: {folder: images}
  - name: target
    data: {folder: images}
evaluation: {positive: sick, comparison: {margin: 0.1}}
"""


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, pd.DataFrame]:
    """Three seeds each of `A.csv`, which is better, and `B.csv`, whose arm is the same with other seeds as `B2.csv`."""
    monkeypatch.chdir(tmp_path)
    written = {
        "A": arm_rows("a", lift=2.0, num_units=200),
        "B": arm_rows("b", num_units=200),
        "B2": arm_rows("b", seeds=[7, 8], num_units=200),
    }
    for name, rows in written.items():
        rows.drop(columns="arm").to_csv(f"{name}.csv", index=False)
    return written


def _run_folder(*arms: pd.DataFrame, name: str = "runs/small") -> Path:
    folder = Path(name)
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    rows = pd.concat(arms, ignore_index=True)
    val = rows[rows["seed"] == 0].assign(split="val", p_sick=0.5, p_well=0.5, unit="v" + rows["unit"])
    pd.concat([rows.assign(split="test", fold=-1), val.assign(fold=-1)]).to_parquet(folder / "predictions.parquet")
    return folder


def _answer(tlmed: Tlmed, *arguments: object) -> dict[str, Any]:
    answer = tlmed("compare", *arguments, "--positive", "sick", "--json")
    assert answer.exit_code == 0, answer.err
    content: dict[str, Any] = json.loads(answer.out)
    return content


def test_two_tables_give_a_verdict(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    answer = tlmed("compare", "A.csv", "B.csv", "--positive", "sick", "--out", "here")
    assert answer.exit_code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "Verdict: A is better than B"
    assert lines[1].startswith("A is better than B, with this training set: A minus B in AUROC is +")
    order = [answer.out.index(part) for part in ("Contrasts", "A minus B  ", "Reasons", "Nobody knows when")]
    assert order == sorted(order)
    assert "Research use only" in lines[-1]
    comparison = json.loads(Path("here/comparison.json").read_text(encoding="utf-8"))
    assert comparison["verdict"]["word"] == "helped"
    assert comparison["unit"] == "unit"
    assert (comparison["registered"], comparison["cost"]) == (None, {})
    assert NOBODY_KNOWS in Path("here/comparison.md").read_text(encoding="utf-8")
    assert sorted(file.name for file in Path().iterdir()) == ["A.csv", "B.csv", "B2.csv", "here"]


def test_the_question_can_be_stated(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    stated = ("--primary", "base", "new", "--metric", "accuracy", "--margin", "0.3")
    comparison = _answer(tlmed, "new=A.csv", "base=B.csv", "again=B2.csv", *stated)
    assert comparison["primary"] == "base minus new"
    assert (comparison["metric"], comparison["margin"]) == ("accuracy", 0.3)
    assert [one["name"] for one in comparison["contrasts"][1:]] == ["base minus again", "again minus new"]
    assert _answer(tlmed, "B.csv", "B2.csv", "A.csv")["primary"] == "B minus B2"


def test_the_same_arm_with_other_seeds_is_no_difference(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    comparison = _answer(tlmed, "B.csv", "B2.csv")
    assert comparison["verdict"]["word"] in ("equivalent", "cannot be told here")
    assert comparison["design"]["seeds"] == {"B": [0, 1, 2], "B2": [7, 8]}


def test_a_table_of_several_arms(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    pd.concat([tables["A"], tables["B"]]).to_parquet("both.parquet")
    assert _answer(tlmed, "both.parquet")["primary"] == "a minus b"
    stated = ("--primary", "both:a", "B2")
    assert _answer(tlmed, "both.parquet", "B2.csv", *stated)["primary"] == "both:a minus B2"
    answer = tlmed("compare", "both.parquet", "B2.csv", "--positive", "sick")
    assert answer.exit_code == 1
    assert "there are 3 arms (both:a, both:b, B2); say which two" in answer.err


def test_arms_that_are_called_as_in_runs_are_compared_as_in_runs(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    arms = {"scratch": "B2", "generic": "B", "generic-related": "A"}
    pd.concat([tables[name].assign(arm=arm) for arm, name in arms.items()]).to_parquet("all.parquet")
    assert _answer(tlmed, "all.parquet")["primary"] == "generic-related minus generic"
    assert _answer(tlmed, "all.parquet", "--primary", "generic", "scratch")["primary"] == "generic minus scratch"


def test_of_three_classes_the_stated_one_stands_against_the_rest(tlmed: Tlmed, tmp_path: Path) -> None:
    rows = three_classes(120).assign(group=np.arange(120))
    drawn = np.random.default_rng(0).dirichlet(np.ones(3), size=(2, 120))
    for name, seed in (("A", 0), ("B", 1)):
        rows.assign(**{f"p_{one}": drawn[seed][:, i] for i, one in enumerate("abc")}).to_csv(tmp_path / f"{name}.csv")
    files = [tmp_path / "A.csv", tmp_path / "B.csv"]
    answer = tlmed("compare", *files, "--positive", "a", "--json")
    assert answer.exit_code == 0, answer.err
    comparison = json.loads(answer.out)
    is_positive = rows["label"] == "a"
    assert comparison["positive"] == ["a"]
    assert comparison["contrasts"][0]["value"] == pytest.approx(
        roc_auc_score(is_positive, drawn[0][:, 0]) - roc_auc_score(is_positive, drawn[1][:, 0])
    )
    assert json.loads(tlmed("compare", *files, "--json").out)["positive"] is None


def test_a_probe_of_a_run_is_known_to_draw_nothing_and_of_a_table_it_is_not(
    tlmed: Tlmed, tables: dict[str, pd.DataFrame]
) -> None:
    one = tables["B"][tables["B"]["seed"] == 0]
    probe = pd.concat([one.assign(arm="probe", seed=seed) for seed in (0, 1, 2)])
    folder = _run_folder(tables["A"].assign(arm="generic"), probe)
    claimed_for = {
        source: _answer(tlmed, source, "--primary", "generic", "probe")["contrasts"][0]["speaks_for"]
        for source in (folder, folder / "predictions.parquet")
    }
    assert list(claimed_for.values()) == ["b", "a"]


def test_folds_are_seen(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    for name in ("A", "B"):
        in_folds(tables[name]).drop(columns="arm").to_csv(f"{name}.csv", index=False)
    comparison = _answer(tlmed, "A.csv", "B.csv")
    assert comparison["design"]["split"] == "k-fold"
    assert comparison["contrasts"][0]["speaks_for"] == "c"


def test_groups_and_labels_come_from_the_manifest(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    tables["A"].rename(columns={"group": "person"})[["unit", "label", "person"]].drop_duplicates().to_csv("cases.csv")
    for name in ("A", "B"):
        tables[name].drop(columns=["arm", "group", "label"]).to_csv(f"{name}.csv", index=False)
    comparison = _answer(tlmed, "A.csv", "B.csv", "--manifest", "cases.csv", "--group", "person")
    assert (comparison["verdict"]["word"], comparison["design"]["num_groups"]) == ("helped", 100)


def test_without_groups_there_are_figures_and_no_verdict(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    for name in ("A", "B"):
        tables[name].drop(columns=["arm", "group"]).to_csv(f"{name}.csv", index=False)
    answer = tlmed("compare", "A.csv", "B.csv", "--positive", "sick")
    assert answer.exit_code == 0
    assert answer.out.startswith("Verdict: no verdict\nNo verdict: nothing says which units are of one patient")
    assert re.search(r"A minus B +\+0\.\d{3} +- +no verdict", answer.out)


def test_a_run_brings_its_own_question(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    arms = [tables["A"].assign(arm="generic-related"), tables["B"].assign(arm="generic")]
    folder = _run_folder(*arms, tables["B"].assign(arm="scratch"))
    answer = tlmed("compare", folder, "--json")
    assert answer.exit_code == 0, answer.err
    comparison = json.loads(answer.out)
    assert (comparison["primary"], comparison["margin"]) == ("generic-related minus generic", 0.1)
    assert (comparison["unit"], comparison["design"]["num_units"]) == ("image", 200)
    assert comparison["attribution"]["word"] == "not known"
    assert "--control generic-longer --control generic-placebo" in comparison["attribution"]["sentence"]
    assert comparison["registered"] is None
    registered = {
        "digest": "abc",
        "time": "now",
        "changed_after_looking": None,
        "openings_before": 0,
        "others_on_this_test": 0,
        "own_earlier": 0,
    }
    stored = comparison | {"registered": registered, "cost": {"generic": {"steps": 3, "seconds": None}}}
    (folder / "comparison.json").write_text(json.dumps(stored), encoding="utf-8")
    assert json.loads(tlmed("compare", folder, "--json").out)["registered"] == registered
    changed = json.loads(tlmed("compare", folder, "--json", "--primary", "generic", "scratch").out)
    assert (changed["primary"], changed["registered"], changed["attribution"]) == ("generic minus scratch", None, None)
    assert "Nobody knows" not in tlmed("compare", folder).out


def test_the_unit_of_a_run_is_called_as_its_recipe_does(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    arms = [tables[name].assign(arm=arm, path=tables[name]["unit"] + ".png") for name, arm in (("A", "a"), ("B", "b"))]
    by_patient = [rows.assign(unit=rows["group"]) for rows in arms]
    folder = _run_folder(*by_patient)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.replace("positive: sick", "positive: sick, unit: patient"), encoding="utf-8")
    comparison = _answer(tlmed, folder, "--primary", "a", "b")
    assert (comparison["unit"], comparison["design"]["num_units"]) == ("patient", 100)


def test_two_runs_are_called_by_their_folders(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    one, other = (_run_folder(tables[name].assign(arm="generic"), name=f"runs/{name}") for name in "AB")
    assert _answer(tlmed, one, other)["primary"] == "A minus B"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["A.csv"], "A.csv: one arm alone, and a comparison needs two"),
        (["A.csv", "nothing.csv"], "nothing.csv: no such file"),
        (["A.csv", "A.csv"], "two arms are called 'A'"),
        (["A.csv", "B.csv", "--margin", "1.5"], "margin: 1.5 is not between 0 and 1"),
        (["A.csv", "B.csv", "--margin", "0"], "margin: 0 is not between 0 and 1"),
        (["A.csv", "B.csv", "--metric", "aurok"], "Did you mean 'auroc'?"),
        (["A.csv", "B.csv", "--primary", "A", "B3"], "names the arm 'B3', .* Did you mean 'B2?'"),
        (["A.csv", "B.csv", "--primary", "A", "A"], "'A' cannot be compared with itself"),
        (["A.csv", "B.csv", "--group", "person"], "A.csv: --group: no column 'person'"),
        (["A.csv", "B.csv", "--draws", "3"], "--draws: only of a learning curve; add --labels"),
        (["recipe.yaml"], "recipe.yaml: of a recipe `compare` makes the learning curve, by --labels"),
        (["A.csv", "B.csv", "--labels", "10,100%"], "a learning curve is of one recipe, not of 2 files"),
        (["empty"], "empty: no predictions.parquet lies there"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tlmed: Tlmed, tables: dict[str, pd.DataFrame], arguments: list[str], sentence: str
) -> None:
    Path("empty").mkdir()
    answer = tlmed("compare", *arguments, "--positive", "sick", "--out", "here")
    assert answer.exit_code == 1
    assert re.search(sentence, answer.err)
    assert "Traceback" not in answer.err
    assert not Path("here").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"unit": "x003"}, r"B.csv: arm 'B' lacks 1 unit that A.csv has \(u003\)"),
        ({"group": "p77"}, "B.csv: groups that are others in A.csv: 1 unit, first u003"),
        ({"label": "well"}, "B.csv: labels that are others in A.csv: 1 unit, first u003"),
        ({"p_sick": 2.0}, "hold no probabilities, first that of unit u003"),
    ],
)
def test_tables_of_other_cases_are_refused(
    tlmed: Tlmed, tables: dict[str, pd.DataFrame], change: dict[str, Any], sentence: str
) -> None:
    rows = tables["B"].drop(columns="arm")
    is_third = rows["unit"] == "u003"
    for name, value in change.items():
        rows[name] = np.where(is_third, value, rows[name])
    rows.to_csv("B.csv", index=False)
    answer = tlmed("compare", "A.csv", "B.csv", "--positive", "sick")
    assert answer.exit_code == 1
    assert re.search(sentence, answer.err)


def test_fewer_than_two_seeds_make_no_claim_about_seeds(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    tables["B"].query("seed == 0").drop(columns="arm").to_csv("B.csv", index=False)
    comparison = _answer(tlmed, "A.csv", "B.csv")
    assert comparison["contrasts"][0]["claims"]["b"] == {"not_claimed": "one seed"}
    assert comparison["verdict"]["word"] == "cannot be told here"


def test_the_class_that_counts_as_disease_must_be_stated(tlmed: Tlmed, tables: dict[str, pd.DataFrame]) -> None:
    answer = tlmed("compare", "A.csv", "B.csv")
    assert answer.exit_code == 1
    assert "positive is missing" in answer.err


def test_labels_lead_to_the_learning_curve(tlmed: Tlmed, monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, Any] = {}

    def show(recipe: Path, labels: str, **settings: Any) -> None:
        called.update(recipe=recipe, labels=labels, **settings)

    monkeypatch.setattr("tlmed.cli.label_curve.show_label_curve", show)
    answer = tlmed("compare", "recipe.yaml", "--labels", "10,100%", "--draws", "4", "--arm", "generic", "--json")
    assert answer.exit_code == 0, answer.err
    assert called == {
        "recipe": Path("recipe.yaml"),
        "labels": "10,100%",
        "out": None,
        "store": None,
        "settings": (),
        "arms": ["generic"],
        "seeds": (),
        "draws": 4,
        "as_json": True,
    }


def test_no_torch_is_imported(tables: dict[str, pd.DataFrame]) -> None:
    code = (
        "import sys; sys.argv = ['tlmed', 'compare', 'A.csv', 'B.csv', '--positive', 'sick', '--out', 'here']\n"
        "from tlmed.cli.app import app\napp(standalone_mode=False)\n"
        "print([name for name in ('torch', 'timm', 'lightning', 'matplotlib') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
    assert Path("here/comparison.json").is_file()
