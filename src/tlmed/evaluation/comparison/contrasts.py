"""Which contrasts of arms there are, and what each is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tlmed.errors import InputError, did_you_mean
from tlmed.recipe.comparison import ComparedMetric

Role = Literal["primary", "control", "secondary"]
ControlKind = Literal["longer", "placebo"]
CONTROL_KINDS: tuple[ControlKind, ...] = ("longer", "placebo")


@dataclass(frozen=True)
class Asked:
    """What is asked of the arms, fixed before test is opened.

    Attributes:
        primary: two arms, the first minus the second.
        metric: by unit.
        margin: the smallest difference that matters, as a share.
        contrasts: further questions by name, arms with weights that add up to 0.
        controls: the arm of each kind of control; None or absent where there is none.
        left_out: arms that no contrast is made of, unless one of `contrasts` names them.
        subject: what the first arm of the primary contrast has and the second lacks, such as "the related domain"; None
            where that is not known, so that arms are called better or worse, and nothing is attributed.
        given_start: arms that start from weights that were given, a file or a stage trained once, and not drawn anew.

    Raises:
        InputError: a margin outside (0, 1), or an arm that is to be compared with itself.
    """

    primary: tuple[str, str]
    metric: ComparedMetric = "auroc"
    margin: float = 0.02
    contrasts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    controls: Mapping[ControlKind, str | None] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    subject: str | None = None
    given_start: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise InputError(f"margin: {self.margin:g} is not between 0 and 1; it is a share: 0.02 is 2 points.")
        if self.primary[0] == self.primary[1]:
            raise InputError(f"primary: {self.primary[0]!r} cannot be compared with itself; name two arms.")

    @property
    def control_arms(self) -> list[str]:
        """The control arms that there are."""
        return [arm for arm in self.controls.values() if arm is not None]


@dataclass(frozen=True)
class Contrast:
    """A sum of arms with weights that add up to 0.

    Attributes:
        name: such as "generic-related minus generic".
        weights: of each arm that is part of it.
        role: the primary one alone answers the question; of the secondary ones there are several (Holm); control ones
            say to what a gain is due: the first arm minus each control are conditions that must all hold, each by
            itself; each control minus the second arm shows whether extra training alone helps.
    """

    name: str
    weights: Mapping[str, float]
    role: Role


def list_contrasts(asked: Asked, arms: Sequence[str]) -> list[Contrast]:
    """Return the primary contrast, those with the controls both ways, then the secondary ones.

    Secondary are the first arm of the primary minus each other arm, each other arm minus the second, and what was asked
    for by name.

    Args:
        asked: the question.
        arms: that there are predictions of.

    Raises:
        InputError: a contrast names an arm that is not there.
    """
    first, second = asked.primary
    primary = _difference(first, second, "primary")
    named = [Contrast(name, dict(weights), "secondary") for name, weights in asked.contrasts.items()]
    for contrast in (primary, *named):
        for arm in contrast.weights:
            if arm not in arms:
                raise InputError(
                    f"comparison: the contrast {contrast.name!r} names the arm {arm!r}, of which there are no "
                    f"predictions.{did_you_mean(arm, arms)}"
                )
    controls = [arm for arm in asked.control_arms if arm in arms and arm not in asked.primary]
    others = [arm for arm in arms if arm not in (first, second, *controls, *asked.left_out)]
    by_pair = [
        pair
        for arm in others
        for pair in (_difference(first, arm, "secondary"), _difference(arm, second, "secondary"))
        if pair.weights not in [one.weights for one in named]
    ]
    attributing = [_difference(*pair, "control") for arm in controls for pair in ((first, arm), (arm, second))]
    return [primary, *attributing, *by_pair, *named]


def _difference(first: str, second: str, role: Role) -> Contrast:
    return Contrast(f"{first} minus {second}", {first: 1.0, second: -1.0}, role)
