"""By how much an arm beats simple baselines on the same test units, as AUROC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from tlmed.errors import InputError, did_you_mean
from tlmed.evaluation.estimates.across_folds import Fold, mean_over_folds, split_by_fold
from tlmed.evaluation.estimates.figure_cells import (
    NO_VARIATION,
    Cell,
    Conditions,
    is_constant,
    too_few_groups,
    value_of,
)
from tlmed.evaluation.estimates.fixed_split import estimate_composites
from tlmed.evaluation.estimates.prediction_table import TestedRows, read_test_rows
from tlmed.evaluation.estimates.unit_scores import SeedScores, score_units
from tlmed.evaluation.evaluate import check_prevalence, estimate_arm
from tlmed.evaluation.metrics import Floats, Integers, Scored, Weights, auroc
from tlmed.evaluation.statistics.auroc import auroc_covariance
from tlmed.evaluation.statistics.jackknife import jackknife_covariance, leave_one_group_out_aurocs
from tlmed.evaluation.statistics.multi_reader import variance_over_readers
from tlmed.evaluation.statistics.multiplicity import bonferroni_level
from tlmed.evaluation.statistics.prevalence import Sampling

DIFFERENCE = "auroc_difference"
_LEVEL = 0.95
_CONSTANT = (
    "it is the arm's AUROC less 0.5, that of a baseline which gives all units the same score; see the arm's limits"
)


def compare_with_baselines(
    predictions: pd.DataFrame,
    baseline_predictions: pd.DataFrame,
    *,
    arm: str,
    positive: str | Sequence[str] | None,
    unit: str,
    sampling: Sampling = "unknown",
    prevalence: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure each baseline on the test units of an arm, and the arm's AUROC minus the baseline's.

    The difference is that of the printed AUROCs, means over seeds. Fixed test set: DeLong's or Obuchowski's test for
    one seed of the arm; of several the differences are averaged as by random readers (Obuchowski & Rockette), the
    baseline being what it is. Folds: differences within each fold, with the correction of Nadeau & Bengio. More than
    two classes: bootstrap. The limits of all differences together hold at 95 %, each by itself at the Bonferroni level.
    A baseline that scores all units the same, such as the larger class, is not counted there: its AUROC is 0.5.

    Args:
        predictions: the arms' table, see `evaluate.evaluate_predictions`.
        baseline_predictions: a table of the same columns, whose arms are the baselines.
        arm: the one that is compared.
        positive: the class or classes that count as disease.
        unit: what a decision is about.
        sampling: how the cases came together.
        prevalence: where the model is to be used, if stated.

    Returns:
        {BASELINE: {METRIC: cell, "auroc_difference": cell}}, cells as in `metrics.json`; that of the difference has the
        keys `arm` and, where it has limits, `level` as well.

    Raises:
        InputError: a malformed table, no such arm, or baselines of other units, classes or folds.
    """
    tested, baselines = (
        read_test_rows(predictions, positive, unit),
        read_test_rows(baseline_predictions, positive, unit),
    )
    scores = score_units(_joined(tested, baselines, arm))
    check_prevalence(prevalence, scores.classes)
    conditions = Conditions(scores.classes, sampling, prevalence)
    of_arm = scores.arms.pop(arm)
    too_few = too_few_groups(of_arm[0].scored, scores.groups, scores.classes)
    num_compared = sum(not _scores_all_the_same(of_baseline) for of_baseline in scores.arms.values())
    level = bonferroni_level(_LEVEL, max(num_compared, 1))
    results = {}
    for name, of_baseline in scores.arms.items():
        cells = {key: cell.as_json() for key, cell in estimate_arm(of_baseline, scores.groups, conditions).items()}
        difference = _difference(of_arm, of_baseline, scores.groups, too_few, name, level)
        stated = {} if difference.low is None else {"level": level}
        results[name] = {**cells, DIFFERENCE: {**difference.as_json(), **stated, "arm": arm}}
    return results


def _joined(tested: TestedRows, baselines: TestedRows, arm: str) -> TestedRows:
    """The rows of the arm, then those of the baselines."""
    of_arm = tested.rows[tested.rows["arm"].astype(str) == arm]
    if of_arm.empty:
        names = sorted(set(tested.rows["arm"].astype(str)))
        raise InputError(f"predictions: there is no arm {arm!r} to compare with baselines.{did_you_mean(arm, names)}")
    if set(tested.classes) != set(baselines.classes):
        raise InputError(
            f"baselines: their classes ({', '.join(baselines.classes)}) are not those of the arms "
            f"({', '.join(tested.classes)}); score the same classes."
        )
    if arm in set(baselines.rows["arm"].astype(str)):
        raise InputError(f"baselines: one has the name of the arm {arm!r}; give it another.")
    columns = ["arm", "seed", "fold", "unit", "group", "label", *tested.columns]
    rows = pd.concat([of_arm[columns], baselines.rows[columns]], ignore_index=True)
    return TestedRows(rows, tested.classes, tested.positive, tested.stated_positive)


def _scores_all_the_same(of_baseline: Sequence[SeedScores]) -> bool:
    """Whether each of its models does, under folds that of each fold."""
    if of_baseline[0].folds is None:
        return all(is_constant(one.scored) for one in of_baseline)
    return all(is_constant(fold.scored) for fold in split_by_fold(of_baseline))


def _difference(
    of_arm: Sequence[SeedScores],
    of_baseline: Sequence[SeedScores],
    groups: Integers,
    too_few: str | None,
    name: str,
    level: float,
) -> Cell:
    if (of_arm[0].folds is None) != (of_baseline[0].folds is None):
        raise InputError(f"baselines: {name} and the arm must both be tested in folds, or both on a fixed test set.")
    if of_arm[0].folds is not None:
        cell = _within_folds(split_by_fold(of_arm), split_by_fold(of_baseline), groups, name, level)
    elif of_arm[0].scored.num_classes == 2:
        cell = _on_fixed_test([one.scored for one in of_arm], [one.scored for one in of_baseline], groups, level)
    else:
        cell = _bootstrapped(of_arm, [one.scored for one in of_baseline], groups, too_few, level)
    if _scores_all_the_same(of_baseline):
        return Cell(cell.value, no_interval=_CONSTANT)
    return cell if too_few is None else Cell(cell.value, too_few=too_few)


def _on_fixed_test(of_arm: Sequence[Scored], of_baseline: Sequence[Scored], groups: Integers, level: float) -> Cell:
    positive = of_arm[0].positive
    is_positive = of_arm[0].labels == positive
    scores = np.stack([one.probabilities[:, positive] for one in (*of_arm, *of_baseline)])
    num_seeds, num_others = len(of_arm), len(of_baseline)
    # (S, S + B): each seed of the arm minus the mean of the baseline.
    contrasts = np.concatenate([np.eye(num_seeds), np.full((num_seeds, num_others), -1 / num_others)], axis=1)
    of_all = auroc_covariance(is_positive, scores, groups)
    differences = contrasts @ of_all.values
    if num_seeds == 1:
        method = "clustered DeLong test" if int(groups.max()) + 1 < len(groups) else "DeLong test"
        variance = float((contrasts @ of_all.covariance @ contrasts.T)[0, 0])
        quantile = float(norm.ppf((1 + level) / 2))
    else:
        method = "Obuchowski-Rockette, seeds as random readers"
        covariance = jackknife_covariance(leave_one_group_out_aurocs(is_positive, scores, groups) @ contrasts.T)
        variance, freedom = variance_over_readers(differences, covariance)
        quantile = float(t.ppf((1 + level) / 2, freedom))
    return _with_limits(float(differences.mean()), quantile * math.sqrt(max(variance, 0.0)), method)


def _within_folds(
    of_arm: Sequence[Fold], of_baseline: Sequence[Fold], groups: Integers, name: str, level: float
) -> Cell:
    # A baseline that came to the same in all seeds stands there once.
    by_members = {one.members: one for one in of_baseline}
    by_seed = {(one.seed, one.members): one for one in of_baseline}
    differences = []
    for one in of_arm:
        partner = by_seed.get((one.seed, one.members), by_members.get(one.members))
        if partner is None:
            raise InputError(
                f"baselines: {name} was not tested on the units of {one.where}; it needs the folds of the arm."
            )
        differences.append(value_of(auroc, one.scored) - value_of(auroc, partner.scored))
    return mean_over_folds(np.array(differences), of_arm, groups, bounds=(-1.0, 1.0), level=level)


def _bootstrapped(
    of_arm: Sequence[SeedScores], of_baseline: Sequence[Scored], groups: Integers, too_few: str | None, level: float
) -> Cell:
    def difference(scored: Scored, weights: Weights) -> Floats:
        others = np.mean([auroc(other, weights) for other in of_baseline], axis=0)
        return np.asarray(auroc(scored, weights) - others)

    parts = [one.part for one in of_arm]
    return estimate_composites({DIFFERENCE: difference}, parts, groups, too_few, level=level)[DIFFERENCE]


def _with_limits(difference: float, half_width: float, method: str) -> Cell:
    # Equal AUROCs may differ by rounding.
    if half_width < 1e-10:
        return Cell(difference, no_interval=NO_VARIATION)
    return Cell(difference, max(difference - half_width, -1.0), min(difference + half_width, 1.0), method)
