"""What an unfinished stage needs to go on: one safetensors file with its JSON inside, replaced durably."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tlmed.models.weights import unshared
from tlmed.runtime.store import remove_unfinished_files, replaced_durably
from tlmed.transfer.finite import check_finite

log = logging.getLogger(__name__)

_FILE = "training.safetensors"
_PROGRESS, _DIGEST = "progress", "digest"
_PARTS = ("model", "optimizer", "average", "best")


@dataclass
class TrainingProgress:
    """How far a stage is.

    Attributes:
        step: steps done.
        loss_sum: of the running epoch's batches.
        history: one row an epoch done.
        seconds: spent so far.
        waiting_seconds: of these, spent waiting for batches.
        best_loss, best_epoch: the lowest validation loss so far, and when; None and 0 before the first.
        is_finished: training ended before its last epoch, for want of progress.
    """

    step: int = 0
    loss_sum: float = 0.0
    history: list[dict[str, float | None]] = field(default_factory=list)
    seconds: float = 0.0
    waiting_seconds: float = 0.0
    best_loss: float | None = None
    best_epoch: int = 0
    is_finished: bool = False


@dataclass
class TrainingState:
    """The objects whose content is saved and restored in place; and `best`, the weights of the best epoch, if kept."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    best: dict[str, Tensor] = field(default_factory=dict)


def save_checkpoint(folder: Path, state: TrainingState, progress: TrainingProgress) -> None:
    """Save, replacing what was saved before.

    Raises:
        NonFiniteNumbers: something in the state is not finite; what was saved before is untouched.
        OSError: disk full; what was saved before is untouched.
    """
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items() if value is not None
        }
    if state.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    check_finite(tensors, f"the training state after step {progress.step}")
    plain = unshared(tensors)
    text = json.dumps(asdict(progress))
    folder.mkdir(parents=True, exist_ok=True)
    with replaced_durably(folder / _FILE) as temporary:
        _write(plain, {_PROGRESS: text, _DIGEST: _digest(plain, text)}, temporary)


def _write(tensors: dict[str, Tensor], noted: dict[str, str], path: Path) -> None:
    """Write from the tensors' own memory: a copy of weights, moments and averages would double what training takes."""
    try:
        save_file(tensors, path, noted)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def load_checkpoint(folder: Path, state: TrainingState) -> TrainingProgress:
    """Restore what was saved; a fresh start where nothing was, or where it changed on disk (with a warning)."""
    remove_unfinished_files(folder)
    file = folder / _FILE
    if not file.exists():
        return TrainingProgress()
    read = _read_whole(file)
    if read is None:
        log.warning("%s is damaged: it is not what was saved; this stage starts anew", file)
        return TrainingProgress()
    tensors, text = read
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    state.model.load_state_dict(parts["model"])
    _restore_optimizer(state.optimizer, parts["optimizer"])
    if state.average is not None:
        state.average.load_state_dict(parts["average"])
    state.best = parts["best"]
    return TrainingProgress(**json.loads(text))


def _read_whole(file: Path) -> tuple[dict[str, Tensor], str] | None:
    """Return tensors and progress of a checkpoint, or None where its bytes are not those that were saved."""
    try:
        with safe_open(file, framework="pt") as opened:
            noted = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError:
        return None
    text = noted.get(_PROGRESS, "")
    return (tensors, text) if noted.get(_DIGEST) == _digest(tensors, text) else None


def _digest(tensors: Mapping[str, Tensor], progress: str) -> str:
    """SHA-256 over the progress and every tensor's name, type, shape and bytes, whatever their order in the file."""
    digest = hashlib.sha256(progress.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return digest.hexdigest()


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    saved: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        saved.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": saved, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            # A fused optimiser reads weight and moments side by side in memory: both need one layout (channels-last).
            if value is not None and value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter).copy_(value)
