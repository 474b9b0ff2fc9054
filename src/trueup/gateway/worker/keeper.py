"""Keeps a worker at hand whose terminal is initialised, whatever befalls the ones before it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from trueup.errors import TrueupError
from trueup.forks import HOLDERS, never_finalise
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import RAISED, Call, decode_answer, encode_call
from trueup.gateway.terminal.terminal_log import TerminalLog
from trueup.gateway.worker.process import Worker
from trueup.logs import Logger, logger

log: Logger = logger("trueup.worker")


class Timing(msgspec.Struct, frozen=True):
    """How long calls may take, and how long to wait before the next attempt at a lost terminal.

    `deadline_ms` is above what a slow broker takes for an order, and far below for ever.
    `start_deadline_ms` is for initialize and login: starting the program takes up to 100 s, and
    then come the timeouts of attaching and of logging in, 60 s each by default (MT5 reference,
    initialize). `pauses_ms` are before the first, second, ... attempt, the last one from then on;
    `refused_pause_ms` is after a refused login, since a server may lock an account that is tried
    too often.
    """

    deadline_ms: int = 30_000
    start_deadline_ms: int = 300_000
    pauses_ms: tuple[int, ...] = (250, 1_000, 2_000, 5_000, 15_000, 30_000, 60_000)
    refused_pause_ms: int = 300_000


class NotInitialised(TrueupError):
    """The terminal could not be initialised; `refused` where its server refused the login."""

    def __init__(self, message: str, *, refused: bool) -> None:
        super().__init__(message)
        self.refused = refused


class Keeper:
    """Starts workers, and replaces those that are lost.

    Safe to share between threads; one of its own makes the replacements.

    Args:
        make: starts a worker process.
        timing: deadlines and pauses.
        diary: is told what each new worker found.
    """

    def __init__(self, make: Callable[[], Worker], timing: Timing, diary: TerminalLog) -> None:
        self._make, self._timing, self._diary = make, timing, diary
        self._state = threading.Condition()  # guards everything below
        self._worker: Worker | None = None
        self._coming: Worker | None = None
        self._wanted: tuple[Call, ...] = ()
        self._trouble = "it was not initialised"
        self._failures = 0
        self._pause_ms = 0
        self._attachments = 0
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        HOLDERS.add(self)

    def let_go_in_child(self) -> None:
        """Have no worker in a forked process, and wait there for no thread that had the state."""
        never_finalise(self._worker, self._coming)
        self._state, self._is_closed = threading.Condition(), threading.Event()
        self._is_closed.set()
        self._worker = self._coming = self._thread = None
        self._wanted = ()
        self._trouble = (
            f"process {self._process} started the worker; a process forked from it needs a "
            "WorkerTerminal of its own"
        )

    @property
    def trouble(self) -> str:
        """Why there is no worker, where there is none."""
        if self._coming is None:
            return self._trouble
        return f"it is being initialised, which takes {self._patience}; before: {self._trouble}"

    @property
    def _patience(self) -> str:
        """How long an attempt may take, in words."""
        return (
            "seconds where it runs, minutes where it has to start, and at most "
            f"{self._timing.start_deadline_ms / 1000:g} s"
        )

    @property
    def wanted(self) -> tuple[Call, ...]:
        """What a new worker has to call first; nothing where nobody wants one."""
        return self._wanted

    @property
    def attachments(self) -> int:
        """How many workers were put to use so far; each attaches to a terminal of its own."""
        return self._attachments

    def worker(self) -> Worker | None:
        """Return the worker, if it lives; one that died between two calls took nothing with it."""
        worker = self._worker
        if worker is not None and not worker.is_alive:
            self.lose(worker, f"process {worker.pid} ended between two calls")
            return None
        return worker

    def start(self) -> None:
        """Make a worker now, if there is none, whose terminal the caller initialises himself."""
        self.forget()
        if self._is_closed.is_set() or self.worker() is not None:
            return
        try:
            worker = self._make()
            worker.wait_ready(self._timing.start_deadline_ms)
        except TrueupError as error:
            with self._state:
                self._trouble = str(error)
            return
        with self._state:
            self._put_to_use(worker)

    def want(self, calls: tuple[Call, ...]) -> None:
        """Have these calls made by every worker from now on, in the background."""
        with self._state:
            if self._is_closed.is_set():
                return
            self._wanted = calls
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._keep, name="trueup-keeper", daemon=True
                )
                self._thread.start()
            self._state.notify_all()

    def forget(self) -> None:
        """Replace no worker any more."""
        with self._state:
            self._wanted = ()

    def lose(self, worker: Worker, why: str) -> None:
        """Kill a worker and, where one is wanted, begin to replace it."""
        worker.kill()
        with self._state:
            if self._worker is not worker:
                return
            self._worker = None
            self._note_failure(why, f"Lost: {why}", refused=False)
            self._state.notify_all()

    def note_answer(self) -> None:
        """Note that the terminal answers: the next loss is a first one."""
        self._failures = 0

    def close(self) -> Worker | None:
        """Stop replacing, and return the worker, which the caller has to end."""
        self._is_closed.set()
        with self._state:
            self._wanted = ()
            worker, coming = self._worker, self._coming
            self._worker = None
            self._trouble = "the gateway ends"
            self._state.notify_all()
        if coming is not None:
            coming.kill()
        if self._thread is not None:
            self._thread.join()
        return worker

    def _put_to_use(self, worker: Worker) -> None:
        # Counted first: whoever reads the count after a call of this worker must find it counted.
        self._attachments += 1
        self._worker = worker

    def _note_failure(self, why: str, words: str, *, refused: bool) -> None:
        self._trouble = why
        pauses_ms = self._timing.pauses_ms
        pause_ms = pauses_ms[min(self._failures, len(pauses_ms) - 1)]
        self._pause_ms = self._timing.refused_pause_ms if refused else pause_ms
        self._failures += 1
        if self._wanted:
            log.warning("[TERMINAL] %s; initialising again in %g s", words, self._pause_ms / 1000)

    # In the thread.

    def _keep(self) -> None:
        while not self._is_closed.is_set():
            with self._state:
                self._state.wait_for(
                    lambda: self._is_closed.is_set() or (self._wanted and self._worker is None)
                )
                wanted = self._wanted
            if not self._is_closed.wait(self._pause_ms / 1000):
                self._replace(wanted)

    def _replace(self, wanted: tuple[Call, ...]) -> None:
        """Make a worker, let it make the wanted calls, and put it to use."""
        try:
            worker, found = self._make_initialised(wanted)
        except TrueupError as error:
            refused = isinstance(error, NotInitialised) and error.refused
            with self._state:
                if self._wanted is wanted:
                    self._note_failure(str(error), f"Not there: {error}", refused=refused)
            return
        with self._state:
            is_wanted = self._wanted is wanted and self._worker is None
            if is_wanted:
                self._put_to_use(worker)
        if is_wanted:
            self._diary.introduce(worker.pid, *found)
        else:
            worker.kill()

    def _make_initialised(self, wanted: tuple[Call, ...]) -> tuple[Worker, tuple[Any, Any]]:
        with self._state:
            if self._wanted is not wanted or self._worker is not None:
                raise NotInitialised("nobody wants it any more", refused=False)
            self._coming = worker = self._make()
        try:
            return worker, self._initialise(worker, wanted)
        except TrueupError:
            worker.kill()
            raise
        finally:
            with self._state:
                self._coming = None

    def _initialise(self, worker: Worker, wanted: tuple[Call, ...]) -> tuple[Any, Any]:
        """Make the wanted calls, and return the account and the program that were found.

        Raises:
            NotInitialised: one of them failed.
            TrueupError: the worker hung or died.
        """
        worker.wait_ready(self._timing.start_deadline_ms)
        log.info(
            "[TERMINAL] Initialising in process %d, which takes %s", worker.pid, self._patience
        )
        for call in wanted:
            answer = worker.exchange(encode_call(call), self._timing.start_deadline_ms)
            try:
                value, (code, text) = decode_answer(answer)
            except RAISED as error:
                raise NotInitialised(f"{call.function} broke: {error}", refused=False) from error
            if not value:
                refused = code == mt5.RES_E_AUTH_FAILED
                raise NotInitialised(f"{call.function} failed: {code} {text}", refused=refused)
        account, program = (
            decode_answer(worker.exchange(encode_call(Call(name)), self._timing.deadline_ms))[0]
            for name in ("account_info", "terminal_info")
        )
        return account, program
