"""By how much an arm beats simple baselines on the same test units, as AUROC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from tlmed.errors import InputError, did_you_mean
from tlmed.evaluation.auroc import auroc_covariance
from tlmed.evaluation.figure_cells import NO_VARIATION, Cell, Conditions, Part, too_few_groups, value_of
from tlmed.evaluation.fold_test import METHOD, num_groups_in_and_out, split_by_fold
from tlmed.evaluation.intervals import bootstrap_by_group
from tlmed.evaluation.jackknife import jackknife_covariance, leave_one_group_out_aurocs
from tlmed.evaluation.metrics import Floats, Integers, Metric, Scored, Weights
from tlmed.evaluation.multi_reader import variance_over_readers
from tlmed.evaluation.prediction_table import TestedRows, read_test_rows
from tlmed.evaluation.prevalence import Sampling
from tlmed.evaluation.tests import corrected_half_width, splits_vary
from tlmed.evaluation.unit_scores import SeedScores, UnitScores, score_units

DIFFERENCE = "auroc_difference"


