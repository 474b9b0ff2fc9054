"""The links between a bot and the broker's server, each with its age."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from trueup.core.account.trust import Reason
from trueup.core.dates import iso
from trueup.core.model import Evidence
from trueup.observe.status.facts import Fate, JournalFacts, LiveFacts
from trueup.observe.status.status import LinkRow


def links_of(live: LiveFacts) -> Iterator[LinkRow]:
    """Yield the links of a running bot."""
    bot = live.bot
    now = iso(live.now_ns)
    yield LinkRow(name="bot", works=True, words=f"process {bot.pid}", at=now, age_sec=0.0)
    at = None if live.seen_ns is None else iso(live.seen_ns)
    age_sec = None if live.age_ns is None else round(live.age_ns / 1e9, 1)
    works, words = _gateway(live)
    yield LinkRow(name="gateway", works=works, words=words, at=at, age_sec=age_sec)
    works, words = _terminal(live)
    yield LinkRow(name="terminal", works=works, words=words, at=at, age_sec=age_sec)
    yield _journal(live)


def _gateway(live: LiveFacts) -> tuple[bool | None, str]:
    where = live.bot.gateway
    if live.unknown is None:
        return (None, f"not asked yet, {where}") if live.seen_ns is None else (True, where)
    is_away = live.unknown.reason is Reason.OFFLINE
    return (False, live.unknown.sentence) if is_away else (True, f"answers, {where}")


def _terminal(live: LiveFacts) -> tuple[bool | None, str]:
    unknown = live.unknown
    if unknown is not None:
        if unknown.reason is Reason.OFFLINE:
            return None, "not known while the gateway does not answer"
        return False, unknown.sentence
    evidence = None if live.snapshot is None else live.snapshot.evidence
    if evidence is None:
        return None, "not told by this gateway" if live.snapshot else "not asked yet"
    return True, _connected(evidence)


def _connected(evidence: Evidence) -> str:
    terminal = evidence.terminal
    ping = f", ping {terminal.ping_us / 1000:.0f} ms" if terminal.ping_us else ""
    trades = "" if terminal.trade_allowed else "; its trading is switched off"
    return f"connected to its trade server{ping}{trades}"


def _journal(live: LiveFacts) -> LinkRow:
    bot = live.bot
    if live.journal_trouble:
        return LinkRow(name="journal", works=False, words=live.journal_trouble)
    if not bot.journal:
        return LinkRow(name="journal", works=None, words="none: the book ends with the bot")
    count = f"{live.events_count} event{'s' * (live.events_count != 1)}"
    words = f"{bot.journal}, stream {bot.stream}: {count}"
    at = live.events[0].at if live.events else None
    return LinkRow(name="journal", works=True, words=words, at=at, age_sec=_age(at, live.now_ns))


def links_of_journal(journal: JournalFacts, fate: Fate) -> Iterator[LinkRow]:
    """Yield the links of a bot that gives no answer."""
    process = f"process {fate.pid}" if fate.pid else "no process"
    words = f"{process} does not answer" if fate.hangs else "does not run"
    at = fate.ended or fate.alive
    works = None if fate.script else False
    words = f"{process} runs, and takes no commands" if fate.script else words
    yield LinkRow(name="bot", works=works, words=words, at=at, age_sec=_age(at, journal.now_ns))
    unasked = "nobody asks"
    at, age_sec = fate.asked, _age(fate.asked, journal.now_ns)
    yield LinkRow(name="gateway", works=None, words=unasked, at=at, age_sec=age_sec)
    yield LinkRow(name="terminal", works=None, words=unasked, at=at, age_sec=age_sec)
    if journal.trouble:
        yield LinkRow(name="journal", works=False, words=journal.trouble)
        return
    count = f"{journal.events_count} event{'s' * (journal.events_count != 1)}"
    words = f"{journal.journal}, stream {journal.stream}: {count}"
    at = None if journal.last_ns is None else iso(journal.last_ns)
    age_sec = _age(at, journal.now_ns)
    yield LinkRow(name="journal", works=True, words=words, at=at, age_sec=age_sec)


def _age(at: str | None, now_ns: int) -> float | None:
    if at is None:
        return None
    age_sec = now_ns / 1e9 - dt.datetime.fromisoformat(at).timestamp()
    # A clock may have been set back since.
    return round(max(0.0, age_sec), 1)
