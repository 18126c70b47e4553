from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tlmed.errors import InputError
from tlmed.models.weight_imports import import_weights, list_weights
from tlmed.models.weight_sources import find_weights, weights_from_stage

HUB = "hub:timm/vit_tiny.augreg_in21k"


def _weights(path: Path, value: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"head.weight": np.full((2, 3), value, dtype=np.float32)}, path)
    return path


def _json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_imports_no_torch() -> None:
    code = "import sys, tlmed.models.weight_sources; print({'torch', 'timm', 'lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_none_is_none(tmp_path: Path) -> None:
    assert find_weights("none", store_root=tmp_path) is None


def test_file_with_and_without_card(tmp_path: Path) -> None:
    path = _weights(tmp_path / "generic.safetensors")
    bare = find_weights(f"file:{path}", store_root=tmp_path)
    _json(
        tmp_path / "generic.card.json", {"licence": "MIT", "mean": [0.5], "std": [0.1, 0.2, 0.3], "origin": "somewhere"}
    )
    described = find_weights(f"file:{path}", store_root=tmp_path)
    assert bare is not None and described is not None
    assert (bare.kind, bare.path, bare.digest, bare.licence, bare.mean) == ("file", path, _sha256(path), None, None)
    assert (described.licence, described.mean, described.std) == ("MIT", (0.5,), (0.1, 0.2, 0.3))
    assert described.card() == {
        "spec": "file:generic.safetensors",
        "kind": "file",
        "digest": _sha256(path),
        "licence": "MIT",
        "mean": [0.5],
        "std": [0.1, 0.2, 0.3],
        "origin": "somewhere",
        "revision": None,
        "gated": False,
    }


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"license": "MIT"}, "unknown key 'license'. Did you mean 'licence'"),
        ({"mean": [0.1, 0.2]}, "mean takes one number or three"),
        ({"std": [0.0]}, "std takes one number or three, positive"),
        ({"mean": "0.5"}, "mean takes one number or three"),
        ({"digest": "0" * 64}, "does not have the digest"),
        ({"licence": ["MIT"]}, "licence must be text"),
        ([1], "must hold a JSON object"),
    ],
)
def test_card_that_does_not_fit(tmp_path: Path, card: object, message: str) -> None:
    path = _weights(tmp_path / "generic.safetensors")
    _json(tmp_path / "generic.card.json", card)
    with pytest.raises(InputError, match=message):
        find_weights(f"file:{path}", store_root=tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("file:{folder}/none.safetensors", "is not there or not a file"),
        ("file:{folder}/readme.txt", "must end in one of .safetensors"),
        ("bundle:{folder}", "bundle.json is not there"),
        ("stage:related", "a stage cannot be used here"),
        ("web:model", "write none, file:PATH"),
        ("hub:timm/model", "`tlmed weights pull hub:timm/model --store .* import FILE --as hub:timm/model --store"),
        ("hub:../../model", "an id has letters"),
        ("hub:a--b", "an id has letters"),
        ("hub:", "an id has letters"),
        ("hub:a/b#sha256:123", "an id has letters"),
    ],
)
def test_says_what_cannot_be_found(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "readme.txt").write_text("text", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        find_weights(spec.format(folder=tmp_path), store_root=tmp_path)


def test_card_that_is_not_json(tmp_path: Path) -> None:
    path = _weights(tmp_path / "generic.safetensors")
    (tmp_path / "generic.card.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="is not JSON"):
        find_weights(f"file:{path}", store_root=tmp_path)


def test_bundle(tmp_path: Path) -> None:
    path = _weights(tmp_path / "bundle" / "model.safetensors")
    licences = [{"what": "starting weights", "licence": "MIT"}, {"what": "images", "licence": None}]
    card = {"name": "ct", "mean": [0.4], "std": [0.2], "licences": licences, "digest": _sha256(path)}
    _json(path.with_name("bundle.json"), card)
    source = find_weights(f"bundle:{path.parent}", store_root=tmp_path)
    assert source is not None
    assert (source.kind, source.path, source.digest) == ("bundle", path, _sha256(path))
    assert (source.licence, source.mean, source.std, source.origin) == (
        "starting weights: MIT",
        (0.4,),
        (0.2,),
        "bundle ct",
    )
    _weights(path, value=2.0)
    with pytest.raises(InputError, match=r"does not have the digest in bundle\.json"):
        find_weights(f"bundle:{path.parent}", store_root=tmp_path)


def test_bundle_of_several_networks_is_no_start(tmp_path: Path) -> None:
    path = _weights(tmp_path / "bundle" / "model.safetensors")
    members = [{"digest": _sha256(path)}, {"digest": "other"}]
    _json(path.with_name("bundle.json"), {"name": "ct", "members": members})
    with pytest.raises(InputError, match=r"mean of 2 networks.*bundle/model-1\.safetensors"):
        find_weights(f"bundle:{path.parent}", store_root=tmp_path)
    _json(path.with_name("bundle.json"), {"name": "ct", "members": members[:1]})
    source = find_weights(f"bundle:{path.parent}", store_root=tmp_path)
    assert source is not None and source.digest == _sha256(path)
    _json(path.with_name("bundle.json"), {"name": "ct", "members": members[1:]})
    with pytest.raises(InputError, match=r"does not have the digest in bundle\.json"):
        find_weights(f"bundle:{path.parent}", store_root=tmp_path)


def test_stage_carries_the_licence_of_what_its_chain_started_from(tmp_path: Path) -> None:
    for key, card in {
        "aaaa": {"parent": None, "weights": {"licence": "MIT"}},
        "bbbb": {"parent": "aaaa", "weights": None, "mean": [0.5], "std": [0.2], "digest": "recorded"},
        "cccc": {"parent": "gone", "weights": None},
    }.items():
        _weights(tmp_path / key / "model.safetensors")
        _json(tmp_path / key / "stage.json", card)
    first, second, orphan = (weights_from_stage(tmp_path / key, f"stage:{key}") for key in ("aaaa", "bbbb", "cccc"))
    assert (first.licence, first.digest) == ("MIT", _sha256(tmp_path / "aaaa" / "model.safetensors"))
    assert (second.kind, second.licence, second.digest, second.mean, second.std) == (
        "stage",
        "MIT",
        "recorded",
        (0.5,),
        (0.2,),
    )
    assert orphan.licence is None
    with pytest.raises(InputError, match=r"stage\.json is not there"):
        weights_from_stage(tmp_path / "none", "stage:none")


def test_import_and_find(tmp_path: Path) -> None:
    file, store = _weights(tmp_path / "download.safetensors"), tmp_path / "store"
    imported = import_weights(file, HUB, store, licence="Apache-2.0", mean=(0.5,), std=(0.5,))
    assert imported.path == store / "weights" / "timm--vit_tiny.augreg_in21k" / "model.safetensors"
    assert imported.path.read_bytes() == file.read_bytes()
    assert (imported.licence, imported.mean, imported.origin) == ("Apache-2.0", (0.5,), "download.safetensors")
    assert find_weights(HUB, store_root=store) == imported
    assert list_weights(store) == [imported]
    assert list_weights(tmp_path / "empty") == []


def test_import_again_updates_the_card_but_never_other_weights(tmp_path: Path) -> None:
    store = tmp_path / "store"
    import_weights(_weights(tmp_path / "a.safetensors"), HUB, store)
    assert import_weights(tmp_path / "a.safetensors", HUB, store, licence="MIT").licence == "MIT"
    with pytest.raises(InputError, match="other weights are in the store under this name"):
        import_weights(_weights(tmp_path / "b.safetensors", value=2.0), HUB, store)
    assert [source.licence for source in list_weights(store)] == ["MIT"]


def test_import_converts_pytorch_files(tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.fc.weight": torch.ones(2, 3, dtype=torch.float16)}}, tmp_path / "model.pth")
    imported = import_weights(tmp_path / "model.pth", HUB, tmp_path / "store")
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(imported.path)["fc.weight"], np.ones((2, 3), dtype=np.float32))


def test_import_refuses_what_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="is not a safetensors file"):
        import_weights(tmp_path / "text.safetensors", HUB, tmp_path / "store")
    with pytest.raises(InputError, match="write hub:ID"):
        import_weights(_weights(tmp_path / "a.safetensors"), "timm/vit", tmp_path / "store")
    with pytest.raises(InputError, match="is not there"):
        import_weights(tmp_path / "none.safetensors", HUB, tmp_path / "store")
    assert list_weights(tmp_path / "store") == []


def test_import_of_a_known_revision(tmp_path: Path) -> None:
    file, commit = _weights(tmp_path / "a.safetensors"), "c" * 40
    imported = import_weights(file, f"{HUB}@{commit}", tmp_path / "store")
    assert imported.revision == commit
    assert imported.pinned == f"{HUB}@{commit}#sha256:{_sha256(file)}"
    assert find_weights(HUB, store_root=tmp_path / "store") is not None
    with pytest.raises(InputError, match="full commit hash"):
        import_weights(file, f"{HUB}@main", tmp_path / "store")
    with pytest.raises(InputError, match="not the pinned one"):
        import_weights(file, f"{HUB}#sha256:{'0' * 64}", tmp_path / "store")


def test_a_digest_finds_the_same_bytes_whatever_their_revision(tmp_path: Path) -> None:
    imported = import_weights(_weights(tmp_path / "a.safetensors"), HUB, tmp_path / "store")
    pinned = f"{HUB}@{'c' * 40}#sha256:{imported.digest}"
    found = find_weights(pinned, store_root=tmp_path / "store")
    assert found is not None
    assert (found.path, found.pinned) == (imported.path, pinned)
    with pytest.raises(InputError, match="not in the store"):
        find_weights(f"{HUB}@{'c' * 40}", store_root=tmp_path / "store")


def test_imported_file_that_was_changed(tmp_path: Path) -> None:
    imported = import_weights(_weights(tmp_path / "a.safetensors"), HUB, tmp_path / "store")
    _weights(imported.path, value=3.0)
    with pytest.raises(InputError, match="does not have the digest"):
        find_weights(HUB, store_root=tmp_path / "store")
