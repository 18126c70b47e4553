from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from tests.cli.project import Project, Tlmed

TINY = ("--set", "backbone=test_resnet", "--set", "image.size=32", "--set", "chain.target.training={epochs: 1}")


def class_folders(root: Path, name_of: str) -> Path:
    """Two classes of six patients with two images each, named by a pattern."""
    generator = np.random.default_rng(0)
    for label, brightness in (("tumour", 140), ("no-tumour", 60)):
        (root / label).mkdir(parents=True)
        for number in range(12):
            name = name_of.format(label=label[:2], patient=number // 2, image=number % 2)
            pixels = generator.integers(0, brightness, (48, 48), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / name)
    return root


def test_own_images_become_a_result_in_three_commands(tlmed: Tlmed, project: Project) -> None:
    data = class_folders(project.folder / "own images", "{label}_patient{patient:02d}_{image}.png")
    written = tlmed("init", data, "--out", "own.yaml")
    assert written.exit_code == 0, written.err
    assert "tlmed run own.yaml" in written.out
    assert tlmed("run", "own.yaml", *TINY).exit_code == 0
    answer = tlmed("predict", "runs/own-images/bundle", data, "--json")
    assert {row["predicted"] for row in json.loads(answer.out)} <= {"tumour", "no-tumour"}


def test_patients_are_told_from_the_file_names(tlmed: Tlmed, project: Project) -> None:
    data = class_folders(project.folder / "own", "{label}_patient{patient:02d}_{image}.png")
    written = tlmed("init", data, "--out", "own.yaml")
    content = yaml.safe_load(Path("own.yaml").read_text(encoding="utf-8"))
    assert "group_pattern" in content["chain"][0]["data"]
    assert "waive" not in content
    assert "leakage cannot be excluded" not in written.out
    assert content["evaluation"]["positive"] == "tumour"
    plan = json.loads(tlmed("run", "own.yaml", "--dry-run", "--json").out)
    # patient00 to patient05 in both classes: the same person by the file names
    assert sum(row["groups"] for row in plan["counts"] if row["class"] == "tumour") == 6


def test_where_nothing_tells_patients_apart_the_draft_accepts_that_aloud(tlmed: Tlmed, project: Project) -> None:
    data = class_folders(project.folder / "own", "{label}{patient}-{image}x.png")
    written = tlmed("init", data, "--out", "own.yaml")
    assert yaml.safe_load(Path("own.yaml").read_text(encoding="utf-8"))["waive"] == ["groups_unknown"]
    assert "leakage cannot be excluded" in written.out


def test_a_pattern_that_not_all_names_fit_is_proposed_and_not_taken(tlmed: Tlmed, project: Project) -> None:
    data = class_folders(project.folder / "own", "{label}_patient{patient:02d}_{image}.png")
    (data / "tumour/tu_patient00_0.png").rename(data / "tumour/odd.png")
    tlmed("init", data, "--out", "own.yaml")
    text = Path("own.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert "# group_pattern:" in text
    assert "group_pattern" not in content["chain"][0]["data"]
    assert content["waive"] == ["groups_unknown"]


def test_draft_uses_what_the_table_says(tlmed: Tlmed, project: Project) -> None:
    tlmed("init", project.manifest, "--out", "drafted.yaml")
    content = yaml.safe_load(Path("drafted.yaml").read_text(encoding="utf-8"))
    assert content["evaluation"]["group"] == "patient"
    assert content["evaluation"]["protocol"] == {"split": "manifest"}
    assert content["image"]["mode"] == "grey"
    assert "waive" not in content


def test_related_and_generic_enter_the_chain(tlmed: Tlmed, project: Project) -> None:
    related = class_folders(project.folder / "related", "{label}{patient}-{image}.png")
    tlmed("run", project.recipe)
    weights = next(Path("runs/stages").glob("*/model.safetensors"))
    tlmed("init", project.manifest, "--related", related, "--generic", weights, "--out", "full.yaml")
    content = yaml.safe_load(Path("full.yaml").read_text(encoding="utf-8"))
    assert [stage["name"] for stage in content["chain"]] == ["related", "target"]
    assert content["weights"] == f"file:{weights.resolve()}"
    plan = json.loads(tlmed("run", "full.yaml", "--dry-run", "--json", "--set", "backbone=test_resnet").out)
    assert len(plan["tasks"]) == 7


def test_existing_recipe_is_kept(tlmed: Tlmed, project: Project) -> None:
    before = project.recipe.read_text(encoding="utf-8")
    answer = tlmed("init", project.manifest, "--out", project.recipe)
    assert answer.exit_code == 1
    assert "--force" in answer.err
    assert project.recipe.read_text(encoding="utf-8") == before
    assert tlmed("init", project.manifest, "--out", project.recipe, "--force").exit_code == 0
    assert project.recipe.read_text(encoding="utf-8") != before


def test_one_class_alone_is_refused(tlmed: Tlmed, project: Project) -> None:
    project.change_manifest(lambda table: table[table["label"] == "sick"])
    answer = tlmed("init", project.manifest, "--out", "new.yaml")
    assert answer.exit_code == 1
    assert "found 1 classes" in answer.err
    assert not Path("new.yaml").exists()
