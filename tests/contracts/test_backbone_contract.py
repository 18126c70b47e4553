"""What every backbone must do, whatever its kind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from tlmed.models.backbones import create_backbone, num_features
from tlmed.models.classifier import Classifier, create_classifier
from tlmed.models.weight_sources import WeightSource
from tlmed.models.weights import load_weights, save_weights
from tlmed.recipe.model import BackboneSettings, ImageSettings

VIT_TINY = BackboneSettings(name="vit_tiny_patch16_224")
VIT_SMALL = BackboneSettings(name="vit_small_patch16_224")
SWIN = BackboneSettings(name="swin_tiny_patch4_window7_224")
BACKBONES = [
    VIT_TINY,
    VIT_SMALL,
    BackboneSettings(name="resnet18"),
    BackboneSettings(name="densenet121"),
    BackboneSettings(name="efficientnet_b0"),
    SWIN,
]
# How many tensors depend on the image size from 64 px to 96 px: the position embedding of a ViT; in Swin the bias
# tables of the blocks whose window is clipped to the feature map (6 blocks of the third stage, 2 of the fourth).
NUM_RESAMPLED = {VIT_TINY.name: 1, VIT_SMALL.name: 1, SWIN.name: 8}

pytestmark = pytest.mark.parametrize("backbone", BACKBONES, ids=lambda settings: settings.name)


def _classifier(backbone: BackboneSettings, size: int, mode: str, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    image = ImageSettings.model_validate({"size": size, "mode": mode})
    return create_classifier(backbone, image, 2, mean=(0.5,), std=(0.25,))


def _saved(classifier: Classifier, path: Path) -> WeightSource:
    save_weights(classifier.state_dict(), path)
    return WeightSource(f"file:{path}", "file", path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize(("size", "mode"), [(64, "grey"), (96, "rgb")])
def test_gives_one_feature_vector_an_image(backbone: BackboneSettings, size: int, mode: str) -> None:
    image = ImageSettings.model_validate({"size": size, "mode": mode})
    network = create_backbone(backbone, image).eval()
    with torch.no_grad():
        features = network(torch.rand(2, image.num_channels, size, size))
    assert features.shape == (2, num_features(network))
    assert torch.isfinite(features).all()


def test_backward_reaches_every_parameter(backbone: BackboneSettings) -> None:
    classifier = _classifier(backbone, 64, "grey").train()
    logits = classifier(torch.rand(2, 1, 64, 64))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    unreached = [name for name, parameter in classifier.named_parameters() if parameter.grad is None]
    assert logits.shape == (2, 2)
    assert unreached == []
    assert all(
        torch.isfinite(parameter.grad).all() for parameter in classifier.parameters() if parameter.grad is not None
    )


def test_weights_come_back_at_the_same_size(backbone: BackboneSettings, tmp_path: Path) -> None:
    trained, fresh = _classifier(backbone, 64, "grey"), _classifier(backbone, 64, "grey", seed=1)
    report = load_weights(fresh, _saved(trained, tmp_path / "model.safetensors"), keep_head=True)
    images = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(images), trained.eval()(images))
    assert (report.num_loaded, report.num_resampled, report.new) == (len(trained.state_dict()), 0, ())


def test_weights_go_on_at_another_size(backbone: BackboneSettings, tmp_path: Path) -> None:
    trained, larger = _classifier(backbone, 64, "rgb"), _classifier(backbone, 96, "rgb", seed=1)
    report = load_weights(larger, _saved(trained, tmp_path / "model.safetensors"))
    assert report.num_resampled == NUM_RESAMPLED.get(backbone.name, 0)
    assert report.new == ("head.bias", "head.weight")
    with torch.no_grad():
        assert torch.isfinite(larger.eval()(torch.rand(1, 3, 96, 96))).all()


def test_colour_weights_see_a_grey_image_as_before(backbone: BackboneSettings, tmp_path: Path) -> None:
    colour, grey = _classifier(backbone, 64, "rgb"), _classifier(backbone, 64, "grey", seed=1)
    report = load_weights(grey, _saved(colour, tmp_path / "colour.safetensors"), keep_head=True)
    again = _classifier(backbone, 64, "rgb", seed=2)
    load_weights(again, _saved(grey, tmp_path / "grey.safetensors"), keep_head=True)
    images = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = colour.eval()(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.eval()(images), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(again.eval()(images.expand(-1, 3, -1, -1)), expected, rtol=1e-4, atol=1e-5)
    assert report.num_resampled == 1
