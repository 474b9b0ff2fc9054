"""The words for events about pending orders, the account, its history, and the journal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar

from trueup.core.book import events
from trueup.core.model import describe_order
from trueup.observe.event_words.words import (
    ACCOUNT,
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


class OfPendingAdopted(Words[events.PendingAdopted]):
    """A pending order entered the book."""

    actions: Actions = frozenset({"ORDER"})
    counts_as: ClassVar[CountsAs] = "order"

    def entry(self, event: events.PendingAdopted) -> Entry:
        return Entry("ORDER", event.order.ticket, self.difference(event))

    def lines(self, event: events.PendingAdopted) -> Iterable[Line]:
        return (_order_line(self.difference(event)),)

    def step(self, event: events.PendingAdopted, digits: int | None) -> Block:
        o, proof = event.order, "in the broker's list, not in the book"
        what = f"adopt order {describe_order(o)}"
        return Block("+", o.ticket, o.symbol, what, proof, "the book knows it")

    def difference(self, event: events.PendingAdopted) -> str:
        return f"Pending order {event.order.ticket} recovered: {describe_order(event.order)}"

    def tickets(self, event: events.PendingAdopted) -> set[int]:
        return {event.order.ticket}

    def count(self, event: events.PendingAdopted) -> str:
        return self.difference(event)


class OfPendingClosed(Words[events.PendingClosed]):
    """A pending order left the book."""

    actions: Actions = frozenset({"ORDER"})
    counts_as: ClassVar[CountsAs] = "order"

    def is_correction(self, event: events.PendingClosed) -> bool:
        # We cancelled the order ourselves, and no part of it had been filled: nothing to correct.
        return not event.ours or bool(event.filled or event.position)

    def entry(self, event: events.PendingClosed) -> Entry:
        return Entry("ORDER", event.order.ticket, self.difference(event))

    def lines(self, event: events.PendingClosed) -> Iterable[Line]:
        return (_order_line(self.difference(event)),)

    def step(self, event: events.PendingClosed, digits: int | None) -> Block:
        o, what = event.order, f"end order {describe_order(event.order)}"
        return Block("-", o.ticket, o.symbol, what, event.because, "the book lets it go")

    def difference(self, event: events.PendingClosed) -> str:
        o = event.order
        return f"Pending order {o.ticket}, {describe_order(o)}, ended: {event.because}"

    def tickets(self, event: events.PendingClosed) -> set[int]:
        return {event.order.ticket, event.position}

    def count(self, event: events.PendingClosed) -> str:
        return self.difference(event)


class OfPendingCorrected(Words[events.PendingCorrected]):
    """A pending order had different values at the broker."""

    actions: Actions = frozenset({"ORDER"})
    counts_as: ClassVar[CountsAs] = "order"

    def entry(self, event: events.PendingCorrected) -> Entry:
        return Entry("ORDER", event.local.ticket, self.difference(event))

    def lines(self, event: events.PendingCorrected) -> Iterable[Line]:
        return (_order_line(self.difference(event)),)

    def step(self, event: events.PendingCorrected, digits: int | None) -> Block:
        o, change = event.remote, f"was {describe_order(event.local)}"
        then, what = "the book takes the broker's values", f"correct order {describe_order(o)}"
        return Block("~", o.ticket, o.symbol, what, change, then)

    def difference(self, event: events.PendingCorrected) -> str:
        return f"Pending order {event.remote.ticket} differed: {pending_drift_sentence(event)}"

    def tickets(self, event: events.PendingCorrected) -> set[int]:
        return {event.remote.ticket}

    def count(self, event: events.PendingCorrected) -> str:
        return self.difference(event)


class OfBound(Words[events.AccountBound]):
    """The book belongs to an account, or the broker changed that account."""

    actions: Actions = frozenset({"BOUND"})

    def entry(self, event: events.AccountBound) -> Entry:
        return Entry("BOUND", None, account_sentence(event), "", f"{event.login}@{event.server}")

    def lines(self, event: events.AccountBound) -> Iterable[Line]:
        # The first binding is expected, a change by the broker is not.
        if event.changed:
            text = f"[ACCOUNT] {account_sentence(event)}"
            return (Line(WARNING, "account.changed", None, text),)
        text = f"[BOUND] This book is of {event.login}@{event.server}"
        return (Line(INFO, "account.bound", None, text),)

    def step(self, event: events.AccountBound, digits: int | None) -> Block:
        what, changed = f"bind the book to {event.login}@{event.server}", ", ".join(event.changed)
        proof = f"the terminal shows it; changed: {changed}" if changed else ""
        then = "the book belongs to this account alone"
        return Block("~", 0, ACCOUNT, what, proof or "the terminal is logged in to it", then)

    def difference(self, event: events.AccountBound) -> str:
        return account_sentence(event) if event.changed else ""

    def tickets(self, event: events.AccountBound) -> set[int]:
        return set()


class OfCompared(Words[events.HistoryCompared]):
    """The book's deals were compared with the broker's history."""

    actions: Actions = frozenset({"COMPARED"})

    def is_correction(self, event: events.HistoryCompared) -> bool:
        return False

    def entry(self, event: events.HistoryCompared) -> Entry:
        return Entry("COMPARED", None, compared_sentence(event))

    def lines(self, event: events.HistoryCompared) -> Iterable[Line]:
        # The comparison itself logs its result.
        return ()

    def step(self, event: events.HistoryCompared, digits: int | None) -> Block:
        agreed = f"{event.agreed} deals agree"
        proof = agreed if event.is_whole else f"{agreed}, others do not"
        what, then = "note a comparison with the broker's history", "the book keeps how far it was"
        return Block("$", 0, ACCOUNT, what, proof, f"{then} compared")

    def difference(self, event: events.HistoryCompared) -> str:
        return ""

    def tickets(self, event: events.HistoryCompared) -> set[int]:
        return set()


class OfLoss(Words[events.LossFound]):
    """The journal lacks its newest events."""

    actions: Actions = frozenset({"LOST"})

    def entry(self, event: events.LossFound) -> Entry:
        return Entry("LOST", None, event.because)

    def lines(self, event: events.LossFound) -> Iterable[Line]:
        return (Line(ERROR, "journal.loss_found", None, f"[LOST] {event.because}"),)

    def step(self, event: events.LossFound, digits: int | None) -> Block:
        what = "note that the journal has lost its end"
        then = f"{event.orders} orders enter the book in doubt; entries wait for approval"
        return Block("!", 0, ACCOUNT, what, event.because, then)

    def difference(self, event: events.LossFound) -> str:
        return event.because

    def tickets(self, event: events.LossFound) -> set[int]:
        return set()


class OfLossAccepted(Words[events.LossAccepted]):
    """A person allows entries again."""

    actions: Actions = frozenset({"LOST"})

    def entry(self, event: events.LossAccepted) -> Entry:
        return Entry("LOST", None, _accepted(event.by))

    def lines(self, event: events.LossAccepted) -> Iterable[Line]:
        return (Line(WARNING, "journal.loss_accepted", None, f"[LOST] {_accepted(event.by)}"),)

    def step(self, event: events.LossAccepted, digits: int | None) -> Block:
        what, then = "accept that the journal lacks events", "entries are allowed again"
        return Block("!", 0, ACCOUNT, what, f"{event.by} accepts it", then)

    def difference(self, event: events.LossAccepted) -> str:
        return ""

    def tickets(self, event: events.LossAccepted) -> set[int]:
        return set()


class OfTakenOver(Words[events.StreamTakenOver]):
    """The book of another stream entered this book."""

    actions: Actions = frozenset({"TAKEN_OVER"})

    def entry(self, event: events.StreamTakenOver) -> Entry:
        return Entry("TAKEN_OVER", None, self.difference(event))

    def lines(self, event: events.StreamTakenOver) -> Iterable[Line]:
        text = f"[TAKEN_OVER] {self.difference(event)}"
        return (Line(WARNING, "journal.taken_over", None, text),)

    def step(self, event: events.StreamTakenOver, digits: int | None) -> Block:
        what, then = f"take stream {event.stream!r} over", "its book goes on in this book"
        return Block("+", 0, ACCOUNT, what, f"its end at position {event.position}", then)

    def difference(self, event: events.StreamTakenOver) -> str:
        positions = f"{event.positions} position{'s' * (event.positions != 1)}"
        doubts = f"{event.in_doubt} order{'s' * (event.in_doubt != 1)} in doubt"
        return f"Stream {event.stream!r} entered this book, with {positions} and {doubts}"

    def tickets(self, event: events.StreamTakenOver) -> set[int]:
        return set()


class OfStreamClosed(Words[events.StreamClosed]):
    """This stream ended in another."""

    actions: Actions = frozenset({"TAKEN_OVER"})

    def entry(self, event: events.StreamClosed) -> Entry:
        return Entry("TAKEN_OVER", None, self.difference(event))

    def lines(self, event: events.StreamClosed) -> Iterable[Line]:
        text = f"[TAKEN_OVER] {self.difference(event)}"
        return (Line(WARNING, "journal.stream_closed", None, text),)

    def step(self, event: events.StreamClosed, digits: int | None) -> Block:
        what, then = "close this stream", f"its book goes on in stream {event.by!r}"
        return Block("-", 0, ACCOUNT, what, f"stream {event.by!r} took it over", then)

    def difference(self, event: events.StreamClosed) -> str:
        return f"This stream ended: its book goes on in stream {event.by!r}"

    def tickets(self, event: events.StreamClosed) -> set[int]:
        return set()


def _order_line(sentence: str) -> Line:
    return Line(WARNING, "order.corrected", None, f"[ORDER] {sentence}")


def _accepted(who: str) -> str:
    return f"{who} accepts that the journal lacks events: entries are allowed again"


def compared_sentence(event: events.HistoryCompared) -> str:
    """Return the result of a history comparison as text: 12 deals agree, up to 2026-01-05."""
    until = dt.datetime.fromtimestamp(event.until_msc / 1000, dt.UTC)
    said = [f"{event.agreed} deal{'s' * (event.agreed != 1)} agree{'s' * (event.agreed == 1)}"]
    for count, what in (
        (event.missing_in_book, "missing in the book"),
        (event.missing_at_broker, "not shown by the broker any more"),
        (event.changed, "with other money or lots"),
    ):
        said += [f"{count} {what}"] if count else []
    return f"{', '.join(said)}, up to {until:%Y-%m-%d %H:%M} server time"


def account_sentence(event: events.AccountBound) -> str:
    """Return the sentence for the binding of a book, or for changes of its account."""
    name = f"{event.login}@{event.server}"
    if not event.changed:
        return f"The book belongs to {name}"
    oldest = "the oldest position of a symbol has to be closed first"
    said = {
        "currency": f"its money is {event.currency}",
        "currency_digits": f"its money has {event.currency_digits} decimals",
        "margin_mode": f"it keeps positions by {event.margin_mode.value}",
        "fifo_close": oldest if event.fifo_close else "positions may be closed in any order",
    }
    return f"The broker changed account {name}: now {', '.join(said[n] for n in event.changed)}"


def pending_drift_sentence(drift: events.PendingCorrected) -> str:
    """Return the differing fields of a pending order as text, after the order's description."""
    local, remote = drift.local, drift.remote
    before, after = describe_order(local), describe_order(remote)
    said = {
        "symbol": f"symbol {local.symbol} → {remote.symbol}",
        "price_stoplimit": f"limit price {level(local.price_stoplimit)} → "
        f"{level(remote.price_stoplimit)}",
        "sl": f"stop loss {level(local.sl)} → {level(remote.sl)}",
        "tp": f"take profit {level(local.tp)} → {level(remote.tp)}",
        "magic": f"magic {local.magic} → {remote.magic}",
    }
    first = after if before == after else f"{before} → {after}"
    return ", ".join([first, *(text for name, text in said.items() if name in drift.fields)])
