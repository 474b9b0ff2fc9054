"""`WorkerTerminal`: a terminal in a process of its own, with a deadline for every call.

A worker that does not answer in time is killed, and so is a worker whose terminal is lost. A new
worker is started and initialised with the same arguments, after a growing pause. Callers see error
codes of the official module, and they are accurate:

===========================  ======  ==========================  ==============================
event                        code    text begins                 effect of `order_send`
===========================  ======  ==========================  ==============================
the deadline passed          -10005  IPC timeout                 not known
the worker ended in a call   -10002  IPC recv failed             not known
there is no worker now       -10004  No IPC connection           none, it was not called
it could not be initialised  -10003  IPC initialize failed       none, it was not called
===========================  ======  ==========================  ==============================

A worker whose answer cannot be decoded is killed, and counts as a worker that ended in the call.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from trueup.errors import RemoteProtocolError
from trueup.forks import HOLDERS
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import (
    SUCCESS,
    Call,
    Error,
    decode_answer,
    decode_answers,
    encode_call,
    encode_calls,
    failed,
    value_of,
)
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.terminal_log import TerminalLog
from trueup.gateway.terminal.together import Made
from trueup.gateway.worker.keeper import Keeper, Timing
from trueup.gateway.worker.process import Died, Hung, Worker

# After these errors the module does not reconnect by itself: only a new worker helps.
LOST = frozenset(
    {
        mt5.RES_E_INTERNAL_FAIL,
        mt5.RES_E_INTERNAL_FAIL_SEND,
        mt5.RES_E_INTERNAL_FAIL_RECEIVE,
        mt5.RES_E_INTERNAL_FAIL_CONNECT,
    }
)
_STARTS = frozenset({"initialize", "login"})


class WorkerTerminal(ForwardingTerminal):
    """A `Terminal` whose functions run in a worker process.

    Thread-safe: one call is made at a time, and `last_error()` describes the latest call of the
    calling thread.

    Args:
        factory: `module:function` that makes the real terminal, in the worker.
        options: the function's keyword arguments.
        timing: deadlines and pauses.

    Raises:
        ValueError: `factory` names no function that another process could import.
    """

    def __init__(
        self,
        factory: str,
        options: Mapping[str, Any] | None = None,
        timing: Timing = Timing(),  # noqa: B008
    ) -> None:
        module, _, name = factory.partition(":")
        if not name.isidentifier() or not module or module == "__main__":
            # The worker never imports the program that starts it.
            raise ValueError(
                f"factory={factory!r} is not valid: give 'module:function' of a module that can be "
                "imported."
            )
        self._timing = timing
        self._terminal_log = TerminalLog()
        self._keeper = Keeper(lambda: Worker(factory, options or {}), timing, self._terminal_log)
        self._turn = threading.Lock()  # one call at a time
        self._latest = threading.local()
        HOLDERS.add(self)

    def let_go_in_child(self) -> None:
        """In a forked process: replace the lock, which a missing thread may hold."""
        self._turn = threading.Lock()

    # -- for the owner of the terminal ---------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The id of the current worker process; None while there is none."""
        worker = self._keeper.worker()
        return worker.pid if worker is not None else None

    @property
    def attachments(self) -> int:
        """How many workers have attached to a terminal so far.

        Data read before and after a change of this number may come from two different terminals.
        """
        return self._keeper.attachments

    @property
    def trouble(self) -> str | None:
        """Why calls fail now; None while there is a worker."""
        return self._keeper.trouble if self._keeper.worker() is None else None

    def keep_initialized(self, *args: Any, **kwargs: Any) -> None:
        """Initialise in the background, and again after every loss.

        Returns at once. Until the terminal is initialised, every call fails with -10004 and the
        reason.
        """
        self._keeper.want((Call("initialize", args, kwargs),))

    def close(self) -> None:
        """End the worker, after the call under way if that returns within its deadline."""
        worker = self._keeper.close()
        if worker is None:
            return
        # A worker that is killed in `order_send` leaves an order in doubt, so give the call time.
        if self._turn.acquire(timeout=self._timing.deadline_ms / 1000):
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
        call = Call(function, args, kwargs)
        raw = encode_call(call)
        with self._turn:
            self._latest.error = SUCCESS
            if function == "shutdown":
                self._keeper.forget()
            elif function == "initialize":
                self._keeper.start()
            value, self._latest.error = self._attempt(call, raw)
        return value

    makes_calls_together: ClassVar[bool] = True

    def together(self, calls: Sequence[Call]) -> list[Made]:
        """Make calls one after the other, in one exchange with the worker.

        Returns:
            The value of each call, and its `last_error()`.
        """
        raw = encode_calls(calls)
        with self._turn:
            # If a call raises, no error of an earlier call is left.
            self._latest.error = SUCCESS
            worker = self._keeper.worker()
            if worker is None:
                made = [(failed(call.function), self._unreachable(call.function)) for call in calls]
            else:
                made = self._attempt_all(worker, calls, raw)
            if made:
                self._latest.error = made[-1][1]
        return made

    def _attempt_all(self, worker: Worker, calls: Sequence[Call], raw: bytes) -> list[Made]:
        made: list[Made] = []
        try:
            answers = decode_answers(worker.exchange(raw, self._timing.deadline_ms), len(calls))
            for call, answer in zip(calls, answers, strict=True):
                value = value_of(answer)
                self._note(worker, call, value, answer.error)
                made.append((value, answer.error))
        except (Hung, Died, RemoteProtocolError) as error:
            lost = self._lost(worker, calls[0].function, error)
            return [(failed(call.function), lost) for call in calls]
        return made

    def _lost(self, worker: Worker, function: str, error: Exception) -> Error:
        """Replace a worker that hung or died, and return the error of its call."""
        hung, why = isinstance(error, Hung), f"{function}: {error}"
        self._keeper.lose(worker, why)
        code = mt5.RES_E_INTERNAL_FAIL_TIMEOUT if hung else mt5.RES_E_INTERNAL_FAIL_RECEIVE
        return _error(code, why)

    def _attempt(self, call: Call, raw: bytes) -> tuple[Any, Error]:
        function = call.function
        worker = self._keeper.worker()
        # A terminal without a worker has no connection that could be shut down.
        if worker is None:
            if function == "shutdown":
                return True, SUCCESS
            return failed(function), self._unreachable(function)
        deadline_ms = self._timing.deadline_ms
        if function in _STARTS:
            deadline_ms = self._timing.start_deadline_ms
        # Whether the deadline passed or the worker died, its state is unknown: never use it again.
        try:
            value, last_error = decode_answer(worker.exchange(raw, deadline_ms))
        except (Hung, Died, RemoteProtocolError) as error:
            return failed(function), self._lost(worker, function, error)
        self._note(worker, call, value, last_error)
        return value, last_error

    def _unreachable(self, function: str) -> Error:
        starts = function in _STARTS
        code = mt5.RES_E_INTERNAL_FAIL_INIT if starts else mt5.RES_E_INTERNAL_FAIL_CONNECT
        return _error(code, self._keeper.trouble)

    def _note(self, worker: Worker, call: Call, value: Any, error: Error) -> None:
        """Evaluate an answer for the state of the connection to the terminal."""
        code, text = error
        if call.function in _STARTS:
            if value:
                begun = () if call.function == "initialize" else self._keeper.wanted[:1]
                self._keeper.want((*begun, call))
        elif code not in LOST:
            self._keeper.note_answer()
            self._terminal_log.note(call.function, value, error)
        elif self._keeper.wanted:
            self._keeper.lose(worker, f"{call.function}: {code} {text}")


def _error(code: int, why: str) -> Error:
    return code, f"{mt5.LAST_ERROR_TEXTS[code]}, {why}"
