"""Kill a run at random moments, start it again each time, and compare its weights with an undisturbed run's.

python benchmarks/endurance.py --kills 5
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = """
name: endurance
image: {size: 32}
backbone: test_resnet
runtime: {checkpoint_seconds: 0.2}
chain:
  - name: related
    data: {phantom: {kind: chest-findings, num_images: 400, size: 32}}
    training: {epochs: 60}
  - name: target
    data: {phantom: {kind: chest-target, num_test_patients: 16, size: 32}}
    training: {epochs: 80}
evaluation: {positive: viral-pneumonia}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "recipe.yaml"
        recipe.write_text(RECIPE, encoding="utf-8")
        start = time.monotonic()
        subprocess.run(_command(recipe, folder / "undisturbed/run"), check=True, capture_output=True)
        duration = time.monotonic() - start
        moments = _kill_repeatedly(_command(recipe, folder / "killed/run"), arguments.kills, duration, arguments.seed)
        subprocess.run(_command(recipe, folder / "killed/run"), check=True, capture_output=True)
        undisturbed, killed = _digests(folder / "undisturbed"), _digests(folder / "killed")
        same = bool(undisturbed) and undisturbed == killed
        answer = {
            "kills": len(moments),
            "seconds_before_each": moments,
            "undisturbed_seconds": round(duration, 1),
            "identical": same,
        }
    print(json.dumps(answer))
    sys.exit(0 if same else 1)


def _command(recipe: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "tlmed", "run", str(recipe), "--out", str(out)]


def _kill_repeatedly(command: list[str], num_kills: int, duration: float, seed: int) -> list[float]:
    """Kill while it imports, draws, decodes or trains; early enough that all kills together do not finish the work."""
    generator = random.Random(seed)
    moments: list[float] = []
    for _ in range(num_kills):
        seconds = generator.uniform(0.1, 0.3) * duration
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=seconds)
            sys.exit("the run finished before it was killed: nothing was shown")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            moments.append(round(seconds, 2))
    return moments


def _digests(store: Path) -> dict[str, str]:
    return {
        path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.glob("stages/*/model.safetensors")
    }


if __name__ == "__main__":
    main()
