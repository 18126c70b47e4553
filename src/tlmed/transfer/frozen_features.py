"""Features of images by a frozen backbone: each image, or each of a few random views of it, passes it once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from tlmed.data.augment import as_float, draw_numbers, training_views
from tlmed.data.loaders import LabelledImages
from tlmed.errors import InputError
from tlmed.models.classifier import Classifier
from tlmed.recipe.training import ViewSettings
from tlmed.runtime.progress import Progress, track

_BATCH_SIZE = 32

# From uint8 pixels (B, C, H, W) and the positions (B,) of their images to what the backbone sees.
_Form = Callable[[Tensor, np.ndarray], Tensor]


class NonFiniteFeatures(InputError):
    """The backbone computed something infinite or not a number."""


class FrozenBackbone:
    """A classifier's backbone in evaluation mode.

    Args:
        classifier: moved to the Fabric's device, and put into evaluation mode.
        fabric: says device and precision.
        name: of the stage, for progress and messages.
    """

    def __init__(self, classifier: Classifier, fabric: Fabric, name: str) -> None:
        self._classifier, self._fabric, self._name = classifier.to(fabric.device).eval(), fabric, name

    def features(self, images: LabelledImages) -> np.ndarray:
        """Return (N, D) float32 features of images as they are stored.

        Raises:
            NonFiniteFeatures: naming an image.
            Stopped: at once after a stop signal; there is nothing to save.
        """
        with track(f"{self._name}: features", len(images)) as progress:
            return self._pass(images, lambda pixels, _: as_float(pixels), progress)

    def features_of_views(
        self, images: LabelledImages, settings: ViewSettings, num_views: int, seed: int
    ) -> np.ndarray:
        """Return (N, V, D) float32 features of random views.

        View v of an image is the one that the training loop would show in epoch v with this seed, where it shows every
        image once an epoch.

        Raises:
            NonFiniteFeatures, Stopped: as `features`.
        """
        with track(f"{self._name}: features", num_views * len(images), "views") as progress:
            of_views = [
                self._pass(images, _view(settings, seed, epoch=number), progress) for number in range(num_views)
            ]
        return np.stack(of_views, axis=1)

    @torch.inference_mode()
    def _pass(self, images: LabelledImages, form: _Form, progress: Progress) -> np.ndarray:
        parts = [np.empty((0, self._classifier.head.in_features), dtype=np.float32)]
        for start in range(0, len(images), _BATCH_SIZE):
            positions = np.arange(start, min(start + _BATCH_SIZE, len(images)))
            pixels = torch.from_numpy(np.ascontiguousarray(images.pixels[images.rows[positions]]))
            inputs = form(pixels.to(self._fabric.device), positions)
            with self._fabric.autocast():
                features = self._classifier.features(inputs).to("cpu", torch.float32).numpy()
            self._check_finite(features, [images.paths[int(position)] for position in positions])
            parts.append(features)
            progress.advance(len(positions))
        return np.concatenate(parts)

    def _check_finite(self, features: np.ndarray, paths: list[str]) -> None:
        broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(broken):
            raise NonFiniteFeatures(
                f"{self._name}: the backbone's features of {paths[int(broken[0])]} are not finite; check the starting "
                "weights, or set runtime.precision to float32."
            )


def _view(settings: ViewSettings, seed: int, epoch: int) -> _Form:
    return lambda pixels, positions: training_views(pixels, draw_numbers(seed, epoch, positions.tolist()), settings)
