from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from tests.cli.project import Tlmed


def test_version(tlmed: Tlmed) -> None:
    assert tlmed("--version").out.strip() == version("tlmed")


def test_module_and_help_name_every_verb() -> None:
    ended = subprocess.run([sys.executable, "-m", "tlmed", "--help"], capture_output=True, text=True, check=True)
    for verb in ("demo", "init", "run", "predict", "weights", "clean"):
        assert verb in ended.stdout
    assert "not a medical device" in ended.stdout


def test_wrong_usage_is_exit_code_2(tlmed: Tlmed) -> None:
    assert tlmed("run").exit_code == 2
    assert tlmed("run", "--no-such-option").exit_code == 2
