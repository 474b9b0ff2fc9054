"""Processes that run seeds, usually a process per core.

Each process is `python -m trueup.lab.runs.seeds_main`, so that no process runs the calling program
again, whatever that program looks like. Ctrl-C reaches only the calling program, which ends them.
"""

from __future__ import annotations

import itertools
import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from trueup.errors import TrueupError, reason
from trueup.gateway.worker.module_process import ModuleProcess

if TYPE_CHECKING:
    from trueup.lab.runs.coverage import Coverage
    from trueup.lab.runs.reports import Report

MODULE = "trueup.lab.runs.seeds_main"
# The number of seeds that a process runs before reporting.
SEEDS_AT_ONCE = 5
# More than any machine has cores.
PROCESSES_MOST = 61
# Pieces of work given to a process at a time, so that no process waits for the next piece.
PIECES_AHEAD = 2
LOOK_UP_SEC = 3_600.0


def lived(
    seeds: Iterable[int], strategy: str, jobs: int
) -> Iterator[tuple[list[Report], Coverage]]:
    """Yield the results of groups of seeds, in the order of the seeds.

    Runs under way end if the caller needs no more results.

    Raises:
        TrueupError: a process ended; the message names its seeds.
        StrategyError: a strategy failed.
    """
    # The seeds may be endless, so only as many pieces are taken as the processes can hold.
    left = iter(seeds)
    pieces = iter(lambda: list(itertools.islice(left, SEEDS_AT_ONCE)), [])
    count = min(jobs, PROCESSES_MOST)
    first = list(itertools.islice(pieces, PIECES_AHEAD * count))
    # Answers come in the order of the pieces, because each process answers in order.
    with ExitStack() as stack:
        processes = [_started(strategy, stack) for _ in first[:count]]
        under_way = deque(zip(first, itertools.cycle(processes), strict=False))
        for piece, process in under_way:
            _tell(process, piece)
        while under_way:
            piece, process = under_way.popleft()
            answer = _heard(process, piece)
            for following in itertools.islice(pieces, 1):
                _tell(process, following)
                under_way.append((following, process))
            yield answer


def _started(strategy: str, stack: ExitStack) -> ModuleProcess:
    try:
        process = ModuleProcess(MODULE)
    except OSError as error:
        raise TrueupError(f"No process can be started for the runs ({reason(error)}).") from error
    stack.callback(process.kill)
    _tell(process, strategy)
    return process


def _tell(process: ModuleProcess, what: object) -> None:
    # An ended process is noticed when its answer is due.
    with suppress(OSError):
        process.line.send(what)


def _heard(process: ModuleProcess, piece: list[int]) -> tuple[list[Report], Coverage]:
    said: bytes | None = None
    try:
        while said is None:
            said = process.receive(LOOK_UP_SEC)
    except (EOFError, OSError):
        text = f"A process died that ran one of the seeds {piece[0]} and up; --jobs 1 shows which."
        raise TrueupError(text) from None
    answer: tuple[list[Report], Coverage] | Exception = pickle.loads(said)
    if isinstance(answer, Exception):
        raise answer
    return answer
