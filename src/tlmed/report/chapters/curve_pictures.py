"""ROC and precision-recall curves of every arm, each with its band; one small panel an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlmed.evaluation.estimates.curve_bands import CurveBand, curve_band
from tlmed.evaluation.estimates.unit_scores import UnitScores
from tlmed.evaluation.metrics import Metric
from tlmed.evaluation.statistics.curves import GRID, precision_by_recall, sensitivity_by_false_alarms
from tlmed.report.parts import Picture
from tlmed.report.picture_drawing import draw_picture, plain_axes

_NUM_COLUMNS = 2
_PANEL_INCHES = 2.3
_TICKS = (0, 0.25, 0.5, 0.75, 1)
_TOLD_AT = {"sensitivity": 0.1, "precision": 0.8}  # where the alternative text gives each curve


def draw_curves(scores: UnitScores, metrics: Mapping[str, Any]) -> list[Picture]:
    """Draw both.

    Args:
        scores: of every arm, of two classes.
        metrics: content of `metrics.json`.
    """
    prevalence = float((scores.labels == next(iter(scores.arms.values()))[0].scored.positive).mean())

    def chance_of_roc(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], linestyle=":", color=mpl.rcParams["text.color"], alpha=0.6)
        axes.set(xlabel="1 - specificity", ylabel="sensitivity")

    def chance_of_precision(axes: Axes) -> None:
        axes.axhline(prevalence, linestyle=":", color=mpl.rcParams["text.color"], alpha=0.6)
        axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)")

    roc = _bands(sensitivity_by_false_alarms, scores)
    precision = _bands(precision_by_recall, scores)
    return [
        _picture(
            ("roc", "ROC curves", "auroc", "sensitivity"),
            roc,
            metrics,
            chance_of_roc,
            "The dotted line is chance; the ring is the threshold that was chosen without test.",
        ),
        _picture(
            ("precision-recall", "Precision-recall curves", "auprc", "precision"),
            precision,
            metrics,
            chance_of_precision,
            f"The dotted line is chance, the share of positives here ({prevalence:.0%}); where disease is rarer, "
            "precision is lower.",
        ),
    ]


def _bands(curve: Metric, scores: UnitScores) -> dict[str, CurveBand]:
    return {arm: curve_band(curve, seeds, scores.groups) for arm, seeds in scores.arms.items()}


def _picture(
    named: tuple[str, str, str, str],
    bands: Mapping[str, CurveBand],
    metrics: Mapping[str, Any],
    add_chance: Callable[[Axes], None],
    remark: str,
) -> Picture:
    name, title, metric, what = named
    num_rows = math.ceil(len(bands) / _NUM_COLUMNS)
    num_columns = min(_NUM_COLUMNS, len(bands))

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        panels = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True)
        for panel in panels.flat[len(bands) :]:
            panel.set_visible(False)
        for panel, (arm, band) in zip(panels.flat, bands.items(), strict=False):
            add_chance(panel)
            for other in bands.values():
                panel.plot(GRID, other.values, color=mpl.rcParams["text.color"], linewidth=0.6, alpha=0.25)
            if band.low is not None and band.high is not None:
                panel.fill_between(GRID, band.low, band.high, color=lines[0], alpha=0.25, linewidth=0)
            panel.plot(GRID, band.values, color=lines[0], linewidth=2)
            point = _point(metrics, arm) if metric == "auroc" else None
            if point is not None:
                panel.plot(*point, "o", markersize=8, markerfacecolor="none", markeredgewidth=2, color=lines[1])
            panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=_TICKS, yticks=_TICKS)
            panel.set_title(_title(arm, metrics, metric), fontsize=9)
            panel.label_outer()
            plain_axes(panel)

    return draw_picture(
        name,
        title,
        _in_words(bands, what),
        f"Blue: the arm, with its pointwise 95 % band ({_methods(bands)}); grey: the other arms. A band is about "
        f"each point by itself, and overlapping bands do not show that arms are alike. {remark}",
        draw,
        size_inches=(_PANEL_INCHES * num_columns, (_PANEL_INCHES + 0.1) * num_rows),
    )


def _methods(bands: Mapping[str, CurveBand]) -> str:
    """How bands are made; of which arm, where arms differ in it."""
    arms: dict[str, list[str]] = {}
    for arm, band in bands.items():
        arms.setdefault(band.method, []).append(arm)
    if len(arms) == 1:
        return next(iter(arms))
    return "; ".join(f"{', '.join(of_method)}: {method}" for method, of_method in arms.items())


def _point(metrics: Mapping[str, Any], arm: str) -> tuple[float, float] | None:
    """Where the prespecified threshold lies: 1 - specificity, sensitivity."""
    points = metrics["operating_points"].get(arm, ())
    if not points or points[0]["refused"] is not None:
        return None
    return 1 - points[0]["specificity"]["value"], points[0]["sensitivity"]["value"]


def _title(arm: str, metrics: Mapping[str, Any], metric: str) -> str:
    cell = metrics["arms"][arm][metric]
    value = "undefined" if cell["value"] is None else f"{cell['value']:.3f}"
    limits = "" if cell["low"] is None else f" ({cell['low']:.2f} to {cell['high']:.2f})"
    mark = " (delivered)" if arm == metrics["delivered"] else ""
    return f"{arm}{mark}\n{metric.upper()} {value}{limits}"


def _in_words(bands: Mapping[str, CurveBand], what: str) -> str:
    share = _TOLD_AT[what]
    place = int(np.abs(GRID - share).argmin())
    where = "a 1 - specificity" if what == "sensitivity" else "a recall"
    told = []
    for arm, band in bands.items():
        limits = "" if band.low is None or band.high is None else f" ({band.low[place]:.2f} to {band.high[place]:.2f})"
        told.append(f"{arm} {band.values[place]:.2f}{limits}")
    return f"{what.capitalize()} at {where} of {share:g}: {', '.join(told)}."
