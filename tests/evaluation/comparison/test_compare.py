from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from tests.evaluation.comparison.arm_tables import arm_rows, in_folds
from tests.evaluation.prediction_rows import three_classes
from tests.evaluation.van_dyke import IS_POSITIVE, RATINGS
from tlmed.errors import InputError
from tlmed.evaluation.comparison.compare import compare_arms
from tlmed.evaluation.comparison.contrasts import Asked
from tlmed.evaluation.statistics.multi_reader import compare_readers, reader_aurocs
from tlmed.evaluation.tests import compare_aurocs

_ASKED = Asked(("a", "b"))


def _compare(*tables: pd.DataFrame, asked: Asked = _ASKED, **settings: Any) -> dict[str, Any]:
    given = {"positive": "sick", "unit": "image", "groups_known": True, "split": "manifest", **settings}
    comparison = compare_arms(pd.concat(tables, ignore_index=True), asked, **given)
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    return comparison


def _scores(rows: pd.DataFrame) -> Any:
    return rows["p_sick"].to_numpy()


def test_one_seed_of_each_agrees_with_delong_and_cannot_tell() -> None:
    first, second = (arm_rows(arm, lift=lift, seeds=[0], num_units=600) for arm, lift in (("a", 1.0), ("b", 0.0)))
    # Each unit its own group, which is DeLong's case.
    first, second = (rows.assign(group=rows["unit"]) for rows in (first, second))
    comparison = _compare(first, second)
    claim = comparison["contrasts"][0]["claims"]["a"]
    delong = compare_aurocs(first["label"] == "sick", _scores(first), _scores(second))
    assert claim["value"] == pytest.approx(delong.difference)
    assert delong.low is not None
    assert delong.high is not None
    assert claim["low"] == pytest.approx(delong.low, abs=4e-4)
    assert claim["high"] == pytest.approx(delong.high, abs=4e-4)
    assert comparison["contrasts"][0]["claims"]["b"] == {"not_claimed": "one seed"}
    assert comparison["contrasts"][0]["speaks_for"] == "a"
    assert (comparison["verdict"]["word"], comparison["contrasts"][0]["reason"]) == ("cannot be told here", "one seed")


def test_groups_of_several_units_agree_with_obuchowski() -> None:
    first, second = (arm_rows(arm, lift=lift, seeds=[0], num_units=600) for arm, lift in (("a", 1.0), ("b", 0.0)))
    claim = _compare(first, second)["contrasts"][0]["claims"]["a"]
    groups = first["group"].to_numpy()
    clustered = compare_aurocs(first["label"] == "sick", _scores(first), _scores(second), groups)
    assert clustered.low is not None
    assert claim["low"] == pytest.approx(clustered.low, abs=6e-4)


def test_seeds_are_random_readers() -> None:
    """Published data of 5 readers of 2 kinds of images, here 5 seeds of 2 arms."""
    parts = [
        pd.DataFrame(
            {
                "unit": np.arange(114),
                "group": np.arange(114),
                "label": np.where(IS_POSITIVE, "sick", "well"),
                "arm": "ba"[way],
                "seed": reader,
                "p_sick": RATINGS[way, reader] / 6,
                "p_well": 1 - RATINGS[way, reader] / 6,
            }
        )
        for way in (0, 1)
        for reader in range(5)
    ]
    contrast = _compare(*parts)["contrasts"][0]
    published = compare_readers(*reader_aurocs(IS_POSITIVE, RATINGS)).differences[0, 1]
    claim = contrast["claims"]["b"]
    assert contrast["speaks_for"] == "b"
    assert claim["value"] == pytest.approx(-published.value) == pytest.approx(0.04380, abs=5e-6)
    assert claim["standard_error"] == pytest.approx(published.standard_error) == pytest.approx(0.02075, abs=5e-6)
    assert [one["seed"] for one in contrast["by_seed"]] == [0, 1, 2, 3, 4]
    assert np.mean([one["value"] for one in contrast["by_seed"]]) == pytest.approx(claim["value"])


def test_an_arm_that_is_better_helped_and_secondary_ones_are_corrected() -> None:
    comparison = _compare(
        arm_rows("a", lift=2.0, num_units=400), arm_rows("b", num_units=400), arm_rows("c", num_units=400)
    )
    names = ["a minus b", "a minus c", "c minus b"]
    assert [one["name"] for one in comparison["contrasts"]] == names
    assert comparison["primary"] == names[0]
    assert [one["role"] for one in comparison["contrasts"]] == ["primary", "secondary", "secondary"]
    assert comparison["verdict"]["word"] == comparison["contrasts"][0]["verdict"] == "helped"
    assert comparison["verdict"]["sentence"].startswith("a is better than b, with this training set")
    of_primary, *of_others = (one["p_holm"] for one in comparison["contrasts"])
    assert of_primary is None
    by_itself = [one["claims"]["b"]["p_value"] for one in comparison["contrasts"][1:]]
    assert of_others == pytest.approx([min(2 * by_itself[0], 1), max(2 * by_itself[0], by_itself[1])])
    assert comparison["design"] == {
        "split": "fixed",
        "num_units": 400,
        "num_groups": 200,
        "num_groups_by_class": {"sick": 100, "well": 100},
        "groups_known": True,
        "seeds": {"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1, 2]},
        "alike": [],
        "given_start": False,
    }
    assert (comparison["attribution"], comparison["subject"]) == (None, None)


def test_the_domain_helped_where_both_controls_are_beaten() -> None:
    asked = replace(
        _ASKED, controls={"longer": "long", "placebo": "fake"}, subject="the related domain", left_out=["blank"]
    )
    tables = [arm_rows(arm, num_units=400) for arm in ("b", "long", "blank")]
    better = arm_rows("a", lift=2.0, num_units=400)
    comparison = _compare(*tables, better, arm_rows("fake", num_units=400), asked=asked)
    names = ["a minus b", "a minus long", "long minus b", "a minus fake", "fake minus b"]
    assert [one["name"] for one in comparison["contrasts"]] == names
    assert [one["p_holm"] for one in comparison["contrasts"]] == [None] * 5
    assert comparison["attribution"]["word"] == "related domain"
    assert comparison["verdict"]["sentence"].startswith("The related domain helped, with this training set")
    comparison = _compare(*tables, better, arm_rows("fake", lift=2.0, num_units=400), asked=asked)
    assert comparison["attribution"]["word"] == "extra training"
    assert "does not beat fake" in comparison["attribution"]["sentence"]
    assert comparison["verdict"]["sentence"].startswith("Extra training helped")
    assert "and fake itself beats b (+" in comparison["attribution"]["sentence"]


def test_extra_training_is_not_shown_by_a_control_that_is_not_beaten_alone() -> None:
    """The placebo varies so much by seed that it neither loses to the first arm nor beats the second."""
    asked = replace(_ASKED, controls={"longer": "long", "placebo": "fake"}, subject="the related domain")
    shaken = pd.concat(
        [arm_rows("fake", lift=lift, seeds=[seed], num_units=400) for seed, lift in enumerate((0.0, 1.0, 4.0))]
    )
    tables = [arm_rows("a", lift=2.0, num_units=400), *(arm_rows(arm, num_units=400) for arm in ("b", "long"))]
    comparison = _compare(*tables, shaken, asked=asked)
    assert comparison["verdict"]["word"] == "helped"
    assert comparison["attribution"]["word"] == "not shown"
    assert comparison["attribution"]["sentence"].startswith(
        "The middle stage helped; that its domain did is not shown, for a does not beat fake (a middle stage with"
    )
    assert comparison["verdict"]["sentence"].startswith("The middle stage helped, with this training set: ")
    assert comparison["verdict"]["sentence"].endswith("; that its domain did is not shown.")


def test_given_starting_weights_are_not_drawn_anew() -> None:
    asked = replace(_ASKED, given_start=["a", "c"])
    comparison = _compare(*(arm_rows(arm, num_units=200) for arm in "abcd"), asked=asked)
    assert comparison["design"]["given_start"] is True
    assert "with this training set and these starting weights, over" in comparison["verdict"]["sentence"]
    said = {one["name"]: "these starting weights" in one["sentence"] for one in comparison["contrasts"]}
    assert said == {name: True for name in said if name != "d minus b"} | {"d minus b": False}


def test_the_same_arm_with_other_seeds_is_no_difference() -> None:
    comparison = _compare(
        arm_rows("a", num_units=400, noise=0.2), arm_rows("b", seeds=[5, 6], num_units=400, noise=0.2)
    )
    assert comparison["verdict"]["word"] in ("equivalent", "cannot be told here")
    assert comparison["contrasts"][0]["by_seed"] == []
    assert "seeds (3 of a, 2 of b)" in comparison["verdict"]["sentence"]


def test_an_arm_whose_seeds_came_to_the_same_stands_beside_every_seed() -> None:
    same = pd.concat([arm_rows("b", seeds=[0]).assign(seed=seed) for seed in (0, 1, 2)])
    several = arm_rows("a", lift=1.0)
    comparison = _compare(several, same, deterministic=["b"])
    contrast = comparison["contrasts"][0]
    assert comparison["design"]["alike"] == ["b"]
    assert comparison["design"]["seeds"]["b"] == [0, 1, 2]
    of_b = roc_auc_score(same["label"][:120] == "sick", same["p_sick"][:120])
    expected = [roc_auc_score(one["label"] == "sick", one["p_sick"]) - of_b for _, one in several.groupby("seed")]
    assert [one["value"] for one in contrast["by_seed"]] == pytest.approx(expected)
    assert contrast["speaks_for"] == "b"
    undeclared = _compare(several, same)["contrasts"][0]
    assert (undeclared["speaks_for"], undeclared["verdict"]) == ("a", "cannot be told here")
    assert undeclared["reason"] == "the seeds of b are the same predictions"
    assert undeclared["by_seed"] == contrast["by_seed"]


def test_copies_of_one_table_are_one_seed() -> None:
    copies = [
        pd.concat([arm_rows(arm, lift=lift, seeds=[0], num_units=400).assign(seed=seed) for seed in (0, 1, 2)])
        for arm, lift in (("a", 3.0), ("b", 0.0))
    ]
    comparison = _compare(*copies)
    assert comparison["contrasts"][0]["claims"]["a"]["low"] > 0
    assert comparison["verdict"]["word"] == "cannot be told here"
    assert "the seeds of a are the same predictions. a minus b" in comparison["verdict"]["sentence"]


def test_identical_arms_have_no_verdict() -> None:
    comparison = _compare(arm_rows("a"), arm_rows("a").assign(arm="b"))
    assert comparison["verdict"]["word"] == "no verdict"
    assert "neither cases nor seeds" in comparison["contrasts"][0]["reason"]


@pytest.mark.parametrize(
    ("settings", "num_units", "reason"),
    [
        ({"groups_known": False}, 120, "nothing says which units are of one patient"),
        ({}, 36, "too few groups with units of 'sick' (9), 'well' (9); an interval needs 10"),
        ({"split": "leave-one-source-out"}, 120, "sources are few and were not drawn alike"),
    ],
)
def test_without_enough_independent_cases_there_is_no_verdict(
    settings: dict[str, Any], num_units: int, reason: str
) -> None:
    tables = [arm_rows(arm, lift=lift, num_units=num_units) for arm, lift in (("a", 2.0), ("b", 0.0))]
    if settings.get("split"):
        tables = [in_folds(table) for table in tables]
    comparison = _compare(*tables, **settings)
    contrast = comparison["contrasts"][0]
    assert comparison["verdict"]["word"] == "no verdict"
    assert contrast["reason"].startswith(reason)
    assert all(claim["not_claimed"].startswith(reason) for claim in contrast["claims"].values())
    assert contrast["value"] > 0
    assert len(contrast["by_seed"]) == 3
    assert (contrast["speaks_for"], comparison["needed"]["num_groups"]) == (None, None)
    assert comparison["design"]["split"] == settings.get("split", "fixed")


def test_folds_speak_for_new_training_sets() -> None:
    tables = [in_folds(arm_rows(arm, lift=lift, num_units=400)) for arm, lift in (("a", 1.0), ("b", 0.0))]
    comparison = _compare(*tables, split="kfold")
    contrast = comparison["contrasts"][0]
    by_fold = [
        {key: roc_auc_score(part["label"] == "sick", part["p_sick"]) for key, part in table.groupby(["seed", "fold"])}
        for table in tables
    ]
    differences = [by_fold[0][key] - by_fold[1][key] for key in by_fold[0]]
    # By hand: 200 patients, 40 of them in each fold; of 15 folds five count, with 7 degrees of freedom.
    mean, error = np.mean(differences), np.sqrt((1 / 5 + 40 / 160) * np.var(differences, ddof=1))
    claim = contrast["claims"]["c"]
    assert claim["low"] == pytest.approx(mean - t.ppf(0.975, 7) * error)
    assert claim["p_value"] == pytest.approx(2 * t.sf(abs(mean) / error, 7))
    assert claim["low_90"] == pytest.approx(mean - t.ppf(0.95, 7) * error)
    assert contrast["speaks_for"] == "c"
    assert "not_claimed" in contrast["claims"]["a"]
    assert [one["seed"] for one in contrast["by_seed"]] == [0, 1, 2]
    assert comparison["design"]["split"] == "k-fold"
    assert comparison["needed"]["num_groups"] is None


def test_too_few_folds_or_other_ones_claim_nothing() -> None:
    tables = [in_folds(arm_rows(arm, seeds=[0], num_units=200), num_folds=4) for arm in ("a", "b")]
    few = _compare(*tables, split="kfold")["contrasts"][0]
    assert (few["verdict"], few["speaks_for"]) == ("no verdict", None)
    assert few["reason"].startswith("4 folds")
    others = _compare(
        in_folds(arm_rows("a", num_units=200)), in_folds(arm_rows("b", seeds=[3, 4], num_units=200)), split="kfold"
    )["contrasts"][0]
    assert others["reason"] == "the arms were not tested in the same folds"
    assert others["by_seed"] == []


def test_folds_and_a_fixed_test_set_are_not_compared() -> None:
    with pytest.raises(InputError, match="arm 'a' was tested in folds and 'b' on a fixed test set"):
        _compare(in_folds(arm_rows("a")).assign(split="test"), arm_rows("b").assign(fold=0, split="test"))


def test_other_units_are_refused_by_name() -> None:
    second = arm_rows("b")
    with pytest.raises(InputError, match=r"arm 'b', seed 0 lacks 1 unit that others have \(u007\)"):
        _compare(arm_rows("a"), second[second["unit"] != "u007"])


def test_more_than_two_classes_are_compared_by_macro_auroc() -> None:
    rows = three_classes(120).assign(group=np.arange(120))
    flat = rows.assign(p_a=1 / 3, p_b=1 / 3, p_c=1 / 3)
    shaken = [
        rows.assign(arm="a", seed=seed, **{f"p_{n}": v for n, v in zip("abc", _mixed(rows, seed).T, strict=True)})
        for seed in (0, 1)
    ]
    flat_seeds = [flat.assign(arm="b", seed=seed) for seed in (0, 1)]
    comparison = _compare(*shaken, *flat_seeds, positive=None, deterministic=["b"])
    contrast = comparison["contrasts"][0]
    one_vs_rest = [
        np.mean([roc_auc_score(part["label"] == name, part[f"p_{name}"]) for name in "abc"]) for part in shaken
    ]
    assert contrast["value"] == pytest.approx(np.mean(one_vs_rest) - 0.5)
    assert "in macro AUROC" in contrast["sentence"]
    assert comparison["positive"] is None
    assert contrast["speaks_for"] == "b"


def _mixed(rows: pd.DataFrame, seed: int) -> Any:
    drawn = np.random.default_rng(seed).dirichlet(np.ones(3), size=len(rows))
    return 0.8 * rows[["p_a", "p_b", "p_c"]].to_numpy() + 0.2 * drawn


def test_accuracy_varies_as_a_mean_over_patients_does() -> None:
    first, second = (arm_rows(arm, seeds=[0], num_units=400) for arm in ("a", "b"))
    claim = _compare(first, second, asked=replace(_ASKED, metric="accuracy"))["contrasts"][0]["claims"]["a"]
    correct = [
        ((rows["p_sick"] > 0.5) == (rows["label"] == "sick")).to_numpy(dtype=np.float64) for rows in (first, second)
    ]
    groups = np.arange(400) // 2
    by_group = np.bincount(groups, weights=correct[0] - correct[1]) / 400
    # Groups of equal size: the jackknife is the standard error of a mean of 200.
    assert claim["value"] == pytest.approx(by_group.sum())
    assert claim["standard_error"] == pytest.approx(by_group.std(ddof=1) * np.sqrt(200))
