"""A full or read-only disk ends a run with one sentence; a damaged stage is found and trained to the same bytes."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.cli.project import Answer, Project, Tlmed
from tlmed.runtime import run_folder, store

RESULTS = [  # in the order in which a run writes them
    "history.csv",
    "model.safetensors",
    "probabilities.npy",
    "predictions.parquet",
    "metrics.json",
    "arms-auroc.png",
    "bundle.json",
]
STAGE_FILES = ["model.safetensors", "history.csv", "stage.json", "digests.json"]


def assert_not_written(answer: Answer, number: int, place: str) -> None:
    assert answer.exit_code == 74, answer.err
    assert "Traceback" not in answer.err
    (sentence,) = [line for line in answer.err.splitlines() if line.startswith("tlmed: ")]
    assert os.strerror(number) in sentence
    assert place in sentence
    assert not list(Path().rglob(".writing-*"))


def results(folder: str) -> dict[str, bytes]:
    """Every file of a store with its run but those that hold times, and the digests of such."""
    with_times = {"log.jsonl", "stage.json", "digests.json", "digests.sqlite", "test-ledger.jsonl"}
    with_times |= {"question-ledger.jsonl", "comparison.json", "lineage.json", "report.html"}
    files = [file for file in Path(folder).rglob("*") if file.is_file() and not file.name.endswith(".lock")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files if file.name not in with_times}


def test_full_disk_at_any_result(tlmed: Tlmed, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("run", project.recipe, "--arm", "scratch", "--out")
    assert tlmed(*arguments, "undisturbed/run").exit_code == 0
    flush = store.flush_file
    for name in RESULTS:  # each time, the run gets a little further

        def flush_unless_full(path: Path, full: str = name) -> None:
            if path.name.endswith(full):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            flush(path)

        with monkeypatch.context() as patch:
            patch.setattr(store, "flush_file", flush_unless_full)
            assert_not_written(tlmed(*arguments, "disturbed/run"), errno.ENOSPC, name)
        assert not Path("disturbed/run/arms.json").exists()
    assert tlmed(*arguments, "disturbed/run").exit_code == 0
    assert results("disturbed") == results("undisturbed")


def test_full_disk_at_the_log(tlmed: Tlmed, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("run", project.recipe, "--arm", "scratch")
    assert tlmed(*arguments).exit_code == 0
    before, log = results("runs"), Path("runs/small/log.jsonl").read_bytes()

    def full(file: Path, _line: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "append_line", full)
        assert_not_written(tlmed(*arguments), errno.ENOSPC, "log.jsonl")
    assert results("runs") == before
    assert Path("runs/small/log.jsonl").read_bytes() == log


@pytest.mark.parametrize("read_only", ["runs", "elsewhere"])
def test_read_only_folder(tlmed: Tlmed, project: Project, monkeypatch: pytest.MonkeyPatch, read_only: str) -> None:
    make_folder = os.mkdir

    def refuse(path: Path, *rest: int) -> None:
        if Path(read_only).absolute() in (Path(path).absolute(), *Path(path).absolute().parents):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        make_folder(path, *rest)

    arguments = ("run", project.recipe, "--arm", "scratch", "--out", "runs/small", "--store", "elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        assert_not_written(tlmed(*arguments), errno.EROFS, read_only)
    assert not Path(read_only).exists()
    assert tlmed(*arguments).exit_code == 0


def test_a_flipped_bit_in_any_file_of_a_stage_is_found_and_mended(tlmed: Tlmed, project: Project) -> None:
    arguments = ("run", project.recipe, "--arm", "scratch")
    assert tlmed(*arguments).exit_code == 0
    before = results("runs")
    (stage,) = (file.parent for file in Path("runs/stages").glob("*/stage.json"))
    for name in STAGE_FILES:
        file = stage / name
        content, status = bytearray(file.read_bytes()), file.stat()
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # a disk does not say when it changes a bit
        answer = tlmed(*arguments, "--json")
        assert json.loads(answer.out)["trained"] == [stage.name], name
        assert f"stages/{stage.name} is damaged" in answer.err
        assert results("runs") == before
    assert sorted(file.name for file in stage.iterdir()) == sorted(STAGE_FILES)
