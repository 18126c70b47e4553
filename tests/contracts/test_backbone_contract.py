"""What every backbone must do, whatever its kind."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from tlmed.models.backbones import create_backbone, num_features
from tlmed.models.classifier import Classifier, create_classifier
from tlmed.models.known_backbones import known_backbones
from tlmed.models.weight_sources import WeightSource
from tlmed.models.weights import load_weights, save_weights
from tlmed.recipe.model import BackboneSettings, ImageSettings

LARGEST_QUICK_ONE = 30.0  # million parameters
# Edges in pixels of a small and a larger image; Inception-v3 takes nothing below 75 px.
USUAL_SIZES = (64, 96)
SIZES = {"inception_v3": (96, 128)}


def _cases() -> list[Any]:
    cases = []
    for known in known_backbones().values():
        marks = [pytest.mark.slow] if known.parameters_million > LARGEST_QUICK_ONE else []
        cases.append(pytest.param(BackboneSettings(name=known.name), marks=marks, id=known.name))
    for attention in ("se", "cbam", "non-local"):
        settings = BackboneSettings.model_validate({"name": "resnet18", "attention": attention})
        cases.append(pytest.param(settings, id=f"resnet18-{attention}"))
    return cases


pytestmark = pytest.mark.parametrize("backbone", _cases())


def _sizes(backbone: BackboneSettings) -> tuple[int, int]:
    return SIZES.get(backbone.name, USUAL_SIZES)


def _num_resampled(name: str) -> int:
    """How many tensors depend on the image size from 64 px to 96 px.

    The position embedding of a ViT; in Swin the bias tables of the blocks whose window is clipped to the feature map,
    which are those of the third stage (6 blocks in the tiny one, else 18) and the fourth (2).
    """
    if name.startswith("swin"):
        return 8 if name.startswith("swin_tiny") else 20
    return 1 if name.startswith(("vit", "deit")) else 0


def _classifier(backbone: BackboneSettings, size: int, mode: str, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    image = ImageSettings.model_validate({"size": size, "mode": mode})
    return create_classifier(backbone, image, 2, mean=(0.5,), std=(0.25,))


def _saved(classifier: Classifier, path: Path) -> WeightSource:
    save_weights(classifier.state_dict(), path)
    return WeightSource(f"file:{path}", "file", path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("mode", ["grey", "rgb"])
def test_gives_one_feature_vector_an_image(backbone: BackboneSettings, mode: str) -> None:
    size = _sizes(backbone)[mode == "rgb"]
    image = ImageSettings.model_validate({"size": size, "mode": mode})
    network = create_backbone(backbone, image).eval()
    with torch.no_grad():
        features = network(torch.rand(2, image.num_channels, size, size))
    assert features.shape == (2, num_features(network))
    assert torch.isfinite(features).all()


def test_backward_reaches_every_parameter(backbone: BackboneSettings) -> None:
    size, _ = _sizes(backbone)
    classifier = _classifier(backbone, size, "grey").train()
    logits = classifier(torch.rand(2, 1, size, size))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    unreached = [name for name, parameter in classifier.named_parameters() if parameter.grad is None]
    assert logits.shape == (2, 2)
    assert unreached == []
    assert all(
        torch.isfinite(parameter.grad).all() for parameter in classifier.parameters() if parameter.grad is not None
    )


def test_weights_come_back_at_the_same_size(backbone: BackboneSettings, tmp_path: Path) -> None:
    size, _ = _sizes(backbone)
    trained, fresh = _classifier(backbone, size, "grey"), _classifier(backbone, size, "grey", seed=1)
    report = load_weights(fresh, _saved(trained, tmp_path / "model.safetensors"), keep_head=True)
    images = torch.rand(1, 1, size, size)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(images), trained.eval()(images))
    assert (report.num_loaded, report.num_resampled, report.new) == (len(trained.state_dict()), 0, ())


def test_weights_go_on_at_another_size(backbone: BackboneSettings, tmp_path: Path) -> None:
    small, large = _sizes(backbone)
    trained, larger = _classifier(backbone, small, "rgb"), _classifier(backbone, large, "rgb", seed=1)
    report = load_weights(larger, _saved(trained, tmp_path / "model.safetensors"))
    assert report.num_resampled == _num_resampled(backbone.name)
    assert report.new == ("head.bias", "head.weight")
    with torch.no_grad():
        assert torch.isfinite(larger.eval()(torch.rand(1, 3, large, large))).all()


def test_colour_weights_see_a_grey_image_as_before(backbone: BackboneSettings, tmp_path: Path) -> None:
    size, _ = _sizes(backbone)
    colour, grey = _classifier(backbone, size, "rgb"), _classifier(backbone, size, "grey", seed=1)
    report = load_weights(grey, _saved(colour, tmp_path / "colour.safetensors"), keep_head=True)
    again = _classifier(backbone, size, "rgb", seed=2)
    load_weights(again, _saved(grey, tmp_path / "grey.safetensors"), keep_head=True)
    images = torch.rand(1, 1, size, size)
    with torch.no_grad():
        expected = colour.eval()(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.eval()(images), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(again.eval()(images.expand(-1, 3, -1, -1)), expected, rtol=1e-4, atol=1e-5)
    assert report.num_resampled == 1
