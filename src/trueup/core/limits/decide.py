"""Decide which limits refuse entries: all at once, or for one order, in the narrowest scope."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trueup.core.book.book import Book
from trueup.core.limits.exposure import Entry, Exposure, Seen, exposure
from trueup.core.limits.limits import Limits
from trueup.core.limits.times import is_open, local_text, opens_after
from trueup.core.quantity import format_lots, from_units, to_units

FIGURES, READING = "figures", "positions"
LOTS_IN_SYMBOL, LOTS, POSITIONS, SPREAD, HOURS = (
    "lots in the symbol",
    "lots",
    "open positions",
    "spread",
    "trading hours",
)


class Breach(msgspec.Struct, frozen=True):
    """A limit that refuses entries: in `symbol`, or in the whole account if that is empty.

    `reason` and `until` are parts of a sentence: refused: `reason` (until `until`).
    """

    limit: str
    symbol: str
    reason: str
    until: str


class LimitInputs(msgspec.Struct, frozen=True, kw_only=True):
    """All inputs of a decision about entries.

    Args:
        limits: the limits.
        book: our positions and orders, and the limits that are reached by the journal.
        seen: the rows of the latest believed reading, None before the first.
        figures_unread: why the account's figures cannot be used, empty if they are noted.
        spread: the spread of the entry's symbol in points, or why it is not known.
        now_ns: the date (ns of UTC).
        entry: the order to judge; None for the limits that refuse every entry of their scope.
    """

    limits: Limits
    book: Book
    seen: Seen | None
    now_ns: int
    figures_unread: str = ""
    spread: float | str = 0.0
    entry: Entry | None = None


def breaches(inputs: LimitInputs) -> Iterator[Breach]:
    """Yield the limits that refuse the entry, or every entry; the lasting ones first."""
    limits, entry, seen = inputs.limits, inputs.entry, inputs.seen
    now: Exposure | None = None
    if seen is not None and (entry is not None or limits.needs_exposure):
        now = exposure(inputs.book, seen)
    # Only lots that open count: a reversal is an entry for what it has beyond the position.
    if entry is not None and now is not None and not now.opened_by(entry):
        return
    yield from _locks(inputs)
    yield from _hours(inputs)
    if limits.needs_exposure:
        yield from _unknown(seen)
        if now is not None:
            yield from _exposure(limits, now, entry)
    if limits.spread is not None and entry is not None:
        yield from _spread(limits.spread, inputs.spread, entry)


def _locks(inputs: LimitInputs) -> Iterator[Breach]:
    for lock in list(inputs.book.reached.values()):
        if not lock.until_ns or inputs.now_ns < lock.until_ns:
            yield Breach(lock.limit, "", lock.reason, lock.until)
    if inputs.limits.needs_figures and inputs.figures_unread:
        yield Breach(
            FIGURES,
            "",
            f"the account's figures cannot be read for a limit on money: {inputs.figures_unread}",
            "figures that can be read",
        )


def _hours(inputs: LimitInputs) -> Iterator[Breach]:
    limits, now_ns = inputs.limits, inputs.now_ns
    if limits.hours is None:
        return
    zone, windows = limits.hours_in, limits.windows
    if is_open(now_ns, windows, zone):
        return
    opens_ns = opens_after(now_ns, windows, zone)
    until = "another limit of hours" if opens_ns is None else local_text(opens_ns, zone)
    yield Breach(HOURS, "", f"outside the trading hours: {local_text(now_ns, zone)}", until)


def _unknown(seen: Seen | None) -> Iterator[Breach]:
    if seen is None:
        yield Breach(
            READING,
            "",
            "the account's positions are not known yet, for a limit on lots or positions",
            "a reading of the broker",
        )
    elif seen.unread:
        yield Breach(
            READING,
            "",
            f"the account's lots cannot be counted: {seen.unread}",
            "a reading without such a row",
        )


def _exposure(limits: Limits, now: Exposure, entry: Entry | None) -> Iterator[Breach]:
    # Without an order, a limit refuses everything once the finest step (1e-8 lots), or one more
    # position, no longer fits.
    after = None if entry is None else now.after(entry)
    until = "fewer lots" if entry is None else "a smaller order, or fewer lots"
    for symbol in [entry.symbol] if entry is not None else sorted(now.units):
        most, open_units = limits.lots_in(symbol), now.units.get(symbol, 0)
        units = open_units + 1 if after is None else after.units[symbol]
        if most is not None and units > to_units(most):
            yield Breach(
                LOTS_IN_SYMBOL,
                symbol,
                f"{_lots(open_units)} lots are open, pending or in doubt in "
                f"{symbol}{_more(now, entry)}; the limit is {format_lots(most)}",
                until,
            )
    all_units = now.all_units + 1 if after is None else after.all_units
    if limits.lots is not None and all_units > to_units(limits.lots):
        yield Breach(
            LOTS,
            "",
            f"{_lots(now.all_units)} lots are open, pending or in doubt in the account"
            f"{_more(now, entry)}; the limit is {format_lots(limits.lots)}",
            until,
        )
    slots = now.slots + 1 if after is None else after.slots
    if limits.positions is not None and slots > limits.positions:
        yield Breach(
            POSITIONS,
            "",
            f"the account has {now.slots} position{'s' * (now.slots != 1)}, open, pending or in "
            f"doubt; the limit is {limits.positions}",
            "fewer positions",
        )


def _more(now: Exposure, entry: Entry | None) -> str:
    """Say what an order would add, and that the rest of a reversal closes."""
    if entry is None:
        return ""
    opened = now.opened_by(entry)
    if opened == to_units(entry.volume):
        return f", and the order has {format_lots(entry.volume)}"
    return f", and {_lots(opened)} of the order's {format_lots(entry.volume)} would open"


def _spread(most: float, spread: float | str, entry: Entry) -> Iterator[Breach]:
    if isinstance(spread, str):
        reason = f"the spread of {entry.symbol} is not known: {spread}"
    elif spread > most:
        reason = f"the spread of {entry.symbol} is {spread:g} points; the limit is {most:g}"
    else:
        return
    yield Breach(SPREAD, entry.symbol, reason, f"a spread of at most {most:g} points")


def _lots(units: int) -> str:
    return format_lots(from_units(units))
