"""Logistic regression of the label on the log-odds that a classifier gave, for many weightings of the units at once."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from tlmed.evaluation.metrics import Floats, Weights
from tlmed.evaluation.statistics.array_checks import Booleans

# Half the distance from 1 to the next smaller float32: a network's softmax cannot come closer to 1 without reaching it.
SMALLEST_PROBABILITY = 2.0**-25

_MAX_ITERATIONS, _MAX_HALVINGS = 100, 40
_TOLERANCE = 1e-11


def log_odds(probabilities: Floats) -> Floats:
    """Return log(p / (1 - p)); 0, 1 and what is nearer to them than 2^-25 are taken as 2^-25 from them.

    The bound is the same at both ends, so that it does not matter which class is called positive.
    """
    return np.asarray(logit(np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)))


def is_bounded(probabilities: Floats) -> Booleans:
    """Return whether each probability is one that `log_odds` takes as another."""
    return np.asarray((probabilities < SMALLEST_PROBABILITY) | (probabilities > 1 - SMALLEST_PROBABILITY))


def fit_slope_and_intercept(is_positive: Booleans, log_odds: Floats, weights: Weights) -> tuple[Floats, Floats]:
    """Return (R,) slopes and (R,) intercepts of maximum likelihood, without penalty, for (R, N) weights.

    Both are NaN where none are finite: one class alone, or a value of the log-odds that parts the classes (a perfect
    separation, units on the value itself allowed); also where the classes overlap by less than about a millionth of
    the spread of the log-odds, which is too steep a slope to be computed.

    Source: two-parameter recalibration, Cox, Biometrika 1958;45:562; when the maximum exists, Albert & Anderson,
    Biometrika 1984;71:1.
    """
    weights = np.asarray(weights, dtype=np.float64)
    slopes, intercepts = np.full((2, len(weights)), np.nan)
    rows = np.flatnonzero(_classes_overlap(is_positive, log_odds, weights))
    if len(rows):
        # In units of their spread the first steps are neither tiny nor huge.
        centre, spread = log_odds.mean(), log_odds.std()
        design = np.stack([np.ones(len(log_odds)), (log_odds - centre) / spread], axis=1)
        coefficients = _maximise(design, is_positive, weights[rows])
        slopes[rows] = coefficients[:, 1] / spread
        intercepts[rows] = coefficients[:, 0] - slopes[rows] * centre
    return slopes, intercepts


def fit_intercept(is_positive: Booleans, log_odds: Floats, weights: Weights) -> Floats:
    """Return the (R,) intercepts of maximum likelihood with the slope fixed at 1; NaN where one class has no weight."""
    weights = np.asarray(weights, dtype=np.float64)
    intercepts = np.full(len(weights), np.nan)
    rows = np.flatnonzero((weights[:, is_positive].sum(axis=1) > 0) & (weights[:, ~is_positive].sum(axis=1) > 0))
    if len(rows):
        intercepts[rows] = _solve_intercepts(is_positive, log_odds, weights[rows])
    return intercepts


def _solve_intercepts(is_positive: Booleans, log_odds: Floats, weights: Floats) -> Floats:
    """Newton's method between bounds that close in: (R, N) weights -> (R,); NaN unless converged.

    Log-odds far from 0 leave so little curvature that its steps alone would go anywhere.
    """
    totals = weights.sum(axis=1)
    share = logit((weights @ is_positive) / totals)
    # Where all fitted probabilities are at most the share, and where all are at least that.
    low, high = share - log_odds.max(), share - log_odds.min()
    intercepts = (low + high) / 2
    converged = np.zeros(len(weights), dtype=np.bool_)
    for _ in range(_MAX_ITERATIONS):
        fitted = expit(intercepts[:, None] + log_odds)
        gradient = (weights * (is_positive - fitted)).sum(axis=1)
        curvature = (weights * fitted * (1 - fitted)).sum(axis=1)
        low, high = np.where(gradient >= 0, intercepts, low), np.where(gradient <= 0, intercepts, high)
        steps = np.divide(gradient, curvature, out=np.full_like(gradient, np.inf), where=curvature > 0)
        moved = intercepts + steps
        moved = np.where((low <= moved) & (moved <= high), moved, (low + high) / 2)
        converged = np.abs(moved - intercepts) <= _TOLERANCE * (1 + np.abs(moved))
        intercepts = moved
        if converged.all():
            break
    return np.where(converged, intercepts, np.nan)


def _classes_overlap(is_positive: Booleans, log_odds: Floats, weights: Floats) -> Booleans:
    """(R,) whether some positive unit lies below a negative one, and some above, among those with a weight."""
    counts = weights > 0
    of_positives, of_negatives = counts & is_positive, counts & ~is_positive
    highest = [np.where(chosen, log_odds, -np.inf).max(axis=1) for chosen in (of_positives, of_negatives)]
    lowest = [np.where(chosen, log_odds, np.inf).min(axis=1) for chosen in (of_positives, of_negatives)]
    return np.asarray((highest[0] > lowest[1]) & (highest[1] > lowest[0]))


def _maximise(design: Floats, is_positive: Booleans, weights: Floats) -> Floats:
    """Newton's method with halved steps: (N, P) design, (R, N) weights -> (R, P); NaN unless converged."""
    num_parameters = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    coefficients = np.zeros((len(weights), num_parameters))
    if len(weights) > 1:
        # Resamples lie near what they are drawn from: half the steps from there.
        pooled = _maximise(design, is_positive, weights.mean(axis=0, keepdims=True))
        coefficients += np.nan_to_num(pooled)
    likelihoods = _log_likelihood(coefficients, design, is_positive, weights)
    converged = np.zeros(len(weights), dtype=np.bool_)
    for _ in range(_MAX_ITERATIONS):
        fitted = expit(coefficients @ design.T)
        gradient = (weights * (is_positive - fitted)) @ design
        curvature = ((weights * fitted * (1 - fitted)) @ products).reshape(-1, num_parameters, num_parameters)
        # Too little to move the maximum, enough that the matrix can be inverted.
        curvature += 1e-13 * np.trace(curvature, axis1=1, axis2=2)[:, None, None] * np.eye(num_parameters)
        steps = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        for _ in range(_MAX_HALVINGS):
            moved = _log_likelihood(coefficients + steps, design, is_positive, weights)
            falls = moved < likelihoods - 1e-12 * np.abs(likelihoods)
            if not falls.any():
                break
            steps[falls] /= 2
        coefficients, likelihoods = coefficients + steps, moved
        converged = np.abs(steps).max(axis=1) <= _TOLERANCE * (1 + np.abs(coefficients).max(axis=1))
        if converged.all():
            break
    return np.where(converged[:, None], coefficients, np.nan)


def _log_likelihood(coefficients: Floats, design: Floats, is_positive: Booleans, weights: Floats) -> Floats:
    linear = coefficients @ design.T
    return np.asarray(-(weights * np.logaddexp(0, np.where(is_positive, -linear, linear))).sum(axis=1))
