from __future__ import annotations

import io
import time
from pathlib import Path

import pandas as pd
import pytest
from docx import Document

from tests.report.run_records import VERDICT, run_record
from tlmed.report.paper.paper_tables import comparison_table, results_table, write_paper_tables


def test_each_arm_is_a_row_with_the_figures_of_the_run(tmp_path: Path) -> None:
    record = run_record(seeds=(0, 1))
    write_paper_tables(record, tmp_path)
    table = pd.read_csv(tmp_path / "tables" / "results.csv").set_index("arm")
    assert list(table.index) == ["generic", "generic-related"]
    assert table["delivered"].tolist() == [False, True]
    assert table["num_seeds"].tolist() == [2, 2]
    for arm, row in table.iterrows():
        cell = record.metrics["arms"][str(arm)]["auroc"]
        assert row[["auroc", "auroc_low", "auroc_high"]].tolist() == pytest.approx(
            [cell["value"], cell["low"], cell["high"]]
        )
        point = record.metrics["operating_points"][str(arm)][0]
        assert row["sensitivity_at_threshold"] == pytest.approx(point["sensitivity"]["value"])


def test_comparisons_keep_their_verdicts(tmp_path: Path) -> None:
    record = run_record(seeds=(0, 1))
    write_paper_tables(record, tmp_path)
    table = pd.read_csv(tmp_path / "tables" / "comparison.csv")
    assert table["role"].tolist() == ["primary", "secondary"]
    assert table[["low", "high"]].iloc[0].tolist() == [-0.04, 0.06]
    assert table["speaks_for"].iloc[0] == "this training set, over new patients and new seeds"
    assert table["method"].iloc[0] == "method b"
    assert set(table["verdict"]) == {"cannot be told here"}


def test_a_comparison_without_a_claim_has_no_limits() -> None:
    comparison = run_record().comparison
    assert comparison is not None
    comparison["contrasts"][0] |= {"speaks_for": None, "verdict": "no verdict", "reason": "groups unknown"}
    row = comparison_table(comparison).iloc[0]
    assert pd.isna(row["low"])
    assert pd.isna(row["p_value"])
    assert (row["difference"], row["reason"]) == (0.01, "groups unknown")


def test_the_document_holds_both_tables_and_the_verdict(tmp_path: Path) -> None:
    record = run_record()
    write_paper_tables(record, tmp_path)
    document = Document(io.BytesIO((tmp_path / "tables" / "results.docx").read_bytes()))
    results, comparisons = document.tables
    assert [row.cells[0].text for row in results.rows] == ["arm", "generic", "generic-related"]
    auroc = record.metrics["arms"]["generic-related"]["auroc"]
    assert results.rows[2].cells[1].text == f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})"
    assert results.rows[0].cells[3].text == "sensitivity at the threshold"
    held = record.metrics["operating_points"]["generic-related"][0]["sensitivity"]
    assert results.rows[2].cells[3].text.startswith(f"{held['numerators'][0]} of 20, {held['value']:.3f} (")
    assert comparisons.rows[1].cells[2].text == "+0.010 (-0.040 to +0.060)"
    assert comparisons.rows[2].cells[3].text == "0.400"
    texts = [paragraph.text for paragraph in document.paragraphs]
    assert texts[0] == "Table 1. 40 images in test of 20 patients; positive: sick."
    assert VERDICT["sentence"] in texts
    assert texts[-1] == "Research use only, not a medical device."
    assert document.core_properties.author == ""


def test_thresholds_that_are_not_there_are_not_made_up(tmp_path: Path) -> None:
    refused = {"kind": "aim", "of": "sensitivity", "target": 0.9, "refused": "too few", "fits": [{}]}
    for points, title, text in (
        ([refused], "sensitivity at the threshold", "refused"),
        ([], "sensitivity, more probable class", None),
    ):
        record = run_record(metrics={"operating_points": dict.fromkeys(("generic", "generic-related"), points)})
        write_paper_tables(record, tmp_path)
        table = Document(io.BytesIO((tmp_path / "tables" / "results.docx").read_bytes())).tables[0]
        assert table.rows[0].cells[3].text == title
        value = record.metrics["arms"]["generic"]["sensitivity"]["value"]
        assert table.rows[1].cells[3].text.startswith(text or f"{value:.3f}")
        assert "sensitivity_at_threshold" not in pd.read_csv(tmp_path / "tables" / "results.csv")


def test_an_arm_that_was_not_calibrated_stands_beside_others(tmp_path: Path) -> None:
    record = run_record()
    record.metrics["calibrated"]["generic"]["metrics"] = {}
    write_paper_tables(record, tmp_path)
    table = Document(io.BytesIO((tmp_path / "tables" / "results.docx").read_bytes())).tables[0]
    assert [row.cells[-1].text for row in table.rows][:2] == ["calibration slope", "not calibrated"]
    assert pd.read_csv(tmp_path / "tables" / "results.csv")["calibration_slope"].isna().tolist() == [True, False]


def test_one_arm_has_one_table(tmp_path: Path) -> None:
    write_paper_tables(run_record(arms=("generic-related",)), tmp_path)
    assert sorted(file.name for file in (tmp_path / "tables").iterdir()) == ["results.csv", "results.docx"]


def test_several_classes_without_groups_have_macro_figures() -> None:
    record = run_record(classes=("a", "b", "c"), positive=None, num_units=120, groups_known=False)
    table = results_table(record)
    assert "sensitivity" not in table
    assert table["num_groups"].isna().all()
    assert table["macro_f1"].iloc[0] == record.metrics["arms"]["generic"]["macro_f1"]["value"]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for day in (1_700_000_000, 1_700_100_000):
        monkeypatch.setattr(time, "time", lambda day=day: day)
        write_paper_tables(run_record(), tmp_path)
        written.append((tmp_path / "tables/results.docx").read_bytes())
    assert written[0] == written[1]
