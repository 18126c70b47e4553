"""How often 95 % intervals of sensitivity, accuracy and AUROC hold the truth, by the number of groups and their size.

python benchmarks/coverage.py                       # the whole table; a Markdown table on stdout
python benchmarks/coverage.py --simulations 200     # a quick trial

A score is d + sqrt(r) u + sqrt(1 - r) e, with u normal and the same for all images of a group (a patient), e normal and
of the image; d is 0 for the negative class and such for the positive one that the true AUROC is 0.90. So r is the
correlation of the scores of two images of one group and class, on the scale before the decision. The threshold is where
the true sensitivity is 0.85. Every group is of one class; the larger class has twice as many as the smaller, which is
the positive one. Naive intervals (in brackets) take every image for independent: Wilson's and DeLong's.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time

import numpy as np
from scipy.stats import norm

from tlmed.evaluation.metrics import Floats
from tlmed.evaluation.statistics.auroc import auroc_intervals
from tlmed.evaluation.statistics.proportions import clustered_wilson_limits

GROUPS, IMAGES, CORRELATIONS = (10, 20, 30, 40, 60, 100), (1, 4, 8), (0.2, 0.5, 0.9)
METRICS = ("sensitivity", "accuracy", "AUROC")
AUROC, SENSITIVITY, RATIO = 0.90, 0.85, 2
SHIFT = math.sqrt(2) * float(norm.ppf(AUROC))
THRESHOLD = SHIFT - float(norm.ppf(SENSITIVITY))
ACCURACY = (SENSITIVITY + RATIO * float(norm.cdf(THRESHOLD))) / (1 + RATIO)
LEAST, MOST = 0.92, 0.98
AT_ONCE = 250

Cell = tuple[int, int, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000, help="in each cell")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    cells = list(itertools.product(GROUPS, IMAGES, CORRELATIONS))
    seeds = np.random.SeedSequence(arguments.seed).spawn(len(cells))
    coverage = {}
    for cell, seed in zip(cells, seeds, strict=True):
        coverage[cell] = measure(cell, arguments.simulations, np.random.default_rng(seed))
        print(cell, coverage[cell].round(3).tolist(), file=sys.stderr, flush=True)
    print(table(coverage))
    print(verdict(coverage, arguments.simulations))
    print(f"\n{time.process_time():.0f} s of processor time, {time.perf_counter() - start:.0f} s by the clock.")


def measure(cell: Cell, num_simulations: int, generator: np.random.Generator) -> Floats:
    """(3, 2) coverage of each metric, by group and naive."""
    covered = np.zeros((len(METRICS), 2))
    for first in range(0, num_simulations, AT_ONCE):
        covered += count_covered(*cell, min(AT_ONCE, num_simulations - first), generator)
    return covered / num_simulations


def count_covered(
    num_groups: int, num_images: int, correlation: float, num_rows: int, generator: np.random.Generator
) -> Floats:
    """(3, 2) in how many data sets the intervals hold the truth."""
    num_positive, num_all = num_groups, (1 + RATIO) * num_groups
    shape = (num_rows, num_all, num_images)
    scores = np.sqrt(correlation) * generator.normal(size=(*shape[:2], 1))
    scores = scores + np.sqrt(1 - correlation) * generator.normal(size=shape)
    scores[:, :num_positive] += SHIFT
    correct = (scores > THRESHOLD).astype(np.float64)
    correct[:, num_positive:] = 1 - correct[:, num_positive:]
    is_positive = np.repeat(np.arange(num_all) < num_positive, num_images)
    groups = np.repeat(np.arange(num_all), num_images)
    flat = scores.reshape(num_rows, -1)
    covered = np.zeros((len(METRICS), 2))
    for row, (decisions, truth) in enumerate(((correct[:, :num_positive], SENSITIVITY), (correct, ACCURACY))):
        by_group, by_image = decisions.sum(axis=2), decisions.reshape(num_rows, -1)
        sizes = np.full(by_group.shape[1], float(num_images))
        covered[row, 0] = _num_holding(*clustered_wilson_limits(by_group, sizes), truth)
        covered[row, 1] = _num_holding(*clustered_wilson_limits(by_image, np.ones(by_image.shape[1])), truth)
    for column, by in enumerate((groups, None)):
        intervals = auroc_intervals(is_positive, flat, by)
        low, high = np.array([(one.low, one.high) for one in intervals], dtype=np.float64).T
        covered[2, column] = _num_holding(low, high, AUROC)
    return covered


def table(coverage: dict[Cell, Floats]) -> str:
    """Percent by group, in brackets percent of the naive interval; bold where the former is outside 92 to 98."""
    lines = [f"| groups | images a group | correlation | {' | '.join(METRICS)} |", "|---|---|---|---|---|---|"]
    for (groups, images, correlation), shares in coverage.items():
        texts = [
            f"{_marked(by_group)} ({'' if images == 1 else f'{100 * naive:.1f}'})".replace(" ()", "")
            for by_group, naive in shares
        ]
        lines.append(f"| {groups} | {images} | {correlation} | {' | '.join(texts)} |")
    return "\n".join(lines)


def verdict(coverage: dict[Cell, Floats], num_simulations: int) -> str:
    """From how many groups on all cells of a metric lie within 92 to 98 %, and how far they reach."""
    lines = [
        f"\nStandard error of a cell at 95 %: {100 * math.sqrt(0.95 * 0.05 / num_simulations):.2f} percent points."
    ]
    for row, metric in enumerate(METRICS):
        outside = [cell for cell, shares in coverage.items() if not LEAST <= shares[row, 0] <= MOST]
        enough = [groups for groups in GROUPS if all(cell[0] < groups for cell in outside)]
        values = [shares[row, 0] for shares in coverage.values()]
        naive = min(shares[row, 1] for shares in coverage.values())
        lines.append(
            f"- {metric}: within {100 * LEAST:.0f} to {100 * MOST:.0f} % from "
            f"{min(enough) if enough else 'more than ' + str(max(GROUPS))} groups on; {100 * min(values):.1f} to "
            f"{100 * max(values):.1f} % over all cells; naive down to {100 * naive:.1f} %; outside: {outside or 'none'}"
        )
    return "\n".join(lines)


def _num_holding(low: Floats, high: Floats, truth: float) -> int:
    return int(((low <= truth) & (truth <= high)).sum())


def _marked(share: float) -> str:
    text = f"{100 * share:.1f}"
    return text if LEAST <= share <= MOST else f"**{text}**"


if __name__ == "__main__":
    main()
