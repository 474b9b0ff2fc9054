"""Tells an oracle what a bot does: its journal, its orders, its book.

These are the only ties between the checkers and the product's own types; nothing here judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from trueup.core.book import Book
from trueup.core.events import Event
from trueup.core.model import PendingOrder, Position
from trueup.journal import codec
from trueup.sim.oracle import facts
from trueup.sim.oracle.facts import UNITS, Held, Working

Tell = Callable[[facts.Fact], None]
_encode = msgspec.json.Encoder().encode


class BookFold:
    """A book made from journal rows and nothing else."""

    def __init__(self) -> None:
        self._book = Book()

    def take(self, kind: str, payload: bytes) -> None:
        """Take one row in."""
        self._book.apply(codec.decode(self._book.version + 1, kind, payload))

    def state(self) -> bytes:
        """Return the whole book as bytes."""
        return self._book.state()


class JournalWatch:
    """Tells of each event once, when it is in the journal and survives.

    Call `kept` with the events after every append that returned, and `found` with what a journal
    that is opened has.
    """

    def __init__(self, tell: Tell, now_ns: Callable[[], int], position: int = 0) -> None:
        self._tell, self._now_ns, self._position = tell, now_ns, position

    def kept(self, bot: str, history: Sequence[Event]) -> None:
        """Tell that `bot` appended these events, after all that was told before."""
        for event in history:
            self._position += 1
            kind = type(event).__name__
            self._tell(facts.Journalled(self._now_ns(), bot, self._position, kind, _encode(event)))

    def found(self, bot: str, history: Sequence[Event]) -> None:
        """Tell what the journal has from its first event on, as far as it is new."""
        self.kept(bot, history[self._position :])


def book_seen(at_ns: int, bot: str, book: Book) -> facts.BookSeen:
    """Return what a book holds now."""
    return facts.BookSeen(
        at_ns,
        bot=bot,
        version=book.version,
        positions=tuple(_held(holding.position) for holding in book.holdings.values()),
        orders=tuple(_working(pending.order) for pending in book.pending.values()),
        in_doubt=tuple(book.in_doubt),
        missing=tuple(book.missing),
        state=book.state(),
    )


def _held(position: Position) -> Held:
    return Held(
        identifier=position.identifier,
        ticket=position.ticket,
        symbol=position.symbol,
        side=position.side.value,
        units=round(position.volume * UNITS),
        price_open=position.price_open,
        sl=position.sl,
        tp=position.tp,
        magic=position.magic,
    )


def _working(order: PendingOrder) -> Working:
    return Working(
        ticket=order.ticket,
        symbol=order.symbol,
        type=order.type.value,
        units=round(order.volume * UNITS),
        price_open=order.price_open,
        price_stoplimit=order.price_stoplimit,
        sl=order.sl,
        tp=order.tp,
        magic=order.magic,
    )


def audited(at_ns: int, bot: str, entries: Sequence[dict[str, Any]]) -> facts.Audited:
    """Return the entries that a sync added to the audit trail, as a fact."""
    told = tuple((e["action"], e["ticket"] or 0, e["details"]) for e in entries)
    return facts.Audited(at_ns, bot, told)
