"""Histories to judge: one clean run of one order, and ways to spoil it."""

from __future__ import annotations

from typing import Any

import msgspec

from trueup.lab.facts import facts
from trueup.lab.facts.facts import Fact, Held, Scope, Working
from trueup.lab.oracle.judge import Judge

SEC = 1_000_000_000
LOGIN, OURS, STRANGE = 5_000_001, 7, 99
SCOPE = Scope(LOGIN, frozenset({"EURUSD"}), frozenset({OURS}))
TOKEN = "tabcdefgh"
LOT = 10_000_000


def held(identifier: int = 100, **changes: Any) -> Held:
    """A position of ours, 0.1 lots long."""
    row = Held(identifier, identifier, "EURUSD", "buy", LOT, 1.1, magic=OURS)
    return msgspec.structs.replace(row, **changes)


def working(ticket: int = 300, **changes: Any) -> Working:
    """A pending order of ours."""
    row = Working(ticket, "EURUSD", "buy_limit", LOT, 1.05, magic=OURS)
    return msgspec.structs.replace(row, **changes)


class Tally:
    """A fold that only remembers what it was told."""

    def __init__(self) -> None:
        self._told = b""

    def take(self, kind: str, payload: bytes) -> None:
        """Take one row in."""
        self._told += kind.encode() + payload

    def state(self) -> bytes:
        """Return everything."""
        return self._told


class History:
    """Facts, one second apart, with a journal and a fold of their own."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.now_ns = 1_000 * SEC
        self.position = 0
        self.fold = Tally()
        self.book: list[Held] = []
        self.pending: list[Working] = []

    def tell(self, fact: type[Fact], /, **fields: Any) -> History:
        """Add a fact, a second later."""
        self.now_ns += SEC
        self.facts.append(fact(self.now_ns, **fields))
        return self

    def row(self, event: str, /, bot: str = "A", **fields: Any) -> History:
        """Add a row of the journal."""
        self.position += 1
        payload = msgspec.json.encode({"event": event, "at_ns": self.now_ns, **fields})
        self.fold.take(event, payload)
        return self.tell(
            facts.Journalled, bot=bot, position=self.position, kind=event, payload=payload
        )

    def start(self, bot: str = "A") -> History:
        """Start a bot."""
        return self.tell(facts.Started, bot=bot, position=self.position)

    def intent(self, order_id: str = "O1", **fields: Any) -> History:
        """Journal an intent and that it may have left."""
        wish = {"symbol": "EURUSD", "side": "buy", "volume": 0.1, "token": TOKEN, "by_desk": True}
        wish["wire_magic"] = OURS
        self.row("OrderCreated", order_id=order_id, price=1.1, **{**wish, **fields})
        return self.row("SendStarted", order_id=order_id)

    def send(self, order_id: str = "O1", bot: str = "A", **fields: Any) -> History:
        """Let an order leave."""
        order = {"order_id": order_id, "action": "BUY", "symbol": "EURUSD", "volume": 0.1}
        return self.tell(facts.Sent, bot=bot, message=msgspec.json.encode({**order, **fields}))

    def execute(self, order: int = 100, comment: str = TOKEN, **fields: Any) -> History:
        """Let the broker open a position for an order."""
        self.deal(900 + order, order)
        self.tell(facts.PositionShown, login=LOGIN, position=held(order))
        return self.requested(order, comment, **fields)

    def requested(self, order: int = 100, comment: str = TOKEN, **fields: Any) -> History:
        """Let the broker answer."""
        request = {"action": 1, "symbol": "EURUSD", "buys": True, "units": LOT, "magic": OURS}
        answer = {"done": True, "retcode": 10009, "order": order, "comment": comment}
        return self.tell(facts.Requested, login=LOGIN, **{**request, **answer, **fields})

    def deal(
        self, ticket: int, order: int, *, closes: int = 0, into: int = 0, result_units: int = 0
    ) -> History:
        """Book a deal: it closes a position, goes into one, or opens one."""
        return self.tell(
            facts.DealBooked,
            login=LOGIN,
            ticket=ticket,
            order=order,
            identifier=closes or into or order,
            symbol="EURUSD",
            buys=not closes,
            units=LOT,
            price=1.1,
            entry=1 if closes else 0,
            reason=4 if closes else 3,
            result_units=result_units,
            magic=OURS,
        )

    def filled(self, order_id: str = "O1", ticket: int = 100, **fields: Any) -> History:
        """Journal a fill, and take it into the book."""
        fill = {"symbol": "EURUSD", "side": "buy", "volume": 0.1, "price": 1.1}
        self.row("OrderFilled", order_id=order_id, ticket=ticket, **{**fill, **fields})
        self.book = [*self.book, held(ticket)]
        return self

    def stopped(self, identifier: int = 100, result_units: int = -500) -> History:
        """Let the broker close a position at its stop."""
        self.deal(
            2_000 + identifier, 500 + identifier, closes=identifier, result_units=result_units
        )
        return self.tell(facts.PositionLeft, login=LOGIN, identifier=identifier)

    def closed(self, identifier: int = 100, **fields: Any) -> History:
        """Journal the close of a ghost, and take it out of the book."""
        known: dict[str, Any] = {
            "position": {"identifier": identifier, "ticket": identifier, "symbol": "EURUSD"},
            "because": "by its stop loss at 1.1",
            "ended": {"price": 1.1},
            "realised_units": -500,
        }
        self.row("PositionClosed", **{**known, **fields})
        self.book = [row for row in self.book if row.identifier != identifier]
        return self

    def synced(self, *, believed: bool = True, **fields: Any) -> History:
        """Let a sync end that asked a second before."""
        status = "SUCCESS" if believed else "DEGRADED"
        known = {"bot": "A", "status": status, "asked_ns": self.now_ns}
        return self.tell(facts.Synced, believed=believed, **{**known, **fields})

    def audited(self, *entries: tuple[str, int, str]) -> History:
        """Let a sync tell its audit entries."""
        return self.tell(facts.Audited, bot="A", entries=entries, version=self.position)

    def look(self, bot: str = "A", **fields: Any) -> History:
        """Look at the book."""
        seen = {
            "version": self.position,
            "positions": tuple(self.book),
            "orders": tuple(self.pending),
            "state": self.fold.state(),
        }
        return self.tell(facts.BookSeen, bot=bot, **{**seen, **fields})

    def hand_out(self, **fields: Any) -> History:
        """Tell the strategy what it holds."""
        known = {"flat": not self.book, "current": True, "max_age_ns": 60 * SEC}
        return self.tell(facts.HandedOut, bot="A", **{**known, **fields})

    def judged(self, scope: Scope = SCOPE) -> list[tuple[int, str]]:
        """Return the numbers and sentences of what was broken."""
        judge = Judge(scope, Tally)
        for fact in self.facts:
            judge.observe(fact)
        verdicts = judge.verdicts()
        assert all(self.facts[0].at_ns <= v.at_ns <= self.now_ns for v in verdicts)
        return [(v.invariant, v.sentence) for v in verdicts]


def opened() -> History:
    """A bot that holds one position, and has seen the broker since."""
    return History().start().synced().intent().send().execute().filled().look().synced().look()
