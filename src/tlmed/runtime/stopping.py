"""Ctrl-C and SIGTERM: at once where nothing is lost, and after saving within training."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Stopped(BaseException):
    """The user or the system asked to stop; everything is saved. Exit code 130 for Ctrl-C, 143 for SIGTERM."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.exit_code = 128 + signal_number


class _State:
    num_deferring = 0
    pending: int | None = None


def install_stop_signals() -> None:
    """Turn Ctrl-C and SIGTERM into `Stopped`; to be called once, by the command line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)


def ignore_stop_signals() -> None:
    """Leave Ctrl-C and SIGTERM to the parent process, which passes them on with `request_stop`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def request_stop() -> None:
    """Ask this process to stop where it can save, as SIGTERM would."""
    _State.pending = signal.SIGTERM


def _on_signal(number: int, _frame: FrameType | None) -> None:
    if _State.num_deferring and _State.pending is None:
        _State.pending = number
    else:
        raise Stopped(number)


@contextlib.contextmanager
def deferred_stop() -> Iterator[None]:
    """Hold a first stop signal back; the block asks `stop_requested` where it can save. A second one stops at once."""
    _State.num_deferring += 1
    try:
        yield
    finally:
        _State.num_deferring -= 1
    if _State.num_deferring == 0 and _State.pending is not None:
        raise_if_stopped()


def stop_requested() -> bool:
    """Whether a stop signal is being held back."""
    return _State.pending is not None


def raise_if_stopped() -> None:
    """Raise the `Stopped` that is being held back, if there is one."""
    number, _State.pending = _State.pending, None
    if number is not None:
        raise Stopped(number)
