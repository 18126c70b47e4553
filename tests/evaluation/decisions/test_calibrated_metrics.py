from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from tlmed.errors import InputError
from tlmed.evaluation.decisions.calibrated_metrics import measure_calibrated
from tlmed.evaluation.decisions.held_out_fit import fit_held_out
from tlmed.evaluation.statistics.proportions import clustered_wilson_interval, wilson_interval
from tlmed.recipe.protocol import OperatingPointSettings

AIM = OperatingPointSettings(target=0.9)


def _rows(num_units: int, draw: int, **columns: Any) -> pd.DataFrame:
    is_sick = np.arange(num_units) % 2
    of_sick = np.random.default_rng(draw).beta(2 + is_sick, 3 - is_sick)
    names = [f"{columns.get('split', 'test')} {index:03}" for index in range(num_units)]
    table = pd.DataFrame({"path": names, "unit": names, "group": names, "label": np.where(is_sick, "sick", "well")})
    return table.assign(p_sick=of_sick, p_well=1 - of_sick, arm="full", seed=0, fold=-1).assign(**columns)


def _fixed(seeds: int = 1, **columns: Any) -> pd.DataFrame:
    parts = [
        _rows(number, 10 * seed + number, split=split, seed=seed, **columns)
        for seed in range(seeds)
        for split, number in (("val", 50), ("test", 70))
    ]
    return pd.concat(parts, ignore_index=True)


def _folded(repeats: int = 1) -> pd.DataFrame:
    parts = []
    for seed in range(repeats):
        folds = np.random.default_rng(seed).permutation(60) % 4
        parts.append(_rows(60, seed, split="test", seed=seed, fold=folds))
    return pd.concat(parts, ignore_index=True)


def _measure(table: pd.DataFrame, **settings: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"positive": "sick", "calibration": "platt", "operating_points": [AIM], **settings}
    measured = measure_calibrated(table, **chosen)
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    return measured


def test_calibration_and_thresholds_of_val_are_applied_to_test_unchanged() -> None:
    table = _fixed()
    rule = fit_held_out(table, positive="sick", operating_points=[AIM])
    chosen = rule.points[0].point
    assert chosen is not None
    test = table[table["split"] == "test"]
    calibrated = rule.apply(test[["p_sick", "p_well"]].to_numpy())[:, 0]
    is_sick = (test["label"] == "sick").to_numpy()
    measured = _measure(table)
    told, cells = measured["calibrated"]["full"], measured["calibrated"]["full"]["metrics"]
    assert cells["brier"]["value"] == pytest.approx(((calibrated - is_sick) ** 2).mean())
    assert cells["brier"]["low"] < cells["brier"]["value"] < cells["brier"]["high"]
    assert list(cells) == ["calibration_slope", "calibration_intercept", "calibration_in_the_large", "brier"]
    assert (told["method"], told["fitted_on"], told["num_units"], told["calibrated_to"]) == ("platt", "val", 50, 0.5)
    (point,) = measured["operating_points"]["full"]
    (fit,) = point["fits"]
    assert (fit["seed"], fit["fold"], fit["threshold"]) == (0, -1, chosen.threshold)
    assert fit["sensitivity"] == chosen.sensitivity >= 0.9
    right = {
        "sensitivity": calibrated[is_sick] >= chosen.threshold,
        "specificity": calibrated[~is_sick] < chosen.threshold,
    }
    for name, decided in right.items():
        expected = wilson_interval(int(decided.sum()), len(decided))
        cell = point[name]
        assert (cell["numerators"], cell["denominator"]) == ([int(decided.sum())], 35)
        assert (cell["value"], cell["low"], cell["high"]) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )


def test_the_labels_of_test_change_neither_map_nor_threshold() -> None:
    table = _fixed()
    turned = table.assign(
        label=table["label"].where(table["split"] == "val", table["label"].map({"sick": "well", "well": "sick"}))
    )
    one, other = _measure(table), _measure(turned)
    assert one["operating_points"]["full"][0]["fits"] == other["operating_points"]["full"][0]["fits"]


def test_seeds_have_thresholds_of_their_own_and_figures_are_their_mean() -> None:
    table = _fixed(seeds=3)
    whole = _measure(table)["operating_points"]["full"][0]
    alone = [_measure(rows)["operating_points"]["full"][0] for _, rows in table.groupby("seed")]
    assert [fit["threshold"] for fit in whole["fits"]] == [one["fits"][0]["threshold"] for one in alone]
    assert whole["sensitivity"]["numerators"] == [one["sensitivity"]["numerators"][0] for one in alone]
    assert whole["sensitivity"]["value"] == pytest.approx(np.mean([one["sensitivity"]["value"] for one in alone]))
    assert "over seeds and groups" in whole["sensitivity"]["method"]
    assert whole["sensitivity"]["low"] < whole["sensitivity"]["value"] < whole["sensitivity"]["high"]


def test_units_of_a_group_widen_the_interval() -> None:
    table = _fixed()
    index = table["unit"].str[-3:].astype(int)
    grouped = table.assign(group=table["split"] + (index // 2 % 24).astype(str) + table["label"])
    cell = _measure(grouped)["operating_points"]["full"][0]["sensitivity"]
    rule = fit_held_out(grouped, positive="sick", operating_points=[AIM])
    chosen = rule.points[0].point
    assert chosen is not None
    sick = grouped[(grouped["split"] == "test") & (grouped["label"] == "sick")]
    called = rule.decide(rule.apply(sick[["p_sick", "p_well"]].to_numpy()), chosen)
    expected = clustered_wilson_interval(called, sick["group"].to_numpy())
    assert (cell["low"], cell["high"]) == pytest.approx((expected.low, expected.high))


def test_too_few_groups_have_no_interval() -> None:
    table = _fixed()
    few = table[(table["split"] == "val") | (table["unit"] < "test 018")]
    cell = _measure(few)["operating_points"]["full"][0]["sensitivity"]
    assert (cell["low"], cell["high"], cell["denominator"]) == (None, None, 9)
    assert cell["too_few"].startswith("too few groups with units that are positive: 9")


def test_under_folds_each_fold_is_measured_by_what_the_others_say() -> None:
    table = _folded()
    (point,) = _measure(table)["operating_points"]["full"]
    assert [fit["fold"] for fit in point["fits"]] == [0, 1, 2, 3]
    found = 0
    for fit in point["fits"]:
        others = table[table["fold"] != fit["fold"]]
        rule = fit_held_out(others, positive="sick", operating_points=[AIM])
        chosen = rule.points[0].point
        assert chosen is not None
        assert fit["threshold"] == chosen.threshold
        sick = table[(table["fold"] == fit["fold"]) & (table["label"] == "sick")]
        found += int(rule.decide(rule.apply(sick[["p_sick", "p_well"]].to_numpy()), chosen).sum())
    assert (point["sensitivity"]["numerators"], point["sensitivity"]["denominator"]) == ([found], 30)
    assert "approximate" in point["sensitivity"]["method"]


def test_the_labels_of_a_fold_do_not_move_its_own_threshold() -> None:
    table = _folded()
    inside = table.index[table["fold"] == 2][:6]
    turned = table.copy()
    turned.loc[inside, "label"] = turned.loc[inside, "label"].map({"sick": "well", "well": "sick"})
    one, other = (_measure(rows)["operating_points"]["full"][0]["fits"] for rows in (table, turned))
    assert one[2] == other[2]
    assert all(one[fold]["threshold"] != other[fold]["threshold"] for fold in (0, 1, 3))


def test_repeats_are_averaged() -> None:
    measured = _measure(_folded(repeats=2))
    (point,) = measured["operating_points"]["full"]
    assert len(point["fits"]) == 8
    assert len(point["specificity"]["numerators"]) == 2
    assert "over 4 folds, means over 2 repeats" in measured["calibrated"]["full"]["values_are"]


def test_arms_are_measured_apart() -> None:
    table = _fixed()
    other = _fixed().assign(
        arm="scratch", p_sick=lambda rows: rows["p_sick"] ** 2, p_well=lambda rows: 1 - rows["p_sick"]
    )
    both = _measure(pd.concat([table, other]))
    assert both["calibrated"]["full"] == _measure(table)["calibrated"]["full"]
    assert both["operating_points"]["scratch"] == _measure(other)["operating_points"]["scratch"]


def test_a_stated_prevalence_shifts_the_probabilities_and_weights_the_units() -> None:
    table = _fixed()
    rule = fit_held_out(table, positive="sick")
    test = table[table["split"] == "test"]
    calibrated = rule.apply(test[["p_sick", "p_well"]].to_numpy())[:, 0]
    shifted = expit(logit(calibrated) + logit(0.1) - logit(0.5))
    is_sick = (test["label"] == "sick").to_numpy()
    weights = np.where(is_sick, 0.1, 0.9)  # half of test is sick
    told = _measure(table, prevalence=0.1)["calibrated"]["full"]
    assert told["at_prevalence"] == 0.1
    assert told["metrics"]["brier"]["value"] == pytest.approx(np.average((shifted - is_sick) ** 2, weights=weights))
    assert told["metrics"]["brier"]["note"] == "at a prevalence of 0.1, probabilities shifted to it"
    # Shifted by logit(0.1) - logit(0.5), and weighted likewise: no error on the whole comes from that.
    whole = told["metrics"]["calibration_in_the_large"]
    assert whole["low"] < 0 < whole["high"]
    consecutive = _measure(table, prevalence=0.1, sampling="consecutive")["calibrated"]["full"]
    assert consecutive["at_prevalence"] is None


def test_without_a_prevalence_what_depends_on_it_is_marked() -> None:
    cells = _measure(_fixed())["calibrated"]["full"]["metrics"]
    assert cells["brier"]["note"] == "at this set's prevalence"
    assert "note" not in cells["calibration_slope"]
    consecutive = _measure(_fixed(), sampling="consecutive")["calibrated"]["full"]["metrics"]
    assert "note" not in consecutive["brier"]


def test_what_is_refused_is_said_and_the_rest_is_measured() -> None:
    wanted = [AIM, OperatingPointSettings(kind="assure", target=0.99)]
    first, second = _measure(_folded(), operating_points=wanted)["operating_points"]["full"]
    assert first["refused"] is None
    assert second["refused"].startswith("seed 0, without fold 0: to assure a sensitivity of 0.99")
    assert "sensitivity" not in second
    assert all(fit["threshold"] is None for fit in second["fits"])


def test_nothing_calibrated_has_no_calibrated_figures_but_decisions() -> None:
    measured = _measure(_fixed(), calibration="isotonic", prevalence=0.2)
    assert measured["calibrated"]["full"]["metrics"] == {}
    assert "1,000 units" in measured["calibrated"]["full"]["notes"][0]
    assert measured["operating_points"]["full"][0]["sensitivity"]["denominator"] == 35


def test_separated_probabilities_have_no_slope_and_say_so() -> None:
    table = _fixed()
    of_sick = np.where(table["split"] == "test", np.where(table["label"] == "sick", 0.9, 0.1), table["p_sick"])
    cells = _measure(table.assign(p_sick=of_sick, p_well=1 - of_sick))["calibrated"]["full"]["metrics"]
    assert cells["calibration_slope"]["value"] is None
    assert cells["calibration_slope"]["undefined"] == "the probabilities part the classes perfectly"


def test_calibrated_probabilities_of_0_and_1_are_told_beside_a_stated_prevalence() -> None:
    # Enough units for the isotonic map, which ends in shares of 0 and 1.
    parts = [_rows(1200, draw, split=split) for draw, split in enumerate(("val", "test"))]
    cells = _measure(pd.concat(parts), calibration="isotonic", prevalence=0.2)["calibrated"]["full"]["metrics"]
    note = cells["calibration_in_the_large"]["note"]
    assert note.startswith("at a prevalence of 0.2, probabilities shifted to it; ")
    assert note.endswith("at 0 or 1 are taken as 2^-25 from it")


def test_three_classes() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 3
    scores = generator.dirichlet([1, 1, 1], 120) + 0.4 * np.eye(3)[labels]
    table = pd.DataFrame({"unit": np.arange(120).astype(str), "label": np.array(list("abc"))[labels]})
    table = table.assign(split=np.where(np.arange(120) < 60, "val", "test"))
    table = table.assign(**{f"p_{name}": scores[:, k] / scores.sum(axis=1) for k, name in enumerate("abc")})
    alone = _measure(table, positive=None)
    assert list(alone["calibrated"]["model"]["metrics"]) == ["brier"]
    assert "no class is named as positive" in alone["operating_points"]["model"][0]["refused"]
    summed = _measure(table, positive=["a", "b"], prevalence=0.3)
    assert summed["calibrated"]["model"]["calibrated_to"] == pytest.approx(2 / 3)
    assert summed["operating_points"]["model"][0]["sensitivity"]["denominator"] == 40


def test_a_threshold_chosen_on_test_is_refused() -> None:
    with pytest.raises(InputError, match="threshold chosen on test is refused"):
        _measure(_rows(40, 0, split="test"))
