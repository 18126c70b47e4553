"""Settings of the comparison between arms: what is asked, fixed before test is opened."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from tlmed.recipe.settings import Settings

ComparedMetric = Literal["auroc", "accuracy", "balanced_accuracy", "auprc"]


class ComparisonSettings(Settings):
    """The one question that a run answers, and further ones that it only looks at.

    Attributes:
        primary: two arms, the first minus the second. Default: `generic-related` minus `generic` where both are there,
            else the delivered arm minus the one before it.
        metric: by unit; of the more probable class where it needs decisions.
        margin: the smallest difference that matters, as a share: 0.02 is 2 points.
        contrasts: further questions by name, each a sum of arms with weights that add up to 0.
    """

    primary: tuple[str, str] | None = None
    metric: ComparedMetric = "auroc"
    margin: float = Field(0.02, gt=0.0, lt=1.0)
    contrasts: dict[str, dict[str, float]] = {}

    @model_validator(mode="after")
    def _are_contrasts(self) -> ComparisonSettings:
        if self.primary is not None and self.primary[0] == self.primary[1]:
            raise ValueError(f"primary: an arm cannot be compared with itself ({self.primary[0]}); name two arms")
        for name, weights in self.contrasts.items():
            if len(weights) < 2 or 0 in weights.values() or not math.isclose(sum(weights.values()), 0, abs_tol=1e-9):
                raise ValueError(f"contrast {name!r}: two arms or more, with weights that are not 0 and add up to 0")
        return self
