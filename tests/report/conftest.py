"""Run folders that several tests read, each made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.run_folders import make_run
from tlmed.report import picture_drawing
from tlmed.report.record.run_record import RunRecord, read_run

Recorded = Callable[..., RunRecord]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A record of `make_run` with these settings, read anew, so that a test may change it."""
    made: dict[str, Path] = {}

    def record(**settings: Any) -> RunRecord:
        key = repr(sorted(settings.items()))
        if key not in made:
            made[key] = make_run(tmp_path_factory.mktemp("runs") / "run", **settings)
        return read_run(made[key])

    return record


@pytest.fixture(scope="module")
def unrendered() -> Iterator[None]:
    """Pictures are drawn without pixels, which take most of the time."""
    from matplotlib.figure import Figure

    def draw_only(draw: picture_drawing.Draw, *_: object) -> bytes:
        draw(Figure(), picture_drawing.LINES)
        return b""

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(picture_drawing, "_png", draw_only)
        yield
