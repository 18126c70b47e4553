"""What benchmarks that disturb runs share: the command, and what of its results must come out the same each time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

# They hold times, and the digests of files that do.
_NOT_COMPARED = {
    *("log.jsonl", "stage.json", "digests.json", "digests.sqlite", "test-ledger.jsonl", "question-ledger.jsonl"),
    *("comparison.json", "lineage.json", "report.html"),
}


def run_command(recipe: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "tlmed", "run", str(recipe), "--out", str(out), *options]


def finish(command: list[str]) -> None:
    """Run a command that nothing disturbs, to its end."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"an undisturbed run ended with exit code {done.returncode}:\n{done.stderr}")


def result_digests(store: Path) -> dict[str, str]:
    """SHA-256 of every file in a store and the run folders in it, by path; but for times and locks.

    Weights, learning curves, decoded images, predictions, metrics, splits, pictures and bundle are among them, and so
    is whatever a disturbed run left behind that an undisturbed one does not.
    """
    files = [path for path in sorted(store.rglob("*")) if path.is_file()]
    return {
        file.relative_to(store).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.name not in _NOT_COMPARED and file.suffix != ".lock" and file.name != ".lock"
    }


def differences(store: Path, expected: dict[str, str]) -> list[str]:
    """Paths of files that are not those of an undisturbed run."""
    found = result_digests(store)
    return sorted(path for path in expected.keys() | found.keys() if found.get(path) != expected.get(path))
