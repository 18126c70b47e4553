from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file, save

from tests.fake_hub import FIRST, SECOND, FakeHub
from tlmed.errors import InputError
from tlmed.models import hub_client
from tlmed.models.classifier import create_classifier
from tlmed.models.hub import pull_weights, warn_of_licence
from tlmed.models.licences import licence_concern
from tlmed.models.weight_imports import list_weights
from tlmed.models.weight_sources import WeightSource, find_weights, parse_hub_name
from tlmed.models.weights import load_weights
from tlmed.recipe.model import BackboneSettings, ImageSettings
from tlmed.runtime import progress
from tlmed.runtime.stopping import Stopped

NAME = "timm/test_resnet.r160_in1k"
CONFIG = {"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}}


def weights(value: float = 1.0) -> bytes:
    return save({"conv.weight": np.full((64, 64), value, dtype=np.float32)})


def pull(spec: str, store: Path) -> WeightSource:
    return pull_weights(parse_hub_name(spec), store)


def assert_nothing_stored(store: Path) -> None:
    assert [path for path in store.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert list_weights(store) == []


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits a second before it tries again."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_a_pulled_network_loads_into_a_backbone(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    published = timm.create_model("test_resnet", num_classes=7).state_dict()
    content = save({name: value.numpy() for name, value in published.items()})
    files = {"model.safetensors": content, "pytorch_model.bin": b"", "config.json": json.dumps(CONFIG).encode()}
    hub.add(NAME, files, card={"license": "apache-2.0"})
    with caplog.at_level(logging.INFO):
        source = pull(f"hub:{NAME}", tmp_path)
    assert source.path.read_bytes() == content
    assert source.digest == hashlib.sha256(content).hexdigest()
    assert (source.licence, source.mean, source.std) == ("apache-2.0", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    assert (source.revision, source.gated) == (FIRST, False)
    assert source.pinned == f"hub:{NAME}@{FIRST}#sha256:{source.digest}"
    assert source.card()["spec"] == f"hub:{NAME}"
    classifier = create_classifier(
        BackboneSettings(name="test_resnet"), ImageSettings(size=32, mode="rgb"), 2, mean=None, std=None
    )
    report = load_weights(classifier, source)
    assert set(report.unmatched) == {"head.weight", "head.bias"}
    for name, value in classifier.backbone.state_dict().items():
        torch.testing.assert_close(value, published[name])
    # The token went to the hub, and nowhere else.
    assert "Bearer hf_secretsecret" in hub.tokens
    assert {path.name for path in source.path.parent.iterdir()} == {"model.safetensors", "model.card.json"}
    assert all(b"secretsecret" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "secretsecret" not in caplog.text
    assert not any(".bin" in path for _, path in hub.asked)


def test_what_is_in_the_store_is_not_asked_for_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(NAME, {"model.safetensors": weights()})
    first = pull("hub:test_resnet.r160_in1k", tmp_path)  # timm's, without its owner
    num_asked = len(hub.asked)
    assert pull(f"hub:{NAME}", tmp_path).path == first.path
    assert pull(f"hub:{NAME}@{FIRST}", tmp_path).path == first.path
    assert pull(f"hub:{NAME}@{FIRST[:8]}", tmp_path).path == first.path
    assert find_weights(f"hub:{NAME}#sha256:{first.digest}", store_root=tmp_path) is not None
    assert len(hub.asked) == num_asked > 0


@pytest.mark.parametrize(
    ("files", "card", "expected"),
    [
        ({"preprocessor_config.json": {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}}, {}, (0.5, 0.25, None)),
        ({"config.json": {"mean": [0.1], "std": [0.2], "license": "mit"}}, {}, (0.1, 0.2, "mit")),
        (
            {"config.json": {"hidden_size": 3}},
            {"license": "other", "license_name": "lab-terms"},
            (None, None, "lab-terms"),
        ),
        ({"config.json": [1]}, {"license": ["mit", "apache-2.0"]}, (None, None, "mit, apache-2.0")),
        ({}, {"license": "other"}, (None, None, "other")),
    ],
)
def test_what_is_known_about_them(
    hub: FakeHub, tmp_path: Path, files: dict[str, Any], card: dict[str, Any], expected: tuple[object, ...]
) -> None:
    hub.add(
        "lab/net", {"net.safetensors": weights()} | {key: json.dumps(v).encode() for key, v in files.items()}, card=card
    )
    source = pull("hub:lab/net", tmp_path)
    assert (source.mean and source.mean[0], source.std and source.std[0], source.licence) == expected


def test_a_pickle_is_converted(hub: FakeHub, tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"conv.weight": torch.full((2, 3), 0.5)}, stream)
    hub.add("lab/net", {"pytorch_model.bin": stream.getvalue()})
    source = pull("hub:lab/net", tmp_path)
    np.testing.assert_array_equal(load_file(source.path)["conv.weight"], np.full((2, 3), 0.5, dtype=np.float32))
    assert {path.name for path in source.path.parent.iterdir()} == {"model.safetensors", "model.card.json"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model-00001-of-00002.safetensors": b"", "model.safetensors.index.json": b"{}"}, "sharded .* not supported"),
        ({"a.safetensors": b"", "b.safetensors": b""}, r"several files of weights \(a.safetensors, b.safetensors\)"),
        ({"README.md": b""}, "no file of weights that tlmed knows"),
        ({"model.safetensors": b"no weights"}, "is not a safetensors file"),
        ({"pytorch_model.bin": b"no weights"}, "is damaged or holds more than tensors"),
        ({"model.safetensors": b"", "config.json": b"{"}, "config.json is not JSON"),
        ({"model.safetensors": b"", "config.json": b" " * 1_000_001}, "too large"),
        ({"model.safetensors": b"", "config.json": b'{"mean": [1, 2], "std": [1]}'}, "mean takes one number or three"),
    ],
)
def test_repositories_without_usable_weights(
    hub: FakeHub, tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    hub.add("lab/net", files)
    with pytest.raises(InputError, match=message):
        pull("hub:lab/net", tmp_path)
    assert_nothing_stored(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hub:lab/none", "no such repository, or it is private"),
        ("hub:lab/net@v9", "has no revision 'v9'"),
        ("hub:lab/net/part", "hub:OWNER/NAME"),
        ("hub:lab/closed", "accept them at https://huggingface.co/lab/closed"),
        (f"hub:lab/net#sha256:{'0' * 64}", "not the pinned one"),
    ],
)
def test_names_that_cannot_be_had(hub: FakeHub, tmp_path: Path, spec: str, message: str) -> None:
    hub.add("lab/net", {"model.safetensors": weights()})
    hub.add("lab/closed", {"model.safetensors": weights()}, gated="manual", opens=False)
    with pytest.raises(InputError, match=message):
        pull(spec, tmp_path)
    assert_nothing_stored(tmp_path)


def test_a_hub_that_fails(hub: FakeHub, tmp_path: Path) -> None:
    hub.status = 418
    with pytest.raises(InputError, match="HTTP status 418"):
        pull("hub:lab/net", tmp_path)


def test_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InputError, match=r"cannot be reached; on a machine with network .* weights pack FOLDER hub:a/b"
    ):
        pull("hub:a/b", tmp_path)  # nobody listens where tests look for a hub
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE forbids the network; .*`tlmed weights import FOLDER`"):
        pull("hub:a/b", tmp_path)
    assert not (tmp_path / "weights").exists()


@pytest.mark.usefixtures("no_waiting")
def test_a_broken_connection_is_taken_up_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("lab/net", {"model.safetensors": weights()})
    hub.num_breaks = 1
    assert pull("hub:lab/net", tmp_path).path.read_bytes() == weights()
    assert [method for method, path in hub.asked if path.endswith("model.safetensors")] == ["HEAD", "GET", "GET"]


@pytest.mark.usefixtures("no_waiting")
def test_a_connection_that_stays_broken_leaves_nothing(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("lab/net", {"model.safetensors": weights()})
    hub.num_breaks, hub.status_after_break = 1, 418
    with pytest.raises(InputError, match="HTTP status 418"):
        pull("hub:lab/net", tmp_path)
    assert_nothing_stored(tmp_path)
    hub.status = None
    assert pull("hub:lab/net", tmp_path).path.read_bytes() == weights()


def test_a_damaged_download_leaves_nothing(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("lab/net", {"model.safetensors": weights()})
    hub.damages = True
    with pytest.raises(InputError, match="arrived damaged"):
        pull("hub:lab/net", tmp_path)
    assert_nothing_stored(tmp_path)


def test_a_stop_leaves_nothing(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping:
        def advance(self, n: int = 1) -> None:
            raise Stopped(signal.SIGTERM)

        def describe(self, text: str) -> None:
            pass

    class Track:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> Stopping:
            return Stopping()

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(hub_client, "_MEGABYTE", 1000)
    monkeypatch.setattr(hub_client, "track", Track)
    hub.add("lab/net", {"model.safetensors": weights()})
    with pytest.raises(Stopped):
        pull("hub:lab/net", tmp_path)
    assert_nothing_stored(tmp_path)


def test_a_full_disk_is_not_the_hubs_fault(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    hub.add("lab/net", {"model.safetensors": weights()})
    with pytest.raises(OSError, match="No space left"):
        pull("hub:lab/net", tmp_path)
    assert_nothing_stored(tmp_path)


def test_progress_with_time_left(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BEFORE_FIRST_LINE", 0.0)
    monkeypatch.setattr(hub_client, "_MEGABYTE", 1000)
    hub.add("lab/net", {"model.safetensors": weights()})
    pull("hub:lab/net", tmp_path)
    total = len(weights()) // 1000
    assert f"downloading model.safetensors: {total}/{total} MB" in capfd.readouterr().err


def test_revisions_stay_apart(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = hub.add("lab/net", {"model.safetensors": weights(1.0)})
    old = pull("hub:lab/net@main", tmp_path)
    repository.commits[SECOND] = {"model.safetensors": weights(2.0)}
    repository.branches = {"main": SECOND}
    new = pull(f"hub:lab/net@{SECOND}", tmp_path)
    assert (old.revision, new.revision) == (FIRST, SECOND)
    assert old.digest != new.digest
    with pytest.raises(InputError, match=rf"holds 2 of this name; write one of .*hub:lab/net#sha256:{old.digest}"):
        find_weights("hub:lab/net", store_root=tmp_path)
    with pytest.raises(InputError, match="holds other bytes of this revision"):
        find_weights(f"hub:lab/net@{SECOND}#sha256:{old.digest[::-1]}", store_root=tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull("hub:lab/net@main", tmp_path).digest == old.digest  # a branch stays what it was here
    assert {source.revision for source in list_weights(tmp_path)} == {FIRST, SECOND}


def test_a_second_name_of_a_stored_revision_is_not_downloaded(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("lab/net", {"model.safetensors": weights()})
    pull(f"hub:lab/net@{FIRST}", tmp_path)
    num_files = sum("resolve" in path for _, path in hub.asked)
    assert pull("hub:lab/net@main", tmp_path).revision == FIRST
    assert sum("resolve" in path for _, path in hub.asked) == num_files
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull("hub:lab/net@main", tmp_path).revision == FIRST


@pytest.mark.parametrize(
    ("licence", "gated", "expected"),
    [
        ("apache-2.0", False, None),
        ("MIT", False, None),
        ("cc-by-4.0", False, None),
        ("bsd-3-clause", False, None),
        ("cc-by-nc-4.0", False, "commercial"),
        ("CC-BY-NC-SA-4.0", False, "commercial"),
        ("fair-noncommercial-research-license", False, "commercial"),
        ("PolyForm Non-Commercial", False, "commercial"),
        ("dinov3-research", False, "commercial"),
        (None, False, "not known"),
        ("other", False, "not known"),
        ("mit", True, "on conditions"),
        ("cc-by-nc-4.0", True, "commercial.*; .*on conditions"),
    ],
)
def test_licences_that_ask_for_thought(
    licence: str | None, gated: bool, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    concern = licence_concern(licence, gated=gated)
    source = WeightSource("hub:a/b", "hub", Path("a"), "0" * 64, licence=licence, gated=gated)
    warn_of_licence(source)
    if expected is None:
        assert concern is None
        assert caplog.records == []
    else:
        assert concern is not None and re.search(expected, concern)
        assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_gated_weights_say_so(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("lab/net", {"model.safetensors": weights()}, gated="auto", card={"license": "mit"})
    assert pull("hub:lab/net", tmp_path).gated
    (listed,) = list_weights(tmp_path)
    assert listed.card()["gated"] is True
