"""A small data set, a recipe for it, and the command line as users call it."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.cli.project import Answer, Project, Tlmed
from tlmed.cli.app import main

RECIPE = """
name: small
image: {size: 32}
backbone: test_resnet
training: {epochs: 1, batch_size: 4}
chain:
  - name: target
    data: {manifest: data/manifest.csv}
evaluation: {positive: sick}
"""


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes and baselines of a few trees: what they find is the matter of other tests, here they only take time."""
    for module in ("shortcuts", "baselines"):
        monkeypatch.setattr(f"tlmed.audit.{module}._NUM_TREES", 4)


@pytest.fixture(autouse=True)
def page_one_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without the chapters behind page one, which take seconds to draw and have tests of their own."""
    if "whole_report" not in request.keywords:
        monkeypatch.setattr("tlmed.report.run_report.result_chapters", lambda _: [])


@pytest.fixture
def tlmed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Tlmed]:
    """Call the command line in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tlmed", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        shown = capfd.readouterr()
        return Answer(code if isinstance(code, int) else 0, shown.out, shown.err)

    yield call
    logger = logging.getLogger("tlmed")  # other tests read the log themselves
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """24 patients with an image each: 12 train, 4 val, 8 test; sick ones have a bright square."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for number in range(24):
        pixels = generator.integers(0, 120, (40, 40), dtype=np.uint8)
        label = ("well", "sick")[number % 2]
        if label == "sick":
            pixels[10:30, 10:30] += 120
        Image.fromarray(pixels).save(tmp_path / f"data/{number:02d}.png")
        split = "train" if number < 12 else "val" if number < 16 else "test"
        rows.append({"path": f"{number:02d}.png", "label": label, "patient": f"p{number:02d}", "split": split})
    pd.DataFrame(rows).to_csv(tmp_path / "data/manifest.csv", index=False)
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return Project(tmp_path)
