"""The bundle: a folder that predicts. Weights, preprocessing, classes, calibration, thresholds, lineage; no pickle."""

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
from tlmed.evaluation.decisions.decision_rule import DecisionRule
from tlmed.models.weight_sources import member_file
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.runtime.progress import track
from tlmed.runtime.store import flush_folder, write_durably, write_json_durably

if TYPE_CHECKING:
    from tlmed.evaluation.metrics import Floats
    from tlmed.models.classifier import Classifier

# 1 had one network, whose digest stood in the card itself, and no calibration; it is still read.
FORMAT_VERSION = 2
_CARD, _README = "bundle.json", "README.md"
_BATCH_SIZE = 32


def write_bundle(folder: Path, weights: Sequence[Path], card: dict[str, Any], readme: str) -> None:
    """Write a bundle, replacing an older one only when the new one is whole.

    Args:
        folder: the bundle.
        weights: the `model.safetensors` of each network whose mean it predicts, in the order of `members` in the card.
        card: content of `bundle.json`.
        readme: the model card.
    """
    temporary = folder.with_name(f".writing-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for index, file in enumerate(weights):
            write_durably(temporary / member_file(index, len(weights)), file.read_bytes())
        write_json_durably(temporary / _CARD, {"format_version": FORMAT_VERSION, **card})
        write_durably(temporary / _README, readme)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def render_model_card(card: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Return the model card as Markdown.

    Args:
        card: content of `bundle.json`.
        metrics: content of `metrics.json`, with what `measure_calibrated` returns.
    """
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
        classifiers: the networks whose mean it predicts, in evaluation mode, on the CPU.
        rule: its calibration and operating points.
    """

    card: dict[str, Any]
    classifiers: tuple[Classifier, ...]
    rule: DecisionRule

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Read a bundle.

        Raises:
            InputError: not a bundle, of a newer format, or damaged (weights do not have the recorded digest).
        """
        from tlmed.models.classifier import create_classifier
        from tlmed.models.weights import read_state
        from tlmed.runtime.digests import file_digest

        path = Path(folder)
        card, rule, digests = _read_card(path)
        files = [path / member_file(index, len(digests)) for index in range(len(digests))]
        for file, digest in zip(files, digests, strict=True):
            if not file.is_file() or file_digest(file) != digest:
                raise InputError(
                    f"{file}: missing or damaged (its digest is not the recorded one); copy the bundle again."
                )
        image, backbone = ImageSettings(**card["image"]), BackboneSettings(**card["backbone"])
        classifiers = []
        for file in files:
            classifier = create_classifier(backbone, image, len(rule.classes), mean=image.mean, std=image.std)
            classifier.load_state_dict(read_state(file))
            classifiers.append(classifier.eval())
        return cls(card, tuple(classifiers), rule)

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the probabilities."""
        return list(self.rule.classes)

    def predict(
        self,
        paths: Sequence[Path | str],
        *,
        unreadable: list[UnreadableImage] | None = None,
        prevalence: float | None = None,
    ) -> pd.DataFrame:
        """Predict image files, and all images below folders.

        Args:
            paths: files and folders.
            unreadable: receives what cannot be read, and the rest is predicted; without it, the first one raises.
            prevalence: of disease where the images come from: the calibrated probabilities are shifted to it.

        Returns:
            A row an image: path, unit (the image), predicted (the most probable class by p_), decision (`positive` or
            `negative` by the first operating point; decision_2 by the second, and so on), p_<class> (calibrated, at
            `prevalence` where it is given), raw_<class> (the mean of the networks' softmax). The decision does not
            depend on `prevalence`.

        Raises:
            InputError: a path that is not there, a folder without images, an unreadable image, a prevalence outside
                (0, 1) or without a calibration that it could shift.
        """
        files = [file for path in paths for file in list_images(Path(path))]
        names: list[str] = []
        parts = [np.empty((0, len(self.classes)))]
        image = ImageSettings(**self.card["image"])
        with track("predicting", total=len(files)) as progress:
            for start in range(0, len(files), _BATCH_SIZE):
                chosen = files[start : start + _BATCH_SIZE]
                batch = _read_readable(chosen, image, unreadable)
                if batch:
                    parts.append(self._mean_softmax(np.stack(list(batch.values()))))
                names += map(str, batch)
                progress.advance(len(chosen))
        return self._answers(pd.DataFrame({"path": names, "unit": names}), np.concatenate(parts), prevalence)

    def predict_units(self, images: pd.DataFrame, *, prevalence: float | None = None) -> pd.DataFrame:
        """Predict units of several images: the mean of their raw probabilities, calibrated.

        Args:
            images: what `predict` returned, with the column `unit` replaced.
            prevalence: as in `predict`.

        Returns:
            A row a unit in order of appearance, the columns of `predict` without `path`.
        """
        raw = images.groupby("unit", sort=False)[[f"raw_{name}" for name in self.classes]].mean()
        return self._answers(pd.DataFrame({"unit": raw.index}), raw.to_numpy(), prevalence)

    def _mean_softmax(self, pixels: np.ndarray) -> Floats:
        import torch

        from tlmed.data.augment import as_float

        with torch.inference_mode():
            images = as_float(pixels)
            of_members = [torch.softmax(one(images).double(), dim=1).numpy() for one in self.classifiers]
        return np.asarray(np.mean(of_members, axis=0))

    def _answers(self, table: pd.DataFrame, raw: Floats, prevalence: float | None) -> pd.DataFrame:
        calibrated = self.rule.apply(raw)
        shown = calibrated if prevalence is None else self.rule.shift(calibrated, prevalence)
        columns: dict[str, Any] = {"predicted": np.array(self.classes)[shown.argmax(axis=1)]}
        for number, chosen in enumerate(self.rule.points, start=1):
            if chosen.point is not None:
                called = self.rule.decide(calibrated, chosen.point)
                columns["decision" if number == 1 else f"decision_{number}"] = np.where(called, "positive", "negative")
        columns |= {f"p_{name}": shown[:, position] for position, name in enumerate(self.classes)}
        columns |= {f"raw_{name}": raw[:, position] for position, name in enumerate(self.classes)}
        return table.assign(**columns)


def _read_card(folder: Path) -> tuple[dict[str, Any], DecisionRule, list[str]]:
    """Return the content of `bundle.json`, and of that the rule and the networks' digests."""
    file = folder / _CARD
    if not file.is_file():
        raise InputError(f"{folder}: not a bundle (no {_CARD}); a run leaves one in its folder, as runs/NAME/bundle.")
    try:
        card: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = int(card["format_version"])
        if version > FORMAT_VERSION:
            raise InputError(f"{folder}: written by a newer tlmed (format {version}); update tlmed.")
        members = [card] if version == 1 else card["members"]
        return card, DecisionRule.from_card(card), [str(member["digest"]) for member in members]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file}: damaged ({error}); copy the bundle again.") from error


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
