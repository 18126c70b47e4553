from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from tlmed.audit.thumbnails import border, halved, intensity_statistics, make_thumbnails
from tlmed.data.images import UnreadableImage
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("L", (40, 20), 50).save(folder / "grey.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Software] = "Editor 1"
    Image.new("RGB", (32, 64), (200, 200, 200)).save(folder / "colour.jpg", exif=exif)
    (folder / "copy.png").write_bytes((folder / "grey.png").read_bytes())
    (folder / "broken.png").write_bytes((folder / "grey.png").read_bytes()[:40])
    return [folder / name for name in ("grey.png", "colour.jpg", "copy.png", "broken.png")]


def test_pictures_and_metadata_stand_in_the_order_of_the_files(files: list[Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digests = FileDigests(store).of(files)
    made = make_thumbnails(files, digests, store)
    assert made.pixels.shape == (4, 64, 64)
    assert made.pixels[:, 5, 5].tolist() == [50, 200, 50, 0]
    assert list(made.unreadable) == [digests[3]]
    table = made.metadata
    assert table["width"].tolist()[:3] == [40, 32, 40]
    assert table["height"].tolist()[:3] == [20, 64, 20]
    assert table["ratio"].tolist()[:3] == [2, 0.5, 2]
    assert table["mode"].tolist()[:3] == ["L", "RGB", "L"]
    assert table["format"].tolist()[:3] == ["PNG", "JPEG", "PNG"]
    assert table["bytes_per_pixel"][0] == files[0].stat().st_size / 800
    assert table["num_exif_tags"].tolist()[:3] == [0, 2, 0]
    assert table["exif_make"][1] == "Maker"
    assert table["exif_software"][1] == "Editor 1"
    assert table[["exif_make", "exif_model"]].iloc[0].isna().all()
    assert table.iloc[3].isna().all()


def test_files_are_read_once(files: list[Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digests = FileDigests(store).of(files)
    first = make_thumbnails(files, digests, store)
    for file in files:
        file.unlink()
    second = make_thumbnails(files[::-1], digests[::-1], store)
    np.testing.assert_array_equal(second.pixels, first.pixels[::-1])
    with pytest.raises(UnreadableImage):
        make_thumbnails(files[:1], digests[:1], store)


def test_the_border_is_the_outer_eighth() -> None:
    picture = np.ones((1, 64, 64), dtype=np.uint8)
    picture[0, 8:56, 8:56] = 0
    assert border(picture).shape == (1, 64 * 64 - 48 * 48)
    assert border(picture).all()


def test_halving_averages_blocks() -> None:
    picture = np.array([[[0, 2, 10, 10], [4, 6, 10, 11], [0, 0, 1, 1], [0, 0, 1, 1]]], dtype=np.uint8)
    np.testing.assert_array_equal(halved(picture), [[[3, 10.25], [0, 1]]])


def test_intensity_statistics_of_two_grey_levels() -> None:
    picture = np.zeros((1, 64, 64), dtype=np.uint8)
    picture[:, :, 32:] = 100
    mean, deviation, *percentiles, entropy, steps = intensity_statistics(picture)[0]
    assert (mean, deviation, entropy) == (50, 50, 1)
    assert percentiles == [0, 0, 0, 50, 100, 100, 100]
    assert steps == pytest.approx(100 / 63)
    rearranged = np.random.default_rng(0).permutation(picture.ravel()).reshape(picture.shape)
    np.testing.assert_allclose(intensity_statistics(rearranged)[0, :-1], intensity_statistics(picture)[0, :-1])
