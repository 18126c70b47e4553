from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.report.run_folders import PLACE, WEIGHTS, make_run
from tlmed.report.record.run_record import RunRecord, read_run
from tlmed.report.record.sharing import shareable

BUNDLE = {
    "trained_on": ["0123456789"],
    "licences": [{"what": f"starting weights file:{WEIGHTS}", "licence": "MIT", "concern": None}],
}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = make_run(
        tmp_path_factory.mktemp("share") / "run",
        seeds=(0,),
        waive=("near_duplicate",),
        external={"elsewhere": {"folder": f"{PLACE}/elsewhere-images"}},
    )
    return replace(read_run(folder), bundle=BUNDLE, pictures={"errors": [{"file": "1.png"}], "findings": []})


def written(record: RunRecord) -> str:
    """All that a record holds, as text."""
    parts: list[Any] = [record.metrics, record.comparison, record.audit, record.domains, record.lineage, record.bundle]
    tables = [record.predictions.to_csv(), record.splits.to_csv(), record.histories.to_csv()]
    settings = json.dumps(record.recipe.model_dump(mode="json"))
    return "\n".join([str(record.folder), json.dumps(parts), *tables, settings])


def test_no_identifier_and_no_place_is_left(record: RunRecord) -> None:
    before, shared = written(record), written(shareable(record))
    known = {*record.predictions["path"], *record.predictions["group"], *record.splits["path"], *record.splits["group"]}
    for name in (*known, PLACE, WEIGHTS, "hidden-hospital", "related-images", "elsewhere-images", "jones", "Dr Brown"):
        assert name in before
        assert name not in shared, name
    assert "0123456789" not in json.dumps(shareable(record).bundle)
    assert shareable(record).pictures is None


def test_names_are_one_to_one_and_in_an_order_of_their_own(record: RunRecord) -> None:
    shared = shareable(record)
    for old, new in ((record.predictions, shared.predictions), (record.splits, shared.splits)):
        assert old["group"].nunique() == new["group"].nunique()
        assert sorted(old.groupby("group")["unit"].nunique()) == sorted(new.groupby("group")["unit"].nunique())
        assert new["unit"].str.fullmatch(r"u\d+").all()
        assert new["group"].str.fullmatch(r"g\d+").all()
    probability = record.predictions.set_index(["arm", "unit"])["p_ill"].sort_values()
    renamed = shared.predictions.set_index(["arm", "unit"])["p_ill"].sort_values()
    assert renamed.tolist() == probability.tolist()
    by_name = dict(zip(probability.index.get_level_values("unit"), renamed.index.get_level_values("unit"), strict=True))
    assert [by_name[name] for name in sorted(by_name)] != sorted(by_name.values())
    again = shareable(record).predictions
    assert again["unit"].tolist() == sorted(again["unit"].tolist()[: len(again) // 2]) * 2
    assert not again.equals(shared.predictions)


def test_rows_of_findings_keep_their_links(record: RunRecord) -> None:
    shared = shareable(record)
    finding = shared.audit["findings"][0]
    assert finding["paths"] == finding["details"]["pairs"][0]["paths"]
    assert set(finding["paths"]) <= set(shared.splits["path"])
    assert finding["message"] == "target: near duplicate (fewer than 5); names are left out of this copy"
    assert shared.metrics["audit_warnings"][0]["message"] == finding["message"]
    assert shared.audit["findings"][1] == record.audit["findings"][1]
    assert re.fullmatch(r"i\d+", shared.audit["dropped"][0]["path"])


def test_a_share_of_few_cases_goes_with_all_that_it_could_be_reckoned_from(record: RunRecord) -> None:
    few = {"value": 0.97, "low": 0.9, "high": 0.99, "numerator": 31, "denominator": 32}
    enough = {"value": 0.5, "low": 0.4, "high": 0.6, "numerator": 14, "denominator": 28}
    auroc = {"value": 0.9, "low": 0.8, "high": 0.95}
    point = {"kind": "aim", "of": "sensitivity", "target": 0.9, "refused": None, "fits": [{"threshold": 0.4}]}
    seeds = [{**cell, "numerators": [cell["numerator"]]} for cell in (few, enough)]
    metrics = {
        **record.metrics,
        "arms": {"generic": {"sensitivity": few, "specificity": enough, "accuracy": enough, "auroc": auroc}},
        "operating_points": {"generic": [{**point, "sensitivity": seeds[0], "specificity": seeds[1]}]},
    }
    shared = shareable(replace(record, metrics=metrics)).metrics
    cells = shared["arms"]["generic"]
    assert [cells[name]["value"] for name in ("sensitivity", "specificity", "accuracy", "auroc")] == [None] * 3 + [0.9]
    assert "fewer than 5" in cells["accuracy"]["undefined"]
    (held,) = shared["operating_points"]["generic"]
    assert "fewer than 5" in held["refused"]
    assert "specificity" not in held
    untouched = {**record.metrics, "arms": {"generic": {"sensitivity": enough, "auroc": auroc}}}
    kept = shareable(replace(record, metrics=untouched)).metrics["arms"]["generic"]
    assert kept == {"sensitivity": enough, "auroc": auroc}


def test_levels_of_metadata_columns_are_numbered_everywhere(record: RunRecord) -> None:
    (finding,) = record.metrics["usage"]
    alone = {**finding["details"]["variables"][0], "variable": "column doctor = Dr Brown"}
    alone["matched"] = {**alone["matched"], "where": "not column doctor = Dr Brown"}
    usage = {
        **finding,
        "message": "arm 'x': within the classes the score is higher where column doctor = Dr Brown",
        "details": {**finding["details"], "variables": [*finding["details"]["variables"], alone]},
    }
    cell = {"num_units": 30, "arms": {}}
    metrics = {**record.metrics, "usage": [usage], "by_source": {"St Mary": cell, "County": cell}}
    ages = np.arange(len(record.splits)) % 60
    doctors = np.where(ages % 2 == 0, "Dr Brown", "Dr Jones")
    splits = record.splits.assign(doctor=doctors, age=ages).assign(
        ward=pd.Series("St Mary", index=record.splits.index).where(ages == 0)
    )
    sources = {
        **record.audit["findings"][1],
        "kind": "source_confounding",
        "message": "target: from the source alone the class is told; one class alone in St Mary (ill)",
        "details": {
            "stage": "target",
            "images_by_source": {"St Mary": {"ill": 9}},
            "single_class_sources": {"St Mary": "ill"},
        },
    }
    audit = {**record.audit, "findings": [record.audit["findings"][0], sources, record.audit["findings"][1]]}
    shared = shareable(replace(record, metrics=metrics, splits=splits, audit=audit))
    assert not re.search("Brown|Jones|St Mary|County", written(shared))
    kept, numbered = shared.metrics["usage"][0]["details"]["variables"]
    level = numbered["variable"].removeprefix("column doctor = ")
    assert kept["variable"] == "mode = RGB"
    assert numbered["matched"]["where"] == f"not column doctor = {level}"
    assert shared.metrics["usage"][0]["message"].endswith(f"column doctor = {level}")
    assert set(shared.splits["doctor"]) == {"level 1", "level 2"}
    assert shared.splits["ward"].isna().sum() == (ages > 0).sum()
    assert sorted(shared.splits["age"]) == sorted(ages)
    assert shared.audit["findings"][1]["message"].endswith("one class alone in level 1 (ill)")
