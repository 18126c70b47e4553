"""Levels of metadata columns by number, for a copy to share: a level may be an operator, a scanner or a hospital."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

_SAYS_NOBODY = ("mode", "format")  # of files: "RGB", "PNG"
_NO_LEVEL = ("(none)", "(missing)")
_IS = " = "
_OF_EVERY_RUN = ("path", "unit", "group", "split", "fold", "seed")


class OpaqueLevels:
    """The same level has the same number wherever it stands."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, str]] = {}

    def of(self, column: str, level: str) -> str:
        """Return such as "level 2"."""
        if level in _NO_LEVEL:
            return level
        known = self._numbers.setdefault(column, {})
        return known.setdefault(level, f"level {len(known) + 1}")

    def of_variable(self, variable: str) -> str:
        """Return such as "exif_software = level 1" of a variable that is a level of a column."""
        column, is_level, level = variable.partition(_IS)
        if not is_level or column in _SAYS_NOBODY:
            return variable
        return f"{column}{_IS}{self.of(column.removeprefix('column '), level)}"

    def of_sources(self, by_source: Mapping[str, Any]) -> dict[str, Any]:
        """Return what stands by source with numbered sources."""
        return {self.of("source", source): told for source, told in by_source.items()}

    def replaced(self, value: Any, variables: Iterable[str]) -> Any:
        """Return the value with these variables renamed wherever they stand in its text."""
        longest_first = sorted(set(variables), key=len, reverse=True)
        return self._renamed(value, re.compile("|".join(map(re.escape, longest_first)))) if longest_first else value

    def _renamed(self, value: Any, variables: re.Pattern[str]) -> Any:
        if isinstance(value, Mapping):
            return {name: self._renamed(inner, variables) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._renamed(inner, variables) for inner in value]
        return variables.sub(lambda found: self.of_variable(found[0]), value) if isinstance(value, str) else value

    def of_splits(self, splits: pd.DataFrame) -> pd.DataFrame:
        """Return `splits.csv` with the text of its metadata columns numbered; numbers are binned where shown."""
        columns = [str(name) for name in splits if name not in _OF_EVERY_RUN and not _holds_numbers(splits[name])]
        return splits.assign(
            **{name: [self.of(name, str(one)) if pd.notna(one) else one for one in splits[name]] for name in columns}
        )


def _holds_numbers(values: pd.Series[Any]) -> bool:
    return bool((pd.to_numeric(values, errors="coerce").notna() | values.isna()).all())
