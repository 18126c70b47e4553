from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import yaml
from safetensors.torch import save, save_file

from tests.cli.project import Project, Tlmed
from tests.fake_hub import FIRST, SECOND, FakeHub

NAME = "timm/test_resnet.r160_in1k"


@pytest.fixture
def published(hub: FakeHub) -> FakeHub:
    """A hub with two revisions of a tiny network; the first is the newest."""
    files = [{"model.safetensors": save(timm.create_model("test_resnet").state_dict())} for _ in range(2)]
    repository = hub.add(NAME, files[0], card={"license": "cc-by-nc-4.0"})
    repository.commits[SECOND] = files[1]
    return hub


def test_a_run_downloads_pins_and_accepts_itself_again(
    tlmed: Tlmed, project: Project, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.change_recipe("training:", f"weights: hub:{NAME}\ntraining:")
    first = tlmed("run", project.recipe, "--arm", "generic", "--json")
    assert first.exit_code == 0, first.err
    assert "licence rules out commercial use" in first.err
    assert json.loads(first.out)["trained"]
    (card,) = json.loads(tlmed("weights", "list", "--json").out)
    pinned = f"hub:{NAME}@{FIRST}#sha256:{card['digest']}"
    written = yaml.safe_load(Path("runs/small/recipe.yaml").read_text(encoding="utf-8"))
    assert (written["weights"], written["arms"]["generic"]["weights"]) == (pinned, pinned)
    model_card = Path("runs/small/bundle/README.md").read_text(encoding="utf-8")
    assert f"starting weights hub:{NAME} at revision {FIRST}: cc-by-nc-4.0. **The licence rules out" in model_card
    lineage = json.loads(Path("runs/small/bundle/bundle.json").read_text(encoding="utf-8"))["lineage"]
    assert lineage[0]["weights"]["revision"] == FIRST
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for recipe in (project.recipe, "runs/small/recipe.yaml"):
        again = tlmed("run", recipe, "--arm", "generic", "--out", "runs/small", "--json")
        assert again.exit_code == 0, again.err
        assert json.loads(again.out)["trained"] == []
    assert heavy_modules_of_a_cached_run() == "set()"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    other = tlmed("run", project.recipe, "--set", f"weights=hub:{NAME}@{SECOND}")
    assert other.exit_code == 1
    assert "belongs to another recipe" in other.err and "weights" in other.err


def heavy_modules_of_a_cached_run() -> str:
    code = """
import sys, tlmed
assert tlmed.run("recipe.yaml", arms=["generic"]).trained == []
print({"torch", "timm", "lightning", "huggingface_hub"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_dry_run_downloads_nothing(tlmed: Tlmed, project: Project, published: FakeHub) -> None:
    project.change_recipe("training:", f"weights: hub:{NAME}\ntraining:")
    answer = tlmed("run", project.recipe, "--dry-run")
    assert answer.exit_code == 1
    assert f"tlmed weights pull hub:{NAME}" in answer.err
    assert published.asked == []
    assert tlmed("weights", "pull", NAME).exit_code == 0
    assert tlmed("run", project.recipe, "--dry-run").exit_code == 0


def test_a_pack_brings_weights_to_a_machine_without_network(
    tlmed: Tlmed, project: Project, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.change_recipe("training:", f"weights: hub:{NAME}\ntraining:")
    packed = tlmed("weights", "pack", "pack", "--recipe", project.recipe, "--store", "elsewhere")
    assert packed.exit_code == 0, packed.err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    without = tlmed("run", project.recipe, "--arm", "generic")
    assert without.exit_code == 1
    assert "tlmed weights import FOLDER" in without.err
    shutil.copytree("pack", "damaged")
    model = next(Path("damaged").glob("*/model.safetensors"))
    model.write_bytes(model.read_bytes()[:-1])
    refused = tlmed("weights", "import", "damaged")
    assert refused.exit_code == 1
    assert f"{model}: damaged" in refused.err
    imported = tlmed("weights", "import", "pack")
    assert imported.exit_code == 0, imported.err
    shown = json.loads(tlmed("weights", "show", f"hub:{NAME}").out)
    assert (shown["revision"], shown["gated"], shown["licence"]) == (FIRST, False, "cc-by-nc-4.0")
    assert shown["pinned"] == f"hub:{NAME}@{FIRST}#sha256:{shown['digest']}"
    answer = tlmed("run", project.recipe, "--arm", "generic", "--json")
    assert answer.exit_code == 0, answer.err


def test_pulled_weights_are_listed(tlmed: Tlmed, project: Project, published: FakeHub) -> None:
    pulled = tlmed("weights", "pull", f"hub:{NAME}", f"{NAME}@{SECOND}", "--json")
    assert pulled.exit_code == 0, pulled.err
    assert [card["revision"] for card in json.loads(pulled.out)] == [FIRST, SECOND]
    listed = tlmed("weights", "list").out
    assert "gated" in listed and FIRST[:12] in listed


def test_options_that_do_not_go_with_a_folder_or_file(tlmed: Tlmed, project: Project) -> None:
    of_folder = tlmed("weights", "import", project.folder, "--licence", "MIT")
    assert of_folder.exit_code == 1 and "leave the options out" in of_folder.err
    of_file = tlmed("weights", "import", project.manifest)
    assert of_file.exit_code == 1 and "--as hub:ID" in of_file.err
    nothing = tlmed("weights", "pack", "pack", "--recipe", project.recipe)
    assert nothing.exit_code == 1 and "nothing to pack" in nothing.err
    other_kind = tlmed("weights", "pull", "file:a.pth")
    assert other_kind.exit_code == 1 and "write hub:ID" in other_kind.err


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


def test_backbones_are_listed_with_size_speed_and_licence(tlmed: Tlmed, tmp_path: Path) -> None:
    answer = tlmed("weights", "list", "--backbones", "--store", tmp_path, "--json")
    assert answer.exit_code == 0, answer.err
    listed = {backbone["name"]: backbone for backbone in json.loads(answer.out)}
    known = listed["vit_small_patch16_224"]
    assert known["parameters_million"] == pytest.approx(21.67, abs=0.01)
    assert known["weights"].startswith("hub:timm/vit_small_patch16_224.")
    assert known["licence"] == "apache-2.0"
    assert known["training_speed"]["images_per_second"] > 0
    assert known["training_speed"]["basis"].startswith("rough")
    table = tlmed("weights", "list", "--backbones", "--store", tmp_path)
    assert "vit_small_patch16_224" in table.out and "21.7 M" in table.out and "apache-2.0" in table.out
