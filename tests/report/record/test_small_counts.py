from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.run_folders import make_run
from tlmed.report.parts import Drawing, Gallery, Grid, Picture, Section, Shot
from tlmed.report.record.run_record import read_run
from tlmed.report.record.small_counts import SmallCounts, hidden_cells


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallCounts:
    """Three ill patients of 25 in test; the well ones, 22, would give them away."""
    folder = make_run(tmp_path_factory.mktemp("small") / "run", sizes={"ill": 3, "well": 22})
    return SmallCounts.of(read_run(folder))


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("3 patients, 203 images", "<5 patients, 203 images"),
        ("ill: 3 patients; well: 22 patients", "ill: <5 patients; well: some patients"),
        ("1 test image and 0 groups", "<5 test image and 0 groups"),
        ("85 of 98", "85 of 98"),
        ("3 of 98 called so", "<5 of 98 called so"),
        ("95, 96, 97 of 98", "not shown"),
        ("2/3", "not shown"),
        ("97 of 98 units", "some units"),
        ("3 seeds, 4 epochs, 2 points, page 1 of 2 seeds", "3 seeds, 4 epochs, 2 points, page 1 of 2 seeds"),
        ("units of 'ill' 3; an interval needs 10", "units of 'ill' <5; an interval needs 10"),
        ("AUROC 0.703 (0.571 to 0.807)", "AUROC 0.703 (0.571 to 0.807)"),
        ("1,234 steps, 1,003 images", "1,234 steps, 1,003 images"),
    ],
)
def test_counts_in_sentences(small: SmallCounts, told: str, shown: str) -> None:
    assert small.text(told) == shown


def test_a_table_hides_a_second_count_where_a_total_would_tell(small: SmallCounts) -> None:
    grid = Grid(
        ("class", "called positive", "called negative", "total"),
        (("ill", "30", "2", "32"), ("well", "9", "41", "50"), ("both", "39", "43", "82")),
    )
    shown = small.section(Section("Confusion", (), grid)).grid
    assert shown is not None
    assert shown.rows == (
        ("ill", "not shown", "<5", "32"),
        ("well", "not shown", "not shown", "50"),
        ("both", "39", "43", "82"),
    )


def test_counts_of_one_kind_are_looked_at_together(small: SmallCounts) -> None:
    grid = Grid(
        ("sex", "cases"), (("f", "3 patients, 9 images"), ("m", "45 patients, 90 images"), ("x", "60 patients"))
    )
    shown = small.section(Section("By sex", (), grid)).grid
    assert shown is not None
    assert [row[1] for row in shown.rows] == [
        "<5 patients, 9 images",
        "some patients, 90 images",
        "60 patients",
    ]


def test_a_reason_that_few_images_were_left_out_for_is_not_told_by_the_others(tmp_path: Path) -> None:
    record = read_run(make_run(tmp_path / "run", seeds=(0,)))
    rows = [{"stage": "related", "path": str(n), "reason": "copy" if n < 52 else "leak"} for n in range(54)]
    small = SmallCounts.of(replace(record, audit={**record.audit, "dropped": rows, "unreadable": []}))
    assert small.text("52 images as copies, 2 images as leaks") == "some images as copies, <5 images as leaks"


def test_settings_are_no_counts(small: SmallCounts) -> None:
    section = Section("Settings", (), Grid(("key", "value"), (("epochs", "3"), ("batch_size", "4"))))
    assert small.section(section) == section


def test_no_hidden_cell_can_be_reckoned_from_sums() -> None:
    """Whatever the table, each row and column hides none, or two at least, wherever it has two that are not 0."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        shape = generator.integers(1, 5, size=2)
        counts = (generator.integers(0, 12, size=shape) * generator.integers(0, 4, size=shape)).tolist()
        hidden = hidden_cells(counts)
        for axis, lines in enumerate((counts, np.array(counts).T.tolist())):
            for number, line in enumerate(lines):
                num_hidden = sum(place[axis] == number for place in hidden)
                assert num_hidden != 1 or sum(count > 0 for count in line) == 1
        assert all(
            (row, column) in hidden for row, line in enumerate(counts) for column, n in enumerate(line) if 0 < n < 5
        )


def test_drawings_and_pictures_that_show_small_counts_are_left_out(small: SmallCounts) -> None:
    def drawing(text: str) -> Drawing:
        return Drawing("flow", "Flow", "what came through", "", f"<svg><title>flow</title><text>{text}</text></svg>")

    def picture(name: str, alternative: str) -> Picture:
        return Picture(name, "A picture", alternative, "", b"", b"")

    assert small.part(drawing("40 images")) == drawing("40 images")
    assert isinstance(small.part(drawing("3 images")), Section)
    assert isinstance(small.part(picture("confusion-target", "")), Section)
    for shown, cells in ((True, (30, 20, 9, 41)), (True, (30, 20.5, 0, 41)), (False, (30, 20, 4.6, 41))):
        told = "; ".join(
            f"true {a} called {b}: {n}"
            for (a, b), n in zip(itertools.product(("ill", "well"), repeat=2), cells, strict=True)
        )
        assert isinstance(small.part(picture("confusion", f"Confusion matrix. {told}")), Picture) is shown
    assert isinstance(small.part(picture("roc", "of 3 patients")), Section)
    assert small.part(picture("roc", "of 30 patients")) == picture("roc", "of 30 patients")
    assert isinstance(small.part(Gallery("Errors", "", (Shot(b"", "", ""),))), Section)
