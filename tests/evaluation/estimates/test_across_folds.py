from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import brier_score_loss, matthews_corrcoef, roc_auc_score

from tlmed.evaluation.calibration import calibration_error
from tlmed.evaluation.estimates.across_folds import estimate_over_folds, num_groups_in_and_out, split_by_fold
from tlmed.evaluation.estimates.figure_cells import Conditions
from tlmed.evaluation.estimates.unit_scores import SeedScores, subset
from tlmed.evaluation.metrics import Scored

_CONDITIONS = Conditions(("well", "sick"), "consecutive", None)
_GROUPS = np.arange(120) // 2


def _seeds(num_seeds: int = 2) -> list[SeedScores]:
    """60 groups of two units, in five folds of 12 groups each, other folds for other seeds."""
    labels = np.asarray(_GROUPS % 2)
    seeds = []
    for seed in range(num_seeds):
        generator = np.random.default_rng(seed)
        of_sick = generator.beta(2 + labels, 3 - labels)
        folds = (generator.permutation(30) % 5).repeat(4)
        seeds.append(SeedScores(seed, Scored(labels, np.stack([1 - of_sick, of_sick], axis=1), 1), folds))
    return seeds


def _by_fold(one: SeedScores) -> list[Scored]:
    return [subset(one.scored, members) for _, members in one.by_fold()]


def test_auroc_is_computed_within_folds_and_not_pooled() -> None:
    seeds = _seeds()
    cells = estimate_over_folds(seeds, _GROUPS, _CONDITIONS)
    values = np.array([roc_auc_score(o.labels, o.probabilities[:, 1]) for one in seeds for o in _by_fold(one)])
    assert cells["auroc"].value == pytest.approx(values.mean(), abs=1e-10)
    # Nadeau & Bengio: a fold tests 12 groups of 60, so that n_test / n_train is 12 / 48.
    half_width = t.ppf(0.975, 9) * math.sqrt((1 / 10 + 12 / 48) * values.var(ddof=1))
    assert cells["auroc"].low == pytest.approx(values.mean() - half_width)
    assert cells["auroc"].high == pytest.approx(min(values.mean() + half_width, 1.0))
    assert "approximate" in str(cells["auroc"].method)
    shifted = _seeds()
    for one in shifted:
        assert one.folds is not None
        # Another scale in every fold, which pooled scores would mistake for rank.
        one.scored.probabilities[:, 1] = one.scored.probabilities[:, 1] / 10 + one.folds / 10
        one.scored.probabilities[:, 0] = 1 - one.scored.probabilities[:, 1]
    assert estimate_over_folds(shifted, _GROUPS, _CONDITIONS)["auroc"].value == pytest.approx(values.mean())


def test_probabilities_are_judged_within_folds_and_decisions_pooled() -> None:
    seeds = _seeds()
    cells = estimate_over_folds(seeds, _GROUPS, _CONDITIONS)
    parts = [part for one in seeds for part in _by_fold(one)]
    brier = np.mean([brier_score_loss(part.labels, part.probabilities[:, 1]) for part in parts])
    assert cells["brier"].value == pytest.approx(brier, abs=1e-10)
    mcc = np.mean([matthews_corrcoef(one.scored.labels, one.scored.predicted) for one in seeds])
    assert cells["mcc"].value == pytest.approx(mcc, abs=1e-10)
    assert cells["mcc"].method == (
        "logit, bootstrap by group, seeds as random readers, of out-of-fold decisions, approximate"
    )
    errors = [calibration_error(fold.scored, _GROUPS[list(fold.members)]) for fold in split_by_fold(seeds)]
    assert cells["ece"].value == pytest.approx(np.mean([one.value for one in errors]))
    assert cells["ece"].range_if_calibrated == pytest.approx(
        (np.mean([one.low for one in errors]), np.mean([one.high for one in errors]))
    )
    assert cells["sensitivity"].low is not None


def test_average_precision_of_few_cases_has_no_interval() -> None:
    cell = estimate_over_folds(_seeds(), _GROUPS, _CONDITIONS)["auprc"]
    assert cell.value is not None
    assert cell.low is None
    assert cell.too_few == "too few groups of the class in a fold: 6; an interval needs 20"
    labels = np.arange(200) % 2
    of_sick = np.random.default_rng(0).beta(2 + labels, 3 - labels)
    enough = SeedScores(0, Scored(labels, np.stack([1 - of_sick, of_sick], axis=1), 1), np.arange(200) // 40)
    assert estimate_over_folds([enough], np.arange(200), _CONDITIONS)["auprc"].low is not None


def test_one_repeat_has_counts_of_its_decisions() -> None:
    (one,) = _seeds(1)
    cell = estimate_over_folds([one], _GROUPS, _CONDITIONS)["sensitivity"]
    assert cell.denominator == 60
    assert cell.numerator == int((one.scored.predicted[one.scored.labels == 1] == 1).sum())


def _renumbered(num_folds: int, num_seeds: int) -> list[SeedScores]:
    """Each seed on folds of its own."""
    return [
        SeedScores(seed, one.scored, (np.random.default_rng(seed).permutation(30) % num_folds).repeat(4))
        for seed, one in enumerate(_seeds(num_seeds))
    ]


@pytest.mark.parametrize(("num_folds", "num_seeds"), [(2, 1), (4, 1), (2, 2)])
def test_below_five_folds_in_all_nothing_that_is_averaged_has_an_interval(num_folds: int, num_seeds: int) -> None:
    cells = estimate_over_folds(_renumbered(num_folds, num_seeds), _GROUPS, _CONDITIONS)
    for name in ("auroc", "brier", "calibration_slope"):
        assert cells[name].value is not None
        assert (cells[name].low, cells[name].high) == (None, None)
        assert cells[name].too_few == f"{num_folds * num_seeds} folds in all; an interval needs 5"
    assert cells["accuracy"].low is not None
    assert estimate_over_folds(_renumbered(3, 2), _GROUPS, _CONDITIONS)["auroc"].low is not None


def test_seeds_on_the_same_folds_are_averaged_and_are_no_new_draws() -> None:
    first, second = _seeds(2)
    same = [first, SeedScores(1, second.scored, first.folds)]
    cell = estimate_over_folds(same, _GROUPS, _CONDITIONS)["auroc"]
    by_seed = [[roc_auc_score(o.labels, o.probabilities[:, 1]) for o in _by_fold(one)] for one in same]
    values = np.mean(by_seed, axis=0)
    half_width = t.ppf(0.975, 4) * math.sqrt((1 / 5 + 12 / 48) * values.var(ddof=1))
    assert cell.value == pytest.approx(values.mean())
    assert cell.low == pytest.approx(values.mean() - half_width)
    sources = _renumbered(3, 1)[0].folds
    on_sources = [SeedScores(one.seed, one.scored, sources) for one in _seeds(4)]
    few = estimate_over_folds(on_sources, _GROUPS, _CONDITIONS)["auroc"]
    assert few.too_few == "3 folds in all; an interval needs 5"


def test_groups_in_and_out_of_a_fold() -> None:
    assert num_groups_in_and_out(split_by_fold(_seeds()), _GROUPS) == (12.0, 48.0)


def test_a_figure_that_a_fold_lacks_names_the_fold() -> None:
    (one,) = _seeds(1)
    members = dict(one.by_fold())[3]
    sick = one.scored.labels[members]
    one.scored.probabilities[members] = np.stack([0.9 - 0.8 * sick, 0.1 + 0.8 * sick], axis=1)
    cell = estimate_over_folds([one], _GROUPS, _CONDITIONS)["calibration_slope"]
    assert cell.value is None
    assert cell.undefined == "the probabilities part the classes perfectly in fold 3 of seed 0"


def test_folds_that_all_come_to_the_same_have_no_interval() -> None:
    (one,) = _seeds(1)
    one.scored.probabilities[:] = np.eye(2)[one.scored.labels]
    cells = estimate_over_folds([one], _GROUPS, _CONDITIONS)
    assert (cells["auroc"].value, cells["auroc"].low) == (1.0, None)
    assert cells["auroc"].no_interval == "all folds come to the same, so they do not show how the value varies"
    assert cells["accuracy"].low is not None
