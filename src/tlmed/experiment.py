"""One run, as a table of contents."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tlmed.auditing import add_skipped, audit_domains, flagged_paths, warnings_of
from tlmed.data.manifest import Manifest
from tlmed.data.splits import check_trainable
from tlmed.domains import needs_test, prepare_domains, read_domains
from tlmed.external import predict_external, read_external_sets
from tlmed.measuring import MEASUREMENTS, Measured, measure_once
from tlmed.openings import open_tests, register_primary
from tlmed.provenance import completed_comparison, write_provenance
from tlmed.recipe.load import load_recipe
from tlmed.recipe.recipe import Recipe
from tlmed.recipe.study import StudySettings
from tlmed.references import references
from tlmed.request import pinned, requested_pairs, run_places
from tlmed.results import write_report, write_results, write_splits
from tlmed.runtime.hardware import resolve_hardware
from tlmed.runtime.inventory import record_references
from tlmed.runtime.run_folder import open_run_folder, recipe_of_results
from tlmed.runtime.store import Store, write_json_durably
from tlmed.transfer.chain import train_chain
from tlmed.transfer.choice import InnerPlan, choices_card, choose_settings, plan_choice
from tlmed.transfer.plan import ChainPlan, plan_chain
from tlmed.transfer.predictions import predict_chain

log = logging.getLogger(__name__)

_PAIRS_FILE = "arms.json"
_DATA_WORDS = ("licence", "reference")


@dataclass(frozen=True)
class RunResult:
    """What a run leaves.

    Attributes:
        folder: the run folder.
        predictions: the predictions table.
        metrics: content of `metrics.json`.
        comparison: content of `comparison.json`; None where there is nothing to compare.
        trained: keys of the stages trained in this call; what is not among them came from the store.
    """

    folder: Path
    predictions: pd.DataFrame
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None
    trained: list[str]


def run(
    recipe: Recipe | Path | str,
    *,
    out: Path | str | None = None,
    store: Path | str | None = None,
    arms: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> RunResult:
    """Train along the recipe's chain and the chains it is compared with, and measure what came out.

    Args:
        recipe: a recipe or its file.
        out: the run folder; default `runs/<name>`. The same folder takes the same recipe alone.
        store: holds what runs share; default: the run folder's parent.
        arms: only these, added to what the folder holds; default: all of the recipe's.
        seeds: only these, added to what the folder holds; default: the recipe's.

    Raises:
        InputError: the input is at fault; the message says what, where, and what to do.
        Stopped: after a stop signal; the same call goes on where it stopped.
    """
    recipe = resolve_hardware(recipe if isinstance(recipe, Recipe) else load_recipe(recipe))
    place, shared = run_places(recipe, out, store)
    recipe = _with_earlier_words(_with_earlier_controls(recipe, place), place)
    requested = requested_pairs(recipe, arms, seeds)
    recipe = pinned(recipe, place, shared, _with_earlier_pairs(place, requested), may_download=True)
    with open_run_folder(place, recipe) as folder:
        pairs = _with_earlier_pairs(place, requested)
        folder.log("started", arms=sorted({arm for arm, _ in pairs}), seeds=sorted({seed for _, seed in pairs}))
        domains = read_domains(recipe, shared)
        sets = read_external_sets(recipe, domains, shared)
        audited = audit_domains(recipe, domains, place / "audit.json", shared)
        data = prepare_domains(recipe, audited.domains, shared)
        add_skipped(place / "audit.json", data.skipped)
        plan = plan_chain(recipe, data.manifests, pairs, shared)
        inner = plan_choice(recipe, data.manifests, plan, shared)
        record_references(place, references(recipe, audited, data, plan, inner.tasks, {}, shared), finished=False)
        choices = choose_settings(inner, data.images, shared)
        if choices:
            chosen = {fit: choice.candidate for fit, choice in choices.items()}
            plan = plan_chain(recipe, data.manifests, pairs, shared, chosen)
            record_references(place, references(recipe, audited, data, plan, inner.tasks, {}, shared), finished=False)
        target = data.manifests[recipe.target.name]
        write_splits(place, target.table, plan)
        trained = train_chain(plan, data.images, shared)
        lineage = write_provenance(place, recipe, audited, data, plan, shared)
        registered = register_primary(recipe, plan, target, shared)
        predictions = predict_chain(plan, target, data.images, shared)
        external = predict_external(recipe, sets, plan, shared)
        openings = open_tests(recipe, plan, target, sets, shared)
        on = Measured(
            target, plan, predictions, data.images[recipe.target.name], external, flagged=flagged_paths(audited)
        )
        measured = measure_once(recipe, on, shared)
        metrics = measured.metrics | {"test_openings": openings.pop("test"), "external_openings": openings}
        metrics |= {"chosen": choices_card(choices), "audit_warnings": warnings_of(audited)}
        comparison = completed_comparison(measured.comparison, registered, lineage)
        write_results(place, recipe, plan, predictions, external, metrics, comparison, measured.input_summary, shared)
        write_report(place, domains)
        write_json_durably(place / _PAIRS_FILE, pairs)
        needed = references(recipe, audited, data, plan, inner.tasks, external, shared) | {MEASUREMENTS: [measured.key]}
        record_references(place, needed, finished=True)
        folder.log("finished", trained=trained)
    return RunResult(place, predictions, metrics, comparison, trained)


@dataclass(frozen=True)
class PlannedRun:
    """What a run would do.

    Attributes:
        domains: by stage, audited and mended; images that turn out unreadable are still in.
        inner: trainings that choose settings; until they have run, `plan` is that of the recipe's own settings.
    """

    domains: dict[str, Manifest]
    plan: ChainPlan
    inner: InnerPlan
    store: Store


def plan_run(
    recipe: Recipe,
    *,
    out: Path | str | None = None,
    store: Path | str | None = None,
    arms: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> PlannedRun:
    """Lay a run out without training; near-copies are looked for, which a run then need not; else as `run`."""
    recipe = resolve_hardware(recipe)
    place, shared = run_places(recipe, out, store)
    pairs = requested_pairs(recipe, arms, seeds)
    recipe = pinned(recipe, place, shared, pairs, may_download=False)
    domains = audit_domains(recipe, read_domains(recipe, shared), None, shared).domains
    for name, domain in domains.items():
        check_trainable(domain, name, needs_test=needs_test(recipe, name))
    read_external_sets(recipe, domains, shared)
    plan = plan_chain(recipe, domains, pairs, shared)
    return PlannedRun(domains, plan, plan_choice(recipe, domains, plan, shared), shared)


def _with_earlier_controls(recipe: Recipe, place: Path) -> Recipe:
    """The recipe with the control arms that the run folder holds results of: they were added, and stay."""
    earlier = recipe_of_results(place)
    if earlier is None or earlier.arms is None:
        return recipe
    controls = {name: arm for name, arm in earlier.arms.items() if arm.control is not None}
    return recipe.model_copy(update={"arms": {**(recipe.arms or {}), **controls}})


def _with_earlier_words(recipe: Recipe, place: Path) -> Recipe:
    """The recipe with what was written about study and data into the run folder, where the recipe itself is silent."""
    earlier = recipe_of_results(place)
    if earlier is None:
        return recipe
    known = {stage.name: stage.data for stage in earlier.chain}
    chain = []
    for stage in recipe.chain:
        words = {name: getattr(stage.data, name) or getattr(known.get(stage.name), name, None) for name in _DATA_WORDS}
        chain.append(stage.model_copy(update={"data": stage.data.model_copy(update=words)}))
    said = {**earlier.study.model_dump(exclude_none=True), **recipe.study.model_dump(exclude_none=True)}
    return recipe.model_copy(update={"chain": tuple(chain), "study": StudySettings(**said)})


def _with_earlier_pairs(place: Path, requested: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    file = place / _PAIRS_FILE
    earlier = [(arm, seed) for arm, seed in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []
    return [*earlier, *(pair for pair in requested if pair not in earlier)]
