"""Settings of the image form and of the network."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tlmed.recipe.settings import Settings

Blanking = Literal["border-only", "centre-blanked"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageSettings(Settings):
    """The one form to which every image is brought before a model sees it.

    Attributes:
        size: height and width in pixels.
        mode: `grey` is one channel in store and model, `rgb` three.
        fit: `squash` (default: letterbox bars would carry the aspect ratio, a known shortcut), `letterbox`, or
            `crop` (largest centred square).
        value_range: the fixed range of 16-bit, 32-bit and float pixels that becomes 0 to 255. Default: 0 to 65535
            for 16-bit; wider types need it. Never stretched per image, so that equal values stay equal.
        mean, std: of pixels in [0, 1], one value or three. Default: those of the starting weights, else ImageNet's.
        blanking: what a control arm must do without: see `data/blanking.py`. Not for models that are delivered.
    """

    size: int = Field(224, ge=16, le=2048)
    mode: Literal["grey", "rgb"] = "grey"
    fit: Literal["squash", "letterbox", "crop"] = "squash"
    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    blanking: Blanking | None = None

    @model_serializer(mode="wrap")
    def _without_unused_blanking(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave it out where it is not used, so that keys of what was made before it existed stay valid."""
        content: dict[str, Any] = handler(self)
        return {name: value for name, value in content.items() if name != "blanking" or value is not None}

    @model_validator(mode="after")
    def _consistent(self) -> ImageSettings:
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            raise ValueError("value_range must be [low, high] with low below high")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) not in (1, 3):
                raise ValueError(f"{name} takes one value or three, not {len(values)}")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self

    @property
    def num_channels(self) -> int:
        """1 for grey, 3 for rgb."""
        return 1 if self.mode == "grey" else 3


class BackboneSettings(Settings):
    """A network by its name.

    Attributes:
        name: timm's name, such as `vit_tiny_patch16_224` or `resnet18`, or torchvision's where timm has none.
        patch_size: for transformers, patch edge in pixels where it differs from the name's.
        depth: for vision transformers, number of blocks where it differs from the name's.
        drop_path_rate: stochastic depth (Huang et al. 2016); 0 by default: it needs long training to pay.
        attention: blocks added to a ResNet's: squeeze-and-excitation (Hu et al. 2018), CBAM (Woo et al. 2018) or
            non-local (Wang et al. 2018). None by default: published weights of plain ResNets do not have them.
    """

    name: str
    patch_size: int | None = Field(None, ge=2)
    depth: int | None = Field(None, ge=1)
    drop_path_rate: float = Field(0.0, ge=0.0, lt=1.0)
    attention: Literal["se", "cbam", "non-local"] | None = None
