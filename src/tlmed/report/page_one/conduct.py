"""Items of page one about the cases, how the test was conducted, and where the data come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tlmed.recipe.data import DataSettings
from tlmed.recipe.recipe import NO_WEIGHTS, resolve_arms
from tlmed.report.parts import Grid, Section
from tlmed.report.record.case_counts import Tested, counted, positive_classes, tested_cases
from tlmed.report.record.run_record import RunRecord
from tlmed.report.run.run_summary import openings_in_words

NOT_STATED = "not stated"
FILES_ALONE = "files checked; groups cannot be checked"
_SPLITS = {"test": "test", "val": "validation", "train": "training"}
_MAX_CLASSES = 8
_MADE_HERE = "synthetic, made by tlmed"
_STARTING_POINTS = {"file": "a file", "hub": "a hub", "bundle": "a bundle"}


def cases_tested(record: RunRecord) -> Section:
    """Groups, units and images by class and split; sampling, years, reference standard."""
    tested = tested_cases(record)
    study = record.recipe.study
    sampling = record.metrics["sampling"]
    return Section(
        "Who was tested",
        (
            _tested(record, tested),
            f"Sampling: {NOT_STATED if sampling == 'unknown' else sampling}. "
            f"Years: {study.years or NOT_STATED}. Reference standard: {study.reference_standard or NOT_STATED}.",
        ),
        _by_split(record, tested),
    )


def _tested(record: RunRecord, tested: Tested) -> str:
    positive = positive_classes(record)
    labels = sorted(tested.num_units_by_class, key=lambda label: label not in positive)
    shown = [
        f"{label}{' (positive)' if label in positive else ''}: {tested.of_class(label)}"
        for label in labels[:_MAX_CLASSES]
    ]
    more = [f"{len(labels) - _MAX_CLASSES} more classes"] if len(labels) > _MAX_CLASSES else []
    units = counted(tested.num_units, tested.unit)
    out = ", each held out once a repeat" if record.metrics["num_folds"] is not None else ""
    by_class = "; ".join([*shown, *more])
    if tested.num_groups is None:
        return f"Tested: {units}{out} ({by_class}). Which of them belong to one patient is not known."
    both = sum(tested.num_groups_by_class.values()) > tested.num_groups
    twice = f" A {tested.group} with images of two classes counts in both." if both else ""
    return f"Tested: {counted(tested.num_groups, tested.group)}, {units}{out} ({by_class}).{twice}"


def _by_split(record: RunRecord, tested: Tested) -> Grid:
    domain = record.domains[record.recipe.target.name]
    splits = [split for split in _SPLITS if split in domain["num_images"]]
    splits += [split for split in domain["num_images"] if split not in splits]
    labels = sorted({label for split in splits for label in domain["num_images"][split]})
    rows = [(label, *(_cell(domain, split, label, tested) for split in splits)) for label in labels[:_MAX_CLASSES]]
    return Grid(("class", *(_SPLITS.get(split, split) for split in splits)), tuple(rows))


def _cell(domain: Mapping[str, Any], split: str, label: str, tested: Tested) -> str:
    kinds = {"num_groups": tested.group, "num_units": tested.unit, "num_images": "image"}
    if tested.num_groups is None:
        kinds.pop("num_groups")
    told = {noun: counted(domain[name][split].get(label, 0), noun) for name, noun in kinds.items()}
    return ", ".join(told.values())


def conduct(record: RunRecord) -> Section:
    """Waivers, exclusions, times test was opened, seeds, trials; whether the question stood before test was opened."""
    metrics = record.metrics
    external = "".join(
        f" External set {name}: opened {counted(number, 'time')}."
        for name, number in metrics["external_openings"].items()
    )
    return Section(
        "How the test was kept honest",
        (
            *_registered(record),
            f"Waived: {', '.join(record.audit['waived']) or 'nothing'}. Left out: {_exclusions(record)}.",
            openings_in_words(int(metrics["test_openings"])) + external,
            f"Seeds: {_seeds(record)}. Settings tried an arm: {_trials(record)}.",
        ),
    )


def _registered(record: RunRecord) -> Iterator[str]:
    if record.comparison is None:
        return
    registered = record.comparison["registered"]
    if registered is None:
        yield "When the primary contrast was chosen is not known: before or after looking."
        return
    if registered["changed_after_looking"] is not None:
        yield f"Changed after looking: {registered['changed_after_looking']}"
    else:
        yield (
            f"The primary contrast was fixed before test was opened ({_minute(registered['time'])}, digest "
            f"{registered['digest'][:12]})."
        )
    others = registered["others_on_this_test"]
    if others:
        asked = counted(others, "other primary contrast")
        yield f"{asked} had been asked of this test set; the more there are, the more may be luck."


def _minute(time: str) -> str:
    """Return such as "2026-11-26 17:10"."""
    return time[:16].replace("T", " ")


def _exclusions(record: RunRecord) -> str:
    told = []
    for name, domain in record.domains.items():
        parts = []
        if domain["num_dropped"]:
            parts.append(f"{counted(domain['num_dropped'], 'image')} as copies or leaks")
        if domain["num_unreadable"]:
            parts.append(f"{counted(domain['num_unreadable'], 'image')} unreadable")
        if parts:
            told.append(f"of {name} {' and '.join(parts)}")
    return "; ".join(told) or "nothing"


def _seeds(record: RunRecord) -> str:
    pairs = record.predictions[["arm", "seed"]].drop_duplicates()
    by_arm = {str(arm): sorted(part) for arm, part in pairs.groupby("arm", sort=False)["seed"]}
    if len({tuple(seeds) for seeds in by_arm.values()}) == 1:
        return ", ".join(map(str, next(iter(by_arm.values()))))
    return "; ".join(f"{arm} {', '.join(map(str, seeds))}" for arm, seeds in by_arm.items())


def _trials(record: RunRecord) -> str:
    choose = record.recipe.evaluation.choose
    if choose is None:
        return "one, the recipe's"
    return f"{len(choose.among)} ({', '.join(choose.among)}), chosen by inner folds, never on test"


def sources(record: RunRecord) -> Section:
    """Where data and starting weights come from, their licences, and whether overlap with test was looked for."""
    rows = [
        (
            name,
            _source(record.domains[name]),
            _licence(record.domains[name], record.recipe.stage(name).data),
            _overlap(record, name),
        )
        for name in record.domains
    ]
    rows += [
        (
            f"external set {name}",
            NOT_STATED if data.reference is None else data.reference,
            _licence({}, data),
            "checked",
        )
        for name, data in record.recipe.evaluation.external.items()
    ]
    rows += [
        (
            f"starting weights of {', '.join(arms)}",
            _origin(weights),
            _weights_licence(record, weights),
            "cannot be checked",
        )
        for weights, arms in _starting_weights(record).items()
    ]
    untold = " What starting weights were trained on is not known here." if _starting_weights(record) else ""
    return Section(
        "Where the data come from",
        (f"Overlap with test means the same groups, identical files and near-copies.{untold}",),
        Grid(("data", "source", "licence", "overlap with test"), tuple(rows)),
    )


def _source(domain: Mapping[str, Any]) -> str:
    reference, source = domain["reference"], domain["source"]
    return f"{source}; {reference}" if reference else str(source)


def _licence(domain: Mapping[str, Any], data: DataSettings) -> str:
    if data.phantom is not None:
        return _MADE_HERE
    return str(domain.get("licence") or data.licence or NOT_STATED)


def _overlap(record: RunRecord, name: str) -> str:
    """Whether it was looked for, and what is left of it."""
    if name == record.recipe.target.name:
        left = [kind for kind in record.audit["waived"] if kind != "groups_unknown"]
        unknown = not record.metrics["groups_known"]
        if left:
            return f"checked; waived: {', '.join(left)}"
        return FILES_ALONE if unknown else "checked"
    target = record.domains[record.recipe.target.name]
    if record.recipe.stage(name).data.phantom is not None:
        return "identical files checked"
    # Ids of different columns are not the same persons.
    comparable = record.domains[name]["group_column"] == target["group_column"] is not None
    return "checked" if comparable else FILES_ALONE


def _starting_weights(record: RunRecord) -> dict[str, list[str]]:
    """Arms by what they start from, where it was not trained in this run."""
    found: dict[str, list[str]] = {}
    for name, arm in resolve_arms(record.recipe).items():
        if arm.weights != NO_WEIGHTS and not arm.weights.startswith("stage:"):
            found.setdefault(arm.weights, []).append(name)
    return found


def _origin(weights: str) -> str:
    kind, _, rest = weights.partition(":")
    return f"{_STARTING_POINTS[kind]}: {rest.replace(chr(92), '/').rsplit('/', 1)[-1] if kind != 'hub' else rest}"


def _weights_licence(record: RunRecord, weights: str) -> str:
    named = _origin(weights).partition(": ")[2]
    for one in (record.bundle or {}).get("licences", ()):
        if one["what"].startswith("starting weights") and named in one["what"]:
            return one["licence"] or NOT_STATED
    return NOT_STATED
