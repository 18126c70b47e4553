from __future__ import annotations

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from tlmed.models.backbones import create_backbone
from tlmed.models.known_backbones import find_known_backbone, known_backbones
from tlmed.models.torchvision_networks import NETWORK_NAMES
from tlmed.recipe.model import BackboneSettings, ImageSettings

PLAIN_NAMES = {
    *(f"vit_{size}_patch{patch}_224" for size in ("tiny", "small", "base", "large") for patch in (16, 32)),
    *("vgg16", "vgg19", "resnet18", "resnet50", "resnet101", "wide_resnet50_2"),
    *("densenet121", "densenet169", "densenet201", "googlenet", "inception_v3", "efficientnet_b0", "efficientnet_b4"),
    *("squeezenet1_1", "alexnet", "mobilenetv3_large_100", "deit_small_patch16_224", "convnext_tiny"),
    "swin_tiny_patch4_window7_224",
}


def test_the_networks_that_the_paper_compares_are_known() -> None:
    assert set(known_backbones()) >= PLAIN_NAMES


def test_every_name_can_be_built() -> None:
    built_under_another = {"vit_tiny_patch32_224"}
    for known in known_backbones().values():
        is_timm = timm.is_model(known.name) or known.name in built_under_another
        assert is_timm if known.library == "timm" else known.name in NETWORK_NAMES


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "squeezenet1_1"])
def test_the_table_has_the_size_that_the_network_has(name: str) -> None:
    network = create_backbone(BackboneSettings(name=name), ImageSettings(size=224, mode="rgb"))
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert known_backbones()[name].parameters_million == pytest.approx(num_parameters / 1e6, abs=0.001)


@pytest.mark.parametrize(
    ("settings", "size", "tolerance"),
    [
        ({"name": "vit_tiny_patch16_224"}, 224, 1e-3),
        ({"name": "vit_tiny_patch16_224", "patch_size": 8, "depth": 3}, 64, 1e-3),
        ({"name": "deit_tiny_patch16_224"}, 96, 1e-3),
        ({"name": "resnet18"}, 96, 0.02),
        ({"name": "swin_tiny_patch4_window7_224"}, 224, 0.02),
    ],
)
def test_arithmetic_is_what_pytorch_counts(settings: dict[str, object], size: int, tolerance: float) -> None:
    backbone = BackboneSettings.model_validate(settings)
    network = create_backbone(backbone, ImageSettings(size=size, mode="rgb")).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, size, size))
    known = find_known_backbone(backbone.name)
    assert known is not None
    assert known.giga_multiply_adds_with(backbone, size) == pytest.approx(
        counter.get_total_flops() / 2e9, rel=tolerance
    )


def test_a_tag_of_weights_does_not_hide_a_network() -> None:
    assert find_known_backbone("vit_tiny_patch16_224.augreg_in21k") == known_backbones()["vit_tiny_patch16_224"]
    assert find_known_backbone("resnet26t") is None


def test_licences_are_told_or_left_open() -> None:
    known = known_backbones()
    assert known["vit_tiny_patch16_224"].licence == "apache-2.0"
    assert known["alexnet"].licence is None
    assert known["vit_tiny_patch32_224"].weights is None
