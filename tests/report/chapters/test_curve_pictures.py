from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_recall_curve, roc_curve

from tests.report.conftest import Recorded
from tlmed.evaluation.estimates.prediction_table import read_test_rows
from tlmed.evaluation.estimates.unit_scores import UnitScores, score_units
from tlmed.report.chapters.curve_pictures import draw_curves
from tlmed.report.chapters.seed_dots import draw_primary_contrast, draw_seeds, values_by_seed
from tlmed.report.chapters.training_curves import draw_training_curves
from tlmed.report.parts import Picture
from tlmed.report.record.run_record import RunRecord


def _scores(record: RunRecord) -> tuple[RunRecord, UnitScores]:
    return record, score_units(read_test_rows(record.predictions, record.recipe.evaluation.positive, "image"))


@pytest.fixture(scope="module")
def three_seeds(recorded: Recorded) -> tuple[RunRecord, UnitScores]:
    return _scores(recorded(arms=("probe", "generic", "generic-related")))


@pytest.fixture(scope="module")
def pictures(three_seeds: tuple[RunRecord, UnitScores]) -> list[Picture]:
    return draw_curves(three_seeds[1], three_seeds[0].metrics)


def test_the_pictures_tell_the_curves_of_scikit_learn(
    three_seeds: tuple[RunRecord, UnitScores], pictures: list[Picture]
) -> None:
    _, scores = three_seeds
    roc, precision = pictures
    found, precise = [], []
    for one in scores.arms["generic"]:
        truth, score = one.scored.labels == one.scored.positive, one.scored.probabilities[:, one.scored.positive]
        alarms, sensitivity, _ = roc_curve(truth, score, drop_intermediate=False)
        found.append(sensitivity[alarms <= 0.1].max())
        values, recall, _ = precision_recall_curve(truth, score)
        # The highest threshold that reaches the recall is the last one, for recall falls.
        precise.append(values[np.flatnonzero(recall >= 0.8)[-1]])
    assert f"generic {np.mean(found):.2f} (" in roc.alternative
    assert f"generic {np.mean(precise):.2f} (" in precision.alternative
    assert roc.alternative.startswith("Sensitivity at a 1 - specificity of 0.1: probe ")
    assert "percentiles of 500 resamples of the 30 groups, by class, and of the 3 seeds" in roc.caption
    assert "the share of positives here (47%)" in precision.caption


def test_both_forms_differ_and_are_small(pictures: list[Picture]) -> None:
    for picture in pictures:
        light, dark = (Image.open(io.BytesIO(content)).convert("L") for content in (picture.light, picture.dark))
        assert light.size == dark.size
        assert np.asarray(light).mean() > 200
        assert np.asarray(dark).mean() < 60
        assert len(picture.light) < 120_000


def test_seeds_are_measured_as_scikit_learn_does(three_seeds: tuple[RunRecord, UnitScores]) -> None:
    from sklearn.metrics import accuracy_score, roc_auc_score

    record, scores = three_seeds
    tested = record.predictions[record.predictions["split"] == "test"]
    by_seed = values_by_seed(scores, "auroc")["generic"]
    for seed, value in by_seed.items():
        rows = tested[(tested["arm"] == "generic") & (tested["seed"] == int(seed))]
        assert value == pytest.approx(roc_auc_score(rows["label"] == "ill", rows["p_ill"]))
        called = np.where(rows["p_ill"] > 0.5, "ill", "well")
        accuracy = values_by_seed(scores, "accuracy")["generic"][seed]
        assert accuracy == pytest.approx(accuracy_score(rows["label"], called))
    assert np.mean(list(by_seed.values())) == pytest.approx(record.metrics["arms"]["generic"]["auroc"]["value"])


def test_each_seed_is_told(three_seeds: tuple[RunRecord, UnitScores]) -> None:
    record, scores = three_seeds
    picture = draw_seeds(scores, record.metrics, "auroc")
    values = values_by_seed(scores, "auroc")
    assert list(values["probe"]) == ["0"]
    assert f"probe {values['probe']['0']:.3f} in all seeds, mean" in picture.alternative
    assert ", ".join(f"{value:.3f}" for value in values["generic"].values()) in picture.alternative
    assert "circle 0, square 1, triangle 2" in picture.caption
    assert "All seeds of probe came to the same." in picture.caption


@pytest.mark.usefixtures("unrendered")
def test_over_folds_values_are_those_within(recorded: Recorded) -> None:
    record, scores = _scores(recorded(folds=True, sizes={"ill": 30, "well": 33}))
    values = values_by_seed(scores, "auroc")["generic"]
    assert np.mean(list(values.values())) == pytest.approx(record.metrics["arms"]["generic"]["auroc"]["value"])
    assert "no band: 3 folds in all" in draw_curves(scores, record.metrics)[0].caption


@pytest.mark.usefixtures("unrendered")
def test_the_primary_contrast_is_told_with_its_seeds(three_seeds: tuple[RunRecord, UnitScores]) -> None:
    comparison = three_seeds[0].comparison
    assert comparison is not None
    primary = comparison["contrasts"][0]
    picture = draw_primary_contrast(comparison)
    claim = primary["claims"][primary["speaks_for"]]
    assert f"95 % {claim['low']:+.3f} to {claim['high']:+.3f}" in picture.alternative
    assert re.findall(r"seed (\d) ([+-][\d.]+\d)", picture.alternative) == [
        (str(one["seed"]), f"{one['value']:+.3f}") for one in primary["by_seed"]
    ]
    assert "margin of 2 points" in picture.caption


@pytest.mark.usefixtures("unrendered")
def test_a_contrast_without_claim_or_pairs_has_no_interval(three_seeds: tuple[RunRecord, UnitScores]) -> None:
    comparison = three_seeds[0].comparison
    assert comparison is not None
    bare = {**comparison["contrasts"][0], "speaks_for": None, "by_seed": []}
    picture = draw_primary_contrast({**comparison, "contrasts": [bare]})
    assert "no interval; not paired by seed" in picture.alternative
    assert picture.caption.endswith("Its seeds cannot be paired.")


@pytest.mark.usefixtures("unrendered")
def test_one_seed_says_so(recorded: Recorded) -> None:
    record, scores = _scores(recorded(seeds=(0,)))
    assert "the one seed, so the spread of training is not known" in draw_seeds(scores, record.metrics, "auroc").caption


@pytest.mark.usefixtures("unrendered")
def test_training_curves_are_of_what_takes_steps() -> None:
    import pandas as pd

    from tests.report.chapters.test_lineage_drawing import lineage

    keys = [key for key in lineage()["stages"] if not key.startswith("p")]
    histories = pd.DataFrame(
        [
            {
                "key": key,
                "epoch": epoch,
                "train_loss": 1 / epoch,
                "val_loss": 0.5 + 0.1 * int(key[-1]),
                "val_accuracy": 0.8,
            }
            for key in keys
            for epoch in (1, 2)
        ]
    )
    picture = draw_training_curves(lineage(), histories)
    assert picture is not None
    told = "at the end training loss 0.50, val loss 0.50 to 0.60, val accuracy 0.80."
    assert picture.alternative.split(f" {told}")[0] == "target of generic:"
    assert [title.strip() for title in picture.alternative.split(told)][:-1] == [
        "target of generic:",
        "related of 2 arms:",
        "target of 2 arms:",
        "related of generic-placebo:",
        "target of generic-placebo:",
    ]
    assert draw_training_curves(lineage(), histories.iloc[:0]) is None
