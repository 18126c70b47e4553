from __future__ import annotations

from typing import Any

from rich.console import Console

from tlmed.report.tables import results_markdown, results_table


def metrics(num_classes: int = 2, *, undefined: bool = False) -> dict[str, Any]:
    cell = {"value": 0.8125, "low": 0.7, "high": 0.9}
    names = ("auroc", "accuracy", "balanced_accuracy", "macro_f1", "sensitivity", "specificity")
    row = dict.fromkeys(names, cell)
    row |= {"accuracy": {"value": 0.75, "low": None, "high": None}} if undefined else {}
    row |= {"sensitivity": {"value": None, "low": None, "high": None}} if undefined else {}
    arms = {"scratch": row, "generic-related": row}
    positive = "sick" if num_classes == 2 else None
    return {"arms": arms, "positive": positive, "unit": "image", "num_units": 20, "num_groups": 9, "groups_known": True}


def test_table_fits_eighty_columns_without_cutting_a_name() -> None:
    console = Console(
        width=80,
    )
    with console.capture() as captured:
        console.print(results_table(metrics()))
    text = captured.get()
    assert "…" not in text
    for words in ("generic-related", "sensitivity", "specificity", "20 images of 9 groups", "0.812", "(0.700-0.900)"):
        assert words in text


def test_markdown_states_values_intervals_and_what_is_undefined() -> None:
    lines = results_markdown(metrics(undefined=True)).splitlines()
    assert lines[0] == "| arm | AUROC | accuracy | sensitivity | specificity |"
    assert lines[2] == "| scratch | 0.812 (0.700-0.900) | 0.750 | undefined | 0.812 (0.700-0.900) |"


def test_more_classes_show_averages_over_classes() -> None:
    assert "balanced accuracy | macro F1" in results_markdown(metrics(num_classes=3))
