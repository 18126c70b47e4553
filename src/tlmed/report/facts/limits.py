"""What a run cannot say, from its own facts."""

from __future__ import annotations

from collections.abc import Iterator

from tlmed.evaluation.comparison.sentences import sentence_of_registration
from tlmed.evaluation.intervals import MIN_GROUPS_IN_A_CLASS
from tlmed.recipe.recipe import NO_WEIGHTS
from tlmed.report.facts.fact import Fact, synthetic_domains, trained_arms
from tlmed.report.facts.shortcut_reach import explained_by_shortcuts
from tlmed.report.facts.training_facts import seeds_by_arm, starting_weights
from tlmed.report.figure_text import is_hidden, listed
from tlmed.report.record.case_counts import tested_cases
from tlmed.report.record.run_record import RunRecord
from tlmed.report.run.run_summary import openings_in_words

_CHANCE = 0.5


def limits(record: RunRecord) -> list[str]:
    """Return a sentence for each thing that a reader must not conclude, the gravest first."""
    return [
        *_of_images(record),
        *_of_groups(record),
        *_of_leaks_and_shortcuts(record),
        *_of_training(record),
        *_of_comparison(record),
        *_of_testing(record),
        *_of_probabilities(record),
        *_of_sources(record),
        "It is for research use only, and not a medical device.",
    ]


def limitations(record: RunRecord) -> Fact:
    """Where they stand."""
    return Fact(
        f"{len(limits(record))} limits that follow from the run's own figures stand in the chapter Limits.",
        "all files of the run folder",
    )


def _of_images(record: RunRecord) -> Iterator[str]:
    synthetic = synthetic_domains(record)
    if record.recipe.target.name in synthetic:
        yield "The target's images are synthetic: nothing here is about patients."
    elif synthetic:
        yield f"The images of {listed(synthetic)} are synthetic."


def _of_groups(record: RunRecord) -> Iterator[str]:
    metrics = record.metrics
    if not metrics["groups_known"]:
        yield (
            "It is not known which images are of one patient: leakage cannot be excluded, and the intervals are too "
            "narrow if patients have several."
        )
    tested = tested_cases(record)
    few = [
        f"{label}: {tested.of_class(label)}"
        for label, number in tested.num_groups_by_class.items()
        if number < MIN_GROUPS_IN_A_CLASS
    ]
    if few:
        yield (
            f"Some classes have fewer than {MIN_GROUPS_IN_A_CLASS} {tested.independent} in test ({listed(few)}): what "
            "is measured on them may change with the next one."
        )


def _of_leaks_and_shortcuts(record: RunRecord) -> Iterator[str]:
    metrics = record.metrics
    if record.recipe.waive:
        yield f"Checks were waived: {listed(record.recipe.waive)}; what they guard against is not excluded."
    warned_of = sorted({one["kind"] for one in metrics["audit_warnings"] if one["severity"] == "warning"})
    if warned_of:
        yield (
            f"The audit warns of {listed(warned_of)}; from that alone nobody can say how much of the figures such "
            "things explain."
        )
    followed = [one for one in metrics["usage"] if one["details"]["arm"] == metrics["delivered"]]
    for finding in followed:
        if any(one["is_shortcut"] for one in finding["details"]["variables"]):
            yield (
                f"The score of {metrics['delivered']} follows something of the files or the table that tells the class "
                f"too. {explained_by_shortcuts(finding)}"
            )
    if not followed:
        yield "Whether the score follows a shortcut was not looked at."
    weights = {starting_weights(arm.weights) for arm in trained_arms(record) if arm.weights != NO_WEIGHTS}
    if weights:
        yield (
            f"Whether test images were among those that {listed(sorted(weights))} came from cannot be checked here: "
            "those images are not at hand."
        )


def _of_training(record: RunRecord) -> Iterator[str]:
    once = [arm for arm, seeds in seeds_by_arm(record).items() if len(seeds) == 1]
    if once:
        yield f"One seed alone ({listed(once)}): how much chance in training moves the figures is not known."
    given = sorted({starting_weights(arm.weights) for arm in trained_arms(record) if arm.weights != NO_WEIGHTS})
    given += [f"stage {stage.name}, trained once" for stage in record.recipe.chain if stage.seed is not None]
    if given:
        yield (
            f"What starts from given weights ({listed(given)}) holds for this checkpoint: other weights of the same "
            "kind may come out otherwise."
        )
    if record.metrics["weighted_training"]:
        yield "Training weighed the classes, which distorts the probabilities before calibration."


def _of_comparison(record: RunRecord) -> Iterator[str]:
    comparison = record.comparison
    if comparison is None:
        yield "One arm was trained: whether another way of training does as well is not known."
        return
    if comparison["verdict"]["word"] in ("cannot be told here", "no verdict"):
        yield "Whether the compared arms differ is not settled by this run."
    if comparison["contrasts"][0]["speaks_for"] == "b":
        yield "The comparison holds with this training set: another of the same size may give another answer."
    registered = comparison["registered"]
    is_clean = registered is not None and not any(
        registered[name] for name in ("changed_after_looking", "openings_before", "others_on_this_test", "own_earlier")
    )
    if not is_clean:
        yield sentence_of_registration(registered)


def _of_testing(record: RunRecord) -> Iterator[str]:
    metrics = record.metrics
    if metrics["test_openings"] != 1:
        yield openings_in_words(metrics["test_openings"])
    if not metrics["external"]:
        yield "No external set was tested: other hospitals, scanners and patients may give other figures."
    if record.recipe.evaluation.protocol.has_folds:
        yield "The folds' models share training data, so intervals over folds are approximate."
    cell = metrics["arms"][metrics["delivered"]]["auroc"]
    if cell["low"] is not None and cell["low"] <= _CHANCE:
        yield f"The delivered arm, {metrics['delivered']}, cannot be told from chance."


def _of_probabilities(record: RunRecord) -> Iterator[str]:
    metrics, sampling = record.metrics, record.recipe.evaluation.sampling
    arm = metrics["delivered"]
    if not metrics["calibrated"][arm]["metrics"]:
        yield "Probabilities are not calibrated: they rank, and are no risks."
    if record.bundle is not None and record.bundle["calibration"]["transferred"]:
        yield "The delivered network itself was tested on nothing; calibration and thresholds are those of the folds."
    points = metrics["operating_points"].get(arm, [])
    refused = [point for point in points if point["refused"] is not None and not is_hidden(point)]
    if refused:
        asked = listed(f"{point['kind']} for {point['of']} {point['target']:g}" for point in refused)
        yield f"A threshold that was asked for was refused ({asked}): too little was known to choose it."
    if sampling != "consecutive" and record.recipe.evaluation.prevalence is None:
        yield (
            f"Sampling is {sampling} and no prevalence is stated: predictive values, accuracy and the like hold at "
            "this set's shares of the classes alone."
        )


def _of_sources(record: RunRecord) -> Iterator[str]:
    study = record.recipe.study
    if record.recipe.target.name not in synthetic_domains(record) and study.reference_standard is None:
        yield "What the labels rest on is not stated, so neither is how many of them are wrong."
    if record.bundle is not None and any(one["licence"] is None for one in record.bundle["licences"]):
        yield "Not every licence of what it was trained from is stated: ask before passing the model on."
