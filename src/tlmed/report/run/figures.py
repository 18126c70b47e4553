"""Pictures for people: learning curves, confusion matrices, arms side by side. Each function draws one file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tlmed.runtime.store import write_durably

# Okabe & Ito's colours, which people with any colour vision tell apart.
_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"
_DOTS_PER_INCH = 120
_LIGHT_ON_DARK_FROM = 0.55
_LONGEST_LEVEL_NAME = 16  # characters; longer ones of two classes would run into each other
_INCHES_A_CHARACTER = 0.08


def draw_learning_curves(history: pd.DataFrame, title: str, path: Path) -> None:
    """Draw loss and validation accuracy by epoch.

    Args:
        history: epoch, train_loss, val_loss, val_accuracy; the latter two empty where not measured.
        title: of the picture.
        path: PNG file to write.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    losses.plot(history["epoch"], history["train_loss"], color=_BLUE, marker=".", label="train (with random views)")
    measured = history.dropna(subset=["val_loss"])
    losses.plot(measured["epoch"], measured["val_loss"], color=_ORANGE, marker=".", label="val")
    losses.set(xlabel="epoch", ylabel="cross-entropy")
    losses.legend(frameon=False)
    accuracies.plot(measured["epoch"], measured["val_accuracy"], color=_ORANGE, marker=".")
    accuracies.set(xlabel="epoch", ylabel="val accuracy", ylim=(0, 1))
    for axes in (losses, accuracies):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _plain(axes)
    figure.suptitle(title)
    _save(figure, path)


def draw_confusion_matrix(
    labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], title: str, path: Path
) -> None:
    """Draw how many units of each class were called what.

    Args:
        labels: (N,) true class names.
        predicted: (N,) predicted class names.
        classes: order of rows and columns.
        title: of the picture.
        path: PNG file to write.
    """
    counts = pd.crosstab(labels, predicted).reindex(index=list(classes), columns=list(classes), fill_value=0).to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    edge = 2.4 + 0.75 * len(classes)
    width = edge + 1 + _INCHES_A_CHARACTER * max(0, max(map(len, classes)) - _LONGEST_LEVEL_NAME)
    # Compressed: a square among long names would else be pushed over the edge of the picture.
    figure = Figure(figsize=(width, edge), layout="compressed")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > _LIGHT_ON_DARK_FROM else "black"
        text = f"{count}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    positions = range(len(classes))
    is_slanted = len(classes) > 2 or max(map(len, classes)) > _LONGEST_LEVEL_NAME
    axes.set_xticks(positions, classes, rotation=30 if is_slanted else 0, ha="right" if is_slanted else "center")
    axes.set_yticks(positions, classes)
    axes.set(xlabel="predicted (rows sum to 100 %)", ylabel="true", title=title)
    _save(figure, path)


def draw_arm_comparison(metrics: Mapping[str, Any], *, path: Path, metric: str) -> None:
    """Draw one metric of every arm with its interval, arms from top to bottom.

    Args:
        metrics: content of `metrics.json`.
        path: PNG file to write.
        metric: its name there.
    """
    arms = list(metrics["arms"])
    where = "on test" if metrics.get("num_folds") is None else "out of fold"
    figure = Figure(figsize=(7, 1.6 + 0.45 * len(arms)), layout="constrained")
    axes = figure.subplots()
    for row, arm in enumerate(arms):
        cell = metrics["arms"][arm][metric]
        if cell["value"] is None:
            axes.text(0.5, row, "undefined", ha="center", va="center")
            continue
        if cell["low"] is not None:
            axes.plot([cell["low"], cell["high"]], [row, row], color=_BLUE, linewidth=2)
        axes.plot(cell["value"], row, "o", color=_BLUE)
        axes.annotate(f"{cell['value']:.3f}", (cell["value"], row), (0, 6), textcoords="offset points", ha="center")
    if metric in ("auroc", "balanced_accuracy"):
        axes.axvline(0.5, color=_GREEN, linestyle=":")
        axes.text(0.505, len(arms) - 0.5, "chance", color=_GREEN)
    axes.set_yticks(range(len(arms)), arms)
    axes.set(
        xlabel=f"{metric.upper() if metric.startswith('au') else metric} {where}, with 95 % interval",
        xlim=(min(0.4, axes.get_xlim()[0]), 1.0),
        ylim=(len(arms) - 0.4, -0.7),
    )
    _plain(axes)
    _save(figure, path)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _save(figure: Figure, path: Path) -> None:
    # Drawn without pyplot: no window system, no state shared between pictures.
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=_DOTS_PER_INCH)
    write_durably(path, stream.getvalue())
