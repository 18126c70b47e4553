"""A bundle and a labelled data set to a predictions table, as evaluation takes it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlmed.data.image_headers import read_image_headers
from tlmed.data.images import UnreadableImage, read_image
from tlmed.data.manifest import Manifest
from tlmed.errors import InputError, name_some
from tlmed.evaluation.assessment.drift import compare_input, draw_images, input_features
from tlmed.evaluation.assessment.exclusions import UNREADABLE, check_indeterminate
from tlmed.recipe.model import ImageSettings
from tlmed.runtime.digests import FileDigests, short_digest
from tlmed.runtime.progress import track
from tlmed.serving.bundle import Bundle


def predict_labelled(
    bundle: Bundle, manifest: Manifest, *, indeterminate: Collection[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict a data set's test images; without splits, all of them.

    Args:
        bundle: the classifier.
        manifest: the data.
        indeterminate: labels outside the bundle's classes that say the truth is not known.

    Returns:
        Every column of the manifest (group only where known) with the `p_` columns, calibrated, of the unit that the
        image is of; and the same rows of the images that cannot be read, with `reason` in place of them.

    Raises:
        InputError: no labels, a label that the bundle does not know, an indeterminate one that no row has, no test
            rows, or no readable image.
    """
    table = _test_rows(manifest)
    check_indeterminate(indeterminate, manifest.table["label"])
    _check_labels(bundle, table, manifest.name, indeterminate)
    unreadable: list[UnreadableImage] = []
    predicted = bundle.predict(table["file"].tolist(), unreadable=unreadable)
    is_read = table["file"].isin(predicted["path"])
    if not is_read.any():
        raise InputError(f"{manifest.name}: no image can be read, of {len(table)}; first: {unreadable[0]}")
    # A unit's probability is that of the mean of its images, calibrated; each of its images is given it.
    units = predicted["path"].map(table.set_index("file")["unit"])
    by_unit = bundle.predict_units(predicted.assign(unit=units)).set_index("unit")
    joined = table[is_read].join(by_unit[[f"p_{name}" for name in bundle.classes]], on="unit")
    left_out = table[~is_read].assign(reason=[f"{UNREADABLE}: {error.reason}" for error in unreadable])
    dropped = ["file", *(["group"] if manifest.group_column is None else [])]
    return joined.drop(columns=dropped).reset_index(drop=True), left_out.reset_index(drop=True)


def check_apart_from_training(bundle: Bundle, manifest: Manifest, digests: FileDigests) -> bool | None:
    """Return True where none of the images that `predict_labelled` is to predict trained or validated the bundle.

    Returns:
        None where the bundle does not record what it was trained on, so that it cannot be told.

    Raises:
        InputError: some of them did, or there are no test rows.
    """
    trained_on = bundle.card.get("trained_on")
    if trained_on is None:
        return None
    table = _test_rows(manifest)
    short = [short_digest(digest) for digest in digests.of([Path(file) for file in table["file"]])]
    known = table["path"][np.isin(short, trained_on)]
    if len(known):
        raise InputError(
            f"{manifest.name}: {len(known)} of {len(table)} images trained or validated this bundle "
            f"({name_some(known)}): what it learnt by heart is no test; take them out."
        )
    return True


def compare_with_training(bundle: Bundle, manifest: Manifest, paths: Collection[str]) -> dict[str, Any] | None:
    """Compare images with what the bundle remembers of its training images; None where it remembers nothing.

    Args:
        bundle: the classifier.
        manifest: the data.
        paths: of it, the images that were predicted; of more than 2,000 some are drawn.
    """
    summary = bundle.card.get("input_summary")
    if summary is None:
        return None
    table = manifest.table[manifest.table["path"].isin(list(paths))]
    table = table.iloc[draw_images(len(table))]
    files = [Path(file) for file in table["file"]]
    form = ImageSettings(**bundle.card["image"])
    pixels = []
    with track("comparing with training images", total=len(files)) as progress:
        for file in files:
            pixels.append(read_image(file, form))
            progress.advance()
    features = input_features(np.stack(pixels), read_image_headers(files) if summary["shares"] else None)
    return compare_input(summary, features, table["group"].to_numpy())


def _test_rows(manifest: Manifest) -> pd.DataFrame:
    """Those of the split test; without splits, all."""
    table = manifest.table
    if table["split"].isna().all():
        return table
    table = table[table["split"] == "test"]
    if table.empty:
        raise InputError(
            f"{manifest.name}: no rows of the split 'test'; a bundle is not measured on what may have trained it."
        )
    return table


def _check_labels(bundle: Bundle, table: pd.DataFrame, name: str, indeterminate: Collection[str]) -> None:
    if table["label"].isna().all():
        raise InputError(f"{name}: no labels, so there is nothing to measure; `tlmed predict` needs none.")
    unknown = sorted(set(table["label"].dropna()) - set(bundle.classes) - set(indeterminate))
    if unknown:
        raise InputError(
            f"{name}: the bundle does not know the class {name_some(map(repr, unknown))} (it knows "
            f"{', '.join(bundle.classes)}); rename it in the data, remove those rows, or say by --indeterminate that "
            "such a label means the truth is not known."
        )
