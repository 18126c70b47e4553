from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tlmed.models.known_backbones import known_backbones
from tlmed.recipe.model import BackboneSettings
from tlmed.runtime.integrity import seal
from tlmed.runtime.store import Store
from tlmed.transfer import estimate
from tlmed.transfer.estimate import SpeedEstimate, TimeEstimate, estimate_speeds, total
from tlmed.transfer.stage_task import STAGES

RESNET = known_backbones()["resnet18"]


def trained(store: Store, key: str, size: int, images_per_second: float, **changes: Any) -> None:
    """Leave the card of a finished stage in a store."""
    card = {
        "strategy": {"kind": "finetune"},
        "device": "cpu",
        "precision": "bf16",
        "backbone": BackboneSettings(name="resnet18").model_dump(mode="json"),
        "image": {"size": size, "mode": "grey"},
        "images_per_second": images_per_second,
        **changes,
    }
    folder = store.folder(STAGES, key)
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps(card), encoding="utf-8")
    seal(folder)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(estimate, "_matrix_rate", lambda: 1e11)
    return Store(tmp_path)


def test_the_rate_of_arithmetic_is_the_hand_computed_one(store: Store) -> None:
    (speed,) = estimate_speeds([RESNET], store, "cpu", "float32").values()
    # Three passes of 2 operations a multiply-add, at 0.35 of the matrix product's rate.
    assert speed.images_per_second == pytest.approx(0.35 * 1e11 / (3 * 2e9 * RESNET.giga_multiply_adds))
    assert (speed.image_size, speed.basis.split(",")[0]) == (224, "rough")


def test_what_was_measured_rules_at_its_most_frequent_size(store: Store) -> None:
    for number, (size, rate) in enumerate([(64, 100.0), (64, 140.0), (64, 110.0), (224, 9.0)]):
        trained(store, f"{number}" * 64, size, rate)
    trained(store, "8" * 64, 64, 1.0, precision="float32")
    trained(store, "9" * 64, 64, 1.0, strategy={"kind": "linear-probe"})
    speeds = estimate_speeds([RESNET], store, "cpu", "bf16")
    assert speeds == {"resnet18": SpeedEstimate(110.0, 64, "measured on earlier stages here")}


def test_of_a_gpu_nothing_is_known_before_it_was_used(store: Store) -> None:
    (speed,) = estimate_speeds([RESNET], store, "cuda", "bf16").values()
    assert speed.images_per_second is None
    assert "unknown until a first stage" in speed.basis


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    known, unknown = TimeEstimate(2.5, ""), TimeEstimate(None, "")
    assert total([known, known]) == 5.0
    assert total([known, unknown]) is None
