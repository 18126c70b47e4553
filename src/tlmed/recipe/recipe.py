"""The recipe: domains, chain, arms, protocol; and what follows from it alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from tlmed.errors import did_you_mean
from tlmed.recipe.data import DataSettings
from tlmed.recipe.hub_name import HUB, HubName
from tlmed.recipe.model import BackboneSettings, Blanking, ImageSettings
from tlmed.recipe.protocol import EvaluationSettings, RuntimeSettings
from tlmed.recipe.settings import Settings
from tlmed.recipe.study import StudySettings
from tlmed.recipe.training import PRESETS, StrategySettings, TrainingSettings
from tlmed.recipe.validation import explain

Control = Literal["border-only", "centre-blanked", "permuted-labels", "longer", "placebo"]
CONTROLS = get_args(Control)
# What the chain is compared with, to tell a domain from more training; the others take something from the target.
COMPARISON_CONTROLS = ("longer", "placebo")

GENERIC_STAGE, PROBE_ARM = "generic", "probe"
NO_WEIGHTS = "none"
WAIVABLE = ("groups_unknown", "group_overlap", "duplicate", "near_duplicate", "label_conflict", "stage_overlap")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class StageImageSettings(Settings):
    """What a stage may change of the chain's image form."""

    size: int | None = Field(None, ge=16, le=2048)


class StageSettings(Settings):
    """One step of the chain.

    Attributes:
        training: over the preset's values.
        seed: fixes this stage's seed, so that every seed of the run shares it (a generic stage may).
    """

    name: str
    data: DataSettings
    strategy: StrategySettings = StrategySettings()
    preset: str | None = None
    training: dict[str, Any] = {}
    image: StageImageSettings = StageImageSettings()
    seed: int | None = Field(None, ge=0)


class ArmSettings(Settings):
    """One chain among those compared.

    Attributes:
        weights, strategy: the starting weights and the target's strategy where not the recipe's.
        training: of the target, over the recipe's.
        control: what the target stage must do without, to see what a model reaches that cannot use it: `border-only`
            and `centre-blanked` train and test on such images, `permuted-labels` trains on labels that were permuted
            among the groups. Or what more training alone brings: `longer` trains the target for as many more epochs as
            the stages that it lacks of the comparison's first arm take optimiser steps; in `placebo` the middle stages
            train on permuted labels.
    """

    stages: tuple[str, ...]
    weights: str | None = None
    strategy: StrategySettings | None = None
    training: dict[str, Any] = {}
    control: Control | None = None


@dataclass(frozen=True)
class Arm:
    """An arm with nothing left open."""

    name: str
    stages: tuple[str, ...]
    weights: str
    strategy: StrategySettings
    training: Mapping[str, Any] = field(default_factory=dict)
    control: Control | None = None

    @property
    def blanking(self) -> Blanking | None:
        """What of the target's images this arm does not see."""
        return self.control if self.control in ("border-only", "centre-blanked") else None


class Recipe(Settings):
    """A whole experiment, as written in YAML."""

    name: str
    image: ImageSettings = ImageSettings()
    backbone: BackboneSettings
    weights: str = NO_WEIGHTS
    allow_unmatched: tuple[str, ...] = ()
    preset: str = "small-data"
    training: dict[str, Any] = {}
    chain: tuple[StageSettings, ...] = Field(min_length=1)
    arms: dict[str, ArmSettings] | None = None
    deliver: str | None = None
    evaluation: EvaluationSettings = EvaluationSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    waive: tuple[str, ...] = ()
    note: str | None = None
    study: StudySettings = StudySettings()

    @field_validator("backbone", mode="before")
    @classmethod
    def _plain_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("weights")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return _checked_weights(value)

    @field_validator("waive")
    @classmethod
    def _known_waivers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for kind in value:
            if kind not in WAIVABLE:
                raise ValueError(f"unknown waiver {kind!r}.{did_you_mean(kind, WAIVABLE)}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for name in (self.name, *self.stage_names, *(self.arms or {})):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be a name: letters, digits, '.', '_' and '-' only")
        if len(set(self.stage_names)) != len(self.stage_names):
            raise ValueError(f"two stages of the chain have the same name: {', '.join(self.stage_names)}")
        if self.target.seed is not None:
            raise ValueError(
                f"stage {self.target.name!r}: the target has no seed of its own; write `evaluation: {{seeds: [...]}}`"
            )
        arms = resolve_arms(self)
        for stage in self.chain:
            strategies = [arm.strategy for arm in arms.values()] if stage is self.target else [stage.strategy]
            _check_can_cache(stage.name, strategies, training_of(self, stage))
        for name in self.evaluation.choose.among if self.evaluation.choose is not None else ():
            training_of(self, candidate_target(self, name))
        for arm in arms.values():
            training_of(self, target_of(self, arm))
        _ = self.delivered_arm
        _check_comparison(self)
        return self

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names along the chain; the last one is the target."""
        return tuple(stage.name for stage in self.chain)

    @property
    def target(self) -> StageSettings:
        """The last stage."""
        return self.chain[-1]

    @property
    def delivered_arm(self) -> str:
        """The arm that becomes the bundle: the full chain unless `deliver` names another; never the best on test."""
        arms = resolve_arms(self)
        if self.deliver is not None:
            if self.deliver not in arms:
                raise ValueError(f"deliver: unknown arm {self.deliver!r}.{did_you_mean(self.deliver, arms)}")
            if arms[self.deliver].control is not None:
                raise ValueError(f"deliver: {self.deliver!r} is a control, which no hospital could use")
            return self.deliver
        return max(
            arms.values(),
            key=lambda arm: (arm.control is None, arm.name != PROBE_ARM, len(arm.stages), arm.weights != NO_WEIGHTS),
        ).name

    def stage(self, name: str) -> StageSettings:
        """The stage of that name."""
        return next(stage for stage in self.chain if stage.name == name)


def _checked_weights(value: str) -> str:
    if value != NO_WEIGHTS and value.partition(":")[0] not in ("file", "stage", "bundle", "hub"):
        raise ValueError(f"weights {value!r}: write none, file:PATH, stage:NAME, bundle:PATH or hub:ID")
    if value.startswith(f"{HUB}:"):
        HubName.parse(value)
    return value


def _check_can_cache(stage: str, strategies: Sequence[StrategySettings], training: TrainingSettings) -> None:
    caches = any(strategy.kind == "linear-probe" and strategy.cached_views for strategy in strategies)
    named = " and ".join(name for name in ("mixup", "cutmix") if getattr(training, name))
    if caches and named:
        raise ValueError(
            f"stage {stage!r}: training.{named} needs the pixels at every step, which a linear-probe on cached views "
            "does not see; write `cached_views: 0` in its strategy, or leave it out"
        )


def _check_comparison(recipe: Recipe) -> None:
    """Refuse contrasts of arms that are not there."""
    arms, comparison = resolve_arms(recipe), recipe.evaluation.comparison
    named = {"primary": comparison.primary or (), **comparison.contrasts}
    for contrast, of_contrast in named.items():
        for arm in of_contrast:
            if arm not in arms:
                raise ValueError(
                    f"evaluation.comparison: {contrast} names an unknown arm {arm!r}.{did_you_mean(arm, arms)}"
                )


def training_of(recipe: Recipe, stage: StageSettings) -> TrainingSettings:
    """The stage's training settings: stage over recipe over preset.

    Raises:
        ValueError: unknown preset, or settings that do not validate.
    """
    preset = stage.preset or recipe.preset
    if preset not in PRESETS:
        raise ValueError(f"stage {stage.name!r}: unknown preset {preset!r}.{did_you_mean(preset, PRESETS)}")
    merged: dict[str, Any] = {}
    for layer in (PRESETS[preset], recipe.training, stage.training):
        merged = merge(merged, layer)
    try:
        return TrainingSettings.model_validate(merged)
    except ValidationError as error:
        raise ValueError(f"training of stage {stage.name!r}: {explain(error, TrainingSettings, merged)}") from error


def candidate_target(recipe: Recipe, candidate: str | None) -> StageSettings:
    """The target stage with the settings of a candidate of `evaluation.choose`; as it is for None."""
    choose = recipe.evaluation.choose
    if candidate is None or choose is None:
        return recipe.target
    training = merge(recipe.target.training, choose.among[candidate])
    return recipe.target.model_copy(update={"training": training})


def target_of(recipe: Recipe, arm: Arm, candidate: str | None = None) -> StageSettings:
    """The target stage as an arm trains it, where it says so itself, with a candidate's settings."""
    stage = candidate_target(recipe, candidate)
    return stage.model_copy(update={"training": merge(stage.training, dict(arm.training))}) if arm.training else stage


def image_of(recipe: Recipe, stage: StageSettings) -> ImageSettings:
    """The image form in this stage: the chain's, at the stage's size."""
    if stage.image.size is None:
        return recipe.image
    return recipe.image.model_copy(update={"size": stage.image.size})


def resolve_arms(recipe: Recipe) -> dict[str, Arm]:
    """All arms by name, in the order from the shortest chain to the full one.

    Without `arms` in the recipe: `probe` (logistic regression on frozen features of the generic weights, or of random
    ones where there are none: minutes, and a number to beat), then `scratch`, `generic`, `related`, `generic-related`,
    as far as the chain has the parts.

    Raises:
        ValueError: an arm names an unknown stage, leaves the target out, or breaks the chain's order.
    """
    if recipe.arms is None:
        return _default_arms(recipe)
    if not recipe.arms:
        raise ValueError("arms: name at least one, or leave the key out")
    order = {name: position for position, name in enumerate(recipe.stage_names)}
    arms = {}
    for name, settings in recipe.arms.items():
        for stage in settings.stages:
            if stage not in order:
                raise ValueError(f"arm {name!r}: unknown stage {stage!r}.{did_you_mean(stage, order)}")
        positions = [order[stage] for stage in settings.stages]
        if not positions or positions[-1] != len(order) - 1 or positions != sorted(set(positions)):
            raise ValueError(
                f"arm {name!r}: its stages must follow the chain's order and end with {recipe.target.name!r}"
            )
        weights = recipe.weights if settings.weights is None else _checked_weights(settings.weights)
        strategy = settings.strategy or recipe.target.strategy
        arms[name] = Arm(name, settings.stages, weights, strategy, settings.training, settings.control)
    return arms


def _default_arms(recipe: Recipe) -> dict[str, Arm]:
    *before, target = recipe.stage_names
    generic_stages = tuple(name for name in before if name == GENERIC_STAGE)
    middle = tuple(name for name in before if name != GENERIC_STAGE)
    has_generic = bool(generic_stages) or recipe.weights != NO_WEIGHTS
    own = recipe.target.strategy
    arms = [
        Arm(PROBE_ARM, (*generic_stages, target), recipe.weights, StrategySettings(kind="logistic-regression")),
        Arm("scratch", (target,), NO_WEIGHTS, own),
    ]
    if has_generic:
        arms.append(Arm("generic", (*generic_stages, target), recipe.weights, own))
    if middle:
        arms.append(Arm("related", (*middle, target), NO_WEIGHTS, own))
    if has_generic and middle:
        arms.append(Arm("generic-related", (*generic_stages, *middle, target), recipe.weights, own))
    return {arm.name: arm for arm in arms}


def primary_pair(recipe: Recipe) -> tuple[str, str] | None:
    """The arms of the primary contrast, first minus second; None where there is but one arm that is no control."""
    stated = recipe.evaluation.comparison.primary
    if stated is not None:
        return stated
    arms = [arm.name for arm in resolve_arms(recipe).values() if arm.control is None]
    if {"generic-related", "generic"} <= set(arms):
        return "generic-related", "generic"
    earlier = arms[: arms.index(recipe.delivered_arm)] or [arm for arm in arms if arm != recipe.delivered_arm]
    return (recipe.delivered_arm, earlier[-1]) if earlier else None


def with_controls(recipe: Recipe, controls: Sequence[str]) -> Recipe:
    """The recipe with a control arm of each kind: `longer` and `placebo` of the primary contrast, others of delivery.

    Args:
        controls: kinds; `longer` and `placebo` also as `generic-longer` and `generic-placebo`, which their arms are
            called where the primary contrast has `generic` for its second arm.

    Raises:
        ValueError: an unknown kind, or nothing to compare.
    """
    pair = primary_pair(recipe)
    arms = _written_out(resolve_arms(recipe))
    deliver = recipe.delivered_arm
    second = GENERIC_STAGE if pair is None else pair[1]
    names = {f"{prefix}-{kind}": kind for kind in COMPARISON_CONTROLS for prefix in (GENERIC_STAGE, second)}
    added: dict[str, ArmSettings] = {}
    for asked in controls:
        kind = names.get(asked, asked)
        if kind not in CONTROLS:
            raise ValueError(f"--control: unknown kind {asked!r}.{did_you_mean(asked, [*CONTROLS, *names])}")
        if kind not in COMPARISON_CONTROLS:
            added[f"{deliver}-{kind}"] = arms[deliver].model_copy(update={"control": kind})
        elif pair is None:
            raise ValueError(f"--control {kind}: the recipe has one arm alone, so there is nothing to compare it with")
        else:
            like = arms[pair[1] if kind == "longer" else pair[0]]
            added[f"{pair[1]}-{kind}"] = like.model_copy(update={"control": kind})
    return recipe.model_copy(update={"arms": {**arms, **added}, "deliver": deliver})


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` laid on it, nested mappings merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _written_out(arms: Mapping[str, Arm]) -> dict[str, ArmSettings]:
    return {
        arm.name: ArmSettings(
            stages=arm.stages,
            weights=arm.weights,
            strategy=arm.strategy,
            training=dict(arm.training),
            control=arm.control,
        )
        for arm in arms.values()
    }


Precision = Literal["float32", "bf16"]


def resolved(recipe: Recipe, *, device: str, precision: Precision, workers: int) -> Recipe:
    """The recipe with every preset written out and every `auto` replaced; loading it again gives the same run."""
    chain = tuple(
        stage.model_copy(update={"training": training_of(recipe, stage).model_dump(mode="json")})
        for stage in recipe.chain
    )
    arms = _written_out(resolve_arms(recipe))
    runtime = recipe.runtime.model_copy(update={"device": device, "precision": precision, "workers": workers})
    return recipe.model_copy(update={"chain": chain, "arms": arms, "runtime": runtime, "deliver": recipe.delivered_arm})
