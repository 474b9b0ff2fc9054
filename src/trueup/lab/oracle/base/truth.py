"""The state that the facts lead to: the broker's books of an account, and the rows of the journal.

Nothing here decides anything. The journal's rows are read as JSON, with no type of the product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from trueup.lab.facts import facts
from trueup.lab.facts.facts import Held, Scope, Working

_read = msgspec.json.Decoder().decode


class Truth:
    """The account at the broker, as of the last fact."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.positions: dict[int, Held] = {}
        self._ours: set[int] = set()
        self.orders: dict[int, Working] = {}
        self.rests: dict[int, int] = {}
        """The units of each market order that still work, after a part of it was filled."""
        self.deals: dict[int, dict[int, facts.DealBooked]] = {}
        """Deals by position identifier and ticket."""
        self.magic_of: dict[int, int] = {}
        """The first magic number of each position and of each order."""
        self.symbol_of: dict[int, str] = {}
        self.given_back_ns: dict[int, int] = {}
        """When a closed position was open again last: a closing deal was cancelled, or the rest of
        the pending order was filled that had opened it."""
        self.amended: dict[int, list[tuple[int, int]]] = {}
        """When the broker changed deals of a position, each with the position's result before."""
        self.flat_ns: int = 0
        """The last time at which no position in scope was open."""
        self._steps: dict[type[facts.Fact], Callable[[Any], None]] = {
            facts.PositionShown: self._take_position,
            facts.PositionLeft: self._drop_position,
            facts.OrderShown: self._take_order,
            facts.RestWorks: self._take_rest,
            facts.OrderLeft: self._drop_order,
            facts.DealBooked: self._take_deal,
            facts.DealStruck: self._drop_deal,
        }

    def take(self, fact: facts.Fact) -> None:
        """Take a fact in."""
        step = self._steps.get(type(fact))
        if step is not None:
            step(fact)

    def _take_position(self, fact: facts.PositionShown) -> None:
        if fact.login == self.scope.login:
            self._show(fact.at_ns, fact.position)

    def _drop_position(self, fact: facts.PositionLeft) -> None:
        if fact.login == self.scope.login:
            self.positions.pop(fact.identifier, None)
            self._ours.discard(fact.identifier)

    def _take_order(self, fact: facts.OrderShown) -> None:
        if fact.login == self.scope.login:
            order = fact.order
            self.orders[order.ticket] = order
            self.magic_of.setdefault(order.ticket, order.magic)
            self.symbol_of[order.ticket] = order.symbol

    def _take_rest(self, fact: facts.RestWorks) -> None:
        if fact.login == self.scope.login:
            self.rests[fact.ticket] = fact.left

    def _drop_order(self, fact: facts.OrderLeft) -> None:
        if fact.login == self.scope.login:
            self.orders.pop(fact.ticket, None)
            self.rests.pop(fact.ticket, None)

    def _take_deal(self, fact: facts.DealBooked) -> None:
        if fact.login == self.scope.login:
            deals = self.deals.setdefault(fact.identifier, {})
            is_told_again = fact.ticket in deals
            is_cancelled = is_told_again and deals[fact.ticket].units and not fact.units
            is_new = not is_told_again and fact.units and fact.identifier not in self.positions
            if is_cancelled or (is_new and deals and not self.net_units(fact.identifier)):
                self.given_back_ns[fact.identifier] = fact.at_ns
            # Its symbol may get another name after the position was closed.
            if fact.identifier:
                self.symbol_of[fact.identifier] = fact.symbol
            if is_told_again:
                before = fact.at_ns, self.realised_units(fact.identifier)
                self.amended.setdefault(fact.identifier, []).append(before)
            deals[fact.ticket] = fact

    def _drop_deal(self, fact: facts.DealStruck) -> None:
        if fact.login == self.scope.login:
            self.deals.get(fact.identifier, {}).pop(fact.ticket, None)

    def in_scope(self) -> list[Held]:
        """Return the open positions that the bot must have in its book."""
        return [held for key, held in self.positions.items() if key in self._ours]

    def last_flat_ns(self, now_ns: int) -> int:
        """Return the last time up to now at which no position in scope was open."""
        self._was_flat_until(now_ns)
        return self.flat_ns

    def realised_units(self, identifier: int) -> int:
        """Return the result of all deals of a position."""
        return sum(deal.result_units for deal in self.deals.get(identifier, {}).values())

    def net_units(self, identifier: int) -> int:
        """Return the volume that the deals of a position leave open, negative when short."""
        deals = self.deals.get(identifier, {}).values()
        return sum(deal.units if deal.buys else -deal.units for deal in deals)

    def _show(self, at_ns: int, held: Held) -> None:
        self._was_flat_until(at_ns)
        self.positions[held.identifier] = held
        if self.scope.is_foreign(held.symbol, held.magic):
            self._ours.discard(held.identifier)
        else:
            self._ours.add(held.identifier)
        for key in (held.identifier, held.ticket):
            self.magic_of.setdefault(key, held.magic)
            self.symbol_of[key] = held.symbol

    def _was_flat_until(self, now_ns: int) -> None:
        if not self._ours:
            self.flat_ns = now_ns


ENDS = frozenset({"OrderFilled", "OrderRejected", "OrderCanceled", "OrderSettled", "OrderApplied"})
"""Rows that end an order."""


class Papers:
    """The durable rows of the journal."""

    def __init__(self) -> None:
        self.rows: list[facts.Journalled] = []
        self.intents: dict[str, dict[str, Any]] = {}
        """The intents by token."""
        self.intent_of: dict[str, dict[str, Any]] = {}
        """The intents by order id."""
        self.started: set[str] = set()
        """The ids of orders whose send was recorded as started."""
        self.unended: set[str] = set()
        """The ids of orders that may have been sent, and whose end the journal does not have."""
        self.row: dict[str, Any] = {}
        """The last row, decoded."""
        self.lost: dict[str, dict[str, Any]] = {}
        """The intents by token that the journal lost when an earlier copy replaced the journal."""

    def meant(self, token: str) -> dict[str, Any] | None:
        """Return the intent with a token, in the journal or lost; None if there never was any."""
        return self.intents.get(token) or self.lost.get(token)

    @property
    def position(self) -> int:
        """The position of the last row."""
        return self.rows[-1].position if self.rows else 0

    def take(self, fact: facts.Fact) -> None:
        """Take a fact in."""
        if isinstance(fact, facts.Journalled):
            self._write(fact)
        elif isinstance(fact, facts.JournalLost):
            kept = [row for row in self.rows if row.position <= fact.position]
            before = {**self.lost, **self.intents} if fact.put_back else {}
            Papers.__init__(self)
            for row in kept:
                self._write(row)
            self.lost = before

    def _write(self, row: facts.Journalled) -> None:
        self.rows.append(row)
        self.row = _read(row.payload)
        if row.kind == "OrderCreated":
            self.intent_of[self.row["order_id"]] = self.row
            self.intents[self.row.get("token") or self.row["order_id"]] = self.row
        elif row.kind == "SendStarted":
            self.started.add(self.row["order_id"])
            self.unended.add(self.row["order_id"])
        elif row.kind in ENDS:
            self.unended.discard(self.row["order_id"])
