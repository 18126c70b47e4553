"""How the cases flowed, after STARD 2015: found, left out, divided, tested, and what was called of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tlmed.evaluation.assessment.case_data import counted
from tlmed.report.parts import Drawing
from tlmed.report.record.delivered_arm import DeliveredArm
from tlmed.report.record.run_record import RunRecord
from tlmed.report.svg_sheet import WIDTH, Look, SvgSheet

_GAP, _INDENT, _TRUNK = 26, 56, 24
_MAX_CLASSES = 8


@dataclass(frozen=True)
class Sample:
    """So many cases.

    Attributes:
        num_groups: None where nothing says what belongs together.
    """

    num_images: int
    num_units: int
    num_groups: int | None

    def in_words(self, unit: str) -> str:
        """Such as `203 images, 95 groups`."""
        told = [counted(self.num_images, "image")]
        if unit != "image":
            told.append(f"{counted(self.num_units, 'unit')} ({unit})")
        told.append("groups unknown" if self.num_groups is None else counted(self.num_groups, "group"))
        return ", ".join(told)


@dataclass(frozen=True)
class ClassOnTest:
    """The test units of one class and what the delivered arm made of them.

    Attributes:
        num_groups: None where groups are not known.
        called: what they were called, and how many of them by seed.
    """

    name: str
    num_units: int
    num_groups: int | None
    called: dict[str, list[int]]


@dataclass(frozen=True)
class Flow:
    """Counts of the target domain from the first file to the last decision.

    Attributes:
        num_found: images.
        left_out: reasons with the number of images.
        used: after that.
        splits: by name; `test` alone under folds.
        seeds: of the delivered arm, the delivered one first.
        classes: of test.
        protocol: how test came about, in words.
    """

    unit: str
    num_found: int
    left_out: dict[str, int]
    used: Sample
    splits: dict[str, Sample]
    seeds: list[str]
    classes: list[ClassOnTest]
    protocol: str


def count_flow(record: RunRecord, delivered: DeliveredArm) -> Flow:
    """Count from the files of a run folder."""
    target = record.recipe.target.name
    domain, protocol = record.domains[target], record.recipe.evaluation.protocol
    splits = record.splits.drop_duplicates("path")
    known = record.metrics["groups_known"]
    reasons = Counter(str(one["reason"]) for one in record.audit["dropped"] if one["stage"] == target)
    left_out = dict(reasons.most_common())
    more = {"unreadable": domain["num_unreadable"], "for other reasons": domain["num_dropped"] - reasons.total()}
    left_out |= {reason: number for reason, number in more.items() if number > 0}

    def sample(part: pd.DataFrame) -> Sample:
        return Sample(len(part), part["unit"].nunique(), part["group"].nunique() if known else None)

    told = f"{protocol.split} split"
    of_splits = {name: sample(splits[splits["split"] == name]) for name in ("train", "val", "test")}
    if protocol.has_folds:
        num_repeats = delivered.units["seed"].nunique()
        told = f"{protocol.split}: {record.metrics['num_folds']} folds x {num_repeats}, each case tested out of fold"
        of_splits = {"test": sample(splits)}
    return Flow(
        record.metrics["unit"],
        len(splits) + sum(left_out.values()),
        left_out,
        sample(splits),
        of_splits,
        [str(seed) for seed in dict.fromkeys(delivered.units["seed"])],
        [_tested_class(delivered, name, known=known) for name in delivered.classes],
        told,
    )


def _tested_class(delivered: DeliveredArm, name: str, *, known: bool) -> ClassOnTest:
    units = delivered.units[delivered.units["label"] == name]
    once = units.drop_duplicates("unit")
    by_seed = [units[units["seed"] == seed] for seed in dict.fromkeys(delivered.units["seed"])]
    called: dict[str, list[int]] = {}
    if delivered.decision == "not shown":
        pass
    elif delivered.decision == "refused":
        called = {"not decided": [len(rows) for rows in by_seed]}
    elif delivered.positive:
        positives = [int(rows["called"].sum()) for rows in by_seed]
        negatives = [len(rows) - found for rows, found in zip(by_seed, positives, strict=True)]
        called = {"called positive": positives, "called negative": negatives, "not decided": [0] * len(by_seed)}
    else:
        columns = [f"p_{one}" for one in delivered.classes]
        place = delivered.classes.index(name)
        right = [int((rows[columns].to_numpy().argmax(axis=1) == place).sum()) if len(rows) else 0 for rows in by_seed]
        wrong = [len(rows) - found for rows, found in zip(by_seed, right, strict=True)]
        called = {"called so": right, "called otherwise": wrong}
    return ClassOnTest(name, len(once), once["group"].nunique() if known else None, called)


def draw_flow(flow: Flow, threshold: str) -> Drawing:
    """Draw it from top to bottom.

    Args:
        flow: counts.
        threshold: the rule of decision, in words.
    """
    sheet = SvgSheet()
    bottom = sheet.box(0, 1, WIDTH, "Found", [counted(flow.num_found, "image")])
    beside = [("Left out", [f"{counted(number, 'image')}: {reason}" for reason, number in flow.left_out.items()])]
    bottom = _side_boxes(sheet, bottom, beside if flow.left_out else [("Left out", ["none"])])
    bottom = _next_box(sheet, bottom, "Used", [flow.used.in_words(flow.unit), flow.protocol])
    named = {"train": "Training", "val": "Validation"}
    beside = [(named[name], [one.in_words(flow.unit)]) for name, one in flow.splits.items() if name != "test"]
    bottom = _side_boxes(sheet, bottom, beside)
    tested = flow.splits["test"]
    bottom = _next_box(sheet, bottom, "Test", [tested.in_words(flow.unit)], look="strong")
    shown = flow.classes[:_MAX_CLASSES]
    classes = [(f"{one.name}: {_size(one)}", _calls(one)) for one in shown]
    _side_boxes(sheet, bottom, classes, is_end=True)
    by_seed = f" Numbers in a row are those of the seeds {', '.join(flow.seeds)}." if len(flow.seeds) > 1 else ""
    more = f" {len(flow.classes) - len(shown)} further classes are not drawn." if len(shown) < len(flow.classes) else ""
    return Drawing(
        "flow",
        "From files to decisions",
        _in_words(flow),
        f"After STARD 2015 (Bossuyt et al., BMJ 2015;351:h5527), from the files of the target domain on. "
        f"{threshold}{by_seed}{more}",
        sheet.render("Flow of cases from the files found to what was called of each class", _in_words(flow)),
    )


def _next_box(sheet: SvgSheet, y: float, title: str, lines: Sequence[str], look: Look = "plain") -> float:
    sheet.arrow((_TRUNK, y), (_TRUNK, y + _GAP))
    return sheet.box(0, y + _GAP, WIDTH, title, lines, look=look)


def _side_boxes(
    sheet: SvgSheet, y: float, boxes: Sequence[tuple[str, Sequence[str]]], *, is_end: bool = False
) -> float:
    """Boxes to the right of the trunk, each with an arrow from it; returns where the trunk goes on."""
    trunk = y
    for title, lines in boxes:
        top = y + _GAP / 2
        y = sheet.box(_INDENT, top, WIDTH - _INDENT, title, lines, look="plain" if is_end else "dashed")
        sheet.arrow((_TRUNK, trunk), (_TRUNK, top + 16), (_INDENT, top + 16))
        trunk = top + 16
    if not is_end:
        sheet.line((_TRUNK, trunk), (_TRUNK, y))
    return y


def _size(one: ClassOnTest) -> str:
    groups = "" if one.num_groups is None else f", {counted(one.num_groups, 'group')}"
    return f"{counted(one.num_units, 'unit')}{groups}"


def _calls(one: ClassOnTest) -> list[str]:
    """One number where all seeds agree."""
    told = {what: numbers if len(set(numbers)) > 1 else numbers[:1] for what, numbers in one.called.items()}
    return [f"{what}: {', '.join(counted(number, 'unit') for number in numbers)}" for what, numbers in told.items()]


def _in_words(flow: Flow) -> str:
    left = "; ".join(f"{counted(number, 'image')}, {reason}" for reason, number in flow.left_out.items()) or "none"
    splits = "; ".join(f"{name} {one.in_words(flow.unit)}" for name, one in flow.splits.items())
    classes = "; ".join(f"{one.name}, {_size(one)}, {', '.join(_calls(one))}" for one in flow.classes)
    return f"{counted(flow.num_found, 'image')} found; left out: {left}; {splits}. On test: {classes}."
