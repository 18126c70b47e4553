"""Arms from several tables of predictions, made sure to be of the same cases, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tlmed.errors import InputError, name_some
from tlmed.evaluation.assessment.case_data import Cases, counted

_PROBABILITY = "p_"
_DEFAULTS: dict[str, Any] = {"seed": "0", "fold": -1.0}


@dataclass(frozen=True, eq=False)
class ArmOfFile:
    """One arm.

    Attributes:
        name: of the arm.
        file: what to call its table in a message.
        cases: its predictions.
        is_deterministic: whether no seed changes it, by how it is trained.
    """

    name: str
    file: str
    cases: Cases
    is_deterministic: bool = False


@dataclass(frozen=True, eq=False)
class JoinedArms:
    """Several arms on the same cases.

    Attributes:
        rows: test rows with `arm`, `seed`, `fold`, `unit`, `group`, `label`, the `p_` columns, and `path` where all
            tables have it.
        groups_known: whether a table says what the groups are; it then holds for all.
    """

    rows: pd.DataFrame
    groups_known: bool


def join_arms(arms: Sequence[ArmOfFile]) -> JoinedArms:
    """Bring arms together.

    Raises:
        InputError: two arms of one name, other classes, units, labels or groups in one table than in another, or no
            test rows.
    """
    _check_names(arms)
    known = next((arm for arm in arms if arm.cases.groups_known), None)
    first, tables = arms[0], {}
    for arm in arms:
        rows = arm.cases.test
        if rows.empty:
            raise InputError(f"{arm.file}: no test rows, so there is nothing to compare; add them.")
        if arm is not first:
            _check_same_classes(arm, first)
            _check_same_units(arm, first)
            _check_same_values(arm, first, "label", "labels")
        if known is not None and arm.cases.groups_known and arm is not known:
            _check_same_values(arm, known, "group", "groups")
        tables[arm.name] = rows
    groups = None if known is None else _by_unit(known.cases.test, "group")
    has_paths = all("path" in rows for rows in tables.values())
    joined = [_as_arm(rows, name, groups, has_paths=has_paths) for name, rows in tables.items()]
    return JoinedArms(pd.concat(joined, ignore_index=True), known is not None)


def _check_names(arms: Sequence[ArmOfFile]) -> None:
    files: dict[str, str] = {}
    for arm in arms:
        if arm.name in files:
            raise InputError(
                f"two arms are called {arm.name!r} ({files[arm.name]}, {arm.file}); give each a name of its own, as in "
                f"NAME={arm.file}."
            )
        files[arm.name] = arm.file


def _check_same_classes(arm: ArmOfFile, other: ArmOfFile) -> None:
    of_arm, of_other = _classes(arm), _classes(other)
    if set(of_arm) != set(of_other):
        raise InputError(
            f"{arm.file}: the classes are {', '.join(of_arm)}, and those of {other.file} {', '.join(of_other)}; score "
            "the same classes."
        )


def _check_same_units(arm: ArmOfFile, other: ArmOfFile) -> None:
    for one, reference in ((arm, other), (other, arm)):
        expected = reference.cases.test["unit"].drop_duplicates()
        missing = expected[~expected.isin(one.cases.test["unit"])]
        if len(missing):
            raise InputError(
                f"{one.file}: arm {one.name!r} lacks {counted(len(missing), 'unit')} that {reference.file} has "
                f"({name_some(missing)}); arms are compared on the same units, so predict all, or leave those out in "
                "both."
            )


def _check_same_values(arm: ArmOfFile, other: ArmOfFile, column: str, noun: str) -> None:
    rows = arm.cases.test
    expected = rows["unit"].map(_by_unit(other.cases.test, column))
    differing = rows[rows[column].astype(str) != expected.astype(str)].drop_duplicates("unit")
    if len(differing):
        unit, value = differing["unit"].iloc[0], differing[column].iloc[0]
        raise InputError(
            f"{arm.file}: {noun} that are others in {other.file}: {counted(len(differing), 'unit')}, first {unit} "
            f"({value!r} here, {expected[differing.index[0]]!r} there); correct one of them."
        )


def _by_unit(rows: pd.DataFrame, column: str) -> pd.Series[str]:
    return rows.drop_duplicates("unit").set_index("unit")[column]


def _classes(arm: ArmOfFile) -> list[str]:
    return [str(name).removeprefix(_PROBABILITY) for name in arm.cases.test if str(name).startswith(_PROBABILITY)]


def _as_arm(rows: pd.DataFrame, name: str, groups: pd.Series[str] | None, *, has_paths: bool) -> pd.DataFrame:
    filled = rows.assign(arm=name, **{key: value for key, value in _DEFAULTS.items() if key not in rows})
    if groups is not None:
        filled = filled.assign(group=filled["unit"].map(groups))
    columns = ["arm", "seed", "fold", "unit", "group", "label", *(["path"] if has_paths else [])]
    return filled[[*columns, *(key for key in filled if str(key).startswith(_PROBABILITY))]]
