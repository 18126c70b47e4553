"""What all tests share: the guard against network and stray files, and the way to the real images."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_hub import FakeHub, running_hub

_GUARD = Path(__file__).with_name("guard")
_CACHE = tempfile.mkdtemp(prefix="tlmed-tests-") if "PYTEST_XDIST_WORKER" not in os.environ else ""

if _CACHE:
    # Set before any worker or command starts, so that all share one place for what libraries cache.
    for _name in ("MPLCONFIGDIR", "HF_HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
        os.environ[_name] = _CACHE
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_GUARD), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # Two test processes on two cores: threads of each would only wait for the other's.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there: a test that means a hub brings its own
    os.environ.pop("HF_HUB_OFFLINE", None)


def _install_guard() -> None:
    spec = importlib.util.spec_from_file_location("tests_guard", _GUARD / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


_install_guard()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub on this machine, at which the hub's client looks."""
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture(scope="session")
def tlmed_data() -> Path:
    """The folder of real images; tests that need it are skipped without it."""
    if not os.environ.get("TLMED_DATA"):
        pytest.skip("TLMED_DATA is not set")
    return Path(os.environ["TLMED_DATA"])
