"""Small pictures of cases, kept in the run folder while the images are at hand: errors, and what the audit found.

Files are named by counters, never by what they show. A copy of a report that is shared leaves them out.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from tlmed.data.images import UnreadableImage, read_image
from tlmed.data.manifest import Manifest
from tlmed.recipe.model import ImageSettings
from tlmed.recipe.recipe import Recipe
from tlmed.report.record.delivered_arm import DeliveredArm, decide_delivered, most_confident_errors
from tlmed.runtime.store import write_durably, write_json_durably

PICTURES_FILE, PICTURES_FOLDER = "pictures.json", "pictures"
MAX_ERRORS_OF_A_KIND, MAX_FINDINGS, MAX_PAIRS = 12, 3, 3
_SIZE = 128
_NUM_COLOURS = 64  # enough for a small picture, a third of the bytes
_GRAVEST_FIRST = ("error", "warning", "note")


def keep_pictures(
    folder: Path,
    recipe: Recipe,
    *,
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    audit: Mapping[str, Any],
    domains: Mapping[str, Manifest],
) -> None:
    """Write `pictures/` and `pictures.json`; what an earlier run left there is replaced.

    The most confident errors of the delivered arm, and of the gravest findings pairs of copies, or what the border
    alone looks like. What cannot be read is left out.

    Args:
        folder: of the run.
        recipe: resolved.
        predictions: of every arm and seed, before calibration.
        metrics: content of `metrics.json`.
        audit: content of `audit.json`.
        domains: by stage, with the rows that were dropped.

    Raises:
        OSError: disk full.
    """
    shutil.rmtree(folder / PICTURES_FOLDER, ignore_errors=True)
    (folder / PICTURES_FOLDER).mkdir()
    album = _Album(folder, recipe, domains)
    delivered = decide_delivered(recipe.evaluation, predictions, metrics)
    errors = [
        {"file": album.keep(picture), **error}
        for error in _errors(delivered, predictions)
        if (picture := album.small(recipe.target.name, error["path"])) is not None
    ]
    write_json_durably(folder / PICTURES_FILE, {"errors": errors, "findings": list(_findings(album, audit, recipe))})


@dataclass
class _Album:
    """Pictures in a run folder."""

    folder: Path
    recipe: Recipe
    domains: Mapping[str, Manifest]
    num_kept: int = 0

    def small(self, stage: str, path: str, *, border_only: bool = False) -> bytes | None:
        """Return one picture as PNG, None where the image cannot be read."""
        table = self.domains[stage].table
        file = Path(table.loc[table["path"] == path, "file"].iloc[0])
        image = self.recipe.image
        form = ImageSettings(
            size=_SIZE,
            mode=image.mode,
            # Bars beside the picture are no part of its border.
            fit="squash" if border_only else "letterbox",
            value_range=image.value_range,
            blanking="border-only" if border_only else None,
        )
        try:
            pixels = read_image(file, form)
        except UnreadableImage:
            return None  # which the audit lists
        picture = Image.fromarray(pixels[0] if image.mode == "grey" else pixels.transpose(1, 2, 0))
        stream = io.BytesIO()
        picture.quantize(_NUM_COLOURS).save(stream, "PNG", optimize=True)
        return stream.getvalue()

    def keep(self, picture: bytes) -> str:
        """Write one picture; returns its place in the folder."""
        name = f"{PICTURES_FOLDER}/{self.num_kept:03d}.png"
        self.num_kept += 1
        write_durably(self.folder / name, picture)
        return name


def _errors(delivered: DeliveredArm, predictions: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Of each unit the image that speaks most for what it was called."""
    of_arm = predictions[(predictions["arm"] == delivered.name) & (predictions["split"] == "test")]
    rows = of_arm[of_arm["seed"] == of_arm["seed"].iloc[0]]
    for error in most_confident_errors(delivered, MAX_ERRORS_OF_A_KIND):
        images = rows[rows["unit"].astype(str) == error.unit]
        called = delivered.positive or (error.kind.removeprefix("called "),)
        scores = images[[f"p_{name}" for name in called]].sum(axis=1)
        shown = scores.idxmin() if error.kind == "false negative" else scores.idxmax()
        told = asdict(error)
        del told["distance"]
        yield {"path": str(images.loc[shown, "path"]), **told, "score": round(error.score, 4)}


def _findings(album: _Album, audit: Mapping[str, Any], recipe: Recipe) -> Iterator[dict[str, Any]]:
    """The gravest that pictures say something of, those of the target before others."""
    target = recipe.target.name

    def rank(numbered: tuple[int, Mapping[str, Any]]) -> tuple[int, bool, int]:
        index, finding = numbered
        return _GRAVEST_FIRST.index(finding["severity"]), finding["details"].get("stage") != target, index

    pictured = [(index, finding) for index, finding in enumerate(audit["findings"]) if _has_pictures(finding)]
    for index, finding in sorted(pictured, key=rank)[:MAX_FINDINGS]:
        if finding["kind"] == "shortcut_border":
            stage = finding["details"]["stage"]
            shown = [[(stage, path)] for path in _examples(album.domains[stage].table, 2 * MAX_PAIRS)]
        else:
            shown = [list(pair) for pair in _pairs(finding)][:MAX_PAIRS]
        border_only = finding["kind"] == "shortcut_border"
        files = []
        for together in shown:
            pictures = [album.small(stage, path, border_only=border_only) for stage, path in together]
            readable = [picture for picture in pictures if picture is not None]
            if len(readable) == len(together):
                paths = [path for _, path in together]
                files += [[album.keep(picture), path] for picture, path in zip(readable, paths, strict=True)]
        yield {"index": index, "files": files}


def _has_pictures(finding: Mapping[str, Any]) -> bool:
    details = finding["details"]
    return bool(details.get("pairs") or details.get("sets")) or finding["kind"] == "shortcut_border"


def _pairs(finding: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """(stage, path) of two images that are the same or nearly; of a set the first two."""
    details = finding["details"]
    stage = details["stage"]
    for pair in details.get("pairs", ()):
        first, second = pair["paths"]
        yield (details.get("target", stage), first), (stage, second)
    for paths in details.get("sets", ()):
        yield (stage, paths[0]), (stage, paths[1])


def _examples(table: pd.DataFrame, number: int) -> list[str]:
    """So many images, as evenly from all classes as can be, each of another group."""
    once = table.drop_duplicates("group")
    order = once.groupby("label").cumcount()
    chosen = once.assign(order=order).sort_values(["order", "label"], kind="stable").head(number)
    return list(chosen.sort_values("label", kind="stable")["path"])
