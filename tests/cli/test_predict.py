from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import logit

from tests.cli.project import Project, Tlmed


@pytest.fixture
def bundle(tlmed: Tlmed, project: Project) -> Path:
    assert tlmed("run", project.recipe).exit_code == 0
    return project.folder / "runs/small/bundle"


def test_predicts_what_the_run_predicted(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    # Evaluation and the bundle share one way from file to probability; only precision may differ.
    answer = tlmed("predict", bundle, project.folder / "data", "--format", "csv")
    assert answer.exit_code == 0, answer.err
    table = pd.read_csv(io.StringIO(answer.out))
    assert list(table)[:3] == ["path", "unit", "predicted"]
    assert list(table)[-4:] == ["p_sick", "p_well", "raw_sick", "raw_well"]
    assert len(table) == 24
    run = pd.read_parquet("runs/small/predictions.parquet").query("arm == 'scratch'")
    joined = run.merge(table.assign(path=table["path"].map(lambda path: Path(path).name)), on="path")
    assert len(joined) == 12
    np.testing.assert_allclose(joined["p_sick_x"], joined["raw_sick"], atol=1e-6)
    assert (table["predicted"] == np.where(table["p_sick"] >= table["p_well"], "sick", "well")).all()


def test_decides_as_the_run_did(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    # Of the test images, as many are called positive and negative as the run counted.
    project.change_recipe("positive: sick", "positive: sick, operating_points: [{target: 0.4}]")
    assert tlmed("run", project.recipe, "--out", "runs/other").exit_code == 0
    answer = tlmed("predict", "runs/other/bundle", project.folder / "data", "--format", "csv")
    assert "Decision: positive from" in answer.err
    table = pd.read_csv(io.StringIO(answer.out)).iloc[16:]  # sick ones have odd numbers
    point = json.loads(Path("runs/other/metrics.json").read_text(encoding="utf-8"))["operating_points"]["scratch"][0]
    called = (table["decision"] == "positive").to_numpy()
    assert [int(called[1::2].sum())] == point["sensitivity"]["numerators"]
    assert [int((~called[::2]).sum())] == point["specificity"]["numerators"]
    assert point["sensitivity"]["denominator"] == point["specificity"]["denominator"] == 4


def test_prevalence_shifts_the_log_odds(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    answer = tlmed("predict", bundle, project.folder / "data", "--json")
    assert "calibrated to a share of disease of 50.0%; --prevalence tells another one" in answer.err
    here = pd.DataFrame(json.loads(answer.out))
    there = pd.DataFrame(
        json.loads(tlmed("predict", bundle, project.folder / "data", "--json", "--prevalence", "0.1").out)
    )
    # Calibrated to 2 of 4 val images: log-odds fall by log 9.
    np.testing.assert_allclose(logit(there["p_sick"]), logit(here["p_sick"]) - np.log(9), atol=1e-6)
    assert there["raw_sick"].tolist() == here["raw_sick"].tolist()
    wrong = tlmed("predict", bundle, project.folder / "data", "--prevalence", "10")
    assert wrong.exit_code == 1
    assert "prevalence: 10 is not between 0 and 1" in wrong.err


def test_formats_agree(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    image = project.folder / "data/00.png"
    as_json = json.loads(tlmed("predict", bundle, image, "--json").out)
    as_csv = pd.read_csv(io.StringIO(tlmed("predict", bundle, image, "--format", "csv").out))
    assert as_json[0]["p_sick"] == pytest.approx(as_csv["p_sick"][0])
    shown = tlmed("predict", bundle, image).out
    assert f"{as_json[0]['p_sick']:.3f}" in shown
    assert "raw_" not in shown
    assert tlmed("predict", bundle, image, "--format", "csv", "--out", "table.csv").out == ""
    assert pd.read_csv("table.csv").equals(as_csv)


def test_same_picture_in_other_forms_gets_the_same_answer(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    with Image.open(project.folder / "data/01.png") as image:
        image.convert("RGB").save(project.folder / "colour 100%.PNG")
        image.save(project.folder / "wrong name.jpg", format="BMP")
    names = ["data/01.png", "colour 100%.PNG", "wrong name.jpg"]
    rows = json.loads(tlmed("predict", bundle, *(project.folder / name for name in names), "--json").out)
    assert len({row["p_sick"] for row in rows}) == 1


def test_bundle_moves(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    before = json.loads(tlmed("predict", bundle, project.folder / "data/00.png", "--json").out)
    moved = shutil.move(bundle, project.folder / "elsewhere")
    shutil.rmtree(project.folder / "runs")
    assert json.loads(tlmed("predict", moved, project.folder / "data/00.png", "--json").out) == before


def test_damaged_bundle_is_refused(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    content = bytearray((bundle / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (bundle / "model.safetensors").write_bytes(content)
    answer = tlmed("predict", bundle, project.folder / "data/00.png")
    assert answer.exit_code == 1
    assert "damaged" in answer.err


def test_unreadable_image_is_named_and_the_rest_is_predicted(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    (project.folder / "data/broken.png").write_bytes(b"no image")
    answer = tlmed("predict", bundle, project.folder / "data", "--format", "csv", "--out", "table.csv")
    assert answer.exit_code == 1
    assert "1 of 25 images were not predicted" in answer.err
    assert "broken.png: not an image" in answer.err
    assert "Traceback" not in answer.err
    assert len(pd.read_csv("table.csv")) == 24


def test_damaged_description_of_a_bundle_is_refused(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    (bundle / "bundle.json").write_text("{", encoding="utf-8")
    answer = tlmed("predict", bundle, project.folder / "data/00.png")
    assert answer.exit_code == 1
    assert "bundle.json: damaged" in answer.err


def test_brackets_in_a_name_are_shown(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    shutil.copy(project.folder / "data/00.png", "a[left].png")
    assert "a[left].png" in tlmed("predict", bundle, "a[left].png").out


def test_path_that_is_not_there(tlmed: Tlmed, bundle: Path) -> None:
    answer = tlmed("predict", bundle, "absent.png")
    assert answer.exit_code == 1
    assert "absent.png: no such file or folder" in answer.err
