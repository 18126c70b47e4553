"""What a metric would be at another prevalence, and which metrics that concerns.

A set that was put together by class (case-control) has a prevalence that was chosen, and all figures that depend on it
were chosen with it. Weighting the classes to a stated prevalence gives what they would be where the ill look as they do
here and the healthy too, and only their shares differ. Probabilities that will be shifted for use there
(`prevalence_shift.py`) must be shifted before they are measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from tlmed.evaluation.metrics import Floats, Metric, Scored, Weights
from tlmed.evaluation.statistics.one_class import check_between_0_and_1
from tlmed.evaluation.statistics.prevalence_shift import checked_shares

Sampling = Literal["consecutive", "case-control", "unknown"]

DEPENDS_ON_PREVALENCE = frozenset(
    {
        "ppv",
        "npv",
        "auprc",
        "accuracy",
        "f1",
        "macro_f1",
        "mcc",
        "brier",
        "ece",
        "calibration_intercept",
        "calibration_in_the_large",
        "net_benefit",
    }
)
# Each class against the rest: what the rest is made of depends on the shares of its classes.
DEPENDS_ON_PREVALENCE_OF_SEVERAL_CLASSES = DEPENDS_ON_PREVALENCE | {
    "specificity",
    "auroc",
    "quadratic_weighted_kappa",
}
AT_THIS_SETS_PREVALENCE = "at this set's prevalence"


def depends_on_prevalence(name: str, num_classes: int = 2) -> bool:
    """Return whether the metric changes with the shares of the classes alone.

    Source: for two classes, Brenner & Gefeller, Stat Med 1997;16:981, and Altman & Bland, BMJ 1994;309:102.
    """
    return name in (DEPENDS_ON_PREVALENCE if num_classes == 2 else DEPENDS_ON_PREVALENCE_OF_SEVERAL_CLASSES)


def prevalence_note(name: str, sampling: Sampling, *, reweighted: bool, num_classes: int = 2) -> str | None:
    """Return what must stand beside a metric: None, or that it holds at this set's prevalence alone.

    Args:
        name: of the metric.
        sampling: how the cases came together; with consecutive ones the set's prevalence is the true one.
        reweighted: whether the metric was re-weighted to a stated prevalence.
        num_classes: of the classifier.
    """
    if sampling == "consecutive" or reweighted or not depends_on_prevalence(name, num_classes):
        return None
    return AT_THIS_SETS_PREVALENCE


def metrics_at_prevalence(metrics: Mapping[str, Metric], prevalence: float | Sequence[float]) -> dict[str, Metric]:
    """Return the metrics, those that depend on it at a prevalence; see `at_prevalence`."""
    num_classes = 2 if isinstance(prevalence, (int, float)) else len(prevalence)
    return {
        name: at_prevalence(metric, prevalence) if depends_on_prevalence(name, num_classes) else metric
        for name, metric in metrics.items()
    }


def at_prevalence(metric: Metric, prevalence: float | Sequence[float]) -> Metric:
    """Return the metric as it would be at a prevalence: for units, and for each of their resamples.

    Args:
        metric: any that takes weights; where a class is missing from a resample it is then NaN.
        prevalence: of the positive class of two; with more, the share of each class.

    Raises:
        ValueError: once it is called: a prevalence or shares outside (0, 1), shares that do not sum to 1, or another
            number of classes.

    Source: see `weights_at_prevalence`.
    """

    def reweighted(scored: Scored, weights: Weights) -> Floats:
        at_shares = weights_at_prevalence(scored, weights, prevalence)
        complete = ~np.isnan(at_shares).any(axis=1)
        values = np.full(len(at_shares), np.nan)
        if complete.any():
            values[complete] = metric(scored, at_shares[complete])
        return values

    return reweighted


def weights_at_prevalence(scored: Scored, weights: Weights, prevalence: float | Sequence[float]) -> Floats:
    """Return (R, N) weights under which each class has its stated share; their sums stay.

    A unit of class k is multiplied by (stated share of k) / (share of k under the weights). A row in which a class has
    no weight is NaN.

    Args:
        scored: N units of K classes.
        weights: (R, N), as metrics take them.
        prevalence: of the positive class of two; with more, the share of each class.

    Raises:
        ValueError: a prevalence or shares outside (0, 1), shares that do not sum to 1, or another number of classes.

    Source: Elkan, IJCAI 2001; for predictive values it is Bayes' theorem, Altman & Bland, BMJ 1994;309:102.
    """
    shares = _shares_of_classes(scored, prevalence)
    counts = np.asarray(weights, dtype=np.float64)
    of_class = counts @ np.eye(scored.num_classes)[scored.labels]
    missing = np.full_like(of_class, np.nan)
    factors = np.divide(shares * of_class.sum(axis=1, keepdims=True), of_class, out=missing, where=of_class > 0)
    # A class without any weight has no unit that could show it.
    factors[np.isnan(factors).any(axis=1)] = np.nan
    return np.asarray(counts * factors[:, scored.labels])


def _shares_of_classes(scored: Scored, prevalence: float | Sequence[float]) -> Floats:
    if not isinstance(prevalence, (int, float)):
        return checked_shares(prevalence, scored.num_classes)
    if scored.num_classes != 2:
        raise ValueError(
            f"with {scored.num_classes} classes the prevalence must be a share of each class, not one number"
        )
    check_between_0_and_1(prevalence, "the prevalence")
    shares = np.full(2, 1.0 - prevalence)
    shares[scored.positive] = prevalence
    return shares
