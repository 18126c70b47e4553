"""The words of a comparison: each sentence with its numbers, what it speaks for, and what is excluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlmed.evaluation.assessment.case_data import counted
from tlmed.evaluation.comparison.claims import Claim
from tlmed.evaluation.comparison.contrast_claims import LEVEL, ClaimedContrast
from tlmed.evaluation.comparison.contrasts import Asked, Contrast, ControlKind
from tlmed.evaluation.comparison.verdicts import NEEDED_HALF_WIDTH, Attribution, Verdict, deciding_of_control

_METRICS = {"auroc": "AUROC", "auprc": "AUPRC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
NOBODY_KNOWS = (
    "Nobody knows when this contrast was chosen: nothing shows that it was before test was opened, and one that is "
    "picked afterwards finds differences that are not there."
)
HEADLINES = {"not known": "the middle stage", "not shown": "the middle stage"}  # what helped, by attribution
_OF_ARMS = {"helped": "better", "hurt": "worse"}  # where it is not known in what they differ
_CLAIMED_FOR = {
    "a": "for these trained models",
    "b": "with this training set",
    "c": "for training sets of this size",
}
_IN_ATTRIBUTION: Mapping[ControlKind, str] = {
    "longer": "as much training on the target alone",
    "placebo": "a middle stage with permuted labels",
}


_LEFT_OPEN = {
    "not known": "; whether its domain or merely more training did it is not known",
    "not shown": "; that its domain did is not shown",
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


def headline(comparison: Mapping[str, Any]) -> str:
    """Return the verdict of `comparison.json` in a few words; what helped is named after what it is due to."""
    attribution, word = comparison["attribution"], str(comparison["verdict"]["word"])
    if attribution is not None:
        return f"{HEADLINES.get(attribution['word'], attribution['word'])} helped"
    if comparison["subject"] is None and word in _OF_ARMS:
        weights = comparison["contrasts"][0]["weights"]
        first, second = sorted(weights, key=weights.__getitem__, reverse=True)
        return f"{first} is {_OF_ARMS[word]} than {second}"
    return word


def verdict_in_words(word: str, subject: str | None) -> str:
    """Return the verdict on a contrast as it is printed: what is not known to be a treatment cannot help or hurt."""
    return _OF_ARMS.get(word, word) if subject is None else word


def sentence_of_registration(registered: Mapping[str, Any] | None) -> str:
    """Return when the primary contrast was chosen, and who had looked at test by then, in sentences.

    Args:
        registered: of `comparison.json`; None where nobody knows.
    """
    if registered is None:
        return NOBODY_KNOWS
    before, changed = registered["openings_before"], registered["changed_after_looking"]
    if changed is None:
        opened = f"been opened {counted(before, 'time')}" if before else "not been opened"
        said = (
            f"The primary contrast was written down on {registered['time'][:16].replace('T', ' ')}, before this recipe "
            f"opened the test (digest {registered['digest'][:12]}). By then the test had {opened} by other recipes of "
            "this store; other stores are not known."
        )
    else:
        said = (
            f"CHANGED AFTER LOOKING: {changed.removesuffix('.')}. By then the test had been opened "
            f"{counted(before, 'time')} by all recipes of this store; other stores are not known."
        )
    others, own = registered["others_on_this_test"], registered["own_earlier"]
    asked = [f"{counted(others, 'other recipe')} of this store asked something of this test"] if others else []
    asked += [f"this recipe itself asked {counted(own, 'other question')} of it"] if own else []
    return f"{said} {_sentence(' and '.join(asked))} The more is asked, the more may be luck." if asked else said


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
        f"{figure}, {_claimed_for(claim, claimed.contrast, asked)}, {_drawn_anew(claim, claimed.contrast, design)}: "
        f"{verdict_in_words(verdict.word, asked.subject)}"
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
    claimed_for = _claimed_for(claim, claimed.contrast, asked)
    anew = _drawn_anew(claim, claimed.contrast, design)
    excluded = _excluded(claimed, claim, verdict, asked)
    if verdict.word == "cannot be told here":
        whether = f"Whether {_would_be(asked)} cannot be told here"
        if verdict.reason is not None:
            return (
                f"{whether}: {verdict.reason}. {figure}, {claimed_for}, {anew}; {excluded}, but how other seeds would "
                "come out is not known."
            )
        return f"{whether}: {figure}, {claimed_for}, {anew}; {excluded}."
    unknown = "" if attribution is None else _LEFT_OPEN.get(attribution.word, "")
    said = _lead(verdict, attribution, asked) + _smallness(verdict, asked)
    return f"{_capital(said)}, {claimed_for}: {figure}, {anew}; {excluded}{unknown}."


def sentence_of_attribution(attribution: Attribution, claimed: Sequence[ClaimedContrast], asked: Asked) -> str:
    """Return to what a gain is due, in a sentence.

    Args:
        attribution: what was found.
        claimed: the contrasts, those with the controls among them.
        asked: the question.
    """
    first, second = asked.primary
    beaten = [kind for kind, one in attribution.beaten.items() if one]
    not_beaten = [kind for kind, one in attribution.beaten.items() if one is False]
    unknown = [kind for kind, one in attribution.beaten.items() if one is None]
    if not_beaten:
        why = f"is not shown, for {first} does not beat {_against(not_beaten, claimed, asked)}"
        if not attribution.gained:
            return f"The middle stage helped; that its domain did {why}."
        themselves = " and ".join(
            f"{arm} itself beats {second} ({_limits(claimed, arm, second)})"
            for arm in (str(asked.controls[kind]) for kind in attribution.gained)
        )
        return f"Extra training helped; that {asked.subject} did {why}, and {themselves}."
    if unknown:
        there = f"{first} beats {_against(beaten, claimed, asked)}, but " if beaten else ""
        said = f"The middle stage helped; {there}whether its domain or merely more training did it is not known: "
        absent = [kind for kind in unknown if asked.controls.get(kind) is None]
        if absent:
            return said + "add " + " ".join(f"--control {asked.primary[1]}-{kind}" for kind in absent) + "."
        named = " and ".join(str(asked.controls[kind]) for kind in unknown)
        return f"{said}{named} must be trained with as many seeds or folds as {first}."
    return (
        f"{first} also beats {_against(beaten, claimed, asked)}, each by itself "
        "at two-sided 5 % (an intersection-union test)."
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


def _claimed_for(claim: Claim, contrast: Contrast, asked: Asked) -> str:
    """What is not drawn anew; these models say that of their starting weights already."""
    is_given = claim.kind != "a" and any(arm in asked.given_start for arm in contrast.weights)
    return _CLAIMED_FOR[claim.kind] + (" and these starting weights" if is_given else "")


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
        return f"{first} is {_OF_ARMS[verdict.word]} than {second}"
    subject = asked.subject
    if attribution is not None and attribution.word == "extra training":
        subject = "extra training"
    elif attribution is not None:
        subject = HEADLINES.get(attribution.word, subject)
    return f"{subject} {verdict.word}"


def _against(kinds: Sequence[ControlKind], claimed: Sequence[ClaimedContrast], asked: Asked) -> str:
    """Controls that the first arm is compared with, and how it came out."""
    return " and ".join(
        f"{arm} ({_IN_ATTRIBUTION[kind]}: {_limits(claimed, asked.primary[0], arm)})"
        for kind in kinds
        for arm in [str(asked.controls[kind])]
    )


def _limits(claimed: Sequence[ClaimedContrast], one: str, other: str) -> str:
    claim = deciding_of_control(claimed, one, other)
    assert claim is not None  # an arm beats or does not beat another only by such a claim
    return f"{claim.value:+.3f}, {claim.low:+.3f} to {claim.high:+.3f}"


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _points(share: float) -> str:
    return f"{100 * share:g} point{'' if share == 0.01 else 's'}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _capital(text: str) -> str:
    """The name of an arm stays as it is written."""
    return text[0].upper() + text[1:] if text.startswith(("the ", "extra ", "with ")) else text
