from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlmed.data.images import read_image
from tlmed.data.prepare import IMAGES, PreparedImages, prepare_images
from tlmed.recipe.model import ImageSettings
from tlmed.runtime.digests import file_digest
from tlmed.runtime.store import Store

SETTINGS = ImageSettings(size=16)


def images(folder: Path, count: int = 5) -> list[Path]:
    """Write images of different sizes and formats."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(2)
    files = [folder / f"{number}{('.png', '.jpg', '.bmp')[number % 3]}" for number in range(count)]
    for number, file in enumerate(files):
        Image.fromarray(generator.integers(0, 256, (20 + number, 24, 3), dtype=np.uint8)).save(file)
    return files


def prepared(
    files: list[Path], store: Path, settings: ImageSettings = SETTINGS, num_workers: int | None = 0
) -> PreparedImages:
    digests = [file_digest(file) for file in files]
    return prepare_images(files, digests, settings, Store(store), num_workers=num_workers)


def stored_bytes(store: Path, key: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Store(store).folder(IMAGES, key).iterdir()}


@pytest.mark.parametrize("mode", ["grey", "rgb"])
def test_each_row_is_the_image_that_read_image_returns(tmp_path: Path, mode: str) -> None:
    files = images(tmp_path / "images")
    settings = ImageSettings.model_validate({"size": 16, "mode": mode})
    result = prepared(files, tmp_path / "store", settings)
    assert result.pixels.shape == (5, settings.num_channels, 16, 16)
    assert result.pixels.dtype == np.uint8
    assert sorted(result.row_of.values()) == list(range(5))
    assert result.unreadable == {}
    for file in files:
        assert np.array_equal(result.pixels[result.row_of[file_digest(file)]], read_image(file, settings))


def test_pixels_are_a_memory_map_that_cannot_be_changed(tmp_path: Path) -> None:
    result = prepared(images(tmp_path / "images"), tmp_path / "store")
    assert isinstance(result.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        result.pixels[0] = 0


def test_identical_files_share_a_row(tmp_path: Path) -> None:
    files = images(tmp_path / "images")
    twin = Path(shutil.copy(files[0], tmp_path / "twin.tif"))
    result = prepared([*files, twin, files[1]], tmp_path / "store")
    assert len(result.pixels) == len(result.row_of) == 5


def test_a_second_call_decodes_nothing_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = images(tmp_path / "images")
    first = prepared(files, tmp_path / "store")
    before = [(path, path.stat().st_mtime_ns) for path in sorted((tmp_path / "store" / IMAGES).rglob("*"))]

    def decode(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("tlmed.data.prepare.read_image", decode)
    second = prepared(files, tmp_path / "store")
    assert (second.key, second.row_of) == (first.key, first.row_of)
    assert np.array_equal(second.pixels, first.pixels)
    after = [(path, path.stat().st_mtime_ns) for path in sorted((tmp_path / "store" / IMAGES).rglob("*"))]
    assert after == before


def test_unreadable_files_are_listed_with_the_reason(tmp_path: Path) -> None:
    files = images(tmp_path / "images")
    text = tmp_path / "text.png"
    text.write_text("no image")
    cut = tmp_path / "cut.png"
    cut.write_bytes(files[0].read_bytes()[:200])
    result = prepared([text, *files, cut], tmp_path / "store")
    assert len(result.pixels) == 5
    assert set(result.unreadable) == {file_digest(text), file_digest(cut)}
    assert set(result.row_of) == {file_digest(file) for file in files}
    assert result.unreadable[file_digest(text)].startswith("not an image in one of the formats")
    assert result.unreadable[file_digest(cut)].startswith("damaged or cut off")
    for file in files:
        assert np.array_equal(result.pixels[result.row_of[file_digest(file)]], read_image(file, SETTINGS))


def test_reasons_name_no_path_because_other_files_may_have_the_same_content(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    assert str(tmp_path) not in prepared([text], tmp_path / "store").unreadable[file_digest(text)]


def test_only_unreadable_files_give_an_empty_store(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    result = prepared([text], tmp_path / "store")
    assert result.pixels.shape == (0, 1, 16, 16)
    assert result.row_of == {}


def test_key_and_bytes_depend_neither_on_order_nor_on_names(tmp_path: Path) -> None:
    files = images(tmp_path / "images")
    (tmp_path / "moved").mkdir()
    moved = [Path(shutil.copy(file, tmp_path / "moved" / f"x{file.name}")) for file in reversed(files)]
    one = prepared(files, tmp_path / "one")
    other = prepared([*moved, moved[0]], tmp_path / "other")
    assert one.key == other.key
    assert stored_bytes(tmp_path / "one", one.key) == stored_bytes(tmp_path / "other", other.key)


def test_key_depends_on_the_form_and_the_files_and_on_nothing_else(tmp_path: Path) -> None:
    files = images(tmp_path / "images")
    forms: list[dict[str, object]] = [
        {},
        {"size": 17},
        {"mode": "rgb"},
        {"fit": "letterbox"},
        {"fit": "crop"},
        {"value_range": (0, 4095)},
    ]
    keys = [prepared(files, tmp_path / "store", SETTINGS.model_copy(update=form)).key for form in forms]
    keys.append(prepared(files[:-1], tmp_path / "store").key)
    assert len(set(keys)) == len(keys)
    assert Store(tmp_path / "store").entries(IMAGES) == sorted(keys)
    normalised = SETTINGS.model_copy(update={"mean": (0.5,), "std": (0.5,)})
    assert prepared(files, tmp_path / "store", normalised).key == keys[0]


def test_workers_give_the_same_bytes(tmp_path: Path) -> None:
    files = images(tmp_path / "images", 40)
    text = tmp_path / "text.png"
    text.write_text("no image")
    here = prepared([*files, text], tmp_path / "here", num_workers=0)
    elsewhere = prepared([*files, text], tmp_path / "elsewhere", num_workers=2)
    assert len(elsewhere.pixels) == 40
    assert stored_bytes(tmp_path / "here", here.key) == stored_bytes(tmp_path / "elsewhere", elsewhere.key)


def test_what_fails_half_way_leaves_nothing_and_is_made_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = images(tmp_path / "images")
    calls = 0

    def full(file: Path, settings: ImageSettings) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        return read_image(file, settings)

    with monkeypatch.context() as patched:
        patched.setattr("tlmed.data.prepare.read_image", full)
        with pytest.raises(OSError, match="No space left"):
            prepared(files, tmp_path / "store")
    store = Store(tmp_path / "store")
    assert store.entries(IMAGES) == []
    assert store.leftovers(IMAGES) == []
    assert len(prepared(files, tmp_path / "store").pixels) == 5
