"""The settings that a run was made with, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlmed.recipe.recipe import StageSettings, image_of, training_of
from tlmed.report.facts.fact import trained_arms
from tlmed.report.facts.training_facts import starting_weights
from tlmed.report.parts import Chapter, Grid, Section
from tlmed.report.record.run_record import RunRecord

_OF_DATA = ("use", "duplicates", "on_leak", "on_bad_image")


def settings_chapter(record: RunRecord) -> Chapter:
    """Return the resolved settings of every stage, the arms, the evaluation, the machine and the software."""
    parts = (_stages(record), _arms(record), _evaluation(record), _runtime(record), _versions(record))
    return Chapter("Settings", "settings", parts)


def _stages(record: RunRecord) -> Section:
    stages = {stage.name: dict(_of_stage(record, stage)) for stage in record.recipe.chain}
    names = dict.fromkeys(name for settings in stages.values() for name in settings)
    rows = tuple((name, *(settings.get(name, "-") for settings in stages.values())) for name in names)
    note = "As resolved: presets are written out. Where an arm trains the target in its own way, the next table says."
    return Section("Stages of the chain", (note,), Grid(("setting", *stages), rows))


def _of_stage(record: RunRecord, stage: StageSettings) -> Iterator[tuple[str, str]]:
    data = stage.data.model_dump(mode="json", include=set(_OF_DATA))
    yield "source", record.domains[stage.name]["source"]
    yield from ((f"data.{name}", _value(data[name])) for name in _OF_DATA)
    yield from _flat({"image": image_of(record.recipe, stage).model_dump(mode="json")})
    yield "strategy", stage.strategy.kind
    yield "seed", "the run's" if stage.seed is None else str(stage.seed)
    yield from _flat(training_of(record.recipe, stage).model_dump(mode="json"))


def _arms(record: RunRecord) -> Section:
    rows = tuple(
        (
            arm.name,
            starting_weights(arm.weights),
            ", ".join(arm.stages),
            arm.strategy.kind,
            ", ".join(f"{name} {value}" for name, value in _flat(arm.training)) or "-",
            arm.control or "-",
        )
        for arm in trained_arms(record)
    )
    header = ("arm", "start", "stages", "strategy on the target", "own training of the target", "control")
    return Section("Arms", grid=Grid(header, rows))


def _evaluation(record: RunRecord) -> Section:
    # External sets are named with their results; of their settings only the way to them is new.
    content = record.recipe.evaluation.model_dump(mode="json", exclude={"external"})
    content |= {"waive": list(record.recipe.waive), "deliver": record.recipe.delivered_arm}
    return Section("Evaluation", grid=Grid(("setting", "value"), tuple(_flat(content))))


def _runtime(record: RunRecord) -> Section:
    content = {"backbone": record.recipe.backbone.model_dump(mode="json")}
    content |= record.recipe.runtime.model_dump(mode="json")
    return Section("Network and machine", grid=Grid(("setting", "value"), tuple(_flat(content))))


def _versions(record: RunRecord) -> Section:
    if record.bundle is None:
        return Section("Software", ("No model was delivered, and its bundle is what holds the versions.",))
    rows = tuple((name, str(version)) for name, version in record.bundle["versions"].items())
    return Section("Software", grid=Grid(("package", "version"), rows))


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as lines, such as `views.shift`."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value, start=1):
                yield from _flat(one, f"{prefix}{name} {number}.")
        else:
            yield f"{prefix}{name}", _value(value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ([], {}):
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
