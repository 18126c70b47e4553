from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pandas as pd

from tests.report.conftest import Recorded
from tlmed.evaluation.assessment.subgroups import measure_subgroups
from tlmed.report.chapters.subgroup_sections import subgroups_of_run
from tlmed.report.parts import Section
from tlmed.report.record.delivered_arm import decide_delivered
from tlmed.report.record.run_record import RunRecord, read_run
from tlmed.report.record.sharing import shareable


def _sections(record: RunRecord, **columns: Any) -> list[Section]:
    record = RunRecord(**{**vars(record), "splits": record.splits.assign(**columns)})
    delivered = decide_delivered(record.recipe.evaluation, record.predictions, record.metrics)
    return subgroups_of_run(record, delivered)


def test_without_columns_it_is_said(recorded: Recorded) -> None:
    (section,) = _sections(recorded())
    assert section.sentences[0].startswith("No columns to tell subgroups by")


def test_columns_of_the_splits_make_subgroups(recorded: Recorded) -> None:
    record = recorded()
    sex = pd.Series(np.where(pd.factorize(record.splits["group"])[0] % 2 == 0, "f", "m"))
    found = _sections(record, sex=sex, hospital="one", note=record.splits["path"])
    assert [section.title for section in found] == ["By sex (exploratory)", "Columns without subgroups"]
    delivered = decide_delivered(record.recipe.evaluation, record.predictions, record.metrics)
    units = delivered.units.assign(sex=delivered.units["unit"].map(dict(zip(record.splits["unit"], sex, strict=True))))
    women = measure_subgroups(units, ["sex"])["columns"]["sex"][0]
    assert found[0].grid is not None
    rows = [row for row in found[0].grid.rows if row[0] == "f"]
    assert rows[0][2] == str(women["num_units"])
    assert rows[1][1:3] == ("AUROC", f"{women['auroc']['value']:.3f}")
    assert "hospital: the column has the one value 'one'" in found[1].sentences[0]
    assert "note: the column has 60 values" in found[1].sentences[1]
    (taken,) = _sections(record, score=1)
    assert taken.sentences == ("score: tlmed uses this name itself; rename the column.",)


def test_a_copy_to_share_has_no_shares_and_no_names_of_levels(recorded: Recorded) -> None:
    record = recorded()
    hospital = np.where(pd.factorize(record.splits["group"])[0] % 2 == 0, "St Mary", "County")
    record = shareable(RunRecord(**{**vars(record), "splits": record.splits.assign(hospital=hospital)}))
    (section,) = _sections(record)
    assert section.grid is not None
    assert {row[0] for row in section.grid.rows} == {"level 1", "level 2"}
    assert {row[1] for row in section.grid.rows} == {"units", "AUROC"}
    assert "left out of this copy" in section.sentences[-1]


def test_a_metadata_column_is_read_back_with_what_is_missing(recorded: Recorded) -> None:
    record = recorded()
    ages = pd.Series(pd.factorize(record.splits["group"])[0] % 40 + 30.0).mask(lambda age: age < 35)
    file = record.folder.parent / "further" / "splits.csv"
    shutil.copytree(record.folder, file.parent)
    record.splits.assign(age=ages).to_csv(file, index=False)
    again = read_run(file.parent)
    assert again.splits["age"].isna().sum() == ages.isna().sum() > 0
    (section,) = _sections(again)
    assert section.title == "By age (exploratory)"
    assert section.grid is not None
    assert len({row[0] for row in section.grid.rows if row[0]}) == 4  # thirds and what is missing


def test_a_unit_with_two_values_has_no_subgroup(recorded: Recorded) -> None:
    record = recorded()
    splits = record.splits.assign(unit=record.splits["group"], side=np.arange(len(record.splits)) % 2)
    predictions = record.predictions.assign(unit=record.predictions["group"])
    record = RunRecord(**{**vars(record), "splits": splits, "predictions": predictions})
    (section,) = _sections(record)
    assert section.sentences == ("side: units have images with several values of it.",)


def test_several_classes_have_none(recorded: Recorded) -> None:
    record = recorded(sizes={"a": 12, "b": 12, "c": 12}, positive=None, seeds=(0,))
    assert "none is named" in _sections(record, sex="f")[0].sentences[0]


def test_sources_that_were_left_out_stand_by_themselves(recorded: Recorded) -> None:
    record = recorded()
    cell = {"value": 0.8, "low": 0.7, "high": 0.9}
    row = {"num_units": 30, "arms": {arm: {"auroc": cell} for arm in record.metrics["arms"]}}
    record.metrics["by_source"] = {"north": row}
    (section,) = _sections(record)
    assert section.grid is not None
    assert section.grid.rows == (("north", "30", "0.800 (0.700 to 0.900)", "0.800 (0.700 to 0.900)"),)
