"""Faults of one simulated terminal: queued, one-shot, typed.

A fault changes an answer or the view of the terminal. A fault never changes the server's ledger:
the ledger always has the true state.

Times are milliseconds of the injected clock, volumes are lots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from trueup.gateway.terminal import mt5_constants as mt5


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """`order_send` returns None with `code`; `executed` tells the effect at the server.

    ``-10002`` is an answer lost on the pipe, ``-10001`` a failed write, ``-1`` a failure of the
    terminal. With `pipe_breaks` all later calls report -10004 until `initialize()`.
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
    """The answer is 10009 with deal, volume and price 0, although the deal was made.

    `lacks` names the fields that are 0, if these are not all of the three.
    """

    lacks: frozenset[str] = frozenset({"deal", "volume", "price"})


@dataclass(frozen=True, slots=True)
class PlacedLater:
    """The answer is 10008; `orders_get` shows the order, and the order fills `delay_ms` later.

    With `fill` False the server cancels the order after the delay.
    """

    delay_ms: int
    fill: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """The server answers `retcode` in any case: 10004, 10006, 10011, 10024, 10028, ..."""

    retcode: int
    comment: str | None = None
    executed: bool = False


@dataclass(frozen=True, slots=True)
class Partial:
    """The market offers at most `volume` lots for this request."""

    volume: float


@dataclass(frozen=True, slots=True)
class Hang:
    """The call does not return: `TerminalFaults.on_hang` is called, and blocks or raises.

    With `executed` the request is executed before the call hangs; otherwise the request is executed
    only if the callback returns.
    """

    executed: bool = True


SendFault = AnswerLost | TimedOut | DoneWithoutDeal | PlacedLater | Answered | Partial | Hang
"""The faults of one `order_send`."""


@dataclass(frozen=True, slots=True)
class Fails:
    """The next call of a function fails with `code`; `breaks_pipe` also closes the pipe."""

    code: int = mt5.RES_E_FAIL
    text: str | None = None
    breaks_pipe: bool = False


@dataclass(frozen=True, slots=True)
class AnswersEmpty:
    """The next call of a list function answers ``()`` with success; a total answers 0."""


@dataclass(frozen=True, slots=True)
class AnswersPartial:
    """The next call of a list function returns only the first `count` rows."""

    count: int


@dataclass(frozen=True, slots=True)
class AnswersOdd:
    """The next call of a list function changes `field` of the first row to `value`.

    Without a field the first row appears twice.
    """

    field: str = ""
    value: object = None


@dataclass(frozen=True, slots=True)
class AnswersStale:
    """The next call of a function repeats its previous answer."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Something happens at the server after the terminal's previous call, and before the next one
    of a function."""

    deed: Callable[[], object]


CallFault = Fails | Meanwhile | AnswersEmpty | AnswersPartial | AnswersOdd | AnswersStale | Hang
"""The faults of one call of any other function."""


class Hung(Exception):
    """A call hangs for ever. Raised by the default of `on_hang`."""


def _raise_hung(function: str) -> None:
    raise Hung(function)


class TerminalFaults:
    """The queues of faults of one terminal."""

    def __init__(self) -> None:
        self.on_hang: Callable[[str], None] = _raise_hung
        """Called with the function's name when a call hangs. In a worker process the callback can
        sleep for ever; in a single-threaded simulation the callback raises."""
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
        """Give each of the next deals a separate delay, so that deals appear out of order."""
        self._deal_lags_ms.extend(lags_ms)

    def duplicate_deals(self, count: int = 1) -> None:
        """Show each of the next `count` deals twice in the history."""
        self._deals_to_duplicate += count

    def clear(self) -> None:
        """Remove all queued faults; `on_hang` stays."""
        self.clear_calls()
        self._deal_lags_ms.clear()
        self._deals_to_duplicate = 0

    def clear_calls(self) -> None:
        """Remove the faults of sends and other calls; the faults of deals stay."""
        self._sends.clear()
        self._calls.clear()

    @property
    def pending_calls(self) -> int:
        """Number of faults of sends and other calls in the queues."""
        return len(self._sends) + sum(len(queue) for queue in self._calls.values())

    @property
    def pending(self) -> int:
        """Number of faults in the queues."""
        return self.pending_calls + len(self._deal_lags_ms) + self._deals_to_duplicate

    def take_send(self) -> SendFault | None:
        """Remove and return the fault for the current send."""
        return self._sends.popleft() if self._sends else None

    def take_call(self, function: str) -> CallFault | None:
        """Remove and return the fault for the current call."""
        if not self._calls:
            return None
        queue = self._calls.get(function)
        return queue.popleft() if queue else None

    def take_deal_lag_ms(self, usual_ms: int) -> int:
        """Return the delay for a new deal."""
        return self._deal_lags_ms.popleft() if self._deal_lags_ms else usual_ms

    def take_duplicate(self) -> bool:
        """Return whether a new deal must appear twice."""
        if not self._deals_to_duplicate:
            return False
        self._deals_to_duplicate -= 1
        return True
