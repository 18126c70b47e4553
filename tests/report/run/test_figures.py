from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tlmed.report.run import figures


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they were saved."""
    saved: list[Figure] = []
    original = figures._save

    def save(figure: Figure, path: Path) -> None:
        saved.append(figure)
        original(figure, path)

    monkeypatch.setattr(figures, "_save", save)
    return saved


def assert_is_picture(path: Path) -> None:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 150


def test_learning_curves_show_measured_epochs(tmp_path: Path, drawn: list[Figure]) -> None:
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "train_loss": [3.0, 2.0, 1.0],
            "val_loss": [2.5, np.nan, 1.5],
            "val_accuracy": [0.4, np.nan, 0.6],
        }
    )
    figures.draw_learning_curves(history, "a -> b", tmp_path / "curves.png")
    losses, accuracies = drawn[0].axes
    assert list(losses.lines[0].get_ydata()) == [3.0, 2.0, 1.0]
    assert list(losses.lines[1].get_ydata()) == [2.5, 1.5]
    assert list(accuracies.lines[0].get_xdata()) == [1, 3]
    assert_is_picture(tmp_path / "curves.png")


def test_confusion_matrix_counts_rows_as_truth(tmp_path: Path, drawn: list[Figure]) -> None:
    labels, predicted = np.array(["a", "a", "a", "b"]), np.array(["a", "a", "b", "b"])
    figures.draw_confusion_matrix(labels, predicted, ["a", "b", "c"], "title", tmp_path / "matrix.png")
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts == ["2\n67%", "1\n33%", "0\n0%", "0\n0%", "1\n100%", "0\n0%", "0\n0%", "0\n0%", "0\n0%"]
    assert_is_picture(tmp_path / "matrix.png")


@pytest.mark.parametrize(
    "classes",
    [
        ["other", "viral-pneumonia"],
        ["large.cell.carcinoma", "squamous.cell.carcinoma"],
        ["adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma"],
    ],
)
def test_a_confusion_matrix_with_long_names_stays_within_its_picture(
    tmp_path: Path, drawn: list[Figure], classes: list[str]
) -> None:
    labels = np.array(classes)
    figures.draw_confusion_matrix(labels, labels, classes, "generic-related, seeds 0, 1, 2, test", tmp_path / "m.png")
    (figure,) = drawn
    content, picture = figure.get_tightbbox(), figure.bbox_inches
    assert min(content.x0, content.y0) > 0
    assert content.x1 < picture.width
    assert content.y1 < picture.height
    names = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    if figure.axes[0].get_xticklabels()[0].get_rotation() == 0:
        assert names[0].x1 < names[1].x0


def test_arms_stand_from_top_to_bottom_with_their_intervals(tmp_path: Path, drawn: list[Figure]) -> None:
    cells: list[dict[str, Any]] = [
        {"value": 0.7, "low": 0.6, "high": 0.8},
        {"value": 0.9, "low": None, "high": None},
        {"value": None, "low": None, "high": None},
    ]
    arms = {name: {"auroc": cell} for name, cell in zip(("first", "second", "third"), cells, strict=True)}
    figures.draw_arm_comparison({"arms": arms}, path=tmp_path / "arms.png", metric="auroc")
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second", "third"]
    assert list(axes.lines[0].get_xdata()) == [0.6, 0.8]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert_is_picture(tmp_path / "arms.png")
