"""Whether acting on a classifier's probabilities does more good than treating all or none, at the stated prevalence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tlmed.evaluation.statistics.decision_curve import decision_curve
from tlmed.evaluation.statistics.one_class import score_one_class
from tlmed.evaluation.statistics.prevalence import Sampling, weights_at_prevalence
from tlmed.evaluation.statistics.prevalence_shift import shift_to_prevalence


def measure_net_benefit(units: pd.DataFrame, sampling: Sampling, prevalence: float | None) -> dict[str, Any]:
    """Return the decision curve; treating none has net benefit 0.

    Consecutive cases come at a prevalence of their own. Others are re-weighted to the stated one, and their
    probabilities, taken as calibrated to these cases, are shifted to it.

    Args:
        units: a row a unit and seed: is_positive, score.
        sampling: how the cases came together.
        prevalence: stated one.

    Returns:
        `prevalence`, `reweighted`, and as many `thresholds` as there are values of `model` and `treat_all`: net
        benefit, in true positives a unit, by the probability from which one would act.
    """
    truth, scores, weights = units["is_positive"].to_numpy(), units["score"].to_numpy(), None
    share = float(truth.mean())
    is_reweighted = prevalence is not None and sampling != "consecutive"
    if prevalence is not None and is_reweighted:
        weights = weights_at_prevalence(score_one_class(truth, scores), np.ones((1, len(units))), prevalence)[0]
        scores = shift_to_prevalence(scores, calibrated_to=share, prevalence=prevalence)
        share = prevalence
    curve = decision_curve(truth, scores, weights=weights)
    return {
        "prevalence": share,
        "reweighted": is_reweighted,
        "thresholds": curve.thresholds.tolist(),
        "model": curve.model.tolist(),
        "treat_all": curve.treat_all.tolist(),
    }
