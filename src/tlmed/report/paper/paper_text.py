"""Methods and Results for a paper: every number from the run folder, and no more said than its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tlmed.report.facts import data_facts, evaluation_facts, result_facts, training_facts
from tlmed.report.facts.fact import Fact, synthetic_domains
from tlmed.report.paper.citations import cited_in
from tlmed.report.parts import Chapter, Section
from tlmed.report.record.run_record import RunRecord

_Facts = tuple[Callable[[RunRecord], Fact | None], ...]

# A paragraph each: data, training, evaluation.
_METHODS: tuple[_Facts, ...] = (
    (
        data_facts.data_sources,
        data_facts.sampling,
        data_facts.classes,
        data_facts.partition,
        data_facts.disjointness,
        data_facts.preprocessing,
    ),
    (
        training_facts.goal,
        training_facts.network,
        training_facts.output,
        training_facts.initialisation,
        training_facts.training,
        training_facts.seeds,
        training_facts.selection,
        training_facts.software,
    ),
    (
        evaluation_facts.calibration_method,
        evaluation_facts.threshold,
        evaluation_facts.measures,
        evaluation_facts.intervals,
        evaluation_facts.contrast,
    ),
)
# Cases, the delivered arm, the comparison, what else could explain the figures, where it was tested.
_RESULTS: tuple[_Facts, ...] = (
    (data_facts.exclusions, data_facts.counts),
    (result_facts.performance, result_facts.accuracy_at_threshold, result_facts.calibration),
    (result_facts.verdict, result_facts.secondary),
    (result_facts.robustness,),
    (result_facts.external_testing, result_facts.internal_testing),
)
# What readers of any study of patients need before its figures; other gaps are named in the checklists.
_NEEDED = ("design", "setting", "years", "eligibility", "reference_standard", "ethics")
_STAGED_TRAINING = "Models were trained domain after domain (staged transfer learning; Meng et al. 2022)."


def methods(record: RunRecord) -> list[str]:
    """Return what was done, in paragraphs; what the recipe does not state stands in square brackets."""
    data, training, evaluation = (_paragraph(facts, record) for facts in _METHODS)
    staged = f"{_STAGED_TRAINING} " if len(record.recipe.chain) > 1 else ""
    return [" ".join([*_study(record), data]), f"{staged}{training}", evaluation]


def results(record: RunRecord) -> list[str]:
    """Return what came out, in paragraphs and in the words of the run's own verdict."""
    return [_paragraph(facts, record) for facts in _RESULTS]


def paper_chapter(record: RunRecord) -> Chapter:
    """Return both with what they cite."""
    done, found = methods(record), results(record)
    told = (
        "To paste and to shorten. Every number is from this run folder; what stands in square brackets is not stated "
        "in the recipe. The tables lie beside the report: tables/results.csv, tables/results.docx and, of several "
        "arms, tables/comparison.csv."
    )
    return Chapter(
        "Text and tables for a paper",
        "paper",
        (
            Section("How to use it", (told,)),
            Section("Methods", tuple(done)),
            Section("Results", tuple(found)),
            Section("References", tuple(cited_in(" ".join([*done, *found])))),
        ),
    )


def _study(record: RunRecord) -> Iterator[str]:
    """What a person stated, and where nothing is."""
    if record.recipe.target.name in synthetic_domains(record):
        yield "All images of the target are synthetic."
        return
    for name in _NEEDED:
        value = getattr(record.recipe.study, name)
        title = name.replace("_", " ")
        yield f"[{title}: not stated.]" if value is None else f"{title.capitalize()}: {value.removesuffix('.')}."


def _paragraph(facts: _Facts, record: RunRecord) -> str:
    known = (fact(record) for fact in facts)
    return " ".join(one.statement for one in known if one is not None)
