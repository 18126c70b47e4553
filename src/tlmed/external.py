"""External sets: the trained models measured on further data that nothing was ever trained on. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tlmed.audit.search import AUDITS, PictureSearch
from tlmed.data.manifest import Manifest
from tlmed.data.prepare import IMAGES, PreparedImages, prepare_images
from tlmed.data.sources import read_domain
from tlmed.errors import InputError, did_you_mean, name_some
from tlmed.recipe.recipe import Recipe, resolve_arms
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store
from tlmed.transfer.plan import ChainPlan
from tlmed.transfer.predictions import predict_rows
from tlmed.transfer.stage_task import StageTask


@dataclass(frozen=True)
class ExternalSet:
    """Further data; every row is test.

    Attributes:
        manifest: with `digest`.
        references: keys in the store by kind, which looking at it again would need.
    """

    manifest: Manifest
    references: dict[str, list[str]]


@dataclass(frozen=True)
class ExternalPredictions:
    """What every arm and seed says of an external set.

    Attributes:
        table: predictions; split `test`, fold -1.
        num_unreadable: images that were left out.
        groups_known: whether something says which images belong together.
        references: keys in the store by kind.
    """

    table: pd.DataFrame
    num_unreadable: int
    groups_known: bool
    references: dict[str, list[str]]


def read_external_sets(recipe: Recipe, domains: Mapping[str, Manifest], store: Store) -> dict[str, ExternalSet]:
    """Read the recipe's external sets, before anything is trained.

    Args:
        domains: what is trained on; tables with `digest`.

    Raises:
        InputError: a set that is not there or not valid, without labels, with a class that the target does not have,
            or with images, near-copies or groups of the chain's own data: that would be no external set.
    """
    sets = {}
    for name, settings in recipe.evaluation.external.items():
        domain = read_domain(settings, store, unit=recipe.evaluation.unit, name=f"external set {name}")
        files = [Path(file) for file in domain.table["file"]]
        domain = domain.with_table(domain.table.assign(digest=FileDigests(store).of(files), split="test"))
        _check_classes(domain, domains[recipe.target.name])
        pictures = PictureSearch(domain, store, domain.name, value_range=recipe.image.value_range)
        references = {IMAGES: [pictures.thumbnails_key]}
        for stage, other in domains.items():
            _check_apart(domain, other, stage)
            if recipe.stage(stage).data.phantom is None:
                others = PictureSearch(other, store, stage, value_range=recipe.image.value_range)
                _check_no_copies(domain, pictures.copies_in(others), stage)
        sets[name] = ExternalSet(domain, {**references, AUDITS: pictures.keys})
    return sets


def _check_classes(domain: Manifest, target: Manifest) -> None:
    for label in domain.classes:
        if label not in target.classes:
            raise InputError(
                f"{domain.name}: class {label!r} is none of the target's.{did_you_mean(label, target.classes)}"
            )
    if len(domain.classes) < 2:
        held = f"class {domain.classes[0]!r} alone" if domain.classes else "no labels"
        raise InputError(f"{domain.name} holds {held}; a figure needs two classes or more.")


def _check_apart(domain: Manifest, other: Manifest, stage: str) -> None:
    shared = domain.table["digest"].isin(other.table["digest"])
    if shared.any():
        raise InputError(
            f"{domain.name}: {int(shared.sum())} images are identical to images of the stage {stage!r} "
            f"({name_some(domain.table.loc[shared, 'path'])}), so that it is not external; take them out of one of "
            "the two."
        )
    if domain.group_column is None or domain.group_column != other.group_column:
        return
    known = sorted(set(domain.table["group"]) & set(other.table["group"]))
    if known:
        raise InputError(
            f"{domain.name}: {len(known)} ids of the column {domain.group_column!r} stand in the stage {stage!r} too "
            f"({name_some(known)}); take those out of one of the two, or rename ids that are alike by chance."
        )


def _check_no_copies(domain: Manifest, copies: pd.DataFrame, stage: str) -> None:
    is_copy = domain.table["digest"].isin(copies["digest_1"])
    if is_copy.any():
        raise InputError(
            f"{domain.name}: {int(is_copy.sum())} images are near-copies of images of the stage {stage!r} "
            f"({name_some(domain.table.loc[is_copy, 'path'])}), so that it is not external; take them out of one of "
            "the two."
        )


def predict_external(
    recipe: Recipe, sets: Mapping[str, ExternalSet], plan: ChainPlan, store: Store
) -> dict[str, ExternalPredictions]:
    """Predict every external set with every arm and seed; under folds with the mean of the first repeat's fold models.

    That mean is what is delivered. Another repeat's would be another model, not another patient.

    Raises:
        InputError: an unreadable image where the set does not say `on_bad_image: skip`.
    """
    controls = {arm.name for arm in resolve_arms(recipe).values() if arm.control is not None}
    predicted = {}
    for name, one in sets.items():
        domain = one.manifest
        task = next(iter(plan.tasks[key] for fit, key in plan.last.items() if fit.arm not in controls))
        files = [Path(file) for file in domain.table["file"]]
        images = prepare_images(files, domain.table["digest"].tolist(), task.image, store)
        readable = domain.table["digest"].isin(images.row_of.keys())
        if not readable.all() and recipe.evaluation.external[name].on_bad_image == "fail":
            bad = domain.table[~readable].iloc[0]
            raise InputError(
                f"{domain.name}: {bad['path']} cannot be read ({images.unreadable[bad['digest']]}); replace it, or "
                "write `on_bad_image: skip` for this set."
            )
        table = domain.table[readable].reset_index(drop=True)
        predicted[name] = ExternalPredictions(
            _predict_set(table, plan, images, store, controls),
            int((~readable).sum()),
            domain.group_column is not None,
            {**one.references, IMAGES: [*one.references[IMAGES], images.key]},
        )
    return predicted


def _predict_set(
    table: pd.DataFrame, plan: ChainPlan, images: PreparedImages, store: Store, controls: set[str]
) -> pd.DataFrame:
    tasks: dict[tuple[str, int], list[StageTask]] = {}
    first = {arm: min(fit.seed for fit in plan.last if fit.arm == arm) for arm in {fit.arm for fit in plan.last}}
    for fit, key in plan.last.items():
        is_delivered = plan.folds is None or (fit.fold >= 0 and fit.seed == first[fit.arm])
        if fit.arm not in controls and is_delivered:
            tasks.setdefault((fit.arm, fit.seed), []).append(plan.tasks[key])
    parts = []
    for (arm, seed), members in tasks.items():
        part = table[["path", "unit", "group", "label", "split"]].assign(arm=arm, seed=seed, fold=-1)
        probabilities = np.mean([predict_rows(member, table, images, store) for member in members], axis=0)
        for position, name in enumerate(members[0].classes):
            part[f"p_{name}"] = probabilities[:, position]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
