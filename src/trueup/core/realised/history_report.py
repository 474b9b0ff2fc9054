"""The report on a comparison of the book's deals with the broker's history."""

from __future__ import annotations

import msgspec

from trueup.core.quantity import format_money, from_units
from trueup.core.realised.agreement import Agreement, DealChange, DealLine


class HistoryReport(msgspec.Struct, frozen=True):
    """The book's deals compared with the broker's, deal by deal, to the cent.

    `since_msc` and `until_msc` are the span, in milliseconds of the trade server's clock; 0 means
    the beginning, or the end, of the history. `unknown` says why the broker's deals could not be
    read; if `unknown` is not empty, ignore all other fields. Money is in `currency`, with `digits`
    decimals.
    """

    since_msc: int = 0
    until_msc: int = 0
    found: Agreement = Agreement()
    unknown: str = ""
    account: str = ""
    currency: str = ""
    digits: int = 2

    @property
    def agrees(self) -> bool:
        """Whether both sides could be read and have the same deals with the same money and lots."""
        return not self.unknown and self.found.is_whole

    @property
    def agreed(self) -> int:
        """The number of deals that are equal on both sides."""
        return self.found.agreed

    @property
    def missing_in_book(self) -> tuple[DealLine, ...]:
        """The deals of our positions and orders that the broker has and the book does not have."""
        return self.found.missing_in_book

    @property
    def missing_at_broker(self) -> tuple[DealLine, ...]:
        """The deals that the book has counted and the broker does not show."""
        return self.found.missing_at_broker

    @property
    def changed(self) -> tuple[DealChange, ...]:
        """The deals that both sides have, with different money or lots."""
        return self.found.changed

    @property
    def of_others(self) -> int:
        """The number of deals of others' positions, which the book does not count."""
        return self.found.of_others

    @property
    def difference(self) -> float:
        """The money of the broker's deals minus the money of the book's, in `currency`."""
        return from_units(self.found.difference)

    @property
    def sentence(self) -> str:
        """The result in a sentence for a person."""
        if self.unknown:
            return self.unknown
        deals = f"{_counted(self.agreed, 'deal')} agree{'s' * (self.agreed == 1)}"
        if self.agrees:
            return f"{deals} with the broker's history"
        wrong = [
            (len(self.missing_in_book), "missing in the book"),
            (len(self.missing_at_broker), "not shown by the broker any more"),
            (len(self.changed), "with other money or lots"),
        ]
        # Name only the kinds of difference that occur: the sentence is one line of a log.
        differences = ", ".join(f"{count} {kind}" for count, kind in wrong if count)
        money = format_money(self.difference, self.digits, self.currency)
        return f"{deals}, {differences}: the broker's result is {money} more than the book's"

    def __str__(self) -> str:
        """Return the result in a sentence for a person."""
        return self.sentence


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
