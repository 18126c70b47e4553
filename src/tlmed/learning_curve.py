"""One learning curve, as a table of contents: the arms trained on ever more labelled groups of the target."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tlmed.auditing import add_skipped, audit_domains, warnings_of
from tlmed.data.label_subsets import ALL_LABELS, nested_subsets
from tlmed.data.manifest import Manifest
from tlmed.domains import prepare_domains, read_domains
from tlmed.errors import InputError
from tlmed.evaluation.comparison.label_curve import LabelQuestion, measure_label_curve
from tlmed.openings import open_tests, register_primary
from tlmed.recipe.recipe import Recipe, primary_pair
from tlmed.references import references
from tlmed.report.pages.evaluation_page import render_html, render_markdown
from tlmed.report.pages.label_curve_figures import draw_label_curve
from tlmed.report.pages.label_curve_page import label_curve_sections, label_curve_title
from tlmed.request import pinned, requested_pairs, run_places
from tlmed.runtime.hardware import resolve_hardware
from tlmed.runtime.integrity import sealed_text
from tlmed.runtime.inventory import record_references
from tlmed.runtime.run_folder import CURVE_FILE, METRICS_FILE, open_run_folder
from tlmed.runtime.store import Store, write_durably, write_json_durably
from tlmed.transfer.chain import train_chain
from tlmed.transfer.plan import ChainLayout, ChainPlan, Fit
from tlmed.transfer.predictions import predict_chain
from tlmed.transfer.stage_task import STAGES

log = logging.getLogger(__name__)

_FEW_LABELS = 30.0  # percent: below, which groups are drawn matters most
_NUM_DRAWS = 10


class Training(NamedTuple):
    """One training of the curve."""

    arm: str
    share_percent: float
    draw: int
    seed: int

    @property
    def fit(self) -> Fit:
        """Its name in a plan, where each arm at a share stands as an arm and each draw as a seed."""
        return Fit(f"{self.arm} at {self.share_percent:g} %", self.draw)


@dataclass(frozen=True)
class LabelCurve:
    """What a learning curve leaves.

    Attributes:
        folder: of its files.
        content: of `learning_curve.json`.
        trained: keys of the stages trained in this call.
    """

    folder: Path
    content: dict[str, Any]
    trained: list[str]


def run_label_curve(
    recipe: Recipe,
    shares: Sequence[float],
    *,
    out: Path | str | None = None,
    store: Path | str | None = None,
    arms: Sequence[str] = (),
    seeds: Sequence[int] = (),
    draws: int | None = None,
) -> LabelCurve:
    """Train arms on nested subsets of the target's labelled groups, and measure all on the same test set.

    Args:
        recipe: with a fixed test set.
        shares: of the groups in train and val, in percent, rising.
        out: the folder; default `runs/<name>-labels`.
        store: holds what runs share; default: the folder's parent.
        arms: default: the two of the primary contrast.
        seeds: default: the recipe's; draw d trains with seed d modulo their number.
        draws: below 30 % of the labels, by default 10; half as many, but two at least, below 100 %; at 100 %
            one a seed.

    Raises:
        InputError: the input is at fault; the message says what, where, and what to do.
        Stopped: after a stop signal; the same call goes on where it stopped.
    """
    recipe = resolve_hardware(recipe)
    _check_protocol(recipe)
    place, shared = run_places(recipe, out if out is not None else Path("runs") / f"{recipe.name}-labels", store)
    _check_is_no_run(place)
    pairs = requested_pairs(recipe, arms or _compared_arms(recipe), seeds)
    recipe = pinned(recipe, place, shared, pairs, may_download=True)
    trainings = plan_trainings(pairs, shares, draws if draws is not None else _NUM_DRAWS)
    with open_run_folder(place, recipe) as folder:
        folder.log("started", shares=list(shares), trainings=len(trainings))
        domains = read_domains(recipe, shared)
        audited = audit_domains(recipe, domains, place / "audit.json", shared)
        data = prepare_domains(recipe, audited.domains, shared)
        add_skipped(place / "audit.json", data.skipped)
        target = data.manifests[recipe.target.name]
        subsets = _draw_subsets(recipe, target, trainings)
        plan = _lay_out(recipe, data.manifests, subsets, trainings, shared)
        record_references(place, references(recipe, audited, data, plan, {}, {}, shared), finished=False)
        log.info("learning curve: %d trainings of the target at %d shares", len(trainings), len(shares))
        trained = train_chain(plan, data.images, shared)
        registered = register_primary(recipe, plan, target, shared)
        predictions = _predictions(predict_chain(plan, target, data.images, shared), trainings)
        num_openings = open_tests(recipe, plan, target, {}, shared)["test"]
        curve = measure_label_curve(predictions, _question(recipe, target, pairs))
        _add_labels_and_steps(curve, subsets, plan, trainings, shared)
        curve |= {"name": recipe.name, "test_openings": num_openings, "audit_warnings": warnings_of(audited)}
        curve["registered"] = None if registered is None else asdict(registered)
        _write(place, curve, predictions, subsets)
        record_references(place, references(recipe, audited, data, plan, {}, {}, shared), finished=True)
        folder.log("finished", trained=trained)
    return LabelCurve(place, curve, trained)


def plan_trainings(pairs: Sequence[tuple[str, int]], shares: Sequence[float], num_draws: int) -> list[Training]:
    """Return all trainings, the same draws in every arm.

    Args:
        pairs: of arm and seed, every arm with the same seeds.
        shares: in percent.
        num_draws: at the smallest shares.

    Raises:
        InputError: fewer than two draws.
    """
    if num_draws < 2:
        raise InputError(f"--draws {num_draws}: one draw does not show how draws differ; give two or more.")
    arms, seeds = list(dict.fromkeys(arm for arm, _ in pairs)), list(dict.fromkeys(seed for _, seed in pairs))
    return [
        Training(arm, share, draw, seeds[draw % len(seeds)])
        for share in shares
        for draw in range(_num_draws_at(share, num_draws, len(seeds)))
        for arm in arms
    ]


def _num_draws_at(share: float, num_draws: int, num_seeds: int) -> int:
    if share == ALL_LABELS:
        return num_seeds  # there is but one subset
    return num_draws if share < _FEW_LABELS else max(2, math.ceil(num_draws / 2))


def _check_protocol(recipe: Recipe) -> None:
    if recipe.evaluation.protocol.has_folds:
        raise InputError(
            f"--labels: {recipe.name} tests by {recipe.evaluation.protocol.split}, and a learning curve needs one test "
            "set that all shares have in common; add --set evaluation.protocol.split=holdout."
        )
    if recipe.evaluation.choose is not None:
        raise InputError(
            f"--labels: {recipe.name} chooses settings within each training set (evaluation.choose), which would be "
            "others at every share; take that key out, so that all shares train alike."
        )


def _check_is_no_run(place: Path) -> None:
    if (place / METRICS_FILE).exists():
        raise InputError(f"{place} holds a run, whose files would be replaced; choose another --out.")


def _compared_arms(recipe: Recipe) -> tuple[str, ...]:
    return primary_pair(recipe) or (recipe.delivered_arm,)


def _draw_subsets(
    recipe: Recipe, target: Manifest, trainings: Sequence[Training]
) -> dict[tuple[float, int], pd.DataFrame]:
    """Rows of train and val by share and draw; within a draw the smaller shares lie within the larger."""
    subsets: dict[tuple[float, int], pd.DataFrame] = {}
    for draw in sorted({training.draw for training in trainings}):
        shares = sorted({training.share_percent for training in trainings if training.draw == draw})
        seed = [recipe.evaluation.protocol.seed, draw]
        drawn = nested_subsets(target.table, shares, seed=seed, name=recipe.target.name)
        subsets |= {(share, draw): rows for share, rows in drawn.items()}
    return subsets


def _lay_out(
    recipe: Recipe,
    domains: Mapping[str, Manifest],
    subsets: Mapping[tuple[float, int], pd.DataFrame],
    trainings: Sequence[Training],
    store: Store,
) -> ChainPlan:
    laying = ChainLayout(recipe, domains, [training.arm for training in trainings], store)
    last = {}
    for training in trainings:
        rows = subsets[training.share_percent, training.draw]
        last[training.fit] = laying.add(training.arm, training.seed, rows).key
    return ChainPlan(laying.tasks, last)


def _predictions(of_plan: pd.DataFrame, trainings: Sequence[Training]) -> pd.DataFrame:
    """Test rows alone, under the names of the curve."""
    test = of_plan[of_plan["split"] == "test"].rename(columns={"arm": "cell", "seed": "draw"})
    named = pd.DataFrame([{**training._asdict(), "cell": training.fit.arm} for training in trainings])
    merged = test.merge(named, on=["cell", "draw"], validate="many_to_one")
    first = ["path", "unit", "group", "label", "split", "arm", "seed", "fold", "share_percent", "draw"]
    return merged[[*first, *(name for name in map(str, test) if name.startswith("p_"))]]


def _question(recipe: Recipe, target: Manifest, pairs: Sequence[tuple[str, int]]) -> LabelQuestion:
    """The difference is that of the primary contrast, or of the two arms asked for, the later minus the earlier."""
    evaluation, arms = recipe.evaluation, list(dict.fromkeys(arm for arm, _ in pairs))
    primary = primary_pair(recipe)
    difference = primary if primary is not None and set(primary) <= set(arms) else None
    if difference is None and len(arms) == 2:
        difference = arms[1], arms[0]
    groups_known = target.group_column is not None
    return LabelQuestion(evaluation.positive, evaluation.unit, evaluation.comparison.metric, difference, groups_known)


def _add_labels_and_steps(
    curve: dict[str, Any],
    subsets: Mapping[tuple[float, int], pd.DataFrame],
    plan: ChainPlan,
    trainings: Sequence[Training],
    store: Store,
) -> None:
    """Say at each share how much was labelled, and how many steps the target stage took, on average over draws."""
    for card in curve["shares"]:
        share = card["percent"]
        drawn = [rows for (of_share, _), rows in subsets.items() if of_share == share]
        card["num_groups"] = drawn[0]["group"].nunique()  # as many in every draw
        card["num_groups_by_split"] = drawn[0].groupby("split")["group"].nunique().astype(int).to_dict()
        card["num_images"] = sum(len(rows) for rows in drawn) / len(drawn)
        for arm, of_arm in card["arms"].items():
            keys = [plan.last[one.fit] for one in trainings if (one.arm, one.share_percent) == (arm, share)]
            of_arm["steps"] = sum(_num_steps(key, store) for key in keys) / len(keys)


def _num_steps(key: str, store: Store) -> int:
    """As the stage's card says: fewer than planned where training stopped early."""
    card = json.loads(sealed_text(store.folder(STAGES, key), "stage.json") or "{}")
    return int(card["num_steps"])


def _write(
    folder: Path,
    curve: dict[str, Any],
    predictions: pd.DataFrame,
    subsets: Mapping[tuple[float, int], pd.DataFrame],
) -> None:
    """Write the answer, after all of it was made."""
    title, said = label_curve_title(curve), label_curve_sections(curve)
    page = render_html(title, said, draw_label_curve(curve))
    groups = [
        rows[["group", "split"]].drop_duplicates().assign(share_percent=share, draw=draw)
        for (share, draw), rows in sorted(subsets.items())
    ]
    columns = ["share_percent", "draw", "group", "split"]
    write_durably(folder / "predictions.parquet", predictions.to_parquet(index=False))
    write_durably(folder / "subsets.csv", pd.concat(groups)[columns].to_csv(index=False))
    write_durably(folder / "learning_curve.md", render_markdown(title, said))
    write_durably(folder / "learning_curve.html", page)
    write_json_durably(folder / CURVE_FILE, curve)
