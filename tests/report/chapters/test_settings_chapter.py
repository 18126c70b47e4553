from __future__ import annotations

from dataclasses import replace

from tests.report.run_records import run_record
from tlmed.report.chapters.settings_chapter import settings_chapter
from tlmed.report.parts import Grid, Section
from tlmed.report.record.run_record import RunRecord

ARMS = {
    "generic": {"stages": ["target"], "training": {"epochs": 7}},
    "generic-longer": {"stages": ["target"], "control": "longer"},
    "generic-related": {"stages": ["related", "target"]},
}


def grid_of(record: RunRecord, title: str) -> Grid:
    section = next(part for part in settings_chapter(record).parts if part.title == title)
    assert isinstance(section, Section)
    assert section.grid is not None
    return section.grid


def test_each_stage_has_a_column_of_resolved_settings() -> None:
    chain = [
        {"name": "related", "data": {"folder": "x"}, "preset": "tl-med", "seed": 3},
        {"name": "target", "data": {"folder": "y"}, "training": {"views": {"shift": 0.2}}, "image": {"size": 64}},
    ]
    grid = grid_of(run_record(chain=chain), "Stages of the chain")
    rows = {row[0]: row[1:] for row in grid.rows}
    assert grid.header == ("setting", "related", "target")
    assert rows["optimizer"] == ("sgd", "adamw")
    assert rows["clip_norm"] == ("none", "1.0")
    assert rows["views.shift"] == ("0.06", "0.2")
    assert rows["image.size"] == ("224", "64")
    assert rows["seed"] == ("3", "the run's")


def test_arms_say_what_is_their_own() -> None:
    record = run_record(arms=tuple(ARMS), arm_settings=ARMS)
    rows = {row[0]: row[1:] for row in grid_of(record, "Arms").rows}
    assert rows["generic"] == ("weights start.safetensors", "target", "finetune", "epochs 7", "-")
    assert rows["generic-longer"][-1] == "longer"


def test_no_way_to_data_or_weights_is_shown() -> None:
    record = run_record(evaluation={"external": {"elsewhere": {"manifest": "/secret/elsewhere.csv"}}})
    shown = str(settings_chapter(record))
    assert "start.safetensors" in shown
    assert "secret" not in shown


def test_thresholds_and_versions_are_listed() -> None:
    rows = grid_of(run_record(), "Evaluation").rows
    assert ("operating_points 1.target", "0.9") in rows
    assert ("comparison.margin", "0.02") in rows
    assert grid_of(run_record(), "Software").rows == (("tlmed", "0.1.0"), ("torch", "2.15.0"))


def test_without_a_bundle_versions_are_not_known() -> None:
    software = settings_chapter(replace(run_record(), bundle=None)).parts[-1]
    assert isinstance(software, Section)
    assert software.grid is None
