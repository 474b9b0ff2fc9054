"""The words for what a watch notes beside the book: when it looked, and what it saw there."""

from __future__ import annotations

from collections.abc import Iterable

from trueup.core.book import events
from trueup.observe.event_words.words import (
    ACCOUNT,
    INFO,
    WARNING,
    Actions,
    Block,
    E,
    Entry,
    Line,
    Words,
)


class _Noted(Words[E]):
    """Something that a watch noted: it changes no position and no order."""

    @property
    def actions(self) -> Actions:
        return frozenset({"WATCH"})

    def difference(self, event: E) -> str:
        return ""


class OfBegan(_Noted[events.WatchBegan]):
    """A watch began."""

    def entry(self, event: events.WatchBegan) -> Entry:
        return Entry("WATCH", None, _began(event))

    def lines(self, event: events.WatchBegan) -> Iterable[Line]:
        return (Line(INFO, "watch.began", None, f"[WATCH] {_began(event)}"),)

    def step(self, event: events.WatchBegan, digits: int | None) -> Block:
        return Block("!", 0, ACCOUNT, "watch", _began(event), "nothing is sent")

    def tickets(self, event: events.WatchBegan) -> set[int]:
        return set()


class OfSeen(_Noted[events.BrokerSeen]):
    """A watch read the broker."""

    def entry(self, event: events.BrokerSeen) -> Entry:
        return Entry("WATCH", None, _seen(event))

    def lines(self, event: events.BrokerSeen) -> Iterable[Line]:
        return (Line(INFO, "watch.seen", None, f"[WATCH] {_seen(event)}"),)

    def step(self, event: events.BrokerSeen, digits: int | None) -> Block:
        return Block("!", 0, ACCOUNT, "note what was seen", _seen(event), "nothing is changed")

    def tickets(self, event: events.BrokerSeen) -> set[int]:
        found = {number for deal in event.deals for number in (deal.ticket, deal.position)}
        found |= {number for swap in event.swaps for number in (swap.ticket, swap.identifier)}
        return found | {cash.ticket for cash in event.cash}


class OfLost(_Noted[events.ReadingsLost]):
    """A watch gets no reading that it believes."""

    def entry(self, event: events.ReadingsLost) -> Entry:
        return Entry("WATCH", None, _lost(event))

    def lines(self, event: events.ReadingsLost) -> Iterable[Line]:
        return (Line(WARNING, "watch.lost", None, f"[WATCH] {_lost(event)}"),)

    def step(self, event: events.ReadingsLost, digits: int | None) -> Block:
        return Block("!", 0, ACCOUNT, "note the silence", event.because, "nothing is changed")

    def tickets(self, event: events.ReadingsLost) -> set[int]:
        return set()


def _began(event: events.WatchBegan) -> str:
    return f"The watch began at {event.gateway}; it sends no order"


def _seen(event: events.BrokerSeen) -> str:
    news = (
        (len(event.deals), "new deal"),
        (len(event.cash), "balance operation"),
        (len(event.swaps), "change of swap"),
    )
    told = ", ".join(f"{count} {noun}{'s' * (count != 1)}" for count, noun in news if count)
    return f"The broker was read: {told or 'nothing new'}"


def _lost(event: events.ReadingsLost) -> str:
    return f"No reading is believed: {event.because}"
