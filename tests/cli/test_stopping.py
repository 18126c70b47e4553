"""A run that is stopped or killed goes on with the same command and ends in the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.project import Project, Tlmed


def start(project: Project, out: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tlmed", "run", str(project.recipe), "--arm", "scratch", "--out", out]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_saved_state(store: Path, process: subprocess.Popen[bytes]) -> None:
    while not list(store.glob("stages/*.work/training.safetensors")):
        assert process.poll() is None, "the run ended before it was to be stopped"
        time.sleep(0.02)


def weights_in(store: str) -> tuple[str, bytes]:
    (file,) = Path(store).glob("stages/*/model.safetensors")
    return file.parent.name, file.read_bytes()


def test_disturbed_runs_end_in_the_bytes_of_the_undisturbed_one(tlmed: Tlmed, project: Project) -> None:
    project.change_recipe("epochs: 1", "epochs: 20")
    project.change_recipe("evaluation:", "runtime: {checkpoint_seconds: 0.05}\nevaluation:")
    assert tlmed("run", project.recipe, "--arm", "scratch", "--out", "undisturbed/run").exit_code == 0
    for sent, exit_code in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        process = start(project, f"{sent.name}/run")
        wait_for_saved_state(Path(sent.name), process)
        process.send_signal(sent)
        assert process.wait(timeout=60) == exit_code
        assert not list(Path(sent.name).glob("stages/*/model.safetensors"))
        assert tlmed("run", project.recipe, "--arm", "scratch", "--out", f"{sent.name}/run").exit_code == 0
        assert weights_in(sent.name) == weights_in("undisturbed")
