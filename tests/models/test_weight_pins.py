from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.fake_hub import FIRST, SECOND, FakeHub
from tlmed.errors import InputError
from tlmed.models.weight_pins import pin_weights
from tlmed.models.weight_sources import find_weights
from tlmed.recipe.load import dump_recipe, load_recipe, parse_recipe
from tlmed.recipe.recipe import Recipe, resolve_arms, resolved

ALL = ("probe", "scratch", "generic")


def content(value: float) -> bytes:
    return save({"conv.weight": np.full(8, value, dtype=np.float32)})


def recipe(weights: str = "hub:lab/net", **more: Any) -> Recipe:
    data = {"phantom": {"kind": "chest-target"}}
    written = {
        "name": "small",
        "backbone": "test_resnet",
        "weights": weights,
        "chain": [{"name": "target", "data": data}],
    }
    return resolved(parse_recipe({**written, **more}, "recipe"), device="cpu", precision="float32", workers=0)


def weights_of(pinned: Recipe) -> dict[str, str]:
    return {arm.name: arm.weights for arm in resolve_arms(pinned).values()}


def test_every_place_is_pinned_and_loading_it_again_changes_nothing(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("lab/net", {"model.safetensors": content(1.0)})
    pinned = pin_weights(recipe(), tmp_path, needed_arms=ALL)
    source = find_weights("hub:lab/net", store_root=tmp_path)
    assert source is not None
    name = f"hub:lab/net@{FIRST}#sha256:{source.digest}"
    assert pinned.weights == name
    assert weights_of(pinned) == {"probe": name, "scratch": "none", "generic": name}
    (tmp_path / "recipe.yaml").write_text(dump_recipe(pinned), encoding="utf-8")
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again == pinned
    hub.status = 500  # nothing is asked any more
    assert pin_weights(again, tmp_path, needed_arms=ALL) == pinned


def test_arms_of_their_own_weights(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("lab/one", {"model.safetensors": content(1.0)})
    hub.add("lab/two", {"model.safetensors": content(2.0)})
    arms = {"a": {"stages": ["target"]}, "b": {"stages": ["target"], "weights": "hub:lab/two"}}
    before = recipe("hub:lab/one", arms=arms)
    first = weights_of(pin_weights(before, tmp_path, needed_arms=["a"]))
    assert first["a"].startswith(f"hub:lab/one@{FIRST}#sha256:")
    assert first["b"] == "hub:lab/two"  # nobody needs it yet, so nothing was asked
    assert not any("two" in path for _, path in hub.asked)
    second = weights_of(pin_weights(before, tmp_path, needed_arms=["b"]))
    assert second["b"].startswith(f"hub:lab/two@{FIRST}#sha256:")
    assert second["a"] == first["a"]  # it is in the store


def test_a_run_keeps_its_pins_when_the_hub_moves_on(hub: FakeHub, tmp_path: Path) -> None:
    repository = hub.add("lab/net", {"model.safetensors": content(1.0)})
    earlier = pin_weights(recipe(), tmp_path / "a", needed_arms=ALL)
    repository.commits[SECOND] = {"model.safetensors": content(2.0)}
    repository.branches = {"main": SECOND}
    assert pin_weights(recipe(), tmp_path / "b", needed_arms=ALL, earlier=earlier) == earlier
    assert f"@{SECOND}#" in pin_weights(recipe(), tmp_path / "c", needed_arms=ALL).weights
    asked = pin_weights(recipe(f"hub:lab/net@{SECOND}"), tmp_path / "d", needed_arms=ALL, earlier=earlier)
    assert f"@{SECOND}#" in asked.weights  # what is written rules


def test_other_bytes_than_the_pinned_ones(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("lab/net", {"model.safetensors": content(1.0)})
    wrong = f"hub:lab/net@{FIRST}#sha256:{'0' * 64}"
    with pytest.raises(InputError, match="not the pinned one"):
        pin_weights(recipe(wrong), tmp_path, needed_arms=ALL)
    pin_weights(recipe(), tmp_path, needed_arms=ALL)
    with pytest.raises(InputError, match="holds other bytes of this revision"):
        pin_weights(recipe(wrong), tmp_path, needed_arms=ALL)


def test_a_dry_run_downloads_nothing(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("lab/net", {"model.safetensors": content(1.0)})
    with pytest.raises(InputError, match="`tlmed weights pull hub:lab/net"):
        pin_weights(recipe(), tmp_path, needed_arms=ALL, may_download=False)
    assert hub.asked == []
    assert pin_weights(recipe(), tmp_path, needed_arms=["scratch"], may_download=False).weights == "hub:lab/net"


def test_other_kinds_are_left_alone(tmp_path: Path) -> None:
    assert pin_weights(recipe("file:/nowhere.pth"), tmp_path, needed_arms=ALL) == recipe("file:/nowhere.pth")


def test_a_licence_is_warned_of_where_it_is_used(
    hub: FakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add("lab/net", {"model.safetensors": content(1.0)}, card={"license": "cc-by-nc-4.0"})
    pin_weights(recipe(), tmp_path, needed_arms=ALL)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "hub:lab/net (licence: cc-by-nc-4.0)" in warnings[0]


def test_pins_from_the_store_import_no_client() -> None:
    code = """
import sys, tempfile
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from tlmed.models.weight_imports import import_weights
from tlmed.models.weight_pins import pin_weights
from tlmed.recipe.load import parse_recipe
place = Path(tempfile.mkdtemp())
save_file({"a": np.zeros(2)}, place / "a.safetensors")
import_weights(place / "a.safetensors", "hub:lab/net", place)
data = {"phantom": {"kind": "chest-target"}}
written = {"name": "a", "backbone": "test_resnet", "weights": "hub:lab/net", "chain": [{"name": "t", "data": data}]}
assert "#sha256:" in pin_weights(parse_recipe(written, "recipe"), place, needed_arms=["generic"]).weights
print({"torch", "timm", "lightning", "huggingface_hub"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
