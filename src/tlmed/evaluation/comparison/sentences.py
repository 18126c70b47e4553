"""The words of a comparison: each sentence with its numbers, what it speaks for, and what is excluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tlmed.evaluation.comparison.claims import Claim
from tlmed.evaluation.comparison.contrast_claims import LEVEL, ONE_SEED, ClaimedContrast
from tlmed.evaluation.comparison.contrasts import Asked, Contrast, ControlKind
from tlmed.evaluation.comparison.verdicts import NEEDED_HALF_WIDTH, Attribution, Verdict

_METRICS = {"auroc": "AUROC", "auprc": "AUPRC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
_CLAIMED_FOR = {
    "a": "for these trained models",
    "b": "with this training set",
    "c": "for training sets of this size",
}
_IN_ATTRIBUTION: Mapping[ControlKind, str] = {
    "longer": "as much training on the target alone",
    "placebo": "a middle stage with permuted labels",
}


@dataclass(frozen=True)
class Design:
    """What sentences say of the cases and trainings.

    Attributes:
        num_units: in test.
        num_groups: in test, or in all folds.
        num_seeds: of each arm, 1 where all came to the same.
        is_macro: whether AUROC and AUPRC are means over classes.
    """

    num_units: int
    num_groups: int
    num_seeds: Mapping[str, int]
    is_macro: bool


def sentence_of_contrast(
    claimed: ClaimedContrast, verdict: Verdict, asked: Asked, design: Design, p_holm: float | None
) -> str:
    """Return one full sentence on a contrast."""
    claim = claimed.strongest
    figure = _figure(claimed, asked, design)
    if claim is None:
        return f"{figure}; no verdict: {verdict.reason}."
    small = _smallness(verdict, asked)
    why = [] if verdict.reason is None else [verdict.reason]
    corrected = [] if p_holm is None else [f"{_p_value(p_holm)} after Holm's correction"]
    added = f" ({'; '.join(why + corrected)})" if why or corrected else ""
    return (
        f"{figure}, {_CLAIMED_FOR[claim.kind]}, {_drawn_anew(claim, claimed.contrast, design)}: {verdict.word}"
        f"{small}{added}; {_excluded(claimed, claim, verdict, asked)}."
    )


def sentence_of_verdict(
    claimed: ClaimedContrast, verdict: Verdict, attribution: Attribution | None, asked: Asked, design: Design
) -> str:
    """Return the one sentence that answers the question."""
    claim = claimed.strongest
    figure = _figure(claimed, asked, design)
    if claim is None:
        return f"No verdict: {verdict.reason}. {figure}."
    claimed_for, anew = _CLAIMED_FOR[claim.kind], _drawn_anew(claim, claimed.contrast, design)
    excluded = _excluded(claimed, claim, verdict, asked)
    if verdict.word == "cannot be told here":
        whether = f"Whether {_would_be(asked)} cannot be told here"
        if verdict.reason == ONE_SEED:
            return (
                f"{whether}: {ONE_SEED}. {figure}, {claimed_for}, {anew}; {excluded}, but how other seeds would come "
                "out is not known."
            )
        return f"{whether}: {figure}, {claimed_for}, {anew}; {excluded}."
    due = "; whether its domain or merely more training did it is not known"
    unknown = due if attribution is not None and attribution.word == "not known" else ""
    said = _lead(verdict, attribution, asked) + _smallness(verdict, asked)
    return f"{_capital(said)}, {claimed_for}: {figure}, {anew}; {excluded}{unknown}."


def sentence_of_attribution(attribution: Attribution, claimed: Mapping[ControlKind, Claim], asked: Asked) -> str:
    """Return to what a gain is due, in a sentence.

    Args:
        attribution: what was found.
        claimed: the claim of the first arm minus the control, of each kind that has one.
        asked: the question.
    """
    first = asked.primary[0]
    beaten = [kind for kind, one in attribution.beaten.items() if one]
    not_beaten = [kind for kind, one in attribution.beaten.items() if one is False]
    unknown = [kind for kind, one in attribution.beaten.items() if one is None]
    if not_beaten:
        named = " and ".join(_against(kind, claimed[kind], asked) for kind in not_beaten)
        return f"Extra training helped; that {asked.subject} did is not shown, for {first} does not beat {named}."
    if unknown:
        there = f"{first} beats {_against(beaten[0], claimed[beaten[0]], asked)}, but " if beaten else ""
        said = f"The middle stage helped; {there}whether its domain or merely more training did it is not known: "
        absent = [kind for kind in unknown if asked.controls.get(kind) is None]
        if absent:
            return said + "add " + " ".join(f"--control {asked.primary[1]}-{kind}" for kind in absent) + "."
        named = " and ".join(str(asked.controls[kind]) for kind in unknown)
        return f"{said}{named} must be trained with as many seeds or folds as {first}."
    named = " and ".join(_against(kind, claimed[kind], asked) for kind in beaten)
    return (
        f"{_capital(str(asked.subject))} helped: {first} also beats {named}, each by itself at two-sided 5 % (an "
        "intersection-union test)."
    )


def sentence_of_need(claimed: ClaimedContrast, needed: int | None, design: Design) -> str:
    """Return how many test groups would bring the limits to +/- 5 points, in a sentence."""
    claim, points = claimed.strongest, _points(NEEDED_HALF_WIDTH)
    if claim is None:
        return "Without limits it cannot be said how many groups would narrow them."
    if claim.kind == "c":
        return (
            f"How many groups would narrow the interval to +/- {points} cannot be read off folds: more groups are also "
            "more to train on."
        )
    if needed is None:
        return (
            f"No number of test groups alone would narrow the interval to +/- {points}: seeds, not patients, are the "
            "limit, if they go on varying as here."
        )
    of_models = " This holds for these trained models; what seeds add cannot be told." if claim.kind == "a" else ""
    if needed == design.num_groups:
        return f"The interval is within +/- {points} with the {needed} test groups that there are.{of_models}"
    return (
        f"To narrow the interval to +/- {points}, about {needed} test groups in place of {design.num_groups} would be "
        f"needed, if seeds and cases go on varying as here.{of_models}"
    )


def _figure(claimed: ClaimedContrast, asked: Asked, design: Design) -> str:
    macro = "macro " if design.is_macro and asked.metric in ("auroc", "auprc") else ""
    said = f"{claimed.contrast.name} in {macro}{_METRICS[asked.metric]} is {claimed.value:+.3f}"
    claim = claimed.strongest
    if claim is None:
        return f"{said} on these {design.num_units} units"
    level = "" if claimed.level == LEVEL else f"{100 * claimed.level:.4g} % limits "
    return f"{said} ({level}{claim.low:+.3f} to {claim.high:+.3f})"


def _drawn_anew(claim: Claim, contrast: Contrast, design: Design) -> str:
    """Over what the limits hold."""
    if claim.kind == "a":
        return "over new patients"
    if claim.kind == "c":
        return "over new patients and training sets"
    numbers = {arm: design.num_seeds[arm] for arm in contrast.weights if design.num_seeds[arm] > 1}
    if len(set(numbers.values())) == 1:
        return f"over new patients and {next(iter(numbers.values()))} seeds"
    return "over new patients and seeds" + (
        f" ({', '.join(f'{number} of {arm}' for arm, number in numbers.items())})" if numbers else ""
    )


def _excluded(claimed: ClaimedContrast, claim: Claim, verdict: Verdict, asked: Asked) -> str:
    if claim.high < 0:
        return "any gain is excluded"
    if verdict.word == "helped" and claim.low > 0:
        return f"gains below {claim.low:.3f} or above {claim.high:.3f} are excluded"
    excluded = f"gains above {claim.high:.3f} are excluded"
    if verdict.word != "equivalent":
        return excluded
    of_90 = f"the 90 % limits ({claim.low_90:+.3f} to {claim.high_90:+.3f})"
    limits = of_90 if claimed.level == LEVEL else "the limits"
    return f"{limits} lie within {_points(asked.margin)}, and {excluded}"


def _smallness(verdict: Verdict, asked: Asked) -> str:
    is_small = verdict.within_margin and verdict.word in ("helped", "hurt")
    return f", by less than the margin of {_points(asked.margin)}" if is_small else ""


def _would_be(asked: Asked) -> str:
    first, second = asked.primary
    return f"{first} is better than {second}" if asked.subject is None else f"{asked.subject} helped"


def _lead(verdict: Verdict, attribution: Attribution | None, asked: Asked) -> str:
    first, second = asked.primary
    margin = _points(asked.margin)
    if verdict.word == "equivalent":
        alike = f"{first} and {second} are" if asked.subject is None else f"with and without {asked.subject} arms are"
        return f"{alike} equivalent within {margin}"
    if asked.subject is None:
        return f"{first} is {'better' if verdict.word == 'helped' else 'worse'} than {second}"
    subject = asked.subject
    if attribution is not None and attribution.word == "extra training":
        subject = "extra training"
    elif attribution is not None and attribution.word == "not known":
        subject = "the middle stage"
    return f"{subject} {verdict.word}"


def _against(kind: ControlKind, claim: Claim, asked: Asked) -> str:
    limits = f"{claim.value:+.3f}, {claim.low:+.3f} to {claim.high:+.3f}"
    return f"{asked.controls[kind]} ({_IN_ATTRIBUTION[kind]}: {limits})"


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _points(share: float) -> str:
    return f"{100 * share:g} point{'' if share == 0.01 else 's'}"


def _capital(text: str) -> str:
    """The name of an arm stays as it is written."""
    return text[0].upper() + text[1:] if text.startswith(("the ", "extra ", "with ")) else text
