from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlmed.errors import InputError
from tlmed.evaluation.assessment.threshold_choice import (
    Target,
    chosen_threshold,
    default_threshold,
    parse_target,
    stated_threshold,
    with_scores,
)


def _units(
    scores: list[float], positive: list[bool], seed: str = "0", fold: int | list[int] = -1, *, name: str = "u"
) -> pd.DataFrame:
    table = pd.DataFrame({"score": scores, "is_positive": positive, "seed": seed, "fold": fold})
    return table.assign(unit=[f"{name}{i}" for i in range(len(scores))], group=lambda t: t["unit"])


NONE = _units([], [])
AIM = Target("aim", "sensitivity", 0.9)


def test_without_a_threshold_a_unit_needs_more_than_a_half_and_the_sentence_says_whose_choice_that_is() -> None:
    units = _units([0.5, 0.51], [False, True])
    point = default_threshold(units)
    assert point.calls(units).tolist() == [False, True]
    assert "nobody's choice" in point.to_json()["origin"]
    assert point.to_json()["threshold"] == 0.5


def test_a_stated_threshold_includes_the_value_itself() -> None:
    units = _units([0.29, 0.3], [False, True])
    assert stated_threshold(units, 0.3, "why").calls(units).tolist() == [False, True]
    with pytest.raises(InputError, match=r"between 0 and 1, not 1\.5"):
        stated_threshold(units, 1.5, "why")


def test_a_threshold_is_chosen_on_the_val_rows_of_each_seed_and_applied_to_its_test_rows() -> None:
    val = pd.concat(
        [_units([0.2, 0.6, 0.8], [False, True, True]), _units([0.1, 0.3, 0.4], [False, True, True], seed="1")]
    )
    test = pd.concat(
        [_units([0.35, 0.5], [False, True], name="t"), _units([0.15, 0.25], [False, True], seed="1", name="t")]
    )
    point = chosen_threshold(test, val, AIM)
    # Half way between the lowest positive and the negative below it.
    assert point.by_model == {("0", -1): pytest.approx(0.4), ("1", -1): pytest.approx(0.2)}
    assert point.calls(test).tolist() == [False, True, False, True]
    assert point.to_json()["threshold"] is None
    assert (point.to_json()["lowest"], point.to_json()["highest"]) == (pytest.approx(0.2), pytest.approx(0.4))
    assert "on val rows" in point.origin


def test_choosing_on_test_is_refused_with_the_reason() -> None:
    with pytest.raises(
        InputError, match="test rows alone, and a threshold chosen on the rows that it is then measured"
    ):
        chosen_threshold(_units([0.2, 0.8], [False, True]), NONE, AIM)


def test_groups_in_val_and_test_of_one_model_are_refused() -> None:
    val, test = _units([0.2, 0.8], [False, True]), _units([0.3, 0.7, 0.9], [False, True, True])
    with pytest.raises(InputError, match=r"in val and in test: u0, u1 \(2 in all\); .* Move each group to one split"):
        chosen_threshold(test, val, AIM)
    # Each seed has a partition of its own.
    apart = (
        pd.concat([val, val.assign(seed="1", group="v")]),
        pd.concat([test.assign(group="t"), test.assign(seed="1")]),
    )
    assert chosen_threshold(apart[1], apart[0], AIM).by_model


def test_val_rows_of_another_seed_do_not_serve() -> None:
    with pytest.raises(InputError, match="no val rows of seed 0"):
        chosen_threshold(_units([0.2, 0.8], [False, True]), _units([0.2, 0.8], [False, True], seed="1"), AIM)


def test_a_folds_threshold_does_not_depend_on_that_fold() -> None:
    generator = np.random.default_rng(0)
    positive = (np.arange(60) % 2 == 0).tolist()
    scores = generator.uniform(size=60) * 0.6 + 0.4 * np.array(positive)
    folds = (np.arange(60) // 2 % 3).tolist()
    before = chosen_threshold(_units(scores.tolist(), positive, fold=folds), NONE, AIM).by_model
    changed = np.where(np.array(folds) == 1, scores / 2, scores)
    after = chosen_threshold(_units(changed.tolist(), positive, fold=folds), NONE, AIM).by_model
    assert after["0", 1] == before["0", 1]
    assert after["0", 0] != before["0", 0]


def test_too_few_to_assure_says_how_many_are_needed() -> None:
    val = _units([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    with pytest.raises(InputError, match=r"--assure sensitivity=0.95: .*needs at least 59 positives"):
        chosen_threshold(val.assign(group="t"), val, Target("assure", "sensitivity", 0.95))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0.9", "write sensitivity=VALUE"),
        ("recall=0.9", "write sensitivity=VALUE"),
        ("sensitivity=high", "write sensitivity=VALUE"),
        ("sensitivity=1", "between 0 and 1, neither included"),
        ("specificity=-0.1", "the specificity must be between 0 and 1"),
    ],
)
def test_a_target_of_another_form_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_target("aim", text)


def test_a_target_is_read() -> None:
    assert parse_target("assure", "specificity=0.8") == Target("assure", "specificity", 0.8)


def test_the_score_is_the_sum_of_the_positive_classes() -> None:
    table = pd.DataFrame(
        {
            "unit": ["a", "b"],
            "group": ["a", "b"],
            "label": ["mild", "none"],
            "p_mild": [0.3, 0.1],
            "p_severe": [0.5, 0.1],
        }
    ).assign(p_none=[0.2, 0.8])
    scored = with_scores(table, ["mild", "severe"])
    assert scored["score"].tolist() == pytest.approx([0.8, 0.2])
    assert scored["is_positive"].tolist() == [True, False]
    assert scored["seed"].tolist() == ["0", "0"]
    assert scored["fold"].tolist() == [-1, -1]
