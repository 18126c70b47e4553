from __future__ import annotations

from typing import Any

import pytest

from tlmed.report.facts.shortcut_reach import explained_by_shortcuts


def _variable(low: float | None, *, is_shortcut: bool = True) -> dict[str, Any]:
    auroc = {"value": 0.6, "low": low, "high": None if low is None else 0.8}
    return {"variable": "mode = RGB", "is_shortcut": is_shortcut, "matched": {"where": "mode = RGB", "auroc": auroc}}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ([_variable(0.55), _variable(0.45)], "It could explain all of the AUROC"),
        ([_variable(0.55), _variable(0.45)], "(mode = RGB: 0.600 (0.450 to 0.800))"),
        ([_variable(0.5)], "It could explain all of the AUROC"),
        ([_variable(0.55), _variable(0.45, is_shortcut=False)], "It could explain a part of the AUROC"),
        ([_variable(0.55), _variable(None)], "cannot be told: too few groups are alike in mode = RGB"),
        ([{**_variable(0.55), "matched": None}], "cannot be told: too few groups are alike in mode = RGB"),
    ],
)
def test_it_could_explain_what_matched_units_leave_open(variables: list[dict[str, Any]], said: str) -> None:
    assert said in explained_by_shortcuts({"details": {"variables": variables}})
