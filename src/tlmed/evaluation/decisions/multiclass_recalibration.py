"""The two-parameter recalibration for more than two classes: one slope for all, an intercept for each.

Chosen over one against the rest, because probabilities keep their sum without being forced to it, and over temperature
alone, because without intercepts the mean probabilities are not the shares of the classes, and then a shift to other
shares (`prevalence_shift.py`) has no ground. With two classes it is Platt's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.special import log_softmax, softmax

from tlmed.evaluation.decisions.recalibration import MIN_UNITS_FOR_LOCAL_SLOPE
from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.array_checks import check_length, checked_classes, checked_probabilities
from tlmed.evaluation.statistics.logistic_fit import SMALLEST_PROBABILITY

_MAX_ITERATIONS = 100
_TOLERANCE = 1e-11


@dataclass(frozen=True)
class TemperatureScaling:
    """Recalibration of K classes: new logits = log-probabilities / temperature + intercepts.

    Attributes:
        temperature: above 1 where the probabilities were too extreme; 1 where the intercepts alone were fitted.
        intercepts: of each class, their sum 0.
        class_shares: among the units it was fitted on: what it is calibrated to.
        num_units: that it was fitted on.
        intercepts_only: whether the temperature was fixed.
    """

    temperature: float
    intercepts: tuple[float, ...]
    class_shares: tuple[float, ...]
    num_units: int
    intercepts_only: bool

    def apply(self, probabilities: ArrayLike) -> Floats:
        """Return the recalibrated (N, K) probabilities.

        Raises:
            ValueError: another number of classes, probabilities outside [0, 1], or rows that do not sum to 1.
        """
        numbers = checked_probabilities(probabilities)
        check_length(numbers.shape[1], len(self.intercepts), "a row of probabilities")
        return np.asarray(softmax(_log_probabilities(numbers) / self.temperature + np.array(self.intercepts), axis=1))


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> TemperatureScaling:
    """Fit temperature and intercepts by maximum likelihood, without penalty.

    Args:
        labels: (N,) class index of each unit.
        probabilities: (N, K) of the classes.

    Raises:
        ValueError: a class without units, lengths that differ, probabilities outside [0, 1] or rows that do not sum to
            1; or no finite temperature above 0 exists: the scores separate classes perfectly, or rank them backwards.

    Source: bias-corrected temperature scaling, Alexandari, Kundaje & Shrikumar, ICML 2020; without
    intercepts, Guo et al., ICML 2017, section 4.2.
    """
    numbers, classes = _checked(labels, probabilities)
    logs = _log_probabilities(numbers)
    if _separates(classes, logs):
        raise ValueError(
            "the scores separate classes perfectly or not at all, so no temperature fits best; fit the intercepts "
            "alone, or on more units"
        )
    slope, *intercepts = _maximise(_design(logs), np.zeros_like(logs), classes)
    if slope <= 0:
        raise ValueError(
            f"the scores rank the classes backwards (slope {slope:.3g}), so recalibration would turn their order "
            "around; check the labels and the order of the classes"
        )
    return _as_scaling(1 / slope, intercepts, classes, intercepts_only=False)


def fit_temperature_locally(labels: ArrayLike, probabilities: ArrayLike) -> TemperatureScaling:
    """Fit a delivered model to local data: the intercepts alone below 100 units in the rarest class, else all.

    Args and refusals are those of `fit_temperature`.

    Source: see `recalibration.fit_platt_locally`.
    """
    numbers, classes = _checked(labels, probabilities)
    if np.bincount(classes).min() >= MIN_UNITS_FOR_LOCAL_SLOPE:
        return fit_temperature(classes, numbers)
    logs = _log_probabilities(numbers)
    return _as_scaling(1.0, list(_maximise(_design(logs)[:, :, 1:], logs, classes)), classes, intercepts_only=True)


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, Integers]:
    numbers = checked_probabilities(probabilities)
    classes = checked_classes(labels, numbers.shape[1], "labels")
    check_length(len(classes), len(numbers), "labels")
    missing = np.flatnonzero(np.bincount(classes, minlength=numbers.shape[1]) == 0)
    if len(missing):
        raise ValueError(
            f"no unit is of class {missing[0]}, so its intercept cannot be fitted; give units of each class"
        )
    return numbers, classes


def _log_probabilities(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))


def _design(logs: Floats) -> Floats:
    """(N, K, K): what slope and intercepts (all but the first) are multiplied by, for each unit and class."""
    indicators = np.broadcast_to(np.eye(logs.shape[1])[:, 1:], (*logs.shape, logs.shape[1] - 1))
    return np.concatenate([logs[:, :, None], indicators], axis=2)


def _separates(classes: Integers, logs: Floats) -> bool:
    """Whether some slope and intercepts let no class outscore a true one and leave some behind, or all units are alike.

    Source: Albert & Anderson, Biometrika 1984;71:1, as the linear programme of Konis, thesis, Oxford 2007.
    """
    design = _design(logs)
    if np.ptp(logs - logs[:, :1], axis=0).max() == 0:
        return True
    margins = design[np.arange(len(logs)), classes][:, None, :] - design
    of_others = margins[np.arange(logs.shape[1]) != classes[:, None]]
    best = linprog(-of_others.sum(axis=0), A_ub=-of_others, b_ub=np.zeros(len(of_others)), bounds=(-1, 1))
    return bool(-best.fun > 1e-7)


def _maximise(design: Floats, offset: Floats, classes: Integers) -> Floats:
    """Newton's method with halved steps: (N, K, P) design and (N, K) offset -> (P,)."""
    units = np.arange(len(classes))
    of_true = design[units, classes].mean(axis=0)
    parameters = np.zeros(design.shape[2])

    def loss(at: Floats) -> float:
        return -float(log_softmax(offset + design @ at, axis=1)[units, classes].mean())

    for _ in range(_MAX_ITERATIONS):
        fitted = softmax(offset + design @ parameters, axis=1)
        expected = np.einsum("nk,nkp->np", fitted, design)
        squares = np.einsum("nk,nkp,nkq->pq", fitted, design, design, optimize=True)
        curvature = (squares - expected.T @ expected) / len(classes)
        step = np.linalg.solve(curvature, of_true - expected.mean(axis=0))
        before = loss(parameters)
        while loss(parameters + step) > before + 1e-12:
            step = step / 2
        parameters = parameters + step
        if np.abs(step).max() <= _TOLERANCE * (1 + np.abs(parameters).max()):
            return parameters
    raise ValueError("no recalibration was found: the classes are all but separated; fit on more units")


def _as_scaling(
    temperature: float, intercepts: list[float], classes: Integers, *, intercepts_only: bool
) -> TemperatureScaling:
    centred = np.array([0.0, *intercepts]) - np.sum(intercepts) / (len(intercepts) + 1)
    shares = np.bincount(classes) / len(classes)
    return TemperatureScaling(
        float(temperature), tuple(centred.tolist()), tuple(shares.tolist()), len(classes), intercepts_only
    )
