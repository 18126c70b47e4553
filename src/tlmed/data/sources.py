"""Tables, folders of classes and phantoms to a manifest."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from pyarrow.lib import ArrowException

from tlmed.data.manifest import SPLIT_NAMES, Manifest, validate_manifest
from tlmed.data.phantoms import write_phantoms
from tlmed.errors import InputError
from tlmed.recipe.data import DataSettings
from tlmed.runtime.store import Store

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
_MANIFEST_FILE = "manifest.csv"


def read_manifest(
    source: Path | str, *, group: str | None = None, unit: str = "image", name: str | None = None
) -> Manifest:
    """Read a data set: a table (.csv, .parquet), a folder with a `manifest.csv`, or a folder of class folders.

    Args:
        group: column that says what is independent; default: the first of group, patient, study, series.
        unit: `image`, or the column that a decision is about.
        name: for messages; default: the source itself.

    Raises:
        InputError: nothing there, no images, or rows that are not valid.
    """
    path = Path(source)
    if path.is_dir() and (path / _MANIFEST_FILE).is_file():
        path = path / _MANIFEST_FILE
    label = f"{name} ({path})" if name else str(path)
    if path.is_dir():
        return validate_manifest(_read_folder(path), name=label, root=path.resolve(), group=group, unit=unit)
    if not path.is_file():
        raise InputError(f"{label}: no such file or folder; check the path.")
    return validate_manifest(_read_table(path), name=label, root=path.resolve().parent, group=group, unit=unit)


def read_domain(
    settings: DataSettings, store: Store, *, group: str | None = None, unit: str = "image", name: str
) -> Manifest:
    """Read the data of one domain of a recipe; phantoms are made in the store first.

    Raises:
        InputError: as `read_manifest`.
    """
    source = settings.manifest or settings.folder
    if settings.phantom is not None:
        source = write_phantoms(settings.phantom, store)
    assert source is not None  # DataSettings holds exactly one source
    return read_manifest(source, group=group, unit=unit, name=name)


def list_images(path: Path) -> list[Path]:
    """Return an image file itself, or all image files below a folder, sorted.

    Raises:
        InputError: not there, or a folder without images.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; check the path.")
    # os.walk follows the names as they are; rglob would treat a '[' in them as a pattern on some versions.
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]  # thumbnails, checkpoints and the like
        found += [Path(folder) / file for file in files if _is_image(file)]
    if not found:
        raise InputError(f"{path}: no images below this folder (looked for {', '.join(IMAGE_SUFFIXES)}).")
    return sorted(found)


def _is_image(file_name: str) -> bool:
    return file_name.lower().endswith(IMAGE_SUFFIXES) and not file_name.startswith(".")


def _read_table(path: Path) -> pd.DataFrame:
    """Return a table of strings, missing where empty; its index counts the rows below the header, blank ones too."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: a table must be .csv or .parquet; a folder of images is given as a folder.")
    try:
        if suffix == ".parquet":
            table = pd.read_parquet(path, dtype_backend="numpy_nullable").astype("string").astype(object)
            table = table.where(table.notna(), None)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], skip_blank_lines=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, ArrowException) as error:
        what = "Parquet" if suffix == ".parquet" else "CSV table in UTF-8"
        raise InputError(f"{path}: not a {what} ({' '.join(str(error).split())}).") from error
    table.columns = table.columns.astype(str).str.strip()
    if table.columns.has_duplicates:
        raise InputError(
            f"{path}: two columns are called {table.columns[table.columns.duplicated()][0]!r}; rename one."
        )
    return table.dropna(how="all")


def _read_folder(folder: Path) -> pd.DataFrame:
    rows = []
    for file in list_images(folder):
        relative = file.relative_to(folder)
        levels = list(relative.parts[:-1])
        split = SPLIT_NAMES.get(levels[0].lower()) if levels else None
        if split is not None:
            levels = levels[1:]
        rows.append({"path": relative.as_posix(), "label": levels[0] if levels else None, "split": split})
    table = pd.DataFrame(rows, dtype=object)
    beside = table.loc[table["label"].isna(), "path"].tolist()
    if 0 < len(beside) < len(table):
        raise InputError(f"{folder}: {beside[0]} lies beside the class folders; move it into one, or remove it.")
    return table.dropna(axis="columns", how="all")
