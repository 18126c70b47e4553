"""Loss by epoch of every stage that takes steps, its seeds in one panel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tlmed.report.chapters.lineage_drawing import TrainedStep, trained_steps
from tlmed.report.parts import Picture
from tlmed.report.picture_drawing import draw_picture, plain_axes

_NUM_COLUMNS = 2
_PANEL_INCHES = (2.3, 1.6)  # low: a run of many arms stays on one printed page
_LONGEST_TITLE = 18  # characters that a panel is wide


def draw_training_curves(lineage: Mapping[str, Any], histories: pd.DataFrame) -> Picture | None:
    """Draw training and validation loss; None where no history is kept.

    Args:
        lineage: content of `lineage.json`.
        histories: a row an epoch: key, epoch, train_loss, val_loss, val_accuracy; the latter two empty where not
            measured.
    """
    keys = {id(stage): key for key, stage in lineage["stages"].items()}
    panels = {
        title: [histories[histories["key"] == keys[id(stage)]] for stage in step.stages]
        for title, step in _titled(trained_steps(lineage))
        if step.takes_steps
    }
    # Those of single folds are not kept.
    panels = {title: curves for title, curves in panels.items() if any(len(curve) for curve in curves)}
    if not panels:
        return None
    num_rows, num_columns = math.ceil(len(panels) / _NUM_COLUMNS), min(_NUM_COLUMNS, len(panels))

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        drawn = figure.subplots(num_rows, num_columns, squeeze=False)
        for axes in drawn.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (title, curves) in zip(drawn.flat, panels.items(), strict=False):
            for curve in curves:
                axes.plot(curve["epoch"], curve["train_loss"], color=lines[0], linewidth=1.2)
                measured = curve.dropna(subset=["val_loss"])
                axes.plot(measured["epoch"], measured["val_loss"], color=lines[1], linewidth=1.2, linestyle="--")
            axes.set_title(title, fontsize=9)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.set_ylim(bottom=0)
            plain_axes(axes)
        figure.supxlabel("epoch", fontsize=10)
        figure.supylabel("cross-entropy", fontsize=10)

    return draw_picture(
        "training",
        "Training curves",
        " ".join(f"{title}: {_last(curves)}." for title, curves in panels.items()),
        "Solid blue: training loss, with random views and label smoothing where the recipe has them, so that it may "
        "lie above the dashed orange one, the validation loss. One line a seed. A validation loss that rises while the "
        "training loss falls is overfitting.",
        draw,
        size_inches=(_PANEL_INCHES[0] * num_columns, _PANEL_INCHES[1] * num_rows + 0.2),
    )


def _titled(steps: Sequence[TrainedStep]) -> list[tuple[str, TrainedStep]]:
    """Every step with stages, titled by itself and the arms that go through it."""
    found = []
    for step in steps:
        if step.stages:
            arms = _arms_through(step)
            told = ", ".join(arms)
            told = told if len(told) <= _LONGEST_TITLE else f"{len(arms)} arms"
            found.append((f"{step.name} of {told}", step))
        found += _titled(list(step.children.values()))
    return found


def _arms_through(step: TrainedStep) -> list[str]:
    return [*step.arms, *(arm for child in step.children.values() for arm in _arms_through(child))]


def _last(curves: Sequence[pd.DataFrame]) -> str:
    """What the last epochs came to, over seeds."""
    told = []
    for column, name in (("train_loss", "training loss"), ("val_loss", "val loss"), ("val_accuracy", "val accuracy")):
        ends = [float(curve[column].iloc[-1]) for curve in curves if len(curve) and pd.notna(curve[column].iloc[-1])]
        if ends:
            span = f"{min(ends):.2f}" if min(ends) == max(ends) else f"{min(ends):.2f} to {max(ends):.2f}"
            told.append(f"{name} {span}")
    return f"at the end {', '.join(told)}" if told else "no history"
