"""Items of page one about the cases, how the test was conducted, and where the data come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlmed.evaluation.assessment.case_data import counted, plural
from tlmed.evaluation.comparison.sentences import sentence_of_registration
from tlmed.recipe.data import DataSettings
from tlmed.recipe.recipe import NO_WEIGHTS, resolve_arms
from tlmed.report.page_one.wording import independent_noun
from tlmed.report.parts import Grid, Section
from tlmed.report.record.case_counts import Tested, positive_classes, tested_cases
from tlmed.report.record.run_record import RunRecord
from tlmed.report.run.run_summary import openings_in_words

NOT_STATED = "not stated"
NO_COPIES = "no copies left"
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
    units = counted(tested.num_units, tested.unit)
    out = ", each held out once a repeat" if record.metrics["num_folds"] is not None else ""
    if tested.num_groups is None:
        return f"Tested: {units}{out}. Which of them belong to one patient is not known."
    both = sum(tested.num_groups_by_class.values()) > tested.num_groups
    twice = f" A {tested.group} with images of two classes counts in both." if both else ""
    return f"Tested: {counted(tested.num_groups, tested.group)}, {units}{out}.{twice}"


def _by_split(record: RunRecord, tested: Tested) -> Grid:
    """A row a class, the positive ones first; of many classes the first, and how many more there are."""
    domain, positive = record.domains[record.recipe.target.name], positive_classes(record)
    splits = [split for split in _SPLITS if split in domain["num_images"]]
    splits += [split for split in domain["num_images"] if split not in splits]
    labels = sorted(
        {label for split in splits for label in domain["num_images"][split]},
        key=lambda label: (label not in positive, label),
    )
    rows = [
        (
            f"{label} (positive)" if label in positive else label,
            *(_cell(domain, split, label, tested) for split in splits),
        )
        for label in labels[:_MAX_CLASSES]
    ]
    if len(labels) > _MAX_CLASSES:
        rows.append((f"{len(labels) - _MAX_CLASSES} more classes", *("" for _ in splits)))
    return Grid(("class", *(_SPLITS.get(split, split) for split in splits)), tuple(rows))


def _cell(domain: Mapping[str, Any], split: str, label: str, tested: Tested) -> str:
    kinds = {"num_groups": tested.group, "num_units": tested.unit, "num_images": "image"}
    if tested.num_groups is None:
        kinds.pop("num_groups")
    told = {noun: counted(domain[name][split].get(label, 0), noun) for name, noun in kinds.items()}
    return ", ".join(told.values())


def conduct(record: RunRecord) -> Section:
    """Whether the question stood before test was opened; waivers, exclusions, times it was opened, seeds, trials."""
    metrics, comparison = record.metrics, record.comparison
    external = "".join(
        f" External set {name}: opened {counted(number, 'time')}."
        for name, number in metrics["external_openings"].items()
    )
    return Section(
        "How the test was kept honest",
        (
            *([] if comparison is None else [sentence_of_registration(comparison["registered"])]),
            f"Waived: {', '.join(record.audit['waived']) or 'nothing'}. Left out: {_exclusions(record)}.",
            f"{openings_in_words(int(metrics['test_openings']))}{external}",
            f"{_seeds(record)} Settings tried in this run: "
            f"{_trials(record)}; what other runs tried shows in the count of openings alone.",
        ),
    )


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
        seeds = next(iter(by_arm.values()))
        if len(seeds) == 1:
            return f"Trained once, with one seed (number {seeds[0]})."
        told = ", ".join(map(str, seeds))
    else:
        told = "; ".join(f"{arm} {', '.join(map(str, seeds))}" for arm, seeds in by_arm.items())
    return f"Seeds (trainings repeated with other random numbers), by their numbers: {told}."


def _trials(record: RunRecord) -> str:
    choose = record.recipe.evaluation.choose
    if choose is None:
        return "one an arm"
    return f"{len(choose.among)} an arm ({', '.join(choose.among)}), chosen by inner folds, never on test"


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
            "none found",
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
    given = (
        " What the starting weights were trained on is not known here, and all results hold for this checkpoint: other "
        "weights of the same kind may come out otherwise."
    )
    untold = given if _starting_weights(record) else ""
    return Section(
        "Where the data come from",
        (
            f"Overlap with test means the same {plural(independent_noun(record))}, identical files and near-copies."
            f"{untold}",
        ),
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
        if left:
            return f"found and waived: {', '.join(left)}"
        return _none_left(record, name) if record.metrics["groups_known"] else _only_copies(record)
    target = record.domains[record.recipe.target.name]
    if record.recipe.stage(name).data.phantom is not None:
        return "no identical files left"
    # Ids of different columns are not the same persons.
    comparable = record.domains[name]["group_column"] == target["group_column"] is not None
    return _none_left(record, name) if comparable else _only_copies(record)


def _none_left(record: RunRecord, name: str) -> str:
    dropped = record.domains[name]["num_dropped"]
    return f"none left; {counted(dropped, 'image')} taken out" if dropped else "none found"


def _only_copies(record: RunRecord) -> str:
    return f"{NO_COPIES}; {plural(independent_noun(record))} cannot be checked"


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
