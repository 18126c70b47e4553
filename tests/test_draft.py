from __future__ import annotations

import pytest

from tlmed.draft import _positive, find_id_pattern


@pytest.mark.parametrize(
    ("names", "num_groups"),
    [
        ([f"sick/patient{p:02d}_{i}.png" for p in range(6) for i in range(3)], 6),
        ([f"Subject-{p}/scan {i}.jpg" for p in range(5) for i in range(2)], 5),
        ([f"kjr-{p}-{i}.png" for p in range(4) for i in range(3)], 4),
    ],
)
def test_ids_that_repeat_are_found(names: list[str], num_groups: int) -> None:
    found = find_id_pattern(names, ["sick", "well"] * (len(names) // 2) + ["sick"] * (len(names) % 2))
    assert found is not None
    assert found.num_groups == num_groups
    assert names[0] in found.example


@pytest.mark.parametrize(
    "names",
    [
        [f"image{number}.png" for number in range(20)],  # one group alone
        [f"patient{number}.png" for number in range(20)],  # nothing repeats
        ["cat.png", "dog.png", "tree.png"],
        [*(f"patient{p}_{i}.png" for p in range(5) for i in range(2)), *(f"{c}.png" for c in "abcdefgh")],  # few match
    ],
)
def test_what_is_no_id_is_not_proposed(names: list[str]) -> None:
    assert find_id_pattern(names, ["sick"] * len(names)) is None


def test_labels_are_not_taken_for_patients() -> None:
    names = [f"{label}_{number}.png" for label in ("covid", "normal") for number in range(10)]
    assert find_id_pattern(names, [name.split("_")[0] for name in names]) is None
    assert find_id_pattern(names, ["a", "b"] * 10) is not None


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (["COVID", "NonCOVID"], "COVID"),
        (["clear", "nodule"], "nodule"),
        (["no tumour", "tumour"], "tumour"),
        (["normal", "novel-covid"], "novel-covid"),
        (["benign", "malignant"], "malignant"),
    ],
)
def test_positive_class_is_guessed_from_its_name(classes: list[str], positive: str) -> None:
    assert _positive(classes)[0] == positive
