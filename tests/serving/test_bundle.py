from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.special import expit, logit

from tlmed import Bundle
from tlmed.data.images import UnreadableImage
from tlmed.errors import InputError
from tlmed.evaluation.decisions.decision_rule import ChosenPoint, DecisionRule
from tlmed.evaluation.decisions.recalibration import PlattScaling
from tlmed.evaluation.decisions.thresholds import OperatingPoint
from tlmed.models.classifier import create_classifier
from tlmed.models.weights import save_weights
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.recipe.protocol import OperatingPointSettings
from tlmed.runtime.digests import file_digest
from tlmed.serving.bundle import FORMAT_VERSION, write_bundle

IMAGE = ImageSettings(size=32, mean=(0.3,), std=(0.2,))
PLATT = PlattScaling(slope=0.5, intercept=1.0, prevalence=0.4, num_units=50, intercept_only=False)
UNFITTED = DecisionRule(("a", "b", "c"), ("a",), None, (), None, 0, 0, None)


def rule_of_two(**changes: Any) -> DecisionRule:
    values: dict[str, Any] = {"map": PLATT, "points": (), "note": None, **changes}
    return DecisionRule(("sick", "well"), ("sick",), fitted_on="val", num_units=50, num_groups=50, **values)


def point(threshold: float) -> ChosenPoint:
    measured = OperatingPoint(threshold, "sensitivity", 0.9, False, 0.95, 0.8, 0.9, 0.7, 20, 30)
    return ChosenPoint(OperatingPointSettings(target=0.9), measured, None)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    def make_bundle(rule: DecisionRule = UNFITTED, num_members: int = 1, name: str = "bundle") -> Path:
        files = []
        for member in range(num_members):
            torch.manual_seed(member)
            classifier = create_classifier(
                BackboneSettings(name="test_resnet"), IMAGE, len(rule.classes), mean=IMAGE.mean, std=IMAGE.std
            )
            torch.nn.init.normal_(classifier.head.weight, std=2.0)  # far from the even answers of a new head
            files.append(tmp_path / f"{member}.safetensors")
            save_weights(classifier.state_dict(), files[-1])
        card = {
            **rule.to_card(),
            "backbone": {"name": "test_resnet"},
            "image": IMAGE.model_dump(mode="json"),
            "members": [{"digest": file_digest(file)} for file in files],
            "synthetic": False,
        }
        write_bundle(tmp_path / name, files, card, "# card\n")
        return tmp_path / name

    return make_bundle


@pytest.fixture
def folder(make: Callable[..., Path]) -> Path:
    return make()


def images(folder: Path, number: int) -> Path:
    generator = np.random.default_rng(0)
    folder.mkdir()
    for index in range(number):
        Image.fromarray(generator.integers(0, 255, (40, 50), dtype=np.uint8)).save(folder / f"{index:03d}.png")
    return folder


def change_card(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file = folder / "bundle.json"
    file.write_text(json.dumps(change(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")


def test_predictions_of_many_images_are_those_of_each(folder: Path, tmp_path: Path) -> None:
    bundle, place = Bundle.load(folder), images(tmp_path / "images", 40)  # more than one batch
    together = bundle.predict([place])
    assert together["path"].tolist() == [str(place / f"{index:03d}.png") for index in range(40)]
    columns = [f"p_{name}" for name in bundle.classes]
    assert list(together) == ["path", "unit", "predicted", *columns, "raw_a", "raw_b", "raw_c"]
    np.testing.assert_allclose(together[columns].sum(axis=1), 1)
    alone = bundle.predict([place / "033.png"])
    np.testing.assert_allclose(alone[columns], together[columns].iloc[[33]], atol=1e-6)
    assert together["predicted"].tolist() == ["abc"[k] for k in together[columns].to_numpy().argmax(axis=1)]
    assert together[columns].to_numpy().tolist() == together[["raw_a", "raw_b", "raw_c"]].to_numpy().tolist()


def test_several_networks_give_their_mean_which_is_then_calibrated(make: Callable[..., Path], tmp_path: Path) -> None:
    place = images(tmp_path / "images", 6)
    folder = make(rule_of_two(), num_members=3)
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["README.md", "bundle.json", *(f"model-{member}.safetensors" for member in (1, 2, 3))]
    of_members = []
    for member in range(3):
        single = make(rule_of_two(map=None), num_members=3, name="single")
        (single / f"model-{member + 1}.safetensors").rename(single / "model.safetensors")
        change_card(single, lambda card, kept=member: {**card, "members": [card["members"][kept]]})  # type: ignore[misc]
        of_members.append(Bundle.load(single).predict([place])["raw_sick"].to_numpy())
    assert np.ptp(of_members, axis=0).max() > 0.01
    table = Bundle.load(folder).predict([place])
    np.testing.assert_allclose(table["raw_sick"], np.mean(of_members, axis=0), atol=1e-12)
    np.testing.assert_allclose(table["p_sick"], expit(0.5 * logit(table["raw_sick"]) + 1))


def test_decisions_are_by_the_calibrated_probability(make: Callable[..., Path], tmp_path: Path) -> None:
    place = images(tmp_path / "images", 8)
    at = float(np.sort(Bundle.load(make(rule_of_two())).predict([place])["p_sick"])[3])
    refused = ChosenPoint(OperatingPointSettings(target=0.99), None, "too few")
    bundle = Bundle.load(make(rule_of_two(points=(point(at), refused, point(2.0)))))
    table = bundle.predict([place])
    assert (table["decision"] == np.where(table["p_sick"] >= at, "positive", "negative")).all()
    assert (table["decision"] == "positive").sum() == 5
    assert list(table)[2:6] == ["predicted", "decision", "decision_3", "p_sick"]
    assert set(table["decision_3"]) == {"negative"}


def test_a_prevalence_shifts_the_probabilities_but_not_the_decision(make: Callable[..., Path], tmp_path: Path) -> None:
    place = images(tmp_path / "images", 8)
    bundle = Bundle.load(make(rule_of_two(points=(point(0.7),))))
    here, there = bundle.predict([place]), bundle.predict([place], prevalence=0.02)
    np.testing.assert_allclose(there["p_sick"], expit(logit(here["p_sick"]) + logit(0.02) - logit(0.4)))
    assert (there["predicted"] == np.where(there["p_sick"] > 0.5, "sick", "well")).all()
    for column in ("decision", "raw_sick"):
        assert there[column].tolist() == here[column].tolist()
    with pytest.raises(InputError, match="not calibrated"):
        Bundle.load(make(rule_of_two(map=None))).predict([place], prevalence=0.02)


def test_a_unit_is_the_mean_of_its_raw_images(make: Callable[..., Path], tmp_path: Path) -> None:
    bundle = Bundle.load(make(rule_of_two(points=(point(0.7),))))
    table = bundle.predict([images(tmp_path / "images", 5)]).assign(unit=["x", "y", "x", "x", "y"])
    units = bundle.predict_units(table)
    assert units["unit"].tolist() == ["x", "y"]
    assert units["raw_sick"].tolist() == pytest.approx(
        [table["raw_sick"][[0, 2, 3]].mean(), table["raw_sick"][[1, 4]].mean()]
    )
    np.testing.assert_allclose(units["p_sick"], expit(0.5 * logit(units["raw_sick"]) + 1))
    assert units["decision"].tolist() == np.where(units["p_sick"] >= 0.7, "positive", "negative").tolist()


def test_nothing_readable_is_an_empty_table(make: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    unreadable: list[UnreadableImage] = []
    bundle = Bundle.load(make(rule_of_two(points=(point(0.7),))))
    table = bundle.predict([tmp_path / "broken.png"], unreadable=unreadable, prevalence=0.1)
    assert isinstance(table, pd.DataFrame) and table.empty
    assert len(unreadable) == 1


def test_bundle_holds_no_pickle_and_nothing_else(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "bundle.json", "model.safetensors"]


def test_a_new_bundle_replaces_the_old_one_whole(folder: Path, tmp_path: Path) -> None:
    card = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "stray.txt").write_text("x", encoding="utf-8")
    write_bundle(folder, [tmp_path / "0.safetensors"], card, "# other\n")
    assert (folder / "README.md").read_text(encoding="utf-8") == "# other\n"
    assert not (folder / "stray.txt").exists()


def test_a_damaged_or_missing_network_is_refused(make: Callable[..., Path]) -> None:
    folder = make(rule_of_two(), num_members=2)
    content = bytearray((folder / "model-2.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model-2.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"model-2\.safetensors: missing or damaged"):
        Bundle.load(folder)
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(InputError, match=r"model-1\.safetensors: missing or damaged"):
        Bundle.load(folder)


def test_the_first_format_is_read(folder: Path, tmp_path: Path) -> None:
    place = images(tmp_path / "images", 3)
    today = Bundle.load(folder).predict([place])

    def as_it_was(card: dict[str, Any]) -> dict[str, Any]:
        (member,) = card.pop("members")
        return {**card, **member, "format_version": 1, "calibration": None, "operating_points": []}

    change_card(folder, as_it_was)
    pd.testing.assert_frame_equal(Bundle.load(folder).predict([place]), today)


@pytest.mark.parametrize("name", ["members", "classes", "calibration", "operating_points", "format_version"])
def test_an_incomplete_card_is_damaged(folder: Path, name: str) -> None:
    change_card(folder, lambda card: {key: value for key, value in card.items() if key != name})
    with pytest.raises(InputError, match=rf"bundle\.json: damaged \('{name}'\)"):
        Bundle.load(folder)


def test_newer_format_is_refused(folder: Path) -> None:
    change_card(folder, lambda card: {**card, "format_version": FORMAT_VERSION + 1})
    with pytest.raises(InputError, match="newer tlmed"):
        Bundle.load(folder)
