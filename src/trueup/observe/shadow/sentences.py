"""The sentences of a report: what was seen of a finding, its proof, and what it would have meant.

"A bot of memory" is a bot that does not look at the broker again: it believes its own orders and
their replies. Every meaning is told for such a bot.
"""

from __future__ import annotations

import msgspec

from trueup.core.book import events
from trueup.core.dates import iso
from trueup.core.explain import exit_sentence
from trueup.core.model import Deal, Position, Side, describe_at
from trueup.core.quantity import format_lots, format_money, format_price, from_units, same
from trueup.observe.lines import age_words
from trueup.observe.shadow.acts import Act, Did
from trueup.observe.shadow.report import Finding, Kind

NO_DEAL = "the deal that opened it is not in the history"
BLIND = "A bot that does not look again"


class Sight(msgspec.Struct, frozen=True):
    """One look of the watch: its time (ns of UTC), and what may have made it late.

    `offset_sec` is the trade server's clock less UTC, None if not known.
    """

    at_ns: int
    offset_sec: int | None = None
    meanwhile: str = ""

    def at_deal(self, deal: Deal) -> Sight:
        """Return the same look with the time of a deal, if its time in UTC is known."""
        return msgspec.structs.replace(self, at_ns=self.utc_ns(deal.time_msc))

    def utc_ns(self, time_msc: int) -> int:
        """Return a time of the trade server's clock in UTC (ns); without its offset, the look's."""
        if self.offset_sec is None or not time_msc:
            return self.at_ns
        return (time_msc - self.offset_sec * 1_000) * 1_000_000


class Stops(msgspec.Struct, frozen=True):
    """Stop loss and take profit before and now; 0.0 for none."""

    sl_before: float
    tp_before: float
    sl: float
    tp: float

    @property
    def differ(self) -> bool:
        """Whether either was changed."""
        return not (same(self.sl_before, self.sl) and same(self.tp_before, self.tp))


def time_words(at_ns: int) -> str:
    """Write a time for a person: 2026-01-05 14:03:07 UTC."""
    return f"{iso(at_ns)[:19].replace('T', ' ')} UTC"


def lasted(since_ns: int, until_ns: int) -> str:
    """Write how long something lasted."""
    return age_words((until_ns - since_ns) / 1e9)


def ghost(act: Act, who: str, sight: Sight, ticket: int, digits: int | None) -> Finding:
    """A position that the bot had, closed by others."""
    ended = act.ended
    assert ended is not None
    at_ns, lots = sight.utc_ns(ended.time_msc), format_lots(ended.volume)
    held = f"{_side_before(act.last)} {lots} lots of {act.last.symbol}"
    result = format_money(ended.result, digits)
    return Finding(
        Kind.GHOST,
        at_ns,
        sight.at_ns,
        seen=f"{held} is gone: {exit_sentence(ended, digits=digits)}",
        proof=_deals_words(act),
        meant=f"{BLIND} would hold {held}, which was closed {who} at {format_price(ended.price)} "
        f"({time_words(at_ns)}): it would manage {lots} lots that do not exist, and not know a "
        f"result of {result}",
        ticket=ticket,
        symbol=act.last.symbol,
        meanwhile=sight.meanwhile,
    )


def closed_unseen(
    event: events.PositionClosed, sight: Sight, has_deals: bool, digits: int | None
) -> Finding:
    """A position that the bot had, and that left the book without a deal in the history."""
    row = event.position
    lots = format_lots(row.volume)
    how = event.because if event.ended is None else exit_sentence(event.ended, digits=digits)
    deals = "the deals seen do not close it" if has_deals else "no deal of it was seen"
    return Finding(
        Kind.GHOST,
        sight.at_ns if event.ended is None else sight.utc_ns(event.ended.time_msc),
        sight.at_ns,
        seen=f"{describe_at(row)} of {row.symbol} is gone: {how}",
        proof=f"{event.because}; {deals}",
        meant=f"{BLIND} would manage {lots} lots that do not exist; by whom they were closed is "
        "not known",
        ticket=row.ticket,
        symbol=row.symbol,
        meanwhile=sight.meanwhile,
    )


def zombie(
    opened: Act | Position,
    who: str,
    sight: Sight,
    ticket: int,
    ended: tuple[Act, str, Sight] | None,
    proof: str,
) -> Finding:
    """A position that the bot did not open."""
    if isinstance(opened, Position):
        at_ns, symbol, lots = sight.utc_ns(opened.time_msc), opened.symbol, opened.volume
        price, side = opened.price_open, opened.side
    else:
        first = opened.deals[0]
        at_ns, symbol = sight.utc_ns(first.time_msc), first.symbol
        lots, price, side = from_units(abs(opened.units)), first.price, first.side
    what = f"{side.word} {format_lots(lots)} lots of {symbol}"
    until_ns, end = 0, ""
    if ended is not None:
        act, by, last = ended
        until_ns = last.utc_ns(act.last.time_msc)
        end = f"; closed {by} after {lasted(at_ns, until_ns)} (deal {act.last.ticket})"
    return Finding(
        Kind.ZOMBIE,
        at_ns,
        sight.at_ns,
        seen=f"{what} was opened {who} at {format_price(price)}{end}",
        proof=proof[:1].upper() + proof[1:],
        meant=f"{BLIND} would not know {what}: neither its risk and its margin, nor that its own "
        "next order adds to them",
        ticket=ticket,
        symbol=symbol,
        until_ns=until_ns,
        meanwhile=sight.meanwhile,
    )


def drift_of_volume(act: Act, who: str, sight: Sight, ticket: int) -> Finding:
    """A position that others made larger or smaller."""
    lots = format_lots(from_units(abs(act.units)))
    left = format_lots(from_units(abs(act.net)))
    grew = act.did in (Did.GREW, Did.OPENED)
    change = f"{lots} lots were added" if grew else f"{lots} lots were closed"
    before = format_lots(from_units(abs(act.net - act.units)))
    return Finding(
        Kind.DRIFT,
        sight.utc_ns(act.last.time_msc),
        sight.at_ns,
        seen=f"{change} {who} at {format_price(act.last.price)}: {before} → {left} lots",
        proof=_deals_words(act),
        meant=f"{BLIND} would manage {before} lots where {left} are open: its next close would "
        + ("leave the rest open" if grew else "be refused, or open the other side"),
        ticket=ticket,
        symbol=act.last.symbol,
        meanwhile=sight.meanwhile,
    )


def reversal(act: Act, who: str, sight: Sight, ticket: int) -> Finding:
    """A netting position that others turned to the other side."""
    before, now = act.net - act.units, act.net
    return Finding(
        Kind.REVERSAL,
        sight.utc_ns(act.last.time_msc),
        sight.at_ns,
        seen=f"Turned {who} at {format_price(act.last.price)}: {_net(before)} → {_net(now)}",
        proof=_deals_words(act),
        meant=f"{BLIND} would manage {_net(before)} and be {_net(now)}: its close would add to the "
        "position",
        ticket=ticket,
        symbol=act.last.symbol,
        meanwhile=sight.meanwhile,
    )


def reopened(act: Act, who: str, sight: Sight, ticket: int, digits: int | None) -> Finding:
    """A position that the broker closed and opened again, with its swap in the price or booked."""
    first, last = act.deals[0], act.last
    assert act.ended is not None
    money = format_money(act.ended.result, digits)
    return Finding(
        Kind.SWAP,
        sight.utc_ns(last.time_msc),
        sight.at_ns,
        seen=f"Closed at {format_price(first.price)} and opened again at "
        f"{format_price(last.price)} {who}, result {money}",
        proof=_deals_words(act),
        meant=f"{BLIND} would count from the old open price: its result would be {money} off",
        ticket=ticket,
        symbol=last.symbol,
        meanwhile=sight.meanwhile,
    )


def drift_of_stops(row: Position, stops: Stops, sight: Sight) -> Finding:
    """A position whose stop loss or take profit changed."""
    changes = [
        f"{name} {_level(before)} → {_level(now)}"
        for name, before, now in (
            ("stop loss", stops.sl_before, stops.sl),
            ("take profit", stops.tp_before, stops.tp),
        )
        if not same(before, now)
    ]
    told = ", ".join(changes)
    return Finding(
        Kind.DRIFT,
        sight.at_ns,
        sight.at_ns,
        seen=f"{told[:1].upper()}{told[1:]}",
        proof="Two readings of the position differ. MetaTrader 5 keeps no record of who changed a "
        "stop: if the bot's own log does not have this change, somebody else made it",
        meant=f"{BLIND} would work by the old stops: its risk and its exit are not what it thinks",
        ticket=row.ticket,
        symbol=row.symbol,
        meanwhile=sight.meanwhile,
    )


def missing_stop(row: Position, since: Sight, until: Sight | None, *, at_first: bool) -> Finding:
    """A position without a stop loss."""
    length = "" if until is None else f" for {lasted(since.at_ns, until.at_ns)}"
    state = "has" if until is None else "had"
    begin = "already so at the first reading" if at_first else "so since its opening or a change"
    return Finding(
        Kind.MISSING_STOP,
        since.at_ns,
        since.at_ns,
        seen=f"{row.side.word} {format_lots(row.volume)} lots of {row.symbol} {state} no stop "
        f"loss{length}",
        proof=f"The readings of the position have none; {begin}",
        meant="If the bot or its line had died meanwhile, nothing at the broker would have ended "
        "the position: without a stop, how much is at risk is not known",
        ticket=row.ticket,
        symbol=row.symbol,
        until_ns=0 if until is None else until.at_ns,
        meanwhile=since.meanwhile,
    )


def _side_before(closing: Deal) -> str:
    return closing.side.opposite.word


def _net(units: int) -> str:
    if not units:
        return "flat"
    side = Side.BUY if units > 0 else Side.SELL
    return f"{side.word} {format_lots(from_units(abs(units)))} lots"


def _level(price: float) -> str:
    return format_price(price) if price else "none"


def _deals_words(act: Act) -> str:
    tickets = ", ".join(str(deal.ticket) for deal in act.deals)
    comment = f", comment {act.last.comment!r}" if act.last.comment else ""
    return f"Deal{'s' * (len(act.deals) > 1)} {tickets} of order {act.last.order}{comment}"
