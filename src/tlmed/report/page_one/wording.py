"""The words of page one: patients and images in place of groups and units, and arms as what they are trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tlmed.evaluation.assessment.case_data import plural
from tlmed.recipe.recipe import NO_WEIGHTS, Arm, resolve_arms
from tlmed.report.figure_text import figure_text, limits_text
from tlmed.report.record.case_counts import group_noun
from tlmed.report.record.run_record import RunRecord

# Not within a name such as "all-groups".
_GROUPS = re.compile(r"(?<![\w-])groups(?![\w-])")
_PATIENTS = re.compile(r"(?<![\w-])patients(?![\w-])")
_UNITS = re.compile(r"(?<![\w-])units(?![\w-])")
_STARTS = {"stage": "stage", "file": "starting weights", "hub": "starting weights", "bundle": "starting weights"}


def independent_noun(record: RunRecord) -> str:
    """What is drawn as one: "patient"; "group" only where nothing more is known."""
    return group_noun(record) if record.metrics["groups_known"] else "group"


def in_its_words(record: RunRecord, text: str) -> str:
    """Return a sentence of tlmed's with what groups and units are here: "95 test patients"."""
    groups = plural(independent_noun(record))
    text = _GROUPS.sub(groups, _PATIENTS.sub(groups, text))
    return _UNITS.sub(plural(record.metrics["unit"]), text)


def limits_in_words(record: RunRecord, cell: Mapping[str, Any], sign: str = "") -> str:
    """Return the limits, or why there are none, in the words of this run."""
    return in_its_words(record, limits_text(cell, sign))


def figure_in_words(record: RunRecord, cell: Mapping[str, Any]) -> str:
    """Return a value with its limits, or why there are none, in the words of this run."""
    return in_its_words(record, figure_text(cell))


def compared_arms(record: RunRecord) -> list[str]:
    """The arms that the verdict is about, the better placed first; the delivered one where nothing is compared."""
    if record.comparison is None:
        return [str(record.metrics["delivered"])]
    weights = record.comparison["contrasts"][0]["weights"]
    return sorted(weights, key=weights.__getitem__, reverse=True)


def arms_in_words(record: RunRecord) -> str:
    """What each compared arm is trained on, in a sentence."""
    known = resolve_arms(record.recipe)
    arms = [known[name] for name in compared_arms(record) if name in known]
    chains = [_chain(arm) for arm in arms]
    are_alike = len(set(chains)) < len(chains) or len({arm.strategy.kind for arm in arms}) > 1
    told = []
    for arm, chain in zip(arms, chains, strict=True):
        more: list[str] = [arm.strategy.kind] if are_alike else []
        more += [] if arm.control is None else [f"control: {arm.control}"]
        told.append(f"{arm.name}: {chain}" + (f" ({', '.join(more)})" if more else ""))
    return f"Trained in this order: {'; '.join(told)}."


def _chain(arm: Arm) -> str:
    kind, _, rest = arm.weights.partition(":")
    start = "random weights" if arm.weights == NO_WEIGHTS else _STARTS.get(kind, kind)
    return " → ".join([f"{start} {rest}" if kind == "stage" else start, *arm.stages])
