from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlmed.errors import InputError
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.recipe import Recipe, resolved
from tlmed.runtime.run_folder import METRICS_FILE, open_run_folder


def recipe(**changes: object) -> Recipe:
    content = {
        "name": "example",
        "backbone": "resnet18",
        "chain": [{"name": "target", "data": {"phantom": {"kind": "chest-target"}}}],
    }
    return resolved(parse_recipe({**content, **changes}, "test"), device="cpu", precision="float32", workers=0)


def test_a_run_without_results_does_not_bind_the_folder(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, recipe()):
        pass
    with open_run_folder(tmp_path, recipe(training={"epochs": 2})):
        assert "epochs: 2" in (tmp_path / "recipe.yaml").read_text(encoding="utf-8")


def test_another_recipe_is_refused_and_the_key_is_named(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, recipe()):
        (tmp_path / METRICS_FILE).write_text("{}", encoding="utf-8")
    with (
        pytest.raises(InputError, match=r"chain\.target\.training\.epochs"),
        open_run_folder(tmp_path, recipe(training={"epochs": 2})),
    ):
        pass


def test_more_seeds_and_other_workers_are_the_same_recipe(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, recipe()):
        (tmp_path / METRICS_FILE).write_text("{}", encoding="utf-8")
    changed = recipe(evaluation={"seeds": [0, 1]}, runtime={"workers": 2})
    with open_run_folder(tmp_path, changed) as folder:
        folder.log("seen", value=1)
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events] == ["opened", "opened", "seen"]
    assert events[-1]["value"] == 1


def test_words_about_the_study_and_its_data_may_be_added_after_the_results(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, recipe()):
        (tmp_path / METRICS_FILE).write_text("{}", encoding="utf-8")
    data = {"phantom": {"kind": "chest-target"}, "licence": "CC0", "reference": "somewhere"}
    with open_run_folder(tmp_path, recipe(chain=[{"name": "target", "data": data}], study={"years": "2020"})):
        assert "licence: CC0" in (tmp_path / "recipe.yaml").read_text(encoding="utf-8")


def test_another_primary_contrast_is_another_recipe(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, recipe()):
        (tmp_path / METRICS_FILE).write_text("{}", encoding="utf-8")
    changed = recipe(evaluation={"comparison": {"primary": ["scratch", "probe"]}})
    with pytest.raises(InputError, match=r"evaluation\.comparison\.primary"), open_run_folder(tmp_path, changed):
        pass


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        open_run_folder(tmp_path, recipe()),
        pytest.raises(InputError, match="another run"),
        open_run_folder(tmp_path, recipe()),
    ):
        pass
