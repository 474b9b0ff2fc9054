"""Gather the status of every book of a folder: from its bot, or from its journal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueup.errors import NotSent, OutcomeUnknown, SettingsError, TrueupError
from trueup.observe.status.earlier import read_status
from trueup.observe.status.status import State, Status
from trueup.processes import is_alive
from trueup.runtime.control.bots import Bot, ask_bot, find_bots, last_bot, noted_bots
from trueup.runtime.control.programs import Program, running_program
from trueup.runtime.control.state_files import short_path
from trueup.runtime.time.clock import SystemClock

if TYPE_CHECKING:
    from trueup.observe.status.facts import Fate

WORST_FIRST = (State.HALTED, State.NEEDS_PERSON, State.DEGRADED, State.AGREES, State.NOTHING)
"""The order in which books are shown."""


class AnswerUnreadable(TrueupError):
    """The answer of a bot cannot be read by this release."""


def statuses_of_bots(server: str | Path | None = None) -> Iterator[Status]:
    """Yield the status of each bot of this folder; of a bot that hangs, from its journal.

    A bot that was killed left its state file, and is told from its journal as well, unless another
    bot has its book by now.

    Args:
        server: the URL of the server that may have the journals of these bots. A state file does
            not name it, because it can have a password.

    Raises:
        AnswerUnreadable: the answer of a bot cannot be read by this release.
    """
    running = find_bots()
    # Without an open port the number may be that of another process by now.
    killed = [bot for bot in noted_bots() if bot not in running]
    told = set()
    for bot in running:
        answer = _answer(bot)
        if answer is None and not is_alive(bot.pid):
            killed.append(bot)
            continue
        told.add(_book(bot))
        yield _read(answer) if answer is not None else _silent(bot, server, hangs=True)
    # The bot that ran last knows most of a book.
    for bot in sorted(killed, key=lambda bot: bot.started, reverse=True):
        if _book(bot) not in told:
            told.add(_book(bot))
            yield _silent(bot, server, hangs=False)


def _book(bot: Bot) -> tuple[object, ...]:
    """Return what names the book of a bot; a bot without a journal has a book of its own."""
    has_book = bool(bot.journal_file or bot.stream)
    return (bot.journal_file, bot.stream) if has_book else (bot.pid, bot.account)


def _silent(bot: Bot, server: str | Path | None, *, hangs: bool) -> Status:
    fate = _fate(bot, hangs=hangs)
    if bot.journal_file:
        return _by_journal(short_path(Path(bot.journal_file)), bot.stream or None, fate)
    if bot.stream and server is not None:
        # Another server may have the book.
        with contextlib.suppress(SettingsError):
            return _by_journal(server, bot.stream, fate)
    return _by_journal(None, bot.stream or None, fate)


def status_left_behind(
    place: str | Path, stream: str | None, found: Sequence[Status], *, is_given: bool
) -> Status | None:
    """Return the status by a journal; None without the journal, or if a bot has told it.

    Args:
        place: the journal.
        stream: the name of the book, None for the book of the bot that ran last.
        found: the statuses of the running bots.
        is_given: whether a person named the journal; otherwise the journal of the bot that ran
            last is read.
    """
    # Imported here: the status of a running bot needs no journal, nor the time to import it.
    from trueup.journal.backends.location import database_at, is_file

    last = last_bot()
    if not is_given and last is not None and last.journal_file:
        place, stream = short_path(Path(last.journal_file)), stream or last.stream
    file = str(Path(place).resolve()) if is_file(place) else ""
    if file and not Path(file).exists():
        return None
    journal = "" if file else database_at(place).name
    for one in found:
        is_this = one.journal_file == file if file else one.journal == journal
        if is_this and stream in (None, one.stream):
            return None
    is_its = last is not None and last.journal_file == file and stream in (None, last.stream)
    if last is not None and is_its:
        return _by_journal(place, stream, _fate(last, hangs=False))
    program = running_program(file, stream) if file else None
    if program is None:
        return _by_journal(place, stream, None)
    return _by_journal(place, program.stream, _of_script(program))


def _answer(bot: Bot) -> Any:
    """Return the status in a bot's answer, None if the bot gives no answer."""
    try:
        answer = ask_bot(bot, "status").get("status")
    except (NotSent, OutcomeUnknown):
        return None
    # Another program may have the port by now, or another bot.
    is_ours = isinstance(answer, dict) and answer.get("pid") == bot.pid
    return answer if is_ours else None


def _read(answer: Any) -> Status:
    try:
        return read_status(answer)
    except TrueupError as error:
        raise AnswerUnreadable(str(error)) from error


def _of_script(program: Program) -> Fate:
    from trueup.observe.status.facts import Fate

    return Fate(pid=program.pid, started=program.started, script=program.name)


def _fate(bot: Bot, *, hangs: bool) -> Fate:
    from trueup.observe.status.facts import Fate

    return Fate(
        pid=bot.pid,
        symbol=bot.symbol,
        started=bot.started,
        gateway=bot.endpoint,
        hangs=hangs,
        ended=bot.ended,
        alive=bot.alive,
        asked=bot.asked,
    )


def _by_journal(place: str | Path | None, stream: str | None, fate: Fate | None) -> Status:
    # Imported here: the status of a running bot needs no book, nor the time to import the book.
    from trueup.runtime.control.last_known import NO_FATE, by_journal

    return by_journal(place, stream, SystemClock().now_ns(), fate or NO_FATE)
