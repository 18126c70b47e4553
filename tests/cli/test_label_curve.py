"""`tlmed compare RECIPE --labels`: what it leaves behind, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.cli.project import Answer, Project, Tlmed

CURVE = Path("runs/small-labels")


def content() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((CURVE / "learning_curve.json").read_text(encoding="utf-8"))
    return read


def refusal(answer: Answer) -> str:
    assert answer.exit_code == 1, answer.err
    assert "Traceback" not in answer.err
    return answer.err.strip().splitlines()[-1]


def test_a_curve_leaves_figures_tables_and_a_page(tlmed: Tlmed, project: Project) -> None:
    arguments = ("compare", project.recipe, "--labels", "50,100%", "--draws", "2")
    answer = tlmed(*arguments)
    assert answer.exit_code == 0, answer.err
    curve = content()
    assert curve["difference_of"] == ["scratch", "probe"]
    half, whole = curve["shares"]
    assert (half["num_groups"], half["num_groups_by_split"]) == (8, {"train": 6, "val": 2})
    assert (whole["num_groups"], whole["num_images"]) == (16, 16)
    # Batches of four, one epoch: of six images one, of twelve three; the probe takes none.
    assert (half["arms"]["scratch"]["steps"], whole["arms"]["scratch"]["steps"]) == (1, 3)
    assert (half["arms"]["probe"]["steps"], whole["arms"]["probe"]["steps"]) == (0, 0)
    assert curve["change"]["verdict"] == "no verdict"  # test has four groups of a class
    assert curve["test_openings"] == 1
    assert curve["registered"]["changed_after_looking"] is None  # the question is written down before test is opened
    predictions = pd.read_parquet(CURVE / "predictions.parquet")
    assert set(predictions["split"]) == {"test"}
    assert predictions.groupby(["arm", "share_percent", "draw", "seed"]).size().to_dict() == {
        (arm, share, draw, 0): 8 for arm in ("probe", "scratch") for share, draw in ((50.0, 0), (50.0, 1), (100.0, 0))
    }
    subsets = pd.read_csv(CURVE / "subsets.csv")
    assert list(subsets) == ["share_percent", "draw", "group", "split"]
    groups = {key: set(part["group"]) for key, part in subsets.groupby(["share_percent", "draw"])}
    assert groups.keys() == {(50.0, 0), (50.0, 1), (100.0, 0)}
    assert groups[50.0, 0] < groups[100.0, 0]
    assert "data:image/png" in (CURVE / "learning_curve.html").read_text(encoding="utf-8")
    assert "Research use only" in (CURVE / "learning_curve.md").read_text(encoding="utf-8")
    assert "50 %" in answer.out
    # The whole share is the run's own training.
    plan = tlmed("run", project.recipe, "--dry-run").out
    assert re.search(r"\b0 of \d+ stages to train", plan), plan
    # What a second call needs is kept by `clean`, and it trains nothing.
    assert tlmed("clean", "runs", "--remove").exit_code == 0
    assert trained_without_torch(arguments) == []


def trained_without_torch(arguments: tuple[object, ...]) -> list[str]:
    """The keys that a call in a process of its own trained; it must not import torch."""
    code = (
        f"import sys; sys.argv = ['tlmed', *{[*map(str, arguments), '--json']!r}]\n"
        "from tlmed.cli.app import app\napp(standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    trained: list[str] = json.loads(ended.stdout)["trained"]
    return trained


def test_one_arm_makes_a_curve_without_a_difference(tlmed: Tlmed, project: Project) -> None:
    answer = tlmed("compare", project.recipe, "--labels", "50%", "--draws", "2", "--arm", "probe")
    assert answer.exit_code == 0, answer.err
    curve = content()
    assert (curve["difference_of"], curve["change"], list(curve["shares"][0]["arms"])) == (None, None, ["probe"])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("ten", "'ten' is no share of the labels"),
        ("10,120", "'120' is no share of the labels"),
        ("50,20", "the shares must rise"),
        ("10,50", "the smallest share with a group of every class in train and in val is 25 %"),
    ],
)
def test_shares_that_cannot_be_are_refused(tlmed: Tlmed, project: Project, labels: str, words: str) -> None:
    assert words in refusal(tlmed("compare", project.recipe, "--labels", labels))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "evaluation.protocol.split=kfold"), "needs one test set that all shares have in common"),
        (("--arm", "absent"), "has no arm 'absent'"),
        (("--draws", "1"), "one draw does not show how draws differ"),
        (
            ("--set", "evaluation.choose={among: {a: {epochs: 1}, b: {epochs: 2}}}"),
            "chooses settings within each training set",
        ),
    ],
)
def test_what_a_curve_cannot_be_made_of(tlmed: Tlmed, project: Project, arguments: tuple[str, ...], words: str) -> None:
    assert words in refusal(tlmed("compare", project.recipe, "--labels", "50,100%", *arguments))
    assert not list(Path("runs").glob("stages/*"))


def test_a_runs_folder_is_not_overwritten(tlmed: Tlmed, project: Project) -> None:
    assert tlmed("run", project.recipe, "--arm", "probe").exit_code == 0
    before = (Path("runs/small") / "references.json").read_bytes()
    answer = tlmed("compare", project.recipe, "--labels", "50,100%", "--out", "runs/small")
    assert "holds a run, whose files would be replaced" in refusal(answer)
    assert (Path("runs/small") / "references.json").read_bytes() == before
