"""What this machine has, found without importing torch (its import takes seconds), and what `auto` becomes on it."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from tlmed.errors import InputError
from tlmed.recipe.protocol import RuntimeSettings
from tlmed.recipe.recipe import Precision, Recipe, resolved

_CAPABILITY_MAJOR = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR of the CUDA driver API
_MIN_CAPABILITY_MAJOR = 7  # Volta; builds of torch 2.10 and later contain nothing older
_MAX_WORKERS_FOR_GPU = 8

log = logging.getLogger(__name__)


def num_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def cuda_capability() -> int | None:
    """Major compute capability of the first NVIDIA GPU that torch can use, or None.

    It needs a driver of the CUDA version that torch was built for (drivers of one major version serve all its minor
    ones), and a GPU of a generation that current builds still contain.
    """
    built_for = _torch_cuda_version()
    if built_for is None:
        return None
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None  # no driver installed
    count, major, version = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return None
    driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, 0)
    driver.cuDriverGetVersion(ctypes.byref(version))
    if version.value // 1000 < built_for or major.value < _MIN_CAPABILITY_MAJOR:
        log.warning(
            "the GPU is not used: CUDA %d and compute capability %d are there, this torch needs %d and %d",
            version.value // 1000,
            major.value,
            built_for,
            _MIN_CAPABILITY_MAJOR,
        )
        return None
    return major.value


def _torch_cuda_version() -> int | None:
    """Major version of CUDA that torch was built for."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    # A line such as `cuda: Optional[str] = '13.0'`; importing it would import torch.
    stated = re.search(r"^cuda\b.*=\s*['\"](\d+)", text, re.MULTILINE)
    return int(stated.group(1)) if stated else None


@cache
def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 matrices (AVX512-BF16, AMX or Arm's BF16)."""
    if sys.platform == "linux":
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))
    if sys.platform == "darwin" and platform.machine() == "arm64":
        answer = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "hw.optional.arm.FEAT_BF16"], capture_output=True, text=True, check=False
        )
        return answer.stdout.strip() == "1"
    return False


def resolve_hardware(recipe: Recipe) -> Recipe:
    """Replace every `auto` by what this machine has.

    Raises:
        InputError: the recipe asks for a GPU that is not there.
    """
    runtime = recipe.runtime
    device = resolve_device(runtime)
    precision = resolve_precision(runtime, device)
    # On a processor the views cost far less than the network, and more processes would only compete with it.
    workers = min(num_cores(), _MAX_WORKERS_FOR_GPU) if device == "cuda" else 0
    return resolved(
        recipe,
        device=device,
        precision=precision,
        workers=workers if runtime.workers == "auto" else runtime.workers,
    )


def resolve_device(runtime: RuntimeSettings) -> Literal["cpu", "cuda"]:
    """The device that `runtime.device` means on this machine.

    Raises:
        InputError: a GPU is asked for that is not there.
    """
    if runtime.device == "cuda" and cuda_capability() is None:
        raise InputError("runtime.device: cuda, but no NVIDIA GPU that torch can use is here: write auto or cpu.")
    if runtime.device == "auto":
        return "cpu" if cuda_capability() is None else "cuda"
    return runtime.device


def resolve_precision(runtime: RuntimeSettings, device: Literal["cpu", "cuda"]) -> Precision:
    """The precision that `runtime.precision` means on a device of this machine."""
    if runtime.precision != "auto":
        return runtime.precision
    has_bf16 = cpu_has_bf16() if device == "cpu" else (cuda_capability() or 0) >= 8
    return "bf16" if has_bf16 else "float32"
