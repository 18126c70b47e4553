from __future__ import annotations

import json
from pathlib import Path

import timm
from safetensors.torch import save_file

from tests.cli.project import Project, Tlmed


def test_imported_weights_serve_under_their_hub_name(tlmed: Tlmed, project: Project) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), project.folder / "file.safetensors")
    arguments = ["--as", "hub:timm/test_resnet.here", "--licence", "Apache-2.0", "--mean", "0.4", "--std", "0.2"]
    imported = tlmed("weights", "import", project.folder / "file.safetensors", *arguments)
    assert imported.exit_code == 0, imported.err
    (card,) = json.loads(tlmed("weights", "list", "--json").out)
    assert (card["spec"], card["licence"], card["mean"]) == ("hub:timm/test_resnet.here", "Apache-2.0", [0.4])
    assert json.loads(tlmed("weights", "show", "hub:timm/test_resnet.here").out)["digest"] == card["digest"]
    project.change_recipe("training:", "weights: hub:timm/test_resnet.here\ntraining:")
    answer = tlmed("run", project.recipe)
    assert answer.exit_code == 0, answer.err
    bundle = json.loads(Path("runs/small/bundle/bundle.json").read_text(encoding="utf-8"))
    assert bundle["arm"] == "generic"
    assert bundle["mean"] == [0.4]
    assert bundle["licences"][0]["licence"] == "Apache-2.0"


def test_empty_store_says_how_to_import(tlmed: Tlmed, project: Project) -> None:
    assert "tlmed weights import FILE --as hub:ID" in tlmed("weights", "list").out


def test_numbers_that_are_none(tlmed: Tlmed, project: Project) -> None:
    answer = tlmed("weights", "import", project.manifest, "--as", "hub:a/b", "--mean", "a,b")
    assert answer.exit_code == 1
    assert "numbers with commas" in answer.err


def test_random_weights_cannot_be_shown(tlmed: Tlmed, project: Project) -> None:
    answer = tlmed("weights", "show", "none")
    assert answer.exit_code == 1
    assert "random" in answer.err
