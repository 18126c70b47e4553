"""Metrics of class probabilities, each one pure function of scored units and many weightings of them at once.

A weighting says how often each unit counts: ones give the metric itself, the counts of a resample its bootstrap value.
A value that does not exist (a predictive value without predictions, AUROC with one class) is NaN, never a made-up 0.

With two classes, sensitivity, specificity, predictive values, F1, AUROC and AUPRC are those of the positive class. With
more, they are macro averages: each class against the rest, then the plain mean over the averaged classes, NaN where the
value of one class does not exist.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Weights = NDArray[Any]  # (R, N), counts or real numbers, none negative

_NUM_CALIBRATION_BINS = 15


@dataclass(frozen=True, eq=False)
class Scored:
    """Units with their true class and the probabilities that a classifier gave them.

    Attributes:
        labels: (N,) index of the true class.
        probabilities: (N, K), rows sum to 1.
        positive: index of the class that counts as disease; needed with two classes, without effect with more.
        macro_classes: with more than two classes, those that macro averages are over; None for all.

    Raises:
        ValueError: two classes without a positive one, or shapes that do not fit.
    """

    labels: Integers
    probabilities: Floats
    positive: int | None = None
    macro_classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.probabilities.shape
        if len(shape) != 2 or shape[1] < 2 or self.labels.shape != shape[:1]:
            raise ValueError(f"labels {self.labels.shape} and probabilities {shape} do not fit: (N,), (N, K >= 2)")
        if self.num_classes == 2 and self.positive not in (0, 1):
            raise ValueError("with two classes, positive must be 0 or 1")

    @property
    def num_classes(self) -> int:
        """K, whether or not every class occurs."""
        return int(self.probabilities.shape[1])

    @property
    def averaged_classes(self) -> tuple[int, ...]:
        """The classes that macro averages are over: both of two, else `macro_classes`."""
        if self.num_classes == 2 or self.macro_classes is None:
            return tuple(range(self.num_classes))
        return self.macro_classes

    @property
    def measured_classes(self) -> tuple[int, ...]:
        """The classes that one-against-rest metrics are computed of: the positive one of two, or the averaged ones."""
        if self.num_classes == 2 and self.positive is not None:
            return (self.positive,)
        return self.averaged_classes

    @cached_property
    def predicted(self) -> Integers:
        """(N,) index of the predicted class, see `decide`."""
        return decide(self.probabilities, self.positive)

    @cached_property
    def confusion_cells(self) -> Floats:
        """(N, K * K): one in the cell (true class, predicted class) of each unit."""
        cells = np.zeros((len(self.labels), self.num_classes**2))
        cells[np.arange(len(self.labels)), self.labels * self.num_classes + self.predicted] = 1.0
        return cells

    @cached_property
    def rankings(self) -> tuple[_Ranking, ...]:
        """A ranking for each of the measured classes; sorting is done once for all weightings."""
        return tuple(_rank(self.labels == index, self.probabilities[:, index]) for index in self.measured_classes)

    @cached_property
    def pair_rankings(self) -> tuple[_Ranking, ...]:
        """For each ordered pair of averaged classes a ranking of their units alone, by the first one's probability."""
        return tuple(
            _rank(self.labels == first, self.probabilities[:, first], np.isin(self.labels, (first, second)))
            for first, second in itertools.permutations(self.averaged_classes, 2)
        )


Metric = Callable[[Scored, Weights], Floats]


def decide(probabilities: Floats, positive: int | None) -> Integers:
    """Return the (N,) predicted classes of (N, K) probabilities: the most probable class.

    With two classes a tie goes to the negative one (the positive class needs more than 0.5); with more, to the first.
    """
    if probabilities.shape[1] == 2 and positive is not None:
        is_positive = probabilities[:, positive] > probabilities[:, 1 - positive]
        return np.where(is_positive, np.int64(positive), np.int64(1 - positive))
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def accuracy(scored: Scored, weights: Weights) -> Floats:
    """Share of units whose predicted class is the true one."""
    confusion = _confusion(scored, weights)
    return _ratio(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))


def balanced_accuracy(scored: Scored, weights: Weights) -> Floats:
    """Mean over classes of the share found (recall); with two classes the mean of sensitivity and specificity."""
    confusion = _confusion(scored, weights)
    by_class = _ratio(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2))
    return _mean(by_class[:, scored.averaged_classes])


def sensitivity(scored: Scored, weights: Weights) -> Floats:
    """Share of the diseased that are called so: TP / (TP + FN)."""
    counts = _one_against_rest(scored, weights)
    return _mean(_ratio(counts.true_positives, counts.true_positives + counts.false_negatives))


def specificity(scored: Scored, weights: Weights) -> Floats:
    """Share of the healthy that are called so: TN / (TN + FP)."""
    counts = _one_against_rest(scored, weights)
    return _mean(_ratio(counts.true_negatives, counts.true_negatives + counts.false_positives))


def ppv(scored: Scored, weights: Weights) -> Floats:
    """Positive predictive value (precision), TP / (TP + FP), at the prevalence of these units."""
    counts = _one_against_rest(scored, weights)
    return _mean(_ratio(counts.true_positives, counts.true_positives + counts.false_positives))


def npv(scored: Scored, weights: Weights) -> Floats:
    """Negative predictive value, TN / (TN + FN), at the prevalence of these units."""
    counts = _one_against_rest(scored, weights)
    return _mean(_ratio(counts.true_negatives, counts.true_negatives + counts.false_negatives))


def f1(scored: Scored, weights: Weights) -> Floats:
    """Harmonic mean of sensitivity and PPV: 2 TP / (2 TP + FP + FN)."""
    return _mean(_f1_of_classes(_one_against_rest(scored, weights)))


def macro_f1(scored: Scored, weights: Weights) -> Floats:
    """Mean of the F1 of the averaged classes, with two classes of both."""
    return _mean(_f1_of_classes(_one_against_rest(scored, weights, scored.averaged_classes)))


def mcc(scored: Scored, weights: Weights) -> Floats:
    """Correlation of true and predicted class: Matthews' coefficient, with more than two classes Gorodkin's R_K.

    NaN where all units are of one class, or all are predicted to be.

    Source: Gorodkin, Comput Biol Chem 2004;28:367, doi 10.1016/j.compbiolchem.2004.09.006.
    """
    confusion = _confusion(scored, weights)
    true, predicted, total = confusion.sum(axis=2), confusion.sum(axis=1), confusion.sum(axis=(1, 2))
    correct = np.trace(confusion, axis1=1, axis2=2)
    covariance = correct * total - (true * predicted).sum(axis=1)
    spread = (total**2 - (predicted**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1))
    # Counted, not read from the spread, which rounding may leave a little off zero.
    exists = ((true > 0).sum(axis=1) > 1) & ((predicted > 0).sum(axis=1) > 1)
    return _ratio(covariance, np.sqrt(np.where(exists, spread, 0.0)))


def auroc(scored: Scored, weights: Weights) -> Floats:
    """Area under the ROC curve: the chance that a diseased unit scores above a healthy one, ties counting one half.

    This is the Mann-Whitney statistic with mid-ranks (Hanley and McNeil, Radiology 1982;143:29).
    """
    weights = np.asarray(weights, dtype=np.float64)
    return _mean(np.stack([_ranking_auroc(ranking, weights) for ranking in scored.rankings], axis=1))


def auprc(scored: Scored, weights: Weights) -> Floats:
    """Area under the precision-recall curve as average precision: the mean over the diseased of the PPV at their score.

    No interpolation, which would be too optimistic (Davis and Goadrich, ICML 2006). Equal scores enter together.
    """
    weights = np.asarray(weights, dtype=np.float64)
    return _mean(np.stack([_ranking_auprc(ranking, weights) for ranking in scored.rankings], axis=1))


def brier(scored: Scored, weights: Weights) -> Floats:
    """Mean squared error of the probabilities; smaller is better.

    With two classes that of the positive class alone (0 to 1); with more, the squares are summed over the classes
    (0 to 2), as in the original definition (Brier, Mon Weather Rev 1950;78:1).
    """
    truth = np.eye(scored.num_classes)[scored.labels]
    summed = scored.measured_classes if scored.num_classes == 2 else slice(None)
    errors = (scored.probabilities - truth)[:, summed]
    return _weighted_mean((errors**2).sum(axis=1, keepdims=True), weights)[:, 0]


def ece(scored: Scored, weights: Weights) -> Floats:
    """Measure the expected calibration error of the predicted class; smaller is better.

    The confidence is the probability of the predicted class. Units fall into 15 bins of equal width, the m-th being
    ((m - 1) / 15, m / 15]. The value is the mean over units of |accuracy - mean confidence| of their bin.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3; 15 bins as there.
    """
    num_units = len(scored.labels)
    confidence = scored.probabilities[np.arange(num_units), scored.predicted]
    bins = np.clip(np.ceil(confidence * _NUM_CALIBRATION_BINS).astype(np.int64) - 1, 0, _NUM_CALIBRATION_BINS - 1)
    gaps = np.zeros((num_units, _NUM_CALIBRATION_BINS))
    gaps[np.arange(num_units), bins] = (scored.predicted == scored.labels) - confidence
    return np.asarray(np.abs(_weighted_mean(gaps, weights)).sum(axis=1))


def auroc_hand_till(scored: Scored, weights: Weights) -> Floats:
    """Mean over pairs of classes of how well the two are told apart, which does not depend on how frequent they are.

    Source: Hand & Till, Mach Learn 2001;45:171, equation 7, here over the averaged classes.
    """
    weights = np.asarray(weights, dtype=np.float64)
    return _mean(np.stack([_ranking_auroc(ranking, weights) for ranking in scored.pair_rankings], axis=1))


def quadratic_weighted_kappa(scored: Scored, weights: Weights) -> Floats:
    """Agreement of true and predicted class beyond chance, by squared distance; only where the classes have an order.

    1 - sum_ij (i - j)^2 O_ij / sum_ij (i - j)^2 E_ij, O the confusion matrix, E the product of its margins.

    Source: Cohen, Psychol Bull 1968;70:213, with the weights of Fleiss & Cohen, Educ Psychol Meas 1973;33:613.
    """
    confusion = _confusion(scored, weights)
    grades = np.arange(scored.num_classes)
    distances = (grades[:, None] - grades) ** 2
    expected = confusion.sum(axis=2)[:, :, None] * confusion.sum(axis=1)[:, None, :]
    by_chance = (expected * distances).sum(axis=(1, 2))
    observed = (confusion * distances).sum(axis=(1, 2)) * confusion.sum(axis=(1, 2))
    return np.asarray(1.0 - _ratio(observed, by_chance))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": ppv,
        "npv": npv,
        "f1": f1,
        "macro_f1": macro_f1,
        "mcc": mcc,
        "auroc": auroc,
        "auprc": auprc,
        "brier": brier,
        "ece": ece,
    }
)
METRICS_OF_SEVERAL_CLASSES: Mapping[str, Metric] = MappingProxyType(
    {**METRICS, "auroc_hand_till": auroc_hand_till, "quadratic_weighted_kappa": quadratic_weighted_kappa}
)


@dataclass(frozen=True)
class _Counts:
    """(R, C) sums of weights by outcome, for each weighting and measured class."""

    true_positives: Floats
    false_positives: Floats
    false_negatives: Floats
    true_negatives: Floats


@dataclass(frozen=True)
class _Ranking:
    """Units of one class (P) and of others (Q), each in falling order of the class's score.

    Attributes:
        positives: (P,) indices of units.
        negatives: (Q,) indices of units.
        positives_reached: (P,) number of positives that score at least as high as this positive.
        negatives_reached: (P,) number of negatives that score at least as high.
        negatives_above: (P,) number of negatives that score higher.
    """

    positives: Integers
    negatives: Integers
    positives_reached: Integers
    negatives_reached: Integers
    negatives_above: Integers


def _rank(is_positive: NDArray[np.bool_], scores: Floats, counts: NDArray[np.bool_] | None = None) -> _Ranking:
    """Rank all units, or those that count."""
    falling = np.argsort(-scores, kind="stable")
    falling = falling if counts is None else falling[counts[falling]]
    positives, negatives = falling[is_positive[falling]], falling[~is_positive[falling]]
    of_positives, of_negatives = -scores[positives], -scores[negatives]
    return _Ranking(
        positives,
        negatives,
        positives_reached=np.searchsorted(of_positives, of_positives, side="right"),
        negatives_reached=np.searchsorted(of_negatives, of_positives, side="right"),
        negatives_above=np.searchsorted(of_negatives, of_positives, side="left"),
    )


def _ranking_auroc(ranking: _Ranking, weights: Floats) -> Floats:
    positives = weights[:, ranking.positives]
    negatives = _cumulative(weights[:, ranking.negatives])
    mid_rank = (negatives[:, ranking.negatives_above] + negatives[:, ranking.negatives_reached]) / 2.0
    lost = np.einsum("rp,rp->r", positives, mid_rank)
    return np.asarray(1.0 - _ratio(lost, positives.sum(axis=1) * negatives[:, -1]))


def _ranking_auprc(ranking: _Ranking, weights: Floats) -> Floats:
    positives = weights[:, ranking.positives]
    found = _cumulative(positives)[:, ranking.positives_reached]
    false_alarms = _cumulative(weights[:, ranking.negatives])[:, ranking.negatives_reached]
    reached = found + false_alarms
    # A positive that reaches nothing has weight 0 itself, so its precision does not matter.
    precision = np.divide(found, reached, out=np.zeros_like(found), where=reached > 0)
    return _ratio(np.einsum("rp,rp->r", positives, precision), positives.sum(axis=1))


def _confusion(scored: Scored, weights: Weights) -> Floats:
    """(R, K, K) sums of weights by true and predicted class."""
    sums = np.asarray(weights, dtype=np.float64) @ scored.confusion_cells
    return sums.reshape(len(sums), scored.num_classes, scored.num_classes)


def _one_against_rest(scored: Scored, weights: Weights, classes: tuple[int, ...] | None = None) -> _Counts:
    confusion = _confusion(scored, weights)
    chosen = list(scored.measured_classes if classes is None else classes)
    found = np.diagonal(confusion, axis1=1, axis2=2)[:, chosen]
    missed = _sum_of_others(confusion, chosen, axis=2)
    called = _sum_of_others(confusion, chosen, axis=1)
    rest = np.stack([np.delete(np.delete(confusion, index, 1), index, 2).sum(axis=(1, 2)) for index in chosen], axis=1)
    return _Counts(found, called, missed, rest)


def _sum_of_others(confusion: Floats, chosen: list[int], axis: int) -> Floats:
    """(R, C) sums off the diagonal; without differences, so that zero stays exactly zero."""
    off_diagonal = confusion * (1.0 - np.eye(confusion.shape[1]))
    return np.asarray(off_diagonal.sum(axis=axis)[:, chosen])


def _f1_of_classes(counts: _Counts) -> Floats:
    twice = 2.0 * counts.true_positives
    return _ratio(twice, twice + counts.false_positives + counts.false_negatives)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    missing = np.full(np.shape(denominator), np.nan)
    return np.asarray(np.divide(numerator, denominator, out=missing, where=denominator > 0))


def _mean(by_class: Floats) -> Floats:
    """(R, C) -> (R,), NaN where one class has no value."""
    return np.asarray(by_class.mean(axis=1))


def _weighted_mean(values: Floats, weights: Weights) -> Floats:
    """(N, V) values and (R, N) weights -> (R, V)."""
    weights = np.asarray(weights, dtype=np.float64)
    sums = weights @ values
    return _ratio(sums, np.broadcast_to(weights.sum(axis=1, keepdims=True), sums.shape))


def _cumulative(weights: Floats) -> Floats:
    """(R, M) -> (R, M + 1): sums of the first 0, 1, ..., M weights."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums
