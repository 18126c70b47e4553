from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tlmed.data.loaders import Batch, LabelledImages, TrainingSteps, iterate_steps
from tlmed.errors import InputError
from tlmed.recipe.training import TrainingSettings, ViewSettings

CPU = torch.device("cpu")
EVERYTHING = {
    "mixup": 0.4,
    "cutmix": 1.0,
    "mix_probability": 0.7,
    "sampling": "balanced",
    "views": ViewSettings(random_operations=2, erasing=0.5),
}


def labelled(folder: Path, count: int = 10) -> LabelledImages:
    pixels = np.random.default_rng(1).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    np.save(folder / "pixels.npy", pixels)
    mapped = np.load(folder / "pixels.npy", mmap_mode="r")
    return LabelledImages(mapped, np.arange(count), np.arange(count) % 2, [f"{i}.png" for i in range(count)])


def steps_of(images: LabelledImages, seed: int = 0, shard: tuple[int, int] = (0, 1), **settings: Any) -> TrainingSteps:
    return TrainingSteps(images, TrainingSettings(**settings), seed, shard=shard)


def equal(one: Batch, other: Batch) -> bool:
    return all(
        a is b if a is None or b is None else torch.equal(a, b) and a.dtype == b.dtype
        for a, b in zip(one, other, strict=True)
    )


def joined(parts: list[Batch]) -> Batch:
    fields = [None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)]  # type: ignore[arg-type]
    return Batch(*fields)  # type: ignore[arg-type]


def test_an_epoch_shows_each_image_at_most_once_in_full_batches(tmp_path: Path) -> None:
    steps = steps_of(labelled(tmp_path), batch_size=4)
    assert steps.steps_per_epoch == 2
    first = torch.cat([steps[0].positions, steps[1].positions]).tolist()
    second = torch.cat([steps[2].positions, steps[3].positions]).tolist()
    assert len(set(first)) == 8
    assert first != second
    assert torch.equal(steps[1].labels, steps[1].positions % 2)
    assert steps[1].partner_labels is None


def test_fewer_images_than_a_batch_make_one_batch(tmp_path: Path) -> None:
    steps = steps_of(labelled(tmp_path, 3), batch_size=16)
    assert steps.steps_per_epoch == 1
    assert len(steps[0].labels) == 3


@pytest.mark.parametrize("views_on_device", [False, True])
def test_workers_and_resumption_give_the_same_bytes(tmp_path: Path, views_on_device: bool) -> None:
    steps = steps_of(labelled(tmp_path), seed=7, batch_size=4, **EVERYTHING)
    here = [steps[step] for step in range(4)]
    elsewhere = list(iterate_steps(steps, 1, 4, num_workers=2, device=CPU, views_on_device=views_on_device))
    assert len(elsewhere) == 3
    assert all(equal(one, other) for one, other in zip(here[1:], elsewhere, strict=True))


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_views_on_the_device_are_the_same(tmp_path: Path, settings: dict[str, Any]) -> None:
    steps = steps_of(labelled(tmp_path), seed=2, batch_size=5, **settings)
    here = list(iterate_steps(steps, 0, 6, 0, CPU, views_on_device=False))
    there = list(iterate_steps(steps, 0, 6, 0, CPU, views_on_device=True))
    assert all(equal(one, other) for one, other in zip(here, there, strict=True))
    assert any(batch.partner_labels is not None for batch in here) == bool(settings)


def test_nothing_of_a_batch_is_computed_beside_its_device(tmp_path: Path) -> None:
    """Torch refuses to combine tensors of two devices; `meta` is a device that every machine has."""
    settings = {**EVERYTHING, "views": ViewSettings(random_operations=4, random_magnitude=1.0, erasing=1.0)}
    for shard in ((0, 1), (1, 2)):
        steps = steps_of(labelled(tmp_path, 36), shard=shard, batch_size=18, **settings)
        for batch in iterate_steps(steps, 0, 6, 0, torch.device("meta")):
            assert {field.device.type for field in batch if field is not None} == {"meta"}
            assert batch.images.shape == (18 // shard[1], 1, 8, 8)


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}, {"cutmix": 1.0}, EVERYTHING])
@pytest.mark.parametrize(("batch_size", "count"), [(8, 2), (6, 2), (9, 3)])
def test_the_parts_of_all_processes_are_the_batch(
    tmp_path: Path, settings: dict[str, Any], batch_size: int, count: int
) -> None:
    images = labelled(tmp_path, 20)
    whole = steps_of(images, batch_size=batch_size, **settings)
    parts = [steps_of(images, shard=(rank, count), batch_size=batch_size, **settings) for rank in range(count)]
    for step in range(4):
        assert equal(joined([part[step] for part in parts]), whole[step])
        assert len(parts[0][step].labels) == batch_size // count


def test_a_mixed_batch_names_both_labels_and_their_shares(tmp_path: Path) -> None:
    batch = steps_of(labelled(tmp_path), batch_size=5, mixup=1.0, views={"enabled": False})[0]
    plain = steps_of(labelled(tmp_path), batch_size=5, views={"enabled": False})[0]
    assert batch.partner_labels is not None
    assert batch.shares is not None
    assert torch.equal(batch.positions, plain.positions)
    assert batch.partner_labels.tolist() == [plain.labels[i] for i in (1, 0, 3, 2, 4)]
    share = float(batch.shares[0])
    assert batch.shares.tolist() == [share, share, share, share, 1.0]
    for i, j in enumerate((1, 0, 3, 2, 4)):
        own_share = batch.shares[i]
        torch.testing.assert_close(batch.images[i], own_share * plain.images[i] + (1 - own_share) * plain.images[j])


def test_balanced_sampling_uses_the_groups_and_never_repeats_a_view(tmp_path: Path) -> None:
    images = labelled(tmp_path, 10)
    labels, groups = np.array([0] * 9 + [1]), np.array([3] * 8 + [4, 5])
    grouped = LabelledImages(images.pixels, images.rows, labels, images.paths, groups)
    steps = steps_of(grouped, batch_size=10, sampling="balanced")
    assert steps.steps_per_epoch == 1
    batches = [steps[step] for step in range(40)]
    positions = torch.cat([batch.positions for batch in batches])
    assert 0.4 < (positions == 9).double().mean() < 0.6  # the one image of its class
    assert 0.2 < (positions == 8).double().mean() < 0.3  # the one image of its patient, of two in the class
    alone = batches[0].images[batches[0].positions == 9]
    assert len(alone) > 1
    assert len(torch.unique(alone.flatten(1), dim=0)) == len(alone)


@pytest.mark.parametrize(
    ("num_images", "settings", "count"),
    [(20, {"batch_size": 9}, 2), (20, {"batch_size": 8, "accumulation": 4}, 4), (1, {"batch_size": 8}, 2)],
)
def test_a_batch_that_cannot_be_shared_equally_is_refused(
    tmp_path: Path, num_images: int, settings: dict[str, Any], count: int
) -> None:
    with pytest.raises(InputError, match=r"training\.batch_size.*runtime\.devices"):
        steps_of(labelled(tmp_path, num_images), shard=(0, count), **settings)


def test_a_small_set_makes_a_batch_that_can_be_shared(tmp_path: Path) -> None:
    parts = [steps_of(labelled(tmp_path, 7), shard=(rank, 2), batch_size=16, accumulation=2)[0] for rank in (0, 1)]
    assert [len(part.labels) for part in parts] == [2, 2]
    assert len(set(torch.cat([part.positions for part in parts]).tolist())) == 4


def test_a_batch_is_split_into_equal_parts(tmp_path: Path) -> None:
    for settings in ({}, {"mixup": 1.0}):
        batch = steps_of(labelled(tmp_path), batch_size=6, **settings)[0]
        parts = batch.split(3)
        assert [len(part.labels) for part in parts] == [2, 2, 2]
        assert equal(joined(parts), batch)
    with pytest.raises(ValueError, match="6 images do not make 4 equal parts"):
        batch.split(4)
