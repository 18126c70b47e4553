from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tlmed.errors import InputError
from tlmed.recipe.load import dump_recipe, load_recipe, parse_recipe
from tlmed.recipe.recipe import resolve_arms, resolved, training_of

RECIPE = """
name: example
backbone: resnet18
weights: file:weights/start.safetensors
training: {epochs: 3}
chain:
  - name: related
    data: {manifest: related/manifest.csv}
  - name: target
    data: {phantom: {kind: chest-target}}
    training: {views: {shift: 0.2}}
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    return file


def test_paths_are_relative_to_the_recipe(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    folder = recipe_file.parent
    assert recipe.weights == f"file:{folder / 'weights/start.safetensors'}"
    assert recipe.chain[0].data.manifest == folder / "related/manifest.csv"


def test_stage_wins_over_recipe_and_recipe_over_preset(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["preset=tl-med", "chain.target.training.epochs=7"])
    related, target = (training_of(recipe, stage) for stage in recipe.chain)
    assert (related.epochs, target.epochs) == (3, 7)
    assert related.optimizer == target.optimizer == "sgd"
    assert target.views.shift == 0.2
    assert target.views.scale == related.views.scale


def test_variables_are_expanded_and_a_missing_one_is_named(recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe_file.write_text(RECIPE.replace("related/manifest.csv", '"${MY_IMAGES}/m.csv"'))
    monkeypatch.setenv("MY_IMAGES", "/somewhere")
    assert load_recipe(recipe_file).chain[0].data.manifest == Path("/somewhere/m.csv")
    monkeypatch.delenv("MY_IMAGES")
    with pytest.raises(InputError, match="MY_IMAGES is not set"):
        load_recipe(recipe_file)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainin.epochs=3", "unknown key 'trainin'. Did you mean 'training'?"),
        ("training.epoch=3", "unknown key 'epoch'. Did you mean 'epochs'?"),
        ("training.epochs=0", "epochs: Input should be greater than or equal to 1"),
        ("chain.related.preset=tlmed", "unknown preset 'tlmed'. Did you mean 'tl-med'?"),
        ("chain.relatd.preset=tl-med", "no stage 'relatd'. Did you mean 'related'?"),
        ("chain.related.data.duplicate=drop", "unknown key 'chain.related.data.duplicate'. Did you mean 'duplicates'?"),
        ("waive=[group_unknown]", "unknown waiver 'group_unknown'. Did you mean 'groups_unknown'?"),
        ("deliver=genric", "deliver: unknown arm 'genric'. Did you mean 'generic'?"),
        ("weights=vit", "write none, file:PATH, stage:NAME, bundle:PATH or hub:ID"),
        ("evaluation.seeds=[1, 1]", "distinct"),
        ("name=a/b", "cannot be a name"),
        ("training", "write KEY=VALUE"),
    ],
)
def test_a_wrong_key_or_value_is_one_sentence_with_the_nearest_name(
    recipe_file: Path, override: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(recipe_file, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_default_arms_follow_from_the_chain(recipe_file: Path) -> None:
    arms = resolve_arms(load_recipe(recipe_file))
    assert list(arms) == ["probe", "scratch", "generic", "related", "generic-related"]
    assert (arms["probe"].stages, arms["probe"].weights) == (arms["generic"].stages, arms["generic"].weights)
    assert arms["probe"].strategy.kind == "logistic-regression"
    assert {arms[name].strategy.kind for name in list(arms)[1:]} == {"finetune"}
    assert arms["scratch"].stages == ("target",)
    assert arms["scratch"].weights == "none"
    assert arms["generic"].stages == ("target",)
    assert arms["generic-related"].stages == ("related", "target")
    assert arms["generic-related"].weights.startswith("file:")


@pytest.mark.parametrize(("setting", "refused"), [("mixup", True), ("cutmix", True), ("label_smoothing", False)])
def test_cached_views_exclude_what_mixes_pixels_at_every_step(recipe_file: Path, setting: str, refused: bool) -> None:
    cached = ["chain.target.strategy={kind: linear-probe}", f"training.{setting}=0.2"]
    assert load_recipe(recipe_file, [*cached, "chain.target.strategy.cached_views=0"])
    if refused:
        with pytest.raises(InputError, match=rf"stage 'target': training.{setting} needs .* `cached_views: 0`"):
            load_recipe(recipe_file, cached)
    else:
        assert load_recipe(recipe_file, cached)


def test_the_probe_is_delivered_only_where_the_recipe_says_so(recipe_file: Path) -> None:
    content = yaml.safe_load(RECIPE)
    content["chain"] = content["chain"][-1:]
    assert parse_recipe({**content, "weights": "none"}, "test").delivered_arm == "scratch"
    assert parse_recipe({**content, "deliver": "probe"}, "test").delivered_arm == "probe"


def test_a_stage_named_generic_replaces_weights(recipe_file: Path) -> None:
    content = yaml.safe_load(RECIPE)
    content["weights"] = "none"
    content["chain"].insert(0, {"name": "generic", "data": {"phantom": {"kind": "everyday"}}})
    recipe = parse_recipe(content, "test")
    arms = resolve_arms(recipe)
    assert arms["generic"].stages == ("generic", "target")
    assert arms["related"].stages == ("related", "target")
    assert recipe.delivered_arm == "generic-related"


def test_an_arm_must_follow_the_chain_and_end_with_the_target(recipe_file: Path) -> None:
    content = yaml.safe_load(RECIPE)
    content["arms"] = {"wrong": {"stages": ["target", "related"]}}
    with pytest.raises(InputError, match="follow the chain's order and end with 'target'"):
        parse_recipe(content, "test")


def test_the_resolved_recipe_is_read_back_equal_even_where_null_switches_off(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["training.ema_decay=null"])
    written = resolved(recipe, device="cpu", precision="bf16", workers=0)
    read = parse_recipe(yaml.safe_load(dump_recipe(written)), "test")
    assert read == written
    assert training_of(read, read.target).ema_decay is None
