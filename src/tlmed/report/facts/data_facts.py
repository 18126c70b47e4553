"""What a run knows of its data: sources, classes, division, numbers, what was left out."""

from __future__ import annotations

from collections.abc import Mapping

from tlmed.evaluation.assessment.case_data import counted, plural
from tlmed.recipe.recipe import Recipe, image_of
from tlmed.report.facts.fact import Fact, classes_of, positive_in_words, synthetic_domains
from tlmed.report.figure_text import listed
from tlmed.report.record.case_counts import tested_cases
from tlmed.report.record.run_record import RunRecord
from tlmed.report.record.small_counts import NOT_SHOWN

_FIT = {
    "squash": "without keeping its aspect ratio, which would tell where it comes from",
    "letterbox": "with bars that keep its aspect ratio",
    "crop": "after cropping to the largest centred square",
}
_SAMPLING = {
    "consecutive": "The cases are consecutive.",
    "case-control": "The cases were sampled by class (case-control), so that their shares are not those of any clinic.",
    "unknown": "How the cases came together is not stated.",
}
_SPLITS = {"train": "training", "val": "validation"}


def data_sources(record: RunRecord) -> Fact:
    """Of every domain: what it is, and where that is written down."""
    synthetic = synthetic_domains(record)
    told = []
    for name, domain in record.domains.items():
        role = "The target domain" if name == record.recipe.target.name else "An earlier domain"
        if name in synthetic:
            told.append(f"{role}, {name}, is synthetic: drawn by a program ({domain['source']}).")
        else:
            reference, licence = (domain[key] or "not stated" for key in ("reference", "licence"))
            is_hidden = domain["source"] == NOT_SHOWN
            source = "comes from a place that is not shown" if is_hidden else f"is {domain['source']}"
            told.append(f"{role}, {name}, {source} (reference: {reference}; licence: {licence}).")
    return Fact(" ".join(told), "domains.json")


def sampling(record: RunRecord) -> Fact:
    """How the cases came together."""
    evaluation = record.recipe.evaluation
    stated = evaluation.prevalence
    where = "" if stated is None else f" The prevalence where the model is to be used is stated as {stated:g}."
    return Fact(_SAMPLING[evaluation.sampling] + where, "recipe: evaluation.sampling, evaluation.prevalence")


def classes(record: RunRecord) -> Fact:
    """What is told apart."""
    positive = positive_in_words(record)
    counted = "no class counts as positive" if positive is None else f"{positive} counts as positive"
    return Fact(f"The classes are {listed(classes_of(record))}; {counted}.", "predictions.parquet, recipe: evaluation")


def predictors(record: RunRecord) -> Fact:
    """The pixels of the prepared image, and nothing else."""
    recipe = record.recipe
    return Fact(
        f"The predictors are the pixels of the image after it was brought to {_size(recipe)} in {_colour(recipe)}, "
        f"{_FIT[recipe.image.fit]}. What is finer than that, or lost by it, the network does not see. No clinical "
        "variable is used, and nobody reads or selects the pixels.",
        f"recipe: image, chain: {record.recipe.target.name}",
    )


def preprocessing(record: RunRecord) -> Fact:
    """The one form of every image."""
    recipe = record.recipe
    sizes = {stage.name: image_of(recipe, stage).size for stage in recipe.chain}
    alike = len(set(sizes.values())) == 1
    others = "" if alike else f" ({listed(f'{name}: {edge}' for name, edge in sizes.items())})"
    return Fact(
        f"Every image was brought to {_size(recipe)}{others} in {_colour(recipe)}, {_FIT[recipe.image.fit]}; values "
        "were scaled by a fixed range, never image by image, and the same was done to every image.",
        "recipe: image",
    )


def _size(recipe: Recipe) -> str:
    edge = image_of(recipe, recipe.target).size
    return f"{edge} x {edge} pixels"


def _colour(recipe: Recipe) -> str:
    return "one grey channel" if recipe.image.mode == "grey" else "three colour channels"


def missing_data(record: RunRecord) -> Fact:
    """What could not be read, and that nothing was made up for it."""
    unreadable = listed(
        f"{counted(domain['num_unreadable'], 'image')} of {name}" for name, domain in record.domains.items()
    )
    return Fact(
        f"Nothing was imputed. Images that could not be read were left out: {unreadable}.", "domains.json, audit.json"
    )


def exclusions(record: RunRecord) -> Fact:
    """What was dropped."""
    told = (
        f"of {name} {counted(domain['num_dropped'], 'image')} as copies, contradicting labels or leaks, and "
        f"{counted(domain['num_unreadable'], 'image')} as unreadable"
        for name, domain in record.domains.items()
    )
    return Fact(f"Left out were {'; '.join(told)}.", "domains.json, audit.json")


def partition(record: RunRecord) -> Fact:
    """How the target was divided."""
    protocol = record.recipe.evaluation.protocol
    stratified = "by group and stratified by class"
    told = {
        "manifest": "The division into training, validation and test is the data set's own.",
        "holdout": f"A test set of {100 * protocol.test_fraction:g} % of the groups was drawn at random, {stratified}.",
        "kfold": f"{protocol.folds}-fold cross-validation was repeated {protocol.repeats} times with new folds, drawn "
        f"{stratified}.",
        "temporal": "Models were trained on the past and tested on what came later"
        + (f" than {protocol.train_until}." if protocol.train_until else "."),
        "leave-one-source-out": "Each source was left out of training in turn and tested on.",
    }[protocol.split]
    return Fact(told, "recipe: evaluation.protocol, splits.csv")


def disjointness(record: RunRecord) -> Fact:
    """At which level the parts share nothing, and of which domains that is not known."""
    target, synthetic = record.recipe.target.name, synthetic_domains(record)
    column = record.domains[target]["group_column"]
    others = [name for name in record.domains if name != target and name not in synthetic]
    unknown = [name for name in others if record.domains[name]["group_column"] is None]
    incomparable = [name for name in others if name not in unknown and record.domains[name]["group_column"] != column]
    told = [_disjointness_of_target(record, column)]
    told += [
        f"But {counted(int(one['value']), 'patient')} have images in more than one part, for images are grouped by "
        "something finer than patients."
        for one in record.audit["findings"]
        if one["kind"] == "coarser_group" and one["details"]["stage"] == target
    ]
    if unknown:
        told.append(
            f"Which images of {listed(unknown)} are of one patient is not known, so neither is whether such a patient "
            "stands in two parts, or in the target's test as well."
        )
    if incomparable:
        told.append(
            f"The groups of {listed(incomparable)} are named otherwise than the target's: whether both hold the same "
            "patients is not known."
        )
    without = [*unknown, *([target] if not record.metrics["groups_known"] else [])]
    missing = tuple(f"data.group_pattern (or a patient column) of {name}" for name in without)
    return Fact(" ".join(told), "domains.json, audit.json, recipe: waive", missing)


def _disjointness_of_target(record: RunRecord, column: str | None) -> str:
    if not record.metrics["groups_known"]:
        return (
            "It is not known which images are of one patient: the parts are disjoint by image alone, and leakage "
            "between them cannot be excluded."
        )
    leaks = [kind for kind in record.recipe.waive if kind != "groups_unknown"]
    waived = f" Waived, so that what was found stayed in: {listed(leaks)}." if leaks else ""
    if "group_overlap" in leaks:
        return f"That groups ({column}) stand in several parts was accepted.{waived}"
    return f"No group ({column}) of the target stands in two parts.{waived}"


def counts(record: RunRecord) -> Fact:
    """Images and groups by part and class, and what was tested."""
    tested, target = tested_cases(record), record.domains[record.recipe.target.name]
    groups = plural(tested.group)
    parts = []
    for split, images in target["num_images"].items():
        known = f" ({_by_class(target['num_groups'][split])} {groups})" if tested.num_groups is not None else ""
        parts.append(f"{_SPLITS.get(split, split)}: {_by_class(images)} images{known}")
    of_groups = f" of {counted(tested.num_groups, tested.group)}" if tested.num_groups is not None else ""
    by_class = "; ".join(f"{label}: {tested.of_class(label)}" for label in tested.num_units_by_class)
    return Fact(
        f"The target's parts hold: {'; '.join(parts)}. Tested were {counted(tested.num_units, tested.unit)}"
        f"{of_groups} ({by_class}).",
        "domains.json, predictions.parquet",
    )


def audit(record: RunRecord) -> Fact:
    """What was looked for before training, and found."""
    found = {(finding["severity"], finding["kind"]) for finding in record.audit["findings"]}
    told = [
        f"{title}: {listed(kinds)}."
        for of, title in (("error", "Errors, waived"), ("warning", "Warnings"))
        if (kinds := sorted(kind for severity, kind in found if severity == of))
    ]
    looked = (
        "Before training, the images were searched for groups and copies in several parts or stages, and the target's "
        "for what tells the class without the disease."
    )
    return Fact(
        " ".join([looked, *(told or ["Nothing above a note was found."]), *record.audit["not_done"]]), "audit.json"
    )


def _by_class(numbers: Mapping[str, object]) -> str:
    return listed(f"{number} {name}" for name, number in numbers.items())
