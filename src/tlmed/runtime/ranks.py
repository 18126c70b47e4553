"""One piece of work in several processes that know each other by rank, stopped and failing together."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from typing import Any

from tlmed.errors import InputError
from tlmed.runtime.processes import begin_worker
from tlmed.runtime.stopping import Stopped, deferred_stop, ignore_stop_signals, raise_if_stopped, request_stop
from tlmed.runtime.stopping import stop_requested as is_stop_requested

_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_END = 30.0


@dataclass(frozen=True)
class _Failure:
    """What ended the work of one rank; sent instead of the exception, which may not survive the way."""

    exception: InputError | OSError | None
    text: str


def run_in_ranks(function: Callable[..., None], num_ranks: int, *arguments: Any) -> None:
    """Call `function(*arguments)` in so many processes, which find each other through the environment.

    Each has LOCAL_RANK, MASTER_ADDR and MASTER_PORT set, from which torch and Fabric make a group on this machine. A
    stop signal to this process is passed on once, and the ranks end by raising `Stopped` where they can save.

    Args:
        function: of a module; it and its arguments travel to the processes.

    Raises:
        InputError, OSError: what the first failing rank raised.
        Stopped: after a stop signal.
        RuntimeError: a rank failed otherwise or was killed.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    port = _free_port()
    processes, answers = [], []
    for rank in range(num_ranks):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_run_rank, args=(rank, port, stop, sender, function, arguments))
        process.start()
        sender.close()
        processes.append(process)
        answers.append(receiver)
    try:
        with deferred_stop():
            failures = _wait(processes, answers, stop)
            raise_if_stopped()
    finally:
        _end(processes)
    for failure in failures:
        raise failure.exception or RuntimeError(failure.text)


def _wait(processes: list[SpawnProcess], answers: list[Connection], stop: Event) -> list[_Failure]:
    """Wait until all have ended or one has failed, and return the failures, first ones first."""
    failures: list[_Failure] = []
    waiting = dict(enumerate(zip(processes, answers, strict=True)))
    while waiting and not failures:
        if is_stop_requested():
            stop.set()
        for rank, (process, answer) in list(waiting.items()):
            process.join(_SECONDS_BETWEEN_LOOKS)
            if process.exitcode is None:
                continue
            del waiting[rank]
            with contextlib.suppress(EOFError):  # it had nothing to say
                failures.append(answer.recv())
                continue
            if process.exitcode:
                failures.append(_Failure(None, f"the process of rank {rank} ended with exit code {process.exitcode}"))
    # A cause that says what to do goes before the broken connections that it left the others with.
    return sorted(failures, key=lambda failure: failure.exception is None)


def _end(processes: list[SpawnProcess]) -> None:
    for process in processes:
        process.join(_SECONDS_BETWEEN_LOOKS)
        if process.exitcode is None:
            process.terminate()
            process.join(_SECONDS_TO_END)


def _run_rank(
    rank: int, port: int, stop: Event, sender: Connection, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    begin_worker()
    ignore_stop_signals()
    threading.Thread(target=_pass_on, args=(stop,), daemon=True).start()
    try:
        function(*arguments)
    except Stopped:
        return  # the parent knows
    except (InputError, OSError) as error:
        sender.send(_Failure(_portable(error), str(error)))
    except Exception:
        sender.send(_Failure(None, traceback.format_exc()))


def _portable(error: InputError | OSError) -> InputError | OSError:
    """The same failure as a class that survives being sent."""
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror, error.filename)
    return InputError(str(error))


def _pass_on(stop: Event) -> None:
    stop.wait()
    request_stop()


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])
