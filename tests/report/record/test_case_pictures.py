from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.report.conftest import Recorded
from tlmed.data.blanking import BLANK_LEVEL
from tlmed.data.manifest import Manifest
from tlmed.report.chapters.audit_chapter import audit_parts
from tlmed.report.chapters.error_gallery import error_galleries
from tlmed.report.parts import Gallery, Section
from tlmed.report.record.case_pictures import keep_pictures
from tlmed.report.record.delivered_arm import decide_delivered, most_confident_errors
from tlmed.report.record.run_record import RunRecord


def _domain(folder: Path, table: pd.DataFrame) -> Manifest:
    """Files of a manifest; the name of each says nothing of its place, and the first cannot be read."""
    generator = np.random.default_rng(0)
    files = []
    for number in range(len(table)):
        file = folder / f"{number}.png"
        Image.fromarray(generator.integers(0, 255, (45, 100), dtype=np.uint8)).save(file)
        files.append(str(file))
    Path(files[0]).write_bytes(b"no picture")
    return Manifest("target", folder, table.assign(file=files), "group")


@pytest.fixture
def record(recorded: Recorded) -> RunRecord:
    return recorded()


@pytest.fixture
def kept(tmp_path: Path, record: RunRecord) -> tuple[dict[str, Any], Path]:
    return _keep(tmp_path, record)


def _keep(folder: Path, record: RunRecord) -> tuple[dict[str, Any], Path]:
    cases = record.predictions.drop_duplicates("path")[["path", "group", "label", "unit", "split"]]
    rows = pd.concat([cases, record.splits[record.splits["split"] == "train"].assign(label="ill")], ignore_index=True)
    (folder / "images").mkdir()
    (folder / "run" / "pictures").mkdir(parents=True)
    (folder / "run" / "pictures" / "999.png").write_bytes(b"of an earlier run")
    keep_pictures(
        folder / "run",
        record.recipe,
        predictions=record.predictions,
        metrics=record.metrics,
        audit=record.audit,
        domains=dict.fromkeys(("target", "related"), _domain(folder / "images", rows)),
    )
    return json.loads((folder / "run" / "pictures.json").read_text(encoding="utf-8")), folder / "run"


def test_errors_are_the_most_confident_ones(record: RunRecord, kept: tuple[dict[str, Any], Path]) -> None:
    content, folder = kept
    delivered = decide_delivered(record.recipe.evaluation, record.predictions, record.metrics)
    # The file of the first image cannot be read.
    unreadable = record.predictions["path"].iloc[0]
    expected = [error for error in most_confident_errors(delivered, 12) if error.unit != unreadable]
    assert [(one["unit"], one["kind"], one["score"]) for one in content["errors"]] == [
        (error.unit, error.kind, round(error.score, 4)) for error in expected
    ]
    assert all(one["path"] == one["unit"] for one in content["errors"])
    kinds = [one["kind"] for one in content["errors"]]
    assert 0 < kinds.count("false positive") <= 12
    assert (folder / content["errors"][0]["file"]).is_file()


def test_files_are_small_and_named_by_counters(kept: tuple[dict[str, Any], Path]) -> None:
    content, folder = kept
    named = [one["file"] for one in content["errors"]] + [
        file for one in content["findings"] for file, _ in one["files"]
    ]
    files = sorted(path.relative_to(folder).as_posix() for path in (folder / "pictures").iterdir())
    assert files == sorted(named) == [f"pictures/{number:03d}.png" for number in range(len(named))]
    for name in files:
        with Image.open(folder / name) as picture:
            assert picture.size == (128, 128)
        assert (folder / name).stat().st_size < 16_000


def test_a_unit_is_shown_by_the_image_that_speaks_for_the_error(tmp_path: Path, recorded: Recorded) -> None:
    record = recorded()
    table = record.predictions
    by_group = table.assign(unit=table["group"])
    record = RunRecord(**{**vars(record), "predictions": by_group})
    content, _ = _keep(tmp_path, record)
    for one in content["errors"]:
        rows = by_group[(by_group["unit"] == one["unit"]) & (by_group["arm"] == "generic-related")]
        rows = rows[(rows["seed"] == 0) & (rows["split"] == "test")]
        extreme = rows["p_ill"].idxmax() if one["kind"] == "false positive" else rows["p_ill"].idxmin()
        assert one["path"] == rows.loc[extreme, "path"]


def test_findings_show_pairs_and_the_border(tmp_path: Path, record: RunRecord) -> None:
    paths = record.predictions["path"].unique()
    pairs = [{"paths": [paths[2 * n], paths[2 * n + 1]], "correlation": 0.9} for n in range(8)]
    near = {**record.audit["findings"][0], "severity": "note", "details": {"stage": "related", "pairs": pairs}}
    border = {**record.audit["findings"][1], "kind": "shortcut_border"}
    sets = {
        **near,
        "kind": "duplicate",
        "severity": "error",
        "details": {"stage": "target", "sets": [list(paths[4:8])]},
    }
    record.audit["findings"] = [near, border, record.audit["findings"][1], sets]
    content, folder = _keep(tmp_path, record)
    assert [one["index"] for one in content["findings"]] == [3, 1, 0]
    of_set, of_border, of_pairs = (one["files"] for one in content["findings"])
    assert [path for _, path in of_set] == list(paths[4:6])
    # Of three pairs the first holds what cannot be read, and is left out whole.
    assert [path for _, path in of_pairs] == list(paths[2:6])
    labels = record.predictions.drop_duplicates("path").set_index("path")["label"]
    assert {labels[path] for _, path in of_border} == {"ill", "well"}
    with Image.open(folder / of_border[0][0]) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (pixels[20:108, 20:108] == BLANK_LEVEL).all()
    assert pixels[:16].std() > 5
    shown = RunRecord(**{**vars(record), "folder": folder, "pictures": content})
    galleries = [part for part in audit_parts(shown) if isinstance(part, Gallery)]
    titles = ["Duplicate: pairs", "What the border alone looks like", "Near duplicate: pairs"]
    assert [one.title for one in galleries] == titles
    assert galleries[0].shots[1].caption == f"pair 1, right: {paths[5]}"


def test_galleries_show_both_kinds(record: RunRecord, kept: tuple[dict[str, Any], Path]) -> None:
    content, folder = kept
    delivered = decide_delivered(record.recipe.evaluation, record.predictions, record.metrics)
    parts = error_galleries(folder, content, delivered)
    assert [part.title for part in parts] == ["False positives", "False negatives"]
    first = parts[0]
    assert isinstance(first, Gallery)
    error = content["errors"][0]
    assert first.shots[0].image == (folder / error["file"]).read_bytes()
    assert f"group {error['group']}, score {error['score']:.2f}" in first.shots[0].alternative
    assert delivered.threshold in first.caption


def test_a_kind_without_errors_says_none(record: RunRecord, kept: tuple[dict[str, Any], Path]) -> None:
    content, folder = kept
    delivered = decide_delivered(record.recipe.evaluation, record.predictions, record.metrics)
    found = {**content, "errors": [one for one in content["errors"] if one["kind"] == "false positive"]}
    assert error_galleries(folder, found, delivered)[1] == Section("False negatives", ("None on test.",))
    assert "No pictures" in error_galleries(folder, None, delivered)[0].sentences[0]  # type: ignore[union-attr]


def test_errors_among_several_classes(tmp_path: Path, recorded: Recorded) -> None:
    record = recorded(sizes={"a": 12, "b": 12, "c": 12}, positive=None, seeds=(0,))
    content, folder = _keep(tmp_path, record)
    delivered = decide_delivered(record.recipe.evaluation, record.predictions, record.metrics)
    assert {one["kind"] for one in content["errors"]} == {"called a", "called b", "called c"}
    assert all(one["kind"] != f"called {one['label']}" for one in content["errors"])
    assert {part.title for part in error_galleries(folder, content, delivered)} == {
        "Wrongly called a", "Wrongly called b", "Wrongly called c",
    }  # fmt: skip
    perfect = {**content, "errors": []}
    assert "called no test unit wrongly" in error_galleries(folder, perfect, delivered)[0].sentences[0]  # type: ignore[union-attr]
