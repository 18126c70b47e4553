"""The base of all settings: immutable, and an unknown key is an error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable settings; unknown keys are refused, so a misspelt one cannot be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)
