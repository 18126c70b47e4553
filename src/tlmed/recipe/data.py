"""Settings of one domain's data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tlmed.recipe.settings import Settings

PhantomKind = Literal["everyday", "chest-findings", "chest-target"]


class PhantomSettings(Settings):
    """A seeded synthetic data set.

    `num_images` counts images for `everyday` and `chest-findings`; for `chest-target` the numbers of patients
    rule, three slices each, half of them of each class.
    """

    kind: PhantomKind
    num_images: int = Field(2000, ge=8)
    num_train_patients: int = Field(24, ge=4)
    num_val_patients: int = Field(12, ge=4)
    num_test_patients: int = Field(120, ge=4)
    size: int = Field(64, ge=32, le=512)
    seed: int = 0


class DataSettings(Settings):
    """Where a domain's images come from and what to do with rows that cannot be used as they are.

    Attributes:
        manifest: CSV or Parquet table, a row per image.
        folder: folder of class folders, or one that holds a `manifest.csv`.
        phantom: built-in synthetic images.
        group_pattern: regular expression whose first bracket is the group (patient) in each path, where no column says
            it.
        duplicates: `drop` keeps one of several identical files, in the order test, val, train, and drops a set
            whose labels contradict each other whole.
        on_leak: `drop_train` takes the offending rows out of training; the default stops.
        on_bad_image: `skip` leaves unreadable images out and lists them; the default stops.
        licence, reference: of the images, as the report is to state them.
        use: `all` pools the rows of every split of a generic or middle domain and carves val anew, by group.
    """

    manifest: Path | None = None
    folder: Path | None = None
    phantom: PhantomSettings | None = None
    group_pattern: str | None = None
    duplicates: Literal["keep", "drop"] = "keep"
    on_leak: Literal["fail", "drop_train"] = "fail"
    on_bad_image: Literal["fail", "skip"] = "fail"
    use: Literal["split", "all"] = "split"
    licence: str | None = None
    reference: str | None = None

    @model_validator(mode="after")
    def _exactly_one_source(self) -> DataSettings:
        given = [name for name in ("manifest", "folder", "phantom") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of manifest, folder, phantom (given: {', '.join(given) or 'none'})")
        if self.group_pattern is not None:
            try:
                num_brackets = re.compile(self.group_pattern).groups
            except re.error as error:
                raise ValueError(f"group_pattern is not a regular expression: {error}") from error
            if num_brackets < 1:
                raise ValueError("group_pattern needs a bracket around the id, as in '(patient\\d+)'")
        return self
