"""The bundle: a folder that predicts. Weights, preprocessing, classes, lineage; no pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tlmed.data.images import UnreadableImage, read_image
from tlmed.data.sources import list_images
from tlmed.errors import InputError
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.runtime.progress import track
from tlmed.runtime.store import flush_folder, write_durably, write_json_durably

if TYPE_CHECKING:
    from tlmed.models.classifier import Classifier

FORMAT_VERSION = 1
_CARD, _WEIGHTS, _README = "bundle.json", "model.safetensors", "README.md"
_BATCH_SIZE = 32


def write_bundle(folder: Path, weights: Path, card: dict[str, Any], readme: str) -> None:
    """Write a bundle, replacing an older one only when the new one is whole.

    Args:
        folder: the bundle.
        weights: the delivered stage's `model.safetensors`.
        card: content of `bundle.json`.
        readme: the model card.
    """
    temporary = folder.with_name(f".writing-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write_durably(temporary / _WEIGHTS, weights.read_bytes())
        write_json_durably(temporary / _CARD, {"format_version": FORMAT_VERSION, **card})
        write_durably(temporary / _README, readme)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def render_model_card(card: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Return the model card as Markdown."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tlmed.serving"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    return environment.get_template("model_card.md.j2").render(card=card, metrics=metrics)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        card: content of `bundle.json`.
        classifier: in evaluation mode, on the CPU.
    """

    card: dict[str, Any]
    classifier: Classifier

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Read a bundle.

        Raises:
            InputError: not a bundle, of a newer format, or damaged (the weights do not have the recorded digest).
        """
        from tlmed.models.classifier import create_classifier
        from tlmed.models.weights import read_state
        from tlmed.runtime.digests import file_digest

        path = Path(folder)
        if not (path / _CARD).is_file():
            raise InputError(f"{path}: not a bundle (no {_CARD}); a run leaves one in its folder, as runs/NAME/bundle.")
        try:
            card = json.loads((path / _CARD).read_text(encoding="utf-8"))
            version = int(card["format_version"])
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path / _CARD}: damaged ({error}); copy the bundle again.") from error
        if version > FORMAT_VERSION:
            raise InputError(f"{path}: written by a newer tlmed (format {version}); update tlmed.")
        if not (path / _WEIGHTS).is_file() or file_digest(path / _WEIGHTS) != card["digest"]:
            raise InputError(
                f"{path / _WEIGHTS}: missing or damaged (its digest is not the recorded one); copy the bundle again."
            )
        image = ImageSettings(**card["image"])
        classifier = create_classifier(
            BackboneSettings(**card["backbone"]), image, len(card["classes"]), mean=image.mean, std=image.std
        )
        classifier.load_state_dict(read_state(path / _WEIGHTS))
        return cls(card, classifier.eval())

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the probabilities."""
        return list(self.card["classes"])

    def predict(self, paths: Sequence[Path | str], *, unreadable: list[UnreadableImage] | None = None) -> pd.DataFrame:
        """Predict image files, and all images below folders.

        Args:
            paths: files and folders.
            unreadable: receives what cannot be read, and the rest is predicted; without it, the first one raises.

        Returns:
            A row an image: path, unit (the image), predicted, p_<class>.

        Raises:
            InputError: a path that is not there, a folder without images, an unreadable image.
        """
        import torch

        from tlmed.data.augment import as_float

        files = [file for path in paths for file in list_images(Path(path))]
        image = ImageSettings(**self.card["image"])
        names: list[str] = []
        parts = [np.empty((0, len(self.classes)))]
        with torch.inference_mode(), track("predicting", total=len(files)) as progress:
            for start in range(0, len(files), _BATCH_SIZE):
                chosen = files[start : start + _BATCH_SIZE]
                batch = _read_readable(chosen, image, unreadable)
                if batch:
                    pixels = as_float(np.stack(list(batch.values())))
                    parts.append(torch.softmax(self.classifier(pixels).double(), dim=1).numpy())
                names += map(str, batch)
                progress.advance(len(chosen))
        probabilities = np.concatenate(parts)
        table = pd.DataFrame(
            {"path": names, "unit": names, "predicted": np.array(self.classes)[probabilities.argmax(1)]}
        )
        for position, name in enumerate(self.classes):
            table[f"p_{name}"] = probabilities[:, position]
        return table


def _read_readable(
    files: Sequence[Path], image: ImageSettings, unreadable: list[UnreadableImage] | None
) -> dict[Path, np.ndarray]:
    pixels = {}
    for file in files:
        try:
            pixels[file] = read_image(file, image)
        except UnreadableImage as error:
            if unreadable is None:
                raise
            unreadable.append(error)
    return pixels
