"""Seeded synthetic data sets for the demo and the tests. They show the tool; no claim about medicine rests on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tlmed.data.phantom_chest import FINDINGS, Anatomy, Finding, draw_slice, pulmonary_oedema, viral_pneumonia
from tlmed.data.phantom_everyday import EVERYDAY_CLASSES, draw_photograph
from tlmed.recipe.data import PhantomSettings
from tlmed.runtime.processes import map_in_order
from tlmed.runtime.progress import track
from tlmed.runtime.store import Store, content_key

PHANTOMS = "phantoms"
VIRAL, OTHER = "viral-pneumonia", "other"

# Raised whenever a change of the code changes what the same settings draw.
_DRAWING_VERSION = 2
_SLICES_PER_PATIENT = 3
_VAL_EVERY = 8  # one in eight of the patients or pictures of the larger domains is for val
# Hazes that a patient of the target without viral pneumonia has only as stated in `_finding_of`.
_LIKE_VIRAL = ("ground-glass", "oedema")
_KINDS = ("everyday", "chest-findings", "chest-target")


@dataclass(frozen=True)
class _Planned:
    """An image to be drawn.

    Attributes:
        group: of the picture or patient, by which it is named.
        number: of the picture or patient, from which its random numbers come.
        position: of the slice within the patient.
    """

    group: str
    number: int
    position: int
    label: str
    split: str

    @property
    def path(self) -> str:
        return f"{self.group}-{self.position}.png"


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
    planned = {"everyday": _everyday, "chest-findings": _chest_findings, "chest-target": _chest_target}[settings.kind](
        settings
    )
    with track(f"drawing {settings.kind}", total=len(planned)) as progress:
        for one, pixels in zip(planned, map_in_order(partial(_draw, settings=settings), planned), strict=True):
            Image.fromarray(pixels).save(folder / one.path, compress_level=1)
            progress.advance()
    column = "group" if settings.kind == "everyday" else "patient"
    rows = [
        {"path": one.path, column: one.group, "slice": one.position, "label": one.label, "split": one.split}
        for one in planned
    ]
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)


def _everyday(settings: PhantomSettings) -> list[_Planned]:
    classes = EVERYDAY_CLASSES
    return [
        _Planned(
            f"picture{number:05d}", number, 0, classes[number % len(classes)], _train_or_val(number // len(classes))
        )
        for number in range(settings.num_images)
    ]


def _chest_findings(settings: PhantomSettings) -> list[_Planned]:
    names = sorted(FINDINGS)
    slices = [divmod(number, _SLICES_PER_PATIENT) for number in range(settings.num_images)]
    return [
        _Planned(
            f"archive{patient:04d}",
            patient,
            position,
            names[patient % len(names)],
            _train_or_val(patient // len(names)),
        )
        for patient, position in slices
    ]


def _chest_target(settings: PhantomSettings) -> list[_Planned]:
    sizes = {"train": settings.num_train_patients, "val": settings.num_val_patients, "test": settings.num_test_patients}
    splits = [split for split, num_patients in sizes.items() for _ in range(num_patients)]
    return [
        _Planned(f"patient{patient:04d}", patient, position, (VIRAL, OTHER)[patient % 2], split)
        for patient, split in enumerate(splits)
        for position in range(_SLICES_PER_PATIENT)
    ]


def _train_or_val(number: int) -> str:
    return "val" if number % _VAL_EVERY == _VAL_EVERY - 1 else "train"


def _draw(planned: _Planned, settings: PhantomSettings) -> NDArray[np.uint8]:
    """Return (size, size) of one image; each has random numbers of its own, so that the order does not matter."""

    def generator(*numbers: int) -> np.random.Generator:
        return np.random.default_rng([settings.seed, _KINDS.index(settings.kind), planned.number, *numbers])

    if settings.kind == "everyday":
        return draw_photograph(generator(), planned.label, settings.size)
    finding = FINDINGS[planned.label] if settings.kind == "chest-findings" else _finding_of(planned.label, generator())
    of_slice = generator(1 + planned.position)
    level = (planned.position + of_slice.uniform(0.15, 0.85)) / _SLICES_PER_PATIENT
    return draw_slice(of_slice, Anatomy.draw(generator(0)), level, finding, settings.size)


def _finding_of(label: str, generator: np.random.Generator) -> Finding:
    """Choose what a patient has: viral pneumonia more or less severe, or one of the other findings."""
    extent = generator.uniform(0.1, 0.9)
    if label == VIRAL:
        return partial(viral_pneumonia, extent=extent)
    if generator.random() < 0.35:
        return partial(pulmonary_oedema, extent=extent)
    return FINDINGS[str(generator.choice([name for name in sorted(FINDINGS) if name not in _LIKE_VIRAL]))]
