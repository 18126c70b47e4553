from __future__ import annotations

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from tlmed.models.classifier import Classifier, create_classifier
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.recipe.training import StrategySettings, TrainingSettings
from tlmed.transfer.finetune import Finetune
from tlmed.transfer.linear_probe import LinearProbe
from tlmed.transfer.parameter_groups import check_covered, decay_groups, layer_decay_groups, steps_below_head
from tlmed.transfer.strategy import ParameterGroup

NETWORKS = [
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "convnext_atto",
    "test_resnet",
    "densenet121",
    "inception_v3",
    "efficientnet_b0",
    "mobilenetv3_small_050",
    "googlenet",
    "squeezenet1_1",
    "alexnet",
]


def classifier_of(name: str, **options: object) -> Classifier:
    settings = BackboneSettings.model_validate({"name": name, **options})
    # 96 px suits them all: Inception needs 75.
    return create_classifier(settings, ImageSettings(size=96), 2)


def factors(groups: list[ParameterGroup]) -> dict[str, float]:
    return {name: group.learning_rate_factor for group in groups for name in group.parameters}


def test_norms_and_biases_do_not_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    decayed, exempt = decay_groups(model, 0.05)
    assert list(decayed.parameters) == ["0.weight"]
    assert sorted(exempt.parameters) == ["0.bias", "1.bias", "1.weight"]
    assert (decayed.weight_decay, exempt.weight_decay) == (0.05, 0.0)


def test_a_forgotten_or_doubled_parameter_is_an_error() -> None:
    model = nn.Linear(2, 2)
    weight = ParameterGroup({"weight": model.weight}, 0.0)
    with pytest.raises(ValueError, match="bias"):
        check_covered(model, [weight])
    both = ParameterGroup({"weight": model.weight, "bias": model.bias}, 0.0)
    with pytest.raises(ValueError, match="weight"):
        check_covered(model, [both, weight])
    check_covered(model, [both])


def test_rates_of_a_vision_transformer_fall_block_by_block() -> None:
    classifier = classifier_of("vit_tiny_patch16_224", depth=3)
    groups = layer_decay_groups(classifier, 0.05, 0.5)
    found = factors(groups)
    expected = {
        "head.weight": 1.0,
        "head.bias": 1.0,
        "backbone.norm.weight": 0.5,
        "backbone.blocks.2.mlp.fc1.weight": 0.5,
        "backbone.blocks.1.attn.qkv.bias": 0.25,
        "backbone.blocks.0.norm1.weight": 0.125,
        "backbone.patch_embed.proj.weight": 0.0625,
        "backbone.pos_embed": 0.0625,
        "backbone.cls_token": 0.0625,
    }
    assert {name: found[name] for name in expected} == expected
    decay = {name: group.weight_decay for group in groups for name in group.parameters}
    assert decay["backbone.blocks.1.attn.qkv.weight"] == 0.05
    assert decay["backbone.blocks.1.attn.qkv.bias"] == decay["backbone.pos_embed"] == decay["head.bias"] == 0.0


def test_rates_of_a_resnet_fall_block_by_block() -> None:
    found = factors(layer_decay_groups(classifier_of("resnet18"), 0.05, 0.9))
    # The stem and the 8 blocks, two in each of the four stages, below the head.
    assert found["head.weight"] == 1.0
    assert found["backbone.layer4.1.conv2.weight"] == pytest.approx(0.9)
    assert found["backbone.layer4.0.downsample.0.weight"] == pytest.approx(0.9**2)
    assert found["backbone.layer1.0.bn1.weight"] == pytest.approx(0.9**8)
    assert found["backbone.conv1.weight"] == found["backbone.bn1.bias"] == pytest.approx(0.9**9)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Five convolutions and two linear layers, each a layer.
        (
            "alexnet",
            {"classifier.4.weight": 1, "classifier.1.bias": 2, "features.10.weight": 3, "features.0.weight": 7},
        ),
        (
            "googlenet",
            {"inception5b.branch1.conv.weight": 1, "inception3a.branch1.bn.bias": 9, "conv1.conv.weight": 12},
        ),
        ("inception_v3", {"Mixed_7c.branch1x1.conv.weight": 1, "Conv2d_1a_3x3.conv.weight": 16}),
    ],
)
def test_layers_are_the_children_in_order_where_timm_lists_none(name: str, expected: dict[str, int]) -> None:
    steps = steps_below_head(classifier_of(name).backbone)
    assert {parameter: steps[parameter] for parameter in expected} == expected


def test_what_stands_between_the_last_block_and_the_head_goes_with_the_head() -> None:
    with torch.device("meta"):
        steps = steps_below_head(timm.create_model("vgg11", num_classes=0))
    assert steps["pre_logits.fc1.weight"] == 0
    assert steps["features.18.weight"] == 1
    assert steps["features.0.weight"] == 8  # of eight convolutions


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "test_resnet", "convnext_atto"])
def test_factors_are_those_of_timm(name: str) -> None:
    own = timm.create_model(name, num_classes=2)
    scales: dict[int, float] = {}
    for group in param_groups_layer_decay(own, layer_decay=0.7):
        scales |= {id(parameter): group["lr_scale"] for parameter in group["params"]}
    expected = {
        key: scales[id(value)] for key, value in own.named_parameters() if not key.startswith(("head.fc", "fc"))
    }
    steps = steps_below_head(timm.create_model(name, num_classes=0))
    assert {key: pytest.approx(0.7**count) for key, count in steps.items()} == {
        key: value for key, value in expected.items() if key in steps
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_of_every_kind_has_one_rate(name: str) -> None:
    classifier = classifier_of(name)
    groups = layer_decay_groups(classifier, 0.05, 0.8)
    check_covered(classifier, groups)
    found = factors(groups)
    stem = next(key for key, value in classifier.named_parameters() if value.ndim == 4)
    assert found["head.weight"] == 1.0
    assert found[stem] == min(found.values()) < 0.8
    assert len(set(found.values())) >= 6


def test_a_factor_of_one_gives_two_groups() -> None:
    classifier = classifier_of("test_resnet")
    same, plain = layer_decay_groups(classifier, 0.05, 1.0), decay_groups(classifier, 0.05)
    assert [list(group.parameters) for group in same] == [list(group.parameters) for group in plain]
    assert [(group.weight_decay, group.learning_rate_factor) for group in same] == [(0.05, 1.0), (0.0, 1.0)]


def test_strategies_take_the_setting() -> None:
    classifier = classifier_of("test_resnet")
    training = TrainingSettings(layer_decay=0.5)
    finetune = Finetune(StrategySettings(), training, None)
    finetune.prepare(classifier)
    assert min(factors(finetune.param_groups(classifier)).values()) < 0.1
    probe = LinearProbe(StrategySettings(kind="linear-probe"), training, None)
    probe.prepare(classifier)
    assert factors(probe.param_groups(classifier)) == {"head.weight": 1.0, "head.bias": 1.0}


def test_a_lower_factor_moves_a_layer_less() -> None:
    torch.manual_seed(0)
    classifier = classifier_of("test_resnet")
    before = {name: value.detach().clone() for name, value in classifier.named_parameters()}
    groups = layer_decay_groups(classifier, 0.0, 0.5)
    optimizer = torch.optim.SGD(
        [{"params": list(group.parameters.values()), "lr": group.learning_rate_factor} for group in groups], lr=1.0
    )
    for parameter in classifier.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: float((before[name] - value.detach()).mean()) for name, value in classifier.named_parameters()}
    assert moved == pytest.approx(factors(groups), rel=1e-4)
