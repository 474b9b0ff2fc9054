"""Compare the book's counted deals with the broker's history, deal by deal, to the cent.

A sync compares open positions and asks for the deals of changed positions only. This module
compares all counted deals with all deals of the broker, and so finds differences that no sync had a
reason to ask for. This module decides nothing: the next sync counts a missing deal by the rule for
all deals.

Money is whole units of 1e-8 of the account's currency, times are milliseconds of the trade server's
clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from trueup.core.account.trust import Bound
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.deals import BookedDeal, Known, as_booked
from trueup.core.model import Deal
from trueup.core.tokens import strategy_half


class DealLine(msgspec.Struct, frozen=True):
    """A deal in the book or at the broker; `money` is the sum of profit, swap, commission and fee.

    `lots` is in units of 1e-8, negative if sold. `symbol` is empty and `time_msc` 0 if that side
    does not have the value.
    """

    ticket: int
    position: int
    money: int
    lots: int
    time_msc: int = 0
    symbol: str = ""


class DealChange(msgspec.Struct, frozen=True):
    """A deal that both sides have, with different money or lots."""

    in_book: DealLine
    at_broker: DealLine


class Agreement(msgspec.Struct, frozen=True):
    """The result of a comparison over a span of time.

    `agreed` counts the deals that are equal on both sides. `of_others` counts the deals of
    positions that no order of ours made and of which the book has counted no deal: the book never
    had the position, or adopted the position and saw no new deal since.
    """

    agreed: int = 0
    missing_in_book: tuple[DealLine, ...] = ()
    missing_at_broker: tuple[DealLine, ...] = ()
    changed: tuple[DealChange, ...] = ()
    of_others: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing on either side, and nothing differs."""
        return not (self.missing_in_book or self.missing_at_broker or self.changed)

    @property
    def positions(self) -> tuple[int, ...]:
        """The identifiers of the positions in which the sides differ."""
        lines = [*self.missing_in_book, *self.missing_at_broker]
        lines += [change.at_broker for change in self.changed]
        return tuple(dict.fromkeys(line.position for line in lines))

    @property
    def difference(self) -> int:
        """The money of the broker's deals in the span minus that of the book's (units of 1e-8)."""
        missing = sum(line.money for line in self.missing_in_book)
        missing -= sum(line.money for line in self.missing_at_broker)
        return missing + sum(c.at_broker.money - c.in_book.money for c in self.changed)


class Counted:
    """The counted deals by position, and the marks of our own orders.

    `positions` has the counted deals of each position by its identifier, `orders` the tickets of
    our orders, `magics` the magic numbers of our orders, `foreign` the positions of others that an
    order of ours named. `account` is the book's account and
    `began_ns` the time by the bot's clock when the book was bound to that account. `agreed_msc` is
    the end of the latest span (server time) over which book and broker agreed.
    """

    def __init__(self) -> None:
        self.account: events.AccountBound | None = None
        self.began_ns: int = 0
        self.agreed_msc: int = 0
        self.positions: dict[int, Known] = {}
        self.symbols: set[str] = set()
        self.orders: set[int] = set()
        self.magics: set[int] = set()
        # The ids of our orders whose ticket is that of another order, or about positions of others:
        # their deals are not the book's.
        self._of_others: set[str] = set()
        self.foreign: set[int] = set()

    def take(self, event: events.Event) -> None:
        """Apply an event of a journal; a later event of a position replaces an earlier event."""
        match event:
            case events.DealsRecorded(position=row, deals=deals, booked=booked) if deals:
                self._keep(row.identifier, row.symbol, deals, booked, event.realised_units)
            case events.PositionClosed(position=row, booked=booked):
                # Some journals have the tickets in the exit only.
                deals = event.deals or (event.ended.deals if event.ended is not None else ())
                self._keep(row.identifier, row.symbol, deals, booked, event.realised_units)
            case events.PositionAdopted(position=row):
                self._keep(row.identifier, row.symbol, (), (), 0)
            case events.OrderCreated() if event.foreign or event.kind in events.CHANGES:
                self._of_others.add(event.order_id)
                self.foreign |= {row.identifier for row in event.foreign}
                if not event.foreign:
                    self._add_names(event)
            case events.OrderCreated():
                self._add_names(event)
            # Each of these may be the first event that names the ticket of the order.
            case events.OrderFilled() | events.OrderSettled() | events.OrderApplied():
                if event.order_id not in self._of_others:
                    self.add_order(event.ticket)
            case events.AccountBound():
                self._bind(event)
            case events.StreamTakenOver(book=state):
                self.add_book(Book.restore(state.encode()))
            case events.HistoryCompared(until_msc=until_msc) if event.is_whole:
                self.agreed_msc = until_msc

    def add_book(self, book: Book) -> None:
        """Add the counted deals of a book: of all open and all recently closed positions.

        A position that is known already stays as it is.
        """
        if self.account is None and book.account is not None:
            self.account, self.began_ns = book.account, book.account.at_ns
        agreed = [msc for msc in (self.agreed_msc, book.agreed_msc) if msc]
        self.agreed_msc = min(agreed, default=0)
        for identifier, tombstone in book.closed.items():
            known = Known(tombstone.deals, tombstone.booked, tombstone.realised_units)
            self.positions.setdefault(identifier, known)
        for identifier, holding in book.holdings.items():
            self.symbols.add(holding.position.symbol)
            known = Known(holding.deals, holding.booked, holding.realised_units)
            self.positions.setdefault(identifier, known)
        for order in book.orders.values():
            # A stand-in is for an order that we do not know; its marks are not our orders' marks.
            # The deals of an order about a position of others are not the book's.
            self.foreign |= {row.identifier for row in order.foreign}
            if order.is_stand_in or order.is_foreign:
                continue
            self.symbols.add(order.symbol)
            self.add_magic(order.wire_magic or order.magic)
            if order.status is OrderStatus.FILLED:
                self.add_order(order.ticket or 0)

    def _add_names(self, event: events.OrderCreated) -> None:
        self.symbols.add(event.symbol)
        self.add_magic(event.wire_magic or event.magic)

    def _keep(
        self,
        identifier: int,
        symbol: str,
        deals: tuple[int, ...],
        booked: tuple[BookedDeal, ...],
        realised_units: int,
    ) -> None:
        self.symbols.add(symbol)
        if deals or identifier not in self.positions:
            self.positions[identifier] = Known(deals, booked, realised_units)

    def add_order(self, ticket: int) -> None:
        """Add the ticket of an order of ours; 0 is ignored."""
        if ticket:
            self.orders.add(ticket)

    def add_magic(self, magic: int) -> None:
        """Add a magic number of an order of ours; 0 is ignored."""
        if magic:
            self.magics |= {magic, strategy_half(magic)}

    def _bind(self, account: events.AccountBound) -> None:
        before, self.account = self.account, account
        if before is not None and bound_of(before) == bound_of(account):
            return
        # Tickets and identifiers of another account have no meaning on this account.
        self.positions.clear()
        self.orders.clear()
        self.foreign.clear()
        self.began_ns, self.agreed_msc = account.at_ns, 0

    def is_ours(self, deal: Deal) -> bool:
        """Return whether an order of ours made a deal, by its ticket or by its magic number."""
        if deal.order in self.orders:
            return True
        return bool(deal.magic) and not self.magics.isdisjoint(
            {deal.magic, strategy_half(deal.magic)}
        )


def bound_of(account: events.AccountBound) -> Bound:
    """Return the account that an event binds a book to."""
    return Bound(account.login, account.server)


def counted_in(book: Book) -> Counted:
    """Return the counted deals of a book: of all open and all recently closed positions."""
    counted = Counted()
    counted.add_book(book)
    return counted


def compare(counted: Counted, deals: Iterable[Deal], since_msc: int, until_msc: int) -> Agreement:
    """Compare the counted deals with the broker's deals of a span.

    Args:
        counted: the book's side.
        deals: all deals with a position that the broker has in the span.
        since_msc: the first millisecond of the span.
        until_msc: the first millisecond after the span, 0 for no end.
    """
    shown: dict[int, dict[int, Deal]] = {}
    for deal in deals:
        shown.setdefault(deal.position, {})[deal.ticket] = deal
    findings = _Findings()
    for identifier, shown_deals in shown.items():
        known = counted.positions.get(identifier)
        # Without a counted deal the position can be another owner's: then nothing is missing.
        if known is None or not known.tickets:
            findings.add_uncounted(shown_deals, counted)
        else:
            findings.add_shown(identifier, known, shown_deals)
    # Over all counted positions, because the broker may show no deal at all of some of them.
    for identifier, known in counted.positions.items():
        findings.add_absent(identifier, known, shown.get(identifier, {}), since_msc, until_msc)
    return Agreement(
        findings.agreed,
        tuple(sorted(findings.missing_in_book, key=_age)),
        tuple(sorted(findings.missing_at_broker, key=_age)),
        tuple(findings.changed),
        findings.of_others,
    )


class _Findings:
    """The findings of a comparison so far."""

    def __init__(self) -> None:
        self.agreed = self.of_others = 0
        self.missing_in_book: list[DealLine] = []
        self.missing_at_broker: list[DealLine] = []
        self.changed: list[DealChange] = []

    def add_uncounted(self, shown_deals: Mapping[int, Deal], counted: Counted) -> None:
        """Add the deals of a position of which the book has counted no deal.

        This is normal for a position adopted from others: its deals count from the first new deal.
        """
        identifiers = {deal.position for deal in shown_deals.values()}
        ours = not identifiers & counted.foreign and any(map(counted.is_ours, shown_deals.values()))
        if ours:
            self.missing_in_book += map(_shown_line, shown_deals.values())
        else:
            self.of_others += len(shown_deals)

    def add_shown(self, identifier: int, known: Known, shown_deals: Mapping[int, Deal]) -> None:
        """Add the deals that the broker shows of a position with counted deals."""
        booked = {deal.ticket: deal for deal in known.booked}
        for ticket, deal in shown_deals.items():
            before = booked.get(ticket)
            if before is not None:
                self._compare(before, deal)
            elif ticket in known.tickets:
                # Older versions kept tickets only, so there is no money to compare deal by deal.
                self.agreed += 1
            else:
                self.missing_in_book.append(_shown_line(deal))
        # The sum can be compared instead, but only if the same deals went into both sums.
        if known.tickets and not known.booked and set(known.tickets) == shown_deals.keys():
            self._compare_sums(identifier, known, shown_deals)

    def _compare(self, before: BookedDeal, deal: Deal) -> None:
        now = as_booked(deal)
        if (before.money, before.lots) == (now.money, now.lots):
            self.agreed += 1
            return
        line = _booked_line(before, deal.position)
        self.changed.append(DealChange(line, _shown_line(deal)))

    def _compare_sums(self, identifier: int, known: Known, shown_deals: Mapping[int, Deal]) -> None:
        """Compare the result of a position of which only the tickets of the deals were recorded."""
        lines = list(map(_shown_line, shown_deals.values()))
        total = sum(line.money for line in lines)
        if total == known.realised_units:
            return
        last = max(lines, key=_age)
        whole = DealLine(last.ticket, identifier, known.realised_units, last.lots, last.time_msc)
        summed = msgspec.structs.replace(last, money=total)
        self.agreed -= len(lines)
        self.changed.append(DealChange(whole, summed))

    def add_absent(
        self,
        identifier: int,
        known: Known,
        shown_deals: Mapping[int, Deal],
        since_msc: int,
        until_msc: int,
    ) -> None:
        """Add the counted deals that the broker should show in the span and does not show."""
        for deal in known.booked:
            is_due = since_msc <= deal.time_msc and (not until_msc or deal.time_msc < until_msc)
            if is_due and deal.time_msc and deal.ticket not in shown_deals:
                self.missing_at_broker.append(_booked_line(deal, identifier))


def _age(line: DealLine) -> tuple[int, int]:
    return line.time_msc, line.ticket


def _shown_line(deal: Deal) -> DealLine:
    counts = as_booked(deal)
    return DealLine(
        deal.ticket, deal.position, counts.money, counts.lots, deal.time_msc, deal.symbol
    )


def _booked_line(deal: BookedDeal, position: int) -> DealLine:
    return DealLine(deal.ticket, position, deal.money, deal.lots, deal.time_msc)
