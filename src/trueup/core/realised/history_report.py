"""What a comparison of the book's deals with the broker's history found, for whoever asked."""

from __future__ import annotations

import msgspec

from trueup.core.quantity import format_money, from_units
from trueup.core.realised.agreement import Agreement, DealChange, DealLine


class HistoryReport(msgspec.Struct, frozen=True):
    """The book's deals against the broker's, deal by deal, to the cent.

    `since_msc` and `until_msc` are the span, in milliseconds of the trade server's clock; 0 is its
    beginning, and its end. `unknown` says why the broker's deals could not be read; where it is not
    empty, nothing else says anything. Money is in `currency`, with `digits` decimals.
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
        """Whether both sides were read, and have the same deals with the same money."""
        return not self.unknown and self.found.is_whole

    @property
    def agreed(self) -> int:
        """How many deals both sides have alike."""
        return self.found.agreed

    @property
    def missing_in_book(self) -> tuple[DealLine, ...]:
        """Deals that the broker has of our positions and orders, and the book does not."""
        return self.found.missing_in_book

    @property
    def missing_at_broker(self) -> tuple[DealLine, ...]:
        """Deals that the book has counted, and the broker does not show."""
        return self.found.missing_at_broker

    @property
    def changed(self) -> tuple[DealChange, ...]:
        """Deals that both have, with other money or other lots."""
        return self.found.changed

    @property
    def of_others(self) -> int:
        """How many deals are of positions of others, of which the book counts none."""
        return self.found.of_others

    @property
    def difference(self) -> float:
        """How much more the broker's deals brought than the book's, in `currency`."""
        return from_units(self.found.difference)

    @property
    def sentence(self) -> str:
        """What was found, for a person."""
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
        said = ", ".join(f"{count} {what}" for count, what in wrong if count)
        money = f"{format_money(self.difference, self.digits)} {self.currency}".strip()
        return f"{deals}, {said}: the broker's result is {money} more than the book's"

    def __str__(self) -> str:
        """Return what was found, for a person."""
        return self.sentence


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
