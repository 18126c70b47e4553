"""How often a comparison finds a difference where there is none, and how often one of 5 points where there is.

python benchmarks/verdicts.py fixed                     # claim (b), 10,000 comparisons a cell
python benchmarks/verdicts.py hillis                    # the same by Hillis' degrees of freedom
python benchmarks/verdicts.py folds                     # claim (c)
python benchmarks/verdicts.py refitted                  # both, models really fitted, 4,000 comparisons a cell
python benchmarks/verdicts.py power                     # AUROC 0.775 and 0.825
python benchmarks/verdicts.py fixed --comparisons 500 --json verdicts.json    # a quick trial

A Markdown table on stdout: "helped" and "hurt" in percent of the comparisons, whose sum should be 5 and at most 6 where
there is no difference, and "equivalent" within 2 points.

Scores are simulated with effects of the case, of arm and case, and of model and case, half of each by group and half by
image, so large that AUROCs correlate as measured on COVID-CT (`statistics/design.py`); a seed and a training set also
move all positives of a model. How much AUROCs of trainings vary is given in units of their variance over cases. The
training set's part adds up from its groups, so that folds share what they train on. `benchmarks/verdict_models.py` has
the models that are really fitted.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import norm, t
from verdict_models import RefittedFolds, RefittedSeeds

from tlmed.evaluation.comparison.claims import (
    ArmFigures,
    Claim,
    claim_over_seeds,
    claim_over_training_sets,
    refuses_training_set_claim,
)
from tlmed.evaluation.metrics import Floats, Integers
from tlmed.evaluation.statistics.array_checks import Booleans, sum_by_group
from tlmed.evaluation.statistics.auroc import placements
from tlmed.evaluation.statistics.design import (
    CORRELATION_OF_ARMS,
    CORRELATION_OF_SEEDS,
    TRAINING_VARIANCE,
    auroc_variance,
)
from tlmed.evaluation.statistics.jackknife import jackknife_covariance
from tlmed.evaluation.statistics.multi_reader import variance_over_readers

MARGIN = 0.02
REFITTED_COMPARISONS = 4000
NUM_PROCESSES = 2
CONTRAST = {"first": 1.0, "second": -1.0}


def _score_correlation(of_aurocs: float) -> float:
    """Of normal scores whose AUROCs correlate so, about: by the ranks of scores, Pearson 1907."""
    return 2 * math.sin(math.pi * of_aurocs / 6)


OF_CASE = _score_correlation(CORRELATION_OF_ARMS)
OF_ARM = _score_correlation(CORRELATION_OF_SEEDS) - OF_CASE
OF_MODEL = 1 - OF_CASE - OF_ARM


@dataclasses.dataclass(frozen=True)
class Effects:
    """What training adds.

    Attributes:
        name: in the table.
        seeds: variance of an AUROC over seeds, of the first and second arm, over that over cases.
        training_set: the same over training sets of all groups; under folds alone.
        correlation: of the arms' seed effects, by shared stages.
        same_seeds: whether the arms have the same seeds, and are paired.
    """

    name: str
    seeds: tuple[float, float] = (TRAINING_VARIANCE, TRAINING_VARIANCE)
    training_set: float = TRAINING_VARIANCE
    correlation: float = 0.0
    same_seeds: bool = True


MEASURED = Effects("as measured")
LARGE = Effects("seeds vary as cases do", (1.0, 1.0))
OTHERS = (
    Effects("seeds of one arm vary as cases do", (1.0, 0.0)),
    Effects("seeds vary as cases do, half of it by shared stages", (1.0, 1.0), correlation=0.5),
    Effects("as measured, other seeds", same_seeds=False),
    Effects("seeds of one arm vary as cases do, other seeds", (1.0, 0.0), same_seeds=False),
)
# Of the models that are fitted, what training sets change in a difference of arms is 0.04 to 0.24 times what cases
# change; with a tenth it is 0.6 times that here, with a third 1.7 times.
TRAINING_SETS = Effects("training sets vary a tenth as cases do", training_set=0.1)
LARGE_TRAINING_SETS = Effects("training sets vary a third as cases do", training_set=0.3)


@dataclasses.dataclass(frozen=True)
class FixedTest:
    """Claim (b).

    Attributes:
        num_groups: positive and negative, in test.
        most_images: of a group.
        num_seeds: of each arm.
        aurocs: of the first and second arm.
        effects: of training.
    """

    num_groups: tuple[int, int]
    most_images: int
    num_seeds: int
    aurocs: tuple[float, float]
    effects: Effects

    def columns(self) -> dict[str, str]:
        images = "" if self.most_images == 1 else f", 1 to {self.most_images} images"
        return {
            "groups": f"{self.num_groups[0]} + {self.num_groups[1]}{images}",
            "design": f"{self.num_seeds} seeds",
            "AUROC": _shown(self.aurocs),
            "training": self.effects.name,
        }

    def refusal(self) -> str | None:
        return None

    def compare(self, generator: np.random.Generator) -> Claim | None:
        return claim_over_seeds(CONTRAST, self.draw(generator))

    def draw(self, generator: np.random.Generator) -> dict[str, ArmFigures]:
        of_group = np.repeat([True, False], self.num_groups)
        # Truncated geometric: two images on average, as in COVID-CT.
        sizes = np.minimum(generator.geometric(1 / 2.2, len(of_group)), self.most_images)
        groups = np.repeat(np.arange(len(of_group)), sizes)
        is_positive = of_group[groups]
        effects = _of_training(self.effects, self.aurocs, self.num_groups, self.num_seeds, generator)
        scores = _of_cases(groups, self.num_seeds, generator) + effects[..., None] * is_positive
        flat = scores.reshape(2 * self.num_seeds, -1)
        values, left_out = aurocs_with_and_without_groups(is_positive, flat, groups)
        values, left_out = values.reshape(2, -1), left_out.reshape(len(of_group), 2, -1)
        # Seeds of other names are not paired.
        names = ("", "") if self.effects.same_seeds else tuple(CONTRAST)
        seeds = [tuple(f"{name} {seed}" for seed in range(self.num_seeds)) for name in names]
        return {arm: ArmFigures(seeds[i], values[i], left_out[:, i]) for i, arm in enumerate(CONTRAST)}


class ByHillis(FixedTest):
    """The same with Hillis' degrees of freedom for both parts of the variance together."""

    def compare(self, generator: np.random.Generator) -> Claim | None:
        arms = self.draw(generator)
        claim = claim_over_seeds(CONTRAST, arms)
        assert claim is not None
        first, second = arms.values()
        covariance = jackknife_covariance(first.left_out - second.left_out)
        variance, freedom = variance_over_readers(first.values - second.values, covariance)
        half_width, half_width_90 = (float(t.ppf(one, freedom)) * math.sqrt(variance) for one in (0.975, 0.95))
        return dataclasses.replace(
            claim,
            low=claim.value - half_width,
            high=claim.value + half_width,
            low_90=claim.value - half_width_90,
            high_90=claim.value + half_width_90,
        )


@dataclasses.dataclass(frozen=True)
class Folds:
    """Claim (c).

    Attributes:
        num_groups: positive and negative, in all, of one image each.
        num_folds: of a repeat.
        num_repeats: of the division.
        aurocs: of the first and second arm.
        effects: of training.
    """

    num_groups: tuple[int, int]
    num_folds: int
    num_repeats: int
    aurocs: tuple[float, float]
    effects: Effects

    def columns(self) -> dict[str, str]:
        return {
            "groups": f"{self.num_groups[0]} + {self.num_groups[1]}",
            "design": f"{self.num_folds} folds x {self.num_repeats}",
            "AUROC": _shown(self.aurocs),
            "training": self.effects.name,
        }

    def refusal(self) -> str | None:
        return refuses_training_set_claim(num_folds=self.num_folds, num_repeats=self.num_repeats)

    def compare(self, generator: np.random.Generator) -> Claim | None:
        num_positive, num_negative = self.num_groups
        num_groups = num_positive + num_negative
        groups, is_positive = np.arange(num_groups), np.arange(num_groups) < num_positive
        scores = _of_cases(groups, self.num_repeats, generator)
        # What each group teaches each arm.
        unit = _effect_size(self.aurocs, self.num_groups)
        taught = unit * math.sqrt(self.effects.training_set / num_groups) * generator.normal(size=(2, num_groups))
        differences = []
        for repeat in range(self.num_repeats):
            folds = divide(self.num_groups, self.num_folds, generator)
            in_fold = folds == np.arange(self.num_folds)[:, None]
            effects = _of_training(self.effects, self.aurocs, self.num_groups, self.num_folds, generator)
            effects += taught @ ~in_fold.T * num_groups / (~in_fold).sum(axis=1)
            shifted = scores[:, repeat] + effects[:, folds] * is_positive
            differences.append(differences_by_fold(shifted, is_positive, folds, self.num_folds))
        num_test = num_groups / self.num_folds
        return claim_over_training_sets(np.concatenate(differences), num_train=num_groups - num_test, num_test=num_test)


def aurocs_with_and_without_groups(is_positive: Booleans, scores: Floats, groups: Integers) -> tuple[Floats, Floats]:
    """(K,) and (G, K): as `leave_one_group_out_aurocs`, in a third of the time for groups of one class each."""
    of_positives, of_negatives = placements(is_positive, scores)
    num_groups, num_positive, num_negative = groups[-1] + 1, is_positive.sum(), (~is_positive).sum()
    wins = num_negative * of_positives.sum(axis=1, keepdims=True)
    lost = num_negative * sum_by_group(of_positives, groups[is_positive], num_groups)
    lost += num_positive * sum_by_group(of_negatives, groups[~is_positive], num_groups)
    positives_left = num_positive - np.bincount(groups, weights=is_positive)
    negatives_left = num_negative - np.bincount(groups, weights=~is_positive)
    return of_positives.mean(axis=1), np.asarray(((wins - lost) / (positives_left * negatives_left)).T)


def divide(num_groups: tuple[int, int], num_folds: int, generator: np.random.Generator) -> Integers:
    """The fold of each positive, then of each negative: as many of each in all folds as can be."""
    return np.concatenate([generator.permutation(np.arange(number) % num_folds) for number in num_groups])


def differences_by_fold(scores: Floats, is_positive: Booleans, folds: Integers, num_folds: int) -> Floats:
    """(2, N) scores -> (K,) AUROC of the first less the second, within each fold."""
    of_positives, of_negatives = folds[is_positive], folds[~is_positive]
    wins = scores[:, is_positive, None] > scores[:, None, ~is_positive]
    difference = wins[0].astype(np.float64) - wins[1]
    of_each = (difference * (of_positives[:, None] == of_negatives)).sum(axis=1)
    sizes = np.bincount(of_positives) * np.bincount(of_negatives)
    return np.asarray(np.bincount(of_positives, weights=of_each, minlength=num_folds) / sizes)


def _of_cases(groups: Integers, num_models: int, generator: np.random.Generator) -> Floats:
    """(2, M, N) scores of two arms and their models, of variance 1."""

    def draw(variance: float, *shape: int) -> Floats:
        by_group = generator.normal(size=(*shape, groups[-1] + 1))[..., groups]
        return np.asarray(math.sqrt(variance / 2) * (by_group + generator.normal(size=(*shape, len(groups)))))

    return draw(OF_CASE, 1, 1) + draw(OF_ARM, 2, 1) + draw(OF_MODEL, 2, num_models)


def _effect_size(aurocs: tuple[float, float], num_groups: tuple[int, int]) -> float:
    """By how much scores of positives move where the AUROC moves by its standard error over cases."""
    auroc = sum(aurocs) / 2
    return math.sqrt(2 * auroc_variance(auroc, *num_groups)) / float(norm.pdf(norm.ppf(auroc)))


def _of_training(
    effects: Effects,
    aurocs: tuple[float, float],
    num_groups: tuple[int, int],
    num_models: int,
    generator: np.random.Generator,
) -> Floats:
    """(2, M) how far positives of each model lie above negatives, so that the AUROCs are right on average."""
    unit = _effect_size(aurocs, num_groups)
    shared, own = generator.normal(size=(1, num_models)), generator.normal(size=(2, num_models))
    normal = math.sqrt(effects.correlation) * shared + math.sqrt(1 - effects.correlation) * own
    spreads = unit * np.sqrt(effects.seeds)
    means = np.sqrt(2 + spreads**2) * norm.ppf(aurocs)
    return np.asarray(means[:, None] + spreads[:, None] * normal)


def _shown(aurocs: tuple[float, float]) -> str:
    return " / ".join(f"{one:g}" for one in sorted(set(aurocs), reverse=True))


Cell = FixedTest | Folds | RefittedSeeds | RefittedFolds
LAYOUTS = (((20, 20), 1), ((10, 90), 1), ((45, 50), 10), ((30, 170), 1), ((200, 200), 1))
LIKE_COVID_CT, LARGEST = LAYOUTS[2], LAYOUTS[4]
FOLD_LAYOUTS = ((20, 20), (48, 47), (19, 76), (100, 100), (40, 160), (200, 200))
DIVISIONS = ((5, 1), (5, 3), (10, 1))
SEEDS, AUROCS, DIFFERENT = (2, 3, 5), (0.7, 0.9), (0.825, 0.775)


def _fixed() -> list[Cell]:
    everywhere = itertools.product(LAYOUTS, SEEDS, AUROCS, (MEASURED, LARGE))
    in_one = itertools.product([LIKE_COVID_CT], SEEDS, [0.7], OTHERS)
    designs = [*everywhere, *in_one]
    return [FixedTest(*layout, seeds, (auroc, auroc), effects) for layout, seeds, auroc, effects in designs]


def _by_hillis() -> list[Cell]:
    designs = itertools.product((LIKE_COVID_CT, LARGEST), SEEDS, (MEASURED, LARGE))
    return [ByHillis(*layout, seeds, (0.7, 0.7), effects) for layout, seeds, effects in designs]


def _folds() -> list[Cell]:
    everywhere = itertools.product(FOLD_LAYOUTS, DIVISIONS, AUROCS, (MEASURED, TRAINING_SETS, LARGE_TRAINING_SETS))
    in_one = itertools.product([(48, 47)], DIVISIONS, [0.7], [LARGE])
    often = itertools.product([(19, 76), (200, 200)], [(5, 10)], [0.7], (MEASURED, LARGE_TRAINING_SETS))
    designs = [*everywhere, *in_one, *often]
    return [Folds(layout, *division, (auroc, auroc), effects) for layout, division, auroc, effects in designs]


def _refitted() -> list[Cell]:
    of_seeds = itertools.product(((20, 20), (50, 50)), SEEDS, (False, True))
    of_folds = itertools.product(((20, 20), (50, 50), (20, 80), (100, 100)), DIVISIONS, (False, True))
    often = [((20, 80), (5, 10), False)]
    return [
        *(RefittedSeeds(*one) for one in of_seeds),
        *(RefittedFolds(layout, *division, is_seeded) for layout, division, is_seeded in (*of_folds, *often)),
    ]


def _power() -> list[Cell]:
    return [
        *(FixedTest(*layout, seeds, DIFFERENT, MEASURED) for layout, seeds in itertools.product(LAYOUTS, SEEDS)),
        *(Folds(layout, *one, DIFFERENT, MEASURED) for layout, one in itertools.product(FOLD_LAYOUTS, DIVISIONS)),
    ]


CELLS = {"fixed": _fixed, "hillis": _by_hillis, "folds": _folds, "refitted": _refitted, "power": _power}


def count_verdicts(cell: Cell, num_comparisons: int) -> dict[str, int]:
    """How many comparisons of a cell end with each verdict."""
    generator = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for _ in range(num_comparisons):
        claim = cell.compare(generator)
        if claim is None:
            counts["none"] += 1
        elif claim.low > 0:
            counts["helped"] += 1
        elif claim.high < 0:
            counts["hurt"] += 1
        elif claim.low_90 > -MARGIN and claim.high_90 < MARGIN:
            counts["equivalent"] += 1
    return counts


def row_of(cell: Cell, counts: dict[str, int], num_comparisons: int, *, is_different: bool) -> dict[str, str]:
    """The cell and its rates, for the table."""
    rates = {word: 100 * counts.get(word, 0) / num_comparisons for word in ("helped", "hurt", "equivalent")}
    found = rates["helped"] + rates["hurt"]
    refusal = cell.refusal()
    remark = "" if is_different else "above 6" if found > 6 else "conservative" if found < 3 else ""
    return {
        **cell.columns(),
        **{word: f"{rate:.1f}" for word, rate in rates.items()},
        "helped or hurt": f"{found:.1f}",
        "remark": remark if refusal is None else f"no claim: {refusal}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=CELLS)
    parser.add_argument("--comparisons", type=int, default=10_000, help="of each cell; refitted at most 4,000")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    start, cells = time.perf_counter(), CELLS[arguments.part]()
    number = arguments.comparisons
    if arguments.part == "refitted":
        number = min(number, REFITTED_COMPARISONS)
    rows = []
    with ProcessPoolExecutor(NUM_PROCESSES) as pool:
        for cell, counts in zip(cells, pool.map(partial(count_verdicts, num_comparisons=number), cells), strict=True):
            rows.append(row_of(cell, counts, number, is_different=arguments.part == "power"))
            if len(rows) == 1:
                print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
            print(f"| {' | '.join(rows[-1].values())} |", flush=True)
            seconds = time.perf_counter() - start
            print(f"{len(rows)} of {len(cells)} cells, {seconds:.0f} s", end="\r", file=sys.stderr, flush=True)
    print(
        f"\n{number} comparisons a cell, {time.perf_counter() - start:.0f} s by the clock on {NUM_PROCESSES} processes."
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
