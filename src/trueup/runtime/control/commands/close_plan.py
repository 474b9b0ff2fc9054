"""Collect what a person is shown before positions are closed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trueup.core.account.trust import Trusted
from trueup.core.book.book import Holding
from trueup.core.book.events import CHANGES
from trueup.core.book.order import Order
from trueup.core.book.strategies import strategy_rows
from trueup.core.dates import iso
from trueup.core.model import PendingOrder, Position, Snapshot, describe, describe_order
from trueup.core.quantity import add_lots, format_lots
from trueup.errors import Refused
from trueup.observe.close_text import ClosePlan, ClosingRow, NetRow
from trueup.runtime.bot.order_checks import tickets_listed
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.observation import Observation
from trueup.runtime.trading.loop import TradingLoop


def close_plan(loop: TradingLoop, observation: Observation, ticket: int) -> ClosePlan:
    """Return what a close of a ticket would do; ticket 0 stands for every position of the book.

    Raises:
        Refused: the ticket is no position of the book.
    """
    pm, snapshot = loop.pm, believed(observation)
    held = targets(pm, ticket, snapshot)
    symbols = dict.fromkeys(holding.position.symbol for holding in held)
    # Without a ticket everything in the account is named that stays.
    scope = symbols if ticket else None
    account = pm.book.account
    return ClosePlan(
        rows=[_row(pm, holding, snapshot) for holding in held],
        net=list(_net(pm, held, snapshot)),
        account=pm.book.bound.name if pm.book.bound else None,
        trade_mode=None if account is None else account.trade_mode,
        currency="" if account is None else account.currency,
        currency_digits=pm.currency_digits,
        read=_read(pm, observation, snapshot),
        unknown="" if isinstance(observation.verdict, Trusted) else observation.verdict.sentence,
        journal=pm.journal_trouble,
        netting=pm.book.nets,
        shared=list(_shared(pm, held)),
        stays=list(_stays(pm, snapshot, scope)),
        doubts=[
            doubt_words(order)
            for order in pm.book.in_doubt.values()
            if _may_open(order) and (scope is None or order.symbol in scope)
        ],
    )


def doubt_words(order: Order) -> str:
    """Return an order in doubt as a person reads it."""
    return f"{order.order_id}, {order.action} {format_lots(order.volume)}L {order.symbol}"


def believed(observation: Observation) -> Snapshot | None:
    """Return the snapshot of an observation, None if the reading is not believed."""
    verdict = observation.verdict
    return verdict.snapshot if isinstance(verdict, Trusted) else None


def targets(pm: PortfolioManager, ticket: int, snapshot: Snapshot | None) -> list[Holding]:
    """Return the positions to close: one, or with ticket 0 all, in each symbol the oldest first.

    Raises:
        Refused: the ticket is no position of the book.
    """
    book = pm.book
    if not ticket:
        return [book.holdings[identifier] for identifier in pm.desk.to_close()]
    holding = book.holding_by_ticket(ticket)
    if holding is None:
        known = tickets_listed(one.position.ticket for one in book.holdings.values())
        raise Refused(
            f"Nothing was sent: {ticket} is no position of this bot's book, which has {known}."
            f"{_instead(pm, ticket, snapshot)}"
        )
    return [holding]


def difference(position: Position, snapshot: Snapshot) -> str:
    """Return how the broker's row differs in side or lots from the book's, or an empty string."""
    rows = (row for row in snapshot.positions if _key(row) == position.identifier)
    row = next(rows, None)
    if row is None:
        return "the broker's list does not have it now"
    if (row.side, row.symbol) == (position.side, position.symbol) and not add_lots(
        row.volume, -position.volume
    ):
        return ""
    return f"the book has {describe(position)}, and the broker {describe(row)}"


def _instead(pm: PortfolioManager, ticket: int, snapshot: Snapshot | None) -> str:
    """Say what a ticket is that is no position of the book, for an error."""
    for pending in (*(one.order for one in pm.book.pending.values()), *_orders(snapshot)):
        if pending.ticket == ticket:
            return (
                f" {ticket} is a pending order, {_pending_words(pending)}: cancel it in the "
                "terminal."
            )
    # Before the broker's rows: a list that was read during the close may still have the position.
    if ticket in pm.book.closed:
        return f" {ticket} has left the book: it was closed."
    for row in () if snapshot is None else snapshot.positions:
        if row.ticket == ticket:
            return (
                f" The broker has it, {row.symbol} {describe(row)}, magic {row.magic}, and it is "
                "not this bot's: close it in the terminal, or by the bot whose position it is."
            )
    return ""


def _row(pm: PortfolioManager, holding: Holding, snapshot: Snapshot | None) -> ClosingRow:
    position, mark = holding.position, holding.mark
    if snapshot is not None:
        mark = next((r for r in snapshot.positions if _key(r) == position.identifier), mark)
    doubtful = pm.desk.closing(position.identifier)
    trouble = "" if snapshot is None else difference(position, snapshot)
    if doubtful is not None:
        trouble = f"{doubtful.order_id} may have closed it already: {doubtful.error}"
    return ClosingRow(
        position.ticket,
        position.identifier,
        position.symbol,
        position.side.word,
        position.volume,
        position.price_open,
        None if mark is None else mark.price_current or None,
        None if mark is None else mark.profit,
        trouble,
    )


def _net(
    pm: PortfolioManager, held: Sequence[Holding], snapshot: Snapshot | None
) -> Iterator[NetRow]:
    """Yield the net lots of each symbol after the closes, with other programs' positions."""
    rows: Iterable[Position] = (one.position for one in pm.book.holdings.values())
    if snapshot is not None:
        rows = snapshot.positions
    net: dict[str, float] = {}
    for row in rows:
        net[row.symbol] = add_lots(net.get(row.symbol, 0.0), row.net_volume)
    for holding in held:
        symbol = holding.position.symbol
        net[symbol] = add_lots(net.get(symbol, 0.0), -holding.position.net_volume)
    for symbol in dict.fromkeys(holding.position.symbol for holding in held):
        yield NetRow(symbol, net[symbol])


def _shared(pm: PortfolioManager, held: Sequence[Holding]) -> Iterator[str]:
    if not pm.book.shares_positions:
        return
    for holding in held:
        symbol = holding.position.symbol
        rows = [row for row in strategy_rows(pm.book) if row.symbol == symbol]
        if len(rows) > 1:
            shares = ", ".join(
                f"{format_lots(row.net_volume)}L of "
                f"{'no strategy' if row.magic is None else f'magic {row.magic}'}"
                for row in rows
            )
            yield f"the position in {symbol} is shared, and all of it is closed: {shares}"


def _stays(
    pm: PortfolioManager, snapshot: Snapshot | None, symbols: Iterable[str] | None
) -> Iterator[str]:
    """Yield what stays as it is, in these symbols, or in the whole account."""
    wanted = None if symbols is None else frozenset(symbols)
    pending = {one.order.ticket: one.order for one in pm.book.pending.values()}
    pending.update((order.ticket, order) for order in _orders(snapshot))
    for order in pending.values():
        if wanted is None or order.symbol in wanted:
            yield f"pending order {order.ticket}, {_pending_words(order)}"
    for row in () if snapshot is None else snapshot.positions:
        if _key(row) not in pm.book.holdings and (wanted is None or row.symbol in wanted):
            yield f"position {row.ticket}, {row.symbol} {describe(row)}, not this bot's"


def _may_open(order: Order) -> bool:
    return not order.named and order.kind not in CHANGES


def _read(pm: PortfolioManager, observation: Observation, snapshot: Snapshot | None) -> str | None:
    seen = observation.asked.at if snapshot is not None else pm.seen
    return None if seen is None else iso(seen.date_ns)


def _orders(snapshot: Snapshot | None) -> tuple[PendingOrder, ...]:
    return () if snapshot is None or snapshot.evidence is None else snapshot.evidence.orders


def _pending_words(order: PendingOrder) -> str:
    return f"{order.symbol} {describe_order(order)}"


def _key(row: Position) -> int:
    return row.identifier or row.ticket
