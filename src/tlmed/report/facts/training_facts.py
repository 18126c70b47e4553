"""What a run knows of its models: what they are, how they were trained and chosen, what became of them."""

from __future__ import annotations

from pathlib import PurePath

from tlmed.recipe.recipe import NO_WEIGHTS, training_of
from tlmed.recipe.training import TrainingSettings
from tlmed.report.facts.fact import Fact, classes_of, trained_arms
from tlmed.report.figure_text import listed
from tlmed.report.record.run_record import RunRecord

_STRATEGIES = {
    "finetune": "fine-tuning of all parameters",
    "linear-probe": "training of the head alone",
    "logistic-regression": "logistic regression on frozen features",
}
_CONTROLS = {
    "longer": "trains on the target alone, for as many optimiser steps as the stages that it lacks took",
    "placebo": "trains the earlier stages on labels that were permuted among the groups",
    "border-only": "sees the border of the target's images alone",
    "centre-blanked": "sees the target's images with their centre blanked",
    "permuted-labels": "trains on labels of the target that were permuted among the groups",
}


def goal(record: RunRecord) -> Fact:
    """What kind of study it is, as far as the run shows."""
    arms = [arm.name for arm in trained_arms(record) if arm.control is None]
    compared = f" and to compare {len(arms)} ways of training it ({listed(arms)}) on the same cases" * (len(arms) > 1)
    return Fact(
        f"The run is to develop a classifier of images into {listed(classes_of(record))}{compared}; it is measured on "
        "cases that trained nothing.",
        "recipe: chain, arms",
    )


def network(record: RunRecord) -> Fact:
    """Backbone and head."""
    backbone = record.recipe.backbone
    changed = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in backbone.model_dump(exclude={"name"}, exclude_defaults=True).items()
    ]
    inside = f" ({', '.join(changed)})" if changed else ""
    return Fact(
        f"The classifier is a deep neural network, {backbone.name}{inside}, with a linear head for "
        f"{len(classes_of(record))} classes.",
        "recipe: backbone",
    )


def output(record: RunRecord) -> Fact:
    """What comes out."""
    unit = record.metrics["unit"]
    mean = "" if unit == "image" else f", averaged over the images of a unit (here {unit})"
    return Fact(f"The output is a probability of each class (softmax){mean}.", "recipe: evaluation.unit")


def initialisation(record: RunRecord) -> Fact:
    """Starting weights and stages of every arm."""
    told = []
    for arm in trained_arms(record):
        control = f"; a control, which {_CONTROLS[arm.control]}" if arm.control is not None else ""
        told.append(f"{arm.name} ({starting_weights(arm.weights)}, then {listed(arm.stages)}{control})")
    return Fact(f"The arms are {listed(told)}; heads are new wherever the classes differ.", "recipe: weights, arms")


def starting_weights(spec: str) -> str:
    """What a recipe's weights are, without the way to them."""
    if spec == NO_WEIGHTS:
        return "random weights"
    kind, _, name = spec.partition(":")
    return f"weights {name}" if kind == "hub" else f"weights {PurePath(name).name}"


def training(record: RunRecord) -> Fact:
    """Strategy and settings of every stage."""
    recipe = record.recipe
    ways: dict[str, list[str]] = {}
    for stage in recipe.chain:
        ways.setdefault(_settings(training_of(recipe, stage)), []).append(stage.name)
    told = [f"Training of {listed(names)}: {way}." for way, names in ways.items()]
    earlier = [f"{_STRATEGIES[stage.strategy.kind]} in {stage.name}" for stage in recipe.chain[:-1]]
    told += [f"Strategy before the target: {listed(earlier)}."] if earlier else []
    by_strategy: dict[str, list[str]] = {}
    for arm in trained_arms(record):
        by_strategy.setdefault(_STRATEGIES[arm.strategy.kind], []).append(arm.name)
    told += [f"Strategy on the target: {listed(f'{how} in {listed(arms)}' for how, arms in by_strategy.items())}."]
    return Fact(" ".join(told), "recipe: chain, training, arms; all settings under Settings")


def _settings(training: TrainingSettings) -> str:
    adamw = "AdamW (Loshchilov & Hutter 2019)"
    parts = [
        adamw if training.optimizer == "adamw" else f"SGD with momentum {training.momentum:g}",
        f"learning rate {training.learning_rate:g} with {training.schedule} schedule",
        f"weight decay {training.weight_decay:g}",
        f"batch size {training.batch_size}",
        f"{training.epochs} epochs",
    ]
    if training.label_smoothing:
        parts.append(f"label smoothing {training.label_smoothing:g}")
    if training.ema_decay is not None:
        parts.append(f"exponential moving average of the weights with decay {training.ema_decay:g}")
    if training.clip_norm is not None:
        parts.append(f"gradient norm clipped at {training.clip_norm:g}")
    views = training.views
    if views.enabled:
        parts.append(
            f"random views with shifts up to {100 * views.shift:g} %, zoom up to {100 * views.scale:g} %, rotation up "
            f"to {views.rotation_degrees:g} degrees, brightness up to {100 * views.brightness:g} % and contrast up to "
            f"{100 * views.contrast:g} %"
        )
    return ", ".join(parts)


def seeds_by_arm(record: RunRecord) -> dict[str, list[int]]:
    """Seeds of every arm that the run holds."""
    return {
        str(arm): sorted({int(seed) for seed in rows["seed"]})
        for arm, rows in record.predictions.groupby("arm", sort=False)
    }


def seeds(record: RunRecord) -> Fact:
    """How often training was repeated."""
    of_arms = seeds_by_arm(record)
    word = "repeat" if record.recipe.evaluation.protocol.split == "kfold" else "seed"
    told = [
        f"{listed(arms)} with {len(one)} {word}{'' if len(one) == 1 else 's'} ({', '.join(map(str, one))})"
        for one, arms in _arms_by_seeds(of_arms)
    ]
    fixed = [stage.name for stage in record.recipe.chain if stage.seed is not None]
    alone = f" The stage {listed(fixed)} was trained once, so all holds for that checkpoint." if fixed else ""
    return Fact(f"Trained were {'; '.join(told)}.{alone}", "predictions.parquet, recipe: evaluation.seeds")


def _arms_by_seeds(of_arms: dict[str, list[int]]) -> list[tuple[tuple[int, ...], list[str]]]:
    arms: dict[tuple[int, ...], list[str]] = {}
    for arm, of_arm in of_arms.items():
        arms.setdefault(tuple(of_arm), []).append(arm)
    return list(arms.items())


def selection(record: RunRecord) -> Fact:
    """How epoch, settings and delivered arm were chosen."""
    recipe = record.recipe
    is_best = training_of(recipe, recipe.target).select == "best"
    epoch = "of the epoch with the lowest validation loss" if is_best else "of the last epoch"
    choose = recipe.evaluation.choose
    settings = (
        "this run tried no settings beside the recipe's"
        if choose is None
        else f"settings were chosen among {listed(choose.among)} by {choose.folds} inner folds of each training set"
    )
    return Fact(
        f"The weights are those {epoch}; {settings}. The delivered arm, {record.metrics['delivered']}, is the recipe's "
        "choice, not that of a result.",
        "recipe: training.select, evaluation.choose, deliver",
    )


def ensembling(record: RunRecord) -> Fact:
    """How many networks predict together."""
    number = 1 if record.bundle is None else record.bundle["num_members"]
    told = "No ensemble was used." if number == 1 else f"The delivered model is the mean of {number} networks of folds."
    return Fact(told, "bundle/bundle.json" if record.bundle is not None else "recipe: evaluation.protocol.bundle")


def class_imbalance(record: RunRecord) -> Fact:
    """Whether the rarer class counted for more."""
    if record.metrics["weighted_training"]:
        told = "Class weights or balanced sampling made the rarer class count for more, which raises its probabilities."
    else:
        told = "Nothing was done about class imbalance: every image of training counts the same."
    return Fact(told, "recipe: training.class_weights, training.sampling")


def software(record: RunRecord) -> Fact | None:
    """Versions; known where a model was delivered."""
    if record.bundle is None:
        return None
    versions = listed(f"{name} {version}" for name, version in record.bundle["versions"].items())
    precision = record.recipe.runtime.precision
    return Fact(f"The software is {versions}, computing in {precision}.", "bundle/bundle.json, recipe: runtime")


def delivered_model(record: RunRecord) -> Fact:
    """What became of the run's model."""
    if record.bundle is None:
        return Fact("No model was delivered.", "run folder without bundle/")
    card = record.bundle
    licences = listed(f"{one['what']}: {one['licence'] or 'licence not stated'}" for one in card["licences"])
    return Fact(
        f"Arm {card['arm']}, seed {card['seed']}, is delivered as a folder of weights (safetensors), preprocessing, "
        "calibration and thresholds; `tlmed predict BUNDLE PATH` gives its predictions of image files. What it was "
        f"trained from: {licences}.",
        "bundle/bundle.json",
    )


def input_quality(record: RunRecord) -> Fact:
    """What happens to an image that it should not be asked about."""
    return Fact(
        "An image that cannot be read is named and not predicted. Any other is answered, also one that is nothing "
        "like the training images: the model does not yet say when it does not know.",
        "bundle/README.md" if record.bundle is not None else "tlmed predict",
    )


def fairness(record: RunRecord) -> Fact:
    """Nothing was done."""
    return Fact("Nothing in training addresses fairness between groups of people.", "recipe.yaml")


def explainability(record: RunRecord) -> Fact:
    """Nothing was done."""
    return Fact("No method that explains single decisions was used.", "recipe.yaml")


def recipe_file(record: RunRecord) -> Fact:
    """Where all settings stand."""
    return Fact(f"Every setting stands in recipe.yaml of the run folder ({record.recipe.name}).", "recipe.yaml")
