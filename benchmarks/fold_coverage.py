"""How often approximate 95 % intervals over repeated folds hold the truth, by the number of cases.

python benchmarks/fold_coverage.py                      # a Markdown table on stdout
python benchmarks/fold_coverage.py --simulations 30     # a quick trial

Cases of two classes, a third of them ill, differ in eight normal variables. A linear discriminant is trained in 5
folds, 3 times. The truth is what such models, trained on four fifths of as many cases, come to on average on 20,000
others.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold

from tlmed.evaluation.estimates.across_folds import estimate_over_folds
from tlmed.evaluation.estimates.figure_cells import Cell, Conditions, value_of
from tlmed.evaluation.estimates.unit_scores import SeedScores
from tlmed.evaluation.metrics import METRICS, Floats, Integers, Scored

NAMES = ("auroc", "auprc", "brier", "accuracy", "sensitivity", "f1")
CASES, FOLDS, REPEATS = (45, 90, 180, 360, 720), 5, 3
NUM_VARIABLES, DISTANCE = 8, 0.45
NUM_OF_TRUTH, NUM_OTHERS = 100, 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=200, help="for each number of cases")
    arguments = parser.parse_args()
    start = time.perf_counter()
    print(f"| cases | {' | '.join(NAMES)} |")
    print("|---|" + "---|" * len(NAMES))
    for num_cases in CASES:
        generator = np.random.default_rng(0)
        truth = true_values(num_cases, generator)
        given, held = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0)
        for _ in range(arguments.simulations):
            for name, cell in estimate(num_cases, generator).items():
                if cell.low is not None and cell.high is not None:
                    given[name] += 1
                    held[name] += cell.low <= truth[name] <= cell.high
        shown = [f"{100 * held[name] / given[name]:.1f}" if given[name] else "no interval" for name in NAMES]
        print(f"| {num_cases} | {' | '.join(shown)} |", flush=True)
    print(f"\n{time.process_time():.0f} s of processor time, {time.perf_counter() - start:.0f} s by the clock.")


def draw(num_cases: int, generator: np.random.Generator) -> tuple[Floats, Integers]:
    """(N, V) variables and (N,) labels."""
    labels = (np.arange(num_cases) % 3 == 0).astype(np.int64)
    return generator.normal(size=(num_cases, NUM_VARIABLES)) + DISTANCE * labels[:, None], labels


def true_values(num_cases: int, generator: np.random.Generator) -> dict[str, float]:
    others, labels = draw(NUM_OTHERS, generator)
    values = []
    for _ in range(NUM_OF_TRUTH):
        model = LinearDiscriminantAnalysis().fit(*draw(num_cases * (FOLDS - 1) // FOLDS, generator))
        scored = Scored(labels, model.predict_proba(others), 1)
        values.append([value_of(METRICS[name], scored) for name in NAMES])
    return dict(zip(NAMES, np.mean(values, axis=0).tolist(), strict=True))


def estimate(num_cases: int, generator: np.random.Generator) -> dict[str, Cell]:
    """What `metrics.json` would hold."""
    variables, labels = draw(num_cases, generator)
    seeds = []
    for seed in range(REPEATS):
        folds, probabilities = np.zeros(num_cases, dtype=np.int64), np.zeros((num_cases, 2))
        parts = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(variables, labels)
        for fold, (train, test) in enumerate(parts):
            model = LinearDiscriminantAnalysis().fit(variables[train], labels[train])
            folds[test], probabilities[test] = fold, model.predict_proba(variables[test])
        seeds.append(SeedScores(seed, Scored(labels, probabilities, 1), folds))
    cells = estimate_over_folds(seeds, np.arange(num_cases), Conditions(("well", "ill"), "consecutive", None))
    return {name: cells[name] for name in NAMES}


if __name__ == "__main__":
    main()
