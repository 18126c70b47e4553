"""Predictions of arms of known differences, and claims of known limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

from tlmed.evaluation.comparison.claims import Claim
from tlmed.evaluation.comparison.contrast_claims import KINDS, ClaimedContrast, Kind
from tlmed.evaluation.comparison.contrasts import Contrast, Role
from tlmed.evaluation.metrics import Floats, Integers


def arm_rows(
    arm: str, *, lift: float = 0.0, seeds: Sequence[int] = (0, 1, 2), num_units: int = 120, noise: float = 0.5
) -> pd.DataFrame:
    """Two images a patient; `lift` moves the sick up, and what the cases bring is the same in all arms."""
    patients = np.arange(num_units, dtype=np.int64) // 2
    is_sick = patients % 2 == 1
    of_cases = np.random.default_rng(0).normal(size=num_units) + 1.2 * is_sick
    parts = []
    for seed in seeds:
        generator = np.random.default_rng([seed, *arm.encode()])
        score = 1 / (1 + np.exp(0.6 - of_cases - lift * is_sick - noise * generator.normal(size=num_units)))
        parts.append(_rows(arm, seed, score, is_sick, patients))
    return pd.concat(parts, ignore_index=True)


def in_folds(rows: pd.DataFrame, num_folds: int = 5) -> pd.DataFrame:
    """Other folds for each seed, of pairs of patients, so that each holds both classes."""
    patient = rows["group"].str.removeprefix("p").astype(int)
    pairs = np.arange(patient.max() // 2 + 1)
    fold = rows["seed"].map(
        {seed: np.random.default_rng(seed).permutation(pairs) % num_folds for seed in rows["seed"].unique()}
    )
    return rows.assign(fold=[of_seed[number // 2] for of_seed, number in zip(fold, patient, strict=True)])


def _rows(arm: str, seed: int, score: Floats, is_sick: NDArray[np.bool_], patients: Integers) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unit": [f"u{index:03}" for index in range(len(score))],
            "group": [f"p{patient}" for patient in patients],
            "label": np.where(is_sick, "sick", "well"),
            "arm": arm,
            "seed": seed,
            "p_sick": score,
            "p_well": 1 - score,
        }
    )


def claim(value: float, half_width: float, kind: Kind = "b", *, freedom: float = 40.0) -> Claim:
    error = half_width / float(t.ppf(0.975, freedom))
    half_90 = error * float(t.ppf(0.95, freedom))
    p_value = 2 * float(t.sf(abs(value) / error, freedom))
    limits = (value - half_width, value + half_width, value - half_90, value + half_90)
    return Claim(kind, value, *limits, error, freedom, p_value, "by hand")


def claimed(
    value: float,
    half_width: float,
    *,
    name: str = "first minus second",
    role: Role = "primary",
    of_models: float = 0.0,
    reason: str | None = None,
) -> ClaimedContrast:
    """A contrast with a fixed test set.

    Args:
        value: of the contrast.
        half_width: of claim (b).
        name: "X minus Y".
        role: of the contrast.
        of_models: half width of (a), where it is another one.
        reason: why there is no (b).
    """
    first, second = name.split(" minus ")
    claims: dict[Kind, Claim | str] = dict.fromkeys(KINDS, "not here")
    claims["a"] = claim(value, of_models or half_width, "a")
    claims["b"] = claim(value, half_width) if reason is None else reason
    return ClaimedContrast(Contrast(name, {first: 1.0, second: -1.0}, role), value, [], claims, "b")
