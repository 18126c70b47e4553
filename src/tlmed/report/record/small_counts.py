"""Counts under 5, and what would give them away, taken out of a report that is shared.

Where a total is known, one hidden part of it is the total less the others; so in each row and column that hides one
part a second one is hidden, the smallest (primary and complementary suppression).

Source: Hundepool et al., Statistical Disclosure Control, Wiley 2012, chapter 4.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tlmed.report.parts import Drawing, Gallery, Grid, Picture, Section
from tlmed.report.record.case_counts import tested_cases
from tlmed.report.record.run_record import RunRecord

SMALLEST_SHOWN = 5
TOO_SMALL, NOT_SHOWN = f"<{SMALLEST_SHOWN}", "not shown"
_SOME = "some"  # in place of a number before what it counts
_LEFT_OUT = f"Left out of this copy, because it shows counts under {SMALLEST_SHOWN} or what would give them away."
_CASES_LEFT_OUT = "Left out of this copy, because it shows single cases."
_NOUNS = (
    "patients?", "persons?", "groups?", "units?", "images?", "pictures?", "files?", "cases?", "pairs?", "sets?",
    "rows?", "stud(?:y|ies)", "series", "positives?", "negatives?", "events?",
)  # fmt: skip
_BETWEEN = (
    "test|training|train|val|unreadable|identical|near-duplicate|different|positive|negative|other|new|independent|"
    "called|with|of|are|were|excluded|known"
)
_NO_CASES = "seeds?|folds?|repeats?|arms?|epochs?|steps?|stages?|variables?|sources?|items?|contrasts?|draws?|classes"
_BEFORE_COUNTS = ("positive", "negative")
_HEADS_COUNTS = (
    "called",
    "positive",
    "negative",
    "total",
    "number",
    "n",
    "train",
    "training",
    "val",
    "validation",
    "test",
    "left out",
    "dropped",
)

_Part = Section | Picture | Drawing | Gallery


@dataclass(frozen=True)
class SmallCounts:
    """What must not be told.

    Attributes:
        hidden: counts of 5 or more that would give a smaller one away.
        before, after: patterns of a count before and after what it counts.
        unshown: pattern of `NOT_SHOWN` before what it counts.
        heads: pattern of a table's heading under which, or of a row's name beside which, numbers are counts.
    """

    hidden: frozenset[int]
    before: re.Pattern[str]
    after: re.Pattern[str]
    unshown: re.Pattern[str]
    heads: re.Pattern[str]

    @classmethod
    def of(cls, record: RunRecord) -> SmallCounts:
        """Find out what a record's counts give away."""
        tested = tested_cases(record)
        labels = {label for domain in record.domains.values() for label in _labels(domain["num_images"])}
        words = [re.escape(label) for label in sorted(labels, key=len, reverse=True) if not label.isdigit()]
        nouns = "|".join([*_NOUNS, re.escape(tested.unit) + "s?", *words])
        tables = [
            table
            for domain in record.domains.values()
            for table in (_table(domain[kind]) for kind in ("num_images", "num_units", "num_groups"))
        ]
        tables += [[list(reasons.values())] for reasons in _dropped(record.audit).values()]
        tables += [[list(tested.num_units_by_class.values())], [list(tested.num_groups_by_class.values())]]
        hidden = {
            value
            for table in tables
            for row, column in hidden_cells(table)
            if (value := table[row][column]) is not None and value >= SMALLEST_SHOWN
        }
        return cls(
            frozenset(hidden),
            re.compile(rf"(?<![\w.,/+-])(\d[\d,]*)(?= (?:(?:{_BETWEEN}) )*({nouns})(?!\w))"),
            re.compile(
                rf"(?<!\w)((?:{'|'.join([*words, *_BEFORE_COUNTS])})(?: called \w+)?'?:? \(?)(\d[\d,]*)(?![\w.%])"
            ),
            re.compile(rf"{NOT_SHOWN}(?= (?:(?:{_BETWEEN}) )*(?:{nouns})(?!\w))"),
            re.compile(rf"(?<!\w)(?:{'|'.join([nouns, *_HEADS_COUNTS])})(?!\w)", re.IGNORECASE),
        )

    def text(self, text: str) -> str:
        """Return a sentence or cell without the counts that must not be told."""
        text = _OF.sub(self._part_of, text)
        text = self.before.sub(lambda found: self._shown(found[1]), text)
        text = self.after.sub(lambda found: found[1] + self._shown(found[2]), text)
        return self.unshown.sub(_SOME, text)

    def section(self, section: Section) -> Section:
        """Return sentences and table without them."""
        grid = None if section.grid is None else self._grid(section.grid)
        return Section(self.text(section.title), tuple(map(self.text, section.sentences)), grid)

    def part(self, part: _Part) -> _Part:
        """Return a part without them; a drawing or picture that shows some is left out whole, and so are cases."""
        if isinstance(part, Section):
            return self.section(part)
        if isinstance(part, Gallery):
            return Section(part.title, (_CASES_LEFT_OUT,))
        told = [part.title, part.alternative, part.caption]
        if isinstance(part, Drawing):
            told.append(" ".join(re.findall(r">([^<]+)<", part.svg)))
        elif "confusion" in part.name and not self._may_show(part.alternative):
            return Section(part.title, (_LEFT_OUT,))
        return part if all(self.text(text) == text for text in told) else Section(part.title, (_LEFT_OUT,))

    def _may_show(self, confusion: str) -> bool:
        """By the cells of a matrix of two classes, row by row, which its alternative gives; those of more it does not.

        A mean over seeds of 5 or more does not give the counts away that it is a mean of.
        """
        cells = [float(cell) for cell in re.findall(r" called [^;]*?: (\d+(?:\.\d+)?)(?=;|\Z)", confusion)]
        if len(cells) != 4:
            return False
        rows = cells[0] + cells[1], cells[2] + cells[3]
        return all(cell == 0 or cell >= SMALLEST_SHOWN for cell in cells) and not self.hidden.intersection(rows)

    def _shown(self, number: str, *, hide: bool = False) -> str:
        count = _number(number)
        if 0 < count < SMALLEST_SHOWN:
            return TOO_SMALL
        return NOT_SHOWN if hide or count in self.hidden else number

    def _part_of(self, found: re.Match[str]) -> str:
        """Of "k of n", where k is one number or one a seed."""
        parts, whole = [int(one) for one in found[1].split(", ")], int(found[3])
        if max(parts) > whole:
            return found[0]
        if is_small(parts, whole) or whole in self.hidden:
            tells_whole = whole in self.hidden or whole < SMALLEST_SHOWN or max(parts) >= SMALLEST_SHOWN
            return NOT_SHOWN if tells_whole else f"{TOO_SMALL}{found[2]}{whole}"
        return found[0]

    def _grid(self, grid: Grid) -> Grid:
        found = {
            (row, column): self._counts(cell, f"{grid.header[column]} {cells[0]}")
            for row, cells in enumerate(grid.rows)
            for column, cell in enumerate(cells)
            if column
        }
        nouns = {noun for counts in found.values() for noun in counts}
        shape = range(len(grid.rows)), range(len(grid.header))
        hidden = {
            noun: hidden_cells([[found.get((row, column), {}).get(noun) for column in shape[1]] for row in shape[0]])
            for noun in nouns
        }
        rows = [
            tuple(
                self._cell(
                    cell, {noun for noun in nouns if (row, column) in hidden[noun]}, found.get((row, column), {})
                )
                for column, cell in enumerate(cells)
            )
            for row, cells in enumerate(grid.rows)
        ]
        return replace(grid, header=tuple(map(self.text, grid.header)), rows=tuple(rows))

    def _counts(self, cell: str, heads: str) -> dict[str, int]:
        """The counts in a cell by what they count; a number by itself is one where the heads say so."""
        if cell.isdecimal():
            return {"": int(cell)} if self.heads.search(heads) else {}
        return {found[2].rstrip("s"): _number(found[1]) for found in self.before.finditer(cell)}

    def _cell(self, cell: str, hidden: set[str], counts: Mapping[str, int]) -> str:
        if cell.isdecimal():
            return self._shown(cell, hide="" in hidden) if counts else cell
        return self.text(
            self.before.sub(lambda found: self._shown(found[1], hide=found[2].rstrip("s") in hidden), cell)
        )


_OF = re.compile(rf"(?<![\w.,/-])(\d+(?:, \d+)*)( of | ?/ ?)(\d+)(?![\w.,/]|\.\d)(?! (?:{_NO_CASES})(?!\w))")


def is_small(parts: Iterable[int], whole: int) -> bool:
    """Whether "k of n" tells of fewer than 5 cases, for any of the k: they, the others, or all."""
    told = [count for part in parts for count in (part, whole - part, whole)]
    return any(0 < count < SMALLEST_SHOWN for count in told)


def hidden_cells(counts: Sequence[Sequence[int | None]]) -> set[tuple[int, int]]:
    """Return which cells of a table of counts must be hidden, by row and column, where all totals are known.

    Args:
        counts: rows of equal length; None where a cell is no count.
    """
    cells = {(i, j): count for i, row in enumerate(counts) for j, count in enumerate(row) if count}
    hidden = {place for place, count in cells.items() if count < SMALLEST_SHOWN}
    lines = [
        [place for place in cells if place[axis] == number]
        for axis in (0, 1)
        for number in sorted({place[axis] for place in cells})
    ]
    while True:
        alone = [line for line in lines if len(hidden.intersection(line)) == 1 and len(line) > 1]
        if not alone:
            return hidden
        hidden.add(min((place for place in alone[0] if place not in hidden), key=lambda place: (cells[place], place)))


def _dropped(audit: Mapping[str, Any]) -> dict[str, Counter[str]]:
    """How many images were left out of each stage, by reason, those that cannot be read among them."""
    counts: dict[str, Counter[str]] = {}
    for row in audit["unreadable"]:
        counts.setdefault(row["stage"], Counter())["unreadable"] += 1
    for row in audit["dropped"]:
        counts.setdefault(row["stage"], Counter())[row["reason"]] += 1
    return counts


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _labels(by_split: Mapping[str, Mapping[str, int]]) -> list[str]:
    return sorted({label for of_split in by_split.values() for label in of_split})


def _table(by_split: Mapping[str, Mapping[str, int]]) -> list[list[int | None]]:
    labels = _labels(by_split)
    return [[of_split.get(label, 0) for label in labels] for of_split in by_split.values()]
