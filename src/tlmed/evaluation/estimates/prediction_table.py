"""The predictions table: its test rows, checked, and brought to units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlmed.errors import InputError, did_you_mean, name_some

PROBABILITY = "p_"
NO_FOLD = -1
_TEST = "test"
_IMAGE = "image"
_ONLY_ARM = "model"
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class TestedRows:
    """Test rows, a row an image, arm and seed.

    Attributes:
        rows: with all of `unit`, `label`, `arm`, `seed`, `group`, `fold` and the `p_<class>` columns.
        classes: in the order of their columns; where several classes count as disease, the others and these, joined.
        positive: index of the class that counts as disease; None where metrics are macro averages.
        stated_positive: what `metrics.json` says of it: a class, a list of classes, or None.
    """

    rows: pd.DataFrame
    classes: tuple[str, ...]
    positive: int | None
    stated_positive: str | list[str] | None

    @property
    def columns(self) -> list[str]:
        """The columns of the classes' probabilities."""
        return [PROBABILITY + name for name in self.classes]


def read_test_rows(predictions: pd.DataFrame, positive: str | Sequence[str] | None, unit: str) -> TestedRows:
    """Return the test rows, with the columns that a plain table may leave out.

    Args:
        predictions: a row an image, arm and seed; see `evaluate.evaluate_predictions`.
        positive: the class or classes that count as disease.
        unit: what a decision is about, the name of what the `unit` column holds.

    Raises:
        InputError: the table is malformed, or `positive` is missing or no class.
    """
    rows = _test_rows(predictions)
    classes = _named_classes(rows)
    rows = _with_defaults(rows)
    _check_filled(rows)
    _check_no_row_twice(rows, unit)
    rows = rows.assign(fold=_checked_folds(rows), label=rows["label"].astype(str))
    if "group" in predictions:
        _check_groups_are_whole(rows)
    _check_probabilities(rows, classes)
    _check_labels(rows, classes)
    if positive is None or isinstance(positive, str):
        chosen = _checked_positive(positive, classes)
        return TestedRows(rows, classes, None if chosen is None else classes.index(chosen), chosen)
    return _with_classes_joined(rows, classes, list(positive))


def aggregate_units(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a row a unit (and arm, seed, split and fold where the table has them), with its images' mean probability.

    Returns:
        The columns arm, seed, split, fold, unit, group, label (those that the table has) and `p_<class>`, units in
        order of appearance.

    Raises:
        InputError: a unit has two labels or two groups, or is tested in two folds of one seed.
    """
    keys = [name for name in ("arm", "seed", "split", "fold", "unit") if name in predictions]
    constant = [name for name in ("group", "label") if name in predictions]
    for name in constant:
        num_values = predictions.groupby("unit")[name].nunique()
        if (num_values > 1).any():
            first = num_values.index[num_values > 1][0]
            values = sorted(map(str, predictions.loc[predictions["unit"] == first, name].unique()))
            number = _count((num_values > 1).sum(), "such unit", "such units")
            raise InputError(
                f"predictions: unit {str(first)!r} has {len(values)} {name}s ({', '.join(values)}; {number} in all); "
                f"correct the {name} column, or take a smaller unit."
            )
    how = dict.fromkeys(constant, "first")
    how |= {name: "mean" for name in map(str, predictions) if name.startswith(PROBABILITY)}
    units = predictions.groupby(keys, sort=False, observed=True).agg(how).reset_index()
    split = [name for name in keys if name != "fold"]
    if "fold" in keys and units.duplicated(split).any():
        twice = units[units.duplicated(split)].iloc[0]
        raise InputError(
            f"predictions: the images of unit {str(twice['unit'])!r} are tested in several folds of one seed, so one "
            "part of it was trained on while another was tested; draw folds by unit, better by group."
        )
    return units


def with_images_as_units(tested: TestedRows) -> TestedRows | None:
    """Return the same rows with each image as its unit; None where the table has no paths."""
    if "path" not in tested.rows:
        return None
    rows = tested.rows.assign(unit=tested.rows["path"])
    return TestedRows(rows, tested.classes, tested.positive, tested.stated_positive)


def _test_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    there = [str(name) for name in predictions]
    for name in ("unit", "label"):
        if name not in there:
            raise InputError(
                f"predictions: the column {name!r} is missing; add it, or give its name to the column that holds it. "
                f"There are: {', '.join(there)}."
            )
    rows = predictions if "split" not in there else predictions[predictions["split"] == _TEST]
    if rows.empty:
        raise InputError(f"predictions: no rows of the split {_TEST!r}, so there is nothing to measure; add test rows.")
    return rows


def _with_defaults(rows: pd.DataFrame) -> pd.DataFrame:
    defaults: dict[str, Any] = {"arm": _ONLY_ARM, "seed": 0, "group": rows["unit"], "fold": NO_FOLD}
    return rows.assign(**{name: value for name, value in defaults.items() if name not in rows})


def _check_filled(rows: pd.DataFrame) -> None:
    """A gap in the group column would else pass for a patient."""
    for name in ("unit", "label", "arm", "seed", "group", "fold", *(["path"] if "path" in rows else [])):
        values = rows[name]
        missing = values.isna()
        if not pd.api.types.is_numeric_dtype(values):
            missing |= values.astype(str).str.strip() == ""
        if missing.any():
            first = f", first that of unit {rows['unit'][missing].iloc[0]}" if name != "unit" else ""
            hint = "; name the patient of each, or leave the whole column out" if name == "group" else ""
            rows_have = _count(int(missing.sum()), "test row has", "test rows have")
            raise InputError(f"predictions: {rows_have} no {name}{first}; fill the column {name!r}{hint}.")


def _check_no_row_twice(rows: pd.DataFrame, unit: str) -> None:
    of_one = ["arm", "seed", "path" if "path" in rows else "unit"]
    # Without paths, rows of a larger unit are its images; they are copies where even the probabilities agree.
    columns = of_one if "path" in rows or unit == _IMAGE else list(rows)
    twice = rows.duplicated(columns)
    if twice.any():
        row = rows[twice].iloc[0]
        way = "" if columns == of_one else ", or a column `path` that tells its images apart"
        raise InputError(
            f"predictions: {row[of_one[-1]]} is there twice for arm {str(row['arm'])!r} and seed {row['seed']} "
            f"({_count(int(twice.sum()), 'such row', 'such rows')} in all); keep one row an image, arm and seed{way}."
        )


def _checked_folds(rows: pd.DataFrame) -> pd.Series:
    """Return whole numbers; a table without folds has -1 throughout."""
    numbers = pd.to_numeric(rows["fold"], errors="coerce")
    wrong = numbers.isna() | (numbers != numbers.round()) | (numbers < NO_FOLD)
    if wrong.any():
        raise InputError(
            f"predictions: the fold '{rows['fold'][wrong].iloc[0]}' is none; number folds 0, 1, ..., with -1 for none."
        )
    if (numbers == NO_FOLD).any() and (numbers != NO_FOLD).any():
        raise InputError(
            f"predictions: {_count((numbers == NO_FOLD).sum(), 'test row is', 'test rows are')} of no fold and "
            f"{(numbers != NO_FOLD).sum()} of one; a fixed test set and folds are measured apart, so keep either."
        )
    return numbers.astype(np.int64)


def _check_groups_are_whole(rows: pd.DataFrame) -> None:
    """A group in two folds was trained on when it was tested."""
    num_folds = rows.groupby(["arm", "seed", "group"], sort=False)["fold"].nunique()
    parted = list(dict.fromkeys(num_folds.index.get_level_values("group")[num_folds > 1]))
    if parted:
        raise InputError(
            f"predictions: folds must keep groups whole, and {_count(len(parted), 'group is', 'groups are')} tested in "
            f"several folds of one seed ({name_some(parted)}), so that a model was tested on what it was trained on; "
            "draw the folds by group and predict anew."
        )


def _named_classes(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes in the order of their columns."""
    columns = [name for name in map(str, rows) if name.startswith(PROBABILITY)]
    if len(columns) < 2:
        wanted = "give one, p_CLASS, for each class"
        if columns:
            wanted = f"the other class needs its own as well, with 1 - {columns[0]} where there are two"
        raise InputError(
            f"predictions: {_count(len(columns), 'column begins', 'columns begin')} with p_; {wanted}. There are: "
            f"{', '.join(map(str, rows))}."
        )
    return tuple(name.removeprefix(PROBABILITY) for name in columns)


def _check_probabilities(rows: pd.DataFrame, classes: Sequence[str]) -> None:
    columns = [PROBABILITY + name for name in classes]
    wrong = [name for name in columns if not pd.api.types.is_numeric_dtype(rows[name])]
    if wrong:
        raise InputError(f"predictions: the column {wrong[0]!r} is not numeric; give probabilities from 0 to 1.")
    values = rows[columns].to_numpy(dtype=np.float64)
    sums = values.sum(axis=1)
    is_close = np.abs(sums - 1) <= _SUM_TOLERANCE * (1 + 1e-9)
    sound = (values >= 0).all(axis=1) & is_close
    if sound.all():
        return
    first = ", ".join(f"{value:.4g}" for value in values[~sound][0])
    what = (
        f"{_count((~sound).sum(), 'test row holds', 'test rows hold')} no probabilities, first that of unit "
        f"{rows['unit'].to_numpy()[~sound][0]} ({first})"
    )
    way = "the p_ columns must be from 0 to 1 and sum to 1 in each row"
    if ((values >= 0) & (values <= 1)).all():
        way = (
            f"the p_ columns must sum to 1 in each row, to within {_SUM_TOLERANCE:g}, and there sum to "
            f"{sums[~sound][0]:.4g}; give more digits, or divide each by the sum of its row"
        )
    raise InputError(f"predictions: {what}; {way}.")


def _check_labels(rows: pd.DataFrame, classes: Sequence[str]) -> None:
    unknown = sorted(set(rows["label"]) - set(classes))
    if not unknown:
        return
    label = unknown[0]
    number = _as_number(label)
    alike = next((name for name in classes if number is not None and _as_number(name) == number), None)
    way = f"add it.{did_you_mean(label, classes)}"
    if alike is not None:
        way = f"labels are read as text, so that it is not the class {alike!r}; write {alike!r} there."
    raise InputError(f"predictions: the label {label!r} has no column {PROBABILITY + label!r}; {way}")


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _checked_positive(positive: str | None, classes: Sequence[str]) -> str | None:
    """Return the positive class of two, None with more."""
    if positive is not None and positive not in classes:
        raise InputError(f"positive: the predictions have no class {positive!r}.{did_you_mean(positive, classes)}")
    if positive is None and len(classes) == 2:
        raise InputError(f"positive is missing: say which of {' and '.join(map(repr, classes))} counts as disease.")
    return positive if len(classes) == 2 else None


def _with_classes_joined(rows: pd.DataFrame, classes: tuple[str, ...], positive: list[str]) -> TestedRows:
    """Two classes: those that count as disease, their probabilities summed, and the others."""
    for name in positive:
        _checked_positive(name, classes)
    others = [name for name in classes if name not in positive]
    if not positive or not others:
        raise InputError(
            f"positive: {len(positive)} of the {len(classes)} classes count as disease ({name_some(positive)}); list "
            "at least one, and leave at least one that does not."
        )
    listed = [name for name in classes if name in positive]
    ill, well = " or ".join(listed), " or ".join(others)
    probabilities = rows[[PROBABILITY + name for name in listed]].sum(axis=1).clip(upper=1.0)
    joined = rows.drop(columns=[PROBABILITY + name for name in classes])
    joined = joined.assign(label=np.where(rows["label"].isin(listed), ill, well))
    joined[PROBABILITY + well], joined[PROBABILITY + ill] = 1.0 - probabilities, probabilities
    return TestedRows(joined, (well, ill), 1, listed)
