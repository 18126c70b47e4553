from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from tlmed.models.torchvision_networks import NETWORK_NAMES, checkpoint_filter_fn, create_torchvision_network

PUBLISHED = {
    "alexnet": torchvision.models.AlexNet,
    "googlenet": lambda: torchvision.models.GoogLeNet(aux_logits=True, init_weights=False),
    "squeezenet1_1": lambda: torchvision.models.SqueezeNet("1_1"),
}


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_published_files_fit(name: str) -> None:
    published, network = PUBLISHED[name](), create_torchvision_network(name, 3)
    state: dict[str, Tensor] = checkpoint_filter_fn(published.state_dict(), network)
    described = network.pretrained_cfg
    without_head = {key: value for key, value in state.items() if not key.startswith(described["classifier"])}
    loaded = network.load_state_dict(without_head)
    assert (loaded.missing_keys, loaded.unexpected_keys) == ([], [])


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_features_are_what_the_published_classifier_sees(name: str) -> None:
    torch.manual_seed(0)
    published, network = PUBLISHED[name]().eval(), create_torchvision_network(name, 3).eval()
    state = checkpoint_filter_fn(published.state_dict(), network)
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    images = torch.rand(2, 3, 96, 96)
    classifier = published.get_submodule(network.pretrained_cfg["classifier"])
    seen: list[Tensor] = []
    classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        features = network(images)
        published(images)
    assert features.shape == (2, network.num_features)
    # SqueezeNet classifies every place and then averages; its features are the average of what the classifier sees.
    expected = seen[0] if seen[0].ndim == 2 else seen[0].mean(dim=(2, 3))
    torch.testing.assert_close(features, expected)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_the_first_convolution_has_the_image_s_channels(name: str) -> None:
    network = create_torchvision_network(name, 1)
    assert network.get_parameter(network.pretrained_cfg["first_conv"] + ".weight").shape[1] == 1
