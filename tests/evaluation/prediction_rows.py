"""Small predictions tables for the tests of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlmed.evaluation.evaluate import evaluate_predictions


def image_rows(labels: Sequence[str], of_sick: Sequence[float] | np.ndarray, **columns: Any) -> pd.DataFrame:
    """A row an image; `of_sick` are the probabilities of the class `sick`, the other one is `well`."""
    names = [f"image {index:03}" for index in range(len(labels))]
    table = pd.DataFrame({"unit": names, "label": list(labels), "p_sick": np.array(of_sick, dtype=np.float64)})
    return table.assign(p_well=1 - table["p_sick"], **columns)


def random_rows(num_units: int = 40, draw: int = 0, **columns: Any) -> pd.DataFrame:
    is_sick = np.arange(num_units) % 2 > 0
    of_sick = np.random.default_rng(draw).beta(2 + is_sick, 3 - is_sick)
    return image_rows(np.where(is_sick, "sick", "well").tolist(), of_sick, **columns)


def measure(table: pd.DataFrame, unit: str = "image", **settings: Any) -> dict[str, Any]:
    return evaluate_predictions(table, positive="sick", unit=unit, **settings)


def three_classes(num_units: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    probabilities = 0.5 * generator.dirichlet(np.ones(3), size=num_units) + 0.5 * np.eye(3)[np.arange(num_units) % 3]
    table = pd.DataFrame(probabilities[generator.permutation(num_units)], columns=["p_a", "p_b", "p_c"])
    return table.assign(unit=np.arange(num_units), label=np.array(["a", "b", "c"])[np.arange(num_units) % 3])


def in_folds(num_units: int = 60, num_seeds: int = 2, **columns: Any) -> pd.DataFrame:
    """Five folds of each repeat, each with as many of either class."""
    parts = []
    for seed in range(num_seeds):
        fold = np.random.default_rng(seed).permutation(num_units // 2) % 5
        parts.append(random_rows(num_units, draw=seed, seed=seed, fold=np.repeat(fold, 2), **columns))
    return pd.concat(parts)
