"""Each seed a dot: how much training anew changes an arm, and the difference of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tlmed.evaluation.estimates.across_folds import WITHIN_FOLDS, split_by_fold
from tlmed.evaluation.estimates.unit_scores import SeedScores, UnitScores
from tlmed.evaluation.metrics import METRICS, METRICS_OF_SEVERAL_CLASSES
from tlmed.report.parts import Picture
from tlmed.report.picture_drawing import draw_picture, plain_axes

_WIDTH_INCHES = 4.6
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
TITLES = {"auroc": "AUROC", "auprc": "AUPRC", "balanced_accuracy": "balanced accuracy"}


def values_by_seed(scores: UnitScores, metric: str) -> dict[str, dict[str, float]]:
    """Return {ARM: {SEED: value}}; what stands within folds is averaged over those of a seed.

    An arm whose seeds all came to the same has one of them.
    """
    return {arm: {str(one.seed): _value(one, metric) for one in seeds} for arm, seeds in scores.arms.items()}


def _value(one: SeedScores, metric: str) -> float:
    measure = (METRICS if len(one.scored.probabilities[0]) == 2 else METRICS_OF_SEVERAL_CLASSES)[metric]
    parts = [one.part] if one.folds is None or metric not in WITHIN_FOLDS else split_by_fold([one])
    return float(np.mean([measure(part.scored, np.ones((1, len(part.scored.labels))))[0] for part in parts]))


def draw_seeds(scores: UnitScores, metrics: Mapping[str, Any], metric: str) -> Picture:
    """Draw the seeds of every arm, with the arm's mean and limits.

    Args:
        scores: of every arm.
        metrics: content of `metrics.json`.
        metric: by which arms are compared.
    """
    values, cells = values_by_seed(scores, metric), {arm: row[metric] for arm, row in metrics["arms"].items()}
    seeds = list(dict.fromkeys(seed for of_arm in values.values() for seed in of_arm))
    title = TITLES.get(metric, metric)

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        axes = figure.subplots()
        for row, (arm, of_seeds) in enumerate(values.items()):
            if cells[arm]["low"] is not None:
                axes.plot([cells[arm]["low"], cells[arm]["high"]], [row + 0.16] * 2, color=lines[0], linewidth=2)
            axes.plot([np.mean(list(of_seeds.values()))], [row + 0.16], "|", color=lines[0], markersize=13, mew=3)
            _dots(axes, of_seeds, seeds, row - 0.16, lines[1])
        axes.set_yticks(range(len(values)), list(values))
        axes.set(xlabel=f"{title}, with 95 % limits", ylim=(len(values) - 0.4, -0.6))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        plain_axes(axes)

    told = "; ".join(
        f"{arm} {', '.join(f'{value:.3f}' for value in of_seeds.values())}{_alike(arm, scores)}, mean "
        f"{np.mean(list(of_seeds.values())):.3f}{_limits(cells[arm])}"
        for arm, of_seeds in values.items()
    )
    alike = f" All seeds of {', '.join(scores.alike)} came to the same." if scores.alike else ""
    what = "seeds" if len(seeds) > 1 else "the one seed, so the spread of training is not known"
    return draw_picture(
        "seeds",
        f"{title} by seed",
        f"{title} of each seed: {told}.",
        f"Symbols are {what}{_legend(seeds)}; the bar is the mean with its 95 % limits, which the table explains."
        f"{alike}",
        draw,
        size_inches=(_WIDTH_INCHES, 0.9 + 0.42 * len(values)),
    )


def draw_primary_contrast(comparison: Mapping[str, Any]) -> Picture:
    """Draw the primary contrast by seed, or by repeat, with its interval and the margin.

    Args:
        comparison: content of `comparison.json`.
    """
    primary, margin = comparison["contrasts"][0], comparison["margin"]
    by_seed = {str(one["seed"]): one["value"] for one in primary["by_seed"]}
    claim = primary["claims"][primary["speaks_for"]] if primary["speaks_for"] is not None else None
    title = TITLES.get(comparison["metric"], comparison["metric"])

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        axes = figure.subplots()
        axes.axvspan(-margin, margin, color=mpl.rcParams["text.color"], alpha=0.1, linewidth=0)
        axes.axvline(0, color=mpl.rcParams["text.color"], linestyle=":")
        if claim is not None:
            axes.plot([claim["low"], claim["high"]], [0, 0], color=lines[0], linewidth=2)
            axes.plot([claim["low_90"], claim["high_90"]], [0, 0], color=lines[0], linewidth=6, alpha=0.5)
        axes.plot([primary["value"]], [0], "|", color=lines[0], markersize=16, mew=3)
        _dots(axes, by_seed, list(by_seed), 1, lines[1])
        axes.set_yticks([0, 1] if by_seed else [0], ["interval", "seeds"] if by_seed else ["interval"])
        axes.set(xlabel=f"difference in {title}", ylim=(1.6 if by_seed else 0.6, -0.6))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        plain_axes(axes)

    told = ", ".join(f"seed {seed} {value:+.3f}" for seed, value in by_seed.items())
    interval = (
        "no interval"
        if claim is None
        else f"95 % {claim['low']:+.3f} to {claim['high']:+.3f}, 90 % {claim['low_90']:+.3f} to {claim['high_90']:+.3f}"
    )
    return draw_picture(
        "primary-contrast",
        f"Primary contrast: {primary['name']}",
        f"{primary['name']}: {primary['value']:+.3f}; {interval}; {told or 'not paired by seed'}.",
        f"Thin line: 95 % limits, thick: 90 %; grey: within the margin of {100 * margin:g} points, which counts as no "
        f"difference; right of the dotted line the first arm is better. "
        + (f"Symbols are seeds{_legend(list(by_seed))}." if by_seed else "Its seeds cannot be paired."),
        draw,
        size_inches=(_WIDTH_INCHES, 1.9 if by_seed else 1.4),
    )


def _dots(axes: Axes, values: Mapping[str, float], seeds: Sequence[str], y: float, colour: str) -> None:
    for seed, value in values.items():
        marker = _MARKERS[seeds.index(seed) % len(_MARKERS)]
        axes.plot([value], [y], marker, color=colour, markersize=7, markerfacecolor="none", markeredgewidth=1.6)


def _legend(seeds: Sequence[str]) -> str:
    names = {"o": "circle", "s": "square", "^": "triangle", "D": "diamond", "v": "triangle down", "P": "plus"}
    names |= {"X": "cross", "<": "triangle left", ">": "triangle right", "p": "pentagon"}
    told = [f"{names[_MARKERS[place % len(_MARKERS)]]} {seed}" for place, seed in enumerate(seeds)]
    return f" ({', '.join(told)})" if len(seeds) > 1 else ""


def _alike(arm: str, scores: UnitScores) -> str:
    return " in all seeds" if arm in scores.alike else ""


def _limits(cell: Mapping[str, Any]) -> str:
    return "" if cell["low"] is None else f" ({cell['low']:.3f} to {cell['high']:.3f})"
