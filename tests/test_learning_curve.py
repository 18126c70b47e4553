"""Which trainings make a learning curve."""

from __future__ import annotations

import pytest

from tlmed.errors import InputError
from tlmed.learning_curve import plan_trainings

PAIRS = [(arm, seed) for arm in ("generic", "generic-related") for seed in (3, 5, 8)]


def test_every_arm_has_the_same_draws() -> None:
    trainings = plan_trainings(PAIRS, (10, 20, 50, 100), 10)
    by_arm = {
        arm: [training[1:] for training in trainings if training.arm == arm] for arm in ("generic", "generic-related")
    }
    assert by_arm["generic"] == by_arm["generic-related"]
    shares = [share for share, _, _ in by_arm["generic"]]
    assert {share: shares.count(share) for share in shares} == {10: 10, 20: 10, 50: 5, 100: 3}
    assert len({training.fit for training in trainings}) == len(trainings) == 56


def test_draws_take_the_seeds_in_turn() -> None:
    trainings = plan_trainings(PAIRS[:3], (10, 100), 4)
    assert [(one.share_percent, one.draw, one.seed) for one in trainings] == [
        *((10, draw, seed) for draw, seed in enumerate((3, 5, 8, 3))),
        *((100, draw, seed) for draw, seed in enumerate((3, 5, 8))),
    ]


def test_fewer_draws_at_larger_shares_but_never_one() -> None:
    draws = [one.share_percent for one in plan_trainings([("a", 0)], (29.9, 30, 99), 2)]
    assert draws == [29.9, 29.9, 30, 30, 99, 99]


def test_one_draw_is_refused() -> None:
    with pytest.raises(InputError, match="--draws 1: one draw does not show how draws differ"):
        plan_trainings(PAIRS, (10,), 1)
