from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlmed.data.phantom_chest import (
    FINDINGS,
    Anatomy,
    Finding,
    draw_slice,
    effusion,
    emphysema,
    normal,
    pulmonary_oedema,
    viral_pneumonia,
)
from tlmed.data.phantom_everyday import EVERYDAY_CLASSES, draw_photograph
from tlmed.data.phantom_noise import smooth_noise
from tlmed.data.phantoms import OTHER, PHANTOMS, VIRAL, write_phantoms
from tlmed.data.sources import read_manifest
from tlmed.recipe.data import PhantomSettings
from tlmed.runtime.store import Store

EVERYDAY = PhantomSettings(kind="everyday", num_images=24, size=32)
FINDING = PhantomSettings(kind="chest-findings", num_images=24, size=32)
TARGET = PhantomSettings(kind="chest-target", num_train_patients=6, num_val_patients=4, num_test_patients=4, size=32)
OF_KIND = pytest.mark.parametrize("settings", [EVERYDAY, FINDING, TARGET], ids=lambda settings: settings.kind)

# Without noise two slices with the same generator differ only where their findings do.
QUIET = replace(Anatomy.draw(np.random.default_rng(11)), noise=0.0)
SIZE = 64


def drawn(finding: Finding, seed: int = 3, level: float = 0.5) -> np.ndarray:
    return draw_slice(np.random.default_rng(seed), QUIET, level, finding, SIZE).astype(int)


def difference(finding: Finding, seed: int = 3) -> np.ndarray:
    change: np.ndarray = drawn(finding, seed) - drawn(normal, seed)
    return change


def table_of(folder: Path) -> pd.DataFrame:
    return read_manifest(folder).table


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@OF_KIND
def test_the_same_settings_give_the_same_bytes_and_another_seed_other_images(
    tmp_path: Path, settings: PhantomSettings
) -> None:
    one = content(write_phantoms(settings, Store(tmp_path / "one")))
    assert content(write_phantoms(settings, Store(tmp_path / "again"))) == one
    other = content(write_phantoms(settings.model_copy(update={"seed": 1}), Store(tmp_path / "one")))
    assert set(other) == set(one)
    assert [name for name in one if other[name] == one[name]] == ["manifest.csv"]


@OF_KIND
def test_no_two_images_are_equal(tmp_path: Path, settings: PhantomSettings) -> None:
    images = content(write_phantoms(settings, Store(tmp_path)))
    assert len(set(images.values())) == len(images)


@OF_KIND
def test_images_are_8_bit_of_the_size_asked_for(tmp_path: Path, settings: PhantomSettings) -> None:
    folder = write_phantoms(settings, Store(tmp_path))
    table = table_of(folder)
    assert set(table["path"]) | {"manifest.csv"} == {file.name for file in folder.iterdir()}
    for file in table["file"]:
        with Image.open(file) as image:
            assert (image.format, image.size) == ("PNG", (32, 32))
            assert image.mode == ("RGB" if settings.kind == "everyday" else "L")


def test_a_second_call_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_phantoms(FINDING, Store(tmp_path))

    def draw(*_: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr("tlmed.data.phantoms.draw_slice", draw)
    assert write_phantoms(FINDING, Store(tmp_path)) == folder
    assert Store(tmp_path).entries(PHANTOMS) == [folder.name]


@pytest.mark.parametrize("settings", [EVERYDAY, FINDING], ids=lambda settings: settings.kind)
def test_more_images_leave_the_first_ones_as_they_were(tmp_path: Path, settings: PhantomSettings) -> None:
    few = content(write_phantoms(settings.model_copy(update={"num_images": 10}), Store(tmp_path)))
    many = content(write_phantoms(settings, Store(tmp_path)))
    assert all(many[name] == few[name] for name in few if name.endswith(".png"))


def test_everyday_pictures_are_of_all_classes_and_one_in_eight_is_for_val(tmp_path: Path) -> None:
    table = table_of(write_phantoms(EVERYDAY.model_copy(update={"num_images": 128}), Store(tmp_path)))
    assert table["label"].value_counts().to_dict() == dict.fromkeys(EVERYDAY_CLASSES, 16)
    assert table["group"].is_unique
    counts = table.groupby(["split", "label"]).size()
    assert counts.to_dict() == {(split, label): 14 if split == "train" else 2 for split, label in counts.index}
    assert len(counts) == 2 * len(EVERYDAY_CLASSES)


def test_chest_findings_are_of_all_classes_with_three_slices_a_patient(tmp_path: Path) -> None:
    table = table_of(write_phantoms(FINDING.model_copy(update={"num_images": len(FINDINGS) * 8 * 3}), Store(tmp_path)))
    assert set(table["label"]) == set(FINDINGS)
    by_patient = table.groupby("patient")
    assert (by_patient.size() == 3).all()
    assert (by_patient[["label", "split"]].nunique() == 1).all(axis=None)
    counts = table.drop_duplicates("patient").groupby(["split", "label"]).size()
    assert counts.to_dict() == {(split, label): 7 if split == "train" else 1 for split, label in counts.index}
    assert len(counts) == 2 * len(FINDINGS)


def test_target_has_the_patients_asked_for_half_of_each_class(tmp_path: Path) -> None:
    table = table_of(write_phantoms(TARGET, Store(tmp_path)))
    assert (table.groupby("patient").size() == 3).all()
    counts = table.drop_duplicates("patient").groupby(["split", "label"]).size().to_dict()
    sizes = {"train": 3, "val": 2, "test": 2}
    assert counts == {(split, label): sizes[split] for split in sizes for label in (VIRAL, OTHER)}


def test_target_tests_sixty_patients_of_each_class_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blank = np.zeros((32, 32), np.uint8)
    monkeypatch.setattr("tlmed.data.phantoms.draw_slice", lambda *_: blank)
    monkeypatch.setattr("tlmed.runtime.processes.num_cores", lambda: 1)
    settings = PhantomSettings(kind="chest-target", size=32)
    table = table_of(write_phantoms(settings, Store(tmp_path))).drop_duplicates("patient")
    assert table.groupby("split").size().to_dict() == {
        "train": settings.num_train_patients,
        "val": settings.num_val_patients,
        "test": settings.num_test_patients,
    }
    assert (table[table["split"] == "test"]["label"].value_counts() >= 60).all()


def test_no_patient_stands_in_two_splits_or_two_domains(tmp_path: Path) -> None:
    findings, target = (table_of(write_phantoms(settings, Store(tmp_path))) for settings in (FINDING, TARGET))
    for table in (findings, target):
        assert (table.groupby("patient")["split"].nunique() == 1).all()
    assert not set(findings["patient"]) & set(target["patient"])
    assert not set(findings["path"]) & set(target["path"])


@pytest.mark.parametrize("kind", EVERYDAY_CLASSES)
def test_photographs_are_drawn_by_class_and_generator(kind: str) -> None:
    pixels = draw_photograph(np.random.default_rng(1), kind, 32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 5
    assert np.array_equal(draw_photograph(np.random.default_rng(1), kind, 32), pixels)
    assert not np.array_equal(draw_photograph(np.random.default_rng(2), kind, 32), pixels)


def test_noise_is_of_mean_0_and_varies_smoothly() -> None:
    noise = smooth_noise(np.random.default_rng(0), 96, cells=12)
    assert noise.shape == (96, 96)
    assert abs(noise.mean()) < 0.2
    assert 0.5 < noise.std() < 1.2
    assert np.abs(np.diff(noise)).mean() < 0.3 * noise.std()


def test_a_slice_looks_like_a_chest() -> None:
    pixels = drawn(normal)
    lungs, middle = np.median(pixels[24:40, [16, 17, 46, 47]]), np.median(pixels[24:40, 31:34])
    assert pixels[:4].max() < 40  # air in front of the patient
    assert lungs < 100
    assert middle > 1.5 * lungs
    assert pixels.max() > 200  # bone


def test_normal_is_the_slice_without_a_finding() -> None:
    assert not difference(normal).any()
    assert drawn(normal, seed=4).tolist() != drawn(normal).tolist()


@pytest.mark.parametrize("name", sorted(set(FINDINGS) - {"normal"}))
@pytest.mark.parametrize("seed", [3, 4])
def test_every_finding_changes_the_lungs_and_nothing_outside_the_chest(name: str, seed: int) -> None:
    change = difference(FINDINGS[name], seed)
    assert np.abs(change).max() > 20
    border = np.ones_like(change, dtype=bool)
    border[4:-4, 4:-4] = False
    assert not change[border].any()


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_effusion_is_dense_and_lies_at_the_back_of_one_lung(seed: int) -> None:
    change = difference(effusion, seed)
    front, back = np.vsplit(change, 2)
    assert back.mean() > 5
    assert back.mean() > 10 * abs(front.mean())
    left, right = (np.abs(half).sum() for half in np.hsplit(change, 2))
    assert min(left, right) < 0.02 * max(left, right)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_emphysema_makes_both_lungs_darker_and_nothing_brighter(seed: int) -> None:
    change = difference(emphysema, seed)
    assert change.max() <= 1
    assert all(half.mean() < -0.5 for half in np.hsplit(change, 2))


@pytest.mark.parametrize("name", ["ground-glass", "consolidation", "nodules"])
def test_opacities_make_the_lung_denser(name: str) -> None:
    assert np.mean([difference(FINDINGS[name], seed).mean() for seed in range(4)]) > 0.3


def distance_from_middle(finding: Finding, seeds: range) -> float:
    """Mean distance to the side of what a finding adds, from 0 to 1."""
    across = np.abs((np.arange(SIZE) + 0.5) * 2 / SIZE - 1)
    added = sum(np.clip(difference(finding, seed), 0, None).sum(axis=0) for seed in seeds)
    return float((added * across).sum() / np.sum(added))


def test_viral_pneumonia_lies_under_the_pleura_and_oedema_near_the_middle() -> None:
    viral = distance_from_middle(partial(viral_pneumonia, extent=0.5), range(6))
    oedema = distance_from_middle(partial(pulmonary_oedema, extent=0.5), range(6))
    assert viral > oedema + 0.15


@pytest.mark.parametrize("disease", [viral_pneumonia, pulmonary_oedema])
def test_both_diseases_reach_both_lungs_and_grow_with_their_extent(disease: Callable[..., None]) -> None:
    slight, severe = (
        np.mean([difference(partial(disease, extent=extent), seed) for seed in range(6)], axis=0)
        for extent in (0.1, 0.9)
    )
    assert all(half.mean() > 0.3 for half in np.hsplit(slight, 2))
    assert severe.mean() > 1.5 * slight.mean()


def test_patients_differ_and_slices_of_one_patient_share_the_anatomy() -> None:
    one, same, other = (Anatomy.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("level", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_every_finding_can_be_drawn_at_every_level(name: str, level: float) -> None:
    pixels = draw_slice(np.random.default_rng(0), QUIET, level, FINDINGS[name], 32)
    assert pixels.shape == (32, 32)
    assert pixels.dtype == np.uint8
