from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from tlmed.data.images import ImageLimits, UnreadableImage, read_image
from tlmed.recipe.model import ImageSettings

GREY = ImageSettings(size=32)


def noise(height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width), dtype=np.uint8)


def saved(file: Path, image: Image.Image | np.ndarray, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, **options)
    return file


def refusal(file: Path, settings: ImageSettings = GREY, limits: ImageLimits | None = None) -> str:
    """Return the message, which must name the file."""
    with pytest.raises(UnreadableImage) as caught:
        read_image(file, settings, limits or ImageLimits())
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def png_header(width: int, height: int) -> bytes:
    """A PNG file that says how large it is and holds no pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def with_white_as_zero(file: Path) -> Path:
    """Set a little-endian TIFF file's photometric interpretation to 0."""
    content = bytearray(file.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry)[0] == TiffImagePlugin.PHOTOMETRIC_INTERPRETATION:
            struct.pack_into("<H", content, entry + 8, 0)
    file.write_bytes(content)
    return file


def test_too_many_bytes_are_refused_before_the_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "large.png", noise())
    num_bytes = file.stat().st_size
    read_image(file, GREY, ImageLimits(max_bytes=num_bytes))

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(Image, "open", opened)
    message = refusal(file, limits=ImageLimits(max_bytes=num_bytes - 1))
    assert f"{num_bytes} bytes are more than the limit of {num_bytes - 1}" in message


@pytest.mark.parametrize("size", [(9000, 9000), (100_000, 100_000)])
def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(png_header(*size))
    assert "more than the limit of 80000000" in refusal(file)


def test_the_limit_of_pixels_is_inclusive(tmp_path: Path) -> None:
    file = saved(tmp_path / "image.png", noise(20, 30))
    read_image(file, GREY, ImageLimits(max_pixels=600))
    assert "30 x 20 pixels are more than the limit of 599" in refusal(file, limits=ImageLimits(max_pixels=599))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    content = saved(tmp_path / f"whole{suffix}", np.dstack([noise(64, 64)] * 3)).read_bytes()
    file = tmp_path / f"cut{suffix}"
    for length in (len(content) // 2, 20):
        file.write_bytes(content[:length])
        assert "damaged" in refusal(file)


def _write_text(file: Path) -> None:
    file.write_text("no image")


def _write_gif(file: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (32, 32)).save(buffer, "GIF")
    file.write_bytes(buffer.getvalue())


@pytest.mark.parametrize("write", [_write_text, _write_gif, Path.touch])
def test_other_content_is_refused_whatever_its_name(tmp_path: Path, write: Callable[[Path], None]) -> None:
    file = tmp_path / "image.png"
    write(file)
    assert "not an image in one of the formats PNG, JPEG, TIFF, BMP, WEBP" in refusal(file)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read (No such file" in refusal(tmp_path / "absent.png")


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_several_frames_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(noise()), Image.new("L", (32, 32)), Image.new("L", (32, 32), 9)]
    message = refusal(saved(tmp_path / f"stack{suffix}", frames[0], save_all=True, append_images=frames[1:]))
    assert "holds 3 frames; give one file per slice." in message


def test_pixels_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    for value in (np.nan, np.inf):
        values = np.zeros((32, 32), np.float32)
        values[3, 4] = value
        file = saved(tmp_path / "float.tif", values)
        assert "not finite" in refusal(file, ImageSettings(size=32, value_range=(0, 1)))


def test_white_as_zero_is_inverted_with_8_bits_and_refused_with_more(tmp_path: Path) -> None:
    shallow = with_white_as_zero(saved(tmp_path / "8.tif", np.full((32, 32), 55, np.uint8)))
    assert (read_image(shallow, GREY) == 200).all()
    deep = with_white_as_zero(saved(tmp_path / "16.tif", np.full((32, 32), 1000, np.uint16)))
    assert "white as zero" in refusal(deep)
