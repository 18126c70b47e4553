"""Milliseconds that one training batch takes to make in the training process, by settings of views and mixing.

python benchmarks/training_batches.py --size 224 --batch-size 16 --threads 2
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlmed.data.loaders import LabelledImages, TrainingSteps
from tlmed.recipe.training import TrainingSettings

_NUM_IMAGES = 256
_SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "no views": {"views": {"enabled": False}},
    "two random operations": {"views": {"random_operations": 2}},
    "erasing of every image": {"views": {"erasing": 1.0}},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "balanced": {"sampling": "balanced"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        images = _stored(Path(folder), arguments.channels, arguments.size)
        for name, settings in _SETTINGS.items():
            training = TrainingSettings(batch_size=arguments.batch_size, **settings)
            seconds = sorted(_measure(TrainingSteps(images, training, seed=0), arguments.steps))
            milliseconds = {
                "least": round(1e3 * seconds[0], 2),
                "median": round(1e3 * seconds[len(seconds) // 2], 2),
            }
            print(json.dumps({"settings": name, **milliseconds}))


def _stored(folder: Path, channels: int, size: int) -> LabelledImages:
    shape = (_NUM_IMAGES, channels, size, size)
    np.save(folder / "pixels.npy", np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    rows = np.arange(_NUM_IMAGES)
    return LabelledImages(pixels, rows, rows % 2, [str(row) for row in rows])


def _measure(steps: TrainingSteps, num_steps: int) -> list[float]:
    seconds = []
    for step in range(num_steps):
        start = time.perf_counter()
        steps[step]
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
