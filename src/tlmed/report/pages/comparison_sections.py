"""The answer of a comparison in words and a table: for the screen, as Markdown, and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlmed.evaluation.comparison.sentences import headline, sentence_of_registration, verdict_in_words
from tlmed.report.parts import Grid, Section

_SPEAKS_FOR = {"a": "these models", "b": "this training set", "c": "new training sets", None: "-"}
_IN_FULL = {
    "a": "these trained models on new patients",
    "b": "this training set, with new patients and new seeds",
    "c": "new training sets of this size, and new patients",
}


def comparison_sections(comparison: Mapping[str, Any]) -> list[Section]:
    """Return what is to be said of a comparison: the verdict, all contrasts, the reasons.

    Args:
        comparison: content of `comparison.json`.
    """
    attribution, contrasts = comparison["attribution"], comparison["contrasts"]
    further = [f"{one['role'].capitalize()}: {one['sentence']}" for one in contrasts if one["role"] != "primary"]
    verdict = [comparison["verdict"]["sentence"], *([attribution["sentence"]] if attribution is not None else [])]
    return [
        Section(f"Verdict: {headline(comparison)}", tuple(verdict)),
        Section(
            "Contrasts",
            _footnotes(comparison),
            Grid(
                ("contrast", "difference", "speaks for", "verdict", "Holm p"),
                tuple(_row(contrast, comparison["subject"]) for contrast in contrasts),
            ),
        ),
        Section(
            "Reasons",
            (*further, comparison["needed"]["sentence"]),
        ),
        Section(
            "What this rests on",
            (_cases(comparison), _seeds(comparison), sentence_of_registration(comparison["registered"])),
        ),
    ]


def _row(contrast: Mapping[str, Any], subject: str | None) -> tuple[str, ...]:
    speaks_for, corrected = contrast["speaks_for"], contrast["p_holm"]
    difference = f"{contrast['value']:+.3f}"
    if speaks_for is not None:
        claim = contrast["claims"][speaks_for]
        difference += f" ({claim['low']:+.3f} to {claim['high']:+.3f})"
    return (
        contrast["name"],
        difference,
        _SPEAKS_FOR[speaks_for],
        verdict_in_words(contrast["verdict"], subject),
        "" if corrected is None else "< 0.001" if corrected < 0.001 else f"{corrected:.3f}",
    )


def _footnotes(comparison: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = sorted({one["speaks_for"] for one in comparison["contrasts"]} - {None})
    said = [f"Differences with 95 % limits, for {' or '.join(_IN_FULL[kind] for kind in kinds)}."] if kinds else []
    if comparison["design"]["given_start"] and set(kinds) - {"a"}:
        said.append("The starting weights were given: they are not drawn anew, and others may come out otherwise.")
    levels = [one["level"] for one in comparison["contrasts"] if one["p_holm"] is not None]
    if levels:
        said.append(
            f"Secondary contrasts, those with a Holm p, have {100 * levels[0]:.4g} % limits, 95 % for all of them "
            "together (Bonferroni); primary and controls stand by themselves."
        )
    return tuple(said)


def _cases(comparison: Mapping[str, Any]) -> str:
    design = comparison["design"]
    by_class = ", ".join(f"{number} {name}" for name, number in design["num_groups_by_class"].items())
    groups = f"{design['num_groups']} groups ({by_class})" if design["groups_known"] else "an unknown number of groups"
    kind = {"fixed": "on a fixed test set", "k-fold": "out of fold"}.get(design["split"], "leaving one source out")
    unit = "" if comparison["unit"] == "unit" else f" ({comparison['unit']})"
    return f"{design['num_units']} units{unit} of {groups}, {kind}."


def _seeds(comparison: Mapping[str, Any]) -> str:
    design = comparison["design"]
    said = "; ".join(f"{arm}: {', '.join(map(str, seeds))}" for arm, seeds in design["seeds"].items())
    alike = f" All seeds of {' and '.join(design['alike'])} came to the same." if design["alike"] else ""
    return f"Seeds: {said}.{alike}"
