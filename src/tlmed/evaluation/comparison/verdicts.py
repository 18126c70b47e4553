"""From limits to words: what a contrast shows, to what a gain is due, and how many groups would show more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tlmed.evaluation.comparison.claims import Claim
from tlmed.evaluation.comparison.contrast_claims import ClaimedContrast
from tlmed.evaluation.comparison.contrasts import CONTROL_KINDS, Asked, ControlKind
from tlmed.evaluation.statistics.multiplicity import holm

Word = Literal["helped", "hurt", "equivalent", "cannot be told here", "no verdict"]
CANNOT_BE_TOLD: Word = "cannot be told here"
NO_VERDICT: Word = "no verdict"
NEEDED_HALF_WIDTH = 0.05
ALPHA = 0.05


@dataclass(frozen=True)
class Verdict:
    """What a contrast shows.

    Attributes:
        word: in short.
        reason: why there is no more to say, where that is not plain from the limits.
        within_margin: whether the 90 % limits lie within the margin, so that what helped or hurt is less than matters.
    """

    word: Word
    reason: str | None = None
    within_margin: bool = False


def judge(claimed: ClaimedContrast, margin: float, p_holm: float | None) -> Verdict:
    """Return what a contrast shows.

    The 95 % limits on one side of 0: helped or hurt. Else the 90 % limits within the margin: equivalent, which is
    Schuirmann's two one-sided tests at 5 %. Of several secondary contrasts one helped or hurt only where Holm's
    correction leaves it, and arms are equivalent only where the limits that hold for all together lie within the
    margin. These trained models alone, without new seeds or training sets, cannot tell.

    Args:
        claimed: the contrast.
        margin: the smallest difference that matters.
        p_holm: of a secondary contrast, corrected for the others; None for one that stands by itself.
    """
    claim = claimed.deciding
    if claim is None:
        of_models = claimed.claim("a")
        reason = claimed.claims["a" if of_models is None and claimed.decides == "b" else claimed.decides]
        return Verdict(NO_VERDICT if of_models is None else CANNOT_BE_TOLD, str(reason))
    if p_holm is None:
        within_margin = -margin < claim.low_90 and claim.high_90 < margin
        lies_apart = claim.low > 0 or claim.high < 0
    else:
        within_margin = -margin < claim.low and claim.high < margin
        lies_apart = p_holm < ALPHA
    if lies_apart:
        return Verdict("helped" if claim.value > 0 else "hurt", within_margin=within_margin)
    return Verdict("equivalent", within_margin=True) if within_margin else Verdict(CANNOT_BE_TOLD)


def correct_for_several(claimed: Sequence[ClaimedContrast]) -> dict[str, float]:
    """Return the p-values of the secondary contrasts by name, corrected for their number (Holm).

    Each is that of the strongest claim. Controls are not corrected: all must be beaten, so that none adds a chance of a
    false claim (intersection-union test, Berger, Technometrics 1982;24:295).
    """
    p_values = {
        one.contrast.name: one.strongest.p_value
        for one in claimed
        if one.contrast.role == "secondary" and one.strongest is not None
    }
    return dict(zip(p_values, holm(list(p_values.values())).tolist(), strict=True)) if p_values else {}


@dataclass(frozen=True)
class Attribution:
    """To what a gain is due.

    Attributes:
        word: the subject without its article; "extra training"; "not shown", where the first arm does not beat a
            control that itself does not beat the second arm either; or "not known".
        beaten: whether the first arm beats each kind of control; None where that arm was not trained, or cannot tell.
        gained: the controls that are not beaten and beat the second arm themselves.
    """

    word: str
    beaten: Mapping[ControlKind, bool | None]
    gained: Sequence[ControlKind] = ()


def attribute(claimed: Sequence[ClaimedContrast], verdict: Verdict, asked: Asked) -> Attribution | None:
    """Return to what the gain of the primary contrast is due; None where there is none, or nothing to attribute it to.

    It is due to the subject only where the first arm beats both controls, each at two-sided 5 %. Not to beat a control
    shows nothing of the control: that extra training helped is said only where such a control beats the second arm.
    """
    if verdict.word != "helped" or asked.subject is None or set(asked.primary) & set(asked.control_arms):
        return None
    (first, second), controls = asked.primary, asked.controls
    beaten = {kind: _beats(claimed, first, controls.get(kind)) for kind in CONTROL_KINDS}
    not_beaten = [kind for kind, one in beaten.items() if one is False]
    if not_beaten:
        gained = [kind for kind in not_beaten if _beats(claimed, controls[kind], second)]
        return Attribution("extra training" if gained else "not shown", beaten, gained)
    if None in beaten.values():
        return Attribution("not known", beaten)
    return Attribution(asked.subject.removeprefix("the "), beaten)


def _beats(claimed: Sequence[ClaimedContrast], one: str | None, other: str | None) -> bool | None:
    """Whether the contrast of two arms that has the role of a control shows a gain; None where it is not there."""
    claim = deciding_of_control(claimed, one, other)
    return None if claim is None else claim.value > 0 and claim.p_value < ALPHA


def deciding_of_control(claimed: Sequence[ClaimedContrast], one: str | None, other: str | None) -> Claim | None:
    """Return the claim of one arm minus another that a verdict may stand on; None where there is none."""
    name = f"{one} minus {other}"
    found = (contrast for contrast in claimed if contrast.contrast.role == "control" and contrast.contrast.name == name)
    return next((contrast.deciding for contrast in found), None)


def groups_needed(claimed: ClaimedContrast, num_groups: int) -> int | None:
    """Return how many test groups would bring the 95 % limits to +/- 5 points, if cases and seeds go on varying so.

    Of the squared half width of the strongest claim the part that these models' own limits have shrinks with the number
    of groups; the rest is the seeds' and stays.

    Args:
        claimed: with a fixed test set.
        num_groups: in test.

    Returns:
        At least `num_groups`; None where the seeds' part alone is too wide, or nothing is claimed.
    """
    strongest, of_models = claimed.strongest, claimed.claim("a")
    if strongest is None or of_models is None:
        return None
    half_width = _half_width(strongest)
    of_cases = _half_width(of_models) ** 2
    room = NEEDED_HALF_WIDTH**2 - (half_width**2 - of_cases)
    return max(num_groups, math.ceil(num_groups * of_cases / room)) if room > 0 else None


def _half_width(claim: Claim) -> float:
    return (claim.high - claim.low) / 2
