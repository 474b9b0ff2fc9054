"""The words for what a person has told a bot: pause, only closes, resume, stop."""

from __future__ import annotations

from collections.abc import Iterable

from trueup.core.book import events
from trueup.core.book.events import TradingMode
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


class _Told(Words[E]):
    """Something that a person has told the bot: no position and no ticket."""

    @property
    def actions(self) -> Actions:
        return frozenset({"PERSON"})

    def difference(self, event: E) -> str:
        return ""

    def tickets(self, event: E) -> set[int]:
        return set()


class OfPaused(_Told[events.TradingPaused]):
    """A person allows fewer orders."""

    def entry(self, event: events.TradingPaused) -> Entry:
        return Entry("PERSON", None, paused_sentence(event))

    def lines(self, event: events.TradingPaused) -> Iterable[Line]:
        text = f"[PERSON] {paused_sentence(event)}"
        return (Line(WARNING, f"trading.{event.mode.value}", None, text),)

    def step(self, event: events.TradingPaused, digits: int | None) -> Block:
        evidence = f"{event.by} says so{_because(event.why)}"
        what = f"restrict orders: {event.mode.value}"
        return Block("!", 0, ACCOUNT, what, evidence, refused_words(event.mode))


class OfResumed(_Told[events.TradingResumed]):
    """A person allows every order again."""

    def entry(self, event: events.TradingResumed) -> Entry:
        return Entry("PERSON", None, resumed_sentence(event))

    def lines(self, event: events.TradingResumed) -> Iterable[Line]:
        return (Line(WARNING, "trading.resumed", None, f"[PERSON] {resumed_sentence(event)}"),)

    def step(self, event: events.TradingResumed, digits: int | None) -> Block:
        evidence = f"{event.by} says so{_because(event.why)}"
        return Block("!", 0, ACCOUNT, "resume trading", evidence, "the strategy trades again")


class OfSyncAsked(_Told[events.SyncAsked]):
    """A person asked for a sync."""

    def entry(self, event: events.SyncAsked) -> Entry:
        return Entry("PERSON", None, sync_sentence(event))

    def lines(self, event: events.SyncAsked) -> Iterable[Line]:
        return (Line(INFO, "sync.asked", None, f"[PERSON] {sync_sentence(event)}"),)

    def step(self, event: events.SyncAsked, digits: int | None) -> Block:
        evidence = f"{event.by} says so{_because(event.why)}"
        return Block("!", 0, ACCOUNT, "sync at once", evidence, "book and broker are compared")


class OfStopped(_Told[events.BotStopped]):
    """A person ended the bot."""

    def entry(self, event: events.BotStopped) -> Entry:
        return Entry("PERSON", None, stopped_sentence(event))

    def lines(self, event: events.BotStopped) -> Iterable[Line]:
        return (Line(WARNING, "bot.stopped", None, f"[PERSON] {stopped_sentence(event)}"),)

    def step(self, event: events.BotStopped, digits: int | None) -> Block:
        evidence = f"{event.by} says so{_because(event.why)}"
        return Block("!", 0, ACCOUNT, "stop the bot", evidence, "positions stay open")


def paused_sentence(event: events.TradingPaused) -> str:
    """Return who allows fewer orders, why, and which orders are refused from now on."""
    did = "paused trading" if event.mode is TradingMode.PAUSED else "allows only closes"
    return f"{event.by} {did}{_because(event.why)}; {refused_words(event.mode)}"


def resumed_sentence(event: events.TradingResumed) -> str:
    """Return who allows every order again, and why."""
    return f"{event.by} resumed trading{_because(event.why)}"


def sync_sentence(event: events.SyncAsked) -> str:
    """Return who asked for a sync, and why."""
    return f"{event.by} asked for a sync{_because(event.why)}"


def stopped_sentence(event: events.BotStopped) -> str:
    """Return who ended the bot, and why."""
    return f"{event.by} stopped the bot{_because(event.why)}; positions stay open"


def refused_words(mode: TradingMode) -> str:
    """Return what a mode refuses, as a part of a sentence."""
    if mode is TradingMode.PAUSED:
        return "nothing that the strategy asks for is sent"
    return "entries are refused, closes pass"


def _because(why: str) -> str:
    return f" ({why})" if why else ""
