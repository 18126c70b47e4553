"""Differences in AUROC between a run's arms and one of them, on the same test units, paired by seed.

python benchmarks/arm_differences.py runs/covid-ct-local --to generic

Prints a Markdown table. The interval resamples groups by class, and seeds where there are several, both alike in the
two arms (`evaluation/intervals.py`); over few seeds it is narrower than it should be.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from tlmed.evaluation.evaluate import aggregate_units
from tlmed.evaluation.intervals import Estimate, bootstrap_by_group
from tlmed.evaluation.metrics import METRICS, Floats, Scored, Weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", default="generic", help="the arm that the others are compared with")
    arguments = parser.parse_args()
    predictions = pd.read_parquet(arguments.run / "predictions.parquet")
    positive = json.loads((arguments.run / "metrics.json").read_text(encoding="utf-8"))["positive"]
    test = predictions[predictions["split"] == "test"]
    print(f"| arm | AUROC by seed | minus `{arguments.to}` by seed | mean difference (95 % interval) |")
    print("|---|---|---|---:|")
    for arm in test["arm"].unique():
        by_seed = [_auroc(one) for one in scores_by_seed(test, arm, positive)[0]]
        cells = [arm, _listed(by_seed), "", ""]
        if arm != arguments.to:
            differences, estimate = paired_difference(test, arm, arguments.to, positive)
            cells[2:] = [_listed(differences, sign="+"), _with_interval(estimate)]
        print(f"| {' | '.join(cells)} |")


def paired_difference(test: pd.DataFrame, arm: str, other: str, positive: str) -> tuple[list[float], Estimate]:
    """AUROC of `arm` minus that of `other`: by seed, and its mean with an interval."""
    scored, groups = scores_by_seed(test, arm, positive)
    others, _ = scores_by_seed(test, other, positive)
    partner = {id(one): other_one for one, other_one in zip(scored, others, strict=True)}

    def difference(one: Scored, weights: Weights) -> Floats:
        return np.asarray(METRICS["auroc"](one, weights) - METRICS["auroc"](partner[id(one)], weights))

    estimate = bootstrap_by_group({"difference": difference}, scored, groups)["difference"]
    return [_auroc(one) - _auroc(partner[id(one)]) for one in scored], estimate


def scores_by_seed(test: pd.DataFrame, arm: str, positive: str) -> tuple[list[Scored], np.ndarray]:
    """One arm's scores of the same units in the same order, by seed, and the group of each unit."""
    columns = [name for name in test.columns if name.startswith("p_")]
    classes = [name.removeprefix("p_") for name in columns]
    scored, groups = [], np.empty(0)
    for _, part in test[test["arm"] == arm].groupby("seed"):
        units = aggregate_units(part).sort_values("unit")
        labels = units["label"].map(classes.index).to_numpy(dtype=np.int64)
        scored.append(Scored(labels, units[columns].to_numpy(dtype=float), classes.index(positive)))
        groups = units["group"].to_numpy()
    return scored, groups


def _auroc(one: Scored) -> float:
    return float(METRICS["auroc"](one, np.ones((1, len(one.labels))))[0])


def _listed(values: list[float], sign: str = "") -> str:
    return ", ".join(f"{value:{sign}.3f}" for value in values)


def _with_interval(estimate: Estimate) -> str:
    assert estimate.value is not None
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f} (no interval)"
    return f"{estimate.value:+.3f} ({estimate.low:+.3f} to {estimate.high:+.3f})"


if __name__ == "__main__":
    main()
