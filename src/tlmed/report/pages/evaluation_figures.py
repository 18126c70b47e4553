"""Pictures of one classifier: ROC, reliability, decision curve, confusion; each as PNG for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tlmed.evaluation.assessment.assessment import Assessment
from tlmed.evaluation.calibration import calibration_curve
from tlmed.evaluation.statistics.curves import GRID, sensitivity_by_false_alarms
from tlmed.evaluation.statistics.one_class import score_one_class
from tlmed.report.parts import Picture
from tlmed.report.picture_drawing import SQUARE_INCHES, draw_picture, plain_axes

MIN_EVENTS_FOR_RELIABILITY = 100
_BINS = np.linspace(0, 1, 26)
_MAX_CLASSES_DRAWN = 6
_LIGHT_ON_DARK_FROM = 0.55
_MAX_CLASSES_IN_MATRIX = 30


def draw_assessment(assessment: Assessment, *, with_roc: bool = True) -> list[Picture]:
    """Draw what there is to see of a classifier; without the ROC curve where it stands beside those of others."""
    pictures = [_roc(assessment)] if with_roc else []
    if "score" in assessment.units:
        pictures += [_reliability(assessment), _decision_curve(assessment)]
    if len(assessment.classes) <= _MAX_CLASSES_IN_MATRIX:
        pictures.append(_confusion(assessment))
    if assessment.metrics["num_folds"] is not None:
        pictures = [replace(picture, caption=f"Out-of-fold. {picture.caption}") for picture in pictures]
    return pictures


def _roc(assessment: Assessment) -> Picture:
    units = assessment.units
    if "score" in units:
        curves = {"": _mean_roc(units, units["is_positive"], units["score"])}
    else:
        # A class without units has no curve.
        present = [name for name in assessment.classes if (units["label"] == name).any()]
        shown = present[:_MAX_CLASSES_DRAWN]
        curves = {name: _mean_roc(units, units["label"] == name, units[f"p_{name}"]) for name in shown}
    num_models = len(units[["seed", "fold"]].drop_duplicates()) if {"seed", "fold"} <= set(units) else 1

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], linestyle=":", color=mpl.rcParams["text.color"], alpha=0.6)
        for (name, sensitivity), colour in zip(curves.items(), lines, strict=False):
            axes.plot(GRID, sensitivity, color=colour, linewidth=2, label=name or None)
        if "called" in units:
            called, truth = units["called"], units["is_positive"]
            axes.plot(called[~truth].mean(), called[truth].mean(), "o", color=lines[1], markersize=9, label="threshold")
        axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, loc="lower right")
        plain_axes(axes)

    cell = assessment.cells["auroc"]
    value = "undefined" if cell["value"] is None else f"{cell['value']:.3f}"
    of_all = (
        f" {len(curves)} of {len(assessment.classes)} classes: {', '.join(curves)}."
        if 1 < len(curves) < len(assessment.classes)
        else ""
    )
    mean = f" Mean, at equal specificity, of the curves of {num_models} models." if num_models > 1 else ""
    return draw_picture(
        "roc",
        "ROC curve",
        f"ROC curve, AUROC {value}; the dotted diagonal is chance.",
        f"The dotted line is chance.{' The dot is the threshold.' if 'called' in units else ''}{of_all}{mean}",
        draw,
    )


def _mean_roc(units: pd.DataFrame, is_positive: pd.Series[bool], scores: pd.Series[float]) -> np.ndarray:
    """(201,) sensitivities at 1 - specificity of 0 to 1: the mean over models, whose scores are not to be pooled."""
    keys = [name for name in ("seed", "fold") if name in units]
    parts = [units.index] if not keys else [part.index for _, part in units.groupby(keys, sort=False)]
    curves = []
    for rows in parts:
        truth, of_rows = is_positive[rows].to_numpy(), scores[rows].to_numpy()
        if truth.all() or not truth.any():
            continue
        scored = score_one_class(truth, of_rows)
        curves.append(sensitivity_by_false_alarms(scored, np.ones((1, len(truth))))[0])
    return np.asarray(np.mean(curves, axis=0))


def _reliability(assessment: Assessment) -> Picture:
    units = assessment.units
    points = calibration_curve(units["is_positive"], units["score"], units["group"].to_numpy())
    once = units.drop_duplicates("unit")
    num_events = int(min(once["is_positive"].sum(), (~once["is_positive"]).sum()))

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        axes, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
        axes.plot([0, 1], [0, 1], linestyle=":", color=mpl.rcParams["text.color"], alpha=0.6)
        for point in points:
            if point.observed.low is not None:
                limits = [point.observed.low, point.observed.high]
                axes.plot([point.mean_probability] * 2, limits, color=lines[0], alpha=0.6)
        shares = [point.observed.value for point in points]
        axes.plot([point.mean_probability for point in points], shares, "o-", color=lines[0])
        axes.set(ylabel="observed share", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
        num_seeds = units["seed"].nunique()
        for truth, colour, name in ((True, lines[1], "positive"), (False, lines[2], "negative")):
            scores = units["score"][units["is_positive"] == truth]
            counts = np.histogram(scores, bins=_BINS)[0] / num_seeds
            below.stairs(counts, _BINS, color=colour, linewidth=1.5, label=name)
        below.set(xlabel="predicted probability", ylabel="units")
        below.legend(frameon=False, fontsize="small")
        plain_axes(axes)
        plain_axes(below)

    few = num_events < MIN_EVENTS_FOR_RELIABILITY
    slope = assessment.cells["calibration_slope"]["value"]
    stated = "undefined" if slope is None else f"{slope:.2f}"
    return draw_picture(
        "reliability",
        f"Reliability{' (indicative)' if few else ''}",
        f"Observed share of positives by predicted probability in {len(points)} bins; calibration slope {stated}.",
        "On the dotted line probabilities are right; bars are 95 % intervals."
        + (
            f" Indicative: the rarer class has fewer than {MIN_EVENTS_FOR_RELIABILITY} units, {num_events}, so the "
            "curve's shape may be chance."
            if few
            else ""
        ),
        draw,
    )


def _decision_curve(assessment: Assessment) -> Picture:
    curve: Mapping[str, Any] = assessment.metrics["decision_curve"]
    share, thresholds = curve["prevalence"], curve["thresholds"]
    where = "at this set's prevalence"
    if curve["reweighted"]:
        where = f"at a prevalence of {share:g}: cases are re-weighted and probabilities shifted from this set's"

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        axes = figure.subplots()
        axes.plot(thresholds, curve["model"], color=lines[0], linewidth=2, label="model")
        axes.plot(thresholds, curve["treat_all"], color=lines[1], linestyle="--", label="treat all")
        axes.axhline(0, color=lines[2], linestyle=":", label="treat none")
        axes.set(
            xlabel="probability from which one would act",
            ylabel="net benefit (true positives a unit)",
            xlim=(0, min(1.0, max(5 * share, 0.1))),
            ylim=(-0.25 * share, share * 1.08),
        )
        axes.legend(frameon=False)
        plain_axes(axes)

    return draw_picture(
        "decision-curve",
        "Decision curve",
        f"Net benefit of the model, of treating all and of treating none by threshold, {where}.",
        f"Useful where the model lies above both others; {where}.",
        draw,
    )


def _confusion(assessment: Assessment) -> Picture:
    units, classes = assessment.units, list(assessment.classes)
    if "called" in units:
        names = _names_of_two(assessment)
        truth = np.where(units["is_positive"], *names)
        called = np.where(units["called"], *names)
    else:
        names = classes
        truth = units["label"].to_numpy()
        called = np.array(classes)[units[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)]
    num_seeds = units["seed"].nunique() if "seed" in units else 1
    counts = pd.crosstab(truth, called).reindex(index=names, columns=names, fill_value=0).to_numpy() / num_seeds
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
    edge = max(SQUARE_INCHES[0], 2.4 + 0.75 * len(names))

    def draw(figure: Figure, lines: Sequence[str]) -> None:
        figure.set_size_inches(edge, edge * 0.95)
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            text = f"{count:g}" if num_seeds == 1 else f"{count:.1f}"
            colour = "white" if shares[row, column] > _LIGHT_ON_DARK_FROM else "black"
            axes.text(column, row, f"{text}\n{shares[row, column]:.0%}", ha="center", va="center", color=colour)
        is_slanted = len(names) > 2
        axes.set_xticks(
            range(len(names)), names, rotation=30 if is_slanted else 0, ha="right" if is_slanted else "center"
        )
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="called (rows sum to 100 %)", ylabel="true")

    cells = {(a, b): counts[i, j] for i, a in enumerate(names) for j, b in enumerate(names)}
    told = "; ".join(f"true {a} called {b}: {count:g}" for (a, b), count in cells.items()) if len(names) == 2 else ""
    mean = f" Mean counts of {num_seeds} seeds." if num_seeds > 1 else ""
    return draw_picture(
        "confusion",
        "Confusion at the threshold" if "called" in units else "Confusion",
        f"Confusion matrix. {told}".strip(),
        f"How many units of each class were called what.{mean}",
        draw,
    )


def _names_of_two(assessment: Assessment) -> list[str]:
    """What the positive and the negative units are called: by their classes, where there is one of each."""
    units = assessment.units
    found = [sorted(set(units["label"][units["is_positive"] == truth])) for truth in (True, False)]
    return [found[0][0], found[1][0]] if len(assessment.classes) == 2 else ["positive", "negative"]
