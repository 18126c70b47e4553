"""The most confident errors of the delivered arm, with pictures: what a model gets wrong shows what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlmed.report.parts import Gallery, Section, Shot
from tlmed.report.record.delivered_arm import DeliveredArm

_MEANING = {"false positive": "called positive, and not", "false negative": "called negative, and positive"}


def error_galleries(
    folder: Path, pictures: Mapping[str, Any] | None, delivered: DeliveredArm
) -> list[Gallery | Section]:
    """Return a gallery for each kind of error, or why there is none.

    Args:
        folder: of the run.
        pictures: content of `pictures.json`.
        delivered: arm.
    """
    if pictures is None:
        return [Section("", ("No pictures of cases are at hand here.",))]
    kinds = dict.fromkeys(["false positive", "false negative"] if delivered.positive else ())
    kinds |= dict.fromkeys(error["kind"] for error in pictures["errors"])
    if not kinds:
        return [Section("", (f"The delivered arm called no test unit wrongly. {delivered.threshold}",))]
    return [
        _gallery(folder, kind, [error for error in pictures["errors"] if error["kind"] == kind], delivered)
        for kind in kinds
    ]


def _gallery(folder: Path, kind: str, errors: list[dict[str, Any]], delivered: DeliveredArm) -> Gallery | Section:
    meaning = f"{kind[0].upper()}{kind[1:]}s" if kind in _MEANING else f"Wrongly {kind}"
    if not errors:
        return Section(meaning, ("None on test.",))
    shots = tuple(
        Shot(
            (folder / error["file"]).read_bytes(),
            f"{kind.capitalize()}: a {error['label']} case of group {error['group']}, score {error['score']:.2f}",
            f"{error['unit']}; group {error['group']}; {error['label']}; score {error['score']:.2f}",
        )
        for error in errors
    )
    first = delivered.units["seed"].iloc[0]
    told = f"{_MEANING[kind].capitalize()}. " if kind in _MEANING else ""
    by = "the threshold" if delivered.positive else "chance"
    return Gallery(
        meaning,
        f"{told}The {len(shots)} furthest from {by}, of the delivered model (seed {first}); the score is the "
        f"calibrated probability. {delivered.threshold} Small pictures, not for reading.",
        shots,
    )
