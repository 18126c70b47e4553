"""Networks that torchvision has and timm has not, as backbones: GoogLeNet, SqueezeNet 1.1, AlexNet.

Names in their state dicts stay torchvision's, so that its published files fit. Of those, GoogLeNet's was trained on
pixels with mean 0.5 and standard deviation 0.5, the other two on ImageNet's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torchvision
from torch import Tensor, nn


class GoogLeNet(torchvision.models.GoogLeNet):  # type: ignore[misc]
    """Szegedy et al. 2015 with batch norms; a class of its own, so that `checkpoint_filter_fn` is found beside it."""


def checkpoint_filter_fn(state: dict[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    """Leave out GoogLeNet's two auxiliary classifiers, which published files contain and a backbone does not need."""
    return {name: value for name, value in state.items() if not name.startswith(("aux1.", "aux2."))}


def create_torchvision_network(name: str, num_channels: int) -> nn.Module:
    """Build one of `NETWORK_NAMES` with random weights; it maps `(N, num_channels, H, W)` to `(N, num_features)`."""
    return _CONSTRUCTORS[name](num_channels)


def _googlenet(num_channels: int) -> nn.Module:
    # Without init_weights: torchvision's own draws truncated normals of std 0.01 and warns; the batch norms undo it.
    network = GoogLeNet(num_classes=1, aux_logits=False, init_weights=False)
    network.conv1.conv = _for_channels(network.conv1.conv, num_channels)
    network.fc = nn.Identity()
    return _described(network, 1024, first_conv="conv1.conv", classifier="fc")


def _squeezenet(num_channels: int) -> nn.Module:
    network = torchvision.models.SqueezeNet("1_1", num_classes=1)
    network.features[0] = _for_channels(network.features[0], num_channels)
    dropout, _, _, pool = network.classifier
    network.classifier = nn.Sequential(dropout, pool)
    return _described(network, 512, first_conv="features.0", classifier="classifier.1")


def _alexnet(num_channels: int) -> nn.Module:
    network = torchvision.models.AlexNet(num_classes=1)
    network.features[0] = _for_channels(network.features[0], num_channels)
    network.classifier[6] = nn.Identity()
    return _described(network, 4096, first_conv="features.0", classifier="classifier.6")


_CONSTRUCTORS: dict[str, Callable[[int], nn.Module]] = {
    "alexnet": _alexnet,
    "googlenet": _googlenet,
    "squeezenet1_1": _squeezenet,
}
NETWORK_NAMES: Sequence[str] = tuple(_CONSTRUCTORS)


def _for_channels(stem: nn.Module, num_channels: int) -> nn.Conv2d:
    """Return a first convolution like `stem` for another number of channels, started as Conv2d is (He et al. 2015)."""
    assert isinstance(stem, nn.Conv2d)
    options: dict[str, Any] = {name: getattr(stem, name) for name in ("kernel_size", "stride", "padding")}
    return nn.Conv2d(num_channels, stem.out_channels, bias=stem.bias is not None, **options)


def _described(network: Any, num_features: int, *, first_conv: str, classifier: str) -> nn.Module:
    """Attach what timm's networks say of themselves, and loading needs to know."""
    network.num_features = num_features
    network.pretrained_cfg = {"first_conv": first_conv, "classifier": classifier}
    described: nn.Module = network
    return described
