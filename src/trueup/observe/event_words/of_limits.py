"""The words for events about risk limits."""

from __future__ import annotations

from collections.abc import Iterable

from trueup.core.book import events
from trueup.core.quantity import format_money
from trueup.observe.event_words.words import (
    ACCOUNT,
    INFO,
    WARNING,
    Actions,
    Block,
    Entry,
    Line,
    Words,
)


class OfFigures(Words[events.FiguresNoted]):
    """The start of the day or the peak changed, by which limits on money are judged."""

    actions: Actions = frozenset({"LIMIT"})

    def is_correction(self, event: events.FiguresNoted) -> bool:
        # A new peak, or the result of a trade, is nothing to tell a person.
        return bool(event.because)

    def entry(self, event: events.FiguresNoted) -> Entry:
        return Entry("LIMIT", None, figures_sentence(event))

    def lines(self, event: events.FiguresNoted) -> Iterable[Line]:
        level = WARNING if event.computed and "computed" in event.because else INFO
        text = f"[LIMITS] {figures_sentence(event)}"
        return (Line(level, "limits.figures", None, text),)

    def step(self, event: events.FiguresNoted, digits: int | None) -> Block:
        what, then = "note the account's figures", "limits on money are judged by them"
        return Block("$", 0, ACCOUNT, what, event.because or "new figures", then)

    def difference(self, event: events.FiguresNoted) -> str:
        return ""

    def tickets(self, event: events.FiguresNoted) -> set[int]:
        return set()


class OfReached(Words[events.LimitReached]):
    """A limit refuses entries from now on."""

    actions: Actions = frozenset({"LIMIT"})

    def entry(self, event: events.LimitReached) -> Entry:
        return Entry("LIMIT", None, reached_sentence(event))

    def lines(self, event: events.LimitReached) -> Iterable[Line]:
        text = f"[LIMITS] {reached_sentence(event)}"
        return (Line(WARNING, "limits.reached", None, text),)

    def step(self, event: events.LimitReached, digits: int | None) -> Block:
        what, then = f"refuse entries: {event.limit}", f"entries wait until {event.until}"
        return Block("!", 0, ACCOUNT, what, event.reason, then)

    def difference(self, event: events.LimitReached) -> str:
        return ""

    def tickets(self, event: events.LimitReached) -> set[int]:
        return set()


class OfEnded(Words[events.LimitEnded]):
    """A limit no longer refuses entries."""

    actions: Actions = frozenset({"LIMIT"})

    def entry(self, event: events.LimitEnded) -> Entry:
        return Entry("LIMIT", None, ended_sentence(event))

    def lines(self, event: events.LimitEnded) -> Iterable[Line]:
        return (Line(WARNING, "limits.ended", None, f"[LIMITS] {ended_sentence(event)}"),)

    def step(self, event: events.LimitEnded, digits: int | None) -> Block:
        what = f"allow entries again: {event.limit}"
        return Block("!", 0, ACCOUNT, what, event.because, "entries are allowed by this limit")

    def difference(self, event: events.LimitEnded) -> str:
        return ""

    def tickets(self, event: events.LimitEnded) -> set[int]:
        return set()


def figures_sentence(event: events.FiguresNoted) -> str:
    """Return the figures by which limits on money are judged."""
    said = [event.because or "new figures"]
    if event.day_ns:
        start = _money(event, event.day_balance), _money(event, event.day_equity)
        said.append(f"the day counts from balance {start[0]}, equity {start[1]}")
    if event.has_peak:
        peak = _money(event, event.peak_balance), _money(event, event.peak_equity)
        said.append(f"the peak is balance {peak[0]}, equity {peak[1]}")
    text = "; ".join(said)
    return text[:1].upper() + text[1:]


def reached_sentence(event: events.LimitReached) -> str:
    """Return which limit is reached, why, and until when entries are refused."""
    return (
        f"Entries are refused by the limit of the {event.limit}: {event.reason} (until "
        f"{event.until}); nothing is closed"
    )


def ended_sentence(event: events.LimitEnded) -> str:
    """Return which limit ended, and why."""
    return f"The limit of the {event.limit} no longer refuses entries: {event.because}"


def _money(event: events.FiguresNoted, amount: float) -> str:
    return format_money(amount, event.digits, event.currency)
