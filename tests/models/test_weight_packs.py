from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.fake_hub import FIRST, FakeHub
from tlmed.errors import InputError
from tlmed.models.weight_imports import import_weights, list_weights
from tlmed.models.weight_packs import import_pack, pack_weights
from tlmed.models.weight_sources import find_weights, parse_hub_name

ONE, TWO = "hub:lab/one", "hub:lab/two"


@pytest.fixture
def pack(hub: FakeHub, tmp_path: Path) -> Path:
    """One that was pulled, one that was imported without a revision."""
    hub.add("lab/one", {"model.safetensors": save({"a": np.ones(9)})}, card={"license": "mit"}, gated="auto")
    (tmp_path / "two.safetensors").write_bytes(save({"a": np.zeros(9)}))
    import_weights(tmp_path / "two.safetensors", TWO, tmp_path / "here", licence="Apache-2.0", mean=[0.5], std=[0.25])
    names = [parse_hub_name(spec) for spec in (ONE, TWO, f"{ONE}@main")]
    assert len(pack_weights(names, tmp_path / "pack", tmp_path / "here")) == 2
    hub.status = 500
    return tmp_path / "pack"


def test_a_pack_brings_everything_over(pack: Path, tmp_path: Path) -> None:
    for _ in range(2):  # again is no harm
        import_pack(pack, tmp_path / "there")
        brought, packed = list_weights(tmp_path / "there"), list_weights(tmp_path / "here")
        assert [source.card() for source in brought] == [source.card() for source in packed]
    one, two = (find_weights(spec, store_root=tmp_path / "there") for spec in (ONE, TWO))
    assert one is not None and two is not None
    assert (one.revision, one.licence, one.gated) == (FIRST, "mit", True)
    assert (two.revision, two.licence, two.mean, two.std) == (None, "Apache-2.0", (0.5,), (0.25,))
    by_branch = find_weights(f"{ONE}@main", store_root=tmp_path / "there")
    assert by_branch is not None
    assert by_branch.path == one.path


def _flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda pack: _flip_a_byte(pack / "lab--two/model.safetensors"), "lab--two/model.safetensors: damaged"),
        (lambda pack: _flip_a_byte(pack / "lab--two/model.card.json"), "lab--two/model.card.json: damaged"),
        (
            lambda pack: (pack / f"lab--one@{FIRST}/model.safetensors").unlink(),
            "lab--one@a+/model.safetensors: missing",
        ),
        (lambda pack: (pack / "pack.json").unlink(), "not a pack"),
        (lambda pack: (pack / "pack.json").write_text("{"), "pack.json: damaged"),
        (lambda pack: (pack / "pack.json").write_text('{"format_version": 9, "weights": []}'), "newer tlmed"),
        (
            lambda pack: (pack / "pack.json").write_text(
                '{"format_version": 1, "weights": [{"name": 1, "digests": {}}]}'
            ),
            "lacks",
        ),
    ],
)
def test_a_damaged_pack_is_refused_whole(
    pack: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(pack)
    with pytest.raises(InputError, match=message):
        import_pack(pack, tmp_path / "there")
    assert list_weights(tmp_path / "there") == []


def test_a_list_cannot_lead_out_of_the_folder(pack: Path, tmp_path: Path) -> None:
    content = json.loads((pack / "pack.json").read_text(encoding="utf-8"))
    content["weights"][0]["name"] = "hub:../../elsewhere"
    (pack / "pack.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="an id has letters"):
        import_pack(pack, tmp_path / "there")


def test_other_weights_under_the_same_name_stay(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(save({"a": np.full(9, 7.0)}))
    own = import_weights(tmp_path / "other.safetensors", TWO, tmp_path / "there")
    with pytest.raises(InputError, match="other weights are in the store under this name"):
        import_pack(pack, tmp_path / "there")
    assert find_weights(TWO, store_root=tmp_path / "there") == own


def test_a_pack_is_whole_or_absent(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        pack_weights([parse_hub_name(ONE)], pack, tmp_path / "here")
    with pytest.raises(InputError, match="nothing to pack"):
        pack_weights([], tmp_path / "empty", tmp_path / "here")
    with pytest.raises(InputError, match="HTTP status 500"):
        pack_weights([parse_hub_name("hub:lab/none")], tmp_path / "failed", tmp_path / "here")
    assert {path.name for path in tmp_path.iterdir()} == {"pack", "here", "two.safetensors"}
