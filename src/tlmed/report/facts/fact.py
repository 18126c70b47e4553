"""One thing that a run folder knows, as a sentence with its source; and how figures are written in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlmed.recipe.recipe import Arm, resolve_arms
from tlmed.report.figure_text import counts_text, limits_text, value_text
from tlmed.report.record.case_counts import positive_classes
from tlmed.report.record.run_record import RunRecord

METRIC_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}


@dataclass(frozen=True)
class Fact:
    """What is known.

    Attributes:
        statement: one or more whole sentences, in the form that a paper could use.
        source: the file of the run folder, or the key of its recipe, that it stands on.
        missing: keys of the recipe that are empty and leave a part of the statement open.
    """

    statement: str
    source: str
    missing: tuple[str, ...] = ()


def figure(cell: Mapping[str, Any]) -> str:
    """Write a figure of `metrics.json` as papers do, such as "0.703 (95 % CI 0.571 to 0.807)"."""
    interval = "" if cell["low"] is None else "95 % CI "
    return f"{value_text(cell)} ({interval}{limits_text(cell)})"


def share(cell: Mapping[str, Any]) -> str:
    """Write a share with its counts, such as "85 of 98, 0.867 (95 % CI 0.755 to 0.933)"."""
    of_seeds = " (by seed)" if len(cell["numerators"]) > 1 else ""
    return f"{counts_text(cell)}{of_seeds}, {figure(cell)}"


def p_value(value: float) -> str:
    """Write a p value as journals do."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def trained_arms(record: RunRecord) -> list[Arm]:
    """The arms that the run holds results of."""
    return [arm for arm in resolve_arms(record.recipe).values() if arm.name in record.metrics["arms"]]


def classes_of(record: RunRecord) -> list[str]:
    """Class names of the target."""
    return [str(name).removeprefix("p_") for name in record.predictions.columns if str(name).startswith("p_")]


def positive_in_words(record: RunRecord) -> str | None:
    """The class or classes that count as disease; None where figures are macro averages."""
    return " or ".join(positive_classes(record)) or None


def synthetic_domains(record: RunRecord) -> list[str]:
    """The stages whose images were drawn by a program."""
    return [stage.name for stage in record.recipe.chain if stage.data.phantom is not None]
