"""The recipes that come with the project can be read, and say how they are run."""

from __future__ import annotations

from pathlib import Path

import pytest

import tlmed.recipe
from tlmed.recipe.load import load_recipe
from tlmed.recipe.recipe import resolve_arms

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.yaml"))
DEMO = Path(tlmed.recipe.__file__).parent / "builtin/demo.yaml"
ALL_ARMS = ["probe", "scratch", "generic", "related", "generic-related"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipe_can_be_read_and_names_its_command(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TLMED_DATA", str(tmp_path))
    assert load_recipe(file).name == file.stem
    assert f"tlmed run recipes/{file.relative_to(FOLDER).as_posix()}" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["covid-ct", "covid-ct-local"])
def test_real_chains_compare_all_arms(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TLMED_DATA", str(tmp_path))
    recipe = load_recipe(next(file for file in RECIPES if file.stem == name))
    assert list(resolve_arms(recipe))[: len(ALL_ARMS)] == ALL_ARMS
    assert recipe.delivered_arm == "generic-related"
    assert recipe.stage("related").data.duplicates == "drop"


def test_demo_compares_all_arms_and_says_what_it_shows() -> None:
    recipe = load_recipe(DEMO)
    assert list(resolve_arms(recipe))[: len(ALL_ARMS)] == ALL_ARMS
    assert recipe.note == (
        "Synthetic images, constructed so that the middle domain helps: this shows the tool, not the method."
    )
    assert all(stage.data.phantom is not None for stage in recipe.chain)
