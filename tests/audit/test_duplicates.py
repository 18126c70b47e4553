from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tlmed.audit.duplicates import correlate_pairs, find_copies_between, find_near_duplicates
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

_UNLIKE = np.random.default_rng(1).integers(0, 256, (20, 64, 64), dtype=np.uint8)


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


@pytest.fixture(scope="module")
def noisy(patients: list[Image.Image]) -> np.ndarray:
    """So alike to the first patient's picture that it is either a bad copy or the next slice."""
    first = np.asarray(patients[0], dtype=np.float64)
    noise = np.random.default_rng(0).normal(0, 44, first.shape)
    thumbnail = _thumbnail(Image.fromarray(np.clip(first + noise, 0, 255).astype(np.uint8)))
    (correlation,) = correlate_pairs(np.stack([_thumbnail(patients[0]), thumbnail]), np.array([[0, 1]]))
    assert 0.89 < correlation < 0.955
    return thumbnail


def test_what_may_be_the_next_slice_must_be_more_alike(patients: list[Image.Image], noisy: np.ndarray) -> None:
    further = [_thumbnail(_slice(0, level)) for level in (1 / 6, 5 / 6)]
    pictures = np.stack([_thumbnail(patients[0]), noisy, *further, *_UNLIKE])
    groups = np.array([0, 0, 0, 0, *range(1, 1 + len(_UNLIKE))])
    assert len(find_near_duplicates(pictures).pairs) == 0
    assert len(find_near_duplicates(pictures, groups).pairs) == 0
    groups[1] = len(pictures)  # another patient's picture is no next slice
    assert find_near_duplicates(pictures, groups).pairs.tolist() == [[0, 1]]


def test_where_no_slices_are_neighbours_less_will_do(patients: list[Image.Image], noisy: np.ndarray) -> None:
    pictures = np.stack([_thumbnail(patients[0]), noisy, *_UNLIKE])
    assert find_near_duplicates(pictures).pairs.tolist() == [[0, 1]]


def test_copies_between_two_sets_leave_those_within_each_alone(patients: list[Image.Image]) -> None:
    first = np.stack([_thumbnail(image) for image in [*patients[:6], patients[0].resize((90, 90))]])
    second = np.stack(
        [_thumbnail(image) for image in [patients[10], _cropped(patients[3], 0, 5), patients[10], *patients[11:14]]]
    )
    found = find_copies_between(first, second)
    assert found.pairs.tolist() == [[3, 1]]
    assert find_copies_between(first[:0], second).pairs.shape == (0, 2)
