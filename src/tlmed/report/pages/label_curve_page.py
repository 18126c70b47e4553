"""A learning curve in words and a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlmed.evaluation.assessment.case_data import counted
from tlmed.report.parts import Grid, Section
from tlmed.report.run.run_summary import openings_in_words

METRIC_NAMES: Mapping[str, str] = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}


def label_curve_title(curve: Mapping[str, Any]) -> str:
    """Return the heading of the whole."""
    return f"Learning curve of {curve['name']}"


def label_curve_sections(curve: Mapping[str, Any]) -> list[Section]:
    """Return what is to be said of a learning curve, the most important first.

    Args:
        curve: content of `learning_curve.json`.
    """
    metric = METRIC_NAMES[curve["metric"]]
    change = [] if curve["change"] is None else [curve["change"]["sentence"]]
    needed = tuple(one["sentence"] for one in curve["needed"])
    return [
        Section(
            f"{metric} by labelled groups",
            (*change, _speaks_for(curve), *_intervals(curve), *_steps(curve)),
            _grid(curve),
        ),
        *([Section("Test groups still needed", needed)] if needed else []),
        Section("What to know", tuple(_to_know(curve))),
    ]


def _grid(curve: Mapping[str, Any]) -> Grid:
    pair, arms = curve["difference_of"], list(curve["shares"][0]["arms"])
    difference = [] if pair is None else [f"{pair[0]} minus {pair[1]}"]
    rows = [
        (
            f"{card['percent']:g} %",
            _groups(card),
            str(card["num_draws"]),
            _steps_of(card),
            *(_figure(card["arms"][arm]) for arm in arms),
            *([] if pair is None else [_figure(card["difference"], sign="+")]),
        )
        for card in curve["shares"]
    ]
    return Grid(("labels", "groups (train + val)", "draws", "steps", *arms, *difference), tuple(rows))


def _groups(card: Mapping[str, Any]) -> str:
    by_split = card["num_groups_by_split"]
    return f"{card['num_groups']} ({by_split['train']} + {by_split.get('val', 0)})"


def _steps_of(card: Mapping[str, Any]) -> str:
    return " / ".join(dict.fromkeys(f"{of_arm['steps']:.0f}" for of_arm in card["arms"].values()))


def _figure(cell: Mapping[str, Any], sign: str = "") -> str:
    value = f"{cell['value']:{sign}.3f}"
    return value if cell["low"] is None else f"{value} ({cell['low']:{sign}.3f} to {cell['high']:{sign}.3f})"


def _speaks_for(curve: Mapping[str, Any]) -> str:
    seeds = curve["design"]["seeds"]
    of_seeds = "new seeds" if len(seeds) > 1 else f"not for other seeds, because there is one ({seeds[0]})"
    return (
        "The figures are means over draws of nested subsets of the labelled groups, the same in every arm; they speak "
        f"for this pool of labelled patients, new draws from it, new patients like those of test, and {of_seeds}."
    )


def _intervals(curve: Mapping[str, Any]) -> Iterator[str]:
    if len(curve["design"]["seeds"]) == 2:
        yield "Two seeds hardly show how seeds differ, which makes intervals very wide; train with three or more."
    cells = [cell for card in curve["shares"] for cell in (*card["arms"].values(), card["difference"]) if cell]
    reasons = sorted({cell["no_interval"] for cell in cells if cell["no_interval"] is not None})
    if reasons:
        yield f"Where no interval is given: {'; '.join(reasons)}."
    if any(cell["low"] is not None for cell in cells):
        yield "In brackets: 95 % intervals, each by itself; none is corrected for the number of shares."
    one_model = [f"{card['percent']:g} %" for card in curve["shares"] if _is_of_these_models(card)]
    if one_model:
        yield f"At {', '.join(one_model)} there is one training alone: these intervals hold for these trained models."


def _is_of_these_models(card: Mapping[str, Any]) -> bool:
    return any(cell["speaks_for"] == "a" for cell in card["arms"].values())


def _steps(curve: Mapping[str, Any]) -> Iterator[str]:
    """Fewer labels with as many epochs mean fewer steps, which is part of what the curve shows."""
    first, last = curve["shares"][0], curve["shares"][-1]
    if any(first["arms"][arm]["steps"] != last["arms"][arm]["steps"] for arm in first["arms"]):
        yield (
            f"Epochs are the same at every share, so that fewer labels also mean fewer optimiser steps of the target "
            f"stage ({_steps_of(first)} at {first['percent']:g} %, {_steps_of(last)} at {last['percent']:g} %): part "
            "of what more labels bring may be more training."
        )


def _to_know(curve: Mapping[str, Any]) -> Iterator[str]:
    design = curve["design"]
    by_class = ", ".join(f"{number} with {name}" for name, number in design["num_groups_by_class"].items())
    yield (
        f"Test is the same everywhere: {counted(design['num_units'], _unit(curve))} of "
        f"{counted(design['num_groups'], 'group')} ({by_class})."
    )
    for finding in curve["audit_warnings"]:
        waived = "waived error" if finding["severity"] == "error" else "data"
        yield f"Warning, {waived}, {finding['kind']}: {finding['message']}."
    yield openings_in_words(int(curve["test_openings"]))
    registered = curve["registered"]
    if registered is not None and registered["changed_after_looking"] is not None:
        yield f"Changed after looking: the recipe's question was {registered['changed_after_looking']}."


def _unit(curve: Mapping[str, Any]) -> str:
    return "image" if curve["unit"] == "image" else "unit"
