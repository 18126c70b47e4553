"""Drawn photographs: things of several kinds, lit, textured and in front of a background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tlmed.data.phantom_noise import smooth_noise

Floats = NDArray[np.float64]

EVERYDAY_CLASSES = ("ball", "box", "brick-wall", "bottle", "leaf", "ring", "star", "stripes")
_OVERSAMPLING = 2
_OCTAVES = (3, 6, 12, 24, 48)


def draw_photograph(generator: np.random.Generator, kind: str, size: int) -> NDArray[np.uint8]:
    """Return (size, size, 3) uint8: a thing of one of the `EVERYDAY_CLASSES`."""
    resolution = size * _OVERSAMPLING
    axis = (np.arange(resolution) + 0.5) * 2 / resolution - 1
    x, y = np.meshgrid(axis, axis)
    image = _background(generator, resolution, y)
    if kind in ("brick-wall", "stripes"):
        pattern = _bricks(generator, x, y) if kind == "brick-wall" else _stripes(generator, x, y)
        image = 0.35 * image + 0.65 * pattern[..., None] * _colour(generator)
    else:
        image = _put(generator, image, kind, x, y)
    light = 1 + 0.25 * (np.cos(generator.uniform(0, 6.28)) * x + np.sin(generator.uniform(0, 6.28)) * y)
    image = image * light[..., None] * generator.uniform(0.7, 1.15) + generator.normal(0, 0.03, image.shape)
    photograph = Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8))
    blurred = photograph.filter(ImageFilter.GaussianBlur(generator.uniform(0.2, 1.2)))
    return np.asarray(blurred.resize((size, size), Image.Resampling.BOX))


def _background(generator: np.random.Generator, resolution: int, y: Floats) -> Floats:
    """(R, R, 3): cloudy texture with a spectrum like that of photographs, and a horizon now and then."""
    texture = sum(smooth_noise(generator, resolution, cells) / cells for cells in _OCTAVES) * 1.2
    image: Floats = np.clip(0.5 + texture, 0, 1)[..., None] * _colour(generator)
    if generator.random() < 0.5:
        below = _step(y - generator.uniform(-0.2, 0.5), 0.02)[..., None]
        image = image * (1 - below) + below * _colour(generator) * (0.6 + 0.4 * image)
    return image


def _put(generator: np.random.Generator, image: Floats, kind: str, x: Floats, y: Floats) -> Floats:
    scale, angle = generator.uniform(0.35, 0.65), generator.uniform(-0.6, 0.6)
    shift_x, shift_y = generator.uniform(-0.35, 0.35, 2)
    u = ((x - shift_x) * np.cos(angle) + (y - shift_y) * np.sin(angle)) / scale
    v = (-(x - shift_x) * np.sin(angle) + (y - shift_y) * np.cos(angle)) / scale
    mask = _step(_inside(generator, kind, u, v), 0.04)
    shadow = _step(_inside(generator, kind, u - 0.25, v - 0.2), 0.3)
    shading = np.clip(1.05 - 0.35 * (u + v) / 1.4, 0.3, 1.4)
    texture = 1 + 0.15 * smooth_noise(generator, len(x), cells=16)
    image = image * (1 - 0.5 * shadow[..., None] * (1 - mask[..., None]))
    thing = (shading * texture)[..., None] * _colour(generator)
    drawn: Floats = image * (1 - mask[..., None]) + thing * mask[..., None]
    return drawn


def _inside(generator: np.random.Generator, kind: str, u: Floats, v: Floats) -> Floats:
    """(R, R): above zero inside the thing, whose size is about 1."""
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    if kind == "ball":
        return 1 - radius
    if kind == "box":
        return 0.85 - np.maximum(np.abs(u), np.abs(v) * 1.25)
    if kind == "ring":
        return 0.25 - np.abs(radius - 0.75)
    if kind == "star":
        return np.asarray(0.65 + 0.3 * np.cos(5 * angle) - radius)
    if kind == "leaf":
        return np.asarray(0.55 * (1 - u**2) - np.abs(v) - 0.02)
    neck = np.where(v < -0.35, 0.18, 0.45)
    return np.asarray(np.minimum(neck - np.abs(u), 1 - np.abs(v)))


def _bricks(generator: np.random.Generator, x: Floats, y: Floats) -> Floats:
    height = generator.uniform(0.15, 0.35)
    row = np.floor(y / height)
    along = np.mod(x / (2 * height) + 0.5 * np.mod(row, 2), 1)
    joint = np.minimum(np.minimum(along, 1 - along) * 2, np.minimum(np.mod(y / height, 1), 1 - np.mod(y / height, 1)))
    return 0.45 + 0.5 * _step(joint - 0.08, 0.04)


def _stripes(generator: np.random.Generator, x: Floats, y: Floats) -> Floats:
    angle, frequency = generator.uniform(0, np.pi), generator.uniform(6, 18)
    wave: Floats = 0.6 + 0.4 * np.tanh(3 * np.sin(frequency * (x * np.cos(angle) + y * np.sin(angle))))
    return wave


def _colour(generator: np.random.Generator) -> Floats:
    colour: Floats = generator.uniform(0.25, 1.0, 3)
    return colour


def _step(inside: Floats, width: float) -> Floats:
    step: Floats = 0.5 + 0.5 * np.tanh(np.clip(inside / width, -10, 10))
    return step
