"""Every kind of bad input gets one clear sentence, exit code 1, no traceback, and no half-made result."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.cli.project import Answer, Project, Tlmed
from tlmed.recipe.load import load_recipe
from tlmed.runtime.hardware import resolve_hardware
from tlmed.runtime.run_folder import open_run_folder


def assert_refused(answer: Answer, *words: str) -> None:
    assert answer.exit_code == 1, answer.err
    assert "Traceback" not in answer.err
    last = answer.err.strip().splitlines()[-1]
    assert last.startswith("tlmed: ")
    for word in words:
        assert word in last


def assert_nothing_unfinished(project: Project) -> None:
    assert not list(project.folder.rglob(".writing-*"))


def test_recipe_that_is_not_there(tlmed: Tlmed) -> None:
    assert_refused(tlmed("run", "no.yaml"), "no.yaml", "no such file", "tlmed init")


def test_data_that_is_not_there(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("data/manifest.csv", "data/absent.csv")
    assert_refused(tlmed("run", project.recipe), "absent.csv", "no such file or folder")


def test_image_that_is_not_there(tlmed: Tlmed, project: Project) -> None:
    (project.folder / "data/03.png").unlink()
    assert_refused(tlmed("run", project.recipe), "03.png", "not there")


@pytest.mark.parametrize("command", [["init"], ["predict", "bundle"]])
def test_path_that_is_not_there(tlmed: Tlmed, project: Project, command: list[str]) -> None:
    project.recipe.unlink()
    assert_refused(tlmed(*command, project.folder / "absent"), "absent" if command == ["init"] else "not a bundle")


def test_empty_folder(tlmed: Tlmed, project: Project) -> None:
    (project.folder / "empty").mkdir()
    project.change_recipe("manifest: data/manifest.csv", "folder: empty")
    assert_refused(tlmed("run", project.recipe), "empty", "no images")


def test_class_without_training_images(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table.assign(label=table["label"].mask(table["path"] == "20.png", "odd")))
    assert_refused(tlmed("run", project.recipe), "'odd'", "no training images")


def test_one_class_alone_in_test(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table[(table["split"] != "test") | (table["label"] == "sick")])
    assert_refused(tlmed("run", project.recipe), "test", "'sick' alone")


def test_group_on_both_sides_is_named_and_may_be_mended(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table.assign(patient=table["patient"].replace("p21", "p01")))
    assert_refused(tlmed("run", project.recipe, "--out", "out"), "group_overlap", "p01", "on_leak: drop_train")
    finding = json.loads(Path("out/audit.json").read_text(encoding="utf-8"))["findings"][0]
    assert (finding["kind"], finding["severity"], finding["value"]) == ("group_overlap", "error", 1)
    assert finding["paths"] == ["01.png", "21.png"]
    project.change_recipe("manifest.csv}", "manifest.csv, on_leak: drop_train}")
    assert tlmed("run", project.recipe, "--out", "mended").exit_code == 0
    dropped = json.loads(Path("mended/audit.json").read_text(encoding="utf-8"))["dropped"]
    assert [(row["path"], row["split"]) for row in dropped] == [("01.png", "train")]
    assert "01.png" not in set(pd.read_csv("mended/splits.csv")["path"])


def test_waived_leakage_goes_on_and_stands_in_the_audit(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table.assign(patient=table["patient"].replace("p21", "p01")))
    project.change_recipe("evaluation:", "waive: [group_overlap]\nevaluation:")
    assert tlmed("run", project.recipe, "--out", "out").exit_code == 0
    assert json.loads(Path("out/audit.json").read_text(encoding="utf-8"))["waived"] == ["group_overlap"]
    assert "group_overlap" in Path("out/bundle/README.md").read_text(encoding="utf-8")


def test_no_group_column_unless_waived(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table.drop(columns="patient"))
    assert_refused(tlmed("run", project.recipe), "which images belong to one patient", "waive: [groups_unknown]")
    project.change_recipe("evaluation:", "waive: [groups_unknown]\nevaluation:")
    assert tlmed("run", project.recipe).exit_code == 0
    metrics = json.loads(Path("runs/small/metrics.json").read_text(encoding="utf-8"))
    assert not metrics["groups_known"]


def test_unit_with_two_labels(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table.assign(study=table["patient"].replace("p01", "p00")))
    project.change_recipe("positive: sick", "positive: sick, unit: study")
    assert_refused(tlmed("run", project.recipe), "p00", "two labels")


def test_duplicate_rows(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: pd.concat([table, table.iloc[[2]]]))
    assert_refused(tlmed("run", project.recipe), "'02.png'", "more than once", "lines 4, 26")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_unreadable_image_is_named_or_skipped_and_counted(tlmed: Tlmed, project: Project, content: bytes) -> None:
    (project.folder / "data/05.png").write_bytes(content)
    assert_refused(tlmed("run", project.recipe), "05.png", "on_bad_image: skip")
    project.change_recipe("manifest.csv}", "manifest.csv, on_bad_image: skip}")
    answer = tlmed("run", project.recipe, "--out", "skipped")
    assert answer.exit_code == 0
    assert "left out 1 unreadable images (sick: 1)" in answer.err
    unreadable = json.loads(Path("skipped/audit.json").read_text(encoding="utf-8"))["unreadable"]
    assert [(row["path"], row["label"]) for row in unreadable] == [("05.png", "sick")]


def test_truncated_image_is_named(tlmed: Tlmed, project: Project) -> None:
    file = project.folder / "data/07.png"
    file.write_bytes(file.read_bytes()[:300])
    assert_refused(tlmed("run", project.recipe), "07.png", "damaged")


def test_image_beyond_the_limits(tlmed: Tlmed, project: Project) -> None:
    Image.fromarray(np.zeros((9000, 9000), dtype=np.uint8)).save(project.folder / "data/07.png", compress_level=1)
    assert_refused(tlmed("run", project.recipe), "07.png", "9000 x 9000", "limit")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("training:", "trainig:", ["trainig", "'training'"]),
        ("epochs: 1", "epoch: 1", ["epoch", "'epochs'"]),
        ("backbone:", "bakbone:", ["bakbone", "'backbone'"]),
        ("test_resnet", "resnet81", ["resnet81", "resnet18"]),
        ("training:", "preset: tl-mad\ntraining:", ["tl-mad", "'tl-med'"]),
        ("training:", "deliver: scrach\ntraining:", ["scrach", "'scratch'"]),
        ("training:", "waive: [groups_unknwon]\ntraining:", ["groups_unknwon", "'groups_unknown'"]),
        ("positive: sick", "positive: sik", ["sik", "'sick'"]),
    ],
)
def test_unknown_name_gets_the_nearest_valid_one(
    tlmed: Tlmed, project: Project, old: str, new: str, words: list[str]
) -> None:
    project.change_recipe(old, new)
    assert_refused(tlmed("run", project.recipe), *words)


def test_unknown_arm(tlmed: Tlmed, project: Project) -> None:
    assert_refused(tlmed("run", project.recipe, "--arm", "scrach"), "scrach", "'scratch'")


def test_weights_that_do_not_fit(tlmed: Tlmed, project: Project) -> None:
    state = timm.create_model("test_resnet").state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(3, 3, 1, 1)
    save_file(state, project.folder / "weights.safetensors")
    project.change_recipe("training:", "weights: file:weights.safetensors\ntraining:")
    assert_refused(tlmed("run", project.recipe), "layer1.0.conv1.weight", "3x3x1x1")
    assert_nothing_unfinished(project)


def test_hub_weights_that_were_not_imported(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("training:", "weights: hub:timm/resnet18.a1_in1k\ntraining:")
    assert_refused(tlmed("run", project.recipe), "hub:timm/resnet18.a1_in1k", "tlmed weights import")


def test_non_finite_loss_names_the_images(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("epochs: 1,", "epochs: 9, learning_rate: 1.0e+30, warmup_fraction: 0,")
    assert_refused(tlmed("run", project.recipe), "loss became", ".png", "learning_rate")
    assert_nothing_unfinished(project)


def test_two_runs_on_one_folder(tlmed: Tlmed, project: Project) -> None:
    recipe = resolve_hardware(load_recipe(project.recipe))
    with open_run_folder(project.folder / "out", recipe):
        assert_refused(tlmed("run", project.recipe, "--out", "out"), "out", "another run is working")


def test_folder_of_another_recipe(tlmed: Tlmed, project: Project) -> None:
    assert tlmed("run", project.recipe, "--out", "out").exit_code == 0
    project.change_recipe("epochs: 1", "epochs: 2")
    assert_refused(tlmed("run", project.recipe, "--out", "out"), "another recipe", "epochs")


def test_full_disk_leaves_the_last_saved_state(tlmed: Tlmed, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.change_recipe("evaluation:", "runtime: {checkpoint_seconds: 1.0e-9}\nevaluation:")
    assert tlmed("run", project.recipe, "--out", "undisturbed/run").exit_code == 0
    flush = os.fsync

    def flush_until_full(descriptor: int) -> None:
        if list(Path("disturbed/stages").glob("*.work/training.safetensors")):
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flush_until_full)
        full = tlmed("run", project.recipe, "--out", "disturbed/run")
    assert full.exit_code == 74, full.err
    assert "No space left" in full.err
    assert list(Path("disturbed/stages").glob("*.work/training.safetensors"))
    assert_nothing_unfinished(project)
    assert tlmed("run", project.recipe, "--out", "disturbed/run").exit_code == 0
    weights = [
        next(Path(store).glob("stages/*/model.safetensors")).read_bytes() for store in ("undisturbed", "disturbed")
    ]
    assert weights[0] == weights[1]
