"""Two processes that share each batch, on the processor."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tlmed.experiment import run
from tlmed.recipe.load import load_recipe

# Without batch norm, dropout and mixing across the parts' ends, so that two halves make the same gradient as the whole.
RECIPE = """
name: devices
image: {size: 32}
backbone: {name: test_vit}
training: {epochs: 2, batch_size: 8, clip_norm: 0.5}
runtime: {device: cpu, precision: float32, workers: 0, checkpoint_seconds: 0.01}
arms: {scratch: {stages: [target], weights: none}}
chain:
  - name: target
    data: {phantom: {kind: chest-target, num_train_patients: 16, num_val_patients: 4, num_test_patients: 8, size: 32}}
evaluation: {positive: viral-pneumonia}
"""
TOLERANCE = 1e-4  # of weights that are about 0.02 to 1 in size; sums over the batch are made in another order


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return file


def trained(store: Path) -> dict[str, torch.Tensor]:
    (file,) = store.glob("stages/*/model.safetensors")
    return load_file(file)


@pytest.mark.timeout(240)
def test_two_processes_train_to_the_result_of_one_and_resume(recipe: Path, tmp_path: Path) -> None:
    run(load_recipe(recipe), out=tmp_path / "one/run")
    two = [sys.executable, "-m", "tlmed", "run", str(recipe), "--set", "runtime.devices=2", "--out"]
    stopped = subprocess.Popen([*two, str(tmp_path / "stopped/run")])
    while not list(tmp_path.glob("stopped/stages/*.work/training.safetensors")):
        assert stopped.poll() is None, "the run ended before it was to be stopped"
        time.sleep(0.01)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(timeout=60) == 143
    assert not list(tmp_path.glob("stopped/stages/*/model.safetensors"))
    subprocess.run([*two, str(tmp_path / "stopped/run")], check=True)
    subprocess.run([*two, str(tmp_path / "two/run")], check=True)
    one, both, resumed = trained(tmp_path / "one"), trained(tmp_path / "two"), trained(tmp_path / "stopped")
    for name, tensor in both.items():
        assert torch.equal(tensor, resumed[name])
        torch.testing.assert_close(tensor, one[name], rtol=0, atol=TOLERANCE)
    assert any(not torch.equal(tensor, one[name]) for name, tensor in both.items())  # two did work on it
