"""The manifest: one table, a row an image; the only form in which data sets reach the rest of the code."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from tlmed.errors import NUM_NAMED, InputError, did_you_mean, name_some

GROUP_COLUMNS = ("group", "patient", "study", "series")
SPLITS = ("train", "val", "test")
# Of a manifest's table, what names an image or says what belongs together.
_NO_METADATA = ("path", "file", "label", "group", "unit", "split", "digest", "patient", "study", "series", "slice")
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True, eq=False)
class Manifest:
    """A validated data set.

    Attributes:
        name: for messages.
        root: folder that relative paths start from.
        table: path (as written), file (absolute), label, group, unit, split, then every other column as it was read.
        group_column: what `group` was taken from; None when unknown, and then each image is its own group.
    """

    name: str
    root: Path
    table: pd.DataFrame
    group_column: str | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, verbatim and sorted; empty without labels."""
        return tuple(sorted(self.table["label"].dropna().unique()))

    def with_table(self, table: pd.DataFrame) -> Manifest:
        """The same data set with another table."""
        return replace(self, table=table)


def metadata_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a manifest's table that describe patients and images, such as sex or scanner."""
    return [str(name) for name in table.columns if name not in _NO_METADATA]


def validate_manifest(
    raw: pd.DataFrame, *, name: str, root: Path, group: str | None = None, unit: str = "image"
) -> Manifest:
    """Check a table of strings (missing: NaN) and fill in file, group and unit.

    Args:
        raw: as read; its index counts rows from 0, of which messages make the lines of a file (the header is line 1).
        group: column that says what is independent; default: the first of group, patient, study, series.
        unit: `image`, or the column that a decision is about.

    Raises:
        InputError: names row and column, and says what to do.
    """
    if "path" not in raw.columns:
        raise InputError(
            f"{name}: no column 'path'; the columns are {', '.join(map(str, raw.columns))}. "
            "Name the one with the files 'path'."
        )
    if raw.empty:
        raise InputError(f"{name}: no rows; a manifest needs a row an image.")
    table = pd.DataFrame({"path": raw["path"]})
    _refuse_gaps(name, table["path"], "every row needs its file: fill it in, or remove the rows")
    is_repeated = table["path"].duplicated(keep=False)
    _refuse_values(name, table["path"], is_repeated, "stands more than once", "keep one row of each")
    table["file"] = [str(root / path) for path in table["path"]]
    _check_files(name, table)
    table["label"] = raw["label"] if "label" in raw.columns else None
    if table["label"].notna().any():
        _refuse_gaps(name, table["label"], "label every row, or leave the column out")
    group_column = _group_column(raw, name, group)
    table["group"] = raw[group_column] if group_column is not None else table["path"]
    _refuse_gaps(
        name,
        table["group"].rename(group_column),
        "every image needs its group: fill it in, remove the rows, or name another column to group by",
    )
    table["unit"] = _units(raw, name, unit)
    table["split"] = _splits(raw, name)
    _check_unit_labels(table, name)
    rest = [column for column in raw.columns if column not in table.columns]
    return Manifest(name, root, pd.concat([table, raw[rest]], axis=1).reset_index(drop=True), group_column)


def _group_column(raw: pd.DataFrame, name: str, group: str | None) -> str | None:
    if group is None:
        return next((column for column in GROUP_COLUMNS if column in raw.columns), None)
    if group not in raw.columns:
        raise InputError(f"{name}: no column {group!r} to group by{_columns_instead(group, raw)}")
    return group


def _units(raw: pd.DataFrame, name: str, unit: str) -> pd.Series[str]:
    if unit == "image":
        return raw["path"]
    if unit not in raw.columns:
        raise InputError(f"{name}: no column {unit!r} to take the unit from{_columns_instead(unit, raw)}")
    _refuse_gaps(
        name, raw[unit], "every image needs its unit: fill it in, remove the rows, or name another column for the unit"
    )
    return raw[unit]


def _splits(raw: pd.DataFrame, name: str) -> pd.Series[str]:
    if "split" not in raw.columns:
        return pd.Series(None, index=raw.index, dtype=object)
    if raw["split"].isna().all():
        return pd.Series(None, index=raw.index, dtype=object)
    _refuse_gaps(name, raw["split"], "say train, val or test in every row, or leave the column out")
    splits = raw["split"].str.lower().map(SPLIT_NAMES)
    _refuse_values(name, raw["split"], splits.isna(), "is not train, val or test", "write one of these")
    return splits.astype(object)


def _check_files(name: str, table: pd.DataFrame) -> None:
    absent = [path for path, file in zip(table["path"], table["file"], strict=True) if not Path(file).is_file()]
    if absent:
        raise InputError(
            f"{name}: {name_some(absent)} {'is' if len(absent) == 1 else 'are'} named in the table but not "
            "there; restore the files or remove the rows."
        )


def _check_unit_labels(table: pd.DataFrame, name: str) -> None:
    if table["label"].isna().all() or table["unit"].equals(table["path"]):
        return
    num_labels = table.groupby("unit")["label"].nunique()
    mixed = num_labels.index[num_labels > 1].tolist()
    if mixed:
        raise InputError(
            f"{name}: unit {name_some(mixed)} has images of two labels; a decision about a unit "
            "needs one label: mend the labels, or choose another unit."
        )


def _columns_instead(absent: str, raw: pd.DataFrame) -> str:
    """End a sentence about a column that is not there."""
    columns = list(map(str, raw.columns))
    hint = did_you_mean(absent, columns) if difflib.get_close_matches(absent, columns) else ""
    return f"; the columns are {', '.join(columns)}.{hint}"


def _refuse_gaps(name: str, column: pd.Series[str], to_do: str) -> None:
    is_empty = column.isna()
    if is_empty.any():
        raise InputError(
            f"{name}: column '{column.name}' is empty in {is_empty.sum()} of {len(column)} rows "
            f"({_lines(is_empty)}); {to_do}."
        )


def _refuse_values(name: str, column: pd.Series[str], is_wrong: pd.Series[bool], what: str, to_do: str) -> None:
    if is_wrong.any():
        num_rows = f"{is_wrong.sum()} row{'' if is_wrong.sum() == 1 else 's'}"
        raise InputError(
            f"{name}: column '{column.name}' {column[is_wrong].iloc[0]!r} {what} ({num_rows}; {_lines(is_wrong)}); "
            f"{to_do}."
        )


def _lines(is_wrong: pd.Series[bool]) -> str:
    """Where the first few wrong rows stand in the file."""
    rows = is_wrong.index[is_wrong].tolist()
    named = ", ".join(str(row + 2) for row in rows[:NUM_NAMED])
    return f"line{'' if len(rows) == 1 else 's'} {named}{' ...' if len(rows) > NUM_NAMED else ''}"
