from __future__ import annotations

from dataclasses import replace

from tests.report.run_records import run_record
from tlmed.report.facts import training_facts

ARMS = ("probe", "generic", "generic-placebo", "generic-related")
OF_ARMS = {
    "probe": {"stages": ["target"], "strategy": {"kind": "logistic-regression"}},
    "generic": {"stages": ["target"], "weights": "none"},
    "generic-placebo": {"stages": ["related", "target"], "control": "placebo"},
    "generic-related": {"stages": ["related", "target"], "weights": "hub:timm/vit@1"},
}


def test_arms_are_told_with_their_start_and_what_controls_do_without() -> None:
    told = training_facts.initialisation(run_record(arms=ARMS, arm_settings=OF_ARMS)).statement
    assert "probe (weights start.safetensors, then target)" in told
    assert "generic (random weights, then target)" in told
    assert "a control, which trains the earlier stages on labels that were permuted among the groups" in told


def test_controls_are_not_among_the_ways_that_are_compared() -> None:
    told = training_facts.goal(run_record(arms=ARMS, arm_settings=OF_ARMS)).statement
    assert "to compare 3 ways of training it (probe, generic and generic-related)" in told


def test_stages_that_train_alike_are_told_once() -> None:
    alike = training_facts.training(run_record()).statement
    assert alike.count("AdamW") == 1
    chain = [
        {"name": "related", "data": {"folder": "x"}, "preset": "tl-med"},
        {"name": "target", "data": {"folder": "y"}},
    ]
    told = training_facts.training(run_record(chain=chain)).statement
    assert "Training of related: SGD with momentum 0.9, learning rate 0.01 with cosine schedule" in told
    assert "30 epochs" in told
    assert "Training of target: AdamW (Loshchilov & Hutter 2019), learning rate 0.0002" in told


def test_arms_with_other_seeds_are_told_apart() -> None:
    record = run_record(seeds=(0, 1))
    rows = record.predictions
    fewer = rows[(rows["arm"] != "generic") | (rows["seed"] == 0)]
    told = training_facts.seeds(replace(record, predictions=fewer)).statement
    assert told == "Trained were generic with 1 seed (0); generic-related with 2 seeds (0, 1)."


def test_a_stage_with_its_own_seed_limits_the_answer() -> None:
    chain = [{"name": "related", "data": {"folder": "x"}, "seed": 3}, {"name": "target", "data": {"folder": "y"}}]
    told = training_facts.seeds(run_record(chain=chain)).statement
    assert told.endswith("The stage related was trained once, so all holds for that checkpoint.")


def test_chosen_settings_and_epochs_are_told() -> None:
    choose = {"among": {"short": {"epochs": 5}, "long": {"epochs": 50}}, "folds": 3}
    told = training_facts.selection(run_record(training={"select": "best"}, evaluation={"choose": choose})).statement
    assert "of the epoch with the lowest validation loss" in told
    assert "settings were chosen among short and long by 3 inner folds of each training set" in told


def test_the_mean_of_folds_is_an_ensemble() -> None:
    assert training_facts.ensembling(run_record()).statement == "No ensemble was used."
    told = training_facts.ensembling(run_record(num_folds=4, seeds=(0, 1))).statement
    assert told == "The delivered model is the mean of 4 networks of folds."


def test_weighted_training_is_told() -> None:
    told = training_facts.class_imbalance(run_record(metrics={"weighted_training": True})).statement
    assert "made the rarer class count for more" in told


def test_without_a_bundle_there_is_no_model_and_no_version() -> None:
    record = replace(run_record(), bundle=None)
    assert training_facts.software(record) is None
    assert training_facts.delivered_model(record).statement == "No model was delivered."


def test_what_is_delivered_says_what_it_was_trained_from() -> None:
    told = training_facts.delivered_model(run_record()).statement
    assert told.startswith("Arm generic-related, seed 0, is delivered")
    assert told.endswith("images of the domain target: CC BY 4.0.")
