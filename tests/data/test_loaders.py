from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tlmed.data.loaders import LabelledImages, TrainingSteps, iterate_steps
from tlmed.recipe.training import ViewSettings


def labelled(folder: Path, count: int = 10) -> LabelledImages:
    pixels = np.random.default_rng(1).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    np.save(folder / "pixels.npy", pixels)
    mapped = np.load(folder / "pixels.npy", mmap_mode="r")
    return LabelledImages(mapped, np.arange(count), np.arange(count) % 2, [f"{i}.png" for i in range(count)])


def test_an_epoch_shows_each_image_at_most_once_in_full_batches(tmp_path: Path) -> None:
    steps = TrainingSteps(labelled(tmp_path), ViewSettings(), batch_size=4, seed=0)
    assert steps.steps_per_epoch == 2
    first = torch.cat([steps[0].positions, steps[1].positions]).tolist()
    second = torch.cat([steps[2].positions, steps[3].positions]).tolist()
    assert len(set(first)) == 8
    assert first != second
    assert torch.equal(steps[1].labels, steps[1].positions % 2)


def test_fewer_images_than_a_batch_make_one_batch(tmp_path: Path) -> None:
    steps = TrainingSteps(labelled(tmp_path, 3), ViewSettings(), batch_size=16, seed=0)
    assert steps.steps_per_epoch == 1
    assert len(steps[0].labels) == 3


def test_workers_and_resumption_give_the_same_bytes(tmp_path: Path) -> None:
    steps = TrainingSteps(labelled(tmp_path), ViewSettings(), batch_size=4, seed=7)
    here = list(iterate_steps(steps, 0, 4, num_workers=0))
    elsewhere = list(iterate_steps(steps, 1, 4, num_workers=2))
    assert len(elsewhere) == 3
    for one, other in zip(here[1:], elsewhere, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
