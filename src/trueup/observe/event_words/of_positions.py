"""The words for events about positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from trueup.core.book import events
from trueup.core.model import describe, describe_at
from trueup.core.quantity import format_lots, format_money, format_price, from_units
from trueup.observe.event_words.words import (
    ERROR,
    INFO,
    WARNING,
    Actions,
    Block,
    CountsAs,
    Entry,
    Line,
    Words,
    level,
)


class OfAdopted(Words[events.PositionAdopted]):
    """A zombie entered the book."""

    actions: Actions = frozenset({"RECOVERY"})
    counts_as: ClassVar[CountsAs] = "recovered"

    def entry(self, event: events.PositionAdopted) -> Entry:
        p = event.position
        details = f"Zombie position recovered: {describe_at(p)}"
        return Entry("RECOVERY", p.ticket, details, "MISSING", describe_at(p))

    def lines(self, event: events.PositionAdopted) -> Iterable[Line]:
        p = event.position
        text = f"[RECOVERY] Zombie position recovered: Ticket {p.ticket}, {describe(p)}"
        return (Line(WARNING, "position.recovered", p.ticket, text),)

    def step(self, event: events.PositionAdopted, digits: int | None) -> Block:
        p = event.position
        what, proof = f"adopt {describe_at(p)}", "in the broker's list, not in the book"
        return Block("+", p.ticket, p.symbol, what, proof, f"the book holds it, magic {p.magic}")

    def difference(self, event: events.PositionAdopted) -> str:
        return f"Zombie position: Ticket {event.position.ticket}, {describe(event.position)}"

    def tickets(self, event: events.PositionAdopted) -> set[int]:
        return {event.position.ticket, event.position.identifier}


class OfClosed(Words[events.PositionClosed]):
    """A ghost left the book."""

    actions: Actions = frozenset({"CLOSED"})
    counts_as: ClassVar[CountsAs] = "closed"

    def entry(self, event: events.PositionClosed) -> Entry:
        p = event.position
        details = f"Ghost position removed{' (unproven)' * event.unproven}: {event.because}"
        return Entry("CLOSED", p.ticket, details, describe_at(p), "FLAT")

    def lines(self, event: events.PositionClosed) -> Iterable[Line]:
        ticket = event.position.ticket
        # Two lines: the guide's, and the reason that the guide does not show.
        text = f"[CLOSED] Ghost position removed (Ticket {ticket})"
        why = f"[EXPLAINED] Ticket {ticket}: {event.because}"
        return (
            Line(WARNING, "position.closed", ticket, text),
            Line(INFO, "position.explained", ticket, why),
        )

    def step(self, event: events.PositionClosed, digits: int | None) -> Block:
        p, result = event.position, "no result is known"
        if not event.unproven:
            result = f"result {format_money(from_units(event.realised_units), digits)}"
        what = f"close {describe_at(p)}"
        return Block("-", p.ticket, p.symbol, what, event.because, f"the book lets it go, {result}")

    def difference(self, event: events.PositionClosed) -> str:
        return f"Ghost position: Ticket {event.position.ticket}, {describe(event.position)}"

    def tickets(self, event: events.PositionClosed) -> set[int]:
        return {event.position.ticket, event.position.identifier, *event.went_on_as}

    def orders(self, event: events.PositionClosed) -> Iterable[int]:
        return _orders_of(event)

    def count(self, event: events.PositionClosed) -> str:
        return f"Ticket {event.position.ticket}: {event.because}"


class OfMissing(Words[events.PositionMissing]):
    """A position left the broker's list without proof."""

    actions: Actions = frozenset({"MISSING"})

    def entry(self, event: events.PositionMissing) -> Entry:
        p, details = event.position, f"Left the broker's list, {event.because}"
        return Entry("MISSING", p.ticket, details, describe_at(p), "MISSING")

    def lines(self, event: events.PositionMissing) -> Iterable[Line]:
        ticket = event.position.ticket
        text = f"[MISSING] Ticket {ticket} left the broker's list: {event.because}"
        return (Line(WARNING, "position.missing", ticket, text),)

    def step(self, event: events.PositionMissing, digits: int | None) -> Block:
        p, then = event.position, "held as missing, entries refused in its symbol"
        proof = f"not in the list, {event.because}"
        return Block("!", p.ticket, p.symbol, f"keep {describe_at(p)}", proof, then)

    def difference(self, event: events.PositionMissing) -> str:
        return f"Ghost position: Ticket {event.position.ticket}, {describe(event.position)}"

    def tickets(self, event: events.PositionMissing) -> set[int]:
        return {event.position.ticket, event.position.identifier}


class OfFound(Words[events.PositionFound]):
    """A position that was missing is listed again."""

    actions: Actions = frozenset({"FOUND"})

    def entry(self, event: events.PositionFound) -> Entry:
        p = event.position
        return Entry("FOUND", p.ticket, "In the broker's list again", "MISSING", describe_at(p))

    def lines(self, event: events.PositionFound) -> Iterable[Line]:
        ticket = event.position.ticket
        text = f"[FOUND] Ticket {ticket} is in the broker's list again"
        return (Line(WARNING, "position.found", ticket, text),)

    def step(self, event: events.PositionFound, digits: int | None) -> Block:
        p, proof = event.position, "in the broker's list again"
        return Block("!", p.ticket, p.symbol, f"keep {describe_at(p)}", proof, "no longer missing")

    def difference(self, event: events.PositionFound) -> str:
        return ""

    def tickets(self, event: events.PositionFound) -> set[int]:
        return {event.position.ticket, event.position.identifier}


class OfCorrected(Words[events.PositionCorrected]):
    """A drift of a position was corrected."""

    actions: Actions = frozenset({"DRIFT_FIX"})
    counts_as: ClassVar[CountsAs] = "drift"

    def entry(self, event: events.PositionCorrected) -> Entry:
        before, after = describe_at(event.local), describe_at(event.remote)
        return Entry("DRIFT_FIX", event.remote.ticket, drift_sentence(event), before, after)

    def lines(self, event: events.PositionCorrected) -> Iterable[Line]:
        ticket = event.remote.ticket
        text = f"[DRIFT_FIX] Ticket {ticket}: {drift_sentence(event)}"
        corrected = Line(WARNING, "position.corrected", ticket, text)
        # The guide prints three lines for a corrected volume and one line for any other field.
        if "volume" not in event.fields:
            return (corrected,)
        local, remote = format_lots(event.local.volume), format_lots(event.remote.volume)
        mismatch = f"[DRIFT_FIX] Ticket {ticket}: volume mismatch corrected"
        return (
            Line(INFO, "position.drifted", ticket, f"[DRIFT_FIX] Volume {local}L → {remote}L"),
            corrected,
            Line(INFO, "position.corrected", ticket, mismatch),
        )

    def step(self, event: events.PositionCorrected, digits: int | None) -> Block:
        p, then = event.remote, "the book takes the broker's values"
        changes = ", ".join(_change(event, name) for name in event.fields)
        return Block("~", p.ticket, p.symbol, f"correct {describe_at(p)}", changes, then)

    def difference(self, event: events.PositionCorrected) -> str:
        return f"Drift: Ticket {event.remote.ticket}: {drift_sentence(event)}"

    def tickets(self, event: events.PositionCorrected) -> set[int]:
        return {event.local.ticket, event.remote.ticket, event.remote.identifier}

    def count(self, event: events.PositionCorrected) -> str:
        return drift_sentence(event)


class OfDeals(Words[events.DealsRecorded]):
    """Deals of a position were counted."""

    actions: Actions = frozenset({"EXPLAINED"})
    counts_as: ClassVar[CountsAs] = "explained"

    def entry(self, event: events.DealsRecorded) -> Entry:
        return Entry("EXPLAINED", event.position.ticket, event.because)

    def lines(self, event: events.DealsRecorded) -> Iterable[Line]:
        # Deals of our own orders are expected, so they are information. A deal that the broker
        # changed after we had counted it is a warning.
        tag, name = ("DEALS", "deals") if event.ours else ("EXPLAINED", "explained")
        ticket = event.position.ticket
        urgency = WARNING if event.changed else INFO
        return (
            Line(urgency, f"position.{name}", ticket, f"[{tag}] Ticket {ticket}: {event.because}"),
        )

    def step(self, event: events.DealsRecorded, digits: int | None) -> Block:
        p = event.position
        then = f"result so far {format_money(from_units(event.realised_units), digits)}"
        return Block("$", p.ticket, p.symbol, f"explain {describe_at(p)}", event.because, then)

    def difference(self, event: events.DealsRecorded) -> str:
        return ""

    def tickets(self, event: events.DealsRecorded) -> set[int]:
        return {event.position.ticket, event.position.identifier, *event.went_on_as}

    def orders(self, event: events.DealsRecorded) -> Iterable[int]:
        return _orders_of(event)

    def count(self, event: events.DealsRecorded) -> str:
        return f"Ticket {event.position.ticket}: {event.because}"


class OfHalt(Words[events.HaltRaised]):
    """Journal and broker contradict each other."""

    actions: Actions = frozenset({"HALT"})

    def entry(self, event: events.HaltRaised) -> Entry:
        return Entry("HALT", event.identifier, event.because)

    def lines(self, event: events.HaltRaised) -> Iterable[Line]:
        return (Line(ERROR, "halt.raised", event.identifier, f"[HALT] {event.because}"),)

    def step(self, event: events.HaltRaised, digits: int | None) -> Block:
        then = "entries are refused in its symbol until a person has looked"
        return Block("!", event.identifier, event.symbol, "halt", event.because, then)

    def difference(self, event: events.HaltRaised) -> str:
        return ""

    def tickets(self, event: events.HaltRaised) -> set[int]:
        return {event.identifier}


def _orders_of(event: events.PositionClosed | events.DealsRecorded) -> list[int]:
    """Return the tickets of the orders that opened a position and made its counted deals."""
    # The identifier is the ticket of the order that opened the position.
    position, orders = event.position, (deal.order for deal in event.booked)
    return [position.identifier, *orders, position.ticket, *event.went_on_as]


def drift_sentence(drift: events.PositionCorrected) -> str:
    """Return the differing fields as text: volume 0.01L → 0.02L, price 1.0543 → 1.0544."""
    local, remote = drift.local, drift.remote
    said = {
        "volume": f"volume {format_lots(local.volume)}L → {format_lots(remote.volume)}L",
        "price_open": f"price {format_price(local.price_open)} → {format_price(remote.price_open)}",
        "symbol": f"symbol {local.symbol} → {remote.symbol}",
        "side": f"side {local.side.word} → {remote.side.word}",
        "ticket": f"ticket {local.ticket} → {remote.ticket}",
        "magic": f"magic {local.magic} → {remote.magic}",
        "sl": f"stop loss {level(local.sl)} → {level(remote.sl)}",
        "tp": f"take profit {level(local.tp)} → {level(remote.tp)}",
    }
    return ", ".join(text for name, text in said.items() if name in drift.fields)


def _change(event: events.PositionCorrected, name: str) -> str:
    local, remote = getattr(event.local, name), getattr(event.remote, name)
    writers: dict[str, Callable[[Any], str]] = {
        "volume": format_lots,
        "side": lambda side: side.word,
    }
    write = writers.get(name) or (format_price if isinstance(local, float) else str)
    return f"{name} {write(local)} → {write(remote)}"
