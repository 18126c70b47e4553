"""How long 2,000 bootstrap resamples of the composite figures take on 20,000 images of 5,000 groups.

python benchmarks/composites.py
python benchmarks/composites.py --units 1000 --groups 400

Composites are the figures that are no simple share: F1, macro F1, MCC, balanced accuracy, AUPRC, Brier score and net
benefit. The second line is the whole `metrics.json` of one arm and seed on the same units: shares, AUROC, calibration
and the range of the calibration error as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from tlmed.evaluation.evaluate import evaluate_predictions
from tlmed.evaluation.intervals import NUM_RESAMPLES, resample_by_group
from tlmed.evaluation.metrics import METRICS, Metric, Scored
from tlmed.evaluation.statistics.decision_curve import net_benefit_at

COMPOSITES: dict[str, Metric] = {
    **{name: METRICS[name] for name in ("f1", "macro_f1", "mcc", "balanced_accuracy", "auprc", "brier")},
    "net_benefit": net_benefit_at(0.2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--groups", type=int, default=5_000)
    arguments = parser.parse_args()
    scored, groups = draw(arguments.units, arguments.groups)
    measure(
        f"{NUM_RESAMPLES:,} resamples of {', '.join(COMPOSITES)}",
        lambda: resample_by_group(COMPOSITES, [scored], groups, generator=np.random.default_rng(0)),
    )
    table = pd.DataFrame(scored.probabilities, columns=["p_well", "p_ill"])
    table = table.assign(unit=np.arange(len(groups)), group=groups, label=np.array(["well", "ill"])[scored.labels])
    measure("metrics.json of one arm and seed", lambda: evaluate_predictions(table, positive="ill", unit="image"))


def draw(num_units: int, num_groups: int) -> tuple[Scored, np.ndarray]:
    """Two classes, a third of the groups ill, images of a group alike."""
    generator = np.random.default_rng(0)
    groups = np.arange(num_units) % num_groups
    labels = (groups % 3 == 0).astype(np.int64)
    log_odds = 1.5 * labels + 0.5 * generator.normal(size=num_groups)[groups] + generator.normal(size=num_units) - 0.7
    of_ill = 1 / (1 + np.exp(-log_odds))
    return Scored(labels, np.stack([1 - of_ill, of_ill], axis=1), 1), groups


def measure(what: str, action: Callable[[], object]) -> None:
    start, processor = time.perf_counter(), time.process_time()
    action()
    print(
        f"{what}: {time.perf_counter() - start:.2f} s by the clock, {time.process_time() - processor:.2f} s of "
        "processor time"
    )


if __name__ == "__main__":
    main()
