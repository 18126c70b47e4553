from __future__ import annotations

from typing import Any

import pytest

from tests.report.conftest import Recorded
from tlmed.report.chapters.result_chapters import result_chapters
from tlmed.report.parts import Chapter, Drawing, Picture, Section

pytestmark = pytest.mark.usefixtures("unrendered")


@pytest.fixture(scope="module")
def usual(recorded: Recorded, unrendered: None) -> dict[str, Chapter]:
    """Of two arms with three seeds."""
    return _by_anchor(result_chapters(recorded()))


def _by_anchor(chapters: list[Chapter]) -> dict[str, Chapter]:
    return {chapter.anchor: chapter for chapter in chapters}


def _names(chapter: Chapter) -> list[str]:
    return [part.name for part in chapter.parts if isinstance(part, Picture | Drawing)]


def test_the_chapters_come_in_order(usual: dict[str, Chapter]) -> None:
    chapters = usual
    assert list(chapters) == [
        "flow", "audit", "chain", "results", "comparison", "curves", "delivered", "training", "errors", "subgroups",
    ]  # fmt: skip
    assert _names(chapters["comparison"]) == ["seeds", "primary-contrast"]
    assert _names(chapters["curves"]) == ["roc", "precision-recall"]
    assert _names(chapters["delivered"]) == ["reliability", "decision-curve", "confusion"]
    titles = [part.title for part in chapters["comparison"].parts]
    assert titles[1] == "Contrasts"
    assert "Cost beside gain" in titles


def test_the_cost_stands_beside_the_gain(recorded: Recorded) -> None:
    record = recorded()
    assert record.comparison is not None
    record.comparison["cost"]["generic"] = {"steps": 200.0, "seconds": 300.0}
    parts = _by_anchor(result_chapters(record))["comparison"].parts
    (cost,) = (part for part in parts if isinstance(part, Section) and part.title == "Cost beside gain")
    generic, related = (record.metrics["arms"][arm]["auroc"]["value"] for arm in ("generic", "generic-related"))
    assert cost.grid is not None
    assert cost.grid.header == ("arm", "AUROC", "minus generic", "steps", "training time")
    assert cost.grid.rows == (
        ("generic", f"{generic:.3f}", "-", "200", "5 min"),
        ("generic-related", f"{related:.3f}", f"{related - generic:+.3f}", "1234", "not measured"),
    )


def test_all_arms_stand_in_the_results(recorded: Recorded, usual: dict[str, Chapter]) -> None:
    record = recorded()
    results, baselines = usual["results"].parts
    assert isinstance(results, Section)
    assert isinstance(baselines, Section)
    assert results.grid is not None
    assert baselines.grid is not None
    assert [row[0] for row in results.grid.rows] == ["generic", "generic-related"]
    assert results.sentences[0] == record.metrics["interval"]
    assert [row[0] for row in baselines.grid.rows] == ["majority"]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"folds": True}, ["reliability", "decision-curve", "confusion"]),
        ({"seeds": (0,)}, ["reliability", "decision-curve", "confusion"]),
        ({"waive": ("groups_unknown",)}, ["reliability", "decision-curve", "confusion"]),
        ({"sizes": {"a": 12, "b": 12, "c": 12}, "positive": None, "seeds": (0,)}, ["roc", "confusion"]),
        ({"sizes": {"ill": 4, "well": 5}, "seeds": (0,)}, ["reliability", "decision-curve", "confusion"]),
    ],
)
def test_every_design_has_its_chapters(recorded: Recorded, settings: dict[str, Any], names: list[str]) -> None:
    chapters = _by_anchor(result_chapters(recorded(**settings)))
    assert len(chapters) == 10
    assert all(chapter.parts for chapter in chapters.values())
    assert _names(chapters["delivered"]) == names


def test_a_refused_threshold_has_a_confusion_without_it(recorded: Recorded) -> None:
    point = {"kind": "assure", "of": "sensitivity", "target": 0.999}
    said, *pictures = _by_anchor(result_chapters(recorded(operating_points=[point])))["delivered"].parts
    assert isinstance(said, Section)
    assert "was refused" in said.sentences[0]
    assert [part.title for part in pictures if isinstance(part, Picture)][-1] == "Confusion"


def test_one_arm_is_compared_with_nothing(recorded: Recorded) -> None:
    first, seeds = _by_anchor(result_chapters(recorded(arms=("generic",))))["comparison"].parts
    assert first == Section("", ("One arm alone: nothing to compare it with.",))
    assert isinstance(seeds, Picture)


def test_secondary_contrasts_stand_in_the_table_alone(recorded: Recorded) -> None:
    record = recorded(arms=("probe", "generic", "generic-related"), seeds=(0,))
    assert record.comparison is not None
    parts = _by_anchor(result_chapters(record))["comparison"].parts
    sections = {part.title: part for part in parts if isinstance(part, Section)}
    secondary = [one for one in record.comparison["contrasts"] if one["role"] == "secondary"]
    assert secondary
    grid = sections["Contrasts"].grid
    assert grid is not None
    assert {one["name"] for one in secondary} <= {row[0] for row in grid.rows}
    said = " ".join(sections["Reasons"].sentences)
    assert not any(one["sentence"] in said for one in secondary)
    assert record.comparison["needed"]["sentence"] in said


def test_small_sets_are_indicative(usual: dict[str, Chapter]) -> None:
    parts = usual["delivered"].parts
    (reliability,) = (part for part in parts if isinstance(part, Picture) and part.name == "reliability")
    assert reliability.title == "Reliability (indicative)"
    assert "fewer than 100 units, 28" in reliability.caption
