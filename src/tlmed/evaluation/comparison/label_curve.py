"""How the arms' results, and their difference, change with the number of labelled groups: figures and bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from tlmed.evaluation.comparison.arm_figures import figures_on_fixed_test
from tlmed.evaluation.comparison.claims import ArmFigures, Claim, claim_of_these_models, claim_over_seeds
from tlmed.evaluation.comparison.contrast_claims import ONE_SEED, ClaimedContrast
from tlmed.evaluation.comparison.contrasts import Contrast
from tlmed.evaluation.comparison.verdicts import CANNOT_BE_TOLD, NEEDED_HALF_WIDTH, NO_VERDICT, groups_needed
from tlmed.evaluation.estimates.figure_cells import NO_VARIATION, too_few_groups
from tlmed.evaluation.estimates.prediction_table import read_test_rows
from tlmed.evaluation.estimates.unit_scores import UnitScores, score_units
from tlmed.evaluation.statistics.auroc import logit_auroc_interval
from tlmed.recipe.comparison import ComparedMetric

_GROUPS_UNKNOWN = "nothing says which images belong to one patient"


@dataclass(frozen=True)
class LabelQuestion:
    """What is asked of a learning curve.

    Attributes:
        positive: the class or classes that count as disease.
        unit: what a decision is about.
        metric: by unit.
        difference: two arms, the first minus the second; None where there is no such pair.
        groups_known: whether something says which images belong together; without there are no intervals.
    """

    positive: str | tuple[str, ...] | None
    unit: str
    metric: ComparedMetric
    difference: tuple[str, str] | None
    groups_known: bool


def measure_label_curve(predictions: pd.DataFrame, question: LabelQuestion) -> dict[str, Any]:
    """Measure every arm at every share of the labels on the same test units.

    Args:
        predictions: a row an image, arm, share and draw: the columns of the predictions table, `share_percent` and
            `draw`.
        question: what is asked.

    Returns:
        `metric`, `positive`, `unit`, `difference_of`, `design`, `shares` (rising: `percent`, `num_draws`, `arms`,
        `difference`), `change` (of the difference, the smallest share minus the largest; None where there is none),
        `needed` (test groups for intervals of +/- 5 points at the largest share). JSON-able.

    Raises:
        InputError: what `read_test_rows` and `score_units` refuse.
    """
    cells = [_cell(arm, share) for arm, share in zip(predictions["arm"], predictions["share_percent"], strict=True)]
    tested = read_test_rows(predictions.assign(arm=cells, seed=predictions["draw"]), question.positive, question.unit)
    scores = score_units(tested)
    curve = _Curve(scores, predictions, question)
    return {
        "metric": question.metric,
        "positive": tested.stated_positive,
        "unit": question.unit,
        "difference_of": None if question.difference is None else list(question.difference),
        "design": {
            "num_units": len(scores.labels),
            "num_groups": scores.num_groups,
            "num_groups_by_class": dict(zip(scores.classes, scores.num_groups_by_class.tolist(), strict=True)),
            "groups_known": question.groups_known,
            "seeds": curve.seeds,
        },
        "shares": [curve.card(share) for share in curve.shares],
        "change": curve.change(),
        "needed": curve.needed(),
    }


def claim_over_draws(
    weights: Mapping[str, float], by_draw: Mapping[str, ArmFigures], by_seed: Mapping[str, ArmFigures]
) -> Claim | None:
    """Return what a sum of means over draws is for new patients, draws from this pool and seeds.

    Draws are random readers, as seeds are in `claim_over_seeds`. But draws of one seed share the stages before the
    target that were trained with it; so the same is done with each seed's mean over its draws as a reader, and the
    larger standard error holds. By simulation (10 draws; seeds that vary as much as draws, half as much, or not at all;
    test cases that add nothing, a third of it, or as much) limits then hold the truth in 94 to 98 % with 3 or 5 seeds
    and in 89 to 97 % with 2; with draws alone as readers in 80 to 96 % and in 70 to 96 %. Of a change between shares
    they hold in 96 to 99 %.

    Args:
        weights: of the cells in the sum.
        by_draw: figures of each cell, an arm at a share; a draw that stands in two cells pairs them.
        by_seed: likewise, means over each seed's draws; empty where there is one seed.

    Returns:
        The claim, its limits about the mean over draws; None where nothing varies.
    """
    claims = [claim_over_seeds(weights, by_draw), claim_over_seeds(weights, by_seed) if by_seed else None]
    return max((claim for claim in claims if claim is not None), key=lambda one: one.standard_error, default=None)


class _Curve:
    """All figures of one curve."""

    def __init__(self, scores: UnitScores, predictions: pd.DataFrame, question: LabelQuestion) -> None:
        first = next(iter(scores.arms.values()))[0].scored
        too_few = too_few_groups(first, scores.groups, scores.classes)
        self._refusal = too_few if question.groups_known else _GROUPS_UNKNOWN
        self.shares = sorted(map(float, predictions["share_percent"].unique()))
        self.arms = [str(arm) for arm in predictions["arm"].unique()]
        self.seeds = sorted(map(int, predictions["seed"].unique()))
        self._question, self._num_groups, self._alike = question, scores.num_groups, set(scores.alike)
        self._by_draw = figures_on_fixed_test(scores, question.metric, without_groups=self._refusal is None)
        pairs = predictions[["share_percent", "draw", "seed"]].drop_duplicates()
        self._seed_of_draw = {
            share: dict(zip(rows["draw"].astype(int), rows["seed"].astype(int), strict=True))
            for share in self.shares
            for rows in [pairs[pairs["share_percent"] == share]]
        }
        self._names = list(self.arms)
        if question.difference is not None:
            self._names.append(self._name_of_difference)
            for share in self.shares:
                self._add_difference(question.difference, share)
        self._by_seed = {
            cell: figures if cell in self._alike else _averaged_by_seed(figures, self._seed_of_draw[share])
            for share in self.shares
            for name in self._names
            for cell, figures in [(_cell(name, share), self._by_draw[_cell(name, share)])]
            if len(self.seeds) > 1
        }

    @property
    def _name_of_difference(self) -> str:
        return " minus ".join(self._question.difference or ())

    def card(self, share: float) -> dict[str, Any]:
        """What was measured at a share."""
        has_difference = self._question.difference is not None
        return {
            "percent": share,
            "num_draws": len(self._seed_of_draw[share]),
            "arms": {arm: self._measured(arm, share) for arm in self.arms},
            "difference": self._measured(self._name_of_difference, share) if has_difference else None,
        }

    def change(self) -> dict[str, Any] | None:
        """Whether the difference shrinks from the smallest share to the largest."""
        pair = self._question.difference
        if pair is None or len(self.shares) < 2:
            return None
        smallest, largest = self.shares[0], self.shares[-1]
        name = self._name_of_difference
        claimed = self._claim("change", {_cell(name, smallest): 1.0, _cell(name, largest): -1.0})
        card: dict[str, Any] = {"from_percent": smallest, "to_percent": largest, "value": claimed.value}
        claim = claimed.deciding
        if claim is None:
            reason = str(claimed.claims["b"])
            undecided = CANNOT_BE_TOLD if reason == ONE_SEED else NO_VERDICT
            card |= {"low": None, "high": None, "p_value": None, "verdict": undecided, "reason": reason}
        else:
            low, high = _limits(claimed.value, claim)
            word = "shrinks" if low > 0 else "grows" if high < 0 else CANNOT_BE_TOLD
            card |= {"low": low, "high": high, "p_value": claim.p_value, "verdict": word, "reason": None}
        return {**card, "sentence": _change_in_words(card, pair)}

    def needed(self) -> list[dict[str, Any]]:
        """How many test groups intervals of +/- 5 points take at the largest share: of arms and difference."""
        share = self.shares[-1]
        claimed = [self._claim(name, {_cell(name, share): 1.0}) for name in self._names]
        return [self._needed(one, one.strongest, share) for one in claimed if one.strongest is not None]

    def _add_difference(self, pair: tuple[str, str], share: float) -> None:
        """Paired by draw, for the arms have the same subsets; what no draw changes stands beside every draw."""
        cells = [_cell(arm, share) for arm in pair]
        one, other = (self._by_draw[cell] for cell in cells)
        cell = _cell(self._name_of_difference, share)
        draws = max(one.seeds, other.seeds, key=len)
        self._by_draw[cell] = ArmFigures(draws, one.values - other.values, one.left_out - other.left_out)
        if set(cells) <= self._alike:
            self._alike.add(cell)

    def _claim(self, name: str, weights: Mapping[str, float]) -> ClaimedContrast:
        contrast = Contrast(name, weights, "secondary")
        value = sum(weight * float(self._by_draw[cell].values.mean()) for cell, weight in weights.items())
        if self._refusal is not None:
            return ClaimedContrast(contrast, value, [], {"a": self._refusal, "b": self._refusal}, "b")
        of_models = claim_of_these_models(weights, self._by_draw) or NO_VARIATION
        has_draws = all(len(self._by_draw[cell].seeds) > 1 or cell in self._alike for cell in weights)
        of_draws = (claim_over_draws(weights, self._by_draw, self._by_seed) or NO_VARIATION) if has_draws else ONE_SEED
        return ClaimedContrast(contrast, value, [], {"a": of_models, "b": of_draws}, "b")

    def _measured(self, name: str, share: float) -> dict[str, Any]:
        """An arm, whose limits on the logit scale lie within 0 and 1; or the difference."""
        cell = _cell(name, share)
        claimed = self._claim(name, {cell: 1.0})
        value, claim, is_arm = claimed.value, claimed.strongest, name in self.arms
        card: dict[str, Any] = {"value": value, "low": None, "high": None, "speaks_for": None, "no_interval": None}
        if claim is None or (is_arm and not 0 < value < 1):
            card["no_interval"] = NO_VARIATION if claim is not None else str(claimed.claims["a"])
        else:
            low, high = _limits(value, claim)
            if is_arm:
                as_normal = ((high - low) / 2 / float(norm.ppf(0.975))) ** 2
                on_logit = logit_auroc_interval(value, as_normal, degrees_of_freedom=math.inf)
                low, high = float(on_logit.low or 0.0), float(on_logit.high or 1.0)
            card |= {"low": low, "high": high, "speaks_for": claim.kind}
        seeds = self._seed_of_draw[share]
        values = np.broadcast_to(self._by_draw[cell].values, len(seeds)).tolist()
        draws = zip(sorted(seeds), values, strict=True)
        return {**card, "draws": [{"draw": draw, "seed": seeds[draw], "value": of_draw} for draw, of_draw in draws]}

    def _needed(self, claimed: ClaimedContrast, claim: Claim, share: float) -> dict[str, Any]:
        half_width = (claim.high - claim.low) / 2
        num_groups = groups_needed(claimed, self._num_groups)
        asked, name = f"+/- {100 * NEEDED_HALF_WIDTH:g} points", claimed.contrast.name
        width = f"+/- {100 * half_width:.1f} points" if half_width < 1 else "no useful interval"
        if num_groups is None:
            told = f"more test groups alone would not bring {asked}, for draws and seeds vary too much: add seeds"
        elif half_width <= NEEDED_HALF_WIDTH:
            told = f"no more are needed for {asked}"
        else:
            told = f"{asked} take about {num_groups}, if seeds and cases go on varying as here"
        now = f"{name} at {share:g} %: {width} with {self._num_groups} test groups"
        return {
            "of": name,
            "percent": share,
            "half_width": NEEDED_HALF_WIDTH,
            "half_width_now": half_width,
            "num_groups": num_groups,
            "sentence": f"{now}; {told}.",
        }


def _cell(arm: str, share: float) -> str:
    return f"{arm} at {share:g} %"


def _averaged_by_seed(by_draw: ArmFigures, seed_of_draw: Mapping[int, int]) -> ArmFigures:
    seeds = np.array([seed_of_draw[int(str(draw))] for draw in by_draw.seeds])
    members = {int(seed): seeds == seed for seed in np.unique(seeds)}
    return ArmFigures(
        tuple(members),
        np.array([by_draw.values[of_seed].mean() for of_seed in members.values()]),
        np.stack([by_draw.left_out[:, of_seed].mean(axis=1) for of_seed in members.values()], axis=1),
    )


def _limits(value: float, claim: Claim) -> tuple[float, float]:
    """About the mean over draws; that over seeds' means differs from it where seeds have unequally many draws."""
    half_width = (claim.high - claim.low) / 2
    return value - half_width, value + half_width


def _change_in_words(card: Mapping[str, Any], pair: tuple[str, str]) -> str:
    span = f"From {card['from_percent']:g} to {card['to_percent']:g} % of the labels"
    what = f"the advantage of {pair[0]} over {pair[1]}"
    if card["low"] is None:
        return f"{span}, whether {what} shrinks: {card['verdict']} ({card['reason']})."
    fall = f"its fall is {card['value']:+.3f} (95 % interval {card['low']:+.3f} to {card['high']:+.3f})"
    if card["verdict"] == CANNOT_BE_TOLD:
        return f"{span}, whether {what} shrinks cannot be told here: {fall}."
    return f"{span}, {what} {card['verdict']}: {fall}."
