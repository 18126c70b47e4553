"""What turns a classifier's probabilities into calibrated ones and decisions; a bundle's card holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tlmed.errors import InputError
from tlmed.evaluation.decisions.multiclass_recalibration import TemperatureScaling
from tlmed.evaluation.decisions.recalibration import IsotonicMap, PlattScaling
from tlmed.evaluation.decisions.thresholds import OperatingPoint
from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.array_checks import Booleans
from tlmed.evaluation.statistics.prevalence_shift import shift_to_class_shares
from tlmed.recipe.protocol import OperatingPointSettings

FittedOn = Literal["val", "out-of-fold"]
ProbabilityMap = PlattScaling | IsotonicMap | TemperatureScaling

_MAPS: dict[str, type[ProbabilityMap]] = {
    "platt": PlattScaling,
    "isotonic": IsotonicMap,
    "temperature": TemperatureScaling,
}
# They stand in the card beside the parameters, because people read them.
_NO_PARAMETERS = ("prevalence", "class_shares", "num_units")
_OF_THE_POINT = ("threshold", "level", "lower_limit", "sensitivity", "specificity", "num_positives", "num_negatives")


@dataclass(frozen=True)
class ChosenPoint:
    """An operating point as asked for, and what came of it.

    Attributes:
        settings: what was asked for.
        point: None where it was refused.
        refused: why, None where it was not.
    """

    settings: OperatingPointSettings
    point: OperatingPoint | None
    refused: str | None

    def to_card(self) -> dict[str, Any]:
        """Return it JSON-able: kind, of, target, threshold and what it came to on the held-out units, refused."""
        measured = {name: getattr(self.point, name, None) for name in _OF_THE_POINT}
        return {**self.settings.model_dump(mode="json"), **measured, "refused": self.refused}

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> ChosenPoint:
        """Read what `to_card` wrote."""
        settings = OperatingPointSettings(kind=card["kind"], of=card["of"], target=card["target"])
        if card["threshold"] is None:
            return cls(settings, None, card["refused"])
        measured = {name: card[name] for name in _OF_THE_POINT}
        point = OperatingPoint(aim=settings.of, target=settings.target, assured=settings.kind == "assure", **measured)
        return cls(settings, point, None)


@dataclass(frozen=True)
class DecisionRule:
    """What turns a classifier's probabilities into calibrated ones and decisions.

    Attributes:
        classes: in the order of the probabilities.
        positive: the classes that count as disease; none where none is named, which more than two classes allow.
        map: None where the probabilities stay as they are.
        points: the operating points, as thresholds on the calibrated probability of disease.
        fitted_on: None where nothing was fitted.
        num_units: that it was fitted on.
        num_groups: that they belong to.
        note: what about the calibration did not go as asked and why; None where all did.
    """

    classes: tuple[str, ...]
    positive: tuple[str, ...]
    map: ProbabilityMap | None
    points: tuple[ChosenPoint, ...]
    fitted_on: FittedOn | None
    num_units: int
    num_groups: int
    note: str | None

    @property
    def method(self) -> str:
        """`platt`, `isotonic`, `temperature` or `none`."""
        return next((name for name, kind in _MAPS.items() if isinstance(self.map, kind)), "none")

    @property
    def class_shares(self) -> tuple[float, ...] | None:
        """(K,) shares of the classes that the probabilities are calibrated to; None without calibration."""
        if self.map is None or isinstance(self.map, TemperatureScaling):
            return None if self.map is None else self.map.class_shares
        prevalence = self.map.prevalence
        return tuple(prevalence if name in self.positive else 1 - prevalence for name in self.classes)

    @property
    def prevalence(self) -> float | None:
        """Share of disease that the probabilities are calibrated to; None without calibration or positive class."""
        if self.class_shares is None or not self.positive:
            return None
        return sum(share for name, share in zip(self.classes, self.class_shares, strict=True) if name in self.positive)

    @property
    def refusals(self) -> list[str]:
        """All that could not be fitted as asked, in words."""
        return [*filter(None, [self.note]), *(point.refused for point in self.points if point.refused is not None)]

    def apply(self, probabilities: Floats) -> Floats:
        """Return calibrated (N, K) probabilities of (N, K) ones; N may be 0.

        Raises:
            ValueError: probabilities outside [0, 1], or rows that do not sum to 1.
        """
        if self.map is None or not len(probabilities):
            return probabilities
        if isinstance(self.map, TemperatureScaling):
            return self.map.apply(probabilities)
        index = self.classes.index(self.positive[0])
        calibrated = self.map.apply(probabilities[:, index])
        return np.stack([calibrated if k == index else 1 - calibrated for k in range(2)], axis=1)

    def of_disease(self, probabilities: Floats) -> Floats:
        """Return the (N,) probabilities of disease: the sum over the positive classes of (N, K) ones."""
        # Summing up may exceed 1 by rounding.
        chosen = [self.classes.index(name) for name in self.positive]
        return np.asarray(np.minimum(probabilities[:, chosen].sum(axis=1), 1.0))

    def decide(self, calibrated: Floats, point: OperatingPoint) -> Booleans:
        """Return (N,) whether each unit is positive at an operating point, from calibrated (N, K) probabilities."""
        return np.asarray(self.of_disease(calibrated) >= point.threshold)

    def shift(self, calibrated: Floats, prevalence: float) -> Floats:
        """Return calibrated (N, K) probabilities as they are at another prevalence of disease.

        Among the positive classes, and among the others, shares stay in proportion.

        Raises:
            InputError: nothing to shift from (no calibration, or no positive class), or a prevalence outside (0, 1).
        """
        if self.class_shares is None or self.prevalence is None:
            what = (
                "no positive class is named"
                if self.class_shares is not None
                else "the probabilities are not calibrated"
            )
            raise InputError(f"prevalence: {what}, so there is no prevalence to shift from; leave it out.")
        if not 0 < prevalence < 1:
            raise InputError(f"prevalence: {prevalence:g} is not between 0 and 1; 0.05 stands for 5 %.")
        factors = (prevalence / self.prevalence, (1 - prevalence) / (1 - self.prevalence))
        there = [
            share * factors[name not in self.positive]
            for name, share in zip(self.classes, self.class_shares, strict=True)
        ]
        if not len(calibrated):
            return calibrated
        return shift_to_class_shares(calibrated, calibrated_to=self.class_shares, class_shares=there)

    def to_card(self) -> dict[str, Any]:
        """Return it JSON-able: classes, positive, calibration and operating_points, as a bundle holds them."""
        fitted = {} if self.map is None else asdict(self.map)
        positive = list(self.positive)
        return {
            "classes": list(self.classes),
            "positive": positive if len(positive) > 1 else positive[0] if positive else None,
            "calibration": {
                "method": self.method,
                "parameters": {name: value for name, value in fitted.items() if name not in _NO_PARAMETERS},
                "prevalence": self.prevalence,
                "class_shares": self.class_shares,
                "fitted_on": self.fitted_on,
                "num_units": self.num_units,
                "num_groups": self.num_groups,
                "note": self.note,
            },
            "operating_points": [point.to_card() for point in self.points],
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> DecisionRule:
        """Read what `to_card` wrote; the calibration may be None, as in a bundle of format 1.

        Raises:
            KeyError, TypeError, ValueError: something else.
        """
        classes = tuple(card["classes"])
        positive = as_classes(card["positive"])
        points = tuple(ChosenPoint.from_card(point) for point in card["operating_points"])
        stated = card["calibration"]
        if stated is None:
            return cls(classes, positive, None, points, None, 0, 0, None)
        fitted = None
        if stated["method"] != "none":
            share = "class_shares" if stated["method"] == "temperature" else "prevalence"
            values = {**stated["parameters"], share: stated[share], "num_units": stated["num_units"]}
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
            fitted = _MAPS[stated["method"]](**values)
        told = {name: stated[name] for name in ("fitted_on", "num_units", "num_groups", "note")}
        return cls(classes, positive, fitted, points, **told)


def as_classes(positive: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes that count as disease, from the one name, the list or the nothing that settings hold."""
    return (positive,) if isinstance(positive, str) else tuple(positive or ())
