from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tlmed.runtime.stopping import Stopped, deferred_stop, install_stop_signals, raise_if_stopped, stop_requested


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    install_stop_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once_with_its_exit_code(number: signal.Signals, exit_code: int) -> None:
    with pytest.raises(Stopped) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == exit_code


def test_within_training_the_signal_waits_until_it_is_asked_for() -> None:
    with pytest.raises(Stopped), deferred_stop():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_requested()
        raise_if_stopped()
    assert not stop_requested()


def test_a_signal_nobody_asked_for_is_raised_at_the_end() -> None:
    with pytest.raises(Stopped), deferred_stop():
        os.kill(os.getpid(), signal.SIGTERM)
