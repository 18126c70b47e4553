"""The predictions of several arms to the content of `comparison.json`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from tlmed.errors import InputError
from tlmed.evaluation.comparison.claims import Claim
from tlmed.evaluation.comparison.contrast_claims import ClaimedContrast, claim_contrasts
from tlmed.evaluation.comparison.contrasts import Asked, list_contrasts
from tlmed.evaluation.comparison.sentences import (
    Design,
    sentence_of_attribution,
    sentence_of_contrast,
    sentence_of_need,
    sentence_of_verdict,
)
from tlmed.evaluation.comparison.verdicts import (
    NEEDED_HALF_WIDTH,
    Verdict,
    attribute,
    correct_for_several,
    groups_needed,
    judge,
)
from tlmed.evaluation.estimates.figure_cells import too_few_groups
from tlmed.evaluation.estimates.prediction_table import TestedRows, read_test_rows
from tlmed.evaluation.estimates.unit_scores import UnitScores, score_units

LEAVE_ONE_SOURCE_OUT = "leave-one-source-out"
_GROUPS_UNKNOWN = "nothing says which units are of one patient, so that no limits hold"
_FEW_SOURCES = "sources are few and were not drawn alike, so that they show neither new patients nor new training sets"


def compare_arms(
    predictions: pd.DataFrame,
    asked: Asked,
    *,
    positive: str | Sequence[str] | None,
    unit: str,
    groups_known: bool,
    split: str,
    deterministic: Collection[str] = (),
) -> dict[str, Any]:
    """Compare arms on the same test units.

    With a fixed test set a verdict stands on limits over new patients and seeds, with this training set; under k-fold
    on those over new training sets of this size. Without groups, with fewer than 10 groups of a class, and under
    leave-one-source-out there is none.

    Args:
        predictions: a row an image, arm and seed; see `evaluate.evaluate_predictions`.
        asked: the question.
        positive: the class or classes that count as disease.
        unit: what a decision is about.
        groups_known: False where the `group` column is a stand-in.
        split: of the protocol: `manifest`, `holdout`, `temporal`, `kfold` or `leave-one-source-out`.
        deterministic: arms that no seed changes, by how they are trained; any other arm whose seeds are the same
            predictions counts as trained once, so that these models alone are spoken for.

    Returns:
        The content of `comparison.json` but for its keys `registered` and `cost`: `primary`, `subject` (None: arms are
        better or worse), `metric`, `margin`, `positive`, `unit`, `design`, `contrasts` (the primary one first, then
        controls, then secondary ones), `attribution`, `verdict` and `needed`. Metrics are shares from 0 to 1.

    Raises:
        InputError: a malformed table, arms over different units, some under folds and some not, or an arm that is not
            there.
    """
    tested = read_test_rows(predictions, positive, unit)
    scores = score_units(tested)
    _check_one_design(scores)
    contrasts = list_contrasts(asked, list(scores.arms))
    refusal = _refusal(scores, groups_known=groups_known, split=split)
    claimed = claim_contrasts(contrasts, scores, asked.metric, refusal=refusal, deterministic=deterministic)
    p_values = correct_for_several(claimed)
    verdicts = [judge(one, asked.margin, p_values.get(one.contrast.name)) for one in claimed]
    design = Design(
        len(scores.labels),
        scores.num_groups,
        {arm: len(seeds) for arm, seeds in scores.arms.items()},
        is_macro=len(scores.classes) > 2,
    )
    primary, verdict = claimed[0], verdicts[0]
    attribution = attribute(claimed, verdict, asked)
    needed = groups_needed(primary, scores.num_groups)
    return {
        "primary": primary.contrast.name,
        "subject": asked.subject,
        "metric": asked.metric,
        "margin": asked.margin,
        "positive": tested.stated_positive,
        "unit": unit,
        "design": {
            **_design(tested, scores, groups_known=groups_known, split=split),
            "given_start": bool(set(asked.primary) & set(asked.given_start)),
        },
        "contrasts": [
            _contrast(one, of_one, asked, design, p_values.get(one.contrast.name))
            for one, of_one in zip(claimed, verdicts, strict=True)
        ],
        "attribution": None
        if attribution is None
        else {
            "word": attribution.word,
            "sentence": sentence_of_attribution(attribution, claimed, asked),
        },
        "verdict": {
            "word": verdict.word,
            "sentence": sentence_of_verdict(primary, verdict, attribution, asked, design),
        },
        "needed": {
            "num_groups": needed,
            "half_width": NEEDED_HALF_WIDTH,
            "sentence": sentence_of_need(primary, needed, design),
        },
    }


def _check_one_design(scores: UnitScores) -> None:
    under_folds = {arm: seeds[0].folds is not None for arm, seeds in scores.arms.items()}
    if len(set(under_folds.values())) > 1:
        first, other = (next(arm for arm, has in under_folds.items() if has is wanted) for wanted in (True, False))
        raise InputError(
            f"predictions: arm {first!r} was tested in folds and {other!r} on a fixed test set; compare arms that were "
            "tested alike."
        )


def _refusal(scores: UnitScores, *, groups_known: bool, split: str) -> str | None:
    """Why nothing can be claimed at all; None where that is not so."""
    if not groups_known:
        return _GROUPS_UNKNOWN
    if split == LEAVE_ONE_SOURCE_OUT:
        return _FEW_SOURCES
    one = next(iter(scores.arms.values()))[0].scored
    return too_few_groups(one, scores.groups, scores.classes)


def _design(tested: TestedRows, scores: UnitScores, *, groups_known: bool, split: str) -> dict[str, Any]:
    kind = "fixed" if scores.num_folds is None else "k-fold"
    seeds = tested.rows.groupby("arm", sort=False)["seed"].unique()
    return {
        "split": LEAVE_ONE_SOURCE_OUT if split == LEAVE_ONE_SOURCE_OUT else kind,
        "num_units": len(scores.labels),
        "num_groups": scores.num_groups,
        "num_groups_by_class": dict(zip(scores.classes, scores.num_groups_by_class.tolist(), strict=True)),
        "groups_known": groups_known,
        "seeds": {str(arm): [_plain(seed) for seed in sorted(of_arm, key=_by_length)] for arm, of_arm in seeds.items()},
        "alike": scores.alike,
    }


def _contrast(
    claimed: ClaimedContrast, verdict: Verdict, asked: Asked, design: Design, p_holm: float | None
) -> dict[str, Any]:
    contrast, strongest = claimed.contrast, claimed.strongest
    return {
        "name": contrast.name,
        "weights": dict(contrast.weights),
        "role": contrast.role,
        "value": claimed.value,
        "level": claimed.level,
        "by_seed": [{"seed": _plain(seed), "value": value} for seed, value in claimed.by_seed],
        "claims": {kind: _claim(claim) for kind, claim in claimed.claims.items()},
        "speaks_for": None if strongest is None else strongest.kind,
        "verdict": verdict.word,
        "reason": verdict.reason,
        "p_holm": p_holm,
        "sentence": sentence_of_contrast(claimed, verdict, asked, design, p_holm),
    }


def _claim(claim: Claim | str) -> dict[str, Any]:
    if isinstance(claim, str):
        return {"not_claimed": claim}
    return {name: value for name, value in asdict(claim).items() if name != "kind"}


def _plain(seed: Any) -> Any:
    """A seed as JSON has it; tables of other tools have text."""
    text = str(seed)
    return int(text) if text.isdigit() else text


def _by_length(seed: Any) -> tuple[int, str]:
    """2 before 10, as text too."""
    return len(str(seed)), str(seed)
