"""Check the bots of this folder: they answer, need nobody, and are in sync with the broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trueup.core.book.events import HistoryCompared
from trueup.observe.doctor_text import DoctorRow, not_asked, ok, sick, warn
from trueup.observe.event_words.of_account import compared_sentence
from trueup.observe.lines import clock_of
from trueup.observe.status.status import State, Status
from trueup.runtime.doctor.books import SHARED
from trueup.runtime.sync.neighbours import REMEDY

# A last sync that is older than this many intervals is an error, not only late.
INTERVALS_LATE = 3
NOBODY = "nobody manages its positions; stops at the broker work"


class UnheardBot(NamedTuple):
    """A bot of this folder that gives no answer; `has_port` tells whether its port is open."""

    pid: int
    symbol: str
    control: str
    has_port: bool


def history_rows(compared: HistoryCompared | None) -> Iterator[DoctorRow]:
    """Yield the result of the last comparison of deals with the broker's history, if any."""
    if compared is not None:
        yield _history_row(compared)


def _history_row(compared: HistoryCompared) -> DoctorRow:
    found, figures = compared_sentence(compared), {"agreed": compared.agreed}
    if compared.is_whole:
        return ok("history", found, **figures)
    risk = "the realised result of the book is not the broker's"
    remedy = "`trueup reconcile` names each of these deals"
    return warn("history", found, risk, remedy, **figures)


def bot_rows(
    bots: Sequence[Status], unheard: Sequence[UnheardBot], interval_sec: float
) -> Iterator[DoctorRow]:
    """Yield the health of each bot of this folder, and the age of its last sync."""
    yield from map(_unheard_row, unheard)
    if not bots and not unheard:
        yield not_asked("bot", "no bot runs in this folder")
    if not bots:
        yield not_asked("last sync", "no bot answers, so no sync is due")
    for bot in bots:
        yield _bot_row(bot)
        yield _sync_row(bot, interval_sec)


def _unheard_row(bot: UnheardBot) -> DoctorRow:
    who = f"process {bot.pid}, {bot.symbol},"
    if not bot.has_port:
        found = f"{who} has ended without a word: it was killed, or it crashed"
        remedy = "start the bot again; `trueup status` tells what it held, and its log why it ended"
        return sick("bot", found, NOBODY, remedy, pid=bot.pid)
    end = f"taskkill /F /PID {bot.pid}" if sys.platform == "win32" else f"kill -9 {bot.pid}"
    return sick(
        "bot",
        f"{who} does not answer at {bot.control}: it hangs, or it is gone and another program has "
        "its port",
        NOBODY,
        f"look at the account in the terminal; then end the bot (`{end}`) and start it again: it "
        "finds what is open, and sends no order twice",
        pid=bot.pid,
    )


def _bot_row(bot: Status) -> DoctorRow:
    detail = f" {bot.detail.rstrip('.')}." if bot.detail else ""
    who = f"process {bot.pid}, {bot.symbol}: {bot.sentence}{detail}"
    if bot.needs:
        return sick("bot", who, bot.works, " ".join(bot.needs), pid=bot.pid)
    if bot.state is State.DEGRADED:
        return warn("bot", who, bot.works, "wait: `trueup status` says when it needs you")
    if bot.overdue:
        tickets = ", ".join(str(row.ticket) for row in bot.overdue)
        since = clock_of(bot.overdue[0].since)
        found = f"{who} It waits for the deals of {tickets} since {since} UTC"
        remedy = "show all of the terminal's history (History tab, All History): they may be there"
        risk = "until they come, the result of these positions is not counted"
        return warn("bot", found, risk, remedy, pid=bot.pid)
    if bot.neighbours:
        return warn("bot", f"{who} Another bot: {bot.neighbours[0]}", SHARED, REMEDY, pid=bot.pid)
    return ok("bot", who, pid=bot.pid)


def _sync_row(bot: Status, interval_sec: float) -> DoctorRow:
    if bot.age_sec is None:
        remedy = "see the rows above; until the broker was seen, no order is sent"
        found = f"process {bot.pid} has not seen the broker yet"
        return sick("last sync", found, "the bot opens nothing", remedy)
    found = f"{bot.age_sec:.0f} s ago, {bot.sync_count} since the start"
    figures = {"age_sec": bot.age_sec, "sync_count": bot.sync_count}
    if bot.age_sec > INTERVALS_LATE * interval_sec:
        remedy = f"a sync is due every {interval_sec:g} s: see the rows above and the bot's log"
        risk = "the book may be old: positions may have been opened, changed or closed since"
        return sick("last sync", found, risk, remedy, **figures)
    return ok("last sync", found, **figures)
