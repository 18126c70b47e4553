"""What a report calls its cases, and how many were tested."""

from __future__ import annotations

from dataclasses import dataclass

from tlmed.evaluation.assessment.case_data import counted, plural
from tlmed.report.record.run_record import RunRecord

_KNOWN_GROUPS = ("patient", "study", "series")


@dataclass(frozen=True)
class Tested:
    """The target's cases that figures rest on.

    Attributes:
        unit, group: what one is called.
        num_units, num_groups: in all; no groups where nothing says what belongs together.
        num_units_by_class, num_groups_by_class: a group with units of two classes counts in both.
    """

    unit: str
    group: str
    num_units: int
    num_groups: int | None
    num_units_by_class: dict[str, int]
    num_groups_by_class: dict[str, int]

    @property
    def independent(self) -> str:
        """What new ones of are meant where figures speak for new cases: "patients"."""
        return plural(self.group if self.num_groups is not None else self.unit)

    def of_class(self, label: str) -> str:
        """Return such as "53 patients, 98 images"."""
        units = counted(self.num_units_by_class[label], self.unit)
        if self.num_groups is None or self.group == self.unit:
            return units
        return f"{counted(self.num_groups_by_class[label], self.group)}, {units}"


def group_noun(record: RunRecord) -> str:
    """What a group of the target is: "patient" where a column of that name says so."""
    column = record.domains[record.recipe.target.name]["group_column"]
    return column if column in _KNOWN_GROUPS else "group"


def tested_cases(record: RunRecord) -> Tested:
    """Count the units of the test rows, or of the out-of-fold rows."""
    table = record.predictions
    tested = table[table["split"] == "test"].drop_duplicates("unit")
    classes = [name.removeprefix("p_") for name in map(str, table) if name.startswith("p_")]
    of_class = {label: tested[tested["label"] == label] for label in classes}
    known = record.metrics["groups_known"]
    return Tested(
        record.metrics["unit"],
        group_noun(record),
        len(tested),
        int(tested["group"].nunique()) if known else None,
        {label: len(rows) for label, rows in of_class.items()},
        {label: int(rows["group"].nunique()) for label, rows in of_class.items()},
    )


def positive_classes(record: RunRecord) -> list[str]:
    """The classes that count as disease; none where there are several and none is named."""
    positive = record.metrics["positive"]
    return [positive] if isinstance(positive, str) else list(positive or ())
