"""How often 95 % intervals of figures that are averaged over training seeds hold the truth.

python benchmarks/seed_coverage.py                      # sensitivity and AUROC; a Markdown table on stdout
python benchmarks/seed_coverage.py --composites         # F1, AUPRC and Brier score
python benchmarks/seed_coverage.py --simulations 100    # a quick trial

The score of an image is d + s + u + v + e: d of its class, s of the training seed (positive class alone), u of the
group and v of the image, both the same for all seeds, and e of seed and image; u, v and e have the variances 0.35,
0.35 and 0.3. The truth is that of the average seed and all cases; of composites, that of 200 seeds on 12,000 cases. In
brackets, other limits on the same scores: for sensitivity and AUROC value +- t standard error on the plain scale, as
Obuchowski and Rockette's analysis has them; for composites percentiles of resampled groups and seeds.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from tlmed.evaluation.estimates.figure_cells import Cell, Part, value_of
from tlmed.evaluation.estimates.fixed_split import estimate_auroc, estimate_composites
from tlmed.evaluation.estimates.shares import count_shares, estimate_share
from tlmed.evaluation.intervals import Estimate, bootstrap_by_group
from tlmed.evaluation.metrics import METRICS, Floats, Integers, Scored
from tlmed.evaluation.statistics.auroc import auroc
from tlmed.evaluation.statistics.jackknife import jackknife_covariance, leave_one_group_out_aurocs
from tlmed.evaluation.statistics.multi_reader import variance_over_readers

GROUPS, IMAGES, SEEDS, SPREADS = (10, 20, 60), (1, 4), (3, 5), (0.0, 0.2)
TRUTHS = ((0.85, 0.90), (0.95, 0.97))  # sensitivity, AUROC
COMPOSITES = ("f1", "auprc", "brier")
RATIO = 2  # negative groups to positive ones


class Design(NamedTuple):
    """A test set and the seeds that score it.

    Attributes:
        num_positive: groups.
        num_images: of each group.
        num_seeds: of training.
        spread: standard deviation of the seeds.
    """

    num_positive: int
    num_images: int
    num_seeds: int
    spread: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, help="in each cell; default: 1000, of composites 300")
    parser.add_argument("--composites", action="store_true")
    arguments = parser.parse_args()
    start = time.perf_counter()
    names = COMPOSITES if arguments.composites else ("sensitivity", "AUROC")
    num_simulations = arguments.simulations or (300 if arguments.composites else 1000)
    print(f"| sensitivity, AUROC | positive groups | images a group | seeds | spread of seeds | {' | '.join(names)} |")
    print("|---|---|---|---|---|" + "---|" * len(names))
    designs = [
        Design(*one)
        for one in itertools.product(GROUPS, IMAGES, (1, 3) if arguments.composites else SEEDS, SPREADS)
        if one[2] > 1 or one[3] == 0
    ]
    everything = []
    for truth, design in itertools.product(TRUTHS, designs):
        count = count_composites_covered if arguments.composites else count_covered
        everything.append(count(truth, design, num_simulations, np.random.default_rng(0)) / num_simulations)
        shown = [f"{100 * ours:.1f} ({100 * other:.1f})" for ours, other in everything[-1]]
        print(f"| {', '.join(map(str, truth))} | {' | '.join([*map(str, design), *shown])} |", flush=True)
    least, most = np.min(everything, axis=0), np.max(everything, axis=0)
    for row, name in enumerate(names):
        ours, other = (f"{100 * least[row, way]:.1f} to {100 * most[row, way]:.1f} %" for way in (0, 1))
        print(f"\n- {name}: {ours}; other limits: {other}")
    print(f"\n{time.process_time():.0f} s of processor time, {time.perf_counter() - start:.0f} s by the clock.")


def count_covered(
    truth: tuple[float, float], design: Design, num_simulations: int, generator: np.random.Generator
) -> Floats:
    """(2, 2): sensitivity and AUROC, by our limits and by plain ones."""
    _, groups = lay_out(design)
    covered = np.zeros((2, 2))
    for _ in range(num_simulations):
        of_seeds = draw(truth, design, generator)
        cells = estimate(of_seeds, groups)
        plain = (plain_limits_of_sensitivity(of_seeds, groups), plain_limits_of_auroc(of_seeds, groups))
        for row, (cell, limits) in enumerate(zip(cells, plain, strict=True)):
            assert cell.low is not None
            assert cell.high is not None
            covered[row] += [cell.low <= truth[row] <= cell.high, limits[0] <= truth[row] <= limits[1]]
    return covered


def count_composites_covered(
    truth: tuple[float, float], design: Design, num_simulations: int, generator: np.random.Generator
) -> Floats:
    """(C, 2): each composite, by our limits and by percentiles; without limits counts as missed."""
    _, groups = lay_out(design)
    metrics = {name: METRICS[name] for name in COMPOSITES}
    many = draw(truth, Design(4000, 1, 200, design.spread), np.random.default_rng(1))
    values = {name: np.mean([value_of(metric, one) for one in many]) for name, metric in metrics.items()}
    covered = np.zeros((len(COMPOSITES), 2))
    for _ in range(num_simulations):
        of_seeds = draw(truth, design, generator)
        cells = estimate_composites(metrics, [Part("", one) for one in of_seeds], groups, None)
        percentiles = bootstrap_by_group(metrics, of_seeds, groups, num_resamples=1000)
        for row, name in enumerate(COMPOSITES):
            both: tuple[Cell | Estimate, ...] = (cells[name], percentiles[name])
            for way, one in enumerate(both):
                if one.low is not None and one.high is not None:
                    covered[row, way] += one.low <= values[name] <= one.high
    return covered


def lay_out(design: Design) -> tuple[Integers, Integers]:
    """Label and group of each image."""
    groups = np.repeat(np.arange((1 + RATIO) * design.num_positive), design.num_images)
    return (groups < design.num_positive).astype(np.int64), groups


def draw(truth: tuple[float, float], design: Design, generator: np.random.Generator) -> list[Scored]:
    """Scores as probabilities, above 0.5 where they pass the threshold."""
    labels, groups = lay_out(design)
    between = math.sqrt(2 + design.spread**2) * float(norm.ppf(truth[1]))
    threshold = between - math.sqrt(1 + design.spread**2) * float(norm.ppf(truth[0]))
    shared = math.sqrt(0.35) * (generator.normal(size=groups[-1] + 1)[groups] + generator.normal(size=len(groups)))
    scores = shared + math.sqrt(0.3) * generator.normal(size=(design.num_seeds, len(groups)))
    scores += (between + design.spread * generator.normal(size=(design.num_seeds, 1))) * labels - threshold
    of_ill = norm.cdf(scores)
    return [Scored(labels, np.stack([1 - one, one], axis=1), 1) for one in of_ill]


def estimate(of_seeds: list[Scored], groups: Integers) -> tuple[Cell, Cell]:
    """What `metrics.json` would hold."""
    return estimate_share("sensitivity", of_seeds, groups, None), estimate_auroc(of_seeds, groups, None)


def plain_limits_of_sensitivity(of_seeds: list[Scored], groups: Integers) -> tuple[float, float]:
    counts = [count_shares("sensitivity", one, groups) for one in of_seeds]
    successes, sizes = (np.stack(rows, axis=1) for rows in zip(*counts, strict=True))
    successes, sizes = successes[sizes[:, 0] > 0], sizes[sizes[:, 0] > 0]
    leave_one_out = (successes.sum(axis=0) - successes) / (sizes.sum(axis=0) - sizes)
    return _plain_limits(successes.sum(axis=0) / sizes.sum(axis=0), leave_one_out)


def plain_limits_of_auroc(of_seeds: list[Scored], groups: Integers) -> tuple[float, float]:
    scores = np.stack([one.probabilities[:, 1] for one in of_seeds])
    is_positive = of_seeds[0].labels == 1
    values = np.array([auroc(is_positive, one) for one in scores])
    return _plain_limits(values, leave_one_group_out_aurocs(is_positive, scores, groups))


def _plain_limits(figures: Floats, leave_one_out: Floats) -> tuple[float, float]:
    variance, freedom = variance_over_readers(figures, jackknife_covariance(leave_one_out))
    half_width = float(t.ppf(0.975, freedom)) * math.sqrt(variance)
    return float(figures.mean()) - half_width, float(figures.mean()) + half_width


if __name__ == "__main__":
    main()
