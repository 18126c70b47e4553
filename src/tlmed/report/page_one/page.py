"""Page one: what was asked, what came out, how sure that is, and what speaks against it. In this order, always."""

from __future__ import annotations

from dataclasses import dataclass

from tlmed.evaluation.comparison.sentences import headline
from tlmed.report.page_one.conduct import cases_tested, conduct, sources
from tlmed.report.page_one.evidence import baselines, calibration, discrimination, where_tested
from tlmed.report.page_one.question import NOTHING_COMPARED, difference, drawn_difference, question
from tlmed.report.page_one.validity import caution, validity
from tlmed.report.parts import Drawing, Section
from tlmed.report.record.run_record import RunRecord

RESEARCH_ONLY = "Research use only, not a medical device."
_WORDS = (
    "Words. Arm: one way of training; all arms are tested on the same cases. Seed: one training with its own random "
    "numbers. Margin: the smallest difference that matters. AUROC: how often a case of the class sought scores above "
    "another; 0.5 is chance, 1 is perfect. 95 % interval: what the data leave possible. Control: an arm that lacks "
    "what is tried. Digest: a fingerprint of the written question. Store: the folder in which tlmed keeps trainings "
    "and counts each look at a test set."
)


@dataclass(frozen=True)
class PageOne:
    """The first page.

    Attributes:
        notice: what was constructed, where images are synthetic, or the recipe's note; None otherwise.
        verdict: in its own words, such as "cannot be told here".
        caution: which of the first item's sentences stands out, if one does.
        items: in order, numbered from 1.
        difference: drawn beside the second item; None where there is no interval.
    """

    notice: str | None
    verdict: str
    caution: str | None
    items: tuple[Section, ...]
    difference: Drawing | None


def page_one(record: RunRecord) -> PageOne:
    """Return the first page of a run's report."""
    comparison = record.comparison
    items = (
        question(record),
        difference(record),
        cases_tested(record),
        discrimination(record),
        calibration(record),
        baselines(record),
        validity(record),
        where_tested(record),
        conduct(record),
        sources(record),
        Section(
            RESEARCH_ONLY,
            ("No figure here says that the model is safe or useful for patients; nothing was tried on any.", _WORDS),
        ),
    )
    verdict = NOTHING_COMPARED if comparison is None else headline(comparison)
    return PageOne(_notice(record), verdict, caution(record), items, drawn_difference(comparison))


def _notice(record: RunRecord) -> str | None:
    made = [stage.name for stage in record.recipe.chain if stage.data.phantom is not None]
    made += [name for name, data in record.recipe.evaluation.external.items() if data.phantom is not None]
    what = f"Synthetic images, made by tlmed: {', '.join(made)}. Nothing here speaks for patients." if made else None
    return " ".join(filter(None, (what, record.recipe.note))) or None
