"""What in the store a run would need again, so that `tlmed clean` keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlmed.audit.chain import AuditReport
from tlmed.audit.search import AUDITS
from tlmed.audit.thumbnails import thumbnails_key
from tlmed.data.prepare import IMAGES
from tlmed.domains import PreparedDomains
from tlmed.external import ExternalPredictions
from tlmed.recipe.recipe import Recipe
from tlmed.runtime.store import Store
from tlmed.transfer.plan import ChainPlan
from tlmed.transfer.predictions import PREDICTIONS, predicted_stage
from tlmed.transfer.stage_task import STAGES, StageTask


def references(
    recipe: Recipe,
    audited: AuditReport,
    data: PreparedDomains,
    plan: ChainPlan,
    inner: dict[str, StageTask],
    external: Mapping[str, ExternalPredictions],
    store: Store,
) -> dict[str, Sequence[str]]:
    """Return keys of the store by kind.

    Args:
        audited: what was looked at before the run.
        data: decoded.
        plan: of all trainings.
        inner: tasks that chose settings.
        external: what was predicted, where that has been done.
        store: that holds them.
    """
    tasks = plan.tasks | inner
    phantoms = [name for name in data.manifests if recipe.stage(name).data.phantom is not None]
    measured = thumbnails_key(data.manifests[recipe.target.name].table["digest"].tolist(), recipe.image.value_range)
    decoded = [one.key for one in data.images.values()]
    of_external = [one.references for one in external.values()]
    looked_at = [audited.references, *of_external]
    return {
        AUDITS: sorted({key for one in looked_at for key in one.get(AUDITS, ())}),
        STAGES: [*tasks, *plan.foreign_stages()],
        IMAGES: sorted({measured, *decoded, *(key for one in looked_at for key in one.get(IMAGES, ()))}),
        PREDICTIONS: [key for key in store.entries(PREDICTIONS) if predicted_stage(store, key) in tasks],
        "phantoms": [data.manifests[name].root.name for name in phantoms],
    }
