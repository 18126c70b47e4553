from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from tlmed.audit import usage
from tlmed.audit.findings import Finding
from tlmed.audit.usage import check_usage, score_follows
from tlmed.evaluation.statistics.auroc import auroc_interval

_NUM = 160


@pytest.fixture(autouse=True)
def _few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "NUM_PERMUTATIONS", 400)


def _units(seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    labels = np.where(np.arange(_NUM) % 2 == 0, "sick", "well")
    return pd.DataFrame({"p_positive": generator.random(_NUM), "label": labels, "group": np.arange(_NUM)})


def _levels(seed: int = 1) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).random(_NUM) < 0.4)


def _predictions(p_sick: np.ndarray, *, seeds: int = 1, folds: int = 0) -> pd.DataFrame:
    paths = [f"{number}.png" for number in range(_NUM)]
    parts = []
    for seed in range(seeds):
        table = pd.DataFrame({"path": paths, "unit": paths, "group": np.arange(_NUM), "arm": "one", "seed": seed})
        fold = (np.arange(_NUM) // 2 + seed) % folds if folds else -1
        label = np.where(np.arange(_NUM) % 2 == 0, "sick", "well")
        parts.append(table.assign(label=label, split="test", fold=fold, p_sick=p_sick, p_well=1 - p_sick))
    return pd.concat(parts, ignore_index=True)


def _check(predictions: pd.DataFrame, **columns: object) -> Finding:
    metadata = pd.DataFrame(columns, index=predictions["path"].unique())
    (finding,) = check_usage(predictions, metadata, positive="sick", unit="image")
    json.dumps(asdict(finding))
    return finding


def _is_sick() -> NDArray[np.bool_]:
    return np.asarray(np.arange(_NUM) % 2 == 0)


def _scored(seed: int = 0, **parts: np.ndarray) -> np.ndarray:
    """Between 0 and 1, noise and so much of each part."""
    total = np.sum([np.random.default_rng(seed).normal(size=_NUM), *parts.values()], axis=0)
    return np.asarray(1 / (1 + np.exp(-total)))


def test_a_level_is_measured_by_the_auroc_within_each_class() -> None:
    units, levels = _units(), _levels()
    found = score_follows(units, levels)
    assert found is not None
    assert found.measure == "AUROC"
    expected = {label: roc_auc_score(levels[rows.index], rows["p_positive"]) for label, rows in units.groupby("label")}
    assert found.by_class == pytest.approx(expected, abs=1e-12)
    assert found.value == pytest.approx(np.mean(list(expected.values())), abs=1e-12)


def test_a_number_is_measured_by_spearmans_correlation_within_each_class() -> None:
    units = _units().round({"p_positive": 1})
    numbers = pd.Series(np.random.default_rng(2).integers(0, 9, _NUM)) + 3 * units["p_positive"]
    numbers[:6] = np.nan
    found = score_follows(units, numbers)
    assert found is not None
    assert found.measure == "Spearman"
    for label, rows in units[6:].groupby("label"):
        expected = spearmanr(rows["p_positive"], numbers[rows.index]).statistic
        assert found.by_class[str(label)] == pytest.approx(expected, abs=1e-12)


def test_a_group_counts_once_however_many_units_it_has() -> None:
    units, levels = _units(), _levels()
    times = np.random.default_rng(0).integers(1, 6, _NUM)
    rows = np.repeat(np.arange(_NUM), times)
    copied = units.iloc[rows].reset_index(drop=True)
    assert score_follows(copied, levels.iloc[rows].reset_index(drop=True)) == score_follows(units, levels)


def test_by_chance_p_values_are_as_often_small_as_they_say() -> None:
    found = [score_follows(_units(seed), _levels(seed + 1000), seed=seed) for seed in range(150)]
    p_values = np.array([one.p_value for one in found if one is not None])
    assert len(p_values) == 150
    assert 0.01 <= np.mean(p_values <= 0.1) <= 0.2  # 0.1, standard error 0.025
    assert 0.35 <= np.median(p_values) <= 0.65


def test_permutations_are_the_same_however_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_follows(_units(), _levels())
    monkeypatch.setattr(usage, "_VALUES_AT_ONCE", 1000)
    assert score_follows(_units(), _levels()) == whole


def test_too_few_groups_or_of_a_level_are_not_measured() -> None:
    units = _units()
    assert score_follows(units, pd.Series(np.arange(_NUM) < 8)) is None
    assert score_follows(units[:18], _levels()[:18]) is None
    assert score_follows(units, pd.Series(np.ones(_NUM))) is None
    assert score_follows(units, pd.Series(np.arange(_NUM) < 8, dtype=float)) is None  # 4 of a class differ
    assert score_follows(units, pd.Series(np.arange(_NUM) < 10, dtype=float)) is not None


def test_a_score_of_the_disease_follows_no_variable_even_where_that_tells_the_class() -> None:
    mode = np.where(_is_sick() ^ (np.random.default_rng(3).random(_NUM) < 0.15), "RGB", "L")
    finding = _check(_predictions(_scored(sick=3.0 * _is_sick())), mode=mode)
    assert (finding.kind, finding.severity) == ("shortcut_usage", "note")
    (variable,) = finding.details["variables"]
    assert abs(variable["auroc_of_variable"] - 0.5) > 0.3
    assert "of 1 variable that can be looked at the score follows none" in finding.message
    assert "cannot be told" not in finding.message
    assert finding.details["cannot_be_told"] == []


def test_a_score_of_the_files_form_is_a_warning_and_nothing_is_left_where_that_is_the_same() -> None:
    generator = np.random.default_rng(3)
    is_form = _is_sick() ^ (generator.random(_NUM) < 0.25)
    score = _scored(form=4.0 * is_form)
    finding = _check(
        _predictions(score), format=np.where(is_form, "PNG", "JPEG"), width=generator.integers(9, 99, _NUM)
    )
    assert finding.severity == "warning"
    first, second = finding.details["variables"]
    assert first["variable"].startswith("format = ")
    assert first["is_shortcut"]
    assert not second["is_followed"]
    assert "the same way as the class" in finding.message
    matched = first["matched"]
    assert abs(matched["auroc"]["value"] - 0.5) < 0.15
    assert finding.details["auroc"]["value"] > 0.7
    level = first["variable"].removeprefix("format = ")
    chosen = (np.where(is_form, "PNG", "JPEG") == level) == (not matched["where"].startswith("not "))
    expected = auroc_interval(_is_sick()[chosen], score[chosen])
    assert matched["auroc"] == pytest.approx(asdict(expected))


def test_a_variable_that_is_followed_against_the_class_does_not_flatter() -> None:
    is_form = _is_sick() ^ (np.random.default_rng(3).random(_NUM) < 0.25)
    score = _scored(sick=2.0 * _is_sick(), form=-3.0 * is_form)
    finding = _check(_predictions(score), format=np.where(is_form, "PNG", "JPEG"))
    assert finding.severity == "note"
    assert "against the class" in finding.message


def test_numbers_are_matched_by_thirds_and_strings_of_numbers_are_numbers() -> None:
    generator = np.random.default_rng(4)
    width = generator.normal(size=_NUM) + 1.2 * _is_sick()
    finding = _check(_predictions(_scored(width=2.0 * width)), width=[f"{one:.3f}" for one in width])
    assert finding.severity == "warning"
    (variable,) = finding.details["variables"]
    assert variable["measure"] == "Spearman"
    assert " is " in variable["matched"]["where"]
    assert variable["matched"]["num_groups"] >= 10


def test_no_part_with_enough_groups_is_said() -> None:
    is_form = _is_sick().copy()
    is_form[:12] = ~is_form[:12]
    finding = _check(_predictions(_scored(form=4.0 * is_form)), format=np.where(is_form, "PNG", "JPEG"))
    assert "holds 10 groups of each class" in finding.message
    assert finding.details["variables"][0]["matched"] is None


def test_what_models_of_folds_add_to_all_their_scores_does_not_count() -> None:
    is_form = _is_sick() ^ (np.random.default_rng(3).random(_NUM) < 0.25)
    predictions = _predictions(_scored(form=2.0 * is_form), seeds=2, folds=4)
    moved = predictions.assign(p_sick=predictions["p_sick"] / (1.0 + predictions["fold"] + 3 * predictions["seed"]))
    form = np.where(is_form, "PNG", "JPEG")
    plain, shifted = (_check(table, format=form) for table in (predictions, moved))
    assert plain == shifted
    assert plain.details["auroc"]["low"] < plain.details["auroc"]["value"] < plain.details["auroc"]["high"]


def test_within_folds_the_auroc_is_their_mean() -> None:
    predictions = _predictions(_scored(sick=1.0 * _is_sick()), seeds=2, folds=4)
    by_fold = [
        roc_auc_score(rows["label"] == "sick", rows["p_sick"]) for _, rows in predictions.groupby(["seed", "fold"])
    ]
    found = _check(predictions, mode=np.where(_levels(), "RGB", "L")).details["auroc"]
    assert found["value"] == pytest.approx(np.mean(by_fold), abs=1e-12)


def test_a_constant_score_follows_nothing() -> None:
    finding = _check(_predictions(np.full(_NUM, 0.5), folds=3), mode=np.where(_levels(), "RGB", "L"))
    assert finding.severity == "note"
    assert finding.value == 0.5
    assert finding.details["variables"][0]["p_value"] == 1


def test_units_of_several_images_take_the_mean_and_the_commonest_level() -> None:
    predictions = _predictions(_scored(sick=1.0 * _is_sick()))
    predictions["unit"] = np.arange(_NUM) // 4 * 2 + np.arange(_NUM) % 2
    predictions["group"] = predictions["unit"]
    mode = np.where(np.arange(_NUM) // 4 % 2 == 0, "RGB", "L")
    finding = _check(predictions, mode=mode, width=np.arange(_NUM) % 7)
    assert finding.details["num_units"] == _NUM // 2
    assert {one["variable"].split(" ")[0] for one in finding.details["variables"]} == {"mode", "width"}


def test_variables_that_are_the_same_within_each_class_are_named_and_not_acquitted() -> None:
    form = np.where(_is_sick(), "PNG", "JPEG")
    site = np.where(_is_sick(), "q", np.where(np.arange(_NUM) % 4 == 1, "r", "s"))
    finding = _check(
        _predictions(_scored(sick=4.0 * _is_sick())), format=form, width=np.where(_is_sick(), 9, 5), height=9, tag=None
    )
    assert (finding.severity, finding.value) == ("note", None)
    assert "follows none" not in finding.message
    assert finding.message.endswith("cannot be told for format, width: each class has one value")
    assert finding.details["variables"] == []
    assert [one["variable"].split(" ")[0] for one in finding.details["cannot_be_told"]] == ["format", "width"]
    assert {abs(one["auroc_of_variable"] - 0.5) for one in finding.details["cannot_be_told"]} == {0.5}
    assert finding.details["auroc"]["value"] > 0.9

    mixed = _check(
        _predictions(_scored()),
        format=form,
        site=site,
        mode=np.where(np.arange(_NUM) < 6, "P", "L"),
        age=np.arange(_NUM),
    )
    assert "the score follows none within the classes" in mixed.message
    assert "; this cannot be told for format, site = q: each class has one value; for mode: too few" in mixed.message
    assert {one["variable"] for one in mixed.details["variables"]} == {"site = r", "site = s", "age"}


def test_where_nothing_differs_there_is_nothing_to_follow() -> None:
    finding = _check(_predictions(_scored()), format="PNG", width=9)
    assert "all are the same in all units" in finding.message
    assert finding.details["cannot_be_told"] == []


def test_too_few_groups_are_a_note() -> None:
    predictions = _predictions(_scored())
    few = predictions[predictions["path"].isin(predictions["path"][:12])]
    metadata = pd.DataFrame({"width": np.arange(12)}, index=few["path"].unique())
    (finding,) = check_usage(few, metadata, positive="sick", unit="image")
    assert finding.severity == "note"
    assert "cannot be told for width: too few groups" in finding.message
    assert [one["variable"] for one in finding.details["cannot_be_told"]] == ["width"]


def test_every_arm_has_a_finding_and_several_classes_may_be_positive() -> None:
    predictions = _predictions(_scored(sick=2.0 * _is_sick()))
    both = pd.concat([predictions, predictions.assign(arm="two")])
    both = both.assign(p_ill=both["p_sick"] / 2, p_sick=both["p_sick"] / 2)
    metadata = pd.DataFrame({"mode": np.where(_levels(), "RGB", "L")}, index=predictions["path"])
    first, second = check_usage(both, metadata, positive=("sick", "ill"), unit="image")
    assert [first.details["arm"], second.details["arm"]] == ["one", "two"]
    assert first.details["auroc"] == second.details["auroc"]
    assert first.details["auroc"]["value"] > 0.8
