from __future__ import annotations

import os

import pytest

from tlmed.errors import InputError
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.recipe import Recipe
from tlmed.runtime import hardware


def recipe(**runtime: object) -> Recipe:
    chain = [{"name": "target", "data": {"phantom": {"kind": "chest-target"}}}]
    return parse_recipe({"name": "x", "backbone": "resnet18", "chain": chain, "runtime": runtime}, "test")


@pytest.mark.parametrize(
    ("capability", "cpu_bf16", "expected"),
    [
        (None, True, ("cpu", "bf16")),
        (None, False, ("cpu", "float32")),
        (9, False, ("cuda", "bf16")),
        (7, True, ("cuda", "float32")),
    ],
)
def test_auto_takes_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, capability: int | None, cpu_bf16: bool, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(hardware, "cuda_capability", lambda: capability)
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: cpu_bf16)
    runtime = hardware.resolve_hardware(recipe()).runtime
    assert (runtime.device, runtime.precision) == expected
    assert runtime.num_workers == (0 if capability is None else min(hardware.num_cores(), 8))


def test_what_the_recipe_says_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cuda_capability", lambda: 9)
    runtime = hardware.resolve_hardware(recipe(device="cpu", precision="float32", workers=3)).runtime
    assert (runtime.device, runtime.precision, runtime.workers) == ("cpu", "float32", 3)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cuda_capability", lambda: None)
    with pytest.raises(InputError, match=r"runtime\.device: cuda"):
        hardware.resolve_hardware(recipe(device="cuda"))


def test_what_is_found_is_what_torch_finds() -> None:
    import torch

    assert (hardware.cuda_capability() is not None) == torch.cuda.is_available()
    built_for = torch.version.cuda
    assert hardware._torch_cuda_version() == (int(built_for.split(".")[0]) if built_for else None)
    assert 1 <= hardware.num_cores() <= (os.cpu_count() or 1)
