"""From a recipe to its domains: read, split, decoded. Imports no torch."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from tlmed.data.folds import draw_folds
from tlmed.data.images import UnreadableImage
from tlmed.data.manifest import Manifest
from tlmed.data.prepare import PreparedImages, images_name, prepare_images
from tlmed.data.sources import read_domain
from tlmed.data.splits import check_trainable, complete_splits, split_by_time
from tlmed.errors import InputError, did_you_mean
from tlmed.recipe.recipe import Recipe, StageSettings, image_of, resolve_arms
from tlmed.runtime.digests import FileDigests
from tlmed.runtime.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedDomains:
    """What training and evaluation need of the data.

    Attributes:
        manifests: by stage, without dropped rows; tables with `digest` and `split`.
        images: by what `images_name` calls them: of each stage, and for control arms blanked ones of the target.
        skipped: unreadable images that were left out: stage, path, label, split, reason.
    """

    manifests: dict[str, Manifest]
    images: dict[str, PreparedImages]
    skipped: pd.DataFrame


def read_domains(recipe: Recipe, store: Store) -> dict[str, Manifest]:
    """Read, digest and split the data of every stage that some arm uses, in the chain's order.

    Raises:
        InputError: data that is not there or not valid, unknown groups of the target unless waived.
    """
    used = {name for arm in resolve_arms(recipe).values() for name in arm.stages}
    digests = FileDigests(store)
    domains = {}
    for stage in recipe.chain:
        if stage.name in used:
            domain = _read_one(recipe, stage, store)
            files = [Path(file) for file in domain.table["file"]]
            domains[stage.name] = domain.with_table(domain.table.assign(digest=digests.of(files)))
    target = domains[recipe.target.name]
    _check_target(recipe, target)
    if not target.classes:
        raise InputError(f"{target.name}: no labels to learn from; add a `label` column or class folders.")
    draw_folds(target, recipe.evaluation.protocol, recipe.evaluation.seeds[:1])  # what cannot be divided stops here
    return domains


def _read_one(recipe: Recipe, stage: StageSettings, store: Store) -> Manifest:
    is_target = stage.name == recipe.target.name
    evaluation, protocol = recipe.evaluation, recipe.evaluation.protocol
    domain = read_domain(
        stage.data,
        store,
        group=evaluation.group if is_target else None,
        unit=evaluation.unit if is_target else "image",
        name=stage.name,
    )
    if stage.data.group_pattern is not None:
        domain = group_by_pattern(domain, stage.data.group_pattern)
    if stage.data.use == "all" or (is_target and protocol.split not in ("manifest", "temporal")):
        domain = domain.with_table(domain.table.assign(split=None))
    if is_target and protocol.split == "temporal":
        domain = split_by_time(domain, train_until=protocol.train_until, test_fraction=protocol.test_fraction)
    has_folds = is_target and protocol.has_folds
    return complete_splits(
        domain,
        test_fraction=protocol.test_fraction if is_target and protocol.split == "holdout" else None,
        val_fraction=None if has_folds else protocol.val_fraction,
        seed=protocol.seed,
        needs_test=is_target and not has_folds,
    )


def group_by_pattern(domain: Manifest, pattern: str) -> Manifest:
    """Take each image's group from its path.

    Raises:
        InputError: a path that the pattern does not match.
    """
    groups = domain.table["path"].str.extract(pattern, flags=re.IGNORECASE)[0]
    if groups.isna().any():
        example = domain.table.loc[groups.isna(), "path"].iloc[0]
        raise InputError(
            f"{domain.name}: group_pattern {pattern!r} does not match {int(groups.isna().sum())} of "
            f"{len(groups)} paths, such as {example}; widen the pattern, or add a `patient` column."
        )
    return replace(domain, table=domain.table.assign(group=groups), group_column="group_pattern")


def _check_target(recipe: Recipe, target: Manifest) -> None:
    given = recipe.evaluation.positive
    if target.group_column is None and "groups_unknown" not in recipe.waive:
        raise InputError(
            f"{target.name}: no column says which images belong to one patient (group, patient, study or series), so "
            "leakage cannot be excluded: add one, or write `waive: [groups_unknown]` to accept image-level figures."
        )
    for positive in (given,) if isinstance(given, str) else given or ():
        if positive not in target.classes:
            raise InputError(
                f"evaluation.positive: {target.name} has no class {positive!r}.{did_you_mean(positive, target.classes)}"
            )
    if given is None and len(target.classes) == 2:
        raise InputError(
            f"evaluation.positive is missing: say which of {' and '.join(map(repr, target.classes))} counts as disease."
        )


def needs_test(recipe: Recipe, stage: str) -> bool:
    """Whether a stage's data must hold a test split: the target's, unless folds test every image in turn."""
    return stage == recipe.target.name and not recipe.evaluation.protocol.has_folds


def prepare_domains(recipe: Recipe, domains: Mapping[str, Manifest], store: Store) -> PreparedDomains:
    """Decode every domain's images at its stage's size, and leave unreadable ones out where the recipe says so.

    Raises:
        UnreadableImage: an image cannot be read and the domain says `on_bad_image: fail`.
        InputError: too few classes or images are left to train on.
    """
    manifests, images, skipped = {}, {}, []
    blankings = sorted({arm.blanking for arm in resolve_arms(recipe).values() if arm.blanking is not None})
    for name, domain in domains.items():
        stage, table = recipe.stage(name), domain.table
        files = [Path(file) for file in table["file"]]
        digests, image = table["digest"].tolist(), image_of(recipe, stage)
        prepared = prepare_images(files, digests, image, store)
        bad = table["digest"].isin(prepared.unreadable.keys())
        if bad.any():
            reasons = table.loc[bad, "digest"].map(prepared.unreadable)
            _check_may_skip(stage, table[bad], reasons)
            skipped.append(table.loc[bad, ["path", "label", "split"]].assign(stage=name, reason=reasons))
        manifests[name] = domain.with_table(table[~bad].reset_index(drop=True))
        images[name] = prepared
        for blanking in blankings if name == recipe.target.name else ():
            blanked = image.model_copy(update={"blanking": blanking})
            images[images_name(name, blanked)] = prepare_images(files, digests, blanked, store)
        check_trainable(manifests[name], name, needs_test=needs_test(recipe, name))
    columns = ["stage", "path", "label", "split", "reason"]
    return PreparedDomains(
        manifests, images, pd.concat(skipped, ignore_index=True)[columns] if skipped else pd.DataFrame(columns=columns)
    )


def _check_may_skip(stage: StageSettings, bad: pd.DataFrame, reasons: pd.Series[str]) -> None:
    if stage.data.on_bad_image == "fail":
        more = f" ({len(bad) - 1} more like it)" if len(bad) > 1 else ""
        raise UnreadableImage(
            bad["file"].iloc[0],
            f"{reasons.iloc[0]}{more}",
            f"replace the file, or write `on_bad_image: skip` for the domain {stage.name!r} to leave such images out",
        )
    counts = ", ".join(f"{label}: {count}" for label, count in bad["label"].value_counts().sort_index().items())
    log.warning("%s: left out %d unreadable images (%s)", stage.name, len(bad), counts)
