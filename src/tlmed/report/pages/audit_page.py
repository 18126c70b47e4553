"""The audit as one HTML page: findings, gravest first, with the pictures side by side. Nothing outside it is loaded."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from tlmed.audit.held_out import NUM_FOLDS
from tlmed.audit.leakage import HOW_TO_MEND
from tlmed.audit.shortcuts import LEAN, MIN_LOW
from tlmed.data.images import UnreadableImage, read_image
from tlmed.data.manifest import Manifest
from tlmed.recipe.model import ImageSettings
from tlmed.report.page_template import as_data, render_template

MAX_ROWS_OF_PICTURES, MAX_PICTURES_IN_A_ROW, MAX_PATHS = 12, 6, 60
_PICTURE_SIZE, _JPEG_QUALITY = 168, 85
SEVERITIES = ("error", "warning", "note")

MEANING = MappingProxyType(
    {
        "coarser_group": "Images of one patient are alike: figures from such a split say nothing about new patients.",
        "groups_unknown": "Without patients, leakage cannot be excluded.",
        "shortcuts_unknown": "That none is listed here does not mean that there is none.",
        "unreadable": "What cannot be read is neither searched for copies nor trained on.",
        "group_overlap": "A model may know the patient instead of the disease.",
        "duplicate": "A file that is learnt by heart is no test.",
        "near_duplicate": "Copies: resized, saved again, cropped, brightened or turned grey; or slices so near that "
        "they show the same.",
        "label_conflict": "The same picture cannot have two labels; one of them is wrong.",
        "stage_overlap": "What an earlier stage has seen is no test of a later one.",
        "shortcut_metadata": "The files' form says nothing about disease; a model may learn it instead.",
        "shortcut_border": "The outermost eighth on each side shows labels, frames and cropping, seldom disease.",
        "shortcut_column": "What the other columns tell of the class may be seen in the pictures too, as age is.",
        "source_confounding": "Where the classes come from different places, a model may learn the place.",
        "simple_baseline": "May see disease; what a model has to beat.",
    }
)


def audit_page(
    content: Mapping[str, Any],
    domains: Mapping[str, Manifest],
    *,
    title: str,
    value_range: tuple[float, float] | None = None,
) -> str:
    """Return the page.

    Args:
        content: of `audit.json`.
        domains: by stage, before rows were dropped.
        title: what was audited.
        value_range: of pixels deeper than 8 bits, as in `ImageSettings`.
    """
    pictures = _Pictures(
        domains, ImageSettings(size=_PICTURE_SIZE, mode="rgb", fit="letterbox", value_range=value_range)
    )
    findings = sorted(content["findings"], key=lambda finding: SEVERITIES.index(finding["severity"]))
    return render_template(
        "audit.html.j2",
        title=title,
        domains=[
            {
                "name": name,
                "num_images": len(domain.table),
                "num_groups": domain.table["group"].nunique() if domain.group_column is not None else None,
                "classes": domain.table["label"].value_counts().sort_index().to_dict(),
            }
            for name, domain in domains.items()
        ],
        findings=[_entry(finding, content["waived"], pictures) for finding in findings],
        counts={severity: sum(one["severity"] == severity for one in findings) for severity in SEVERITIES},
        not_done=content["not_done"],
        num_dropped=len(content["dropped"]),
        min_low=MIN_LOW,
        lean=LEAN,
        num_folds=NUM_FOLDS,
    )


class _Pictures:
    """Images of the audited domains, small, as data URIs."""

    def __init__(self, domains: Mapping[str, Manifest], form: ImageSettings) -> None:
        self._files = {
            name: dict(zip(domain.table["path"], domain.table["file"], strict=True)) for name, domain in domains.items()
        }
        self._labels = {
            name: dict(zip(domain.table["path"], domain.table["label"], strict=True))
            for name, domain in domains.items()
        }
        self._splits = {
            name: dict(zip(domain.table["path"], domain.table["split"], strict=True))
            for name, domain in domains.items()
        }
        self._form = form

    def of(self, stage: str, path: str) -> dict[str, Any]:
        label, split = self._labels[stage][path], self._splits[stage][path]
        known = [str(value) for value in (label, split) if isinstance(value, str)]
        about = {"stage": stage, "path": path, "about": ", ".join(known)}
        try:
            pixels = read_image(Path(self._files[stage][path]), self._form)
        except UnreadableImage as error:
            return {**about, "uri": None, "reason": error.reason}
        return {**about, "uri": _data_uri(pixels), "reason": None}


def _data_uri(pixels: np.ndarray) -> str:
    """A (3, H, W) picture as a JPEG within the page."""
    stream = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return as_data(stream.getvalue())


def _entry(finding: Mapping[str, Any], waived: Sequence[str], pictures: _Pictures) -> dict[str, Any]:
    kind, details = finding["kind"], finding["details"]
    rows = _rows_of_pictures(details, pictures)
    num_rows = len(details.get("pairs") or details.get("sets") or ())
    is_error = finding["severity"] == "error"
    return {
        **finding,
        "is_waived": is_error and kind in waived,
        "meaning": MEANING.get(kind),
        "advice": HOW_TO_MEND.get(kind) if is_error else None,
        "rows": rows,
        "num_more_rows": num_rows - len(rows),
        "shown_paths": finding["paths"][:MAX_PATHS],
        "num_more_paths": max(0, len(finding["paths"]) - MAX_PATHS),
        "drawing": _drawing(finding) if "p_value" in details else None,
        "alone": list(details.get("alone", {}).items()),
    }


def _rows_of_pictures(details: Mapping[str, Any], pictures: _Pictures) -> list[dict[str, Any]]:
    """Pairs, or sets of identical files, of which the first few are shown."""
    stage = details["stage"]
    rows = []
    for pair in details.get("pairs", ())[:MAX_ROWS_OF_PICTURES]:
        first, second = pair["paths"]
        shown = [pictures.of(details.get("target", stage), first), pictures.of(stage, second)]
        same = "identical" if pair["correlation"] == 1 else f"correlation {pair['correlation']:.3f}"
        rows.append({"pictures": shown, "caption": same, "num_more": 0})
    for paths in details.get("sets", ())[:MAX_ROWS_OF_PICTURES]:
        shown = [pictures.of(stage, path) for path in paths[:MAX_PICTURES_IN_A_ROW]]
        rows.append({"pictures": shown, "caption": "identical", "num_more": len(paths) - len(shown)})
    return rows


def _drawing(finding: Mapping[str, Any]) -> dict[str, Any]:
    """Where value and limits lie on a line from 0 to 1, in per cent of its length; no limits below 0.5 (`LEAN`)."""
    value, low, high = finding["value"], finding["low"], finding["high"]
    limits = "" if low is None else f", 95 % limits {low:.3f} to {high:.3f}"
    if value < 0.5:
        low, high, limits = None, None, f", not told: {LEAN}"
    is_baseline = finding["kind"] == "simple_baseline"
    rule = "may see disease" if is_baseline else f"a warning needs a lower limit above {MIN_LOW:.2f}"
    return {
        "value": 100 * value,
        "low": None if low is None else 100 * low,
        "high": None if high is None else 100 * high,
        "text": f"AUROC {value:.3f}{limits}; chance is 0.5; {rule}",
        "has_rule": not is_baseline,
    }
