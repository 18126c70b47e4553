from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from timm.layers.patch_embed import resample_patch_embed
from torch import Tensor

from tlmed.errors import InputError
from tlmed.models.classifier import Classifier, create_classifier
from tlmed.models.weight_sources import WeightSource
from tlmed.models.weights import WeightsMismatch, load_weights, read_state, save_weights
from tlmed.recipe.model import BackboneSettings, ImageSettings

VIT = "vit_tiny_patch16_224"
REAL_DATA = os.environ.get("TLMED_DATA")


def _classifier(size: int = 32, mode: str = "rgb", num_classes: int = 2, **options: int) -> Classifier:
    settings = BackboneSettings.model_validate({"name": VIT, "depth": 2, **options})
    return create_classifier(settings, ImageSettings.model_validate({"size": size, "mode": mode}), num_classes)


def _foreign(num_classes: int = 5, **options: int) -> dict[str, Tensor]:
    torch.manual_seed(7)
    network = timm.create_model(VIT, num_classes=num_classes, **{"img_size": 32, "depth": 2, **options})
    state: dict[str, Tensor] = network.state_dict()
    return state


def _source(path: Path) -> WeightSource:
    return WeightSource(f"file:{path}", "file", path, hashlib.sha256(path.read_bytes()).hexdigest())


def _saved(state: dict[str, Tensor], folder: Path) -> WeightSource:
    save_weights(state, folder / "weights.safetensors")
    return _source(folder / "weights.safetensors")


def test_foreign_weights_load_without_their_classifier(tmp_path: Path) -> None:
    state, classifier = _foreign(), _classifier()
    head = classifier.head.weight.clone()
    report = load_weights(classifier, _saved(state, tmp_path))
    assert torch.equal(classifier.backbone.state_dict()["blocks.1.mlp.fc1.weight"], state["blocks.1.mlp.fc1.weight"])
    assert torch.equal(classifier.head.weight, head)
    assert report.num_loaded == len(state) - 2
    assert (report.num_resampled, report.new) == (0, ("head.bias", "head.weight"))
    assert report.unmatched == ("head.bias", "head.weight")


def test_head_is_kept_only_when_asked_and_of_equal_shape(tmp_path: Path) -> None:
    trained = _classifier(num_classes=3)
    source = _saved(trained.state_dict(), tmp_path)
    kept, dropped, other = _classifier(num_classes=3), _classifier(num_classes=3), _classifier(num_classes=2)
    assert load_weights(kept, source, keep_head=True).new == ()
    assert load_weights(dropped, source).new == ("head.bias", "head.weight")
    assert load_weights(other, source, keep_head=True).new == ("head.bias", "head.weight")
    assert torch.equal(kept.head.weight, trained.head.weight)
    assert not torch.equal(dropped.head.weight, trained.head.weight)


def test_foreign_head_of_equal_shape_can_be_kept(tmp_path: Path) -> None:
    state, classifier = _foreign(num_classes=2), _classifier()
    load_weights(classifier, _saved(state, tmp_path), keep_head=True)
    assert torch.equal(classifier.head.weight, state["head.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: value.to(dtype) for name, value in _foreign().items()}
    classifier = _classifier()
    load_weights(classifier, _saved(state, tmp_path))
    assert classifier.backbone.norm.weight.dtype == torch.float32
    assert torch.equal(classifier.backbone.state_dict()["cls_token"], state["cls_token"].float())


def test_patch_16_weights_go_into_a_patch_8_model(tmp_path: Path) -> None:
    state, classifier = _foreign(img_size=64), _classifier(size=64, patch_size=8)
    report = load_weights(classifier, _saved(state, tmp_path))
    expected = resample_patch_embed(state["patch_embed.proj.weight"], [8, 8])
    torch.testing.assert_close(classifier.backbone.patch_embed.proj.weight.detach(), expected)
    assert classifier.backbone.pos_embed.shape == (1, 1 + 8 * 8, 192)
    assert report.num_resampled == 2


def test_position_embedding_is_interpolated_as_an_image(tmp_path: Path) -> None:
    state, classifier = _foreign(), _classifier(size=48)
    load_weights(classifier, _saved(state, tmp_path))
    grid = state["pos_embed"][:, 1:].reshape(1, 2, 2, 192).permute(0, 3, 1, 2)
    larger = torch.nn.functional.interpolate(grid, size=(3, 3), mode="bicubic", antialias=True)
    loaded = classifier.backbone.pos_embed.detach()
    torch.testing.assert_close(loaded[:, 1:], larger.permute(0, 2, 3, 1).reshape(1, 9, 192))
    assert torch.equal(loaded[:, :1], state["pos_embed"][:, :1])


def test_position_bias_of_swin_keeps_its_course(tmp_path: Path) -> None:
    settings = BackboneSettings(name="swin_tiny_patch4_window7_224")
    table = "layers.3.blocks.0.attn.relative_position_bias_table"
    trained = create_classifier(settings, ImageSettings(size=96), 2)  # windows of 3 x 3 in the last stage
    larger = create_classifier(settings, ImageSettings(size=160), 2)  # windows of 5 x 5
    state = trained.state_dict()
    downwards = torch.arange(-2.0, 3.0)[:, None].expand(5, 5).reshape(25, 1)  # by the distance in rows, for all heads
    state[f"backbone.{table}"] = downwards.expand(25, 24).contiguous()
    load_weights(larger, _saved(state, tmp_path))
    loaded = larger.backbone.state_dict()[table].reshape(9, 9, 24)
    by_row = loaded.mean(dim=(1, 2))
    # Neighbours keep their biases, in between they are interpolated, and beyond the old window the last one goes on.
    assert (by_row.diff() > -1e-3).all()
    torch.testing.assert_close(by_row[[0, 3, 4, 5, 8]], torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]), rtol=0, atol=1e-3)
    torch.testing.assert_close(loaded, by_row[:, None, None].expand(9, 9, 24), rtol=0, atol=1e-3)


def test_stem_for_colour_becomes_one_for_grey_and_back(tmp_path: Path) -> None:
    state, grey, colour = _foreign(), _classifier(mode="grey"), _classifier()
    load_weights(grey, _saved(state, tmp_path))
    stem = grey.backbone.patch_embed.proj.weight.detach()
    torch.testing.assert_close(stem, state["patch_embed.proj.weight"].sum(dim=1, keepdim=True))
    load_weights(colour, _saved(grey.state_dict(), tmp_path))
    torch.testing.assert_close(colour.backbone.patch_embed.proj.weight.detach(), (stem / 3).expand(-1, 3, -1, -1))


@pytest.mark.parametrize("nesting", [(), ("state_dict",), ("teacher",), ("model", "state_dict")])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "_orig_mod.module."])
def test_checkpoints_of_other_programs(tmp_path: Path, nesting: tuple[str, ...], prefix: str) -> None:
    state = _foreign()
    content: dict[str, object] = {prefix + name: value for name, value in state.items()}
    for key in nesting:
        content = {"epoch": 3, key: content, "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "checkpoint.pth")
    classifier = _classifier()
    report = load_weights(classifier, _source(tmp_path / "checkpoint.pth"))
    assert report.num_loaded == len(state) - 2
    assert torch.equal(classifier.backbone.state_dict()["norm.weight"], state["norm.weight"])


def test_averaged_weights_come_before_raw_ones(tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {"a": torch.zeros(1)}, "state_dict_ema": {"a": torch.ones(1)}}, tmp_path / "checkpoint.pt"
    )
    assert read_state(tmp_path / "checkpoint.pt")["a"].item() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"depth": 3},
            r"the network has no blocks\.2\.attn\.proj\.bias, .* and 8 more\. Take the backbone, patch_size and depth",
        ),
        ({"depth": 1}, r"the file lacks blocks\.1\.attn\.proj\.bias"),
        ({"embed_dim": 96}, r"the shape differs of blocks\.0\.attn\.proj\.bias 96 in the file, 192 in the network"),
    ],
)
def test_names_and_shapes_that_do_not_match(tmp_path: Path, change: dict[str, int], message: str) -> None:
    classifier = _classifier()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    with pytest.raises(WeightsMismatch, match=message):
        load_weights(classifier, _saved(_foreign(**change), tmp_path))
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    source = _saved(timm.create_model("resnet18", num_classes=2).state_dict(), tmp_path)
    swin = create_classifier(BackboneSettings(name="swin_tiny_patch4_window7_224"), ImageSettings(size=32), 2)
    for classifier in (_classifier(), swin):
        with pytest.raises(WeightsMismatch, match=r"the file lacks .*; the network has no bn1\.bias"):
            load_weights(classifier, source)
    with pytest.raises(WeightsMismatch, match="the file lacks layers"):  # timm's conversion for Swin itself fails here
        load_weights(swin, _saved({"nowhere.relative_position_bias_table": torch.zeros(9, 3)}, tmp_path))


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_listed_names_need_not_match(tmp_path: Path, prefix: str) -> None:
    classifier, source = _classifier(), _saved(_foreign(depth=3), tmp_path)
    report = load_weights(classifier, source, allow_unmatched=[f"{prefix}blocks.2.*"])
    assert sum(name.startswith("blocks.2.") for name in report.unmatched) == 12
    shorter = _saved(_foreign(depth=1), tmp_path)
    new = load_weights(classifier, shorter, allow_unmatched=[f"{prefix}blocks.1.*"]).new
    assert sum(name.startswith("backbone.blocks.1.") for name in new) == 12
    with pytest.raises(WeightsMismatch):
        load_weights(classifier, shorter, allow_unmatched=["blocks.0.*"])


def test_batch_counters_of_older_files_may_be_missing(tmp_path: Path) -> None:
    network = timm.create_model("resnet18", num_classes=4)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    classifier = create_classifier(BackboneSettings(name="resnet18"), ImageSettings(size=32), 2)
    assert load_weights(classifier, _saved(state, tmp_path)).num_loaded == len(state) - 2
    del state["bn1.running_mean"]
    with pytest.raises(WeightsMismatch, match=r"the file lacks bn1\.running_mean"):
        load_weights(classifier, _saved(state, tmp_path))


class _Program:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


def test_files_that_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "program.pth").write_bytes(pickle.dumps({"weights": _Program()}))
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    torch.save({"epoch": 3}, tmp_path / "bare.pth")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    for name in ("program.pth", "damaged.pth", "empty.pt"):
        with pytest.raises(InputError, match="damaged or holds more than tensors"):
            read_state(tmp_path / name)
    for name in ("bare.pth", "list.pth"):
        with pytest.raises(InputError, match="holds no weights"):
            read_state(tmp_path / name)
    with pytest.raises(InputError, match="is not a safetensors file"):
        read_state(tmp_path / "damaged.safetensors")
    assert "executed" not in capsys.readouterr().out


_WRITE = """
import sys, torch
from pathlib import Path
from tlmed.models.weights import save_weights
names = list({f"layer{number}.weight" for number in range(40)})  # a set: its order depends on the hash seed
save_weights({name: torch.full((2, 3), float(len(name))) for name in names}, Path(sys.argv[1]))
"""


def test_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", _WRITE, str(tmp_path / seed)], env=environment, check=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_bytes_do_not_depend_on_memory_layout(tmp_path: Path) -> None:
    plain = torch.arange(48.0).reshape(2, 3, 2, 4)
    save_weights({"a": plain, "b": plain.clone()}, tmp_path / "plain.safetensors")
    channels_last = plain.to(memory_format=torch.channels_last)
    save_weights({"b": channels_last, "a": channels_last}, tmp_path / "tied.safetensors")
    assert (tmp_path / "plain.safetensors").read_bytes() == (tmp_path / "tied.safetensors").read_bytes()
    assert torch.equal(read_state(tmp_path / "plain.safetensors")["b"], plain)


def test_swin_file_of_the_published_kind(tmp_path: Path) -> None:
    """With a classifier, at another size, and with the buffers that older versions stored."""
    name = "swin_tiny_patch4_window7_224"
    state = timm.create_model(name, num_classes=5, img_size=96).state_dict()
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    classifier = create_classifier(BackboneSettings(name=name), ImageSettings(size=64), 2)
    report = load_weights(classifier, _saved(state, tmp_path))
    assert report.num_resampled == 9  # 8 position biases and the stem
    assert report.unmatched == ("head.bias", "head.weight")


@pytest.mark.skipif(REAL_DATA is None, reason="TLMED_DATA is not set")
def test_real_generic_weights() -> None:
    assert REAL_DATA is not None
    path = Path(REAL_DATA).parent / "weights" / "generic-vit-tiny-patch8-64.safetensors"
    settings = BackboneSettings(name=VIT, patch_size=8)
    same = create_classifier(settings, ImageSettings(size=64, mode="rgb"), 200)
    report = load_weights(same, _source(path), keep_head=True)
    assert (report.num_resampled, report.new, report.unmatched) == (0, (), ())
    larger = create_classifier(settings, ImageSettings(size=112, mode="grey"), 2)
    report = load_weights(larger, _source(path))
    assert (report.num_resampled, report.new) == (2, ("head.bias", "head.weight"))
    with torch.no_grad():
        assert torch.isfinite(larger.eval()(torch.rand(1, 1, 112, 112))).all()
