from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.project import Project, Tlmed
from tlmed.cli.evaluate import _name
from tlmed.data.image_headers import read_image_headers
from tlmed.data.images import read_image
from tlmed.errors import InputError
from tlmed.evaluation.assessment.drift import input_summary
from tlmed.recipe.model import ImageSettings


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Written as `other tool.csv`: 60 images of 30 patients, and their sex in `cases.csv`."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    ill = np.arange(60) // 2 % 2 == 0
    score = generator.beta(2 + ill, 3 - ill)
    table = pd.DataFrame({"unit": [f"u{i}" for i in range(60)], "label": np.where(ill, "ill", "well")})
    table = table.assign(p_ill=score, p_well=1 - score)
    table.to_csv("other tool.csv", index=False)
    table[["unit"]].assign(patient=np.arange(60) // 2, sex=np.where(np.arange(60) % 4 < 2, "f", "m")).to_csv(
        "cases.csv", index=False
    )
    return table


def test_a_table_of_any_tool_gives_figures_page_and_pictures(tlmed: Tlmed, table: pd.DataFrame) -> None:
    answer = tlmed("evaluate", "other tool.csv", "cases.csv", "--positive", "ill", "--threshold", "0.4")
    assert answer.exit_code == 0, answer.err
    folder = Path("runs/evaluate-other tool")
    assert sorted(file.name for file in folder.iterdir()) == ["evaluation.html", "evaluation.md", "metrics.json"]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["num_units"], metrics["num_groups"], metrics["groups_known"]) == (60, 30, True)
    lines = answer.out.splitlines()
    assert lines[0] == "Test: 60 units of 30 groups (30 ill, 30 well)"
    order = [
        next(i for i, line in enumerate(lines) if line.startswith(name)) for name in ("AUROC", "calib", "accuracy")
    ]
    assert order == sorted(order)
    assert "Research use only" in answer.out


def test_json_is_all_that_stands_on_stdout(tlmed: Tlmed, table: pd.DataFrame) -> None:
    answer = tlmed("evaluate", "other tool.csv", "--positive", "ill", "--json", "--out", "here")
    assert answer.exit_code == 0
    assert json.loads(answer.out) == json.loads(Path("here/metrics.json").read_text(encoding="utf-8"))
    assert "nobody's choice" in json.loads(answer.out)["threshold"]["origin"]


def test_a_recalibration_map_is_written(tlmed: Tlmed, table: pd.DataFrame) -> None:
    twice = pd.concat([table, table.assign(unit="v" + table["unit"])])
    twice.to_csv("twice.csv", index=False)
    answer = tlmed("evaluate", "twice.csv", "--positive", "ill", "--recalibrate", "--out", "here")
    assert answer.exit_code == 0, answer.err
    assert json.loads(Path("here/recalibration.json").read_text(encoding="utf-8"))["kind"] == "platt"
    assert "Local recalibration" in answer.out
    # Where the next evaluation has no map, none stays behind.
    assert tlmed("evaluate", "twice.csv", "--positive", "ill", "--out", "here").exit_code == 0
    assert not Path("here/recalibration.json").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--positive", "sick"], "no class 'sick'"),
        ([], "positive is missing"),
        (["--positive", "ill", "--aim", "sensitivity=0.9"], "measured on is refused"),
        (["--positive", "ill", "--aim", "sensitivity=1.2"], "the sensitivity must be between 0 and 1"),
        (["--positive", "ill", "--aim", "sensitivity=0.9", "--assure", "sensitivity=0.9"], "give one"),
        (["--positive", "ill", "--prevalence", "0"], "prevalence: 0 must lie between 0 and 1"),
        (["--positive", "ill", "--subgroup", "sex"], "no column 'sex'"),
        (["cases.csv", "--positive", "ill", "--subgroup", "age"], "the columns are unit, .*, patient, sex"),
        (["--positive", "ill", "--indeterminate", "sock"], "no row has the label 'sock'; the labels are ill, well"),
        (["--positive", "ill", "--group", "patient"], "--group: no column 'patient'"),
        (["cases.csv", "--positive", "ill", "--recalibrate"], "at least 20 groups .*; here are 15 and 15"),
    ],
)
def test_what_is_wrong_is_one_sentence(tlmed: Tlmed, table: pd.DataFrame, arguments: list[str], sentence: str) -> None:
    answer = tlmed("evaluate", "other tool.csv", *arguments)
    assert answer.exit_code == 1
    assert re.search(sentence, answer.err)
    assert "Traceback" not in answer.err
    assert not Path("runs").exists()


def _spoil(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    if kind == "sum":
        return table.assign(p_ill=table["p_ill"] + 0.1)
    if kind == "range":
        return table.assign(p_ill=table["p_ill"] - 2, p_well=table["p_well"] + 2)
    if kind == "twice":
        return pd.concat([table, table.iloc[:3]])
    if kind == "one class":
        return table[table["label"] == "ill"]
    return table.drop(columns=kind)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("sum", "must be from 0 to 1 and sum to 1"),
        ("range", "must be from 0 to 1 and sum to 1"),
        ("twice", "u0"),
        ("one class", "nothing to tell apart"),
        ("label", "no column 'label'; the columns are unit, p_ill, p_well."),
        ("unit", "no column 'unit' or 'path'; the columns are label, p_ill, p_well"),
        ("p_well", "p_ill is the only column p_CLASS"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tlmed: Tlmed, table: pd.DataFrame, kind: str, sentence: str) -> None:
    _spoil(table, kind).to_csv("wrong.csv", index=False)
    answer = tlmed("evaluate", "wrong.csv", "--positive", "ill")
    assert answer.exit_code == 1
    assert sentence in answer.err


def test_what_fails_leaves_the_folder_as_it_was(
    tlmed: Tlmed, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise InputError("no pictures today")

    arguments = ("evaluate", "other tool.csv", "--positive", "ill", "--out", "here", "--threshold")
    assert tlmed(*arguments, "0.4").exit_code == 0
    before = {file.name: file.read_bytes() for file in Path("here").iterdir()}
    monkeypatch.setattr("tlmed.report.pages.evaluation_figures.draw_assessment", fail)
    assert tlmed(*arguments, "0.5").exit_code == 1
    assert {file.name: file.read_bytes() for file in Path("here").iterdir()} == before
    assert tlmed(*arguments, "0.5", "--out", "there").exit_code == 1
    assert not Path("there").exists()


def test_subgroups_fit_a_terminal_of_80_columns(tlmed: Tlmed, table: pd.DataFrame) -> None:
    table.assign(sex=np.where(np.arange(60) // 4 % 2 == 0, "f", "m")).to_csv("sexes.csv", index=False)
    answer = tlmed("evaluate", "sexes.csv", "--positive", "ill", "--subgroup", "sex", "--out", "here")
    assert answer.exit_code == 0, answer.err
    metrics = json.loads(Path("here/metrics.json").read_text(encoding="utf-8"))
    for level in metrics["subgroups"]["columns"]["sex"]:
        for name in ("auroc", "sensitivity", "specificity"):
            change, cell = level[f"{name}_difference"], level[name]
            assert f"{cell['low']:.3f} to {cell['high']:.3f}" in answer.out
            assert f"{change['value']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})" in answer.out
    assert "…" not in answer.out


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("m.csv", "m"),
        ("man/m.csv", "man-m"),
        ("runs/man/predictions.csv", "man"),
        ("runs/man/bundle", "man"),
        ("ext", "ext"),
        ("ext/manifest.csv", "ext"),
        ("data/ext/manifest.csv", "data-ext"),
        ("data/v1.2", "data-v1.2"),
    ],
)
def test_the_default_folder_is_named_after_what_tells_sets_apart(
    path: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _name(Path(path)) == name


def _remember_training_images(project: Project, bundle: Path) -> None:
    card = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    manifest = pd.read_csv(project.manifest, dtype=str).query("split == 'train'")
    files = [project.folder / "data" / path for path in manifest["path"]]
    form = ImageSettings(**card["image"])
    pixels = np.stack([read_image(file, form) for file in files])
    card["input_summary"] = input_summary(pixels, read_image_headers(files), manifest["patient"].to_numpy())
    (bundle / "bundle.json").write_text(json.dumps(card), encoding="utf-8")


def test_a_bundle_is_measured_on_labelled_images_with_its_own_threshold(tlmed: Tlmed, project: Project) -> None:
    assert tlmed("run", project.recipe, "--arm", "scratch").exit_code == 0
    bundle = project.folder / "runs/small/bundle"
    assert tlmed("evaluate", bundle).exit_code == 1  # without images
    (project.folder / "data/23.png").write_bytes(b"no image")
    _remember_training_images(project, bundle)
    answer = tlmed("evaluate", bundle, project.manifest, "--json", "--out", "here")
    assert answer.exit_code == 0, answer.err
    metrics = json.loads(answer.out)
    assert metrics["num_units"] == 7
    (excluded,) = metrics["excluded"]
    assert (excluded["class"], excluded["num_units"], excluded["units"]) == ("sick", 1, ["23.png"])
    assert excluded["reason"].startswith("unreadable image: not an image")
    assert metrics["drift"]["num_training_images"] == 12
    assert metrics["drift"]["shares"]["format"]["local"] == {"PNG": 1.0}
    answer = tlmed("evaluate", bundle, project.manifest)
    assert "No file of these images trained the bundle" in answer.out
    assert Path("runs/evaluate-small-on-data/metrics.json").is_file()
    for wrong, sentence in (("sock", "no row has the label 'sock'"), ("sick", "no row has both")):
        answer = tlmed("evaluate", bundle, project.manifest, "--indeterminate", wrong, "--indeterminate", "well")
        assert sentence in answer.err
    answer = tlmed("evaluate", bundle, project.manifest, "--positive", "well")
    assert answer.exit_code == 1
    assert "calibration and thresholds are about sick" in answer.err
    project.change_manifest(lambda table: table.replace({"label": {"well": "healthy"}}))
    answer = tlmed("evaluate", bundle, project.manifest)
    assert answer.exit_code == 1
    assert "the bundle does not know the class 'healthy' (it knows sick, well)" in answer.err
    # Its own training images, under other names and without splits.
    Path("again").mkdir()
    for name in ("00.png", "12.png", "22.png"):
        shutil.copy(project.folder / "data" / name, f"again/copy-{name}")
    pd.DataFrame(
        {"path": [f"copy-{name}.png" for name in ("00", "12", "22")], "label": ["well", "well", "well"]}
    ).to_csv("again/manifest.csv", index=False)
    answer = tlmed("evaluate", bundle, "again")
    assert answer.exit_code == 1
    assert "2 of 3 images trained or validated this bundle (copy-00.png, copy-12.png)" in answer.err


def test_the_bundles_thresholds_stay_and_a_missing_record_is_said(tlmed: Tlmed, project: Project) -> None:
    assert tlmed("run", project.recipe, "--arm", "scratch").exit_code == 0
    bundle = project.folder / "runs/small/bundle"
    card = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    del card["input_summary"], card["trained_on"]
    point = {"kind": "aim", "of": "sensitivity", "target": 0.9, "threshold": 0.25, "refused": None, "level": 0.95}
    point |= {"lower_limit": 0.5, "sensitivity": 1.0, "specificity": 0.5, "num_positives": 2, "num_negatives": 2}
    card["operating_points"] = [point, point | {"of": "specificity", "threshold": 0.75}]
    (bundle / "bundle.json").write_text(json.dumps(card), encoding="utf-8")
    answer = tlmed("evaluate", bundle, project.manifest, "--out", "here")
    assert answer.exit_code == 0, answer.err
    assert "Not recorded" in answer.out
    assert "cannot be told" in answer.out
    assert "too few" in answer.out
    metrics = json.loads(Path("here/metrics.json").read_text(encoding="utf-8"))
    own = "The bundle's own, unchanged: to aim"
    assert metrics["threshold"] == {"threshold": 0.25, "origin": f"{own} sensitivity 0.9."}
    assert [point["threshold"] for point in metrics["operating_points"]] == [0.75]
    # The same threshold, stated by hand on the bundle's predictions, decides the same.
    predicted = tlmed("predict", bundle, project.folder / "data", "--format", "csv")
    rows = pd.read_csv(io.StringIO(predicted.out), dtype={"path": str})
    rows = rows.assign(path=rows["path"].map(lambda path: Path(path).name)).drop(columns="unit")
    rows.to_csv("predicted.csv", index=False)
    again = tlmed("evaluate", "predicted.csv", project.manifest, "--positive", "sick", "--threshold", "0.25", "--json")
    assert again.exit_code == 0, again.err
    assert json.loads(again.out)["arms"]["model"]["sensitivity"] == metrics["arms"]["model"]["sensitivity"]
