"""Figures and bands of a learning curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import accuracy_score, roc_auc_score

from tlmed.evaluation.comparison.claims import ArmFigures, claim_over_seeds
from tlmed.evaluation.comparison.label_curve import LabelQuestion, claim_over_draws, measure_label_curve

QUESTION = LabelQuestion("ill", "image", "auroc", ("related", "generic"), groups_known=True)
NUM_UNITS = 80
IS_ILL = np.arange(NUM_UNITS) % 2 == 0


def rows(arm: str, share: float, draw: int, seed: int, scores: np.ndarray, **columns: Any) -> pd.DataFrame:
    names = [f"u{number:03}" for number in range(len(scores))]
    table = pd.DataFrame({"path": names, "unit": names, "group": names, "p_ill": scores, "p_well": 1 - scores})
    labels = np.where(IS_ILL[: len(scores)], "ill", "well")
    named = {"arm": arm, "share_percent": share, "draw": draw, "seed": seed, "split": "test", "fold": -1}
    return table.assign(label=labels, **named, **columns)


def predictions(
    separation: dict[tuple[str, float], float], num_draws: dict[float, int], num_seeds: int = 5, noise: float = 0.6
) -> pd.DataFrame:
    """Scores whose classes lie so far apart; arms and shares have the same cases in common, draws their own noise."""
    generator = np.random.default_rng(1)
    of_case = generator.normal(size=NUM_UNITS)
    parts = []
    for (arm, share), apart in separation.items():
        for draw in range(num_draws[share]):
            logits = of_case + apart * IS_ILL + generator.normal(scale=noise, size=NUM_UNITS)
            parts.append(rows(arm, share, draw, draw % num_seeds, 1 / (1 + np.exp(-logits))))
    return pd.concat(parts, ignore_index=True)


def shrinking() -> dict[tuple[str, float], float]:
    return {("generic", 10): 0.3, ("generic", 100): 2.0, ("related", 10): 2.0, ("related", 100): 2.0}


DRAWS = {10: 10, 100: 5}


def aurocs(table: pd.DataFrame, arm: str, share: float) -> np.ndarray:
    chosen = table[(table["arm"] == arm) & (table["share_percent"] == share)]
    return np.array([roc_auc_score(part["label"] == "ill", part["p_ill"]) for _, part in chosen.groupby("draw")])


def of_pairs(scores: np.ndarray, keep: np.ndarray) -> float:
    """The share of pairs of an ill and a well unit in which the ill one scores higher."""
    ill, well = scores[keep & IS_ILL], scores[keep & ~IS_ILL]
    return float((ill[:, None] > well[None, :]).mean())


def test_values_are_means_over_draws() -> None:
    table = predictions(shrinking(), DRAWS)
    curve = measure_label_curve(table, QUESTION)
    assert [(card["percent"], card["num_draws"]) for card in curve["shares"]] == [(10.0, 10), (100.0, 5)]
    for card in curve["shares"]:
        of_arms = {arm: aurocs(table, arm, card["percent"]) for arm in ("generic", "related")}
        for arm, values in of_arms.items():
            cell = card["arms"][arm]
            assert cell["value"] == pytest.approx(values.mean())
            assert [one["value"] for one in cell["draws"]] == pytest.approx(values)
            assert cell["low"] < cell["value"] < cell["high"]
        difference = of_arms["related"] - of_arms["generic"]
        assert card["difference"]["value"] == pytest.approx(difference.mean())
        assert [one["value"] for one in card["difference"]["draws"]] == pytest.approx(difference)
        assert [one["seed"] for one in card["difference"]["draws"]] == [draw % 5 for draw in range(card["num_draws"])]
    assert curve["design"] == {
        "num_units": 80,
        "num_groups": 80,
        "num_groups_by_class": {"ill": 40, "well": 40},
        "groups_known": True,
        "seeds": [0, 1, 2, 3, 4],
    }


def without_each_unit(table: pd.DataFrame, share: float) -> np.ndarray:
    """(80, D) difference of the arms in each draw, without each unit."""
    at_share = table[table["share_percent"] == share]
    by_arm = {
        arm: part.pivot(index="draw", columns="unit", values="p_ill").to_numpy()
        for arm, part in at_share.groupby("arm")
    }
    return np.array(
        [
            [
                of_pairs(one, keep) - of_pairs(other, keep)
                for one, other in zip(by_arm["related"], by_arm["generic"], strict=True)
            ]
            for keep in ~np.eye(NUM_UNITS, dtype=bool)
        ]
    )


def covariance_over_cases(left_out: np.ndarray) -> np.ndarray:
    return np.asarray((NUM_UNITS - 1) ** 2 / NUM_UNITS * np.cov(left_out.T))


def differences(table: pd.DataFrame, share: float) -> np.ndarray:
    return aurocs(table, "related", share) - aurocs(table, "generic", share)


def test_the_interval_of_a_difference_is_over_draws_and_cases() -> None:
    """Each draw with a seed of its own: computed here from the definition, by leaving out one unit at a time."""
    table = predictions(shrinking(), {10: 6, 100: 6}, num_seeds=6)
    found = measure_label_curve(table, QUESTION)["shares"][0]["difference"]
    covariance = covariance_over_cases(without_each_unit(table, 10))
    over_draws = differences(table, 10).var(ddof=1) / 6
    over_cases = max(covariance[~np.eye(6, dtype=bool)].mean(), 0)
    over_seeds = math.sqrt(t.ppf(0.975, 5) ** 2 * over_draws + t.ppf(0.975, NUM_UNITS - 1) ** 2 * over_cases)
    # No narrower than for the models that there are, whose mean over draws is what cases change.
    half_width = max(over_seeds, t.ppf(0.975, NUM_UNITS - 1) * math.sqrt(covariance.mean()))
    assert (found["high"] - found["low"]) / 2 == pytest.approx(half_width, rel=1e-6)
    assert found["speaks_for"] == "b"


def test_the_interval_of_a_change_pairs_arms_but_not_shares() -> None:
    """Six draws and four, each with a seed of its own: shares have the test cases alone in common."""
    table = predictions(shrinking(), {10: 6, 100: 4}, num_seeds=6)
    found = measure_label_curve(table, QUESTION)["change"]
    at_10, at_100 = (without_each_unit(table, share) for share in (10, 100))
    weights = np.concatenate([np.full(6, 1 / 6), np.full(4, -1 / 4)])
    over_cases = weights @ covariance_over_cases(np.hstack([at_10, at_100])) @ weights
    of_models = t.ppf(0.975, NUM_UNITS - 1) * math.sqrt(over_cases)
    parts = []
    for share, left_out in ((10, at_10), (100, at_100)):
        number = left_out.shape[1]
        parts.append((differences(table, share).var(ddof=1) / number, number - 1))
        covariance = covariance_over_cases(left_out)
        over_cases -= (covariance.trace() / number - covariance[~np.eye(number, dtype=bool)].mean()) / number
    over_draws = sum(part for part, _ in parts)
    freedom = over_draws**2 / sum(part**2 / of_part for part, of_part in parts)
    over_seeds = t.ppf(0.975, freedom) ** 2 * over_draws + t.ppf(0.975, NUM_UNITS - 1) ** 2 * max(over_cases, 0)
    half_width = max(math.sqrt(over_seeds), of_models)
    assert found["value"] == pytest.approx(differences(table, 10).mean() - differences(table, 100).mean())
    assert (found["high"] - found["low"]) / 2 == pytest.approx(half_width, rel=1e-6)


def test_whether_the_advantage_shrinks() -> None:
    change = measure_label_curve(predictions(shrinking(), DRAWS), QUESTION)["change"]
    assert (change["verdict"], change["from_percent"], change["to_percent"]) == ("shrinks", 10.0, 100.0)
    assert 0 < change["low"] < change["value"] < change["high"]
    assert change["p_value"] < 0.05
    assert "the advantage of related over generic shrinks" in change["sentence"]


def test_whether_the_advantage_grows() -> None:
    growing = {("generic", 10): 2.0, ("generic", 100): 0.3, ("related", 10): 2.0, ("related", 100): 2.0}
    change = measure_label_curve(predictions(growing, DRAWS), QUESTION)["change"]
    assert change["verdict"] == "grows"
    assert change["high"] < 0


def test_no_change_cannot_be_told() -> None:
    alike = dict.fromkeys(shrinking(), 1.0)
    change = measure_label_curve(predictions(alike, DRAWS), QUESTION)["change"]
    assert change["verdict"] == "cannot be told here"
    assert change["low"] < 0 < change["high"]
    assert change["reason"] is None


def test_one_seed_is_one_training_of_all_labels() -> None:
    curve = measure_label_curve(predictions(shrinking(), {10: 10, 100: 1}, num_seeds=1), QUESTION)
    smallest, largest = curve["shares"]
    assert (smallest["difference"]["speaks_for"], largest["difference"]["speaks_for"]) == ("b", "a")
    assert (curve["change"]["verdict"], curve["change"]["reason"]) == ("cannot be told here", "one seed")
    assert curve["change"]["low"] is None


@pytest.mark.parametrize("why", ["unknown groups", "few groups"])
def test_without_enough_groups_there_is_no_verdict(why: str) -> None:
    table = predictions(shrinking(), DRAWS)
    if why == "few groups":
        table["group"] = table["unit"].str[1:].astype(int) // 10
    question = LabelQuestion("ill", "image", "auroc", ("related", "generic"), groups_known=why != "unknown groups")
    curve = measure_label_curve(table, question)
    assert curve["change"]["verdict"] == "no verdict"
    assert curve["needed"] == []
    cell = curve["shares"][0]["arms"]["related"]
    assert (cell["low"], cell["high"]) == (None, None)
    assert cell["no_interval"] == curve["change"]["reason"]
    assert cell["value"] == pytest.approx(aurocs(table, "related", 10).mean())


def test_draws_that_came_to_the_same_count_as_one() -> None:
    """What no seed changes, such as a probe of all labels: then only other cases would change it."""
    table = predictions({("generic", 100): 1.0, ("related", 100): 1.5}, {100: 5})
    generic = table["arm"] == "generic"
    first = table[generic & (table["draw"] == 0)].set_index("unit")
    for column in ("p_ill", "p_well"):
        table.loc[generic, column] = first.loc[table.loc[generic, "unit"], column].to_numpy()
    curve = measure_label_curve(table, QUESTION)
    (card,) = curve["shares"]
    assert card["arms"]["generic"]["speaks_for"] == "b"
    assert len(card["arms"]["generic"]["draws"]) == 5
    values = aurocs(table, "related", 100) - aurocs(table, "generic", 100)
    assert [one["value"] for one in card["difference"]["draws"]] == pytest.approx(values)
    needed = next(one for one in curve["needed"] if one["of"] == "generic")
    assert needed["num_groups"] == max(80, math.ceil(80 * (needed["half_width_now"] / 0.05) ** 2))
    assert f"+/- 5 points take about {needed['num_groups']}" in needed["sentence"]
    assert curve["change"] is None


def test_more_groups_do_not_help_where_seeds_vary_too_much() -> None:
    generator = np.random.default_rng(0)
    of_seed = {("generic", 0): 0.0, ("generic", 1): 1.0, ("generic", 2): 3.0}
    of_seed |= {("related", 0): 3.0, ("related", 1): 1.0, ("related", 2): 0.0}
    parts = []
    for (arm, seed), apart in of_seed.items():
        logits = generator.normal(size=NUM_UNITS) + apart * IS_ILL
        parts.append(rows(arm, 100, seed, seed, 1 / (1 + np.exp(-logits))))
    needed = measure_label_curve(pd.concat(parts), QUESTION)["needed"]
    assert [one["of"] for one in needed] == ["generic", "related", "related minus generic"]
    assert all(one["num_groups"] is None for one in needed)
    assert "draws and seeds vary too much" in needed[-1]["sentence"]


def test_other_metrics() -> None:
    table = predictions(shrinking(), DRAWS)
    curve = measure_label_curve(table, LabelQuestion("ill", "image", "accuracy", None, groups_known=True))
    chosen = table[(table["arm"] == "related") & (table["share_percent"] == 10)]
    expected = np.mean(
        [accuracy_score(part["label"] == "ill", part["p_ill"] > 0.5) for _, part in chosen.groupby("draw")]
    )
    assert curve["shares"][0]["arms"]["related"]["value"] == pytest.approx(expected)
    assert curve["shares"][0]["difference"] is None
    assert curve["change"] is None


def by_draw_and_seed(generator: np.random.Generator, seed_spread: float) -> tuple[ArmFigures, ArmFigures]:
    """Ten draws of five seeds around 0; test cases that change all draws alike."""
    seeds = np.arange(10) % 5
    values = generator.normal(size=10) + seed_spread * generator.normal(size=5)[seeds]
    shift = generator.normal(scale=0.3)
    of_groups = generator.normal(scale=0.3 / math.sqrt(30 * 29 / 30 * 29), size=30)
    left_out = (values + shift)[None, :] + of_groups[:, None]
    means = np.array([values[seeds == seed].mean() for seed in range(5)]) + shift
    by_seed = ArmFigures(tuple(range(5)), means, means[None, :] + of_groups[:, None])
    return ArmFigures(tuple(range(10)), values + shift, left_out), by_seed


def test_limits_hold_where_draws_share_the_stages_of_their_seed() -> None:
    """400 comparisons around a true 0, seeds varying as much as draws: of readers that are draws too few hold."""
    generator = np.random.default_rng(0)
    holding, of_draws_alone = 0, 0
    for _ in range(400):
        by_draw, by_seed = by_draw_and_seed(generator, seed_spread=1.0)
        claim = claim_over_draws({"": 1.0}, {"": by_draw}, {"": by_seed})
        alone = claim_over_seeds({"": 1.0}, {"": by_draw})
        assert claim is not None
        assert alone is not None
        holding += abs(claim.value) <= (claim.high - claim.low) / 2
        of_draws_alone += abs(alone.value) <= (alone.high - alone.low) / 2
    assert holding >= 0.93 * 400
    assert of_draws_alone < 0.93 * 400
