"""From files to findings: one data set, and two stages of a chain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tlmed.audit.held_out
import tlmed.audit.search
import tlmed.audit.shortcuts
from tlmed.audit.chain import AuditReport, audit_chain
from tlmed.audit.findings import Finding
from tlmed.data.manifest import Manifest
from tlmed.data.sources import read_manifest
from tlmed.recipe.data import DataSettings
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """What forests find is the matter of other tests; here they only take time."""
    for trees in ("_NUM_TREES", "_NUM_TREES_OF_A_COLUMN"):
        monkeypatch.setattr(tlmed.audit.shortcuts, trees, 4)
    monkeypatch.setattr(tlmed.audit.held_out, "NUM_RESAMPLES", 100)


def _draw(folder: Path, names: list[str], seed: int) -> None:
    generator = np.random.default_rng(seed)
    for name in names:
        coarse = Image.fromarray(generator.integers(0, 256, (12, 12), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.BICUBIC).save(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures of forty patients; one stands in test again, smaller, and one file is damaged."""
    names = [f"{index}.png" for index in range(40)]
    _draw(tmp_path, names, seed=0)
    rows = [
        (name, "well" if index % 2 else "sick", f"p{index}", "train" if index < 30 else "test")
        for index, name in enumerate(names)
    ]
    Image.open(tmp_path / "3.png").resize((70, 70)).save(tmp_path / "again.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "0.png").read_bytes()[:100])
    rows += [("again.png", "sick", "q", "test"), ("damaged.png", "sick", "r", "train")]
    pd.DataFrame(rows, columns=["path", "label", "patient", "split"]).to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path


def _read(folder: Path, store: Store) -> Manifest:
    manifest = read_manifest(folder)
    files = [Path(file) for file in manifest.table["file"]]
    return manifest.with_table(manifest.table.assign(digest=FileDigests(store).of(files)))


def _audit(folder: Path, store: Store, **settings: str) -> AuditReport:
    given = {"data": DataSettings.model_validate({"folder": folder, **settings})}
    return audit_chain({"data": _read(folder, store)}, given, store, looked_at=["data"], probed=["data"])


def _by_kind(report: AuditReport) -> dict[str, Finding]:
    return {one.kind: one for one in report.findings}


def test_one_data_set_from_files_to_findings(folder: Path) -> None:
    report = _audit(folder, Store(folder / "store"))
    found = _by_kind(report)
    assert found["near_duplicate"].severity == "error"
    assert found["near_duplicate"].paths == ("3.png", "again.png")
    assert found["label_conflict"].paths == ("3.png", "again.png")
    assert (found["unreadable"].severity, found["unreadable"].paths) == ("warning", ("damaged.png",))
    assert report.unreadable[["stage", "path", "label", "split"]].to_numpy().tolist() == [
        ["data", "damaged.png", "sick", "train"]
    ]
    assert {"shortcut_metadata", "shortcut_border", "simple_baseline"} <= set(found)
    assert found["shortcut_border"].details["num_groups"] == 40  # of 42: one is damaged, two share a picture
    assert all(one.message.startswith("data") and one.details["stage"] == "data" for one in report.findings)
    assert any("DICOM" in sentence for sentence in report.not_done)


def test_what_was_found_is_remembered_by_content(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(folder / "store")
    before = _audit(folder, store)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("looked at the pictures again")

    monkeypatch.setattr(tlmed.audit.search, "make_thumbnails", refuse)
    assert _audit(folder, store).findings == before.findings
    moved = folder.with_name(f"{folder.name}-moved")
    folder.rename(moved)
    assert _audit(moved, Store(moved / "store")).findings == before.findings
    assert before.references["audits"] == _audit(moved, Store(moved / "store")).references["audits"]
    table = pd.read_csv(moved / "manifest.csv")
    table["patient"] = table["patient"].replace("p1", "p0")
    table.to_csv(moved / "manifest.csv", index=False)
    with pytest.raises(AssertionError, match="again"):  # other groups, other folds
        _audit(moved, Store(moved / "store"))


def test_everything_that_is_mended_is_a_note_and_left_out_images_are_listed(folder: Path) -> None:
    report = _audit(folder, Store(folder / "store"), duplicates="drop", on_leak="drop_train", on_bad_image="skip")
    found = _by_kind(report)
    assert found["label_conflict"].severity == found["unreadable"].severity == "note"
    assert "near_duplicate" not in found  # both were dropped for their labels
    assert set(report.dropped["path"]) == {"3.png", "again.png"}
    assert len(report.domains["data"].table) == 40


def test_a_near_duplicate_of_a_test_image_is_found_in_an_earlier_stage(folder: Path) -> None:
    store = Store(folder / "store")
    earlier = folder / "earlier"
    earlier.mkdir()
    _draw(earlier, [f"e{index}.png" for index in range(30)], seed=1)
    Image.open(folder / "35.png").crop((0, 0, 92, 92)).save(earlier / "e5.png")
    pd.DataFrame({"path": [f"e{index}.png" for index in range(30)], "label": ["x", "y"] * 15, "split": "train"}).to_csv(
        earlier / "manifest.csv", index=False
    )
    domains = {"related": _read(earlier, store), "target": _read(folder, store)}
    settings = {name: DataSettings(folder=folder) for name in domains}
    report = audit_chain(domains, settings, store, looked_at=list(domains), probed=["target"])
    finding = _by_kind(report)["stage_overlap"]
    assert (finding.severity, finding.paths) == ("error", ("e5.png",))
    assert finding.details["target_paths"] == ["35.png"]
    assert any(sentence.startswith("related: shortcuts") for sentence in report.not_done)
    skipped = audit_chain(domains, settings, store, looked_at=["target"], probed=["target"])
    assert "stage_overlap" not in _by_kind(skipped)
    assert any(sentence.startswith("related: no search") for sentence in skipped.not_done)


def test_without_labels_it_is_said_that_shortcuts_were_not_looked_for(folder: Path) -> None:
    table = pd.read_csv(folder / "manifest.csv")
    table.drop(columns="label").to_csv(folder / "manifest.csv", index=False)
    finding = _by_kind(_audit(folder, Store(folder / "store")))["shortcuts_unknown"]
    assert finding.severity == "note"
    assert "no labels" in finding.message
