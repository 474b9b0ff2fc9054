"""Faults of one simulated terminal: queued, one-shot, typed.

A fault acts on an answer or on what the terminal shows. It never corrupts the server's ledger:
whatever the terminal says, the ledger says what happened.

Times are milliseconds of the injected clock, volumes are lots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from trueup.gateway.terminal import mt5_constants as mt5


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """`order_send` returns None with `code`; the server executed the request, or did not.

    ``-10002`` is an answer lost on the pipe, ``-10001`` a failed write, ``-1`` a terminal that
    fails; with `pipe_breaks` all later calls report -10004 until `initialize()`.
    """

    executed: bool
    code: int = mt5.RES_E_INTERNAL_FAIL_RECEIVE
    pipe_breaks: bool = True


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The answer is 10012; the request is executed `fill_after_ms` later, or never (None)."""

    fill_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class DoneWithoutDeal:
    """The answer is 10009 with deal, volume and price 0, though the deal was made."""


@dataclass(frozen=True, slots=True)
class PlacedLater:
    """The answer is 10008; the order works, visible in `orders_get`, and fills `delay_ms` later.

    With `fill` False it never fills: the server cancels it after the delay.
    """

    delay_ms: int
    fill: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """The server answers `retcode`, whatever it did: 10004, 10006, 10011, 10024, 10028, ..."""

    retcode: int
    comment: str | None = None
    executed: bool = False


@dataclass(frozen=True, slots=True)
class Partial:
    """The market holds no more than `volume` lots for this request."""

    volume: float


@dataclass(frozen=True, slots=True)
class Hang:
    """The call does not return: `TerminalFaults.on_hang` is called and may block or raise.

    With `executed` the request is executed before the call hangs, otherwise only if the callback
    returns.
    """

    executed: bool = True


SendFault = AnswerLost | TimedOut | DoneWithoutDeal | PlacedLater | Answered | Partial | Hang
"""What can go wrong with one `order_send`."""


@dataclass(frozen=True, slots=True)
class Fails:
    """The next call of a function fails with `code`; `breaks_pipe` makes it a broken pipe."""

    code: int = mt5.RES_E_FAIL
    text: str | None = None
    breaks_pipe: bool = False


@dataclass(frozen=True, slots=True)
class AnswersEmpty:
    """The next call of a list function answers ``()``, and success; a total answers 0."""


@dataclass(frozen=True, slots=True)
class AnswersPartial:
    """The next call of a list function leaves out all but the first `count` rows."""

    count: int


@dataclass(frozen=True, slots=True)
class AnswersOdd:
    """The next call of a list function has another `value` in the `field` of its first row.

    Without a field that row comes twice.
    """

    field: str = ""
    value: object = None


@dataclass(frozen=True, slots=True)
class AnswersStale:
    """The next call of a function repeats its previous answer."""


CallFault = Fails | AnswersEmpty | AnswersPartial | AnswersOdd | AnswersStale | Hang
"""What can go wrong with one call of any other function."""


class Hung(Exception):
    """The call would never have returned. Raised when no `on_hang` is injected."""


def _raise_hung(function: str) -> None:
    raise Hung(function)


class TerminalFaults:
    """The queues of faults of one terminal."""

    def __init__(self) -> None:
        self.on_hang: Callable[[str], None] = _raise_hung
        """Called with the function's name when a call hangs. A worker process may sleep here for
        ever; a single-threaded world raises."""
        self._sends: deque[SendFault] = deque()
        self._calls: dict[str, deque[CallFault]] = {}
        self._deal_lags_ms: deque[int] = deque()
        self._deals_to_duplicate = 0

    def next_send(self, *faults: SendFault) -> None:
        """Queue one fault for each of the next `order_send` calls that reach the terminal."""
        self._sends.extend(faults)

    def next_call(self, function: str, *faults: CallFault) -> None:
        """Queue one fault for each of the next calls of `function` (any name but order_send)."""
        self._calls.setdefault(function, deque()).extend(faults)

    def next_deal_lags(self, *lags_ms: int) -> None:
        """Give each of the next deals its own delay, so that they appear out of order."""
        self._deal_lags_ms.extend(lags_ms)

    def duplicate_deals(self, count: int = 1) -> None:
        """Show each of the next `count` deals twice in the history."""
        self._deals_to_duplicate += count

    def clear(self) -> None:
        """Forget all queued faults; `on_hang` stays."""
        self.clear_calls()
        self._deal_lags_ms.clear()
        self._deals_to_duplicate = 0

    def clear_calls(self) -> None:
        """Forget the faults queued for sends and other calls; those of deals stay."""
        self._sends.clear()
        self._calls.clear()

    @property
    def pending_calls(self) -> int:
        """Number of queued faults of sends and other calls that have not struck yet."""
        return len(self._sends) + sum(len(queue) for queue in self._calls.values())

    @property
    def pending(self) -> int:
        """Number of queued faults that have not struck yet."""
        return self.pending_calls + len(self._deal_lags_ms) + self._deals_to_duplicate

    def take_send(self) -> SendFault | None:
        """Return the fault of the send being made now."""
        return self._sends.popleft() if self._sends else None

    def take_call(self, function: str) -> CallFault | None:
        """Return the fault of the call being made now."""
        if not self._calls:
            return None
        queue = self._calls.get(function)
        return queue.popleft() if queue else None

    def take_deal_lag_ms(self, usual_ms: int) -> int:
        """Return the delay of a deal that was made now."""
        return self._deal_lags_ms.popleft() if self._deal_lags_ms else usual_ms

    def take_duplicate(self) -> bool:
        """Return whether a deal that was made now is to appear twice."""
        if not self._deals_to_duplicate:
            return False
        self._deals_to_duplicate -= 1
        return True
