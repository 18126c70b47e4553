from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.report.conftest import Recorded
from tlmed.report.chapters.flow_drawing import ClassOnTest, Flow, count_flow, draw_flow
from tlmed.report.record.delivered_arm import decide_delivered
from tlmed.report.record.run_record import RunRecord


def _flow(record: RunRecord) -> Flow:
    return count_flow(record, decide_delivered(record.recipe.evaluation, record.predictions, record.metrics))


def _texts(flow: Flow) -> list[str]:
    root = ElementTree.fromstring(draw_flow(flow, "By coin.").svg)
    return [element.text or "" for element in root.iter() if element.tag.endswith("text")]


def test_the_counts_add_up(recorded: Recorded) -> None:
    record = recorded()
    flow = _flow(record)
    assert flow.used.num_images == len(record.splits) == sum(one.num_images for one in flow.splits.values())
    assert flow.num_found == flow.used.num_images
    assert sum(one.num_groups or 0 for one in flow.splits.values()) == flow.used.num_groups
    assert [(one.name, one.num_units, one.num_groups) for one in flow.classes] == [("ill", 28, 14), ("well", 32, 16)]
    for one in flow.classes:
        assert [sum(of_seed) for of_seed in zip(*one.called.values(), strict=True)] == [one.num_units] * 3
    point = record.metrics["operating_points"]["generic-related"][0]
    ill, well = flow.classes
    assert ill.called["called positive"] == point["sensitivity"]["numerators"]
    assert well.called["called negative"] == point["specificity"]["numerators"]


def test_what_was_left_out_comes_from_the_audit(recorded: Recorded) -> None:
    record = recorded()
    record.audit["dropped"] += [{"stage": "target", "path": name, "reason": "copy"} for name in "ab"]
    record.domains["target"] |= {"num_dropped": 3, "num_unreadable": 4}
    flow = _flow(record)
    assert flow.left_out == {"copy": 2, "unreadable": 4, "for other reasons": 1}
    assert flow.num_found == flow.used.num_images + 7
    assert "2 images: copy" in _texts(flow)


def test_under_folds_each_case_is_tested(recorded: Recorded) -> None:
    flow = _flow(recorded(folds=True))
    assert list(flow.splits) == ["test"]
    assert flow.splits["test"] == flow.used
    assert flow.protocol == "kfold: 3 folds x 3, each case tested out of fold"


def test_a_refused_threshold_leaves_all_undecided(recorded: Recorded) -> None:
    point = {"kind": "assure", "of": "sensitivity", "target": 0.999}
    flow = _flow(recorded(operating_points=[point]))
    assert [one.called for one in flow.classes] == [{"not decided": [28] * 3}, {"not decided": [32] * 3}]
    assert "not decided: 28 units" in _texts(flow)


def test_unknown_groups_are_not_counted(recorded: Recorded) -> None:
    flow = _flow(recorded(waive=("groups_unknown",)))
    assert flow.used.num_groups is None
    assert "60 images, groups unknown" in _texts(flow)


def test_several_classes_are_called_so_or_otherwise(recorded: Recorded) -> None:
    flow = _flow(recorded(sizes={"a": 12, "b": 12, "c": 12}, positive=None, seeds=(0,)))
    for one in flow.classes:
        assert list(one.called) == ["called so", "called otherwise"]
        assert sum(numbers[0] for numbers in one.called.values()) == one.num_units == 24


def test_the_drawing_is_text_in_the_colours_of_the_page(recorded: Recorded) -> None:
    flow = _flow(recorded())
    odd = ClassOnTest("ill <b> & 'more'", 28, 14, {"called positive": [20, 21, 20]})
    drawing = draw_flow(replace(flow, classes=[odd]), "By coin.")
    ElementTree.fromstring(drawing.svg)
    assert "<b>" not in drawing.svg
    assert re.search("#[0-9a-f]{3}|rgb", drawing.svg) is None
    assert "ill <b> & 'more': 28 units, 14 groups" in " ".join(_texts(replace(flow, classes=[odd])))
    assert "called positive: 20 units, 21 units, 20 units" in drawing.alternative
    assert drawing.caption.endswith("By coin. Numbers in a row are those of the seeds 0, 1, 2.")


@pytest.mark.parametrize("name", ["x" * 200, "a b " * 60])
def test_long_names_stay_inside(recorded: Recorded, name: str) -> None:
    flow = _flow(recorded())
    assert max(map(len, _texts(replace(flow, classes=[ClassOnTest(name, 1, 1, {})])))) < 50
