from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from tlmed.recipe.training import TrainingSettings
from tlmed.transfer.checkpoint import TrainingProgress, TrainingState, load_checkpoint, save_checkpoint
from tlmed.transfer.finite import NonFiniteNumbers
from tlmed.transfer.optim import create_average, create_optimizer
from tlmed.transfer.strategy import ParameterGroup


def trained_state(seed: int) -> TrainingState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = create_optimizer([ParameterGroup(dict(model.named_parameters()), 0.1)], TrainingSettings())
    average = create_average(model, 0.9)
    model(torch.randn(4, 3)).square().sum().backward()
    optimizer.step()
    average.update_parameters(model)
    return TrainingState(model, optimizer, average, best={"0.bias": torch.randn(2)})


def contents(state: TrainingState) -> list[torch.Tensor]:
    assert state.average is not None
    moments = [
        value for values in state.optimizer.state_dict()["state"].values() for _, value in sorted(values.items())
    ]
    return [*state.model.state_dict().values(), *moments, *state.average.state_dict().values(), *state.best.values()]


def same(one: TrainingState, other: TrainingState) -> bool:
    return all(torch.equal(a, b) for a, b in zip(contents(one), contents(other), strict=True))


PROGRESS = TrainingProgress(step=7, loss_sum=1.5, history=[{"epoch": 1, "val_loss": None}], seconds=2.0)


def test_everything_comes_back(tmp_path: Path) -> None:
    saved, restored = trained_state(0), trained_state(1)
    assert not same(saved, restored)
    save_checkpoint(tmp_path, saved, PROGRESS)
    assert load_checkpoint(tmp_path, restored) == PROGRESS
    assert same(saved, restored)


def test_a_flipped_bit_anywhere_means_a_fresh_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_checkpoint(tmp_path, trained_state(0), PROGRESS)
    file = tmp_path / "training.safetensors"
    whole = file.read_bytes()
    for position in [*range(0, len(whole), 37), len(whole) - 1]:
        content = bytearray(whole)
        content[position] ^= 1 << position % 8
        file.write_bytes(content)
        caplog.clear()
        state, untouched = trained_state(1), trained_state(1)
        with caplog.at_level(logging.WARNING):
            progress = load_checkpoint(tmp_path, state)
        if progress == PROGRESS:  # the bit did not matter, as white space in the header does not
            assert same(state, trained_state(0)), position
            continue
        assert progress == TrainingProgress(), position
        assert same(state, untouched), position
        assert "training.safetensors is damaged" in caplog.text
    file.write_bytes(whole[:-1])
    assert load_checkpoint(tmp_path, trained_state(1)) == TrainingProgress()


@pytest.mark.parametrize("part", ["model", "optimizer", "average", "best"])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, part: str) -> None:
    state = trained_state(0)
    save_checkpoint(tmp_path, state, PROGRESS)
    before = (tmp_path / "training.safetensors").read_bytes()
    assert state.average is not None
    tensor = {
        "model": state.model.state_dict()["1.running_var"],
        "optimizer": state.optimizer.state_dict()["state"][0]["exp_avg_sq"],
        "average": state.average.state_dict()["module.0.weight"],
        "best": state.best["0.bias"],
    }[part]
    tensor.view(-1)[0] = float("inf")
    with pytest.raises(NonFiniteNumbers, match=rf"training state after step 7: {part}\."):
        save_checkpoint(tmp_path, state, PROGRESS)
    assert [file.name for file in tmp_path.iterdir()] == ["training.safetensors"]
    assert (tmp_path / "training.safetensors").read_bytes() == before


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    (tmp_path / ".writing-123-training.safetensors").write_bytes(b"half")
    assert load_checkpoint(tmp_path, trained_state(0)) == TrainingProgress()
    assert list(tmp_path.iterdir()) == []
