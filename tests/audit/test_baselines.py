from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tlmed.audit import baselines
from tlmed.audit.baselines import baseline_predictions
from tlmed.audit.thumbnails import Thumbnails

_NUM = 90
_ARMS = {"majority", "metadata", "thumbnail-forest", "thumbnail-neighbour", "intensity"}


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_NUM_TREES", 20)


def _table() -> pd.DataFrame:
    paths = [f"{number}.png" for number in range(_NUM)]
    labels = np.where(np.arange(_NUM) % 3 == 0, "sick", "well")
    splits = np.repeat(["train", "val", "test"], _NUM // 3)
    return pd.DataFrame({"path": paths, "unit": paths, "group": np.arange(_NUM) // 2, "label": labels, "split": splits})


def _thumbnails(**metadata: object) -> Thumbnails:
    pixels = np.random.default_rng(0).integers(0, 200, (_NUM, 64, 64), dtype=np.uint8)
    columns = {"width": [64] * _NUM, "mode": ["L"] * _NUM, "exif_make": [None] * _NUM, **metadata}
    return Thumbnails(pixels, pd.DataFrame(columns), {})


def _folds() -> pd.DataFrame:
    paths = _table()["path"]
    return pd.concat(
        [pd.DataFrame({"path": paths, "seed": seed, "fold": (np.arange(_NUM) // 2 + seed) % 3}) for seed in (4, 7)]
    ).sample(frac=1, random_state=0)


def _auroc(predictions: pd.DataFrame, arm: str) -> float:
    rows = predictions[predictions["arm"] == arm]
    return float(roc_auc_score(rows["label"] == "sick", rows["p_sick"]))


def test_test_rows_alone_are_predicted_in_the_form_of_predictions() -> None:
    predictions = baseline_predictions(_table(), _thumbnails(), seeds=(3, 5))
    assert list(predictions) == ["path", "unit", "group", "label", "split", "arm", "seed", "fold", "p_sick", "p_well"]
    assert set(predictions["arm"]) == _ARMS
    assert set(predictions["seed"]) == {3, 5}
    assert (predictions["fold"] == -1).all()
    tested = _table().query("split == 'test'")
    for _, rows in predictions.groupby(["arm", "seed"]):
        assert rows["path"].tolist() == tested["path"].tolist()
        assert rows["label"].tolist() == tested["label"].tolist()
    np.testing.assert_allclose(predictions["p_sick"] + predictions["p_well"], 1)


def test_the_majority_has_the_shares_of_train_and_val() -> None:
    table = _table()
    table.loc[:9, "label"] = "sick"
    expected = (table["label"][:60] == "sick").mean()
    majority = baseline_predictions(table, _thumbnails()).query("arm == 'majority'")
    np.testing.assert_allclose(majority["p_sick"], expected)


def test_planted_shortcuts_are_told_by_the_baseline_that_sees_them() -> None:
    is_sick = (_table()["label"] == "sick").to_numpy()
    thumbnails = _thumbnails(mode=np.where(is_sick, "RGB", "L"))
    predictions = baseline_predictions(_table(), thumbnails)
    assert _auroc(predictions, "metadata") == 1
    assert _auroc(predictions, "majority") == 0.5
    assert abs(_auroc(predictions, "thumbnail-forest") - 0.5) < 0.3
    thumbnails = _thumbnails()
    thumbnails.pixels[is_sick] += 40
    predictions = baseline_predictions(_table(), thumbnails)
    assert _auroc(predictions, "intensity") > 0.95
    assert _auroc(predictions, "metadata") == 0.5


def test_the_number_of_images_in_the_unit_and_a_tag_that_is_missing_are_metadata() -> None:
    table = _table()
    table["unit"] = np.where(table["label"] == "sick", table["path"], np.arange(_NUM) // 3)
    assert _auroc(baseline_predictions(table, _thumbnails()), "metadata") == 1
    is_sick = (table["label"] == "sick").to_numpy()
    lens = np.where(is_sick, 50.0, np.nan)
    assert _auroc(baseline_predictions(_table(), _thumbnails(lens=lens)), "metadata") == 1


def test_the_nearest_picture_decides_whatever_its_brightness() -> None:
    thumbnails = _thumbnails()
    # Image 60 (sick) is image 1 (well), brighter; image 61 (well) is image 0 (sick), darker.
    thumbnails.pixels[60] = thumbnails.pixels[1] + 30
    thumbnails.pixels[61] = thumbnails.pixels[0] // 2
    rows = baseline_predictions(_table(), thumbnails).query("arm == 'thumbnail-neighbour'").set_index("path")["p_sick"]
    assert rows["60.png"] < 0.35
    assert rows["61.png"] > 0.65


def test_labels_of_test_are_not_looked_at() -> None:
    thumbnails, table = _thumbnails(), _table()
    turned = table.assign(label=table["label"].where(table["split"] != "test", "sick"))
    before, after = baseline_predictions(table, thumbnails), baseline_predictions(turned, thumbnails)
    np.testing.assert_array_equal(before["p_sick"], after["p_sick"])


def test_labels_of_the_own_fold_are_not_looked_at() -> None:
    thumbnails, table, folds = _thumbnails(), _table(), _folds()
    first = folds.query("seed == 4").set_index("path")["fold"].loc[table["path"]].to_numpy() == 0
    turned = table.assign(label=table["label"].where(~first, "sick"))
    before, after = (baseline_predictions(one, thumbnails, folds).query("seed == 4") for one in (table, turned))
    own = (before["fold"] == 0).to_numpy()
    np.testing.assert_array_equal(before["p_sick"][own], after["p_sick"][own])
    assert (before["p_sick"][~own].to_numpy() != after["p_sick"][~own].to_numpy()).any()


def test_with_folds_every_image_is_predicted_once_a_repeat_in_its_own_fold() -> None:
    folds = _folds()
    predictions = baseline_predictions(_table(), _thumbnails(), folds)
    expected = folds.set_index(["path", "seed"])["fold"]
    for _, rows in predictions.groupby(["arm", "seed"]):
        assert sorted(rows["path"]) == sorted(_table()["path"])
        found = rows.set_index(["path", "seed"])["fold"]
        assert (found == expected.loc[found.index]).all()


def test_a_class_without_training_images_gets_no_probability() -> None:
    table = _table()
    table.loc[80:, "label"] = "odd"
    predictions = baseline_predictions(table, _thumbnails())
    assert (predictions["p_odd"] == 0).all()


def test_equal_seeds_give_equal_predictions() -> None:
    first, second = (baseline_predictions(_table(), _thumbnails()) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
