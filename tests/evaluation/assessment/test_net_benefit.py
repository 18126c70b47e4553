from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlmed.evaluation.assessment.net_benefit import measure_net_benefit

# Two ill and two healthy units.
UNITS = pd.DataFrame({"is_positive": [True, True, False, False], "score": [0.8, 0.4, 0.6, 0.2]})


def test_at_the_cases_own_prevalence_every_unit_counts_once() -> None:
    found = measure_net_benefit(UNITS, "unknown", None)
    at = found["thresholds"].index(0.5)
    assert (found["prevalence"], found["reweighted"]) == (0.5, False)
    assert found["model"][at] == pytest.approx(1 / 4 - 1 / 4)
    assert found["treat_all"][at] == pytest.approx(0.0)


def test_at_a_stated_prevalence_units_are_weighted_and_probabilities_shifted() -> None:
    found = measure_net_benefit(UNITS, "case-control", 0.1)
    at = found["thresholds"].index(0.1)
    assert (found["prevalence"], found["reweighted"]) == (0.1, True)
    # Log-odds move by log(1 / 9): 0.5 becomes 0.1, so that 0.8 and 0.6 are treated.
    shifted = 1 / (1 + np.exp(-(np.log(np.array([0.8, 0.4, 0.6, 0.2]) / (1 - UNITS["score"])) - np.log(9))))
    assert (shifted >= 0.1).tolist() == [True, False, True, False]
    assert found["model"][at] == pytest.approx(0.1 / 2 - 0.9 / 2 / 9)
    assert found["treat_all"][at] == pytest.approx(0.1 - 0.9 / 9)


def test_consecutive_cases_keep_their_own_prevalence() -> None:
    assert measure_net_benefit(UNITS, "consecutive", 0.1) == measure_net_benefit(UNITS, "consecutive", None)
