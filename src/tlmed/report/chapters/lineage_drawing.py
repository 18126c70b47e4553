"""The chain as it was trained: starting weights, stages, arms; what arms share stands once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from tlmed.report.parts import Drawing
from tlmed.report.svg_sheet import WIDTH, Look, SvgSheet
from tlmed.runtime.progress import format_seconds

PROBE = "logistic-regression"
_INDENT, _GAP, _ELBOW = 22, 12, 17
_CAPTION = (
    "Weights flow from a box to those below it on its line; behind an arrow stands the arm that ends there. Counts are "
    "of the images trained on. What several arms share was trained once and stands once; the heavy frame is the "
    "delivered arm, dashed frames are controls. Times are means over trainings, as measured when they ran."
)
_FILE = re.compile(r"(file|bundle):(.*)")


@dataclass
class TrainedStep:
    """The trainings of one stage that differ in seed and fold alone, or what they begin with.

    Attributes:
        name: of the stage, or the starting weights.
        stages: of `lineage.json`, one a training; none of starting weights.
        arms: that end here.
        children: what goes on from here, by what tells them apart.
    """

    name: str
    stages: list[Mapping[str, Any]] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    children: dict[tuple[Any, ...], TrainedStep] = field(default_factory=dict)

    @property
    def takes_steps(self) -> bool:
        """Whether it is trained by steps of an optimiser."""
        return bool(self.stages) and self.stages[0]["strategy"] != PROBE


def trained_steps(lineage: Mapping[str, Any]) -> list[TrainedStep]:
    """Return the trees of all trainings, one for each way to begin.

    Args:
        lineage: content of `lineage.json`.
    """
    starts: dict[str, TrainedStep] = {}
    keys_of_arms: dict[str, set[str]] = {}
    for fit in lineage["fits"]:
        keys_of_arms.setdefault(fit["arm"], set()).add(fit["key"])
    for fit in lineage["fits"]:
        chain = _chain(lineage["stages"], fit["key"])
        start = _without_folders(chain[0]["start"])
        step = starts.setdefault(start, TrainedStep(start))
        for stage in chain:
            # Seeds and folds stand in one box; arms that end on the very same trainings as well.
            ends = tuple(sorted(keys_of_arms[fit["arm"]])) if stage is chain[-1] else ()
            told_apart = (stage["name"], stage["strategy"], stage["control"], ends)
            step = step.children.setdefault(told_apart, TrainedStep(stage["name"]))
            if not any(stage is one for one in step.stages):
                step.stages.append(stage)
        if fit["arm"] not in step.arms:
            step.arms.append(fit["arm"])
    return list(starts.values())


def draw_lineage(lineage: Mapping[str, Any], delivered: str, controls: Mapping[str, str]) -> list[Drawing]:
    """Draw a tree for each way to begin; what goes on from a box stands below it and to the right.

    Args:
        lineage: content of `lineage.json`.
        delivered: the arm that became the bundle.
        controls: the control arms and what kind each is.
    """
    drawings = []
    for number, root in enumerate(trained_steps(lineage)):
        sheet = SvgSheet()
        _draw(sheet, root, 0, 1.0, _Marks(delivered, controls))
        title, in_words = f"From {root.name}", f"{_in_words(root)}."
        caption = _CAPTION if number == 0 else "Read as the one above."
        drawings.append(Drawing(f"lineage-{number}", title, in_words, caption, sheet.render(title, in_words)))
    return drawings


def _chain(stages: Mapping[str, Mapping[str, Any]], key: str | None) -> list[Mapping[str, Any]]:
    """The stages up to one, the first first."""
    chain: list[Mapping[str, Any]] = []
    while key is not None:
        chain.append(stages[key])
        key = stages[key]["parent"]
    return chain[::-1]


def _without_folders(start: str) -> str:
    """Where weights lay is nobody's concern but the machine's."""
    return _FILE.sub(lambda found: f"{found[1]}:{PurePath(found[2]).name}", start)


@dataclass(frozen=True)
class _Marks:
    """What is said of arms.

    Attributes:
        delivered: the arm that became the bundle.
        controls: the control arms and what kind each is.
    """

    delivered: str
    controls: Mapping[str, str]

    def of(self, arm: str) -> str:
        """Such as ` (delivered)`."""
        told = "delivered" if arm == self.delivered else self.controls.get(arm)
        return "" if told is None else f" ({told})" if arm == self.delivered else f" (control: {told})"


def _draw(sheet: SvgSheet, step: TrainedStep, depth: int, y: float, marks: _Marks) -> float:
    """Draw a step and what is below it; returns where that ends."""
    x = depth * _INDENT
    is_control = _is_control(step) or any(arm in marks.controls for arm in step.arms)
    look: Look = "strong" if marks.delivered in step.arms else "dashed" if is_control else "plain"
    title, lines = (_title(step), [_details(step)]) if step.stages else (f"Start: {step.name}", [])
    if step.arms:
        title = f"{title} -> {', '.join(f'{arm}{marks.of(arm)}' for arm in step.arms)}"
    bottom = sheet.box(x, y, WIDTH - x, title, lines, look=look)
    trunk = bottom
    for child in step.children.values():
        top = bottom + _GAP
        bottom = _draw(sheet, child, depth + 1, top, marks)
        sheet.arrow((x + _ELBOW / 2, trunk), (x + _ELBOW / 2, top + _ELBOW), (x + _INDENT, top + _ELBOW))
        trunk = top + _ELBOW
    return bottom


def _is_control(step: TrainedStep) -> bool:
    return bool(step.stages) and step.stages[0]["control"] is not None


def _title(step: TrainedStep) -> str:
    strategy, control = step.stages[0]["strategy"], step.stages[0]["control"]
    how = f", {strategy}" if strategy != "finetune" else ""
    return f"{step.name}{how}{f' ({control})' if control is not None else ''}"


def _details(step: TrainedStep) -> str:
    first = step.stages[0]
    seeds = sorted({stage["seed"] for stage in step.stages})
    images = f"{_range([stage['num_train_images'] for stage in step.stages])} images, {len(first['classes'])} classes"
    work = ["no steps"]
    if step.takes_steps:
        work = [f"{_range([stage[name] for stage in step.stages])} {name}" for name in ("epochs", "steps")]
    seconds = [stage["seconds"] for stage in step.stages if stage["seconds"] is not None]
    work.append(format_seconds(sum(seconds) / len(seconds)) if seconds else "time not measured")
    told = f"{images}; {', '.join(work)}; seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    return told if len(step.stages) == len(seeds) else f"{told}, {len(step.stages)} trainings"


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _in_words(step: TrainedStep) -> str:
    """Such as `from random weights: target, 520 steps (arm scratch)`."""
    title = f"From {step.name}"
    if step.stages:
        arms = f" (arm {', '.join(step.arms)})" if step.arms else ""
        work = f"{_range([stage['steps'] for stage in step.stages])} steps" if step.takes_steps else "no steps"
        title = f"{_title(step)}, {work}{arms}"
    below = "; ".join(_in_words(child) for child in step.children.values())
    return f"{title}{': ' if not step.stages else ', then ' if below else ''}{below}"
