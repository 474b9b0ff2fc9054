"""Processes that run seeds, usually a process per core.

Each process is `python -m trueup.lab.runs.seeds_main`, so that no process runs the calling program
again, whatever that program looks like. Ctrl-C reaches only the calling program, which ends them.
"""

from __future__ import annotations

import itertools
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from trueup.errors import TrueupError, reason
from trueup.gateway.worker.module_process import ModuleProcess

MODULE = "trueup.lab.runs.seeds_main"
# The number of seeds that a process runs before reporting.
SEEDS_AT_ONCE = 5
# More than any machine has cores.
PROCESSES_MOST = 61
# Pieces of work given to a process at a time, so that no process waits for the next piece.
PIECES_AHEAD = 2
LOOK_UP_SEC = 3_600.0
Answer = TypeVar("Answer")


def lived(
    job: Callable[[list[int]], Answer | Exception], seeds: Iterable[int], jobs: int
) -> Iterator[Answer]:
    """Yield the results of groups of seeds, in the order of the seeds.

    Runs under way end if the caller needs no more results.

    Args:
        job: runs a group of seeds, and returns its result or the exception that was raised; a
            function of a module, so that another process finds it.
        seeds: the seeds.
        jobs: how many processes run at the same time.

    Raises:
        TrueupError: a process ended; the message names its seeds.
        Exception: what a job has returned.
    """
    # The seeds may be endless, so only as many pieces are taken as the processes can hold.
    left = iter(seeds)
    pieces = iter(lambda: list(itertools.islice(left, SEEDS_AT_ONCE)), [])
    count = min(jobs, PROCESSES_MOST)
    first = list(itertools.islice(pieces, PIECES_AHEAD * count))
    # Answers come in the order of the pieces, because each process answers in order.
    with ExitStack() as stack:
        processes = [_started(job, stack) for _ in first[:count]]
        under_way = deque(zip(first, itertools.cycle(processes), strict=False))
        for piece, process in under_way:
            _tell(process, piece)
        while under_way:
            piece, process = under_way.popleft()
            answer = _heard(process, piece)
            if isinstance(answer, Exception):
                raise answer
            for following in itertools.islice(pieces, 1):
                _tell(process, following)
                under_way.append((following, process))
            yield answer


def _started(job: object, stack: ExitStack) -> ModuleProcess:
    try:
        process = ModuleProcess(MODULE)
    except OSError as error:
        raise TrueupError(f"No process can be started for the runs ({reason(error)}).") from error
    stack.callback(process.kill)
    _tell(process, job)
    return process


def _tell(process: ModuleProcess, what: object) -> None:
    # An ended process is noticed when its answer is due.
    with suppress(OSError):
        process.line.send(what)


def _heard(process: ModuleProcess, piece: list[int]) -> Any:
    said: bytes | None = None
    try:
        while said is None:
            said = process.receive(LOOK_UP_SEC)
    except (EOFError, OSError):
        text = f"A process died that ran one of the seeds {piece[0]} and up; --jobs 1 shows which."
        raise TrueupError(text) from None
    return pickle.loads(said)
