from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from tlmed.evaluation.intervals import (
    MIN_GROUPS_IN_A_CLASS,
    NUM_RESAMPLES,
    Estimate,
    are_enough_to_resample,
    bootstrap_by_group,
    num_groups_holding,
    resample_by_group,
)
from tlmed.evaluation.metrics import METRICS, Floats, Integers, Metric, Scored, Weights

_ACCURACY = {"accuracy": METRICS["accuracy"]}


def _scored(labels: Sequence[int] | np.ndarray, correct: Sequence[bool] | np.ndarray) -> Scored:
    """Two classes, decided correctly or not, all with the same confidence."""
    labels = np.array(labels)
    called = np.where(correct, labels, 1 - labels)
    return Scored(labels, np.where(np.eye(2)[called] > 0, 0.8, 0.2), positive=1)


def _random(labels: Integers, groups: np.ndarray, seed: int) -> Scored:
    """Scores of two classes, alike within a group."""
    generator = np.random.default_rng(seed)
    of_group = generator.normal(size=groups.max() + 1)[groups]
    logits = 1.2 * (labels - 0.5) + of_group + 0.3 * generator.normal(size=len(labels))
    of_one = 1 / (1 + np.exp(-logits))
    return Scored(labels, np.stack([1 - of_one, of_one], axis=1), positive=1)


def _patients(seed: int = 0, num_groups: int = 40) -> tuple[Integers, Integers]:
    """Labels and groups: one to four units each, a few groups with units of both classes, more of class 0."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), generator.integers(1, 5, size=num_groups))
    labels = (groups % 5 < 2).astype(np.int64)
    labels[generator.random(len(labels)) < 0.1] ^= 1
    return labels, groups


def _class_of_groups(labels: Integers, groups: Integers) -> dict[int, int]:
    rarer = int(np.bincount(labels).argmin())
    members = defaultdict(list)
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        members[group].append(label)
    return {group: max((0, 1), key=lambda c: (of.count(c), c == rarer)) for group, of in members.items()}


def _recorded(scored: Scored, groups: np.ndarray, num_resamples: int = NUM_RESAMPLES) -> Floats:
    """(R, N) weights of the resamples."""
    seen: list[Floats] = []

    def recorder(scored: Scored, weights: Weights) -> Floats:
        seen.append(np.array(weights))
        return METRICS["accuracy"](scored, weights)

    bootstrap_by_group({"recorder": recorder}, [scored], groups, num_resamples=num_resamples)
    return np.concatenate(seen[1:])  # the first call is the metric itself


def _width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_equal_seeds_give_equal_intervals_and_other_seeds_others() -> None:
    labels, groups = _patients()
    scored = [_random(labels, groups, seed=1)]
    first = bootstrap_by_group(METRICS, scored, groups)
    assert bootstrap_by_group(METRICS, scored, groups) == first
    other = bootstrap_by_group(METRICS, scored, groups, seed=1)
    assert other["auroc"].value == first["auroc"].value
    assert (other["auroc"].low, other["auroc"].high) != (first["auroc"].low, first["auroc"].high)


def test_all_arms_meet_the_same_resamples() -> None:
    labels, groups = _patients()
    one, other = (_recorded(_random(labels, groups, seed), groups) for seed in (1, 2))
    assert np.array_equal(one, other)


def test_a_resample_draws_whole_groups_of_each_class_as_many_as_there_are() -> None:
    labels, groups = _patients()
    weights = _recorded(_random(labels, groups, seed=1), groups)
    assert weights.shape == (NUM_RESAMPLES, len(labels))
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    drawn = weights[:, first]
    assert np.array_equal(weights, drawn[:, inverse])
    classes = np.array(list(_class_of_groups(labels, groups).values()))
    for index in (0, 1):
        of_class = drawn[:, classes == index]
        size = of_class.shape[1]
        assert (of_class.sum(axis=1) == size).all()
        # The count of one of M groups in M draws: mean 1, variance 1 - 1 / M.
        assert of_class.mean(axis=0) == pytest.approx(np.ones(size), abs=0.1)
        assert of_class.var() == pytest.approx(1 - 1 / size, rel=0.05)


def test_many_units_are_resampled_in_parts_that_differ() -> None:
    labels = np.arange(6000) % 2
    weights = _recorded(_scored(labels, np.arange(6000) % 3 > 0), np.arange(6000), num_resamples=700)
    assert weights.shape == (700, 6000)
    assert len(np.unique(weights[:, :50], axis=0)) == 700


def test_the_interval_is_that_of_the_metric_on_the_resampled_units() -> None:
    labels, groups = _patients()
    scored = _random(labels, groups, seed=1)
    estimate = bootstrap_by_group({"auroc": METRICS["auroc"]}, [scored], groups, num_resamples=1000)["auroc"]
    naive = []
    for counts in _recorded(scored, groups, num_resamples=1000).astype(int):
        naive.append(roc_auc_score(labels.repeat(counts), scored.probabilities[:, 1].repeat(counts)))
    assert estimate.value == pytest.approx(roc_auc_score(labels, scored.probabilities[:, 1]))
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])))


def _slow_bootstrap(metric: Metric, scored: list[Scored], groups: Integers, num_resamples: int) -> list[float]:
    generator = np.random.default_rng(123)
    by_class = defaultdict(list)
    for group, index in _class_of_groups(scored[0].labels, groups).items():
        by_class[index].append(group)
    units = {group: np.flatnonzero(groups == group) for group in set(groups.tolist())}
    values = []
    for _ in range(num_resamples):
        drawn = [int(group) for members in by_class.values() for group in generator.choice(members, len(members))]
        rows = np.concatenate([units[group] for group in drawn])
        of_seeds = []
        for one in (scored[index] for index in generator.integers(len(scored), size=len(scored))):
            part = Scored(one.labels[rows], one.probabilities[rows], one.positive)
            of_seeds.append(metric(part, np.ones((1, len(rows))))[0])
        values.append(float(np.mean(of_seeds)))
    return [float(end) for end in np.quantile(values, [0.025, 0.975])]


@pytest.mark.parametrize("num_seeds", [1, 3])
@pytest.mark.parametrize("name", ["auroc", "f1"])
def test_agrees_with_a_bootstrap_written_out_as_loops(name: str, num_seeds: int) -> None:
    labels, groups = _patients()
    scored = [_random(labels, groups, seed) for seed in range(num_seeds)]
    estimate = bootstrap_by_group({name: METRICS[name]}, scored, groups, num_resamples=4000)[name]
    # The quantiles of 2,000 and of 4,000 resamples differ by chance, at each end by about 2 % of the width.
    expected = pytest.approx(_slow_bootstrap(METRICS[name], scored, groups, 2000), abs=0.07 * _width(estimate))
    assert [estimate.low, estimate.high] == expected


def test_copies_within_groups_add_nothing_but_pass_for_evidence_as_groups_of_their_own() -> None:
    labels, correct = np.arange(60) % 2, np.arange(60) % 5 > 0
    single = bootstrap_by_group(_ACCURACY, [_scored(labels, correct)], np.arange(60))["accuracy"]
    fourfold = [_scored(labels.repeat(4), correct.repeat(4))]
    by_group = bootstrap_by_group(_ACCURACY, fourfold, np.arange(60).repeat(4))["accuracy"]
    by_image = bootstrap_by_group(_ACCURACY, fourfold, np.arange(240))["accuracy"]
    assert by_group == single
    assert by_image.value == single.value
    assert _width(by_group) / _width(by_image) == pytest.approx(2, rel=0.15)  # the square root of 4


def test_the_interval_of_an_accuracy_is_near_the_binomial_one() -> None:
    labels, correct = np.arange(400) % 2, np.arange(400) % 10 > 1
    estimate = bootstrap_by_group(_ACCURACY, [_scored(labels, correct)], np.arange(400))["accuracy"]
    wilson = binomtest(320, 400).proportion_ci(method="wilson")
    assert estimate.value == pytest.approx(0.8)
    assert [estimate.low, estimate.high] == pytest.approx([wilson.low, wilson.high], abs=0.01)


def test_intervals_by_group_cover_the_true_accuracy_and_those_by_image_do_not() -> None:
    generator = np.random.default_rng(7)
    labels, truth, num_trials = np.arange(80) % 2, 0.8, 250
    covered: Counter[str] = Counter()
    for _ in range(num_trials):
        scored = [_scored(labels.repeat(4), (generator.random(80) < truth).repeat(4))]
        for name, groups in {"by group": np.arange(80).repeat(4), "by image": np.arange(320)}.items():
            estimate = bootstrap_by_group(_ACCURACY, scored, groups, num_resamples=400)["accuracy"]
            assert estimate.low is not None
            assert estimate.high is not None
            covered[name] += estimate.low <= truth <= estimate.high
    assert 0.89 < covered["by group"] / num_trials < 0.985
    assert covered["by image"] / num_trials < 0.8  # half the width it should have: about 67 %


def test_too_few_groups_of_a_class_have_values_but_no_interval() -> None:
    def estimates(num_diseased: int) -> dict[str, Estimate]:
        groups = np.arange(30 + num_diseased)
        labels = (groups >= 30).astype(np.int64)
        return bootstrap_by_group(METRICS, [_random(labels, groups, seed=1)], groups)

    enough, too_few = estimates(MIN_GROUPS_IN_A_CLASS), estimates(MIN_GROUPS_IN_A_CLASS - 1)
    assert all(one.low is None and one.high is None and one.value is not None for one in too_few.values())
    assert _width(enough["auroc"]) > 0


def test_many_images_do_not_make_up_for_few_groups() -> None:
    groups = np.arange(10).repeat(50)
    estimate = bootstrap_by_group(_ACCURACY, [_scored(groups % 2, np.arange(500) % 3 > 0)], groups)["accuracy"]
    assert (estimate.low, estimate.high) == (None, None)


@pytest.mark.parametrize(("num_mainly", "num_partly"), [(5, 20), (0, 5)])
def test_a_class_that_few_groups_hold_or_belong_to_has_no_interval(num_mainly: int, num_partly: int) -> None:
    # 40 groups of three units, of which two, one or none are of class 1.
    of_groups = [[1, 1, 0]] * num_mainly + [[1, 0, 0]] * num_partly + [[0, 0, 0]] * (40 - num_mainly - num_partly)
    scored = [_scored(np.concatenate(of_groups), np.arange(120) % 7 > 0)]
    assert bootstrap_by_group(_ACCURACY, scored, np.arange(40).repeat(3))["accuracy"].low is None


def test_groups_that_all_hold_both_classes_are_drawn_from_one_urn() -> None:
    labels, correct = np.array([0, 1] * 12), np.arange(24) % 5 > 0
    assert _width(bootstrap_by_group(_ACCURACY, [_scored(labels, correct)], np.arange(12).repeat(2))["accuracy"]) > 0


def test_what_has_no_spread_no_value_or_a_value_outside_gets_no_interval() -> None:
    labels = np.arange(20) % 2

    def undefined_from(count: int) -> Metric:
        def metric(scored: Scored, weights: Weights) -> Floats:
            return np.where(weights[:, 0] >= count, np.nan, METRICS["accuracy"](scored, weights))

        return metric

    metrics = {
        "accuracy": METRICS["accuracy"],
        # The first of 10 groups is drawn three times or more in 7 % of the resamples, four times or more in 1.3 %.
        "often undefined": undefined_from(3),
        "seldom undefined": undefined_from(4),
        "never defined": undefined_from(0),
        # 1 for the units as they are, about 2 for resamples.
        "grows by resampling": lambda scored, weights: np.mean(np.asarray(weights) ** 2, axis=1),
    }
    estimates = bootstrap_by_group(metrics, [_scored(labels, np.arange(20) % 4 > 0)], np.arange(20))
    assert _width(estimates["accuracy"]) > 0
    assert _width(estimates["seldom undefined"]) > 0
    assert estimates["often undefined"] == Estimate(0.75, None, None)
    assert estimates["never defined"] == Estimate(None, None, None)
    assert estimates["grows by resampling"] == Estimate(1.0, None, None)
    perfect = bootstrap_by_group(_ACCURACY, [_scored(labels, labels >= 0)], np.arange(20))
    assert perfect["accuracy"] == Estimate(1.0, None, None)


def test_seeds_are_drawn_with_replacement() -> None:
    labels = np.arange(20) % 2
    values = np.array([0.1, 0.2, 0.4, 0.8])
    scored = [Scored(labels, np.tile([1 - value, value], (20, 1)), positive=1) for value in values]
    by_seed_alone = {"constant": lambda scored, weights: np.full(len(weights), scored.probabilities[0, 1])}
    estimate = bootstrap_by_group(by_seed_alone, scored, np.arange(20), num_resamples=20_000)["constant"]
    means = [np.mean(drawn) for drawn in itertools.product(values, repeat=4)]
    assert estimate.value == pytest.approx(values.mean())
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=0.026)


def test_seeds_that_differ_widen_the_interval_and_seeds_that_agree_do_not() -> None:
    labels, groups = np.arange(100) % 2, np.arange(100)
    good, bad = _scored(labels, groups % 10 > 0), _scored(labels, groups % 10 > 3)
    one = bootstrap_by_group(_ACCURACY, [good], groups)["accuracy"]
    same = bootstrap_by_group(_ACCURACY, [good, good, good], groups)["accuracy"]
    differing = bootstrap_by_group(_ACCURACY, [good, bad], groups)["accuracy"]
    assert differing.value == pytest.approx((0.9 + 0.6) / 2)
    assert _width(same) == pytest.approx(_width(one), rel=0.15)
    assert _width(differing) > 1.5 * _width(bootstrap_by_group(_ACCURACY, [bad], groups)["accuracy"])


def test_a_seed_without_a_value_leaves_the_mean_without_one() -> None:
    labels, groups = np.arange(40) % 2, np.arange(40)
    nobody = Scored(labels, np.tile([0.9, 0.1], (40, 1)), positive=1)
    estimates = bootstrap_by_group(METRICS, [_scored(labels, groups % 3 > 0), nobody], groups)
    assert estimates["ppv"] == Estimate(None, None, None)
    assert estimates["sensitivity"].value is not None


def test_scores_of_different_units_are_refused() -> None:
    one, other = _scored([0, 1], [True, True]), _scored([1, 0], [True, True])
    for scored, groups in (([], np.arange(2)), ([one, other], np.arange(2)), ([one], np.arange(3))):
        with pytest.raises(ValueError, match=r"resample|same units"):
            bootstrap_by_group(_ACCURACY, scored, groups)


def test_resamples_are_those_of_the_interval_and_by_seed() -> None:
    labels, groups = _patients()
    scored = [_random(labels, groups, seed) for seed in (0, 1)]
    resampled = resample_by_group(METRICS, scored, groups, num_resamples=50, generator=np.random.default_rng(0))
    assert resampled["auroc"].shape == (50, 2)
    weights = _recorded_resamples(scored[0], groups)
    for index, one in enumerate(scored):
        assert resampled["auroc"][:, index] == pytest.approx(METRICS["auroc"](one, weights))


def _recorded_resamples(scored: Scored, groups: Integers) -> Floats:
    seen: list[Floats] = []

    def recorder(scored: Scored, weights: Weights) -> Floats:
        seen.append(np.array(weights))
        return METRICS["accuracy"](scored, weights)

    resample_by_group({"recorder": recorder}, [scored], groups, num_resamples=50, generator=np.random.default_rng(0))
    return np.concatenate(seen)


def test_groups_that_hold_averaged_classes_are_counted() -> None:
    labels, groups = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 2, 3, 3])
    scored = Scored(labels, np.full((6, 3), 1 / 3))
    assert num_groups_holding(scored, groups).tolist() == [2, 2, 1]
    many = np.repeat(np.arange(3), [20, 20, 4])
    some = Scored(many, np.full((44, 3), 1 / 3), macro_classes=(0, 1))
    assert are_enough_to_resample(some, np.arange(44))
    assert not are_enough_to_resample(Scored(many, np.full((44, 3), 1 / 3)), np.arange(44))
