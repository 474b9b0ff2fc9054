"""Compare the deals that the broker shows of a position with the deals that the book has counted.

A position's realised result is the sum of profit, swap, commission and fee over all its deals (MQL5
reference, "Deal Properties": DEAL_POSITION_ID ties every deal to its position). The book keeps each
counted deal with its money and its lots. So a later snapshot shows which deals are new, which deals
the broker has changed since, and which deals its history no longer shows.

Money and lots are whole units of 1e-8, so that sums equal the broker's to the cent.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import msgspec

from trueup.core.model import Deal, DealKind, Entry
from trueup.core.quantity import to_units


class BookedDeal(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A counted deal; `money` is in units of 1e-8 of the account's currency.

    `lots` is the volume that the deal added to the position in units of 1e-8, negative if sold, 0
    if the deal moved no lots. `order` is the ticket of its order, 0 for none. `time_msc` is the
    time of the deal by the trade server's clock, 0 if an older version of trueup counted the deal.
    """

    ticket: int
    money: int
    lots: int
    order: int = 0
    time_msc: int = 0


# Half of the hour by which DST sets a clock back; the deals of a server never differ so much.
SET_BACK_MSC = 1_800_000


class History(msgspec.Struct, frozen=True):
    """The deals of one position at the broker: each deal once, oldest first."""

    deals: tuple[Deal, ...]

    @property
    def net_units(self) -> int:
        """The volume that the deals leave open, in units of 1e-8 lots, negative when short."""
        return sum(deal.units for deal in self.deals)

    def lacks(self, known: Iterable[int]) -> bool:
        """Return whether a deal that was recorded before is missing here."""
        return not {deal.ticket for deal in self.deals}.issuperset(known)

    @property
    def is_closed(self) -> bool:
        """Whether the deals prove that the position is closed."""
        return bool(self.deals) and self.net_units == 0

    @property
    def lost_its_beginning(self) -> bool:
        """Whether the first deal shown is not an entry: the broker archived the earlier deals."""
        moving = (deal for deal in self.deals if deal.kind is not DealKind.CASH and deal.volume)
        first = next(moving, None)
        return first is not None and first.entry is not Entry.IN

    @property
    def realised_units(self) -> int:
        """The realised result of all deals, in units of 1e-8 of the account's currency."""
        return sum(map(money_units, self.deals))


def history_of(identifier: int, deals: Iterable[Deal]) -> History:
    """Return the deals of one position: each ticket once, oldest first."""
    own = {deal.ticket: deal for deal in deals if deal.position == identifier}
    by_time = sorted(own.values(), key=lambda d: (d.time_msc, d.ticket))
    moving = [deal.order for deal in by_time if deal.units]
    # The identifier is the ticket of the opening order. If another order seems older, the trade
    # server's clock was set back in between, so only the tickets of the deals show their sequence.
    is_set_back = identifier in moving and moving[0] != identifier
    if is_set_back or _goes_back(own.values()):
        by_time.sort(key=lambda d: d.ticket)
    return History(tuple(by_time))


def _goes_back(deals: Iterable[Deal]) -> bool:
    """Return whether a trade has a higher ticket than another that is much newer by its time."""
    newest_msc = 0
    for deal in sorted(deals, key=lambda d: d.ticket):
        if deal.units and deal.time_msc < newest_msc - SET_BACK_MSC:
            return True
        newest_msc = max(newest_msc, deal.time_msc if deal.units else 0)
    return False


def money_units(deal: Deal) -> int:
    """Return profit, swap, commission and fee of a deal in units of 1e-8."""
    return sum(map(to_units, (deal.profit, deal.swap, deal.commission, deal.fee)))


def as_booked(deal: Deal) -> BookedDeal:
    """Return a deal in the form in which the book counts deals."""
    return BookedDeal(deal.ticket, money_units(deal), deal.units, deal.order, deal.time_msc)


class Known(msgspec.Struct, frozen=True):
    """The deals of one position that the book has counted.

    `booked` can be shorter than `tickets`: older versions of trueup recorded only tickets.
    """

    tickets: tuple[int, ...] = ()
    booked: tuple[BookedDeal, ...] = ()
    realised_units: int = 0


NOTHING_KNOWN = Known()


class Change(msgspec.Struct, frozen=True):
    """A deal that the broker changed after the book had counted it."""

    before: BookedDeal
    now: Deal


class Comparison:
    """The deals that the broker shows of a position, compared with the counted deals.

    `news` are the deals that the book has not counted, `changed` the deals that it has counted with
    other money or lots, and `lacking` the tickets of counted deals that the broker no longer shows.
    """

    def __init__(self, history: History, known: Known) -> None:
        before = {deal.ticket: deal for deal in known.booked}
        tickets = frozenset(known.tickets)
        self.history: History = history
        self.known: Known = known
        self.news: tuple[Deal, ...] = tuple(
            deal for deal in history.deals if deal.ticket not in tickets
        )
        self.changed: tuple[Change, ...] = tuple(
            Change(before[deal.ticket], deal)
            for deal in history.deals
            if deal.ticket in before and not _is_same(before[deal.ticket], as_booked(deal))
        )
        self.lacking: frozenset[int] = tickets - {deal.ticket for deal in history.deals}

    @property
    def has_news(self) -> bool:
        """Whether the broker shows a deal that is new or changed."""
        return bool(self.news or self.changed)

    @property
    def is_charged(self) -> bool:
        """Whether only the money of shown deals has changed, and not their lots."""
        kept_lots = (c.before.lots == as_booked(c.now).lots for c in self.changed)
        return bool(self.changed) and all(kept_lots)

    @property
    def differs(self) -> bool:
        """Whether the result or any shown deal differs from the book."""
        return self.has_news or self.realised_units != self.known.realised_units

    @cached_property
    def booked(self) -> tuple[BookedDeal, ...]:
        """All deals to count from now on: those that the broker no longer shows first."""
        kept = [deal for deal in self.known.booked if deal.ticket in self.lacking]
        return (*kept, *map(as_booked, self.history.deals))

    @property
    def tickets(self) -> tuple[int, ...]:
        """The tickets of all deals to count from now on, in the same order."""
        kept = (ticket for ticket in self.known.tickets if ticket in self.lacking)
        return (*kept, *(deal.ticket for deal in self.history.deals))

    @property
    def realised_units(self) -> int:
        """The realised result of all deals, including those that the broker no longer shows."""
        if not self.lacking:
            return self.history.realised_units
        changed = sum(money_units(change.now) - change.before.money for change in self.changed)
        return self.known.realised_units + sum(map(money_units, self.news)) + changed

    @property
    def all_units(self) -> int | None:
        """The volume that all deals leave open, including those that the broker no longer shows.

        In units of 1e-8 lots, negative when short. None if an older version of trueup counted such
        a deal and kept only its ticket.
        """
        booked = self.booked
        return sum(deal.lots for deal in booked) if len(booked) == len(self.tickets) else None

    def begun_with(self, net_units: int) -> int:
        """Return the units open before the first deal shown, if `net_units` are open now."""
        is_end = bool(self.lacking) or self.history.lost_its_beginning
        return net_units - self.history.net_units if is_end else 0

    def adds_up_to(self, net_units: int) -> bool:
        """Return whether the history is complete and its deals leave `net_units` open."""
        shown = self.history
        return bool(shown.deals) and not self.lacking and shown.net_units == net_units

    def continues_to(self, identifier: int, net_units: int) -> bool:
        """Return whether all counted and all shown deals together leave `net_units` open.

        The broker may have archived counted deals and changed others since. The sum proves nothing
        if the book began to count in the middle of the position, so the opening order is required.
        """
        has_begin = any(deal.order == identifier for deal in self.known.booked)
        return bool(self.history.deals) and has_begin and self.all_units == net_units

    def leads(self, before: int, after: int, since_msc: int = 0) -> bool:
        """Return whether the newest deals alone turn the volume `before` into `after` (units).

        This is sufficient proof if the broker shows only the end of a history: for a position that
        is months old, the broker may have archived the entry deals. The deals must be new: not in
        the book, and not older than `since_msc` (0 for any age).
        """
        # A complete history must add up from its first deal, so its end alone proves nothing.
        if not self.lacking and not self.history.lost_its_beginning:
            return False
        moved = 0
        for deal in reversed(self.news):
            moved += deal.units
            if deal.time_msc < since_msc:
                return False
            if moved == after - before:
                return True
        return False


def _is_same(before: BookedDeal, now: BookedDeal) -> bool:
    return (before.money, before.lots) == (now.money, now.lots)
