"""Seeded synthetic data sets for the demo and the tests. They show the tool; no claim about medicine rests on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tlmed.data.phantom_chest import FINDINGS, Anatomy, Slice, draw_slice, pulmonary_oedema, viral_pneumonia
from tlmed.data.phantom_everyday import EVERYDAY_CLASSES, draw_photograph
from tlmed.recipe.data import PhantomSettings
from tlmed.runtime.progress import track
from tlmed.runtime.store import Store, content_key

PHANTOMS = "phantoms"
VIRAL, OTHER = "viral-pneumonia", "other"

# Raised whenever a change of the code changes what the same settings draw.
_DRAWING_VERSION = 1
_SLICES_PER_PATIENT = 3
_VAL_EVERY = 8  # one in eight of the patients or pictures of the larger domains is for val
_KINDS = ("everyday", "chest-findings", "chest-target")


@dataclass(frozen=True)
class _Drawn:
    """One image and its row of the manifest."""

    pixels: NDArray[np.uint8]
    row: dict[str, object]


def write_phantoms(settings: PhantomSettings, store: Store) -> Path:
    """Return a folder with PNG files and a `manifest.csv`, drawn once for each settings.

    Raises:
        OSError: disk full; nothing incomplete is left.
    """
    key = content_key({"drawing": _DRAWING_VERSION, **settings.model_dump(mode="json")})
    if not store.is_complete(PHANTOMS, key):
        with store.publish(PHANTOMS, key) as folder:
            if not store.is_complete(PHANTOMS, key):
                _write(settings, folder)
    return store.folder(PHANTOMS, key)


def _write(settings: PhantomSettings, folder: Path) -> None:
    draw = {"everyday": _everyday, "chest-findings": _chest_findings, "chest-target": _chest_target}[settings.kind]
    rows = []
    with track(f"drawing {settings.kind}", total=_num_images(settings)) as progress:
        for drawn in draw(settings):
            path = f"{drawn.row['group' if settings.kind == 'everyday' else 'patient']}-{drawn.row.get('slice', 0)}.png"
            Image.fromarray(drawn.pixels).save(folder / path, compress_level=1)
            rows.append({"path": path, **drawn.row})
            progress.advance()
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)


def _num_images(settings: PhantomSettings) -> int:
    if settings.kind != "chest-target":
        return settings.num_images
    num_patients = settings.num_train_patients + settings.num_val_patients + settings.num_test_patients
    return num_patients * _SLICES_PER_PATIENT


def _generator(settings: PhantomSettings, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, _KINDS.index(settings.kind), *numbers])


def _everyday(settings: PhantomSettings) -> Iterator[_Drawn]:
    for number in range(settings.num_images):
        kind = EVERYDAY_CLASSES[number % len(EVERYDAY_CLASSES)]
        pixels = draw_photograph(_generator(settings, number), kind, settings.size)
        is_val = number // len(EVERYDAY_CLASSES) % _VAL_EVERY == 0
        yield _Drawn(pixels, {"group": f"picture{number:05d}", "label": kind, "split": "val" if is_val else "train"})


def _chest_findings(settings: PhantomSettings) -> Iterator[_Drawn]:
    names = sorted(FINDINGS)
    for number in range(settings.num_images):
        patient, position = divmod(number, _SLICES_PER_PATIENT)
        name = names[patient % len(names)]
        is_val = patient // len(names) % _VAL_EVERY == 0
        pixels = _draw_of_patient(settings, patient, position, FINDINGS[name])
        yield _Drawn(pixels, _row(f"archive{patient:04d}", position, name, "val" if is_val else "train"))


def _chest_target(settings: PhantomSettings) -> Iterator[_Drawn]:
    sizes = {"train": settings.num_train_patients, "val": settings.num_val_patients, "test": settings.num_test_patients}
    patient = 0
    for split, num_patients in sizes.items():
        for number in range(num_patients):
            label = (VIRAL, OTHER)[number % 2]
            finding = _finding_of(label, _generator(settings, patient))
            for position in range(_SLICES_PER_PATIENT):
                yield _Drawn(_draw_of_patient(settings, patient, position, finding), _row(f"patient{patient:04d}", position, label, split))
            patient += 1


def _finding_of(label: str, generator: np.random.Generator) -> partial[None]:
    """Choose what a patient has: viral pneumonia more or less severe, or one of the other findings."""
    extent = generator.uniform(0.1, 0.9)
    if label == VIRAL:
        return partial(viral_pneumonia, extent=extent)
    if generator.random() < 0.4:
        return partial(pulmonary_oedema, extent=extent)
    return partial(_one_of_others, name=str(generator.choice([name for name in sorted(FINDINGS) if name != "ground-glass"])))


def _one_of_others(drawn: Slice, name: str) -> None:
    FINDINGS[name](drawn)


def _draw_of_patient(settings: PhantomSettings, patient: int, position: int, finding: object) -> NDArray[np.uint8]:
    anatomy = Anatomy.draw(_generator(settings, patient, 0))
    generator = _generator(settings, patient, 1 + position)
    level = (position + generator.uniform(0.15, 0.85)) / _SLICES_PER_PATIENT
    return draw_slice(generator, anatomy, level, finding, settings.size)  # type: ignore[arg-type]


def _row(patient: str, position: int, label: str, split: str) -> dict[str, object]:
    return {"patient": patient, "slice": position, "label": label, "split": split}
