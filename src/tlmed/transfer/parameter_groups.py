"""Which parameters share weight decay and learning rate, and the check that none is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from timm.models._manipulate import group_with_matcher
from torch import nn

from tlmed.models.classifier import Classifier
from tlmed.transfer.strategy import ParameterGroup

_NO_DECAY_ENDINGS = ("pos_embed", "_token", "bias_table")
_BACKBONE = "backbone."


def decay_groups(classifier: nn.Module, weight_decay: float) -> list[ParameterGroup]:
    """Group trainable parameters: weight decay for matrices and kernels, none for biases, norms, tokens and positions.

    As in timm and DeiT (Touvron et al. 2021): what shifts or scales is not a capacity to be penalised.
    """
    return _split_by_decay(_trainable(classifier), weight_decay, 1.0)


def layer_decay_groups(classifier: Classifier, weight_decay: float, layer_decay: float) -> list[ParameterGroup]:
    """Group as `decay_groups` does, and by layer, with the rate falling from layer to layer below the head.

    The factor is layer_decay ** n for a layer n steps below the head (Clark et al. 2020; BEiT, Bao et al. 2022).

    Args:
        classifier: its head has the factor 1.
        weight_decay: of what decays.
        layer_decay: in (0, 1]; 1 gives the groups of `decay_groups`.
    """
    if layer_decay == 1.0:
        return decay_groups(classifier, weight_decay)
    steps = {_BACKBONE + name: count for name, count in steps_below_head(classifier.backbone).items()}
    layers: dict[int, dict[str, nn.Parameter]] = {}
    for name, parameter in _trainable(classifier).items():
        layers.setdefault(steps.get(name, 0), {})[name] = parameter
    groups = [_split_by_decay(layers[count], weight_decay, layer_decay**count) for count in sorted(layers)]
    return [group for of_layer in groups for group in of_layer]


def steps_below_head(backbone: nn.Module) -> dict[str, int]:
    """Return for each parameter of a backbone how many layers its own lies below the classifier.

    A layer is what timm takes for one in the network (`group_matcher`): a block of a transformer or ResNet, and the
    stem. What stands between the last block and the classifier goes with the classifier, 0 steps below it, except for
    norms that timm counts to the last block. Where timm has no such list the layers are the network's children in
    their order, with those of a `Sequential` in its place.
    """
    names = [name for name, _ in backbone.named_parameters()]
    describe: Any = getattr(backbone, "group_matcher", None)
    matcher = describe(coarse=False) if describe is not None else None
    # Some list their layers by a function; Inception's puts all its blocks into the head's layer.
    if not isinstance(matcher, dict):
        layers = list(dict.fromkeys(_layers_in_order(backbone)))
        order = [layer for layer in layers if any(name.startswith(f"{layer}.") for name in names)]
        return {name: len(order) - _position(name, order) for name in names}
    # A name that nothing matches is what timm takes for the head's.
    head = "\0"
    layer_of = group_with_matcher(((name, None) for name in [*names, head]), matcher, reverse=True)
    return {name: layer_of[head] - layer_of[name] for name in names}


def check_covered(model: nn.Module, groups: Sequence[ParameterGroup]) -> None:
    """Check that every trainable parameter is in exactly one group.

    Raises:
        ValueError: a strategy forgot a parameter or named one twice; nothing may freeze by accident.
    """
    counts = Counter(name for group in groups for name in group.parameters)
    wrong = (_trainable(model).keys() ^ counts.keys()) | {name for name, count in counts.items() if count > 1}
    if wrong:
        raise ValueError(f"{len(wrong)} parameters are not in exactly one group, such as {sorted(wrong)[0]}")


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _split_by_decay(parameters: dict[str, nn.Parameter], weight_decay: float, factor: float) -> list[ParameterGroup]:
    exempt = {name for name, value in parameters.items() if value.ndim <= 1 or name.endswith(_NO_DECAY_ENDINGS)}
    groups = [
        ParameterGroup({name: parameters[name] for name in parameters if name not in exempt}, weight_decay, factor),
        ParameterGroup({name: parameters[name] for name in parameters if name in exempt}, 0.0, factor),
    ]
    return [group for group in groups if group.parameters]


def _layers_in_order(backbone: nn.Module) -> Iterator[str]:
    for name, child in backbone.named_children():
        if isinstance(child, nn.Sequential):
            yield from (f"{name}.{inner}" for inner, _ in child.named_children())
        else:
            yield name


def _position(name: str, layers: Sequence[str]) -> int:
    """Position of the layer that a parameter lies in; one of no layer, such as a token, counts to the first."""
    return next((position for position, layer in enumerate(layers) if name.startswith(f"{layer}.")), 0)
