"""The facts from which a status is made, beside the book itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from trueup.core.account.health import Restriction
from trueup.core.account.trust import Unknown
from trueup.core.book.events import TradingPaused
from trueup.core.holds import Hold
from trueup.core.model import Snapshot
from trueup.core.policy import Policy
from trueup.observe.status.status import EventRow, PriceRow


class Began(NamedTuple):
    """When a finding began: its date (ns of UTC), and its age by a clock that nobody sets (ns)."""

    at_ns: int
    age_ns: int


class BotFacts(msgspec.Struct, frozen=True):
    """The constant facts of a running bot; see `Status` for the fields."""

    pid: int
    started: str
    gateway: str
    endpoint: str = ""
    journal: str = ""
    journal_file: str = ""
    stream: str = ""


class LiveFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that only a running bot knows.

    Args:
        bot: the constant facts of the bot.
        symbol: the symbol that the bot trades.
        now_ns: the date (ns of UTC).
        counted_ns: the date by which ages are counted; see `PortfolioManager.counted_ns`.
        policy: which positions are ours, and how differences are handled.
        unknown: why the last reading is not believed, None if it is.
        wanted_login: the action that corrects a wrong account.
        seen_ns: the date of the last believed reading, None before the first.
        age_ns: the age of that reading.
        due_ns: the date of the next reading.
        interval_sec: the interval of the readings in seconds.
        sync_count: the number of believed readings.
        sync_ms: how long the last sync took (milliseconds), None before the first.
        snapshot: the last believed reading.
        foreign: the number of rows at the broker that are not ours.
        holds: the differences that the last believed reading left alone.
        paused: the mode that a person set, None for none.
        restrictions: the reasons against new positions, without risk limits.
        limits: the risk limits that refuse entries.
        entries_refused: why no position may be opened in the bot's own symbol.
        journal_trouble: why the journal takes no events.
        journal_remedy: what a person can do about that, empty if it is not known.
        is_fenced_out: whether another process took the journal over.
        events_count: the number of events in the book.
        overdue: since which date (ns) the deals of a position are expected.
        neighbours: a sentence for each other bot that counts the same positions.
        prices: the latest prices.
        events: the last events, the newest first.
        began: when each finding began, by its key.
    """

    bot: BotFacts
    symbol: str
    now_ns: int
    counted_ns: int
    policy: Policy
    unknown: Unknown | None
    wanted_login: str
    seen_ns: int | None
    age_ns: int | None
    due_ns: int
    interval_sec: float
    sync_count: int
    sync_ms: float | None = None
    snapshot: Snapshot | None
    foreign: int
    holds: tuple[Hold, ...]
    paused: TradingPaused | None
    restrictions: tuple[Restriction, ...]
    limits: tuple[Restriction, ...]
    entries_refused: str
    journal_trouble: str
    journal_remedy: str
    is_fenced_out: bool
    events_count: int
    overdue: Mapping[int, int]
    neighbours: tuple[str, ...]
    prices: tuple[PriceRow, ...]
    events: tuple[EventRow, ...]
    began: Mapping[str, Began]


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a bot that gives no answer.

    Args:
        pid: its process, 0 if no bot is known.
        symbol: the symbol that the bot trades.
        started: when the bot was started (ISO 8601).
        gateway: the gateway's endpoint.
        hangs: whether the process runs and does not answer.
        ended: when the bot ended in order (ISO 8601), None if it did not.
        alive: when the bot last took a turn (ISO 8601), None if it is not known.
        asked: when the last believed reading was asked for (ISO 8601), None if it is not known.
        script: the name of a script that calls `trueup.mt5` and runs: no command can ask a script.
    """

    pid: int = 0
    symbol: str = ""
    started: str = ""
    gateway: str = ""
    hangs: bool = False
    ended: str | None = None
    alive: str | None = None
    asked: str | None = None
    script: str = ""


class JournalFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a journal whose bot gives no answer.

    Args:
        journal: the journal, in words.
        journal_file: the path of a SQLite journal.
        stream: the name of the book.
        holder: the last writer of the book.
        now_ns: the date (ns of UTC).
        events_count: the number of events of the book.
        last_ns: the date of the last event, None for an empty journal.
        trouble: why the journal cannot be read.
        successor: the stream that took this book over; empty if none did.
        events: the last events, the newest first.
        others: the other books of the journal.
    """

    journal: str
    journal_file: str = ""
    stream: str = ""
    holder: str = ""
    now_ns: int
    events_count: int = 0
    last_ns: int | None = None
    trouble: str = ""
    successor: str = ""
    events: tuple[EventRow, ...] = ()
    others: tuple[str, ...] = ()
