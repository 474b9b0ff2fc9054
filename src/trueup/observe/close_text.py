"""What a person is shown before positions are closed, and after."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

import msgspec

from trueup.core.quantity import format_lots, format_money, format_price
from trueup.observe.lines import WIDTH, account_words, said, time_of

# More lines than this would push the question off a small screen.
STAYS_SHOWN = 12


class ClosingRow(msgspec.Struct, frozen=True):
    """A position that is to be closed, as the book has it.

    `price` is the price at which the broker would close it, and `profit` the floating result, both
    None if no reading has shown them. `trouble` says why the close may be refused, empty if nothing
    is known against it.
    """

    ticket: int
    identifier: int
    symbol: str
    side: str
    lots: float
    price_open: float
    price: float | None = None
    profit: float | None = None
    trouble: str = ""

    @property
    def words(self) -> str:
        """The position as a person reads it."""
        return f"{self.symbol} {self.side} {format_lots(self.lots)}L"


class NetRow(msgspec.Struct, frozen=True):
    """The lots of a symbol (negative when short) that are open after the closes."""

    symbol: str
    lots: float


class ClosePlan(msgspec.Struct, frozen=True):
    """What `trueup close` would close, and what it would leave.

    `read` is the time of the figures (ISO 8601 in UTC), None before the first reading. `unknown`
    says why the broker cannot be read now, empty if `read` is now. `journal` says why the journal
    takes nothing now, empty if it works. `net` has each symbol of a closed position. `stays` lists
    pending orders, and positions that are not in the bot's book. `shared` names the strategies that
    share a netting position which is to be closed. `doubts` lists orders in doubt that may have
    opened a position which the book does not have yet.
    """

    rows: list[ClosingRow]
    net: list[NetRow]
    account: str | None = None
    trade_mode: str | None = None
    currency: str = ""
    currency_digits: int | None = None
    read: str | None = None
    unknown: str = ""
    journal: str = ""
    netting: bool = False
    shared: list[str] = []
    stays: list[str] = []
    doubts: list[str] = []


class CloseResult(msgspec.Struct, frozen=True):
    """What became of a close.

    `state` is waiting, closed, part, refused, doubt, or unknown if the bot did not answer. `lots`
    and `price` are the fill, `order_id` the order, `reason` the refusal or the doubt, `then` what
    happens next.
    """

    ticket: int
    state: str
    order_id: str = ""
    lots: float | None = None
    price: float | None = None
    reason: str = ""
    then: str = ""


def write_close_plan(plan: ClosePlan) -> str:
    """Write what would be closed and what would stay, in 80 columns."""
    if not plan.rows:
        flat = "Nothing to close: the book is flat."
        if plan.unknown:
            flat += f" The broker cannot be read now: {plan.unknown.rstrip('.')}."
        return "\n".join([*wrap(flat, WIDTH), *_doubts(plan)])
    return "\n".join(_lines(plan))


def _lines(plan: ClosePlan) -> Iterator[str]:
    read = "never read" if plan.read is None else f"read {time_of(plan.read)}"
    yield from said("Account", f"{account_words(plan.account, plan.trade_mode)}, {read}")
    if plan.unknown:
        yield from said(
            "Careful",
            f"The broker cannot be read now: {plan.unknown.rstrip('.')}. The figures are of the "
            f"time above{_may_reverse(plan)}.",
        )
    if plan.journal:
        yield from said(
            "Careful",
            f"The journal takes nothing now: {plan.journal.rstrip('.')}. The close leaves all the "
            "same: the gateway's record has it, and the journal gets it when it works again.",
        )
    for row in plan.rows:
        yield from said("Close", f"{row.ticket} {_figures(row, plan)}")
        if row.trouble:
            yield from said("Careful", f"{row.ticket}: {row.trouble}")
    for sentence in plan.shared:
        yield from said("Careful", sentence)
    for net in plan.net:
        yield from said("Then", f"{net.symbol} {_net(net.lots)}")
    yield from _doubts(plan)
    for words in plan.stays[:STAYS_SHOWN]:
        yield from said("Stays", words)
    if len(plan.stays) > STAYS_SHOWN:
        yield from said("Stays", f"{len(plan.stays) - STAYS_SHOWN} more")


def _doubts(plan: ClosePlan) -> Iterator[str]:
    for words in plan.doubts:
        yield from said("In doubt", f"{words}: it may have opened a position; look again later")


def _may_reverse(plan: ClosePlan) -> str:
    if not plan.netting:
        return ""
    return (
        ", and on a netting account a close of a position that has shrunk since opens the other "
        "side"
    )


def _figures(row: ClosingRow, plan: ClosePlan) -> str:
    words = f"{row.words} @ {format_price(row.price_open)}"
    if row.price:
        words += f", now {format_price(row.price)}"
    if row.profit is not None:
        profit = format_money(row.profit, plan.currency_digits, plan.currency, with_sign=True)
        words += f", profit {profit}"
    return words


def _net(lots: float) -> str:
    if not lots:
        return "flat"
    return f"{'LONG' if lots > 0 else 'SHORT'} {format_lots(abs(lots))}L"


def close_sentence(row: ClosingRow, result: CloseResult) -> list[str]:
    """Return what became of a close as labelled lines."""
    order = f" ({result.order_id})" if result.order_id else ""
    at = f" @ {format_price(result.price)}" if result.price else ""
    lots = "" if result.lots is None else f"{format_lots(result.lots)}L"
    what = f"{row.ticket} {row.words}"
    match result.state:
        case "closed":
            then = f". {result.then}" if result.then else ""
            return said("Closed", f"{what}{at}{order}{then}")
        case "part":
            return said("In part", f"{what}: {lots} closed{at}, the rest stays open{order}")
        case "doubt":
            return said(
                "In doubt", f"{what}: {result.reason.rstrip('.')}{order}. {result.then}".rstrip()
            )
        case "refused":
            return said("Not closed", f"{what}: {result.reason}{order}")
        case _:
            return said("Not known", f"{what}: {result.reason.rstrip('.')}. {result.then}".rstrip())
