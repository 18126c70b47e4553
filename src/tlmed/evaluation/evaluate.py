"""The predictions table to `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlmed.errors import InputError, did_you_mean
from tlmed.evaluation.intervals import NUM_RESAMPLES, Estimate, bootstrap_by_group
from tlmed.evaluation.metrics import METRICS, Floats, Scored

_PREFIX = "p_"
_TEST = "test"
_IMAGE = "image"
_ONLY_ARM = "model"
_SUM_TOLERANCE = 1e-3
_MAX_NAMED = 3


def evaluate_predictions(
    predictions: pd.DataFrame, *, positive: str | None, unit: str, groups_known: bool | None = None
) -> dict[str, Any]:
    """Measure every arm on the test rows.

    Args:
        predictions: a row an image, arm and seed. Needed: `unit`, `label` and the `p_<class>` columns. A table without
            `split` is test rows alone; without `arm`, one arm called `model`; without `seed`, one seed; without
            `group`, each unit is its own group.
        positive: the class that counts as disease. Needed with two classes; with more, metrics are macro averages and
            it has no effect.
        unit: what a decision is about, the name of what the `unit` column holds.
        groups_known: False where the `group` column is a stand-in; default: whether there is such a column.

    Returns:
        The content of `metrics.json`: `positive` (None with more than two classes), `unit`, `num_units`, `num_groups`,
        `num_units_by_class`, `groups_known`, `interval` (what the intervals cover), `undefined` (ARM/METRIC without a
        value), `arms` {ARM: {METRIC: {value, low, high}}}, and `by_unit` {UNIT: same as arms}, which holds `image` too
        where that is another unit and the table has paths.

    Raises:
        InputError: the table is malformed, `positive` is missing or no class, a unit has two labels, the test rows hold
            one class, or arms or seeds are not over the same units.
    """
    table = _read(predictions)
    classes = _classes(table)
    chosen = _check_positive(positive, classes)
    units = aggregate_units(table)
    level = _measure(units, classes, chosen)
    by_unit = {unit: level.arms}
    if unit != _IMAGE and "path" in table:
        by_unit[_IMAGE] = _measure(_with_images_as_units(table), classes, chosen).arms
    known = "group" in predictions if groups_known is None else groups_known
    return {
        "positive": chosen,
        "unit": unit,
        "num_units": len(level.labels),
        "num_groups": level.num_groups,
        "num_units_by_class": {name: int((level.labels == index).sum()) for index, name in enumerate(classes)},
        "groups_known": known,
        "interval": _describe_interval(level, unit, known),
        "undefined": _undefined(level),
        "arms": level.arms,
        "by_unit": by_unit,
    }


def aggregate_units(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a row a unit (and arm, seed and split where the table has them), with the mean probability of its images.

    Returns:
        The columns arm, seed, split, unit, group, label (those that the table has) and `p_<class>`, units in order of
        appearance.

    Raises:
        InputError: a unit has two labels or two groups.
    """
    keys = [name for name in ("arm", "seed", "split", "unit") if name in predictions]
    constant = [name for name in ("group", "label") if name in predictions]
    for name in constant:
        num_values = predictions.groupby("unit")[name].nunique()
        if (num_values > 1).any():
            first = num_values.index[num_values > 1][0]
            values = sorted(map(str, predictions.loc[predictions["unit"] == first, name].unique()))
            raise InputError(
                f"predictions: unit {str(first)!r} has {len(values)} {name}s ({', '.join(values)}), as have "
                f"{(num_values > 1).sum()} units in all; correct the {name} column, or take a smaller unit."
            )
    how = dict.fromkeys(constant, "first")
    how |= {name: "mean" for name in map(str, predictions) if name.startswith(_PREFIX)}
    return predictions.groupby(keys, sort=False, observed=True).agg(how).reset_index()


@dataclass(frozen=True)
class _Level:
    """What is measured at one level, such as images or patients.

    Attributes:
        arms: {ARM: {METRIC: {value, low, high}}}.
        labels: (N,) class index of each unit.
        num_seeds: of each arm.
        alike: the arms whose seeds, more than one, all came to the same; they count as one.
    """

    arms: dict[str, dict[str, dict[str, float | None]]]
    labels: np.ndarray
    num_groups: int
    num_seeds: list[int]
    alike: list[str]


def _read(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the test rows, with the columns that a plain table may leave out."""
    for name in ("unit", "label"):
        if name not in predictions:
            raise InputError(
                f"predictions: the column {name!r} is missing; add it.{did_you_mean(name, map(str, predictions))}"
            )
    table = predictions if "split" not in predictions else predictions[predictions["split"] == _TEST]
    if table.empty:
        raise InputError(f"predictions: no rows of the split {_TEST!r}, so there is nothing to measure; add test rows.")
    defaults: dict[str, Any] = {"arm": _ONLY_ARM, "seed": 0, "group": table["unit"]}
    table = table.assign(**{name: value for name, value in defaults.items() if name not in table})
    for name in ("unit", "label", "arm", "seed", "group", *(["path"] if "path" in table else [])):
        num_missing = int(table[name].isna().sum())
        if num_missing:
            raise InputError(f"predictions: {num_missing} test rows have no {name}; fill the column {name!r}.")
    if "path" in table and table.duplicated(["arm", "seed", "path"]).any():
        row = table[table.duplicated(["arm", "seed", "path"])].iloc[0]
        raise InputError(
            f"predictions: {row['path']} is there twice for arm {str(row['arm'])!r} and seed {row['seed']}; keep one "
            "row an image, arm and seed."
        )
    return table


def _classes(table: pd.DataFrame) -> list[str]:
    """Return the classes in the order of their columns, having checked probabilities and labels."""
    columns = [name for name in map(str, table) if name.startswith(_PREFIX)]
    classes = [name.removeprefix(_PREFIX) for name in columns]
    if len(classes) < 2:
        raise InputError(f"predictions: {len(classes)} columns begin with p_; give one, p_CLASS, for each class.")
    wrong = [name for name in columns if not pd.api.types.is_numeric_dtype(table[name])]
    if wrong:
        raise InputError(f"predictions: the column {wrong[0]!r} is not numeric; give probabilities from 0 to 1.")
    values = table[columns].to_numpy(dtype=np.float64)
    sound = (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    if not sound.all():
        first = ", ".join(f"{value:.4g}" for value in values[~sound][0])
        unit = table["unit"].to_numpy()[~sound][0]
        raise InputError(
            f"predictions: {(~sound).sum()} test rows hold no probabilities, first that of unit {unit} ({first}); the "
            "p_ columns must be from 0 to 1 and sum to 1 in each row."
        )
    unknown = sorted(set(table["label"].astype(str)) - set(classes))
    if unknown:
        hint = did_you_mean(unknown[0], classes)
        raise InputError(f"predictions: the label {unknown[0]!r} has no column {_PREFIX + unknown[0]!r}; add it.{hint}")
    return classes


def _check_positive(positive: str | None, classes: Sequence[str]) -> str | None:
    """Return the positive class of two, None with more."""
    if positive is not None and positive not in classes:
        raise InputError(f"positive: the predictions have no class {positive!r}.{did_you_mean(positive, classes)}")
    if positive is None and len(classes) == 2:
        raise InputError(f"positive is missing: say which of {' and '.join(map(repr, classes))} counts as disease.")
    return positive if len(classes) == 2 else None


def _with_images_as_units(table: pd.DataFrame) -> pd.DataFrame:
    return aggregate_units(table.assign(unit=table["path"]))


def _measure(units: pd.DataFrame, classes: Sequence[str], positive: str | None) -> _Level:
    reference = units.drop_duplicates("unit").sort_values("unit", key=lambda column: column.astype(str))
    labels = np.array([classes.index(str(label)) for label in reference["label"]], dtype=np.int64)
    if len(set(labels)) < 2:
        raise InputError(
            f"predictions: all test rows are of the class {classes[labels[0]]!r}, so there is nothing to tell apart; "
            "test on two classes or more."
        )
    groups = reference["group"].astype(str).to_numpy()
    arms, num_seeds, alike = {}, [], []
    for arm, part in units.groupby("arm", sort=False):
        probabilities = _by_seed(part, reference["unit"], str(arm), classes)
        if len(probabilities) > 1 and all(np.array_equal(probabilities[0], of_seed) for of_seed in probabilities):
            alike.append(str(arm))
            probabilities = probabilities[:1]
        index = None if positive is None else classes.index(positive)
        scored = [Scored(labels, of_seed, index) for of_seed in probabilities]
        arms[str(arm)] = _as_cells(bootstrap_by_group(METRICS, scored, groups))
        num_seeds.append(len(scored))
    return _Level(arms, labels, len(set(groups)), num_seeds, alike)


def _by_seed(part: pd.DataFrame, units: pd.Series, arm: str, classes: Sequence[str]) -> list[Floats]:
    """Return (N, K) probabilities of each seed of an arm, rows in the order of `units`."""
    probabilities = []
    for seed, rows in part.groupby("seed", sort=True):
        missing = units[~units.isin(rows["unit"])].astype(str)
        if len(missing):
            raise InputError(
                f"predictions: arm {arm!r}, seed {seed} lacks {len(missing)} units that others have "
                f"({', '.join(missing[:_MAX_NAMED])}); arms and seeds are compared on the same units, so predict all."
            )
        ordered = rows.set_index("unit").loc[units, [_PREFIX + name for name in classes]]
        probabilities.append(ordered.to_numpy(dtype=np.float64))
    return probabilities


def _undefined(level: _Level) -> list[str]:
    """Return ARM/METRIC of every metric without a value."""
    return [f"{arm}/{name}" for arm, row in level.arms.items() for name, cell in row.items() if cell["value"] is None]


def _as_cells(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def _describe_interval(level: _Level, unit: str, groups_known: bool) -> str:
    """One sentence or two on what the intervals cover and what they do not."""
    if all(cell["low"] is None for row in level.arms.values() for cell in row.values()):
        return (
            "No intervals: they need at least 10 groups of each class among the test cases, and results that vary "
            "between resamples."
        )
    most, least = max(level.num_seeds), min(level.num_seeds)
    what = f"95 % intervals from {NUM_RESAMPLES:,} resamples of the {level.num_groups} groups in test, by class"
    if least > 1:
        seeds = str(most) if most == least else f"{least} to {most}"
        covered = f"{what}, and of the {seeds} seeds: they cover the choice of cases and the chance of training."
    elif most == 1:
        covered = f"{what}; one seed, so they cover the choice of cases, not the chance of training."
    else:
        covered = (
            f"{what}, and of the seeds where an arm has several; with one seed they leave out the chance of training."
        )
    if level.alike:
        covered += f" All seeds come to the same in {', '.join(level.alike)}: that counts as one seed."
    if groups_known:
        return covered
    return f"{covered} Groups are unknown: each {unit} is its own, so they are too narrow if patients have several."
