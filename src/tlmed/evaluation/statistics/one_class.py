"""One class against the rest: what calibration, thresholds and decision curves are about."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tlmed.evaluation.metrics import Floats, Scored
from tlmed.evaluation.statistics.array_checks import Booleans, checked_numbers, checked_positives


def checked_one_class(is_positive: ArrayLike, probabilities: ArrayLike) -> tuple[Booleans, Floats]:
    """Return (N,) booleans, true for some units and false for others, and the (N,) probabilities of being positive.

    Raises:
        ValueError: one class, lengths that differ, or probabilities that are missing or outside [0, 1].
    """
    numbers = checked_probabilities_of_one_class(probabilities)
    return checked_positives(is_positive, len(numbers)), numbers


def checked_probabilities_of_one_class(probabilities: ArrayLike) -> Floats:
    """Return (N,) probabilities.

    Raises:
        ValueError: not one axis, empty, or probabilities that are missing or outside [0, 1].
    """
    numbers = checked_numbers(probabilities, "probabilities")
    if (numbers < 0).any() or (numbers > 1).any():
        raise ValueError(f"probabilities must be from 0 to 1, not {numbers.min():.4g} to {numbers.max():.4g}")
    return numbers


def score_one_class(is_positive: ArrayLike, probabilities: ArrayLike) -> Scored:
    """Return units scored for two classes, of which 1 is the positive one; see `checked_one_class` for what is refused.

    This is how one class of several is measured against the rest.
    """
    positives, numbers = checked_one_class(is_positive, probabilities)
    return Scored(positives.astype(np.int64), np.stack([1 - numbers, numbers], axis=1), 1)


def positive_class(scored: Scored, what: str) -> tuple[Booleans, Floats]:
    """Return the (N,) truth and the (N,) probabilities of the positive class of two.

    Args:
        scored: of two classes.
        what: is measured, for the message.

    Raises:
        ValueError: more than two classes.
    """
    if scored.num_classes != 2 or scored.positive is None:
        raise ValueError(f"{what} is of one class: score one of the {scored.num_classes} classes against the rest")
    return np.asarray(scored.labels == scored.positive), scored.probabilities[:, scored.positive]


def check_between_0_and_1(value: float, name: str) -> None:
    """Raise ValueError unless a value, such as a prevalence, lies between 0 and 1, neither included."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, not {value:g}")
