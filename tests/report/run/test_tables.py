from __future__ import annotations

from typing import Any

from rich.console import Console

from tlmed.report.run.tables import baselines_table, results_markdown, results_table


def metrics(num_classes: int = 2, *, undefined: bool = False) -> dict[str, Any]:
    cell = {"value": 0.8125, "low": 0.7, "high": 0.9, "method": "Wilson"}
    names = ("auroc", "accuracy", "balanced_accuracy", "macro_f1", "sensitivity", "specificity", "calibration_slope")
    row: dict[str, Any] = dict.fromkeys(names, cell)
    row |= {"accuracy": {"value": 0.75, "low": None, "high": None}} if undefined else {}
    row |= {"sensitivity": {"value": None, "low": None, "high": None, "undefined": "no reason"}} if undefined else {}
    arms = {"scratch": row, "generic-related": row}
    positive = "sick" if num_classes == 2 else None
    content = {"arms": arms, "positive": positive, "unit": "image", "num_units": 20, "num_groups": 9}
    calibrated = {arm: {"metrics": {}, "fitted_on": "val"} for arm in arms}
    rest = {"groups_known": True, "delivered": "generic-related", "calibrated": calibrated, "operating_points": {}}
    return with_baselines({**content, **rest})


def with_baselines(content: dict[str, Any]) -> dict[str, Any]:
    difference = {"value": 0.12, "low": -0.01, "high": 0.25, "method": "DeLong test", "arm": "generic-related"}
    row = content["arms"]["scratch"] | {"auroc": {"value": 0.6925, "low": 0.6, "high": 0.8, "method": "Wilson"}}
    few = {"value": 0.3, "low": None, "high": None, "too_few": "6 groups", "arm": "generic-related"}
    baselines = {"metadata": row | {"auroc_difference": difference}, "majority": row | {"auroc_difference": few}}
    return content | {"baselines": baselines}


def printed(content: dict[str, Any]) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(results_table(content))
        console.print(baselines_table(content))
    return captured.get()


def test_table_fits_eighty_columns_without_cutting_a_name() -> None:
    content = metrics()
    content["baselines"]["thumbnail-neighbour"] = content["baselines"].pop("majority")
    text = printed(content)
    assert "…" not in text
    for words in (
        "thumbnail-neighbour",
        "generic-related",
        "sensitivity",
        "specificity",
        "20 images of 9 groups",
        "0.812",
        "(0.700-0.900)",
    ):
        assert words in text


def test_markdown_states_values_intervals_and_what_is_undefined() -> None:
    lines = results_markdown(metrics(undefined=True)).splitlines()
    assert lines[0] == "| arm | AUROC | accuracy | sensitivity | specificity |"
    assert lines[2] == "| scratch | 0.812 (0.700-0.900) | 0.750 | undefined | 0.812 (0.700-0.900) |"


def test_more_classes_show_averages_over_classes() -> None:
    assert "balanced accuracy | macro F1" in results_markdown(metrics(num_classes=3))


def test_few_groups_and_approximate_intervals_are_named_in_place() -> None:
    content = metrics()
    content["num_folds"] = 5
    row = content["arms"]["scratch"]
    row["auroc"] = row["auroc"] | {"method": "mean over folds, Nadeau-Bengio, approximate"}
    row["sensitivity"] = {"value": 0.5, "low": None, "high": None, "too_few": "6 groups"}
    line = results_markdown(content).splitlines()[2]
    assert line.startswith("| scratch | 0.812 (0.700-0.900) | 0.812 (0.700-0.900) | 0.500 (too few) |")
    text = printed(content)
    assert "Out of fold: 20 images of 9 groups, approximate limits" in text
    assert "(too few)" in text


def test_a_figure_at_one_prevalence_has_a_dagger_and_a_footnote() -> None:
    content = metrics()
    for row in content["arms"].values():
        row["accuracy"] = row["accuracy"] | {"note": "at this set's prevalence"}
    text = results_markdown(content)
    assert text.splitlines()[0] == "| arm | AUROC | accuracy † | sensitivity | specificity |"
    assert "\n\n† at this set's prevalence\n\n" in text
    assert "† at this set's prevalence" in printed(content)
    assert "†" not in results_markdown(metrics()) + printed(metrics())


def test_baselines_stand_below_the_arms_with_what_the_difference_shows() -> None:
    content = metrics()
    difference = content["baselines"]["metadata"]["auroc_difference"]
    beaten, better = (difference | {"low": low, "high": high} for low, high in ((0.01, 0.2), (-0.2, -0.01)))
    for name, cell in (("intensity", beaten), ("thumbnail-forest", better)):
        content["baselines"][name] = content["baselines"]["metadata"] | {"auroc_difference": cell}
    arms, baselines = results_markdown(content).split("\n\n")
    assert "metadata" not in arms
    assert baselines.splitlines() == [
        "| simple baseline | AUROC | generic-related minus it |  |",
        "| --- | ---: | ---: | ---: |",
        "| metadata | 0.693 (0.600-0.800) | +0.120 (-0.010 to +0.250) | cannot be told |",
        "| majority | 0.693 (0.600-0.800) | +0.300 (too few) | cannot be told |",
        "| intensity | 0.693 (0.600-0.800) | +0.120 (+0.010 to +0.200) | beaten |",
        "| thumbnail-forest | 0.693 (0.600-0.800) | +0.120 (-0.200 to -0.010) | it is better |",
    ]
    assert printed(content).index("specificity") < printed(content).index("metadata")


def test_where_a_threshold_was_fixed_before_test_the_table_stands_on_it() -> None:
    content = metrics()
    share = {"value": 0.9, "low": 0.8, "high": 0.95}
    point = {"kind": "aim", "of": "sensitivity", "target": 0.9, "refused": None, "fits": [{}]}
    held = [{**point, "sensitivity": share, "specificity": share | {"value": 0.85}}]
    content["operating_points"] = {"scratch": [{**point, "refused": "needs 59"}], "generic-related": held}
    content["calibrated"]["generic-related"]["metrics"] = {"calibration_slope": {"value": 1.1, "low": 0.7, "high": 1.5}}
    text = results_markdown(content)
    lines = text.splitlines()
    assert lines[0] == "| arm | AUROC | slope | sensitivity * | specificity * |"
    assert lines[2] == "| scratch | 0.812 (0.700-0.900) | 0.812 (0.700-0.900) | refused | refused |"
    assert lines[3].endswith("| 1.100 (0.700-1.500) | 0.900 (0.800-0.950) | 0.850 (0.800-0.950) |")
    assert "* at the threshold to aim for sensitivity 0.9, chosen on val scores" in text


def test_the_level_of_the_differences_is_said() -> None:
    content = metrics()
    content["baselines"]["metadata"]["auroc_difference"] |= {"level": 0.9875}
    assert "98.75 % limits" in printed(content)
