from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tlmed.audit.findings import Finding
from tlmed.audit.leakage import HOW_TO_MEND, FoundCopies, LeakageReport, Side, check_leakage
from tlmed.data.manifest import Manifest
from tlmed.data.sources import read_manifest
from tlmed.data.splits import complete_splits
from tlmed.errors import InputError
from tlmed.recipe.data import DataSettings
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store

_Row = tuple[str, str, str, str, str]  # path, label, group, split, digest

# Three patients and nothing wrong.
_CLEAN: list[_Row] = [
    ("a.png", "sick", "p1", "train", "A"),
    ("b.png", "well", "p2", "val", "B"),
    ("c.png", "sick", "p3", "test", "C"),
]


def _manifest(rows: list[_Row], group_column: str | None = "patient") -> Manifest:
    table = pd.DataFrame(rows, columns=["path", "label", "group", "split", "digest"])
    table = table.assign(file="/data/" + table["path"], unit=table["path"])
    return Manifest("data", Path("/data"), table, group_column)


def _settings(**values: str) -> DataSettings:
    return DataSettings.model_validate({"folder": "/data", **values})


def _check(rows: list[_Row], group_column: str | None = "patient", **settings: str) -> LeakageReport:
    """One domain, which is the target."""
    return check_leakage({"target": _manifest(rows, group_column)}, {"target": _settings(**settings)})


def _copies(*pairs: tuple[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(list(pairs), columns=["digest_1", "digest_2"], dtype=object)
    return table.assign(correlation=0.97)


def _check_copies(
    rows: list[_Row], *pairs: tuple[str, str], side: Side = "split", is_target: bool = True, **settings: str
) -> LeakageReport:
    """The target, or an earlier domain, with near-duplicates."""
    domain, copies = _manifest(rows), FoundCopies({"data": _copies(*pairs)})
    domains = (
        {"data": domain} if is_target else {"data": domain, "target": _manifest([("z", "sick", "q", "test", "Z")])}
    )
    return check_leakage(domains, dict.fromkeys(domains, _settings(**settings)), copies, side=side)


def _check_stages(earlier: Manifest, target: Manifest, /, **settings: DataSettings) -> LeakageReport:
    return check_leakage(
        {"earlier": earlier, "target": target}, {"earlier": _settings(), "target": _settings(), **settings}
    )


def _summary(report: LeakageReport) -> list[tuple[str, str, float | None]]:
    return [(finding.kind, finding.severity, finding.value) for finding in report.findings]


def _only(report: LeakageReport) -> Finding:
    assert len(report.findings) == 1
    return report.findings[0]


def _paths(report: LeakageReport, stage: str = "target") -> list[str]:
    return [str(path) for path in report.domains[stage].table["path"]]


def _dropped(report: LeakageReport) -> list[tuple[str, ...]]:
    return list(report.dropped[["stage", "path", "label", "split"]].itertuples(index=False, name=None))


def test_clean_data_are_left_alone() -> None:
    target, earlier = _manifest(_CLEAN), _manifest([("z.png", "sick", "q1", "train", "Z")])
    report = _check_stages(earlier, target)
    assert report.findings == []
    assert list(report.domains) == ["earlier", "target"]
    pd.testing.assert_frame_equal(report.domains["target"].table, target.table)
    pd.testing.assert_frame_equal(report.domains["earlier"].table, earlier.table)
    assert list(report.dropped.columns) == ["stage", "path", "label", "split", "reason"]
    assert report.dropped.empty


def test_unknown_groups_are_noted_and_not_compared() -> None:
    rows = [*_CLEAN, ("d.png", "sick", "p3", "train", "D")]
    assert _summary(_check(rows, None)) == [("groups_unknown", "note", None)]


def test_a_group_in_two_splits_is_an_error_of_the_target_and_a_warning_before_it() -> None:
    rows = [*_CLEAN, ("d.png", "sick", "p3", "train", "D")]
    finding = _only(_check(rows))
    assert (finding.kind, finding.severity, finding.value) == ("group_overlap", "error", 1)
    assert set(finding.paths) == {"c.png", "d.png"}
    assert finding.message.startswith("target: ")
    assert "p3" in finding.message
    assert "patient" in finding.message
    separate = _manifest([("z.png", "sick", "q", "test", "Z")])
    assert _summary(_check_stages(_manifest(rows), separate)) == [("group_overlap", "warning", 1)]


def test_patients_on_both_sides_are_named_where_the_recipe_groups_by_something_finer() -> None:
    domain = _manifest([*_CLEAN, ("d.png", "sick", "d.png", "train", "D")], group_column="path")
    table = domain.table.assign(group=domain.table["path"], patient=["p1", "p2", "p3", "p3"])

    def found(group_column: str, table: pd.DataFrame) -> list[tuple[str, str, float | None]]:
        data = Manifest("data", Path("/data"), table, group_column)
        return _summary(check_leakage({"target": data}, {"target": _settings()}))

    assert found("path", table) == [("coarser_group", "warning", 1.0)]
    assert found("path", table.assign(patient=["p1", "p2", "p3", "p1"])) == []
    assert found("group", table) == []


def test_images_of_a_group_that_is_held_out_leave_training() -> None:
    rows = [
        ("train.png", "sick", "p1", "train", "A"),
        ("val.png", "sick", "p1", "val", "B"),
        ("test.png", "sick", "p1", "test", "C"),
        ("other train.png", "well", "p2", "train", "D"),
        ("other val.png", "well", "p2", "val", "E"),
        ("safe.png", "well", "p3", "train", "F"),
    ]
    report = _check(rows, on_leak="drop_train")
    assert _summary(report) == [("group_overlap", "note", 2)]
    assert _paths(report) == ["test.png", "other val.png", "safe.png"]
    assert set(_dropped(report)) == {
        ("target", "train.png", "sick", "train"),
        ("target", "val.png", "sick", "val"),
        ("target", "other train.png", "well", "train"),
    }


def test_identical_files_across_splits_are_grave_and_within_one_a_note() -> None:
    rows = [
        *_CLEAN,
        ("a2.png", "sick", "p1", "train", "A"),
        ("c2.png", "sick", "p4", "train", "C"),
        ("c3.png", "sick", "p4", "train", "C"),
    ]
    report = _check(rows)
    assert _summary(report) == [("duplicate", "error", 1), ("duplicate", "note", 1)]
    assert [set(finding.paths) for finding in report.findings] == [{"c.png", "c2.png", "c3.png"}, {"a.png", "a2.png"}]
    assert _paths(report) == [row[0] for row in rows]
    separate = _manifest([("z.png", "sick", "q", "test", "Z")])
    assert _summary(_check_stages(_manifest(rows), separate))[0] == ("duplicate", "warning", 1)


def test_of_identical_files_the_one_in_test_stays_before_val_before_train() -> None:
    rows = [
        ("1.png", "sick", "p1", "train", "A"),
        ("2.png", "sick", "p2", "val", "A"),
        ("3.png", "sick", "p3", "test", "A"),
        ("4.png", "well", "p4", "train", "B"),
        ("5.png", "well", "p5", "val", "B"),
        ("7.png", "well", "p6", "train", "C"),
        ("6.png", "well", "p6", "train", "C"),
        ("8.png", "sick", "p7", "train", "D"),
    ]
    report = _check(rows, duplicates="drop")
    assert _summary(report) == [("duplicate", "note", 2), ("duplicate", "note", 1)]
    assert _paths(report) == ["3.png", "5.png", "6.png", "8.png"]
    assert {row[1:] for row in _dropped(report)} == {
        ("1.png", "sick", "train"),
        ("2.png", "sick", "val"),
        ("4.png", "well", "train"),
        ("7.png", "well", "train"),
    }
    assert report.domains["target"].table.index.tolist() == [0, 1, 2, 3]


def test_drop_train_mends_identical_files_across_splits_alone() -> None:
    rows = [*_CLEAN, ("a2.png", "sick", "p1", "train", "A"), ("c2.png", "sick", "p4", "train", "C")]
    report = _check(rows, on_leak="drop_train")
    assert _summary(report) == [("duplicate", "note", 1), ("duplicate", "note", 1)]
    assert _dropped(report) == [("target", "c2.png", "sick", "train")]


def test_drop_train_leaves_the_test_rows_as_they_are() -> None:
    rows = [*_CLEAN, ("c2.png", "sick", "p3", "test", "C"), ("c3.png", "sick", "p4", "train", "C")]
    report = _check(rows, on_leak="drop_train")
    assert _dropped(report) == [("target", "c3.png", "sick", "train")]


def test_identical_files_with_different_labels_are_grave() -> None:
    rows = [*_CLEAN, ("a2.png", "well", "p1", "train", "A")]
    report = _check(rows)
    assert _summary(report) == [("label_conflict", "error", 1), ("duplicate", "note", 1)]
    assert set(report.findings[0].paths) == {"a.png", "a2.png"}
    separate = _manifest([("z.png", "sick", "q", "test", "Z")])
    assert _summary(_check_stages(_manifest(rows), separate))[0] == ("label_conflict", "warning", 1)
    assert _summary(_check(rows, on_leak="drop_train"))[0] == ("label_conflict", "error", 1)


def test_drop_train_takes_contradicting_files_out_of_training_and_leaves_a_warning() -> None:
    rows = [*_CLEAN, ("c2.png", "well", "p4", "train", "C")]
    assert _summary(_check(rows)) == [("label_conflict", "error", 1), ("duplicate", "error", 1)]
    report = _check(rows, on_leak="drop_train")
    assert _summary(report) == [("label_conflict", "warning", 1), ("duplicate", "note", 1)]
    assert report.findings[0].message.endswith("across splits (c.png, c2.png); taken out of training")
    assert _dropped(report) == [("target", "c2.png", "well", "train")]
    assert _summary(_check(rows, on_leak="drop_train", duplicates="drop")) == [("label_conflict", "note", 1)]


def test_drop_train_leaves_what_contradicts_itself_within_test() -> None:
    rows = [*_CLEAN, ("c2.png", "well", "p3", "test", "C"), ("c3.png", "sick", "p4", "train", "C")]
    report = _check(rows, on_leak="drop_train")
    assert [(one.kind, one.severity, set(one.paths)) for one in report.findings] == [
        ("label_conflict", "warning", {"c.png", "c2.png", "c3.png"}),
        ("label_conflict", "error", {"c.png", "c2.png"}),
        ("duplicate", "note", {"c.png", "c2.png", "c3.png"}),
    ]
    assert _paths(report) == ["a.png", "b.png", "c.png", "c2.png"]


def test_under_folds_of_a_contradicting_file_one_is_kept() -> None:
    rows = [*_FOLDED, ("7.png", "well", "p5", "train", "A")]
    report = _check_copies(rows, side="group", on_leak="drop_train")
    assert _summary(report) == [("label_conflict", "warning", 1), ("duplicate", "note", 1)]
    assert "across groups" in report.findings[0].message
    assert {path for _, path, _, _ in _dropped(report)} == {"3.png", "7.png"}


def test_contradicting_files_have_both_ways_named_that_mend_them() -> None:
    assert "`duplicates: drop`" in HOW_TO_MEND["label_conflict"]
    assert "`on_leak: drop_train`" in HOW_TO_MEND["label_conflict"]


@pytest.mark.parametrize(("source", "said"), [(None, "no column 'source'"), (["x", None, "y"], "is empty in 1 of 3")])
def test_a_target_without_the_column_that_divides_it_is_refused(source: list[str] | None, said: str) -> None:
    manifest = _manifest(_CLEAN)
    if source is not None:
        manifest = manifest.with_table(manifest.table.assign(source=source))
    with pytest.raises(InputError, match=said):
        check_leakage({"data": manifest}, {"data": _settings()}, side="source")


def test_a_contradicting_set_is_dropped_whole_even_from_test() -> None:
    rows = [
        *_CLEAN,
        ("c2.png", "well", "p3", "test", "C"),
        ("c3.png", "sick", "p3", "test", "C"),
    ]
    report = _check(rows, duplicates="drop")
    assert _summary(report) == [("label_conflict", "note", 1)]
    assert _paths(report) == ["a.png", "b.png"]
    assert {path for _, path, _, _ in _dropped(report)} == {"c.png", "c2.png", "c3.png"}


_WITH_COPIES: list[_Row] = [
    *_CLEAN,
    ("d.png", "sick", "p4", "train", "D"),
    ("e.png", "well", "p5", "test", "E"),
]


def test_near_duplicates_are_weighed_by_split_and_label() -> None:
    assert _check_copies(_WITH_COPIES).findings == []
    assert _summary(_check_copies(_WITH_COPIES, ("A", "C"))) == [("near_duplicate", "error", 1)]
    assert _summary(_check_copies(_WITH_COPIES, ("A", "C"), is_target=False)) == [("near_duplicate", "warning", 1)]
    assert _summary(_check_copies(_WITH_COPIES, ("A", "D"))) == [("near_duplicate", "note", 1)]
    contradicting = [("label_conflict", "error", 1.0), ("near_duplicate", "error", 1.0)]
    assert _summary(_check_copies(_WITH_COPIES, ("A", "E"))) == contradicting
    assert _summary(_check_copies(_WITH_COPIES, ("C", "E"))) == [
        ("label_conflict", "warning", 1),
        ("near_duplicate", "note", 1),
    ]
    finding = _check_copies(_WITH_COPIES, ("C", "A"), ("D", "C")).findings[0]
    assert finding.paths == ("a.png", "c.png", "d.png")
    assert finding.details == {
        "stage": "data",
        "pairs": [
            {"paths": ["a.png", "c.png"], "correlation": 0.97},
            {"paths": ["c.png", "d.png"], "correlation": 0.97},
        ],
    }


def test_without_labels_nothing_contradicts() -> None:
    rows = [("a", None, "p1", "train", "A"), ("b", None, "p2", "test", "B")]
    report = _check_copies(rows, ("A", "B"))  # type: ignore[arg-type]
    assert _summary(report) == [("near_duplicate", "error", 1)]


def test_drop_train_takes_the_copies_of_held_out_images_out_of_training() -> None:
    pairs = [("A", "C"), ("B", "C"), ("D", "A"), ("A", "E")]
    report = _check_copies(_WITH_COPIES, *pairs, on_leak="drop_train")
    assert _summary(report) == [
        ("label_conflict", "warning", 2),  # b.png and c.png, a.png and e.png: one of the labels is wrong still
        ("near_duplicate", "note", 3),
        ("near_duplicate", "note", 1),
    ]
    assert _paths(report, "data") == ["c.png", "d.png", "e.png"]
    assert {row[1] for row in _dropped(report)} == {"a.png", "b.png"}


def test_contradicting_near_duplicates_are_dropped_whole_like_identical_files() -> None:
    report = _check_copies(_WITH_COPIES, ("A", "E"), ("C", "E"), ("D", "C"), duplicates="drop")
    assert _summary(report) == [("label_conflict", "note", 2)]
    assert _paths(report, "data") == ["b.png", "d.png"]


_FOLDED: list[_Row] = [
    ("1.png", "sick", "p1", "train", "A"),
    ("2.png", "sick", "p1", "train", "A"),
    ("3.png", "sick", "p2", "train", "A"),
    ("4.png", "well", "p3", "train", "B"),
    ("5.png", "well", "p4", "train", "C"),
    ("6.png", "well", "p4", "train", "D"),
]


def test_under_folds_what_two_groups_share_is_grave() -> None:
    report = _check_copies(_FOLDED, ("B", "C"), ("C", "D"), side="group")
    assert _summary(report) == [
        ("duplicate", "error", 1),
        ("near_duplicate", "error", 1),
        ("near_duplicate", "note", 1),
    ]
    assert "across groups" in report.findings[0].message
    mended = _check_copies(_FOLDED, ("B", "C"), ("C", "D"), side="group", on_leak="drop_train")
    assert {one.severity for one in mended.findings} == {"note"}
    assert _paths(mended, "data") == ["1.png", "2.png", "4.png", "6.png"]  # 5 has a copy in p3, which comes first
    assert check_leakage(mended.domains, {"data": _settings()}, side="group").findings[0].severity == "note"


def test_with_sources_left_out_in_turn_what_two_sources_share_is_grave() -> None:
    manifest = _manifest(_FOLDED)
    manifest = manifest.with_table(manifest.table.assign(source=["x", "x", "x", "x", "x", "y"]))
    copies = FoundCopies({"data": _copies(("B", "C"), ("C", "D"))})
    report = check_leakage({"data": manifest}, {"data": _settings()}, copies, side="source")
    assert _summary(report) == [
        ("duplicate", "note", 1),
        ("group_overlap", "error", 1),
        ("near_duplicate", "error", 1),
        ("near_duplicate", "note", 1),
    ]


def test_under_folds_an_earlier_stage_must_hold_nothing_of_the_target() -> None:
    domains = {"earlier": _manifest([("copy.png", "x", "q", "train", "Z")]), "target": _manifest(_FOLDED[3:])}
    copies = FoundCopies({}, {"earlier": _copies(("B", "Z"))})
    settings = dict.fromkeys(domains, _settings())
    assert check_leakage(domains, settings, copies).findings == []  # none of the target's rows is of test
    finding = _only(check_leakage(domains, settings, copies, side="group"))
    assert (finding.kind, finding.severity, finding.paths) == ("stage_overlap", "error", ("copy.png",))
    assert finding.details == {
        "stage": "earlier",
        "target": "target",
        "target_paths": ["4.png"],
        "pairs": [{"paths": ["4.png", "copy.png"], "correlation": 0.97}],
    }


def test_test_images_that_an_earlier_stage_trains_or_validates_on_are_an_error() -> None:
    earlier = _manifest(
        [
            ("copy.png", "x", "q1", "train", "C"),
            ("same patient.png", "x", "p3", "val", "Y"),
            ("unused.png", "x", "p3", "test", "C"),
            ("of target's training.png", "x", "p1", "train", "A"),
            ("own.png", "x", "q2", "train", "Z"),
        ]
    )
    # The earlier domain has a leak of its own: copy.png and unused.png are one file.
    report = _check_stages(earlier, _manifest(_CLEAN))
    finding = next(one for one in report.findings if one.kind == "stage_overlap")
    assert finding.severity == "error"
    assert set(finding.paths) == {"copy.png", "same patient.png"}
    assert "earlier" in finding.message
    assert report.dropped.empty


@pytest.mark.parametrize("mended_by", ["earlier", "target"])
def test_drop_train_at_either_stage_keeps_test_images_out_of_the_earlier_one(mended_by: str) -> None:
    earlier = _manifest([("z.png", "x", "q2", "train", "Z"), ("copy.png", "x", "q1", "train", "C")])
    report = _check_stages(earlier, _manifest(_CLEAN), **{mended_by: _settings(on_leak="drop_train")})
    assert [(one.kind, one.severity, one.paths) for one in report.findings] == [
        ("stage_overlap", "note", ("copy.png",))
    ]
    assert _paths(report, "earlier") == ["z.png"]
    assert _paths(report) == ["a.png", "b.png", "c.png"]
    assert _dropped(report) == [("earlier", "copy.png", "x", "train")]


@pytest.mark.parametrize("column", ["study", None])
def test_ids_of_different_columns_are_not_compared_between_stages(column: str | None) -> None:
    earlier = _manifest([("z.png", "x", "p3", "train", "Z")], column)
    kinds = {finding.kind for finding in _check_stages(earlier, _manifest(_CLEAN)).findings}
    assert "stage_overlap" not in kinds


def test_every_error_has_a_way_to_mend_it_that_works() -> None:
    rows = [
        *_CLEAN,
        ("a2.png", "well", "p1", "train", "A"),
        ("c2.png", "sick", "p4", "train", "C"),
        ("d.png", "sick", "p2", "train", "D"),
    ]
    rows.append(("near.png", "sick", "p5", "train", "near C"))
    earlier = [("copy.png", "x", "q1", "train", "C")]
    domains = {"earlier": _manifest(earlier), "target": _manifest(rows)}
    copies = FoundCopies({"target": _copies(("C", "near C"))})
    found = check_leakage(domains, dict.fromkeys(domains, _settings()), copies)
    assert {one.kind for one in found.findings if one.severity == "error"} == set(HOW_TO_MEND)
    mending = _settings(duplicates="drop", on_leak="drop_train")
    mended = check_leakage(domains, dict.fromkeys(domains, mending), copies)
    assert {one.severity for one in mended.findings} == {"note"}


def _random_manifest(generator: np.random.Generator, prefix: str) -> Manifest:
    """Sixty images with all kinds of leakage; about one file in ten has contradicting labels."""
    files = generator.integers(40, size=60)
    rows = [
        (
            f"{prefix}{index}.png",
            "sick" if (file % 2 > 0) != (generator.random() < 0.05) else "well",
            f"p{generator.integers(25)}",
            str(generator.choice(["train", "val", "test"], p=[0.7, 0.15, 0.15])),
            f"digest {file}",
        )
        for index, file in enumerate(files.tolist())
    ]
    return _manifest(rows)


@pytest.mark.parametrize("seed", range(8))
def test_after_mending_nothing_is_left_to_find_and_every_row_is_kept_or_listed(seed: int) -> None:
    generator = np.random.default_rng(seed)
    domains = {"earlier": _random_manifest(generator, "e"), "target": _random_manifest(generator, "t")}
    originals = {name: domain.table.copy() for name, domain in domains.items()}
    mending = dict.fromkeys(domains, _settings(duplicates="drop", on_leak="drop_train"))
    steps = 2 * generator.integers(1, 19, size=12)  # an even step keeps the label, but for the contradicting files
    pairs = [(f"digest {file}", f"digest {(file + step) % 40}") for file, step in zip(range(12), steps, strict=True)]
    copies = FoundCopies(dict.fromkeys(domains, _copies(*pairs)), {"earlier": _copies(*pairs)})
    report = check_leakage(domains, mending, copies)
    assert {one.kind for one in report.findings} == set(HOW_TO_MEND)
    assert {one.severity for one in report.findings} == {"note"}
    left = check_leakage(report.domains, dict.fromkeys(domains, _settings()), copies).findings
    assert {(one.kind, one.severity) for one in left} <= {("near_duplicate", "note")}
    for name, original in originals.items():
        pd.testing.assert_frame_equal(domains[name].table, original)
        table, gone = report.domains[name].table, report.dropped[report.dropped["stage"] == name]
        assert sorted([*table["path"], *gone["path"]]) == sorted(original["path"])
        assert not table["digest"].duplicated().any()


def test_real_slices_lose_their_copies_and_the_official_split_of_covid_ct_has_no_patient_twice(
    tlmed_data: Path, tmp_path: Path
) -> None:
    digests = FileDigests(Store(tmp_path))
    domains = {}
    for name, folder in {"cancer": "chest_ct_cancer", "covid": "covid_ct"}.items():
        domain = read_manifest(tlmed_data / folder / "manifest.csv", name=name)
        domain = complete_splits(domain, test_fraction=None, val_fraction=0.15, seed=0, needs_test=True)
        files = [Path(file) for file in domain.table["file"]]
        domains[name] = domain.with_table(domain.table.assign(digest=digests.of(files)))
    found = check_leakage(domains, dict.fromkeys(domains, _settings()))
    # 59 sets of identical files: 22 across splits, 37 within one, of which 1 contradicts itself.
    assert _summary(found) == [
        ("groups_unknown", "note", None),
        ("label_conflict", "warning", 1),
        ("duplicate", "warning", 22),
        ("duplicate", "note", 37),
    ]
    assert domains["covid"].table["group"].nunique() == 384
    mended = check_leakage(domains, dict.fromkeys(domains, _settings(duplicates="drop")))
    assert {one.severity for one in mended.findings} == {"note"}
    assert mended.domains["cancer"].table["label"].value_counts().to_dict() == {
        "adenocarcinoma": 309,
        "squamous.cell.carcinoma": 229,
        "large.cell.carcinoma": 186,
        "normal": 66,
    }
    assert len(mended.domains["covid"].table) == 746
