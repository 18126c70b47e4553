"""What an unfinished stage needs to go on: one safetensors file with its JSON inside, replaced durably."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tlmed.runtime.store import write_durably

_FILE = "training.safetensors"
_PROGRESS = "progress"


@dataclass
class TrainingProgress:
    """How far a stage is.

    Attributes:
        step: steps done.
        loss_sum: of the running epoch's batches.
        history: one row an epoch done.
        seconds: spent so far.
    """

    step: int = 0
    loss_sum: float = 0.0
    history: list[dict[str, float | None]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainingState:
    """The objects whose content is saved and restored in place."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None


def save_checkpoint(folder: Path, state: TrainingState, progress: TrainingProgress) -> None:
    """Save, replacing what was saved before.

    Raises:
        OSError: disk full; what was saved before is untouched.
    """
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items() if value is not None
        }
    if state.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    # Cloned: safetensors refuses tensors that share memory.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / _FILE, save(plain, {_PROGRESS: json.dumps(asdict(progress))}))


def load_checkpoint(folder: Path, state: TrainingState) -> TrainingProgress:
    """Restore what was saved, or return a fresh start where nothing was."""
    file = folder / _FILE
    if not file.exists():
        return TrainingProgress()
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
    with safe_open(file, framework="pt") as opened:
        progress = json.loads(opened.metadata()[_PROGRESS])
        for name in opened.keys():  # noqa: SIM118 (safe_open is no mapping)
            part, _, rest = name.partition(".")
            parts[part][rest] = opened.get_tensor(name)
    state.model.load_state_dict(parts["model"])
    _restore_optimizer(state.optimizer, parts["optimizer"])
    if state.average is not None:
        state.average.load_state_dict(parts["average"])
    return TrainingProgress(**progress)


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
