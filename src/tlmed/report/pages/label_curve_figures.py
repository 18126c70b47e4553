"""Pictures of a learning curve: the arms, and their difference, by the number of labelled groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from tlmed.report.pages.label_curve_page import METRIC_NAMES
from tlmed.report.parts import Picture
from tlmed.report.picture_drawing import draw_picture, plain_axes

_BAND_ALPHA, _DOT_ALPHA = 0.18, 0.45
_CAPTION = "Bands are 95 % intervals; each dot is a draw. The axis of the groups is logarithmic."


def draw_label_curve(curve: Mapping[str, Any]) -> list[Picture]:
    """Draw the arms, and their difference where there is one.

    Args:
        curve: content of `learning_curve.json`.
    """
    return [_arms(curve), *([_difference(curve)] if curve["difference_of"] is not None else [])]


def _arms(curve: Mapping[str, Any]) -> Picture:
    metric, shares = METRIC_NAMES[curve["metric"]], curve["shares"]
    arms = list(shares[0]["arms"])

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        axes = figure.subplots()
        for arm, colour in zip(arms, lines, strict=False):
            _draw_line(axes, shares, [card["arms"][arm] for card in shares], colour, arm)
        axes.set(ylabel=metric)
        axes.legend(frameon=False)
        _label_groups(axes, shares)

    told = "; ".join(f"{arm}: {_values([card['arms'][arm] for card in shares], shares)}" for arm in arms)
    alternative = f"{metric} by labelled groups. {told}."
    return draw_picture("label-curve", f"{metric} by labelled groups", alternative, _CAPTION, draw)


def _difference(curve: Mapping[str, Any]) -> Picture:
    metric, shares = METRIC_NAMES[curve["metric"]], curve["shares"]
    name = f"{curve['difference_of'][0]} minus {curve['difference_of'][1]}"
    cells = [card["difference"] for card in shares]

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        axes = figure.subplots()
        axes.axhline(0, linestyle=":", color=mpl.rcParams["text.color"], alpha=0.6)
        _draw_line(axes, shares, cells, lines[2], None)
        axes.set(ylabel=f"difference in {metric}")
        _label_groups(axes, shares)

    alternative = f"{name}, difference in {metric} by labelled groups: {_values(cells, shares, sign='+')}."
    caption = f"On the dotted line the arms are equal. {_CAPTION}"
    return draw_picture("label-curve-difference", name, alternative, caption, draw)


def _draw_line(
    axes: Axes, shares: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]], colour: str, label: str | None
) -> None:
    groups = [card["num_groups"] for card in shares]
    axes.plot(groups, [cell["value"] for cell in cells], "o-", color=colour, linewidth=2, label=label)
    for num_groups, cell in zip(groups, cells, strict=True):
        values = [draw["value"] for draw in cell["draws"]]
        axes.plot([num_groups] * len(values), values, ".", color=colour, alpha=_DOT_ALPHA, markersize=4)
    banded = [(number, cell) for number, cell in zip(groups, cells, strict=True) if cell["low"] is not None]
    low, high = ([cell[end] for _, cell in banded] for end in ("low", "high"))
    axes.fill_between([number for number, _ in banded], low, high, color=colour, alpha=_BAND_ALPHA, linewidth=0)


def _label_groups(axes: Axes, shares: Sequence[Mapping[str, Any]]) -> None:
    axes.set_xscale("log")
    labels = [f"{card['num_groups']}\n{card['percent']:g} %" for card in shares]
    axes.set_xticks([card["num_groups"] for card in shares], labels)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="labelled groups, train and val")
    plain_axes(axes)


def _values(cells: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Any]], sign: str = "") -> str:
    return ", ".join(
        f"{cell['value']:{sign}.3f} with {card['num_groups']}" for cell, card in zip(cells, shares, strict=True)
    )
