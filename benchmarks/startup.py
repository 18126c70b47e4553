"""Seconds until `tlmed --help` answers, and until a run that is already complete answers again.

python benchmarks/startup.py
python benchmarks/startup.py --recipe RECIPE --out RUN     # a complete run of your own; it is run once more first
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = """
name: startup
image: {size: 32}
backbone: test_resnet
training: {epochs: 1}
chain:
  - name: related
    data: {phantom: {kind: chest-findings, num_images: 400, size: 32}}
  - name: target
    data: {phantom: {kind: chest-target, size: 32}}
evaluation: {positive: viral-pneumonia}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe, out = arguments.recipe or Path(folder) / "recipe.yaml", arguments.out or Path(folder) / "runs/run"
        if arguments.recipe is None:
            recipe.write_text(RECIPE, encoding="utf-8")
        again = ["run", str(recipe), "--out", str(out)]
        _seconds(again)
        answer = {
            "help_seconds": [_seconds(["--help"]) for _ in range(arguments.repeats)],
            "same_run_again_seconds": [_seconds(again) for _ in range(arguments.repeats)],
        }
    print(json.dumps({**answer, "medians": {name: statistics.median(values) for name, values in answer.items()}}))


def _seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([Path(sys.executable).with_name("tlmed"), *arguments], check=True, capture_output=True)
    return round(time.perf_counter() - start, 2)


if __name__ == "__main__":
    main()
