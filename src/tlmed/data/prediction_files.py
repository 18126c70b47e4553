"""Tables of predictions from any tool, and tables about the same cases: files to data frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow.lib import ArrowException

from tlmed.data.sources import read_manifest
from tlmed.errors import InputError

_PROBABILITY = "p_"
_MANIFEST_FILE = "manifest.csv"
_SUFFIXES = (".csv", ".parquet")


def read_prediction_file(path: Path) -> pd.DataFrame:
    """Read a table of predictions.

    Returns:
        The columns as they are called there: `p_` ones and `fold` as float64 (missing: NaN), all others as text,
        verbatim (missing: None).

    Raises:
        InputError: nothing there, no table, two columns of one name, or text where a number must be.
    """
    table = _read_text(path)
    for name in table.columns:
        if name.startswith(_PROBABILITY) or name == "fold":
            table[name] = _numbers(table, name, path)
    return table


def read_case_file(source: Path) -> pd.DataFrame:
    """Read what is known of the cases: a table, a folder with a `manifest.csv`, or a folder of class folders.

    The image files that it names need not be there. Columns are text, verbatim (missing: None).

    Raises:
        InputError: nothing there, or no table.
    """
    if source.is_dir() and not (source / _MANIFEST_FILE).is_file():
        table = read_manifest(source).table
        return table[["path", "label", *(["split"] if table["split"].notna().any() else [])]]
    return _read_text(source / _MANIFEST_FILE if source.is_dir() else source)


def _read_text(path: Path) -> pd.DataFrame:
    """A table of text; its index counts the rows below the header."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path}: a table must be .csv or .parquet, and a bundle is a folder with a bundle.json.")
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path.")
    is_parquet = path.suffix.lower() == ".parquet"
    try:
        table = pd.read_parquet(path).astype("string").astype(object) if is_parquet else _read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, ArrowException) as error:
        what = "Parquet" if is_parquet else "CSV table in UTF-8"
        raise InputError(f"{path}: not a {what} ({' '.join(str(error).split())}).") from error
    table.columns = table.columns.astype(str).str.strip()
    if table.columns.has_duplicates:
        raise InputError(
            f"{path}: two columns are called {table.columns[table.columns.duplicated()][0]!r}; rename one."
        )
    table = table.dropna(how="all")
    if table.empty:
        raise InputError(f"{path}: no rows below the header.")
    return table.astype(object).where(table.notna(), None)


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8") as stream:
        header = stream.readline()
    if "," not in header and (";" in header or "\t" in header):
        raise InputError(f"{path}: the columns are not separated by commas; save the table as comma-separated values.")
    # The header is read as a row: pandas would rename the second of two columns of one name, and take the first column
    # for an index where rows are longer than the header.
    rows = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, na_values=[""], skip_blank_lines=False)
    table = rows.iloc[1:].set_axis(rows.iloc[0].fillna("").tolist(), axis="columns")
    return table.set_axis(table.index - 1, axis="index")


def _numbers(table: pd.DataFrame, name: str, path: Path) -> pd.Series[float]:
    numbers = pd.to_numeric(table[name], errors="coerce").astype(np.float64)
    wrong = numbers.isna() & table[name].notna()
    if wrong.any():
        raise InputError(
            f"{path}: the column {name!r} holds {table[name][wrong].iloc[0]!r}, which is no number (first in line "
            f"{wrong.index[wrong][0] + 2}; rows like it: {int(wrong.sum())}); write numbers with a decimal point."
        )
    return numbers
