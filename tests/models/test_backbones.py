from __future__ import annotations

import copy

import pytest
import timm
import torch

from tlmed.errors import InputError
from tlmed.models.backbones import create_backbone, num_features, prefer_explicit_attention, prefers_channels_last
from tlmed.recipe.model import BackboneSettings, ImageSettings

SMALL = ImageSettings(size=32)


def test_options_change_the_network() -> None:
    settings = BackboneSettings(name="vit_tiny_patch16_224", patch_size=8, depth=2, drop_path_rate=0.1)
    network = create_backbone(settings, SMALL)
    assert len(network.blocks) == 2
    assert network.patch_embed.proj.weight.shape == (192, 1, 8, 8)
    assert network.pos_embed.shape == (1, 1 + 4 * 4, 192)
    assert network.blocks[1].drop_path1.drop_prob == pytest.approx(0.1)


def test_no_stochastic_depth_unless_asked() -> None:
    network = create_backbone(BackboneSettings(name="vit_tiny_patch16_224", depth=1), SMALL)
    assert isinstance(network.blocks[0].drop_path1, torch.nn.Identity)


def test_width_is_what_a_head_sees_where_layers_stand_before_it() -> None:
    network = create_backbone(BackboneSettings(name="mobilenetv3_small_050"), SMALL).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 1, 32, 32)).shape == (1, num_features(network)) == (1, 1024)


def test_tags_of_published_weights_are_part_of_a_name() -> None:
    network = create_backbone(BackboneSettings(name="vit_tiny_patch16_224.augreg_in21k", depth=1), SMALL)
    assert num_features(network) == 192


@pytest.mark.parametrize(
    ("settings", "size", "message"),
    [
        ({"name": "ResNet_18"}, 32, "no such network. Did you mean 'resnet18'"),
        ({"name": "hf-hub:timm/resnet18.a1_in1k"}, 32, "no such network"),
        ({"name": "resnet18", "patch_size": 8}, 32, "resnet18 has no option patch_size"),
        ({"name": "resnet18", "depth": 8}, 32, "resnet18 has no option depth"),
        ({"name": "swin_tiny_patch4_window7_224", "depth": 2}, 32, "has no option depth"),
        ({"name": "vit_tiny_patch16_224"}, 40, "image.size 40 is not a multiple of the 16 px patches .* take 32 or 48"),
        ({"name": "vit_tiny_patch16_224", "patch_size": 32}, 24, "take 32.$"),
        ({"name": "densenet121"}, 16, "densenet121 does not take images of 16 px"),
        ({"name": "vit_tiny_patch16_224.augreg_in21"}, 32, "Did you mean 'vit_tiny_patch16_224.augreg_in21k'"),
    ],
)
def test_says_what_does_not_fit(settings: dict[str, object], size: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_backbone(BackboneSettings.model_validate(settings), ImageSettings(size=size))


def test_explicit_attention_computes_the_same() -> None:
    torch.manual_seed(0)
    network = create_backbone(BackboneSettings(name="vit_tiny_patch16_224", depth=2), SMALL).eval()
    images = torch.rand(2, 1, 32, 32)
    for block in network.blocks:
        block.attn.fused_attn = True
    with torch.no_grad():
        fused = network(images)
        prefer_explicit_attention(network)
        explicit = network(images)
    assert not any(block.attn.fused_attn for block in network.blocks)
    torch.testing.assert_close(explicit, fused, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU attention stays fused")
def test_attention_is_explicit_where_there_is_no_gpu() -> None:
    network = create_backbone(BackboneSettings(name="swin_tiny_patch4_window7_224"), SMALL)
    states = [layer.fused_attn for layer in network.modules() if hasattr(layer, "fused_attn")]
    assert states == [False] * 12


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet18", True), ("convnext_atto", True), ("vit_tiny_patch16_224", False), ("mixer_s16_224", False)],
)
def test_convolutional_networks_prefer_channels_last(name: str, expected: bool) -> None:
    assert prefers_channels_last(create_backbone(BackboneSettings(name=name), SMALL)) is expected


def test_same_seed_same_weights_in_training_mode() -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(create_backbone(BackboneSettings(name="vit_tiny_patch16_224", depth=1), SMALL))
    first, second = (network.state_dict() for network in networks)
    assert networks[0].training
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_patch16_224"])
def test_tokens_stay_in_the_type_of_autocast(name: str) -> None:
    network = create_backbone(BackboneSettings(name=name, depth=2), SMALL).eval()
    seen: list[torch.dtype] = []
    # A copy, as the moving average makes one: it must do the same.
    for model in (network, copy.deepcopy(network)):
        for block in model.blocks:
            block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            model(torch.rand(1, 1, 32, 32))
    assert seen == [torch.bfloat16] * 4


def test_without_autocast_a_transformer_computes_what_timm_computes() -> None:
    network = create_backbone(BackboneSettings(name="vit_tiny_patch16_224", depth=2), SMALL).eval()
    own = timm.create_model("vit_tiny_patch16_224", num_classes=0, in_chans=1, img_size=32, depth=2).eval()
    own.load_state_dict(network.state_dict())
    prefer_explicit_attention(own)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), own(images))
