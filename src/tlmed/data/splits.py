"""Group-wise, stratified division into train, val and test."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlmed.data.manifest import Manifest
from tlmed.errors import InputError, did_you_mean

log = logging.getLogger(__name__)


def hold_out(table: pd.DataFrame, fraction: float, seed: int, *, name: str = "the data") -> np.ndarray:
    """Return (N,) booleans: True for the rows held out.

    Whole groups are held out, about `fraction` of the rows, with the classes' shares kept as far as groups allow: one
    of the round(1 / fraction) folds of scikit-learn's StratifiedGroupKFold, the first that leaves every class on both
    sides. Where a class has fewer groups than folds, there are as many folds as it has groups, and more is held out.

    Raises:
        InputError: a class cannot stand on both sides.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    num_folds = max(2, round(1 / fraction))
    labels = table["label"].fillna("").astype(str).to_numpy()
    groups = pd.factorize(table["group"])[0]
    num_groups = pd.Series(groups).groupby(labels).nunique()
    if num_groups.min() >= 2:
        splitter = StratifiedGroupKFold(min(num_folds, int(num_groups.min())), shuffle=True, random_state=seed)
        codes = pd.factorize(labels, sort=True)[0]
        for kept, held_out in splitter.split(np.zeros(len(table)), codes, groups):
            if len(set(codes[kept])) == len(set(codes[held_out])) == len(num_groups):
                chosen = np.zeros(len(table), dtype=bool)
                chosen[held_out] = True
                return chosen
    label, number = num_groups.idxmin(), int(num_groups.min())
    raise InputError(
        f"{name}: class {label!r} has only {number} group{'' if number == 1 else 's'}, and no draw leaves every "
        "class on both sides of a split; add patients of that class, or give a `split` column."
    )


def split_by_time(manifest: Manifest, *, train_until: str | None, test_fraction: float) -> Manifest:
    """Make the past train and the later groups test; later images of a group of the past are left out.

    Args:
        train_until: the last time that is past, as the column `time` writes it; a day, month or year is past to its
            end. Without, the latest groups, about `test_fraction` of them, become test.
        test_fraction: without `train_until`.

    Raises:
        InputError: no column `time`, times that are missing or unreadable, or no group on one side.
    """
    table = manifest.table
    if "time" not in table.columns:
        raise InputError(
            f"{manifest.name}: no column 'time' to split by.{did_you_mean('time', map(str, table.columns))}"
        )
    until = [] if train_until is None else [train_until]
    starts, ends_of_times = _as_numbers([*table["time"], *until], manifest.name)
    times, cutoff = starts[: len(table)], ends_of_times[-1]
    first = pd.Series(times).groupby(table["group"].to_numpy()).transform("min").to_numpy()
    if train_until is None:
        of_groups = np.sort(first[~table["group"].duplicated().to_numpy()])
        cutoff = of_groups[max(0, round(len(of_groups) * (1 - test_fraction)) - 1)]
    is_later = first > cutoff
    if is_later.all() or not is_later.any():
        ends = [table["time"].iloc[position] for position in (times.argmin(), times.argmax())]
        raise InputError(
            f"{manifest.name}: {'every' if is_later.all() else 'no'} group begins after the time that divides past and "
            f"future (times run from {ends[0]} to {ends[1]}); set protocol.train_until between them."
        )
    split = manifest.with_table(table.assign(split=np.where(is_later, "test", "train")))
    left_out = ~is_later & (times > cutoff)
    if left_out.any():
        log.info("%s: left out %d later images of groups that are in train already", manifest.name, int(left_out.sum()))
    return split.with_table(split.table[~left_out].reset_index(drop=True))


_ISO_TIME = re.compile(r"(\d{4})(-\d{2})?(-\d{2})?([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?")


def _as_numbers(values: Sequence[str], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) when each time begins, and when it ends: dates as ISO 8601 writes them, or numbers such as days of a study.

    Other dates are refused, not guessed: 03/04/2012 is read as April by some and as March by others.
    """
    matches = [_ISO_TIME.fullmatch(str(value).strip()) for value in values]
    if all(matches):
        starts = pd.to_datetime(pd.Series(values).str.strip(), format="ISO8601", utc=True)
        spans = [_span(match) for match in matches if match is not None]
        ends = [start + span - pd.Timedelta(1, "us") for start, span in zip(starts, spans, strict=True)]
        return _in_microseconds(starts), _in_microseconds(pd.Series(ends))
    numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64)
    if np.isfinite(numbers).all():
        return numbers, numbers
    wrong = [value for value, match in zip(values, matches, strict=True) if match is None]
    raise InputError(
        f"{name}: {len(wrong)} times are no dates as 2020-03-31 (or 2020-03, 2020, 2020-03-31T14:05), such as "
        f"{wrong[0]!r}; write all so, for other ways are read differently from place to place, or all as numbers."
    )


def _in_microseconds(times: pd.Series[pd.Timestamp]) -> np.ndarray:
    return np.asarray(times.dt.as_unit("us").astype("int64"), dtype=np.float64)


def _span(match: re.Match[str]) -> pd.DateOffset | pd.Timedelta:
    """How long what is written lasts: a year, a month, a day, or no time at all."""
    _, month, day, hours = match.group(1, 2, 3, 4)
    if hours is not None:
        return pd.Timedelta(1, "us")
    return pd.DateOffset(days=1) if day else pd.DateOffset(months=1) if month else pd.DateOffset(years=1)


def complete_splits(
    manifest: Manifest,
    *,
    test_fraction: float | None,
    val_fraction: float | None,
    seed: int,
    needs_test: bool = False,
) -> Manifest:
    """Give every row a split.

    Args:
        test_fraction: draw a test set of about this share; None keeps the split that is there.
        val_fraction: share of the training rows that becomes val where there is no val row; None carves none.
        needs_test: whether test rows must come out (the target).

    Raises:
        InputError: rows with and without a split, or no test rows where they are needed.
    """
    table = manifest.table.copy()
    if table["split"].isna().any() and table["split"].notna().any():
        num_empty = int(table["split"].isna().sum())
        raise InputError(
            f"{manifest.name}: column 'split' is empty in {num_empty} of {len(table)} rows; fill all or none."
        )
    if test_fraction is not None:
        table["split"] = np.where(hold_out(table, test_fraction, seed, name=manifest.name), "test", "train")
    elif table["split"].isna().all():
        if needs_test:
            raise InputError(
                f"{manifest.name}: no row has a split; write `evaluation: {{protocol: {{split: kfold}}}}` to test "
                "every patient once, or `split: holdout` to draw one test set."
            )
        table["split"] = "train"
    if needs_test and not {"train", "test"} <= set(table["split"]):
        absent = "test" if "train" in set(table["split"]) else "train"
        raise InputError(
            f"{manifest.name}: the split has no {absent} rows; give both, or use `protocol: {{split: holdout}}`."
        )
    if val_fraction is not None and "val" not in set(table["split"]):
        train = table[table["split"] == "train"]
        carved = train.index[hold_out(train, val_fraction, seed + 1, name=manifest.name)]
        table.loc[carved, "split"] = "val"
    return manifest.with_table(table)


def check_trainable(manifest: Manifest, name: str, *, needs_test: bool = False) -> None:
    """Check that the labels and splits suffice to train, and where it is needed to test.

    Raises:
        InputError: no labels, a class without training images, one class alone in train or test.
    """
    table = manifest.table
    if len(manifest.classes) == 0:
        raise InputError(
            f"{name}: no labels, and every strategy so far learns from labels; add a `label` column or class folders."
        )
    counts = table.groupby(["split", "label"]).size().unstack(fill_value=0)
    train = counts.loc["train"] if "train" in counts.index else pd.Series(dtype=int)
    present = [label for label in manifest.classes if train.get(label, 0) > 0]
    if len(present) < 2:
        what = f"only class {present[0]!r}" if present else "no class"
        raise InputError(f"{name}: {what} has training images; two or more are needed.")
    for label in manifest.classes:
        if label not in present:
            raise InputError(
                f"{name}: class {label!r} has no training images ({int(counts[label].sum())} elsewhere); add some, "
                "or leave the class out."
            )
    if needs_test:
        tested = set(table.loc[table["split"] == "test", "label"])
        in_test = [label for label in manifest.classes if label in tested]
        if len(in_test) < 2:
            what = f"class {in_test[0]!r} alone" if in_test else "no image"
            raise InputError(f"{name}: the test split holds {what}; no figure can be computed from it.")
