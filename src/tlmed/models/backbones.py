"""Backbones by their timm names, built for the recipe's image form; always with random weights."""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
from timm.layers.patch_embed import PatchEmbed
from torch import nn

from tlmed.errors import InputError
from tlmed.recipe.model import BackboneSettings, ImageSettings

_CHANGES = ("patch_size", "depth", "drop_path_rate")


def create_backbone(backbone: BackboneSettings, image: ImageSettings) -> nn.Module:
    """Build a network without a classifier and with random weights; nothing is downloaded.

    Maps images `(N, C, size, size)` to pooled features `(N, num_features)`, see `num_features`. Where no GPU is there,
    attention is computed step by step (`prefer_explicit_attention`).

    Raises:
        InputError: unknown name, an option that the network does not have, an image size that does not fit.
    """
    _check_name(backbone.name)
    network = _build(backbone, image)
    _check_built(network, backbone, image)
    if not torch.cuda.is_available():
        prefer_explicit_attention(network)
    return network


def num_features(backbone: nn.Module) -> int:
    """Return the length of the feature vector that a backbone gives for one image."""
    # In some convolutional networks (VGG) layers stand between the last feature map, which timm's num_features
    # describes, and the classifier; head_hidden_size is what the classifier sees.
    return int(getattr(backbone, "head_hidden_size", 0) or getattr(backbone, "num_features", 0))


def prefer_explicit_attention(model: nn.Module) -> None:
    """Make every attention layer compute product, softmax and product as separate steps; the results stay equal.

    PyTorch's fused attention has a slow backward pass on CPUs: in bfloat16, ViT-S at 224 px and batch 32 trains on two
    cores at 20.8 images/s step by step and at 16.9 fused (another run: 18 and 14.4); in float32 the two are equal.
    It takes memory for the square of the number of tokens.
    """
    for layer in model.modules():
        if hasattr(layer, "fused_attn"):
            layer.fused_attn = False  # type: ignore[assignment]


def prefers_channels_last(backbone: nn.Module) -> bool:
    """Whether a backbone computes faster with channels last in memory: convolutional networks do.

    Training on one core at 96 px: EfficientNet-B0 77 images/s against 46, DenseNet-121 29 against 22, ConvNeXt-T 14.5
    against 12.4; ResNet-18 and ViT-Ti equal.
    """
    layers = list(backbone.modules())
    in_patches = any(isinstance(layer, PatchEmbed) or hasattr(layer, "fused_attn") for layer in layers)
    return not in_patches and any(isinstance(layer, nn.Conv2d) for layer in layers)


def _check_name(name: str) -> None:
    _, _, tag = name.partition(".")
    published = timm.list_models(pretrained=True) if tag else []
    if not timm.is_model(name) or (tag and name not in published):
        nearest = difflib.get_close_matches(name.lower(), [*timm.list_models(), *published], n=1, cutoff=0.0)[0]
        raise InputError(f"backbone {name!r}: timm {timm.__version__} has no such network. Did you mean {nearest!r}?")


def _build(backbone: BackboneSettings, image: ImageSettings) -> nn.Module:
    changes = {name: value for name in _CHANGES if (value := getattr(backbone, name))}
    options: dict[str, Any] = {"num_classes": 0, "in_chans": image.num_channels, **changes}
    if _has_fixed_size(backbone.name):
        options["img_size"] = image.size
    try:
        network: nn.Module = timm.create_model(backbone.name, pretrained=False, **options)
    except TypeError as error:
        unknown = [name for name in options if f"'{name}'" in str(error)]
        if not unknown or "argument" not in str(error):
            raise
        raise InputError(
            f"backbone {backbone.name} has no option {unknown[0]}; leave it out, or take another network."
        ) from error
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"backbone {backbone.name} cannot be built for images of {image.size} px"
            f"{_described(changes)}; change image.size or these options{_reason(error)}"
        ) from error
    return network


def _has_fixed_size(name: str) -> bool:
    """Whether a network is built for one image size: those that have position embeddings or biases."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(config is not None and config.fixed_input_size)


def _check_built(network: nn.Module, backbone: BackboneSettings, image: ImageSettings) -> None:
    """Find out now, with one black image, what would otherwise fail inside a long run."""
    patch = next((layer.patch_size[0] for layer in network.modules() if isinstance(layer, PatchEmbed)), None)
    if backbone.patch_size is not None and patch is not None and patch != backbone.patch_size:
        raise InputError(f"backbone {backbone.name} does not take patch_size {backbone.patch_size}; leave it out.")
    if _has_fixed_size(backbone.name) and patch is not None and image.size % patch:
        below = image.size // patch * patch
        sizes = f"{below} or {below + patch}" if below else f"{patch}"
        raise InputError(
            f"image.size {image.size} is not a multiple of the {patch} px patches of {backbone.name}; take {sizes}."
        )
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            features = network(torch.zeros(1, image.num_channels, image.size, image.size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"backbone {backbone.name} does not take images of {image.size} px; change image.size{_reason(error)}"
        ) from error
    network.train(was_training)
    if not isinstance(features, torch.Tensor) or tuple(features.shape) != (1, num_features(network)):
        raise InputError(f"backbone {backbone.name} gives no single feature vector for an image; take another network.")


def _described(changes: dict[str, Any]) -> str:
    return "".join(f", {name} {value}" for name, value in changes.items())


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f" ({text[:200].rstrip('.')})." if text else "."
