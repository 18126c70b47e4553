"""Backbones by the names of timm, or torchvision's where timm has none; always with random weights."""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
from timm.layers.drop import DropPath
from timm.layers.patch_embed import PatchEmbed
from timm.models import resnet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tlmed.errors import InputError
from tlmed.models.torchvision_networks import NETWORK_NAMES, create_torchvision_network
from tlmed.recipe.model import BackboneSettings, ImageSettings

_CHANGES = ("patch_size", "depth", "drop_path_rate", "attention")
_ATTENTION_LAYERS = {"se": "se", "cbam": "cbam", "non-local": "nl"}  # timm's names
# Plain names for which timm has the network, but no name of its own.
_BUILT_AS = {"vit_tiny_patch32_224": ("vit_tiny_patch16_224", 32)}
_FORWARD_ERRORS = (AssertionError, RuntimeError, ValueError)
_LARGEST_TRIED = 512


def create_backbone(backbone: BackboneSettings, image: ImageSettings) -> nn.Module:
    """Build a network without a classifier and with random weights; nothing is downloaded.

    Maps images `(N, C, size, size)` to pooled features `(N, num_features)`, see `num_features`. Where no GPU is there,
    attention is computed step by step (`prefer_explicit_attention`).

    Raises:
        InputError: unknown name, an option that the network does not have, an image size that does not fit.
    """
    backbone = _resolved(backbone)
    _check_name(backbone.name)
    _check_attention(backbone)
    network = _build(backbone, image)
    _check_built(network, backbone, image)
    if not torch.cuda.is_available():
        prefer_explicit_attention(network)
    keep_tokens_in_autocast_type(network)
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


def keep_tokens_in_autocast_type(model: nn.Module) -> None:
    """Make the tokens of vision transformers stay in the type of autocast, where it is on; float32 stays as it is.

    The position embedding is a float32 parameter: added to the bfloat16 patches it makes them float32 again, and with
    them what every block adds up and normalises. Training ViT-S at 224 px, batch 16, bfloat16 on two cores gives 21.5
    images/s with float32 tokens and 24.3 with bfloat16 ones (both with explicit attention).
    """
    for layer in model.modules():
        if isinstance(layer, VisionTransformer):
            layer.pos_drop.register_forward_hook(_to_autocast_type)


def _to_autocast_type(_layer: nn.Module, _inputs: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
    # A function of the module, no lambda: hooks are copied and pickled with the model, as for its moving average.
    device_type = tokens.device.type
    if not torch.is_autocast_enabled(device_type):
        return tokens
    return tokens.to(torch.get_autocast_dtype(device_type))


def prefers_channels_last(backbone: nn.Module) -> bool:
    """Whether a backbone computes faster with channels last in memory: convolutional networks do.

    Training on one core at 96 px: EfficientNet-B0 77 images/s against 46, DenseNet-121 29 against 22, ConvNeXt-T 14.5
    against 12.4; ResNet-18 and ViT-Ti equal.
    """
    layers = list(backbone.modules())
    in_patches = any(isinstance(layer, PatchEmbed) or hasattr(layer, "fused_attn") for layer in layers)
    return not in_patches and any(isinstance(layer, nn.Conv2d) for layer in layers)


def _resolved(backbone: BackboneSettings) -> BackboneSettings:
    name, patch_size = _BUILT_AS.get(backbone.name, (backbone.name, None))
    return backbone.model_copy(update={"name": name, "patch_size": backbone.patch_size or patch_size})


def _check_name(name: str) -> None:
    if name in NETWORK_NAMES:
        return
    _, _, tag = name.partition(".")
    published = timm.list_models(pretrained=True) if tag else []
    if not timm.is_model(name) or (tag and name not in published):
        known = [*timm.list_models(), *published, *NETWORK_NAMES, *_BUILT_AS]
        nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)[0]
        raise InputError(f"backbone {name!r}: timm {timm.__version__} has no such network. Did you mean {nearest!r}?")


def _build(backbone: BackboneSettings, image: ImageSettings) -> nn.Module:
    changes = {name: value for name in _CHANGES if (value := getattr(backbone, name))}
    if backbone.name in NETWORK_NAMES:
        for name in changes:
            raise _lacks_option(backbone.name, name)
        return create_torchvision_network(backbone.name, image.num_channels)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": image.num_channels, **changes}
    if backbone.attention is not None:
        options["block_args"] = {"attn_layer": _ATTENTION_LAYERS[options.pop("attention")]}
    if _has_fixed_size(backbone.name):
        options["img_size"] = image.size
    try:
        network: nn.Module = timm.create_model(backbone.name, pretrained=False, **options)
    except TypeError as error:
        unknown = [name for name in options if f"'{name}'" in str(error)]
        if not unknown or "argument" not in str(error):
            raise
        raise _lacks_option(backbone.name, unknown[0]) from error
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"backbone {backbone.name} cannot be built for images of {image.size} px"
            f"{_described(changes)}; change image.size or these options{_reason(error)}"
        ) from error
    return network


def _lacks_option(name: str, option: str) -> InputError:
    return InputError(f"backbone {name} has no option {option}; leave it out, or take another network.")


def _check_attention(backbone: BackboneSettings) -> None:
    is_resnet = timm.is_model(backbone.name) and timm.model_entrypoint(backbone.name).__module__ == resnet.__name__
    if backbone.attention is not None and not is_resnet:
        raise InputError(
            f"backbone {backbone.name} takes no attention: {backbone.attention}, which is for ResNets alone; leave it "
            "out, or take resnet18, resnet50, resnet101 or wide_resnet50_2."
        )


def _has_fixed_size(name: str) -> bool:
    """Whether a network is built for one image size: those that have position embeddings or biases."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(config is not None and config.fixed_input_size)


def _check_built(network: nn.Module, backbone: BackboneSettings, image: ImageSettings) -> None:
    """Find out now, with one black image, what would otherwise fail inside a long run."""
    _check_options_took(network, backbone, image)
    was_training = network.training
    network.eval()
    try:
        features = _features_of_black(network, image.num_channels, image.size)
    except _FORWARD_ERRORS as error:
        smallest = None if _has_fixed_size(backbone.name) else _smallest_size(network, image)
        advice = "change image.size" if smallest is None else f"image.size must be {smallest} or more"
        raise InputError(
            f"backbone {backbone.name} does not take images of {image.size} px; {advice}{_reason(error)}"
        ) from error
    network.train(was_training)
    if not isinstance(features, Tensor) or tuple(features.shape) != (1, num_features(network)):
        raise InputError(f"backbone {backbone.name} gives no single feature vector for an image; take another network.")


def _check_options_took(network: nn.Module, backbone: BackboneSettings, image: ImageSettings) -> None:
    patch = next((layer.patch_size[0] for layer in network.modules() if isinstance(layer, PatchEmbed)), None)
    if backbone.patch_size is not None and patch is not None and patch != backbone.patch_size:
        raise InputError(f"backbone {backbone.name} does not take patch_size {backbone.patch_size}; leave it out.")
    if _has_fixed_size(backbone.name) and patch is not None and image.size % patch:
        below = image.size // patch * patch
        sizes = f"{below} or {below + patch}" if below else f"{patch}"
        raise InputError(
            f"image.size {image.size} is not a multiple of the {patch} px patches of {backbone.name}; take {sizes}."
        )
    drops = any(isinstance(layer, DropPath) and layer.drop_prob for layer in network.modules())
    if backbone.drop_path_rate and not drops:
        raise InputError(
            f"backbone {backbone.name} drops nothing with drop_path_rate {backbone.drop_path_rate}; leave it out."
        )


def _features_of_black(network: nn.Module, num_channels: int, size: int) -> Any:
    with torch.no_grad():
        return network(torch.zeros(1, num_channels, size, size))


def _smallest_size(network: nn.Module, image: ImageSettings) -> int | None:
    """Find the smallest image size that a network in evaluation mode takes, given one that is too small."""

    def fits(size: int) -> bool:
        try:
            _features_of_black(network, image.num_channels, size)
        except _FORWARD_ERRORS:
            return False
        return True

    too_small, enough = image.size, 2 * image.size
    while not fits(enough):
        too_small, enough = enough, 2 * enough
        if enough > _LARGEST_TRIED:
            return None
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        too_small, enough = (too_small, middle) if fits(middle) else (middle, enough)
    return enough


def _described(changes: dict[str, Any]) -> str:
    return "".join(f", {name} {value}" for name, value in changes.items())


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f" ({text[:200].rstrip('.')})." if text else "."
