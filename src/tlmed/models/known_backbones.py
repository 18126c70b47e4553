"""What is known of the networks that recipes name most: size, arithmetic, published weights. No torch, no network.

`known_backbones.csv` beside this file is written by `benchmarks/backbone_table.py`, which counts and does not quote.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tlmed.recipe.model import BackboneSettings


@dataclass(frozen=True)
class KnownBackbone:
    """One network by its plain name.

    Attributes:
        name: as recipes write it.
        library: `timm` or `torchvision`.
        parameters_million: of the backbone without a classifier, for images in colour.
        giga_multiply_adds: of one forward pass of one image of `image_size`, in units of 1e9.
        image_size: edge in pixels that its published weights were trained or are used with.
        patch_size: edge in pixels of a transformer's patches.
        width, depth: of plain vision transformers, the length of a token and the number of blocks.
        weights: well-known published ones, as recipes write them, or the address of their file.
        pretrained_on: the images that those weights have seen.
        licence: of those weights, as timm states it; None where no publisher states one.
    """

    name: str
    library: str
    parameters_million: float
    giga_multiply_adds: float
    image_size: int
    patch_size: int | None
    width: int | None
    depth: int | None
    weights: str | None
    pretrained_on: str | None
    licence: str | None

    def giga_multiply_adds_with(self, settings: BackboneSettings, image_size: int) -> float:
        """Return the arithmetic of one forward pass with a recipe's options at its image size, in units of 1e9.

        Exact for plain vision transformers. Of other networks it grows with the area, which leaves out added attention
        blocks, and that layers after the pooling do not shrink (at 64 px, 0.04 of AlexNet's 0.09 and 0.1 of VGG-16's
        1.4).
        """
        if self.patch_size is None:
            return self.giga_multiply_adds * (image_size / self.image_size) ** 2
        patch_size = settings.patch_size or self.patch_size
        if self.width is None or self.depth is None:
            num_patches, usual = image_size / patch_size, self.image_size / self.patch_size
            return self.giga_multiply_adds * (num_patches / usual) ** 2
        return _transformer_multiply_adds(self.width, settings.depth or self.depth, image_size, patch_size) / 1e9


@cache
def known_backbones() -> dict[str, KnownBackbone]:
    """Return all of them by name, in the table's order."""
    text = files("tlmed.models").joinpath("known_backbones.csv").read_text(encoding="utf-8")
    return {row["name"]: _read_row(row) for row in csv.DictReader(text.splitlines())}


def find_known_backbone(name: str) -> KnownBackbone | None:
    """Return a network by its name, with or without the tag of published weights, or None where it is not listed."""
    return known_backbones().get(name.partition(".")[0])


def _read_row(row: dict[str, str]) -> KnownBackbone:
    def number(key: str) -> int | None:
        return int(row[key]) if row[key] else None

    return KnownBackbone(
        name=row["name"],
        library=row["library"],
        parameters_million=float(row["parameters_million"]),
        giga_multiply_adds=float(row["giga_multiply_adds"]),
        image_size=int(row["image_size"]),
        patch_size=number("patch_size"),
        width=number("width"),
        depth=number("depth"),
        weights=row["weights"] or None,
        pretrained_on=row["pretrained_on"] or None,
        licence=row["licence"] or None,
    )


def _transformer_multiply_adds(width: int, depth: int, image_size: int, patch_size: int) -> int:
    """Count a vision transformer's products (Dosovitskiy et al. 2021): patches, then in each block 12 width² a token.

    Those are 3 for query, key and value, 1 for the projection, 8 for the two layers of the MLP; attention adds
    2 tokens² width. One token is the class token, and patches have three channels.
    """
    num_patches = (image_size // patch_size) ** 2
    num_tokens = num_patches + 1
    block = 12 * num_tokens * width**2 + 2 * num_tokens**2 * width
    return depth * block + num_patches * 3 * patch_size**2 * width
