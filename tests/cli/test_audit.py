"""What `tlmed audit` says, leaves behind, and means by its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.cli.project import Answer, Project, Tlmed


@pytest.fixture
def leaking(project: Project) -> Project:
    """One of the test images is a brighter copy of one in train, and p02 is in train and in test."""
    Image.open(project.folder / "data/01.png").point(lambda level: min(255, int(level * 1.05))).save(
        project.folder / "data/21.png"
    )
    project.change_manifest(lambda table: table.assign(patient=table["patient"].replace("p22", "p02")))
    return project


def _lines(answer: Answer) -> list[str]:
    return [line for line in answer.out.splitlines() if line.startswith(("error", "warning", "note"))]


def test_errors_come_first_and_end_in_exit_code_1_with_the_files_written(tlmed: Tlmed, leaking: Project) -> None:
    answer = tlmed("audit", leaking.manifest)
    assert answer.exit_code == 1
    assert answer.err.splitlines()[0] == f"reading {leaking.manifest}"
    assert len(answer.err.splitlines()[-1].split("tlmed: ")) == 2
    lines = _lines(answer)
    assert [line.split()[:2] for line in lines[:2]] == [["error", "group_overlap:"], ["error", "near_duplicate:"]]
    severities = [line.split()[0] for line in lines]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert "To do about near_duplicate: mend the data, write `on_leak: drop_train`" in answer.out
    folder = Path("runs/audit-data")
    content = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    near = next(one for one in content["findings"] if one["kind"] == "near_duplicate")
    assert set(near) == {"kind", "severity", "message", "paths", "value", "low", "high", "details"}
    assert near["paths"] == ["01.png", "21.png"]
    assert (folder / "audit.html").is_file()
    assert sorted(path.name for path in Path("data").iterdir()) == sorted(
        [*(f"{number:02d}.png" for number in range(24)), "manifest.csv"]
    )


def test_the_answer_for_machines_is_audit_json(tlmed: Tlmed, leaking: Project) -> None:
    waived = [part for kind in ("group_overlap", "near_duplicate") for part in ("--waive", kind)]
    answer = tlmed("audit", leaking.folder / "data", "--out", "mine", "--json", *waived)
    assert answer.exit_code == 0, answer.err
    told = json.loads(answer.out)
    assert told.pop("folder") == "mine"
    assert told == json.loads(Path("mine/audit.json").read_text(encoding="utf-8"))
    assert told["waived"] == ["group_overlap", "near_duplicate"]
    assert "error, waived" in Path("mine/audit.html").read_text(encoding="utf-8")
    assert Path("audits").is_dir()  # the store: beside the folder


def test_a_recipe_is_audited_with_what_it_mends_and_waives(tlmed: Tlmed, leaking: Project) -> None:
    assert tlmed("audit", leaking.recipe).exit_code == 1
    assert Path("runs/audit-small/audit.json").is_file()
    leaking.change_recipe("manifest.csv}", "manifest.csv, on_leak: drop_train}")
    answer = tlmed("audit", leaking.recipe)
    assert answer.exit_code == 0, answer.err
    assert "taken out of training" in answer.out
    dropped = json.loads(Path("runs/audit-small/audit.json").read_text(encoding="utf-8"))["dropped"]
    assert {row["path"] for row in dropped} == {"01.png", "02.png"}


def test_unknown_groups_are_a_note_of_the_audit_even_where_a_run_would_stop(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table.drop(columns="patient"))
    for data in (project.manifest, project.recipe):
        answer = tlmed("audit", data)
        assert answer.exit_code == 0, answer.err
        assert any(line.startswith("note     groups_unknown") for line in _lines(answer))


def test_tables_of_one_name_in_two_folders_do_not_overwrite_each_other(tlmed: Tlmed, project: Project) -> None:
    table = pd.read_csv(project.manifest)
    for folder in ("one", "two"):
        Path(folder).mkdir()
        table.assign(path="../data/" + table["path"]).to_csv(Path(folder) / "m.csv", index=False)
        assert tlmed("audit", Path(folder) / "m.csv").exit_code == 0
    assert tlmed("audit", project.folder / "data").exit_code == 0
    assert sorted(path.name for path in Path("runs").glob("audit-*")) == ["audit-data", "audit-one-m", "audit-two-m"]


def test_without_labels_or_with_one_class_it_is_said_that_shortcuts_were_not_looked_for(
    tlmed: Tlmed, project: Project
) -> None:
    project.change_manifest(lambda table: table.assign(label="sick"))
    assert "there is one class alone (sick)" in tlmed("audit", project.manifest).out
    project.change_manifest(lambda table: table.drop(columns="label"))
    answer = tlmed("audit", project.manifest)
    assert "shortcuts cannot be looked for: there are no labels" in answer.out
    assert "Nothing was found" not in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.csv",), "no such file or folder"),
        (("nowhere.yaml",), "no such file"),
        (("recipe.yaml", "--group", "patient"), "for tables and folders"),
        (("data", "--group", "patiant"), "Did you mean 'patient'?"),
        (("data", "--waive", "near_duplicates"), "Did you mean 'near_duplicate'?"),
        (("data", "--out", "runs/images"), "choose another --out"),
    ],
)
def test_wrong_calls_are_one_sentence(tlmed: Tlmed, project: Project, arguments: tuple[str, ...], said: str) -> None:
    answer = tlmed("audit", *arguments)
    assert answer.exit_code == 1
    assert said in answer.err.splitlines()[-1]
    assert "Traceback" not in answer.err


def test_an_unreadable_image_is_a_warning(tlmed: Tlmed, project: Project) -> None:
    (project.folder / "data/05.png").write_bytes(b"no image")
    answer = tlmed("audit", project.manifest, "--unit", "patient")
    assert answer.exit_code == 0
    assert any(line.startswith("warning  unreadable: data: 1 unreadable image (05.png)") for line in _lines(answer))
    assert pd.read_json(Path("runs/audit-data/audit.json"), typ="series")["unreadable"][0]["path"] == "05.png"


def test_where_no_image_can_be_read_there_is_nothing_to_search(tlmed: Tlmed, project: Project) -> None:
    for number in range(24):
        (project.folder / f"data/{number:02d}.png").write_bytes(b"no image %d" % number)
    answer = tlmed("audit", project.manifest)
    assert answer.exit_code == 0, answer.err
    assert "24 unreadable images" in answer.out


def test_patients_in_file_names_are_hinted_at_and_taken(tlmed: Tlmed, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label in ("ill", "well"):
        (tmp_path / "own" / label).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 255, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"own/{label}/{label}_pat{number // 2:03d}_{number % 2}.png")
    place = ("--out", tmp_path / "out")
    answer = tlmed("audit", tmp_path / "own", *place)
    assert "--group-pattern '((?:patient|pat|" in answer.err
    taken = tlmed("audit", tmp_path / "own", *place, "--group-pattern", r"(pat\d+)", "--json")
    kinds = {finding["kind"] for finding in json.loads(taken.out)["findings"]}
    assert "groups_unknown" not in kinds
    assert "--group-pattern '" not in taken.err
    refused = tlmed("audit", tmp_path / "recipe.yaml", "--group-pattern", "(x)")
    assert refused.exit_code == 1
    assert "are for tables and folders" in refused.err
