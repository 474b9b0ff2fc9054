"""Decide whether the program may open a position now, by what it has been told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import msgspec

from trueup.core.book.lifecycle import OrderStatus
from trueup.doors.account import Account
from trueup.doors.mt5.deliveries import Deliveries
from trueup.doors.mt5.readings import Readings, Waits, positions_in
from trueup.sim.market.structs import TradeRequest

Found = TypeVar("Found")
Read: TypeAlias = Callable[[Readings], Any]
"""Reads the account; None without proof."""


class Question(msgspec.Struct, frozen=True):
    """What a program asked of the account.

    Attributes:
        function: the module's function.
        query: what was asked for; None for all rows.
    """

    function: str
    query: Any = None

    def answers(self, other: Question) -> bool:
        """Return whether the answer to this question has the answer to the other one."""
        return self.function == other.function and self.query in (None, other.query)

    def lists_positions_in(self, symbol: str) -> bool:
        """Return whether the answer shows the open positions in a symbol."""
        asked = getattr(self.query, "symbol", None)
        return self.function == "positions_get" and (self.query is None or asked == symbol)


class EntryGate:
    """Refuses entries that the program decides by something that was not proven.

    Args:
        account: the account's book.
        readings: reads the account.
        deliveries: the outcomes that the program has not been given.
        waits: how long calls wait.
    """

    def __init__(
        self, account: Account, readings: Readings, deliveries: Deliveries, waits: Waits
    ) -> None:
        self._account, self._readings = account, readings
        self._deliveries, self._waits = deliveries, waits
        self.unproven: dict[Question, Read] = {}
        """What the program asked and was not told: no position is opened by that."""
        self.told: set[Question] = set()
        """The lists of positions that the program has been given."""

    def proven(self, question: Question, read: Callable[[Readings], Found | None]) -> Found | None:
        """Return a proven value, or None after `read_ms`; entries are refused after a None."""
        value = self._readings.until(lambda: read(self._readings), self._waits.read_ms)
        if value is None:
            self.unproven[question] = read
            return None
        for asked in [asked for asked in list(self.unproven) if question.answers(asked)]:
            self.unproven.pop(asked, None)
        if question.function == "positions_get" and not getattr(question.query, "ticket", None):
            self.told.add(question)
        if isinstance(value, tuple):
            self._deliveries.note_shown(value, question.lists_positions_in)
        return value

    def why_no_entry(self, request: TradeRequest) -> str:
        """Return why no position may be opened now, or an empty string; waits within a budget."""
        why = self._after_a_while(self._why_not_told)
        if why:
            return why

        def refused() -> str:
            # Waiting ends neither a risk limit nor a person's mode; the order desk judges both.
            return self._account.manager.entries_refused(
                request.symbol, but_by_gateway=True, but_by_limits=True, but_by_person=True
            )

        def allowed() -> bool | None:
            if refused():
                self._readings.look()
            return None if refused() else True

        if not self._readings.until(allowed, self._waits.resolve_ms):
            return refused()
        return self._after_a_while(lambda: self._why_not_shown(request.symbol))

    def _after_a_while(self, why_not: Callable[[], str]) -> str:
        """Return a reason that lasts for `read_ms`, so that a loop of sends does not spin."""
        latest = ""

        def allowed() -> bool | None:
            nonlocal latest
            latest = why_not()
            return None if latest else True

        self._readings.until(allowed, self._waits.read_ms)
        return latest

    def _why_not_shown(self, symbol: str) -> str:
        """Return which position the program did not know of when it decided, or an empty string.

        An earlier order was in doubt when the program read its list, and was filled since. A
        program that reads no lists does not decide by them.
        """
        if not any(asked.lists_positions_in(symbol) for asked in self.told):
            return ""
        filled = [
            order
            for order in self._deliveries.orders()
            if (order.symbol, order.status) == (symbol, OrderStatus.FILLED) and not order.named
        ]
        snapshot = self._readings.look() if filled else None
        nets = self._account.manager.book.nets
        for position in positions_in(snapshot):
            for order in filled:
                is_its = order.ticket in (position.ticket, position.identifier)
                if position.symbol == symbol and (nets or is_its):
                    return (
                        f"{order.order_id} opened position {position.ticket} after the list that "
                        "the program has: call positions_get again before you send"
                    )
        return ""

    def _why_not_told(self) -> str:
        """Ask again what the program was not told, and return why it may not be open to an entry.

        Most programs take None for "nothing there", and enter by that. Where nothing is there, they
        are right. Where something is, the program must ask again: until then it is refused, however
        often it sends.
        """
        for question, read in tuple(self.unproven.items()):
            value = read(self._readings)
            if value is None:
                return (
                    f"{question.function} is not proven, so it says nothing: {self._readings.why}"
                )
            if question.function != "account_info" and value:
                count = value if isinstance(value, int) else len(value)
                rows = f"{count} row{'s' * (count != 1)}"
                return (
                    f"{question.function} was not proven and has {rows}: ask again before you send"
                )
            self.unproven.pop(question, None)
        return ""
