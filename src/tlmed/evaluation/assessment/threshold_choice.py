"""Which units are called positive: by a threshold that was fixed before, or chosen on rows that are not test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from tlmed.errors import InputError, name_some
from tlmed.evaluation.decisions.thresholds import Aim, aim, assure
from tlmed.evaluation.statistics.array_checks import Booleans

NOBODYS_CHOICE = (
    "No threshold was stated, so units are called positive above 0.5. That is nobody's choice: after training with "
    "class weights or on a chosen mix of classes 0.5 is not where errors balance. State a threshold that was fixed "
    "before (--threshold), or have one chosen on val rows (--aim sensitivity=0.9)."
)
_ON_TEST = (
    "a threshold chosen on the rows that it is then measured on is refused: it makes sensitivity and specificity look "
    "better than they will be, and no correction takes that back. Add val rows (split = val) of the same model, or "
    "state a threshold that was fixed before (--threshold)"
)


@dataclass(frozen=True)
class Target:
    """What a threshold is to reach on val rows.

    Attributes:
        kind: `aim` reaches it there, `assure` also in new cases with 95 % confidence.
        of: what the value is of.
    """

    kind: Literal["aim", "assure"]
    of: Aim
    value: float


@dataclass(frozen=True)
class AppliedThreshold:
    """A threshold and where it comes from.

    Attributes:
        by_model: {(seed, fold): threshold}; a unit is called positive when its score is at least that.
        origin: a sentence.
        is_chosen: False for 0.5 by default, which is exclusive: a unit needs more than that.
    """

    by_model: Mapping[tuple[str, int], float]
    origin: str
    is_chosen: bool = True

    def calls(self, units: pd.DataFrame) -> Booleans:
        """Return (N,) whether each unit is called positive; see `with_scores` for the columns."""
        of_unit = np.array([self.by_model[model] for model in zip(units["seed"], units["fold"], strict=True)])
        scores = units["score"].to_numpy()
        return np.asarray(scores >= of_unit if self.is_chosen else scores > of_unit)

    def to_json(self) -> dict[str, Any]:
        """The threshold, or the range of several, and the sentence."""
        values = sorted(set(self.by_model.values()))
        several = {"lowest": values[0], "highest": values[-1]} if len(values) > 1 else {}
        return {"threshold": values[0] if len(values) == 1 else None, **several, "origin": self.origin}


def default_threshold(test: pd.DataFrame) -> AppliedThreshold:
    """0.5, which the sentence says is nobody's choice."""
    return AppliedThreshold(dict.fromkeys(_models(test), 0.5), NOBODYS_CHOICE, is_chosen=False)


def stated_threshold(test: pd.DataFrame, threshold: float, origin: str) -> AppliedThreshold:
    """A threshold that was fixed before these rows were seen.

    Raises:
        InputError: a threshold outside (0, 1).
    """
    if not 0 < threshold < 1:
        raise InputError(f"the threshold must be between 0 and 1, not {threshold:g}: scores are probabilities.")
    return AppliedThreshold(dict.fromkeys(_models(test), threshold), origin)


def chosen_threshold(test: pd.DataFrame, val: pd.DataFrame, target: Target) -> AppliedThreshold:
    """Choose thresholds on rows that are not measured.

    Of a fixed test set on the val rows of each seed. Of folds, for each fold on the out-of-fold scores of the others.

    Args:
        test: units to measure, see `with_scores`.
        val: units to choose on; empty under folds.
        target: to be reached.

    Raises:
        InputError: there are only test rows, groups that are in val and test, a target that cannot be reached, or too
            few units to assure it.
    """
    name = f"--{target.kind} {target.of}={target.value:g}"
    has_folds = bool((test["fold"] >= 0).any())
    if not has_folds and val.empty:
        raise InputError(f"{name}: the table has test rows alone, and {_ON_TEST}.")
    by_model = {}
    for seed, fold in _models(test):
        rows = test[(test["seed"] == seed) & (test["fold"] != fold)] if has_folds else val[val["seed"] == seed]
        if rows.empty:
            raise InputError(
                f"{name}: there are no val rows of seed {seed}; a threshold is chosen on the same model's val rows."
            )
        if not has_folds:
            _check_apart(rows, test[test["seed"] == seed], name)
        by_model[seed, fold] = _choose(rows, target, name)
    where = "for each fold on the out-of-fold scores of the others" if has_folds else "on val rows"
    reach = "assure" if target.kind == "assure" else "reach"
    return AppliedThreshold(by_model, f"Chosen {where}, to {reach} a {target.of} of {target.value:g} there.")


def _check_apart(val: pd.DataFrame, test: pd.DataFrame, name: str) -> None:
    """Groups that span folds are refused where the figures are computed."""
    both = sorted({*map(str, val["group"])} & {*map(str, test["group"])})
    if both:
        raise InputError(
            f"{name}: groups with rows in val and in test: {name_some(both)} ({len(both)} in all); a threshold chosen "
            "on a patient's images suits the others of that patient, so test would flatter it. Move each group to one "
            "split, or take those groups out of val."
        )


def parse_target(kind: Literal["aim", "assure"], text: str) -> Target:
    """Read `sensitivity=0.95`.

    Raises:
        InputError: another form, or a value outside (0, 1).
    """
    of, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = np.nan
    if of not in ("sensitivity", "specificity") or np.isnan(value):
        raise InputError(f"--{kind} {text}: write sensitivity=VALUE or specificity=VALUE, such as sensitivity=0.95.")
    if not 0 < value < 1:
        raise InputError(f"--{kind} {text}: the {of} must be between 0 and 1, neither included.")
    return Target(kind, "sensitivity" if of == "sensitivity" else "specificity", value)


def with_scores(units: pd.DataFrame, positive: Sequence[str]) -> pd.DataFrame:
    """Return what decisions need of aggregated units.

    Args:
        units: a row a unit and seed, see `evaluate.aggregate_units`.
        positive: the classes that count as disease; their probabilities are summed.

    Returns:
        The same rows with `seed` (text), `fold` (-1 where none), `is_positive` and `score`.
    """
    scores = units[[f"p_{name}" for name in positive]].sum(axis=1)
    return units.assign(
        seed=units["seed"].astype(str) if "seed" in units else "0",
        fold=units["fold"].astype(np.int64) if "fold" in units else -1,
        is_positive=units["label"].isin(list(positive)),
        score=scores.clip(0.0, 1.0),
    ).reset_index(drop=True)


def _models(units: pd.DataFrame) -> list[tuple[str, int]]:
    pairs = units[["seed", "fold"]].drop_duplicates()
    return [(str(seed), int(fold)) for seed, fold in zip(pairs["seed"], pairs["fold"], strict=True)]


def _choose(rows: pd.DataFrame, target: Target, name: str) -> float:
    choose = assure if target.kind == "assure" else aim
    try:
        point = choose(
            rows["is_positive"].to_numpy(),
            rows["score"].to_numpy(),
            rows["group"].to_numpy(),
            of=target.of,
            target=target.value,
        )
    except ValueError as error:
        raise InputError(f"{name}: {error}.") from error
    return point.threshold
