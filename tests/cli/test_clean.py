from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.project import Project, Tlmed
from tlmed.runtime.store import Store


def test_what_a_run_needs_is_kept_and_the_rest_goes(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--out", "runs/kept")
    project.change_recipe("epochs: 1", "epochs: 2")
    tlmed("run", project.recipe, "--out", "runs/removed")
    shutil.rmtree("runs/removed")
    (Path("runs/stages") / f"{'0123' * 8}.work").mkdir()
    for foreign in ("images/COVID", "thesis.work", "stages/notes"):
        (Path("runs") / foreign).mkdir(parents=True)

    listed = json.loads(tlmed("clean", "runs", "--json").out)
    unused = {(entry["kind"], entry["key"]) for entry in listed["entries"] if not entry["runs"]}
    assert {kind for kind, _ in unused} == {"stages", "predictions", "measurements"}  # both runs share the images
    assert len(unused) == 4  # both runs share the probe, which takes no epochs
    assert len(list(Path("runs/stages").glob("*/"))) == 5

    assert len(json.loads(tlmed("clean", "runs", "--remove", "--json").out)["removed"]) == 4
    assert (
        json.loads(tlmed("run", project.recipe, "--out", "runs/kept", "--set", "training.epochs=1", "--json").out)[
            "trained"
        ]
        == []
    )
    assert all((Path("runs") / foreign).is_dir() for foreign in ("images/COVID", "thesis.work", "stages/notes"))
    assert "Removed 0 of" in tlmed("clean", "runs", "--remove").out


def test_runs_elsewhere_are_kept_when_named(tlmed: Tlmed, project: Project) -> None:
    tlmed("run", project.recipe, "--out", "far/away", "--store", "store")
    assert "Nothing refers to 0 of 9" in tlmed("clean", "store", "--keep-run", "far/away").out
    assert "Nothing refers to 9 of 9" in tlmed("clean", "store").out


def test_store_that_is_not_there(tlmed: Tlmed, project: Project) -> None:
    answer = tlmed("clean", project.folder / "absent")
    assert answer.exit_code == 1
    assert "no such folder" in answer.err


def test_what_an_unfinished_run_needs_is_kept(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("epochs: 1,", "epochs: 3, learning_rate: 1.0e+30, warmup_fraction: 0,")
    assert tlmed("run", project.recipe).exit_code == 1
    assert "Nothing refers to 0 of" in tlmed("clean", "runs").out


def test_what_another_process_is_writing_is_left_alone(tlmed: Tlmed, project: Project) -> None:
    store, key = Store(Path("runs")), "0" * 32
    with store.publish("stages", key):
        answer = json.loads(tlmed("clean", "runs", "--remove", "--json").out)
        assert answer["removed"] == []
    assert store.is_complete("stages", key)


def test_what_an_interrupted_download_left_goes_unless_it_is_still_being_written(
    tlmed: Tlmed, project: Project
) -> None:
    store, commit = Store(Path("runs")), "89ab" * 10
    dead, alive = "timm--resnet-18.a1", f"some-lab--removed-net@{commit}"
    left = Path("runs/weights") / f".writing-{dead}"
    (left / "arrivals").mkdir(parents=True)
    (left / "arrivals/part").write_bytes(b"half")
    foreign = Path("runs/weights/.writing-notes")
    foreign.mkdir()
    with store.publish("weights", alive):
        entries = json.loads(tlmed("clean", "runs", "--json").out)["entries"]
        assert [(entry["kind"], entry["key"], entry["bytes"]) for entry in entries] == [
            ("weights", None, 0),
            ("weights", None, 4),
        ]
        removed = json.loads(tlmed("clean", "runs", "--remove", "--json").out)["removed"]
    assert removed == [str(left.resolve())]
    assert not left.exists()
    assert foreign.is_dir()
    assert store.is_complete("weights", alive)
