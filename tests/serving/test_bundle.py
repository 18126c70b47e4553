from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tlmed import Bundle
from tlmed.errors import InputError
from tlmed.models.classifier import create_classifier
from tlmed.models.weights import save_weights
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.runtime.digests import file_digest
from tlmed.serving.bundle import FORMAT_VERSION, write_bundle

CLASSES = ["a", "b", "c"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    image = ImageSettings(size=32, mean=(0.3,), std=(0.2,))
    classifier = create_classifier(BackboneSettings(name="test_resnet"), image, 3, mean=image.mean, std=image.std)
    save_weights(classifier.state_dict(), tmp_path / "weights.safetensors")
    card = {
        "backbone": {"name": "test_resnet"},
        "classes": CLASSES,
        "image": image.model_dump(mode="json"),
        "digest": file_digest(tmp_path / "weights.safetensors"),
        "synthetic": False,
    }
    write_bundle(tmp_path / "bundle", tmp_path / "weights.safetensors", card, "# card\n")
    return tmp_path / "bundle"


def images(folder: Path, number: int) -> Path:
    generator = np.random.default_rng(0)
    folder.mkdir()
    for index in range(number):
        Image.fromarray(generator.integers(0, 255, (40, 50), dtype=np.uint8)).save(folder / f"{index:03d}.png")
    return folder


def test_predictions_of_many_images_are_those_of_each(folder: Path, tmp_path: Path) -> None:
    bundle, place = Bundle.load(folder), images(tmp_path / "images", 40)  # more than one batch
    together = bundle.predict([place])
    assert together["path"].tolist() == [str(place / f"{index:03d}.png") for index in range(40)]
    columns = [f"p_{name}" for name in CLASSES]
    np.testing.assert_allclose(together[columns].sum(axis=1), 1)
    alone = bundle.predict([place / "033.png"])
    np.testing.assert_allclose(alone[columns], together[columns].iloc[[33]], atol=1e-6)
    assert together["predicted"].tolist() == [CLASSES[k] for k in together[columns].to_numpy().argmax(axis=1)]


def test_bundle_holds_no_pickle_and_nothing_else(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "bundle.json", "model.safetensors"]


def test_a_new_bundle_replaces_the_old_one_whole(folder: Path, tmp_path: Path) -> None:
    card = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "stray.txt").write_text("x", encoding="utf-8")
    write_bundle(folder, tmp_path / "weights.safetensors", card, "# other\n")
    assert (folder / "README.md").read_text(encoding="utf-8") == "# other\n"
    assert not (folder / "stray.txt").exists()


def test_newer_format_is_refused(folder: Path) -> None:
    file = folder / "bundle.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**card, "format_version": FORMAT_VERSION + 1}), encoding="utf-8")
    with pytest.raises(InputError, match="newer tlmed"):
        Bundle.load(folder)
