from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.data.manifest import Manifest
from tlmed.evaluation.statistics.design import detectable_difference, detectable_difference_over_folds
from tlmed.recipe.load import parse_recipe
from tlmed.recipe.recipe import Recipe
from tlmed.report.run.plan_view import design_sentences


def recipe(**evaluation: Any) -> Recipe:
    chain = [{"name": "target", "data": {"folder": "/data"}}]
    content = {"name": "x", "backbone": "resnet18", "chain": chain, "evaluation": {"positive": "ill", **evaluation}}
    return parse_recipe(content, "test")


def target(num_ill: int, num_well: int, **columns: Any) -> Manifest:
    labels = ["ill"] * num_ill + ["well"] * num_well
    table = pd.DataFrame({"label": labels, "group": range(len(labels)), "split": "test"}).assign(**columns)
    return Manifest("target", Path(), table, "group")


def test_a_fixed_test_set_says_which_difference_it_finds() -> None:
    (sentence,) = design_sentences(recipe(seeds=[0, 1, 2]), target(53, 42))
    points = round(100 * detectable_difference(53, 42, num_seeds=3))
    assert "Tested on 53 groups with and 42 without disease" in sentence
    assert f"of {points} points or more would be found with 80 % power" in sentence


def test_folds_are_judged_by_the_test_that_will_judge_them() -> None:
    protocol = {"split": "kfold", "folds": 5, "repeats": 3}
    (sentence,) = design_sentences(recipe(protocol=protocol), target(60, 60, split="train"))
    found = detectable_difference_over_folds(60, 60, num_folds=5, num_repeats=3)
    assert found > detectable_difference(60, 60)
    assert f"of {100 * found:.0f} points" in sentence
    assert "Nadeau and Bengio's test" in sentence


def test_too_few_groups_or_folds_promise_nothing() -> None:
    (few,) = design_sentences(recipe(), target(6, 40))
    assert few.startswith("Warning: test holds fewer than 10 groups of a class (6 of ill)")
    protocol = {"split": "leave-one-source-out"}
    sources = ["north"] * 40 + ["south"] * 40
    (sentence,) = design_sentences(recipe(protocol=protocol), target(40, 40, source=sources))
    assert sentence == "2 folds in all: too few for an interval of a mean over folds."
