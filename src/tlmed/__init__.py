"""Staged transfer learning for medical images when labels are scarce. Research use only, not a medical device."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlmed.auditing import audit_data
    from tlmed.data.sources import read_manifest
    from tlmed.evaluation.comparison.compare import compare_arms
    from tlmed.evaluation.evaluate import evaluate_predictions
    from tlmed.experiment import run
    from tlmed.recipe.load import load_recipe
    from tlmed.serving.bundle import Bundle

__all__ = ["Bundle", "audit_data", "compare_arms", "evaluate_predictions", "load_recipe", "read_manifest", "run"]

_HOMES = {
    "Bundle": "tlmed.serving.bundle",
    "audit_data": "tlmed.auditing",
    "compare_arms": "tlmed.evaluation.comparison.compare",
    "evaluate_predictions": "tlmed.evaluation.evaluate",
    "load_recipe": "tlmed.recipe.load",
    "read_manifest": "tlmed.data.sources",
    "run": "tlmed.experiment",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line must answer before pandas is imported.
    if name not in _HOMES:
        raise AttributeError(f"module 'tlmed' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
