"""The chain, stage after stage: train what the store does not hold yet."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping

from tlmed.data.prepare import PreparedImages, images_name
from tlmed.runtime.integrity import publish_sealed
from tlmed.runtime.store import Store
from tlmed.transfer.plan import ChainPlan
from tlmed.transfer.stage_task import STAGES

log = logging.getLogger(__name__)


def train_chain(plan: ChainPlan, images: Mapping[str, PreparedImages], store: Store) -> list[str]:
    """Train every missing stage of a plan and return the keys of those trained here.

    Args:
        plan: parents stand before children.
        images: prepared images by what `images_name` calls them.
        store: receives `stages/<key>/`; a stage that another process is training is waited for.

    Raises:
        InputError: weights that do not fit, a non-finite loss.
        Stopped: after a stop signal; the same call goes on where it stopped.
    """
    missing = plan.missing(store)
    if not missing:
        return []
    from tlmed.transfer.stage import train_stage  # imports torch, which a cached run does not need

    trained = []
    for number, task in enumerate(missing, start=1):
        log.info("training %d of %d: %s, seed %d", number, len(missing), task.route, task.seed)
        with publish_sealed(store, STAGES, task.key) as folder:
            if folder is None:
                continue  # another process finished it while this one waited
            train_stage(task, images[images_name(task.stage.name, task.image)], store, folder)
        shutil.rmtree(store.work_folder(STAGES, task.key), ignore_errors=True)
        trained.append(task.key)
    return trained
