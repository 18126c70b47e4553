from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tlmed.audit.duplicates import correlate_pairs, find_near_duplicates
from tlmed.data.phantom_chest import FINDINGS, Anatomy, draw_slice

_SIZE = 128


def _slice(patient: int, level: float) -> Image.Image:
    generator = np.random.default_rng(patient)
    anatomy = Anatomy.draw(generator)
    finding = FINDINGS[sorted(FINDINGS)[patient % len(FINDINGS)]]
    return Image.fromarray(
        draw_slice(np.random.default_rng([patient, round(100 * level)]), anatomy, level, finding, _SIZE)
    )


def _thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((64, 64), Image.Resampling.BILINEAR))


def _saved(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def _cropped(image: Image.Image, left: int, upper: int) -> Image.Image:
    edge = round(0.92 * _SIZE)
    return image.crop((left, upper, left + edge, upper + edge))


_COPIES = {
    "smaller": lambda image: image.resize((90, 90), Image.Resampling.BICUBIC),
    "saved at 60": lambda image: _saved(image, 60),
    "cropped at the top left": lambda image: _cropped(image, 0, 0),
    "cropped in the middle": lambda image: _cropped(image, 5, 5),
    "cropped at one side": lambda image: image.crop((0, 0, _SIZE, 118)),
    "brighter": lambda image: image.point(lambda level: min(255, int(level * 1.4))),
    "darker": lambda image: image.point(lambda level: level * 7 // 10),
    "in colour": lambda image: image.convert("RGB"),
    "all at once": lambda image: _saved(_cropped(image, 10, 0).point(lambda level: min(255, int(level * 1.2))), 70),
}


@pytest.fixture(scope="module")
def patients() -> list[Image.Image]:
    return [_slice(patient, 0.5) for patient in range(16)]


def test_each_kind_of_copy_is_found_and_nothing_else(patients: list[Image.Image]) -> None:
    copies = [change(image) for change, image in zip(_COPIES.values(), patients, strict=False)]
    found = find_near_duplicates(np.stack([_thumbnail(image) for image in [*patients, *copies]]))
    expected = [[index, len(patients) + index] for index in range(len(copies))]
    assert found.pairs.tolist() == expected
    assert (found.correlations <= 1 + 1e-5).all()


def test_the_correlation_does_not_depend_on_which_of_two_is_the_crop(patients: list[Image.Image]) -> None:
    pictures = np.stack([_thumbnail(patients[0]), _thumbnail(_cropped(patients[0], 10, 10))])
    there, back = correlate_pairs(pictures, np.array([[0, 1], [1, 0]]))
    assert there > 0.955
    assert back == pytest.approx(there, abs=0.01)


def test_a_picture_correlates_with_itself_and_not_with_another(patients: list[Image.Image]) -> None:
    pictures = np.stack([_thumbnail(patients[0]), _thumbnail(patients[0]), _thumbnail(patients[9])])
    same, other = correlate_pairs(pictures, np.array([[0, 1], [0, 2]]))
    assert same == pytest.approx(1, abs=1e-5)
    assert other < 0.8


def test_slices_of_one_patient_are_no_copies() -> None:
    levels = [1 / 6, 1 / 2, 5 / 6]
    pictures = np.stack([_thumbnail(_slice(patient, level)) for patient in range(6) for level in levels])
    assert len(find_near_duplicates(pictures).pairs) == 0


def test_pictures_of_different_groups_need_be_less_alike(patients: list[Image.Image]) -> None:
    first = np.asarray(patients[0], dtype=np.float64)
    noisy = np.clip(first + np.random.default_rng(0).normal(0, 44, first.shape), 0, 255).astype(np.uint8)
    pictures = np.stack([_thumbnail(image) for image in [*patients, Image.fromarray(noisy)]])
    (correlation,) = correlate_pairs(pictures, np.array([[0, len(patients)]]))
    assert 0.91 < correlation < 0.955  # the case that the limits differ on
    groups = np.arange(len(pictures))
    assert find_near_duplicates(pictures, groups).pairs.tolist() == [[0, len(patients)]]
    groups[-1] = groups[0]
    assert len(find_near_duplicates(pictures, groups).pairs) == 0
    assert len(find_near_duplicates(pictures).pairs) == 0
