from __future__ import annotations

import pytest
import torch

from tlmed.models.classifier import Classifier, create_classifier
from tlmed.recipe.model import IMAGENET_MEAN, IMAGENET_STD, BackboneSettings, ImageSettings

TINY = BackboneSettings(name="vit_tiny_patch16_224", depth=1)


def _create(mode: str, **options: tuple[float, ...]) -> Classifier:
    return create_classifier(TINY, ImageSettings.model_validate({"size": 32, "mode": mode}), 3, **options)


def test_logits_are_head_of_backbone_of_normalised_images() -> None:
    classifier = _create("rgb", mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)).eval()
    images = torch.rand(2, 3, 32, 32)
    by_hand = torch.stack([(images[:, 0] - 0.1) / 0.5, (images[:, 1] - 0.2) / 0.25, (images[:, 2] - 0.3) / 2.0], dim=1)
    with torch.no_grad():
        expected = classifier.backbone(by_hand) @ classifier.head.weight.T + classifier.head.bias
        torch.testing.assert_close(classifier(images), expected)
    assert expected.shape == (2, 3)


@pytest.mark.parametrize(
    ("mode", "given", "expected"),
    [
        ("grey", (0.2, 0.3, 0.7), [0.4]),
        ("grey", (0.3,), [0.3]),
        ("rgb", (0.3,), [0.3, 0.3, 0.3]),
        ("rgb", (0.2, 0.3, 0.7), [0.2, 0.3, 0.7]),
    ],
)
def test_one_value_or_three(mode: str, given: tuple[float, ...], expected: list[float]) -> None:
    classifier = _create(mode, mean=given, std=given)
    torch.testing.assert_close(classifier.mean.flatten(), torch.tensor(expected))
    torch.testing.assert_close(classifier.std.flatten(), torch.tensor(expected))


def test_default_is_imagenet() -> None:
    classifier = _create("rgb")
    torch.testing.assert_close(classifier.mean.flatten(), torch.tensor(IMAGENET_MEAN))
    torch.testing.assert_close(classifier.std.flatten(), torch.tensor(IMAGENET_STD))


def test_state_holds_backbone_and_head_alone() -> None:
    names = set(_create("grey").state_dict())
    assert {"head.weight", "head.bias"} <= names
    assert all(name.startswith(("backbone.", "head.")) for name in names)


def test_new_head_is_small_and_unbiased() -> None:
    torch.manual_seed(0)
    head = _create("grey").head
    assert head.bias.abs().max() == 0
    assert head.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_refuses_one_class_and_two_means() -> None:
    with pytest.raises(ValueError, match="two or more classes"):
        create_classifier(TINY, ImageSettings(size=32), 1)
    with pytest.raises(ValueError, match="one value or three"):
        _create("rgb", mean=(0.1, 0.2))
