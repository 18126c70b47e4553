from __future__ import annotations

import pandas as pd
import pytest

from tests.evaluation.comparison.arm_tables import arm_rows
from tlmed.errors import InputError
from tlmed.evaluation.assessment.case_data import gather_cases
from tlmed.evaluation.comparison.joined_arms import ArmOfFile, join_arms


def _arm(name: str, rows: pd.DataFrame) -> ArmOfFile:
    return ArmOfFile(name, f"{name}.csv", gather_cases(rows.drop(columns="arm")))


def test_arms_are_named_and_their_rows_kept() -> None:
    joined = join_arms([_arm("x", arm_rows("a")), _arm("y", arm_rows("b").assign(extra=1))])
    assert joined.groups_known
    assert list(joined.rows) == ["arm", "seed", "fold", "unit", "group", "label", "p_sick", "p_well"]
    assert joined.rows.groupby("arm").size().to_dict() == {"x": 360, "y": 360}


def test_groups_of_one_table_hold_for_all() -> None:
    joined = join_arms([_arm("x", arm_rows("a").drop(columns="group")), _arm("y", arm_rows("b"))])
    assert joined.groups_known
    of_each = [rows.set_index("unit")["group"].to_dict() for _, rows in joined.rows.groupby("arm")]
    assert of_each[0] == of_each[1]
    assert of_each[0]["u003"] == "p1"
    nobody = join_arms([_arm(name, arm_rows(name).drop(columns="group")) for name in "xy"])
    assert not nobody.groups_known


def test_one_training_without_a_seed_column_is_one_seed() -> None:
    joined = join_arms([_arm(name, arm_rows(name, seeds=[0]).drop(columns="seed")) for name in "xy"])
    assert joined.rows["seed"].unique().tolist() == ["0"]
    assert joined.rows["fold"].unique().tolist() == [-1]


def test_paths_are_kept_where_all_have_them() -> None:
    first, second = (arm_rows(arm, seeds=[0]) for arm in "ab")
    with_path = first.assign(path=first["unit"] + ".png")
    assert "path" in join_arms([_arm("x", with_path), _arm("y", with_path)]).rows
    assert "path" not in join_arms([_arm("x", with_path), _arm("y", second)]).rows


def _change(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    is_seventh = rows["unit"] == "u007"
    if kind == "fewer":
        return rows[~is_seventh]
    if kind == "more":
        return pd.concat([rows, rows[is_seventh].assign(unit="u999")])
    if kind == "label":
        return rows.assign(label=rows["label"].where(~is_seventh, "well"))
    if kind == "group":
        return rows.assign(group=rows["group"].where(~is_seventh, "p999"))
    if kind == "classes":
        return rows.rename(columns={"p_well": "p_healthy"}).replace({"label": {"well": "healthy"}})
    return rows.assign(split="val")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("fewer", r"y.csv: arm 'y' lacks 1 unit that x.csv has \(u007\)"),
        ("more", r"x.csv: arm 'x' lacks 1 unit that y.csv has \(u999\)"),
        ("label", r"y.csv: labels that are others in x.csv: 1 unit, first u007 \('well' here, 'sick' there\)"),
        ("group", r"y.csv: groups that are others in x.csv: 1 unit, first u007 \('p999' here, 'p3' there\)"),
        ("classes", "y.csv: the classes are sick, healthy, and those of x.csv sick, well"),
        ("split", "y.csv: no test rows"),
    ],
)
def test_arms_of_other_cases_are_refused(kind: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        join_arms([_arm("x", arm_rows("a")), _arm("y", _change(arm_rows("b"), kind))])


def test_two_arms_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match=r"two arms are called 'x' .* NAME=x.csv"):
        join_arms([_arm("x", arm_rows("a")), _arm("x", arm_rows("b"))])
