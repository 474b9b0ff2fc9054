"""The deals of one position, and what they come to beside what the book has of them.

A position's realised result is the sum of profit, swap, commission and fee over all its deals (MQL5
reference, "Deal Properties": DEAL_POSITION_ID ties every deal to its position). The book keeps each
deal that it has counted, with its money and its lots, so that a later look tells apart what is new,
what the broker has changed since, and what its history does not show any more.

Money and lots are whole units of 1e-8, so that sums are the broker's to the cent.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import msgspec

from trueup.core.model import Deal, DealKind, Entry
from trueup.core.quantity import to_units


class BookedDeal(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A deal as the book has counted it: `money` in units of 1e-8 of the account's currency.

    `lots` is what it added to the position in units of 1e-8, negative when sold, 0 where it moved
    none. `order` is the ticket of its order, 0 for none. `time_msc` is when the trade server made
    it, by its own clock, 0 where an older version counted it.
    """

    ticket: int
    money: int
    lots: int
    order: int = 0
    time_msc: int = 0


class History(msgspec.Struct, frozen=True):
    """The deals of one position as the broker shows them: each once, oldest first."""

    deals: tuple[Deal, ...]

    @property
    def net_units(self) -> int:
        """What the deals leave open, in units of 1e-8 lots, negative when short."""
        return sum(deal.units for deal in self.deals)

    def lacks(self, known: Iterable[int]) -> bool:
        """Return whether deals that were recorded before are not all among these."""
        return not {deal.ticket for deal in self.deals}.issuperset(known)

    @property
    def is_closed(self) -> bool:
        """Whether the deals prove that nothing is left open."""
        return self.closes_to(0.0)

    def closes_to(self, net_volume: float) -> bool:
        """Return whether there are deals, and they leave `net_volume` lots open, at 1e-8."""
        return bool(self.deals) and self.net_units == to_units(net_volume)

    @property
    def lost_its_beginning(self) -> bool:
        """Whether the first deal shown opens nothing: what came before was archived."""
        moving = (deal for deal in self.deals if deal.kind is not DealKind.CASH and deal.volume)
        first = next(moving, None)
        return first is not None and first.entry is not Entry.IN

    @property
    def realised_units(self) -> int:
        """The realised result of all deals, in units of 1e-8 of the account's currency."""
        return sum(map(money_units, self.deals))


def history_of(identifier: int, deals: Iterable[Deal]) -> History:
    """Return the deals of one position: each ticket once, in the order they were made."""
    own = {deal.ticket: deal for deal in deals if deal.position == identifier}
    return History(tuple(sorted(own.values(), key=lambda d: (d.time_msc, d.ticket))))


def money_units(deal: Deal) -> int:
    """Return profit, swap, commission and fee of a deal in units of 1e-8."""
    return sum(map(to_units, (deal.profit, deal.swap, deal.commission, deal.fee)))


def as_booked(deal: Deal) -> BookedDeal:
    """Return a deal as the book counts it."""
    return BookedDeal(deal.ticket, money_units(deal), deal.units, deal.order, deal.time_msc)


class Known(msgspec.Struct, frozen=True):
    """What the book has of the deals of one position.

    `booked` lacks those of `tickets` that a version recorded which kept their tickets alone.
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
    """The deals that the broker shows of a position, against those that the book has.

    `news` are not in the book, `changed` are there with other money or lots, and `lacking` are the
    tickets of those that the broker does not show any more.
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
        """Whether the broker shows something that the book does not have."""
        return bool(self.news or self.changed)

    @property
    def differs(self) -> bool:
        """Whether the broker's result is another, or its deals are, as far as they are shown."""
        return self.has_news or self.realised_units != self.known.realised_units

    @cached_property
    def booked(self) -> tuple[BookedDeal, ...]:
        """All deals as the book has to count them now: those no longer shown first."""
        kept = [deal for deal in self.known.booked if deal.ticket in self.lacking]
        return (*kept, *map(as_booked, self.history.deals))

    @property
    def tickets(self) -> tuple[int, ...]:
        """The tickets of all deals that are counted then."""
        kept = (ticket for ticket in self.known.tickets if ticket in self.lacking)
        return (*kept, *(deal.ticket for deal in self.history.deals))

    @property
    def realised_units(self) -> int:
        """The realised result of all deals, those that are no longer shown included."""
        if not self.lacking:
            return self.history.realised_units
        changed = sum(money_units(one.now) - one.before.money for one in self.changed)
        return self.known.realised_units + sum(map(money_units, self.news)) + changed

    def begun_with(self, net_units: int) -> int:
        """Return what was open before the first deal that is shown, if `net_units` are now."""
        is_end = bool(self.lacking) or self.history.lost_its_beginning
        return net_units - self.history.net_units if is_end else 0

    def adds_up_to(self, net_units: int) -> bool:
        """Return whether the history is whole, and its deals leave `net_units` lots open."""
        shown = self.history
        return bool(shown.deals) and not self.lacking and shown.net_units == net_units

    def leads(self, before: int, after: int, since_msc: int = 0) -> bool:
        """Return whether the newest deals alone turn one volume into another.

        That is proof enough where the broker shows the end of a history only: of a position that is
        months old, the deals of its entry may be archived. The deals have to be new: not in the
        book, and not older than `since_msc` (0 for any age).
        """
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
