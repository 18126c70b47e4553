from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.project import Project, Tlmed


def test_what_a_run_needs_is_kept_and_the_rest_goes(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--out", "runs/kept")
    project.change_recipe("epochs: 1", "epochs: 2")
    tlmed("run", project.recipe, "--out", "runs/removed")
    shutil.rmtree("runs/removed")
    (Path("runs/stages") / "0123.work").mkdir()

    listed = json.loads(tlmed("clean", "runs", "--json").out)
    unused = {(entry["kind"], entry["key"]) for entry in listed["entries"] if not entry["runs"]}
    assert {kind for kind, _ in unused} == {"stages", "predictions"}  # both runs share the decoded images
    assert len(unused) == 3
    assert len(list(Path("runs/stages").glob("*/"))) == 3

    assert len(json.loads(tlmed("clean", "runs", "--remove", "--json").out)["removed"]) == 3
    assert (
        json.loads(tlmed("run", project.recipe, "--out", "runs/kept", "--set", "training.epochs=1", "--json").out)[
            "trained"
        ]
        == []
    )
    assert "Removed 0 of" in tlmed("clean", "runs", "--remove").out


def test_runs_elsewhere_are_kept_when_named(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--out", "far/away", "--store", "store")
    assert "Nothing refers to 0 of 3" in tlmed("clean", "store", "--keep-run", "far/away").out
    assert "Nothing refers to 3 of 3" in tlmed("clean", "store").out


def test_store_that_is_not_there(tlmed: Tlmed, project: Project) -> None:
    answer = tlmed("clean", project.folder / "absent")
    assert answer.exit_code == 1
    assert "no such folder" in answer.err
