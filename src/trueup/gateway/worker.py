"""`WorkerTerminal`: a terminal in a process of its own, every call with a deadline.

A worker that does not answer in time is killed, and so is one whose terminal is lost; another is
started and initialised with the same arguments, after a pause that grows. What a caller sees is
what the official module would say, and it is true:

===========================  ======  ==========================  ==============================
what happened                code    text begins                 what `order_send` did
===========================  ======  ==========================  ==============================
the deadline passed          -10005  IPC timeout                 not known
the worker ended in a call   -10002  IPC recv failed             not known
there is no worker now       -10004  No IPC connection           nothing, it was not called
it could not be initialised  -10003  IPC initialize failed       nothing, it was not called
===========================  ======  ==========================  ==============================
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from trueup.errors import TrueupError
from trueup.gateway import mt5_constants as mt5
from trueup.gateway.call_wire import SUCCESS, Error, decode_answer, encode_call, failed
from trueup.gateway.called import CalledTerminal
from trueup.gateway.worker_process import Died, Hung, Worker

log = logging.getLogger("trueup.worker")

DEADLINE_MS = 30_000
"""For an ordinary call: above what a slow broker takes for an order, far below for ever."""
START_DEADLINE_MS = 300_000
"""For initialize and login: starting the program takes up to 100 s, and then come the timeouts of
attaching and of logging in, 60 s each by default (MT5 reference, initialize)."""
PAUSES_MS = (250, 1_000, 2_000, 5_000, 15_000, 30_000, 60_000)
"""Before the first, second, ... attempt to replace a lost worker; the last one from then on."""
REFUSED_PAUSE_MS = 300_000
"""After a refused login: a server may lock an account that is tried too often."""

# The module does not connect again by itself: after these, only a new connection helps.
LOST = frozenset(
    {
        mt5.RES_E_INTERNAL_FAIL,
        mt5.RES_E_INTERNAL_FAIL_SEND,
        mt5.RES_E_INTERNAL_FAIL_RECEIVE,
        mt5.RES_E_INTERNAL_FAIL_CONNECT,
    }
)
_STARTS = frozenset({"initialize", "login"})


class _Request(NamedTuple):
    """A call that a new worker has to make first."""

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class WorkerTerminal(CalledTerminal):
    """A `Terminal` whose functions run in a worker process.

    Safe to share between threads: calls are made one at a time, and `last_error()` is that of the
    latest call of the thread that asks.

    Args:
        factory: `module:function` that makes the real terminal, in the worker.
        options: the function's keyword arguments.
        deadline_ms: how long a call may take before its worker is killed.
        start_deadline_ms: the same for `initialize` and `login`.
        pauses_ms: before each attempt to replace a lost worker; the last one from then on.
        refused_pause_ms: before the next attempt after a refused login.
    """

    def __init__(
        self,
        factory: str,
        options: Mapping[str, Any] | None = None,
        *,
        deadline_ms: int = DEADLINE_MS,
        start_deadline_ms: int = START_DEADLINE_MS,
        pauses_ms: Sequence[int] = PAUSES_MS,
        refused_pause_ms: int = REFUSED_PAUSE_MS,
    ) -> None:
        self._factory, self._options = factory, dict(options or {})
        self._deadline_ms, self._start_deadline_ms = deadline_ms, start_deadline_ms
        self._pauses_ms, self._refused_pause_ms = tuple(pauses_ms), refused_pause_ms
        self._turn = threading.Lock()  # one call at a time
        self._state = threading.Condition()  # guards everything below
        self._worker: Worker | None = None
        self._coming: Worker | None = None
        self._wanted: tuple[_Request, ...] = ()
        self._trouble = "it was not initialised"
        self._failures = 0
        self._pause_ms = 0
        self._is_closed = threading.Event()
        self._keeper: threading.Thread | None = None
        self._latest = threading.local()

    # -- for who runs it -----------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The worker process that calls are made in now; None while there is none."""
        worker = self._worker
        return worker.pid if worker is not None else None

    @property
    def trouble(self) -> str | None:
        """Why calls fail now; None while there is a worker to make them in."""
        with self._state:
            return None if self._worker is not None else self._trouble

    def keep_initialized(self, *args: Any, **kwargs: Any) -> None:
        """Initialise in the background, and again for as long as it takes.

        Returns at once. Until it has worked, every call fails with -10004 and the reason.
        """
        with self._state:
            self._want((_Request("initialize", args, kwargs),))

    def close(self) -> None:
        """End the worker, after the call under way where that comes back within its deadline."""
        self._is_closed.set()
        with self._state:
            self._wanted = ()
            self._state.notify_all()
            worker, coming = self._worker, self._coming
            self._worker = self._coming = None
            self._trouble = "the gateway ends"
        if coming is not None:
            coming.kill()
        if worker is not None:
            self._end(worker)
        if self._keeper is not None:
            self._keeper.join()

    def _end(self, worker: Worker) -> None:
        # A worker killed in `order_send` leaves an order in doubt: a call gets its time.
        if self._turn.acquire(timeout=self._deadline_ms / 1000):
            worker.close()
            self._turn.release()
        else:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the terminal --------------------------------------------------------------------------

    def last_error(self) -> Error:
        """Code and text of this thread's latest call."""
        error: Error = getattr(self._latest, "error", SUCCESS)
        return error

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        request = _Request(function, args, kwargs)
        raw = encode_call(*request)
        with self._turn:
            self._latest.error = SUCCESS
            if function == "shutdown":
                self._forget()
            elif function == "initialize":
                self._start()
            value, self._latest.error = self._attempt(request, raw)
        return value

    def _attempt(self, request: _Request, raw: bytes) -> tuple[Any, Error]:
        function = request.function
        worker = self._living_worker()
        if worker is None:
            if function == "shutdown":
                return True, SUCCESS
            return failed(function), self._unreachable(function)
        try:
            answer = worker.exchange(raw, self._deadline_of(function))
        except Hung as hung:
            self._lose(worker, f"{function}: {hung}")
            code = mt5.RES_E_INTERNAL_FAIL_TIMEOUT
            return failed(function), _error(code, f"{function}: {hung}")
        except Died as died:
            self._lose(worker, f"{function}: {died}")
            code = mt5.RES_E_INTERNAL_FAIL_RECEIVE
            return failed(function), _error(code, f"{function}: {died}")
        value, error = decode_answer(answer)
        self._judge(worker, request, value, error)
        return value, error

    def _judge(self, worker: Worker, request: _Request, value: Any, error: Error) -> None:
        """Note what an answer says about the connection to the terminal."""
        code, text = error
        with self._state:
            if request.function in _STARTS:
                if value:
                    self._note_started(request)
            elif code not in LOST:
                self._failures = 0
            elif self._wanted:
                self._lose(worker, f"{request.function}: {code} {text}")

    def _note_started(self, request: _Request) -> None:
        begun = () if request.function == "initialize" else self._wanted[:1]
        self._want((*begun, request))

    def _deadline_of(self, function: str) -> int:
        return self._start_deadline_ms if function in _STARTS else self._deadline_ms

    # -- its worker ----------------------------------------------------------------------------

    def _living_worker(self) -> Worker | None:
        """The worker, if it lives; one that died between two calls took nothing with it."""
        worker = self._worker
        if worker is not None and not worker.is_alive:
            self._lose(worker, f"process {worker.pid} ended between two calls")
            return None
        return worker

    def _unreachable(self, function: str) -> Error:
        starts = function in _STARTS
        code = mt5.RES_E_INTERNAL_FAIL_INIT if starts else mt5.RES_E_INTERNAL_FAIL_CONNECT
        return _error(code, self._trouble)

    def _start(self) -> None:
        """Make a worker for an `initialize`, if there is none."""
        self._forget()
        if self._living_worker() is not None:
            return
        worker = Worker(self._factory, self._options)
        try:
            worker.wait_ready(self._start_deadline_ms)
        except TrueupError as error:
            worker.kill()
            with self._state:
                self._trouble = str(error)
            return
        with self._state:
            self._worker = worker

    def _forget(self) -> None:
        """Nothing is to be initialised again: the caller closed the connection."""
        with self._state:
            self._wanted = ()

    def _want(self, requests: tuple[_Request, ...]) -> None:
        self._wanted = requests
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="trueup-keeper", daemon=True)
            self._keeper.start()
        self._state.notify_all()

    def _lose(self, worker: Worker, why: str) -> None:
        worker.kill()
        with self._state:
            if self._worker is not worker:
                return
            self._worker = None
            self._note_failure(why, refused=False)
            self._state.notify_all()

    def _note_failure(self, why: str, *, refused: bool) -> None:
        self._trouble = why
        pause_ms = self._pauses_ms[min(self._failures, len(self._pauses_ms) - 1)]
        self._pause_ms = self._refused_pause_ms if refused else pause_ms
        self._failures += 1
        if self._wanted:
            log.warning(
                "[TERMINAL] Lost: %s; initialising again in %g s", why, self._pause_ms / 1000
            )

    # -- the keeper ----------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._is_closed.is_set():
            with self._state:
                self._state.wait_for(
                    lambda: self._is_closed.is_set() or (self._wanted and self._worker is None)
                )
                wanted = self._wanted
            if not self._is_closed.wait(self._pause_ms / 1000):
                self._revive(wanted)

    def _revive(self, wanted: tuple[_Request, ...]) -> None:
        """Make a worker, let it make the wanted calls, and put it to use."""
        with self._state:
            if self._wanted is not wanted or self._worker is not None:
                return
            self._coming = worker = Worker(self._factory, self._options)
        why, refused = self._initialise(worker, wanted)
        with self._state:
            self._coming = None
            is_good = why is None and self._wanted is wanted and self._worker is None
            if is_good:
                self._worker = worker
            elif why is not None and self._wanted is wanted:
                self._note_failure(why, refused=refused)
        if not is_good:
            worker.kill()

    def _initialise(self, worker: Worker, wanted: tuple[_Request, ...]) -> tuple[str | None, bool]:
        """Return why it cannot be initialised, or None, and whether the server refused."""
        try:
            worker.wait_ready(self._start_deadline_ms)
            for request in wanted:
                answer = worker.exchange(encode_call(*request), self._start_deadline_ms)
                value, (code, text) = decode_answer(answer)
                if not value:
                    why = f"{request.function} failed: {code} {text}"
                    return why, code == mt5.RES_E_AUTH_FAILED
            self._introduce(worker)
        except TrueupError as error:
            return str(error), False
        return None, False

    def _introduce(self, worker: Worker) -> None:
        """Say in the log what a person at three in the morning wants to know."""
        raws = [encode_call(name, (), {}) for name in ("account_info", "terminal_info")]
        answers = [decode_answer(worker.exchange(raw, self._deadline_ms)) for raw in raws]
        (account, _), (program, _) = answers
        if account is None or program is None:
            return
        log.info(
            "[TERMINAL] Initialised: account %d at %s, build %d, process %d",
            *(account.login, account.server, program.build, worker.pid),
        )
        if not program.connected:
            log.warning("[TERMINAL] It has no link to its trade server")
        if not (program.trade_allowed and account.trade_allowed and account.trade_expert):
            log.warning(
                "[TERMINAL] Orders will be refused: Algo Trading (button) %s, account may trade %s,"
                " server allows programs %s",
                *map(_yes, (program.trade_allowed, account.trade_allowed, account.trade_expert)),
            )


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "NO"


def _error(code: int, why: str) -> Error:
    text = mt5.LAST_ERROR_TEXTS[code].rstrip(", ")
    return code, f"{text}, {why}"
