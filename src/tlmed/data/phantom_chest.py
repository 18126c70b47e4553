"""Drawn chest CT slices: lungs, heart, vessels, bones, and findings, as a lung window shows them.

Coordinates run from -1 to 1, x to the image's right (the patient's left), y from front to back. Intensities are roughly
those of a lung window, scaled to 0..1: air 0.06, lung 0.2, ground glass about 0.45, soft tissue 0.8, bone 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tlmed.data.phantom_noise import smooth_noise

Floats = NDArray[np.float64]

_OVERSAMPLING = 2
_AIR, _LUNG, _FAT, _SOFT, _BONE = 0.06, 0.2, 0.66, 0.8, 1.0
_SIDES = (-1, 1)


@dataclass(frozen=True)
class Anatomy:
    """What the slices of one patient share.

    Attributes:
        width, height: half axes of the body.
        lung_scale: of both lungs.
        heart: size of the heart.
        wobble: phases of the lungs' outlines.
        lung_value: intensity of air-filled lung (depth of breath).
        noise, blur, offset, gain: the scanner's; blur in pixels.
    """

    width: float
    height: float
    lung_scale: float
    heart: float
    wobble: tuple[float, float]
    lung_value: float
    noise: float
    blur: float
    offset: float
    gain: float

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Anatomy:
        """Draw a patient and the scanner that saw them."""
        between = generator.uniform
        return cls(
            width=between(0.88, 0.97),
            height=between(0.7, 0.82),
            lung_scale=between(0.9, 1.02),
            heart=between(0.8, 1.15),
            wobble=(between(0, 6.28), between(0, 6.28)),
            lung_value=_LUNG + between(-0.05, 0.06),
            noise=between(0.02, 0.06),
            blur=between(0.3, 0.8),
            offset=between(-0.04, 0.04),
            gain=between(0.88, 1.08),
        )


@dataclass
class Slice:
    """A slice being drawn.

    Attributes:
        image: (R, R) intensities.
        x, y: (R, R) coordinates.
        lungs: by side (-1 is the image's left), (R, R) how much of each pixel is lung, 0 to 1.
        reach: by side, (R, R) distance from the lung's centre, 1 at the pleura.
        centers: by side, the lung's centre.
        axes: by side, the lung's half axes.
    """

    image: Floats
    x: Floats
    y: Floats
    lungs: dict[int, Floats]
    reach: dict[int, Floats]
    centers: dict[int, tuple[float, float]]
    axes: dict[int, tuple[float, float]]
    generator: np.random.Generator

    def place_in_lung(self, side: int, reach: tuple[float, float], angles: tuple[float, float]) -> tuple[float, float]:
        """Draw a point by distance from the lung's centre and angle: 0 lateral, 90 back, 180 medial, -90 front."""
        angle = np.deg2rad(self.generator.uniform(*angles))
        distance = self.generator.uniform(*reach)
        (x, y), (width, height) = self.centers[side], self.axes[side]
        return x + side * width * distance * float(np.cos(angle)), y + height * distance * float(np.sin(angle))

    def blob(self, center: tuple[float, float], radius: float, softness: float = 0.35) -> Floats:
        """Return (R, R) in 0..1: a patch with an irregular outline."""
        stretch = self.generator.uniform(0.7, 1.4)
        distance = np.hypot((self.x - center[0]) / stretch, (self.y - center[1]) * stretch) / radius
        distance += 0.45 * smooth_noise(self.generator, len(self.x), cells=9)
        return _soft(1.0 - distance, softness)

    def add_in_lung(self, side: int, amount: Floats) -> None:
        """Make lung denser (or, below zero, thinner), never denser than soft tissue."""
        self.image = np.minimum(self.image + self.lungs[side] * amount, np.maximum(self.image, _SOFT))

    def replace_in_lung(self, side: int, mask: Floats, value: float) -> None:
        """Fill lung with something that hides its vessels, up to the pleura."""
        part = np.minimum(1.0, 2.5 * self.lungs[side]) * mask
        self.image = self.image * (1 - part) + value * part


Finding = Callable[[Slice], None]


def draw_slice(
    generator: np.random.Generator, anatomy: Anatomy, level: float, finding: Finding, size: int
) -> NDArray[np.uint8]:
    """Return (size, size) uint8.

    Args:
        generator: of this slice.
        anatomy: of the patient.
        level: 0 at the top of the lungs, 1 at the diaphragm.
        finding: draws into the lungs; one of `FINDINGS`, or a mixture.
        size: of the image in pixels.
    """
    drawn = _draw_body(generator, anatomy, level, size * _OVERSAMPLING)
    _draw_vessels(drawn)
    finding(drawn)
    return _scan(drawn.image, anatomy, generator, size)


def _draw_body(generator: np.random.Generator, anatomy: Anatomy, level: float, resolution: int) -> Slice:
    axis = (np.arange(resolution) + 0.5) * 2 / resolution - 1
    x, y = np.meshgrid(axis, axis)
    radius = (np.abs(x / anatomy.width) ** 2.5 + np.abs(y / anatomy.height) ** 2.5) ** (1 / 2.5)
    image = _AIR * 0.3 + (_FAT - _AIR * 0.3) * _soft(1 - radius, 0.02)
    image += (_SOFT - _FAT) * _soft(0.92 - radius, 0.02)
    image += 0.3 * _soft(0.012 - np.abs(y - anatomy.height - 0.04 + 0.1 * x**2), 0.008)  # the table under the patient
    grown = anatomy.lung_scale * (0.66 + 0.34 * np.sin(np.pi * (0.15 + 0.6 * level)))
    lungs, reach, centers, axes = {}, {}, {}, {}
    keep_out = _organs(x, y, anatomy, level)
    for side in _SIDES:
        center, axes[side] = (
            (side * 0.44 * anatomy.width, 0.02),
            (0.4 * anatomy.width * grown, 0.8 * anatomy.height * grown),
        )
        reach[side] = _lung_reach(x, y, side, center, axes[side], anatomy.wobble)
        lungs[side] = _soft(1 - reach[side], 0.04) * (1 - keep_out)
        image = image * (1 - lungs[side]) + anatomy.lung_value * lungs[side]
        centers[side] = center
    # Lung is denser at the back, where it is compressed by its own weight.
    image += (lungs[-1] + lungs[1]) * 0.05 * np.clip(y + 0.2, 0, None)
    image = _draw_bones(image, x, y, radius, anatomy, generator)
    image = _draw_airways(image, x, y, level)
    return Slice(image, x, y, lungs, reach, centers, axes, generator)


def _lung_reach(
    x: Floats, y: Floats, side: int, center: tuple[float, float], axes: tuple[float, float], wobble: tuple[float, float]
) -> Floats:
    across, along = (x - center[0]) * side / axes[0], (y - center[1]) / axes[1]
    # Towards the middle a lung is flatter than towards the ribs.
    across = np.where(across < 0, across * 1.25, across)
    angle = np.arctan2(along, across)
    outline = 1 + 0.05 * np.sin(2 * angle + wobble[0]) + 0.04 * np.sin(3 * angle + wobble[1] * side)
    reach: Floats = (np.abs(across) ** 2.3 + np.abs(along) ** 2.3) ** (1 / 2.3) / outline
    return reach


def _organs(x: Floats, y: Floats, anatomy: Anatomy, level: float) -> Floats:
    """(R, R) what is no lung: mediastinum, heart, aorta, and at the base the dome of the diaphragm."""
    middle = _ellipse(x, y, (0.02, 0.0), (0.15, anatomy.height))
    aorta = _ellipse(x, y, (0.15, 0.3), (0.08, 0.08))
    everything = np.maximum(middle, aorta)
    if level > 0.35:
        heart = anatomy.heart * min(1.0, (level - 0.2) / 0.4)
        everything = np.maximum(everything, _ellipse(x, y, (0.14, -0.16), (0.3 * heart, 0.26 * heart)))
    if level > 0.8:
        dome = (level - 0.7) * 1.2
        everything = np.maximum(everything, _ellipse(x, y, (-0.36, -0.02), (0.9 * dome, dome)))
    return everything


def _draw_bones(
    image: Floats, x: Floats, y: Floats, radius: Floats, anatomy: Anatomy, generator: np.random.Generator
) -> Floats:
    back = 0.62 * anatomy.height
    vertebra = np.maximum(_ellipse(x, y, (0, back), (0.13, 0.1)), _ellipse(x, y, (0, back + 0.16), (0.035, 0.1)))
    vertebra = np.maximum(vertebra, _ellipse(x, y, (0, back + 0.12), (0.2, 0.03)))
    canal = _ellipse(x, y, (0, back + 0.125), (0.05, 0.04))
    sternum = _ellipse(x, y, (0, -0.86 * anatomy.height), (0.12, 0.035))
    angle = np.arctan2(y / anatomy.height, x / anatomy.width)
    # Ribs run downwards to the front, so that a slice cuts each of them over a part of its length.
    turn = generator.uniform(0, 0.5)
    along = np.clip(np.cos(6.0 * (np.abs(angle - np.pi / 2) + turn)) * 2, 0, 1)
    ribs = _soft(0.03 - np.abs(radius - 0.86), 0.01) * along
    bones = np.maximum.reduce([vertebra * 0.9, sternum, ribs])
    image = image * (1 - bones) + _BONE * bones
    drawn: Floats = image * (1 - canal) + _SOFT * canal
    return drawn


def _draw_airways(image: Floats, x: Floats, y: Floats, level: float) -> Floats:
    if level < 0.4:
        airway = _ellipse(x, y, (0.0, 0.02), (0.065, 0.075))
    else:
        airway = np.maximum(_ellipse(x, y, (-0.14, 0.06), (0.045, 0.05)), _ellipse(x, y, (0.15, 0.08), (0.04, 0.045)))
    drawn: Floats = image * (1 - airway) + _AIR * airway
    return drawn


def _draw_vessels(drawn: Slice) -> None:
    """Trees from the roots of the lungs, cut lengthwise in parts, and dots where the slice cuts vessels across."""
    resolution = len(drawn.image)
    canvas = Image.new("L", (resolution, resolution))
    pen = _Pen(ImageDraw.Draw(canvas), drawn.generator, resolution)
    for side in _SIDES:
        root = (drawn.centers[side][0] - side * 0.66 * drawn.axes[side][0], 0.06)
        for angle in np.deg2rad(np.linspace(-70, 70, 5)):
            heading = (angle if side > 0 else np.pi - angle) + drawn.generator.normal(0, 0.2)
            pen.grow_vessel(root, heading, width=0.03, length=0.17)
        for _ in range(drawn.generator.integers(14, 26)):
            pen.dot(drawn.place_in_lung(side, (0.1, 0.9), (-180, 180)), drawn.generator.uniform(0.008, 0.02))
    tree = np.asarray(canvas.filter(ImageFilter.GaussianBlur(resolution / 200)), dtype=np.float64) / 255
    for side in _SIDES:
        drawn.add_in_lung(side, 0.5 * tree)


@dataclass(frozen=True)
class _Pen:
    """Draws vessels into an image of `resolution` pixels; positions and widths in coordinates from -1 to 1."""

    canvas: ImageDraw.ImageDraw
    generator: np.random.Generator
    resolution: int

    def grow_vessel(self, start: tuple[float, float], heading: float, *, width: float, length: float) -> None:
        """Draw a vessel and the branches it ends in; parts leave the slice and are not seen."""
        if width < 0.009:
            return
        heading += self.generator.normal(0, 0.18)
        end = (start[0] + length * float(np.cos(heading)), start[1] + length * float(np.sin(heading)))
        pixels = width * self.resolution / 2
        if self.generator.random() < 0.75:
            brightness = int(255 * min(1.0, pixels))
            self.canvas.line([self._pixel(start), self._pixel(end)], fill=brightness, width=max(1, round(pixels)))
        for turn in (-1, 1):
            shorter = length * self.generator.uniform(0.65, 0.95)
            self.grow_vessel(end, heading + turn * self.generator.uniform(0.1, 0.6), width=width * 0.7, length=shorter)

    def dot(self, center: tuple[float, float], radius: float) -> None:
        """Draw a vessel that the slice cuts across."""
        x, y = self._pixel(center)
        pixels = radius * self.resolution / 2
        self.canvas.ellipse((x - pixels, y - pixels, x + pixels, y + pixels), fill=int(255 * min(1.0, pixels)))

    def _pixel(self, point: tuple[float, float]) -> tuple[float, float]:
        return (point[0] + 1) / 2 * self.resolution, (point[1] + 1) / 2 * self.resolution


def _scan(image: Floats, anatomy: Anatomy, generator: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Add what a scanner adds: blur, correlated noise, and its own idea of the window."""
    image = (image - 0.5) * anatomy.gain + 0.5 + anatomy.offset
    image = image + anatomy.noise * (generator.normal(size=image.shape) + smooth_noise(generator, len(image), cells=24))
    eight_bit = Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8))
    blurred = eight_bit.filter(ImageFilter.GaussianBlur(anatomy.blur * _OVERSAMPLING / 2))
    return np.asarray(blurred.resize((size, size), Image.Resampling.BOX))


def normal(drawn: Slice) -> None:
    """Nothing but lung."""
    del drawn


def ground_glass(drawn: Slice, *, strength: float = 1.0) -> None:
    """Hazy patches anywhere, through which vessels still show."""
    for _ in range(drawn.generator.integers(1, 4)):
        side = _any_side(drawn)
        _haze(drawn, side, drawn.place_in_lung(side, (0.2, 0.9), (-100, 200)), (0.14, 0.26), strength)


def consolidation(drawn: Slice) -> None:
    """One dense patch with dark air-filled bronchi in it."""
    side = _any_side(drawn)
    center = drawn.place_in_lung(side, (0.35, 0.8), (-60, 120))
    mask = drawn.blob(center, drawn.generator.uniform(0.16, 0.3), softness=0.2)
    drawn.replace_in_lung(side, mask, _SOFT - 0.08)
    for _ in range(3):
        drawn.add_in_lung(side, -0.25 * _bronchus(drawn, center) * mask)


def nodules(drawn: Slice) -> None:
    """Round, sharp, dense spots larger than the vessels."""
    for _ in range(drawn.generator.integers(1, 4)):
        side = _any_side(drawn)
        center = drawn.place_in_lung(side, (0.2, 0.85), (-120, 150))
        radius = drawn.generator.uniform(0.05, 0.1)
        drawn.replace_in_lung(side, _ellipse(drawn.x, drawn.y, center, (radius, radius)), _SOFT - 0.04)


def effusion(drawn: Slice) -> None:
    """Fluid behind the lung, with a level that curves up to the side."""
    side = _any_side(drawn)
    (x, y), (width, height) = drawn.centers[side], drawn.axes[side]
    line = (
        y
        + height * drawn.generator.uniform(0.3, 0.65)
        - 0.35 * height * np.clip((drawn.x - x) * side / width, 0, 1) ** 2
    )
    drawn.replace_in_lung(side, _soft(drawn.y - line, 0.04), _SOFT - 0.04)


def emphysema(drawn: Slice) -> None:
    """Holes without tissue, more of them in the middle of the lung."""
    for side in _SIDES:
        for _ in range(drawn.generator.integers(6, 14)):
            center = drawn.place_in_lung(side, (0.0, 0.85), (-180, 180))
            radius = drawn.generator.uniform(0.03, 0.08)
            drawn.replace_in_lung(side, 0.9 * _ellipse(drawn.x, drawn.y, center, (radius, radius)), _AIR)


def viral_pneumonia(drawn: Slice, extent: float) -> None:
    """Ground glass under the pleura of both lungs, to the side and back; some of it consolidated."""
    generator = drawn.generator
    for side in _SIDES:
        for _ in range(1 + generator.binomial(3, extent)):
            center = drawn.place_in_lung(side, (0.7, 0.95), (-20, 80))
            _haze(drawn, side, center, (0.1, 0.2), 0.5 + extent)
            if generator.random() < 0.35 * extent:
                drawn.replace_in_lung(side, drawn.blob(center, 0.07), _SOFT - 0.12)


def pulmonary_oedema(drawn: Slice, extent: float) -> None:
    """Ground glass around the roots of both lungs: the same haze as in viral pneumonia, in another place."""
    for side in _SIDES:
        for _ in range(1 + drawn.generator.binomial(3, extent)):
            center = drawn.place_in_lung(side, (0.1, 0.5), (90, 240))
            _haze(drawn, side, center, (0.12, 0.22), 0.5 + extent)


def any_oedema(drawn: Slice) -> None:
    """Pulmonary oedema, more or less of it."""
    pulmonary_oedema(drawn, drawn.generator.uniform(0.1, 0.9))


FINDINGS = MappingProxyType(
    {
        "consolidation": consolidation,
        "emphysema": emphysema,
        "ground-glass": ground_glass,
        "nodules": nodules,
        "normal": normal,
        "effusion": effusion,
        "oedema": any_oedema,
    }
)


def _haze(drawn: Slice, side: int, center: tuple[float, float], radius: tuple[float, float], strength: float) -> None:
    generator = drawn.generator
    mask = drawn.blob(center, generator.uniform(*radius))
    speckle = 1 + 0.25 * smooth_noise(generator, len(drawn.x), cells=40)
    drawn.add_in_lung(side, generator.uniform(0.1, 0.22) * strength * mask * speckle)


def _bronchus(drawn: Slice, center: tuple[float, float]) -> Floats:
    """(R, R) a short thin tube near a point."""
    angle, (right, down) = drawn.generator.uniform(0, np.pi), drawn.generator.normal(0, 0.05, size=2)
    x, y = drawn.x - center[0] - right, drawn.y - center[1] - down
    across, along = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    return _soft(0.014 - np.abs(across), 0.008) * _soft(0.09 - np.abs(along), 0.03)


def _any_side(drawn: Slice) -> int:
    return int(drawn.generator.choice(_SIDES))


def _ellipse(x: Floats, y: Floats, center: tuple[float, float], axes: tuple[float, float]) -> Floats:
    """(R, R) in 0..1, with an edge of about one pixel."""
    return _soft(1 - np.hypot((x - center[0]) / axes[0], (y - center[1]) / axes[1]), 0.02 / min(axes))


def _soft(inside: Floats, width: float) -> Floats:
    """A step from 0 to 1 at `inside` = 0, over about `width` to either side."""
    step: Floats = 0.5 + 0.5 * np.tanh(np.clip(inside / width, -10, 10))
    return step
