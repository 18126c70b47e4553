from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

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
    assert list(table) == ["path", "unit", "predicted", "p_sick", "p_well"]
    assert len(table) == 24
    run = pd.read_parquet("runs/small/predictions.parquet").query("arm == 'scratch'")
    joined = run.merge(table.assign(path=table["path"].map(lambda path: Path(path).name)), on="path")
    assert len(joined) == 12
    np.testing.assert_allclose(joined["p_sick_x"], joined["p_sick_y"], atol=1e-6)
    assert (table["predicted"] == np.where(table["p_sick"] >= table["p_well"], "sick", "well")).all()


def test_formats_agree(tlmed: Tlmed, project: Project, bundle: Path) -> None:
    image = project.folder / "data/00.png"
    as_json = json.loads(tlmed("predict", bundle, image, "--json").out)
    as_csv = pd.read_csv(io.StringIO(tlmed("predict", bundle, image, "--format", "csv").out))
    assert as_json[0]["p_sick"] == pytest.approx(as_csv["p_sick"][0])
    assert f"{as_json[0]['p_sick']:.3f}" in tlmed("predict", bundle, image).out
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
