"""How well scores of held-out units tell the class: AUROC within folds, its limits, and what chance would give.

Limits and p-values come without fitting anew to each resample or permutation. That leaves out how the fit itself would
vary, so both are approximate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tlmed.evaluation.metrics import Floats, Integers, Scored, auroc
from tlmed.evaluation.statistics.auroc import auroc_interval

NUM_RESAMPLES = 1000
NUM_FOLDS = 5
MIN_GROUPS_OF_A_CLASS = 10
MAX_UNITS = 5000


@dataclass(frozen=True, eq=False)
class HeldOutUnits:
    """Units in folds by group.

    Attributes:
        labels: (U,) class index, every class below `num_classes` there.
        groups: (U,) group index.
        folds: (U,) the fold that holds the unit out.
        seed: of resamples and permutations; equal seeds give every probe the same ones.
    """

    labels: Integers
    groups: Integers
    folds: Integers
    seed: int = 0

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.labels.max()) + 1

    @cached_property
    def strata(self) -> Integers:
        """(G,) the class of most units of each group."""
        return majority_classes(self.labels, self.groups)

    @cached_property
    def group_weights(self) -> Floats:
        """(R, U) how often each unit's group was drawn, of each class as many groups as there are."""
        generator = np.random.default_rng([self.seed, 0])
        counts = np.zeros((NUM_RESAMPLES, len(self.strata)))
        for stratum in np.unique(self.strata):
            members = np.flatnonzero(self.strata == stratum)
            drawn = generator.integers(len(members), size=(NUM_RESAMPLES, len(members)))
            np.add.at(counts, (np.arange(NUM_RESAMPLES)[:, None], members[drawn]), 1)
        return counts[:, self.groups]

    @cached_property
    def permuted_labels(self) -> Integers:
        """(R, U) labels, those of each group given to another group of the same fold.

        A group that receives the labels of a larger or smaller one takes them spread out, and in random order within
        it, so that groups of both classes are permuted as well.
        """
        generator = np.random.default_rng([self.seed, 1])
        permuted = np.empty((NUM_RESAMPLES, len(self.labels)), dtype=np.int64)
        for fold in np.unique(self.folds):
            rows = np.flatnonzero(self.folds == fold)
            rows = rows[np.argsort(self.groups[rows], kind="stable")]
            _, starts, sizes = np.unique(self.groups[rows], return_index=True, return_counts=True)
            owner = np.repeat(np.arange(len(sizes)), sizes)
            position = np.arange(len(rows)) - starts[owner]
            for row_of_permuted in permuted:
                donor = generator.permutation(len(sizes))[owner]
                shuffled = rows[np.lexsort((generator.random(len(rows)), owner))]
                source = starts[donor] + position * sizes[donor] // sizes[owner]
                row_of_permuted[rows] = self.labels[shuffled[source]]
        return permuted


@dataclass(frozen=True)
class Telling:
    """How well the class can be told.

    Attributes:
        value: AUROC within each fold, averaged; with more than two classes each against the rest, averaged.
        low, high: approximate 95 % limits over the choice of groups; None where all scores are the same.
        p_value: approximate chance of a value as high when labels are permuted among the groups of a fold.
    """

    value: float
    low: float | None
    high: float | None
    p_value: float


def majority_classes(labels: Integers, groups: Integers) -> Integers:
    """(G,) the class of most units of each group; a tie goes to the rarer class."""
    num_classes = int(labels.max()) + 1
    counts = np.bincount(groups * num_classes + labels, minlength=(int(groups.max()) + 1) * num_classes)
    counts = counts.reshape(-1, num_classes)
    rarest_first = np.argsort(counts.sum(axis=0), kind="stable")
    return np.asarray(rarest_first[counts[:, rarest_first].argmax(axis=1)])


def draw_by_group(labels: Integers, groups: Integers, seed: int, *, max_units: int = MAX_UNITS) -> Integers:
    """Return which units to look at, in order: all, or whole groups drawn by turns from the classes."""
    if len(labels) <= max_units:
        return np.arange(len(labels))
    strata, sizes = majority_classes(labels, groups), np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    turns = np.empty(len(sizes), dtype=np.int64)
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        turns[members] = np.arange(len(members))
    order = order[np.argsort(turns[order], kind="stable")]
    drawn = order[np.cumsum(sizes[order]) <= max_units]
    return np.flatnonzero(np.isin(groups, drawn))


def fold_by_group(labels: Integers, groups: Integers, seed: int) -> HeldOutUnits:
    """Divide units into five folds, whole groups, with the classes' shares kept as far as groups allow."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
        folds[held_out] = fold
    return HeldOutUnits(labels, np.unique(groups, return_inverse=True)[1], folds, seed)


def measure(units: HeldOutUnits, scores: Floats) -> Telling:
    """Say how well (U, K) scores, each unit's from a fit without its fold, tell the class.

    A perfect separation gives a bootstrap without width; its limits are then Newcombe's with the number of groups that
    hold the rarest class, and the others, as sample sizes (see `auroc_interval`).

    Source: bootstrap of whole clusters, Field & Welsh, J R Stat Soc B 2007;69:369; p of random permutations, Phipson &
    Smyth, Stat Appl Genet Mol Biol 2010;9:39.
    """
    value = float(_mean_of_folds(units, scores, np.ones((1, len(scores))))[0])
    resampled = _mean_of_folds(units, scores, units.group_weights)
    low, high = (float(limit) for limit in np.nanquantile(resampled, [0.025, 0.975]))
    by_chance = _mean_of_folds_permuted(units, scores)
    p_value = float((1 + (by_chance >= value - 1e-12).sum()) / (1 + len(by_chance)))
    if high - low > 1e-9:
        return Telling(value, low, high, p_value)
    if value > 1 - 1e-9:
        holding = [len(np.unique(units.groups[units.labels == index])) for index in range(units.num_classes)]
        perfect = np.repeat([True, False], [min(holding), sum(holding) - min(holding)])
        limits = auroc_interval(perfect, perfect.astype(np.float64))
        return Telling(value, limits.low, limits.high, p_value)
    return Telling(value, None, None, p_value)


def _mean_of_folds(units: HeldOutUnits, scores: Floats, weights: Floats) -> Floats:
    """(R,) AUROC of each weighting within folds, averaged over those that hold every class."""
    by_fold = []
    for fold in np.unique(units.folds):
        held_out = units.folds == fold
        scored = Scored(units.labels[held_out], scores[held_out], positive=1 if units.num_classes == 2 else None)
        by_fold.append(auroc(scored, weights[:, held_out]))
    return _mean_where_defined(np.stack(by_fold))


def _mean_of_folds_permuted(units: HeldOutUnits, scores: Floats) -> Floats:
    """(R,) the same of each permutation of the labels, by mid-ranks, which no permutation changes."""
    by_fold = []
    for fold in np.unique(units.folds):
        held_out = units.folds == fold
        labels = units.permuted_labels[:, held_out]
        by_class = [
            _auroc_by_ranks(labels == index, rankdata(scores[held_out, index]))
            for index in ((1,) if units.num_classes == 2 else range(units.num_classes))
        ]
        by_fold.append(np.mean(by_class, axis=0))
    return _mean_where_defined(np.stack(by_fold))


def _mean_where_defined(by_fold: Floats) -> Floats:
    """(F, R) -> (R,), NaN where no fold has a value."""
    counts = (~np.isnan(by_fold)).sum(axis=0)
    missing = np.full(len(counts), np.nan)
    return np.asarray(np.divide(np.nansum(by_fold, axis=0), counts, out=missing, where=counts > 0))


def _auroc_by_ranks(is_positive: NDArray[np.bool_], ranks: Floats) -> Floats:
    """(R,) from the sum of the positives' ranks; NaN where one class is missing."""
    positives = is_positive.sum(axis=1).astype(np.float64)
    negatives = len(ranks) - positives
    above = is_positive @ ranks - positives * (positives + 1) / 2
    missing = np.full(len(above), np.nan)
    return np.asarray(np.divide(above, positives * negatives, out=missing, where=positives * negatives > 0))
