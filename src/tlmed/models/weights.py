"""Weights in and out: safetensors that do not depend on the process, and loading in which every name must match."""

from __future__ import annotations

import fnmatch
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from timm.models import adapt_input_conv
from torch import Tensor, nn

from tlmed.errors import InputError
from tlmed.models.classifier import Classifier
from tlmed.models.weight_sources import WeightSource

State = dict[str, Tensor]

# Where training programs keep the weights inside their checkpoints, best first: averaged ones before raw ones.
_NESTED = ("state_dict_ema", "model_ema", "teacher", "state_dict", "model")
# torch.compile and DistributedDataParallel put their names in front, in either order.
_WRAPPERS = ("_orig_mod.", "module.")
_BACKBONE, _HEAD = "backbone.", "head."
_PARTS = ("weight", "bias")
# Older files lack this count of batches, which has no effect on what a batch norm with a momentum computes.
_COUNTER = "num_batches_tracked"
_NUM_SHOWN = 4


class WeightsMismatch(InputError):
    """The weights are not those of this network."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the weights.

    Attributes:
        num_loaded: tensors taken from the file, resampled ones included.
        num_resampled: tensors brought to another shape: position and patch embeddings, position biases, stem.
        new: names in the classifier that keep their random start.
        unmatched: names in the file that were left out, the head included.
    """

    num_loaded: int
    num_resampled: int
    new: tuple[str, ...]
    unmatched: tuple[str, ...]


def load_weights(
    classifier: Classifier, source: WeightSource, *, keep_head: bool = False, allow_unmatched: Sequence[str] = ()
) -> LoadReport:
    """Load weights into a classifier; in the backbone every name and shape must match, in both directions.

    Patch and position embeddings and relative position biases are resampled to the classifier's sizes by timm's own
    functions; a stem for colour becomes one for grey by summing over its channels, and back by sharing out equally.

    Args:
        classifier: changed in place, or left as it was when an error is raised.
        source: a file written by `save_weights`, or one with timm's names, also wrapped in a checkpoint.
        keep_head: take the file's head over where it has the right shape; otherwise the head stays new.
        allow_unmatched: patterns (`fnmatch`) of backbone names that need not match, as in `blocks.11.*`.

    Raises:
        WeightsMismatch: names or shapes that do not match.
        InputError: not a file of weights.
    """
    body, head = _split_head(read_state(source.path), classifier.backbone)
    target = classifier.backbone.state_dict()
    fitted = _fit(body, classifier.backbone, target)
    _check(fitted, target, source, allow_unmatched)
    fitting = [name for name in fitted if name in target and fitted[name].shape == target[name].shape]
    loaded = {_BACKBONE + name: fitted[name] for name in fitting}
    if keep_head and _shapes(head) == _shapes(classifier.head.state_dict()):
        loaded.update({_HEAD + name: value for name, value in head.items()})
        head = {}
    whole = classifier.state_dict()
    classifier.load_state_dict({**whole, **loaded})
    left_out = [*(fitted.keys() - fitting), *(_HEAD + name for name in head)]
    return LoadReport(
        num_loaded=len(loaded),
        num_resampled=sum(name in body and body[name].shape != fitted[name].shape for name in fitting),
        new=tuple(sorted(whole.keys() - loaded.keys())),
        unmatched=tuple(sorted(left_out)),
    )


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors; equal tensors give equal bytes in every process.

    Raises:
        OSError: disk full or not writable.
    """
    tensors = unshared(state)
    # One metadata key at most: their order in the file depends on the process.
    path.write_bytes(safetensors.torch.save(tensors, metadata={"format": "pt"}))


def unshared(state: Mapping[str, Tensor]) -> State:
    """Return tensors on the CPU, by sorted name, each in memory of its own as safetensors asks; copied if need be."""
    tensors: State = {}
    storages = set()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in storages:
            tensor = tensor.clone()
        storages.add(tensor.untyped_storage().data_ptr())
        tensors[name] = tensor
    return tensors


def read_state(path: Path) -> State:
    """Read a file of weights, its floating point numbers as float32, its wrappers taken off.

    Nothing in the file is executed (`weights_only`).

    Raises:
        InputError: not a file of weights, or one that holds other things than tensors.
    """
    if path.suffix == ".safetensors":
        try:
            content: Any = safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path} is not a safetensors file: {error}.") from error
    else:
        content = _read_pickle(path)
    tensors = _innermost_tensors(content)
    if not tensors:
        raise InputError(f"{path} holds no weights; give a file with a state dict.")
    return {_unwrapped(name): value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path} is damaged or holds more than tensors, and is not opened, because such a file can run programs; "
            "save its state_dict() alone, best as safetensors."
        ) from error


def _innermost_tensors(content: Any) -> State:
    """Return the tensors of a state dict, which may lie inside a checkpoint beside counts and optimiser states."""
    if not isinstance(content, Mapping):
        return {}
    for key in _NESTED:
        if isinstance(content.get(key), Mapping):
            return _innermost_tensors(content[key])
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _split_head(state: State, backbone: nn.Module) -> tuple[State, State]:
    """Part the names into the backbone's, and the head's `weight` and `bias`, or whatever it consists of."""
    body, head = state, {}
    if any(name.startswith(_BACKBONE) for name in state):
        head = {name.removeprefix(_HEAD): value for name, value in state.items() if name.startswith(_HEAD)}
        body = {name.removeprefix(_BACKBONE): value for name, value in state.items() if not name.startswith(_HEAD)}
    stated = _as_tuple(_config(backbone).get("classifier"))
    names = {f"{one}.{part}": part if len(stated) == 1 else f"{one}.{part}" for one in stated for part in _PARTS}
    foreign_head = {names[name]: value for name, value in body.items() if name in names}
    return {name: value for name, value in body.items() if name not in names}, head or foreign_head


def _fit(body: State, backbone: nn.Module, target: Mapping[str, Tensor]) -> State:
    """Bring foreign names and shapes to the backbone's, as far as that is known how."""
    if _shapes(body) == _shapes(target):
        return body
    # Kept per architecture beside its class: older names, patch and position embeddings, position biases.
    convert: Callable[[State, nn.Module], State] | None
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    fitted = dict(body)
    if convert is not None:
        try:
            fitted = dict(convert(dict(body), backbone))
        except (AttributeError, KeyError, IndexError, RuntimeError, ValueError, AssertionError):
            # It expects the weights of its own architecture. Of others the names do not match, which is reported.
            return body
    for stem in _as_tuple(_config(backbone).get("first_conv")):
        name = f"{stem}.weight"
        if name in fitted and name in target:
            fitted[name] = _fit_stem(fitted[name], target[name])
    return fitted


def _fit_stem(weight: Tensor, target: Tensor) -> Tensor:
    """Bring a stem `(O, I, H, W)` from three channels to one by summing, or from one to three in equal shares."""
    if weight.ndim == 4 and weight.shape[1] == 3 * target.shape[1]:
        adapted: Tensor = adapt_input_conv(1, weight)
        return adapted
    if weight.ndim == 4 and weight.shape[1] == 1 and target.shape[1] == 3:
        adapted = adapt_input_conv(3, weight, base_chans=1)
        return adapted
    return weight


def _check(fitted: State, target: Mapping[str, Tensor], source: WeightSource, allow_unmatched: Sequence[str]) -> None:
    patterns = [pattern.removeprefix(_BACKBONE) for pattern in allow_unmatched]

    def refused(names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))

    missing = [name for name in refused(target.keys() - fitted.keys()) if not name.endswith(_COUNTER)]
    excess = refused(fitted.keys() - target.keys())
    misshapen = [name for name in refused(fitted.keys() & target.keys()) if fitted[name].shape != target[name].shape]
    shapes = [f"{name} {_shape(fitted[name])} in the file, {_shape(target[name])} in the network" for name in misshapen]
    faults = [
        _listed("the file lacks", missing),
        _listed("the network has no", excess),
        _listed("the shape differs of", shapes),
    ]
    if missing or excess or misshapen:
        described = "; ".join(fault for fault in faults if fault)
        raise WeightsMismatch(
            f"weights {source.spec} do not fit the backbone: {described}. Take the backbone, patch_size and depth "
            "that they were trained with, or list names in allow_unmatched that may stay random."
        )


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return f"{what} {', '.join(names[:_NUM_SHOWN])}{more}"


def _config(backbone: nn.Module) -> dict[str, Any]:
    """Return timm's description of the published network: names of its classifier and of its first convolution."""
    config: dict[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    return config


def _as_tuple(names: str | Sequence[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _shape(tensor: Tensor) -> str:
    return "x".join(str(length) for length in tensor.shape) or "scalar"
