from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlmed.data.manifest import Manifest
from tlmed.report.pages.audit_page import MAX_PATHS, MAX_ROWS_OF_PICTURES, audit_page


class _Tags(HTMLParser):
    """Start tags with their attributes, and what is not closed."""

    _VOID = ("meta", "img", "line", "circle", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._VOID:
            assert self.open.pop() == tag

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.seen if tag == name]


@pytest.fixture
def domain(tmp_path: Path) -> Manifest:
    """Forty pictures, each of one grey level; the last file is damaged."""
    paths = [f"{number}<b>.png" for number in range(40)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((20, 40), 6 * number, dtype=np.uint8)).save(tmp_path / path)
    (tmp_path / paths[-1]).write_bytes(b"no image")
    table = pd.DataFrame({"path": paths, "label": "sick", "split": "train", "group": paths})
    return Manifest("data", tmp_path, table.assign(file=[str(tmp_path / path) for path in paths]), None)


def _finding(kind: str, severity: str, **values: Any) -> dict[str, Any]:
    empty = {"message": f"data: {kind}", "paths": [], "value": 1.0, "low": None, "high": None}
    return {"kind": kind, "severity": severity, **empty, "details": {"stage": "data"}, **values}


def _page(domain: Manifest, *findings: dict[str, Any], waived: tuple[str, ...] = ()) -> str:
    content = {"findings": list(findings), "waived": list(waived), "dropped": [], "not_done": ["no DICOM."]}
    return audit_page(content, {"data": domain}, title="data & more")


def _pairs(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"stage": "data", "pairs": [{"paths": list(pair), "correlation": 0.97} for pair in pairs]}


def test_pairs_stand_side_by_side_and_nothing_is_loaded_from_elsewhere(domain: Manifest) -> None:
    paths = domain.table["path"]
    page = _page(domain, _finding("near_duplicate", "error", paths=["x"], details=_pairs((paths[10], paths[40 - 2]))))
    tags = _Tags(page)
    assert tags.open == []
    pictures = tags.of("img")
    assert [picture["alt"] for picture in pictures] == [
        "10<b>.png of data, sick, train",
        "38<b>.png of data, sick, train",
    ]
    levels = []
    for picture in pictures:
        kind, _, encoded = str(picture["src"]).partition(",")
        assert kind == "data:image/jpeg;base64"
        opened = Image.open(io.BytesIO(base64.b64decode(encoded)))
        assert opened.size == (168, 168)
        levels.append(np.asarray(opened.convert("L"))[84, 84])
    np.testing.assert_allclose(levels, [60, 228], atol=2)
    assert "<b>" not in page
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags.seen}
    assert re.findall(r"https?:|url\(|@import", page) == []
    assert "prefers-color-scheme: dark" in page
    assert "on_leak: drop_train" in page


def test_the_number_of_pictures_and_paths_is_bounded(domain: Manifest) -> None:
    path = str(domain.table["path"][0])
    many = [path] * (MAX_PATHS + 5)
    page = _page(
        domain,
        _finding("near_duplicate", "note", paths=many, details=_pairs(*[(path, path)] * (MAX_ROWS_OF_PICTURES + 7))),
        _finding("duplicate", "note", details={"stage": "data", "sets": [[path] * 9] * (MAX_ROWS_OF_PICTURES + 2)}),
    )
    assert len(_Tags(page).of("img")) == MAX_ROWS_OF_PICTURES * (2 + 6)
    for more in ("And 7 more", "And 5 more", "and 3 more", "And 2 more"):
        assert more in page


def test_an_unreadable_picture_is_said_to_be_one(domain: Manifest) -> None:
    last = str(domain.table["path"].iloc[-1])
    page = _page(domain, _finding("duplicate", "error", details={"stage": "data", "sets": [[last, last]]}))
    assert page.count("cannot be read: not an image") == 2


def test_a_shortcut_is_drawn_with_its_limits(domain: Manifest) -> None:
    finding = _finding(
        "shortcut_border", "warning", value=0.75, low=0.7, high=0.8, details={"stage": "data", "p_value": 0.001}
    )
    tags = _Tags(_page(domain, finding))
    (drawing,) = tags.of("svg")
    assert drawing["role"] == "img"
    assert str(drawing["aria-label"]).startswith("AUROC 0.750, 95 % limits 0.700 to 0.800; chance is 0.5")
    lines = {line["class"]: (line["x1"], line["x2"]) for line in tags.of("line")}
    # The line runs from 20 to 520: 0.5 is at 270, 0.60 at 320, the limits at 370 and 420.
    assert {name: tuple(map(float, map(str, ends))) for name, ends in lines.items()} == {
        "axis": (20, 520),
        "chance": (270, 270),
        "limit": (320, 320),
        "interval": (370, 420),
    }
    assert [circle["cx"] for circle in tags.of("circle")] == ["395.0"]


def test_what_leans_below_chance_is_drawn_without_limits(domain: Manifest) -> None:
    finding = _finding(
        "source_confounding", "note", value=0.256, low=0.112, high=0.418, details={"stage": "data", "p_value": 0.9}
    )
    page = _page(domain, finding)
    tags = _Tags(page)
    (drawing,) = tags.of("svg")
    assert str(drawing["aria-label"]).startswith("AUROC 0.256, not told: held-out folds lean below 0.5")
    assert "interval" not in {line["class"] for line in tags.of("line")}
    assert [circle["cx"] for circle in tags.of("circle")] == ["148.0"]
    assert "0.112" not in page
    assert "0.418" not in page


def test_the_gravest_come_first_and_waivers_are_named(domain: Manifest) -> None:
    findings = [
        _finding("groups_unknown", "note"),
        _finding("shortcut_column", "warning"),
        _finding("duplicate", "error"),
    ]
    page = _page(domain, *findings, waived=("duplicate",))
    places = [
        page.index(text) for text in ("error, waived: duplicate", "warning: shortcut_column", "note: groups_unknown")
    ]
    assert places == sorted(places)
    assert "no DICOM." in page
