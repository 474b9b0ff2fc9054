"""Keep a worker process with an initialised terminal running, and replace a lost worker."""

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
    """Deadlines of calls, and pauses between attempts to replace a lost terminal.

    Attributes:
        deadline_ms: for all calls but initialize and login; longer than a slow broker takes for an
            order.
        start_deadline_ms: for initialize and login. Starting the program takes up to 100 s;
            attaching and logging in have timeouts of 60 s each by default (MT5 reference,
            initialize).
        pauses_ms: before the first, second, ... attempt; the last applies from then on.
        refused_pause_ms: after a refused login, because a server may lock an account after too many
            attempts.
    """

    deadline_ms: int = 30_000
    start_deadline_ms: int = 300_000
    pauses_ms: tuple[int, ...] = (250, 1_000, 2_000, 5_000, 15_000, 30_000, 60_000)
    refused_pause_ms: int = 300_000


class NotInitialised(TrueupError):
    """The terminal could not be initialised; `refused` if its server refused the login."""

    def __init__(self, message: str, *, refused: bool) -> None:
        super().__init__(message)
        self.refused = refused


class Keeper:
    """Starts a worker, and replaces it when it is lost.

    Thread-safe; replacements are made in a thread of the keeper's own.

    Args:
        make: starts a worker process.
        timing: deadlines and pauses.
        terminal_log: logs the state of each new worker's terminal.
    """

    def __init__(
        self, make: Callable[[], Worker], timing: Timing, terminal_log: TerminalLog
    ) -> None:
        self._make, self._timing, self._terminal_log = make, timing, terminal_log
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
        """In a forked process: drop the worker, and replace locks that no thread can release."""
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
        """Why there is no worker, if there is none."""
        if self._coming is None:
            return self._trouble
        return f"it is being initialised, which takes {self._patience}; before: {self._trouble}"

    @property
    def _patience(self) -> str:
        """How long an attempt may take, as text."""
        return (
            "seconds where it runs, minutes where it has to start, and at most "
            f"{self._timing.start_deadline_ms / 1000:g} s"
        )

    @property
    def wanted(self) -> tuple[Call, ...]:
        """The calls that a new worker has to make first; empty if no worker is wanted."""
        return self._wanted

    @property
    def attachments(self) -> int:
        """How many workers have been in use so far; each attaches to the terminal anew."""
        return self._attachments

    def worker(self) -> Worker | None:
        """Return the worker if it runs; replace a worker that died between two calls."""
        worker = self._worker
        if worker is not None and not worker.is_alive:
            # No call was under way, so no order is in doubt because of this loss.
            self.lose(worker, f"process {worker.pid} ended between two calls")
            return None
        return worker

    def start(self) -> None:
        """Start a worker now if there is none; the caller initialises its terminal."""
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
        """Have every worker make these calls from now on, in the background."""
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
        """Stop replacing lost workers."""
        with self._state:
            self._wanted = ()

    def lose(self, worker: Worker, why: str) -> None:
        """Kill a worker, and begin to replace it if a worker is wanted."""
        worker.kill()
        with self._state:
            if self._worker is not worker:
                return
            self._worker = None
            self._note_failure(why, f"Lost: {why}", refused=False)
            self._state.notify_all()

    def note_answer(self) -> None:
        """Note that the terminal answers, so that the pauses start from the shortest again."""
        self._failures = 0

    def close(self) -> Worker | None:
        """Stop replacing; return the worker, which the caller must end."""
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
        # Count first: a caller that reads the count after a call of this worker must find it there.
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

    # The methods below run in the keeper's thread.

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
        """Start a worker, let it make the wanted calls, and put it to use."""
        try:
            worker, found = self._make_initialised(wanted)
        except TrueupError as error:
            refused = isinstance(error, NotInitialised) and error.refused
            with self._state:
                # A failure no longer matters if other calls are wanted by now.
                if self._wanted is wanted:
                    self._note_failure(str(error), f"Not there: {error}", refused=refused)
            return
        # `forget` or `start` may have been called during the attempt.
        with self._state:
            is_wanted = self._wanted is wanted and self._worker is None
            if is_wanted:
                self._put_to_use(worker)
        if is_wanted:
            self._terminal_log.introduce(worker.pid, *found)
        else:
            worker.kill()

    def _make_initialised(self, wanted: tuple[Call, ...]) -> tuple[Worker, tuple[Any, Any]]:
        # Publish the worker before the long wait, so that `close` can kill it.
        with self._state:
            if self._wanted is not wanted or self._worker is not None:
                raise NotInitialised("it is not wanted any more", refused=False)
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
        """Make the wanted calls; return the account and the terminal program that were found.

        Raises:
            NotInitialised: a call failed.
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
                raise NotInitialised(f"{call.function} failed: {error}", refused=False) from error
            # Only a refused login gets the long pause; other failures may pass soon.
            if not value:
                refused = code == mt5.RES_E_AUTH_FAILED
                raise NotInitialised(f"{call.function} failed: {code} {text}", refused=refused)
        # Read the state once, for the log.
        account, program = (
            decode_answer(worker.exchange(encode_call(Call(name)), self._timing.deadline_ms))[0]
            for name in ("account_info", "terminal_info")
        )
        return account, program
