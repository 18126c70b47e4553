"""What every interval and test asks of the arrays it is given, and the sentence that says what is wrong with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tlmed.evaluation.metrics import Floats, Integers

Booleans = NDArray[np.bool_]


def checked_booleans(values: ArrayLike, name: str) -> Booleans:
    """Return (N,) booleans of booleans, or of zeros and ones.

    Raises:
        ValueError: not one axis, empty, or other values.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be one row of values, not of shape {array.shape}")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be true or false, or 0 or 1, throughout")
    return np.asarray(array, dtype=np.bool_)


def checked_numbers(values: ArrayLike, name: str, *, num_axes: int = 1) -> Floats:
    """Return float64 numbers, all of them finite.

    Raises:
        ValueError: another number of axes, empty, no numbers, or a number that is missing or infinite.
    """
    array = np.asarray(values)
    if array.ndim != num_axes or array.size == 0:
        raise ValueError(f"{name} must have {num_axes} axes and values, not the shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers")
    numbers = array.astype(np.float64)
    num_wrong = int((~np.isfinite(numbers)).sum())
    if num_wrong:
        raise ValueError(f"{name}: {num_wrong} of {numbers.size} values are missing or infinite; leave those units out")
    return numbers


def checked_positives(is_positive: ArrayLike, num_units: int) -> Booleans:
    """Return (N,) booleans that are true for some units and false for others.

    Raises:
        ValueError: another length, or all units of one class.
    """
    positives = checked_booleans(is_positive, "is_positive")
    check_length(len(positives), num_units, "is_positive")
    if positives.all() or not positives.any():
        raise ValueError("all units are of one class, so there is nothing to tell apart; give units of both")
    return positives


def checked_probabilities(probabilities: ArrayLike, *, tolerance: float = 1e-3) -> Floats:
    """Return (N, K) class probabilities.

    Raises:
        ValueError: fewer than two classes, a probability outside [0, 1], or rows that do not sum to 1.
    """
    numbers = checked_numbers(probabilities, "probabilities", num_axes=2)
    if numbers.shape[1] < 2:
        raise ValueError("probabilities need a column for each of two classes or more")
    if (numbers < 0).any() or (numbers > 1).any():
        raise ValueError(f"probabilities must be from 0 to 1, not {numbers.min():.4g} to {numbers.max():.4g}")
    sums = numbers.sum(axis=1)
    if (np.abs(sums - 1) > tolerance).any():
        raise ValueError(f"probabilities of a unit must sum to 1, not {sums[np.abs(sums - 1).argmax()]:.4g}")
    return numbers


def checked_classes(labels: ArrayLike, num_classes: int, name: str) -> Integers:
    """Return (N,) class indices.

    Raises:
        ValueError: not one axis, empty, or no index of one of the classes.
    """
    numbers = checked_numbers(labels, name)
    if (numbers != np.floor(numbers)).any() or numbers.min() < 0 or numbers.max() >= num_classes:
        raise ValueError(f"{name} must be class indices from 0 to {num_classes - 1}")
    return numbers.astype(np.int64)


def group_index(groups: ArrayLike | None, num_units: int) -> Integers:
    """Return (N,) the group of each unit as 0, 1, ... in order of appearance; without groups each unit is its own.

    Raises:
        ValueError: another length, or units without a group.
    """
    if groups is None:
        return np.arange(num_units)
    names = np.asarray(groups)
    if names.ndim != 1:
        raise ValueError(f"groups must be one row of names, not of shape {names.shape}")
    check_length(len(names), num_units, "groups")
    codes = np.asarray(pd.factorize(names)[0], dtype=np.int64)
    num_missing = int((codes < 0).sum())
    if num_missing:
        raise ValueError(f"{num_missing} of {num_units} units have no group; name one for each")
    return codes


def sum_by_group(values: Floats, group_of_unit: Integers, num_groups: int) -> Floats:
    """(K, N) values -> (K, G) their sums by group."""
    return np.stack([np.bincount(group_of_unit, weights=row, minlength=num_groups) for row in values])


def check_length(length: int, expected: int, name: str) -> None:
    """Raise ValueError where lengths differ."""
    if length != expected:
        raise ValueError(f"{name} has {length} values for {expected} units")


def check_level(level: float) -> None:
    """Raise ValueError unless a confidence level is between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"the confidence level must be between 0 and 1, not {level:g}")
