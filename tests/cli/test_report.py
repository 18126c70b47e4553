from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.project import Tlmed
from tests.report.run_folders import make_run
from tests.test_torch_free import command, heavy_modules_after


@pytest.fixture(autouse=True)
def page_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chapters take seconds to draw, and have their own tests."""
    for name in ("result_chapters", "sheet_chapters"):
        monkeypatch.setattr(f"tlmed.report.run_report.{name}", lambda record: [])


def test_the_page_is_drawn_from_the_folder_alone(tlmed: Tlmed, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs/small")
    answer = tlmed("report", folder)
    assert answer.exit_code == 0
    assert "Send this file alone" not in answer.out
    assert answer.out.startswith("Whether the related domain helped cannot be told here")
    assert f"Report: {folder / 'report.html'}" in answer.out
    assert "Research use only" in answer.out
    assert "related-images" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_copy_to_share_stands_beside_it(tlmed: Tlmed, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs/small", seeds=(0,))
    answer = tlmed("report", folder, "--share", "--json")
    content = json.loads(answer.out)
    assert content["report"] == str(folder / "report-share.html")
    assert content["shared"] is True
    assert content["verdict"]["word"] == "cannot be told here"
    assert "related-images" not in (folder / "report-share.html").read_text(encoding="utf-8")
    assert not (folder / "report.html").exists()
    elsewhere = tmp_path / "new/page.html"
    answer = tlmed("report", folder, "--share", "--out", elsewhere)
    assert answer.exit_code == 0
    assert "Send this file alone: tables/ beside it is not made for sharing" in answer.out
    assert "A copy to share" in elsewhere.read_text(encoding="utf-8")


def test_one_arm_alone_has_no_verdict(tlmed: Tlmed, tmp_path: Path) -> None:
    answer = tlmed("report", make_run(tmp_path / "run", arms=("generic",), seeds=(0,)))
    assert answer.out.startswith("Verdict: nothing is compared.")


def test_bad_input_is_one_sentence(tlmed: Tlmed, tmp_path: Path) -> None:
    nothing = tlmed("report", tmp_path)
    assert nothing.exit_code == 1
    assert nothing.err == f"tlmed: {tmp_path}: no finished run lies there; name a run folder, such as runs/NAME.\n"
    folder = make_run(tmp_path / "run", seeds=(0,))
    taken = tlmed("report", folder, "--out", tmp_path)
    assert taken.exit_code == 1
    assert "a folder; name the file to write" in taken.err
    (folder / "domains.json").unlink()
    broken = tlmed("report", folder)
    assert broken.exit_code == 1
    assert "domains.json: missing; run the recipe again" in broken.err


def test_it_needs_no_torch(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", arms=("generic",), seeds=(0,))
    assert heavy_modules_after(command(["report", str(folder), "--share"])) == []
    assert (folder / "report-share.html").exists()
