"""From a table of predictions, and one about the same cases, to the rows that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tlmed.data.manifest import GROUP_COLUMNS, SPLIT_NAMES
from tlmed.errors import InputError, did_you_mean, name_some
from tlmed.evaluation.assessment.exclusions import NOT_PREDICTED, part_measurable

IMAGE = "image"
_PROBABILITY = "p_"
_PLURALS = {"study": "studies", "series": "series"}


@dataclass(frozen=True, eq=False)
class Cases:
    """One classifier's predictions with all that is known of the cases.

    Attributes:
        table: a row an image and seed: unit, label, group, `p_` columns; where known path, split, seed, fold; and the
            columns that were asked for.
        left_out: unit, label, reason of what could not be measured.
        unit: what a decision is about.
        groups_known: False where each unit is its own group for want of a better one.
        num_trained_on: rows of the split `train`, which are not looked at.
    """

    table: pd.DataFrame
    left_out: pd.DataFrame
    unit: str
    groups_known: bool
    num_trained_on: int

    @property
    def test(self) -> pd.DataFrame:
        """The rows to measure on."""
        return self.table[self.table["split"] == "test"] if "split" in self.table else self.table

    @property
    def has_folds(self) -> bool:
        """Whether the rows are out-of-fold ones, each scored by one of several models."""
        return "fold" in self.table and bool((self.test["fold"] >= 0).any())


def gather_cases(
    predictions: pd.DataFrame,
    data: pd.DataFrame | None = None,
    *,
    unit: str | None = None,
    group: str | None = None,
    columns: Sequence[str] = (),
    arm: str | None = None,
    seed: int | None = None,
    indeterminate: Sequence[str] = (),
) -> Cases:
    """Bring predictions and case data together, for one arm.

    Args:
        predictions: `p_` columns, `unit` or `path`, `label` here or in `data`.
        data: of the same cases, such as a manifest: joined by path, else by unit.
        unit: the column that a decision is about, or `image`; default: `unit` where it is there, else the image.
        group: the column that says what is independent; default: the first of group, patient, study, series.
        columns: that are needed besides, such as for subgroups.
        arm: which, where the table has several.
        seed: only this one of several trainings.
        indeterminate: labels that say the truth is not known.

    Raises:
        InputError: a column, arm or seed that is not there; rows without their case; contradicting labels.
    """
    _check_probabilities(predictions)
    there = [str(name) for name in dict.fromkeys([*predictions, *(() if data is None else data)])]
    table = _one_classifier(predictions, arm, seed)
    num_rows = len(table)
    table, num_trained_on = _without_training_rows(table)
    not_predicted = pd.DataFrame({"unit": [], "label": [], "reason": []}, dtype=object)
    if data is not None:
        table, not_predicted = _join(table, data, unit, group, columns)
        if num_trained_on == 0:
            table, num_trained_on = _without_training_rows(table)
    if table.empty:
        raise InputError(
            f"predictions: every row ({num_rows}) is of the split 'train'; a model is not measured on those."
        )
    table, unit_name = _with_units(table, unit, there)
    for name in (*columns, "label"):
        if name not in table:
            raise InputError(f"no column {name!r}; {_listed(there)}.")
    table, groups_known = _with_groups(table, group, there)
    kept, left_out = part_measurable(table, indeterminate)
    if kept.empty:
        raise InputError("predictions: no row has both a label and probabilities, so there is nothing to measure.")
    everything = pd.concat([left_out, not_predicted], ignore_index=True)
    return Cases(kept, everything, unit_name, groups_known, num_trained_on)


def counted(number: int, noun: str) -> str:
    """Return such as "1 study" or "2 studies"."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural(noun)}"


def plural(noun: str) -> str:
    """Return such as "patients"."""
    return _PLURALS.get(noun, f"{noun}s")


def _check_probabilities(predictions: pd.DataFrame) -> None:
    """Said here, with the columns that the file has: later on there are others."""
    names = [str(name) for name in predictions if str(name).startswith(_PROBABILITY)]
    there = _listed([str(name) for name in predictions])
    if not names:
        raise InputError(
            f"predictions: the columns p_CLASS are missing, one for each class with its probability, such as p_ill and "
            f"p_well; {there}."
        )
    if len(names) == 1:
        raise InputError(
            f"predictions: {names[0]} is the only column p_CLASS, and every class needs one; of two classes the other "
            f"one's is 1 - {names[0]}; {there}."
        )


def _listed(columns: Sequence[str]) -> str:
    return f"the columns are {', '.join(columns)}"


def _one_classifier(predictions: pd.DataFrame, arm: str | None, seed: int | None) -> pd.DataFrame:
    table = predictions
    for name, wanted in (("arm", arm), ("seed", None if seed is None else str(seed))):
        values = table[name].astype(str) if name in table else pd.Series("", index=table.index)
        known = sorted(set(values) - {""})
        if wanted is not None:
            if wanted not in known:
                raise InputError(f"--{name}: the predictions have no {name} {wanted!r}.{did_you_mean(wanted, known)}")
            table = table[values == wanted]
        elif name == "arm" and len(known) > 1:
            raise InputError(
                f"the predictions are of {len(known)} arms ({', '.join(known)}), and one is evaluated at a time; say "
                "which by --arm."
            )
    return table.reset_index(drop=True)


def _without_training_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    if "split" not in table or table["split"].isna().all():
        return table.drop(columns="split", errors="ignore"), 0
    missing = table["split"].isna()
    if missing.any():
        raise InputError(
            f"the column 'split' has gaps: {counted(int(missing.sum()), 'row')} of {len(table)}; write train, val or "
            "test in each, or leave the whole column out."
        )
    splits = table["split"].str.lower().map(SPLIT_NAMES)
    if splits.isna().any():
        wrong = table["split"][splits.isna()].astype(str)
        raise InputError(f"the column 'split' holds {wrong.iloc[0]!r}; it must be train, val or test throughout.")
    kept = table.assign(split=splits)[splits != "train"]
    return kept.reset_index(drop=True), int((splits == "train").sum())


def _join(
    table: pd.DataFrame, data: pd.DataFrame, unit: str | None, group: str | None, columns: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the predictions with what DATA adds, and the cases of DATA that have no prediction."""
    ours, theirs = _keys(table, data, unit)
    unmatched = table.loc[~table[ours].isin(data[theirs]), ours].unique()
    if len(unmatched):
        raise InputError(
            f"the column {theirs!r} of DATA lacks {counted(len(unmatched), ours)} of the predictions "
            f"({name_some(unmatched)}); add those cases there, or leave their predictions out."
        )
    by_default = next((name for name in GROUP_COLUMNS if name in table or name in data), None)
    wanted = ["label", "split", unit, group or by_default, *columns]
    added = [str(name) for name in dict.fromkeys(wanted) if name in data and name != theirs]
    known = data.groupby(theirs, sort=False)
    for name in added:
        several = known[name].nunique(dropna=False) > 1
        if several.any():
            raise InputError(f"DATA: {theirs} {several.idxmax()!r} has rows with several values of {name!r}; give one.")
    cases = known[added].first()
    _check_same_labels(table, cases, ours)
    new = [name for name in added if name not in table or (name == "label" and table[name].isna().all())]
    joined = table.drop(columns=[name for name in new if name in table]).join(cases[new], on=ours)
    joined = joined if theirs in joined else joined.assign(**{theirs: joined[ours]})
    absent = cases[~cases.index.isin(table[ours])]
    if "split" in cases:
        measured = set(joined["split"]) if "split" in joined else {"test"}
        absent = absent[absent["split"].str.lower().map(SPLIT_NAMES).isin(measured - {"train", "val"} or {"test"})]
    labels = absent["label"] if "label" in absent else pd.Series(None, index=absent.index, dtype=object)
    left_out = pd.DataFrame({"unit": absent.index, "label": labels.to_numpy(), "reason": NOT_PREDICTED}, dtype=object)
    return joined, left_out


def _keys(table: pd.DataFrame, data: pd.DataFrame, unit: str | None) -> tuple[str, str]:
    """The columns of both tables that name the same thing."""
    candidates = [("path", "path"), ("unit", "unit"), ("unit", unit), ("unit", "path")]
    usable = [(ours, str(theirs)) for ours, theirs in candidates if ours in table and theirs in data]
    if not usable:
        raise InputError(
            f"DATA cannot be joined: the predictions have {', '.join(map(str, table))}, DATA has "
            f"{', '.join(map(str, data))}; both need 'path' or 'unit'."
        )
    return next((pair for pair in usable if table[pair[0]].isin(data[pair[1]]).any()), usable[0])


def _check_same_labels(table: pd.DataFrame, cases: pd.DataFrame, key: str) -> None:
    if "label" not in table or "label" not in cases:
        return
    theirs = table[key].map(cases["label"])
    wrong = table["label"].notna() & theirs.notna() & (table["label"] != theirs)
    if wrong.any():
        first = wrong.index[wrong][0]
        raise InputError(
            f"labels that are others in DATA: {counted(int(wrong.sum()), 'row')}, first {table[key][first]} "
            f"({table['label'][first]!r} in the predictions, {theirs[first]!r} in DATA); correct one of them."
        )


def _with_units(table: pd.DataFrame, unit: str | None, there: Sequence[str]) -> tuple[pd.DataFrame, str]:
    if unit not in (None, IMAGE):
        if unit not in table:
            raise InputError(f"--unit: no column {unit!r}; {_listed(there)}; or write {IMAGE}.")
        missing = table[unit].isna()
        if missing.any():
            raise InputError(f"--unit: {counted(int(missing.sum()), 'row')} without {unit}; fill the column.")
        return table.assign(unit=table[unit]), str(unit)
    if "path" in table and (unit == IMAGE or "unit" not in table):
        return table.assign(unit=table["path"]), IMAGE
    if "unit" not in table:
        raise InputError(f"predictions: no column 'unit' or 'path'; {_listed(there)}.")
    is_image = unit == IMAGE or ("path" in table and table["unit"].equals(table["path"]))
    return table, IMAGE if is_image else "unit"


def _with_groups(table: pd.DataFrame, group: str | None, there: Sequence[str]) -> tuple[pd.DataFrame, bool]:
    """Fill in `group`, and say whether it is known."""
    if group is not None and group not in table:
        raise InputError(f"--group: no column {group!r}; {_listed(there)}.")
    column = group or next((name for name in GROUP_COLUMNS if name in table), None)
    if column is None:
        return table.assign(group=table["unit"]), False
    missing = table[column].isna()
    if missing.any():
        raise InputError(
            f"the column {column!r} has gaps: {counted(int(missing.sum()), 'row')}, first that of unit "
            f"{table['unit'][missing].iloc[0]}; every unit needs its group."
        )
    # A run on data without groups writes the path in their place.
    is_stand_in = group is None and "path" in table and table[column].equals(table["path"])
    return table.assign(group=table[column]), not is_stand_in
