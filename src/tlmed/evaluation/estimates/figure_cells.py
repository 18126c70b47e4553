"""One printed figure: its value, its interval or the reason why there is none, and what must stand beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tlmed.evaluation.calibration import CALIBRATION_METRICS
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS, num_groups_holding
from tlmed.evaluation.metrics import METRICS, METRICS_OF_SEVERAL_CLASSES, Floats, Integers, Metric, Scored
from tlmed.evaluation.statistics.logistic_fit import is_bounded
from tlmed.evaluation.statistics.prevalence import Sampling, at_prevalence, depends_on_prevalence, prevalence_note

_OF_PROBABILITIES = ("brier", *CALIBRATION_METRICS)
# What the name alone does not say of several classes.
_MACRO_NOTES = {
    "auroc": "one-vs-rest, macro",
    "auprc": "one-vs-rest, macro",
    **dict.fromkeys(("sensitivity", "specificity", "ppv", "npv", "f1"), "macro over classes"),
}
_CHANCE_BY_DEFINITION = "0.5 by definition: all units have the same score"
NO_VARIATION = "the cases do not show how the value varies: it is the same without each of them"


@dataclass(frozen=True)
class Cell:
    """A figure of `metrics.json`.

    Attributes:
        value: None where it does not exist.
        low: lower limit, None where no honest interval exists.
        high: upper limit, None together with `low`.
        method: of the interval, in short.
        numerator: of a share of one seed, in units.
        denominator: of a share of one seed, in units.
        too_few: why there is no interval, where groups are too few.
        no_interval: why there is none, where it is something else.
        undefined: why there is no value.
        range_if_calibrated: for the calibration error, where it would lie if the probabilities were right.
        note: what must stand beside it.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    numerator: int | None = None
    denominator: int | None = None
    too_few: str | None = None
    no_interval: str | None = None
    undefined: str | None = None
    range_if_calibrated: tuple[float, float] | None = None
    note: str | None = None

    def with_interval(self, low: float | None, high: float | None, method: str) -> Cell:
        """Return the cell with limits."""
        return replace(self, low=low, high=high, method=method)

    def as_json(self) -> dict[str, Any]:
        """Return value and limits, and of the rest what there is."""
        content = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in content.items() if value is not None or name in ("value", "low", "high")}


@dataclass(frozen=True)
class Part:
    """Units that one model scored, and what to call them in a sentence.

    Attributes:
        where: such as "fold 2 of seed 0".
        scored: the units.
    """

    where: str
    scored: Scored


@dataclass(frozen=True)
class Conditions:
    """How figures are to be stated.

    Attributes:
        classes: names of the K classes.
        sampling: how the cases came together.
        prevalence: stated, of disease where the model is to be used.
        are_shifted: whether the probabilities that are measured were shifted to that prevalence.
    """

    classes: tuple[str, ...]
    sampling: Sampling
    prevalence: float | None
    are_shifted: bool = False

    @property
    def metrics(self) -> dict[str, Metric]:
        """What is measured, by name, re-weighted where that is asked for."""
        several = len(self.classes) > 2
        metrics = METRICS_OF_SEVERAL_CLASSES if several else {**METRICS, **CALIBRATION_METRICS}
        return {name: self._reweighted(name, metric) for name, metric in metrics.items()}

    def is_reweighted(self, name: str) -> bool:
        """Whether the metric is given at the stated prevalence: it depends on it, and the cases' own means nothing.

        The calibration error is not: its range under perfect calibration is that of these cases.
        """
        asked = self.prevalence is not None and self.sampling != "consecutive"
        return asked and name != "ece" and depends_on_prevalence(name, len(self.classes))

    def completed(self, name: str, cell: Cell, parts: Sequence[Part]) -> Cell:
        """Return the cell with what must stand beside it, and with the reason where it has no value."""
        note = "; ".join(self._notes(name, parts)) or None
        if name == "auroc" and all(is_constant(part.scored) for part in parts):
            return Cell(cell.value, no_interval=_CHANCE_BY_DEFINITION, note=note)
        if cell.value is not None:
            return replace(cell, note=note)
        metric = self.metrics[name]
        part = next(part for part in parts if np.isnan(value_of(metric, part.scored)))
        where = f" in {part.where}" if len(parts) > 1 else ""
        return Cell(None, undefined=why_undefined(name, part.scored, self.classes) + where, note=note)

    def _notes(self, name: str, parts: Sequence[Part]) -> Iterator[str]:
        several = len(self.classes) > 2
        if several and name in _MACRO_NOTES:
            yield _MACRO_NOTES[name]
        if name == "quadratic_weighted_kappa":
            yield f"only where the classes have an order, and it is {' < '.join(self.classes)}"
        reweighted = self.is_reweighted(name)
        if reweighted:
            # For use there probabilities are shifted first (`prevalence_shift.py`).
            shifted = f", probabilities {'' if self.are_shifted else 'not '}shifted to it"
            yield f"at a prevalence of {self.prevalence:g}" + (shifted if name in _OF_PROBABILITIES else "")
        of_this_set = prevalence_note(name, self.sampling, reweighted=reweighted, num_classes=len(self.classes))
        if of_this_set is not None:
            yield of_this_set
        if name in CALIBRATION_METRICS:
            yield from _bounded_note(parts)

    def _reweighted(self, name: str, metric: Metric) -> Metric:
        if self.prevalence is None or not self.is_reweighted(name):
            return metric
        return at_prevalence(metric, self.prevalence)


def is_constant(scored: Scored) -> bool:
    """Return whether all units have the same probabilities, so that none ranks above another."""
    return bool(np.ptp(scored.probabilities, axis=0).max() == 0)


def value_of(metric: Metric, scored: Scored) -> float:
    """Return the metric of the units as they are."""
    return float(metric(scored, np.ones((1, len(scored.labels))))[0])


def values_of(metric: Metric, parts: Sequence[Part]) -> Floats:
    """Return the (P,) values of the metric."""
    return np.array([value_of(metric, part.scored) for part in parts])


def too_few_groups(scored: Scored, groups: Integers, classes: Sequence[str]) -> str | None:
    """Return the sentence that says which averaged classes too few groups hold for any interval, or None."""
    counts = num_groups_holding(scored, groups)
    few = [f"{classes[index]!r} ({counts[index]})" for index in scored.averaged_classes if _is_few(int(counts[index]))]
    return _sentence(f"groups with units of {', '.join(few)}") if few else None


def num_groups_of_smallest_class(scored: Scored, groups: Integers) -> int:
    """Return how many groups hold the averaged class that the fewest hold."""
    return int(num_groups_holding(scored, groups)[list(scored.averaged_classes)].min())


def too_few_in_denominator(num_groups: int, what: str, *, needed: int = MIN_GROUPS_IN_A_CLASS) -> str | None:
    """Return the same for a share of units that `num_groups` groups hold."""
    return _sentence(f"groups with units that {what}: {num_groups}", needed) if num_groups < needed else None


def why_undefined(name: str, scored: Scored, classes: Sequence[str]) -> str:
    """Return in words why a metric has no value for these units."""
    called = np.unique(scored.predicted)
    if name in ("ppv", "npv") and scored.num_classes == 2:
        return f"nothing was called {'positive' if name == 'ppv' else 'negative'}"
    if name in ("mcc", "npv"):
        return f"everything was called {classes[called[0]]!r}"
    if name == "ppv":
        never = [classes[index] for index in scored.measured_classes if index not in called]
        return f"nothing was called {never[0]!r}"
    if name.startswith("calibration"):
        if is_bounded(scored.probabilities[:, 0]).all():
            return "all probabilities are 0 or 1"
        return (
            "all probabilities are the same" if is_constant(scored) else "the probabilities part the classes perfectly"
        )
    return "it does not exist for these units"


def _bounded_note(parts: Sequence[Part]) -> list[str]:
    """What is done to probabilities of 0 and 1 before log-odds are taken; nothing where none has others."""
    are_bounded = [is_bounded(part.scored.probabilities[:, 0]) for part in parts]
    number = sum(int(of_part.sum()) for of_part in are_bounded)
    if number == 0 or any(of_part.all() for of_part in are_bounded):
        return []
    return [
        f"{number} unit{'s' if number > 1 else ''} at 0 or 1 {'are' if number > 1 else 'is'} taken as 2^-25 from it"
    ]


def _is_few(num_groups: int) -> bool:
    return num_groups < MIN_GROUPS_IN_A_CLASS


def _sentence(held: str, needed: int = MIN_GROUPS_IN_A_CLASS) -> str:
    return f"too few {held}; an interval needs {needed}"
