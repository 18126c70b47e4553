from __future__ import annotations

from tests.report.conftest import Recorded
from tlmed.report.chapters.audit_chapter import audit_parts
from tlmed.report.pages.audit_page import MEANING
from tlmed.report.parts import Section


def _sections(recorded: Recorded, **settings: object) -> dict[str, Section]:
    return {part.title: part for part in audit_parts(recorded(**settings)) if isinstance(part, Section)}


def test_the_gravest_comes_first_and_a_waiver_is_said(recorded: Recorded) -> None:
    found = _sections(recorded, waive=("near_duplicate",))["Findings"]
    assert found.grid is not None
    assert [row[:2] for row in found.grid.rows] == [
        ("error, waived", "near_duplicate"),
        ("warning", "shortcut_metadata"),
    ]
    assert f"shortcut_metadata: {MEANING['shortcut_metadata']}" in found.sentences


def test_what_was_left_out_is_counted(recorded: Recorded) -> None:
    left_out = _sections(recorded)["Left out of related"]
    assert left_out.grid is not None
    assert left_out.grid.rows == (("copy", "1 image"), ("unreadable", "1 image"))


def test_what_the_delivered_model_goes_by(recorded: Recorded) -> None:
    usage = _sections(recorded)["What the delivered model goes by"]
    assert usage.grid is not None
    assert usage.sentences[1].startswith("It could explain all of the AUROC")
    assert usage.grid.rows == (("mode = RGB", "AUROC 0.80", "0.001", "yes", "mode = RGB", "0.613 (0.412 to 0.781)"),)


def test_usage_that_was_not_looked_at_is_left_out(recorded: Recorded) -> None:
    record = recorded()
    record.metrics["usage"] = []
    record.audit.update(findings=[], dropped=[], unreadable=[], not_done=["No tags were looked at."])
    assert audit_parts(record) == [
        Section("", ("Nothing was found.",)),
        Section("Not looked at", ("No tags were looked at.",)),
    ]
