"""One file to one array, bounded: all decoding in tlmed goes through `read_image`."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from tlmed.data.blanking import blanked
from tlmed.errors import InputError
from tlmed.recipe.model import ImageSettings

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")

_RANGE_OF_16_BIT = (0.0, 65535.0)
_PHOTOMETRIC = TiffImagePlugin.PHOTOMETRIC_INTERPRETATION
_BLACK = (0, 0, 0, 255)
# What Pillow raises on damaged files, depending on the format.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)


class UnreadableImage(InputError):
    """An image file that cannot be brought into the form that models see.

    Args:
        file: which.
        reason: why, without the file's name.
        advice: what to do.
    """

    def __init__(self, file: Path | str, reason: str, advice: str = "replace the file, or leave it out") -> None:
        super().__init__(f"{file}: {reason}; {advice}.")
        self.reason = reason
        self._arguments = (file, reason, advice)

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[Path | str, str, str]]:
        return UnreadableImage, self._arguments  # on its way from a decoding process

    @property
    def is_passing(self) -> bool:
        """Whether the file system is at fault, not the content: another time it may be read."""
        return isinstance(self.__cause__, OSError) and self.__cause__.errno is not None


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before a pixel is decoded: a small file may unpack to more than the memory holds.

    Attributes:
        max_bytes: of the file.
        max_pixels: width times height; the default is below the number from which Pillow warns of its own.
    """

    max_bytes: int = 512 * 2**20
    max_pixels: int = 80_000_000


DEFAULT_LIMITS = ImageLimits()


def read_image(file: Path, settings: ImageSettings, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """Return one image in the form that models see: uint8 (C, size, size), C = 1 for grey and 3 for rgb.

    The format is told from the content, not from the name. EXIF rotation is applied, what is transparent becomes black,
    colour becomes grey by ITU-R 601 luma. Pixels of 16 bits and more are mapped from a fixed range, never stretched by
    the image's own values. Resizing averages over the pixels that fall together (triangle filter).

    Raises:
        UnreadableImage: missing, beyond the limits, not an image, damaged, of several frames, or with pixels whose
            range is not known.
    """
    try:
        num_bytes = file.stat().st_size
    except OSError as error:
        raise UnreadableImage(file, f"cannot be read ({error.strerror})") from error
    if num_bytes > limits.max_bytes:
        raise UnreadableImage(file, f"{num_bytes} bytes are more than the limit of {limits.max_bytes}")
    try:
        # Opened as a stream: by its path Pillow maps an uncompressed TIFF into memory, and turning that scrambles it.
        with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as opened:
            _check_header(file, opened, limits)
            # JPEG can decode straight to a half, quarter or eighth; twice the size keeps the final resize exact enough.
            opened.draft("L" if settings.mode == "grey" else "RGB", (2 * settings.size, 2 * settings.size))
            return blanked(_to_form(file, opened, settings), settings.blanking)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(file, f"not an image in one of the formats {', '.join(FORMATS)}, or damaged") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(file, f"more than the limit of {limits.max_pixels} pixels") from error
    except _DAMAGE as error:
        raise UnreadableImage(
            file, f"damaged or cut off ({' '.join(str(error).split()) or type(error).__name__})"
        ) from error


def _check_header(file: Path, opened: Image.Image, limits: ImageLimits) -> None:
    width, height = opened.size
    if width * height > limits.max_pixels:
        raise UnreadableImage(file, f"{width} x {height} pixels are more than the limit of {limits.max_pixels}")
    num_frames = getattr(opened, "n_frames", 1)
    # A phone's JPEG may carry previews as further frames (MPO); its first one is the picture.
    if num_frames > 1 and opened.format != "MPO":
        raise UnreadableImage(file, f"holds {num_frames} frames", "give one file per slice")
    is_inverted = isinstance(opened, TiffImagePlugin.TiffImageFile) and opened.tag_v2.get(_PHOTOMETRIC) == 0
    if is_inverted and _is_deep(opened):
        raise UnreadableImage(file, "more than 8 bits with white as zero", "store it with black as zero")


def _to_form(file: Path, opened: Image.Image, settings: ImageSettings) -> np.ndarray:
    image = ImageOps.exif_transpose(opened)
    if _is_deep(image):
        values = _map_range(file, image, settings)
        grey = np.asarray(_fit(Image.fromarray(values), settings))
        single = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
        return np.repeat(single[None], settings.num_channels, axis=0)
    image = _over_black(image).convert("L" if settings.mode == "grey" else "RGB")
    pixels = np.asarray(_fit(image, settings))
    return pixels[None].copy() if settings.mode == "grey" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def _map_range(file: Path, image: Image.Image, settings: ImageSettings) -> np.ndarray:
    """Return (H, W) float32 in 0 to 255."""
    value_range = settings.value_range
    if value_range is None and image.mode.startswith("I;16"):
        value_range = _RANGE_OF_16_BIT
    if value_range is None:
        raise UnreadableImage(
            file,
            f"pixels of Pillow's mode {image.mode} have no natural range",
            "write `image: {value_range: [low, high]}`",
        )
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise UnreadableImage(file, "holds pixels that are not finite numbers")
    low, high = value_range
    scaled: np.ndarray = np.clip((values - low) / (high - low), 0.0, 1.0) * np.float32(255)
    return scaled.astype(np.float32)


def _over_black(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, _BLACK), layer)


def _fit(image: Image.Image, settings: ImageSettings) -> Image.Image:
    size = (settings.size, settings.size)
    if settings.fit == "letterbox":
        return ImageOps.pad(image, size, method=Image.Resampling.BILINEAR, color=0)
    if settings.fit == "crop":
        return ImageOps.fit(image, size, method=Image.Resampling.BILINEAR)
    return image.resize(size, resample=Image.Resampling.BILINEAR)
