from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlmed.data.images import UnreadableImage, read_image
from tlmed.recipe.model import ImageSettings

GREY = ImageSettings(size=32)
RGB = ImageSettings(size=32, mode="rgb")

COLOUR = (200, 100, 50)
LUMA = 124  # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
ORIENTATION = 0x0112

# What an image that shows `pixels` stores under each EXIF orientation.
STORED = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.T,
    6: lambda pixels: np.rot90(pixels, 1),
    7: lambda pixels: np.rot90(pixels, 2).T,
    8: lambda pixels: np.rot90(pixels, -1),
}


def noise(height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    return np.add.outer(np.linspace(0, 155, height), np.linspace(0, 100, width)).astype(np.uint8)


def saved(file: Path, image: Image.Image | np.ndarray, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, **options)
    return file


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *[(".png", mode) for mode in ("L", "LA", "RGB", "RGBA", "P")],
        *[(".jpg", mode) for mode in ("L", "RGB", "CMYK")],
        *[(".tif", mode) for mode in ("L", "LA", "RGB", "RGBA", "P", "CMYK")],
        *[(".bmp", mode) for mode in ("L", "RGB", "RGBA", "P")],
        *[(".webp", mode) for mode in ("RGB", "RGBA")],
    ],
)
def test_every_format_and_mode_gives_the_same_values(tmp_path: Path, suffix: str, mode: str) -> None:
    image = Image.new("RGB", (40, 24), COLOUR)
    if mode == "P":
        image = image.quantize(4)
    elif mode == "CMYK":
        image = Image.new("CMYK", image.size, (55, 155, 205, 0))
    else:
        image = image.convert(mode)
    file = saved(tmp_path / f"image{suffix}", image, **({"lossless": True} if suffix == ".webp" else {}))
    tolerance = 2 if suffix == ".jpg" else 0
    expected_rgb = (LUMA,) * 3 if mode in ("L", "LA") else COLOUR
    grey, rgb = read_image(file, GREY).astype(int), read_image(file, RGB).astype(int)
    assert grey.shape == (1, 32, 32)
    assert rgb.shape == (3, 32, 32)
    assert np.abs(grey - LUMA).max() <= tolerance
    assert np.abs(rgb - np.reshape(expected_rgb, (3, 1, 1))).max() <= tolerance


def test_the_result_is_writable_contiguous_bytes(tmp_path: Path) -> None:
    file = saved(tmp_path / "image.png", noise())
    for settings in (GREY, RGB):
        pixels = read_image(file, settings)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable


@pytest.mark.parametrize("settings", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
def test_form_does_not_tell_how_a_grey_image_was_stored(tmp_path: Path, settings: ImageSettings, fit: str) -> None:
    settings = settings.model_copy(update={"fit": fit})
    grey = Image.fromarray(noise(48, 40))
    expected = read_image(saved(tmp_path / "grey.png", grey), settings)
    for mode in ("LA", "RGB", "RGBA", "P"):
        assert np.array_equal(read_image(saved(tmp_path / f"{mode}.png", grey.convert(mode)), settings), expected)
    assert all(np.array_equal(channel, expected[0]) for channel in expected)


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = noise(40, 24)
    expected = read_image(saved(tmp_path / "upright.png", upright), GREY)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(STORED[orientation](upright))
    assert np.array_equal(read_image(saved(tmp_path / "stored.png", stored, exif=exif), GREY), expected)
    for compression in ("tiff_lzw", "raw"):
        file = tmp_path / f"{compression}.tif"
        saved(file, stored, compression=compression, tiffinfo={ORIENTATION: orientation})
        assert np.array_equal(read_image(file, GREY), expected), compression


def test_exif_orientation_of_a_photograph_is_applied(tmp_path: Path) -> None:
    upright = smooth(300, 200)
    expected = read_image(saved(tmp_path / "upright.png", upright), GREY).astype(int)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    file = saved(tmp_path / "phone.jpg", np.rot90(upright), exif=exif, quality=95)
    assert np.abs(read_image(file, GREY) - expected).max() <= 3


@pytest.mark.parametrize(
    "name",
    [
        "100% normal.png",
        "two  spaces .png",
        "UPPER.PNG",
        "wrong.jpg",
        "none",
        "bild-ü-肺-🫁.png",
        "a,b;'c.png",
        "[1].png",
    ],
)
def test_names_do_not_matter(tmp_path: Path, name: str) -> None:
    pixels = noise()
    (tmp_path / name).write_bytes(saved(tmp_path / "plain.png", pixels).read_bytes())
    assert np.array_equal(read_image(tmp_path / name, GREY)[0], pixels)


def test_what_is_transparent_becomes_black(tmp_path: Path) -> None:
    white = np.full((32, 32), 255, np.uint8)
    alpha = np.zeros_like(white)
    alpha[:, 16:] = 128
    half_white = saved(tmp_path / "la.png", Image.merge("LA", [Image.fromarray(white), Image.fromarray(alpha)]))
    colour = Image.merge("RGBA", [Image.fromarray(layer) for layer in (white, white, white, alpha)])
    for file in (half_white, saved(tmp_path / "rgba.png", colour), saved(tmp_path / "rgba.tif", colour)):
        for settings in (GREY, RGB):
            pixels = read_image(file, settings)
            assert (pixels[..., :16] == 0).all()
            assert (pixels[..., 16:] == 128).all()


def test_transparent_palette_entries_and_colours_become_black(tmp_path: Path) -> None:
    indices = np.zeros((32, 32), np.uint8)
    indices[:, 16:] = 1
    palette = Image.fromarray(indices).convert("P")
    palette.putpalette([255, 255, 255, 10, 20, 30])
    colour = np.array([[255, 255, 255], [10, 20, 30]], np.uint8)[indices]
    for file in (
        saved(tmp_path / "palette.png", palette, transparency=0),
        saved(tmp_path / "colour.png", colour, transparency=(255, 255, 255)),
    ):
        pixels = read_image(file, RGB)
        assert (pixels[..., :16] == 0).all()
        assert pixels[:, 0, 31].tolist() == [10, 20, 30]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_mapped_by_a_fixed_range_and_not_stretched(tmp_path: Path, suffix: str) -> None:
    values = np.full((32, 32), 1000, np.uint16)  # 1000 / 65535 * 255 = 3.89
    values[:, 16:] = 10280  # 40 * 257
    file = saved(tmp_path / f"deep{suffix}", values)
    pixels = read_image(file, GREY)
    assert pixels[0, 0, [0, 31]].tolist() == [4, 40]
    windowed = read_image(file, ImageSettings(size=32, mode="rgb", value_range=(0, 4000)))
    assert windowed[:, 0, 0].tolist() == [64, 64, 64]  # 1000 / 4000 * 255 = 63.75
    assert windowed[:, 0, 31].tolist() == [255, 255, 255]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bits_need_a_value_range(tmp_path: Path, dtype: type) -> None:
    values: np.ndarray = np.full((32, 32), -1350, dtype)
    values[:, 8:] = -600
    values[:, 16:] = 150
    values[:, 24:] = 3000
    file = saved(tmp_path / "hounsfield.tif", values)
    with pytest.raises(UnreadableImage, match=r"value_range: \[low, high\]"):
        read_image(file, GREY)
    pixels = read_image(file, ImageSettings(size=32, value_range=(-1350, 150)))
    assert pixels[0, 0, [0, 12, 20, 31]].tolist() == [0, 128, 255, 255]


def test_fits_differ_in_geometry_only(tmp_path: Path) -> None:
    wide = np.full((32, 64), 100, np.uint8)
    wide[:, :16], wide[:, 48:] = 20, 240
    file = saved(tmp_path / "wide.png", wide)
    squashed, boxed, cropped = (
        read_image(file, ImageSettings(size=32, fit=fit))[0] for fit in ("squash", "letterbox", "crop")
    )
    thirds = [20, 100, 240]
    assert squashed[[0, 31]][:, [0, 16, 31]].tolist() == [thirds, thirds]
    assert (boxed[:8] == 0).all()
    assert (boxed[24:] == 0).all()
    assert boxed[[8, 23]][:, [0, 16, 31]].tolist() == [thirds, thirds]
    assert (cropped == 100).all()


def test_shrinking_averages_over_all_pixels(tmp_path: Path) -> None:
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = read_image(saved(tmp_path / "board.png", board), GREY)
    assert np.abs(pixels.astype(int) - 128).max() <= 2


def test_large_jpeg_is_close_to_the_same_image_as_png(tmp_path: Path) -> None:
    picture = smooth(700, 500)
    jpeg = read_image(saved(tmp_path / "large.jpg", picture, quality=95), GREY).astype(int)
    assert np.abs(jpeg - read_image(saved(tmp_path / "large.png", picture), GREY)).max() <= 2


def test_a_phones_jpeg_with_preview_shows_its_first_picture(tmp_path: Path) -> None:
    first, preview = Image.new("L", (32, 32), 80), Image.new("L", (8, 8), 250)
    file = saved(tmp_path / "phone.jpg", first, format="MPO", save_all=True, append_images=[preview])
    assert np.abs(read_image(file, GREY).astype(int) - 80).max() <= 2
