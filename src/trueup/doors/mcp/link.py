"""What the server reads from: the running bot of a folder, and the journal of a bot.

Nothing here writes a journal, and nothing decides about a position: the bot does both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trueup.core.book.book import Book
from trueup.core.dates import iso
from trueup.errors import JournalError, NotSent, OutcomeUnknown, Refused, TrueupError
from trueup.journal import open_reader
from trueup.journal.backends.location import is_file
from trueup.journal.overview import overview
from trueup.journal.reading.reader import JournalReader
from trueup.observe.status.status import Status, nothing_here
from trueup.processes import is_alive
from trueup.runtime.control.bots import (
    Bot,
    ask_bot,
    find_bots,
    last_bot,
    one_of,
    refusal_of,
    silence_of,
)
from trueup.runtime.control.gathering import status_left_behind, statuses_of_bots
from trueup.runtime.control.last_known import book_of
from trueup.runtime.time.clock import SystemClock

# An observation takes two turns of the bot's loop, or at most the gateway's timeout.
LOOK_SEC = 25.0
PAUSE_SEC = 0.1
HOW_TO_START = "A person starts a bot with `trueup run` or `trueup paper`."


class Link:
    """The bot and the journal of the current folder.

    Args:
        which: the bot's process, or the account's name, if several bots run in the folder.
        journal: the place of the journal; None for that of the bot.
        stream: the name of the book; None for that of the bot.
        default_journal: returns the place of the journal where no bot names one.
    """

    def __init__(
        self,
        which: str | None,
        journal: str | None,
        stream: str | None,
        default_journal: Callable[[], str | Path],
    ) -> None:
        self._which, self._journal, self._stream = which, journal, stream
        self._default_journal = default_journal
        self._proven: tuple[int, str, str] | None = None
        self.clock: SystemClock = SystemClock()

    def bot(self) -> Bot:
        """Return the running bot of the folder.

        Raises:
            TrueupError: no bot runs, it does not answer, or several run and none is named.
        """
        bot = one_of(find_bots(), self._which)
        # Asked once: the same process at the same port with the same start is the same bot.
        name = (bot.pid, bot.control, bot.started)
        if name == self._proven:
            return bot
        try:
            answer = ask_bot(bot, "hello")
        except (NotSent, OutcomeUnknown) as error:
            raise TrueupError(silence_of(bot)) from error
        if answer.get("pid") != bot.pid:
            raise TrueupError(silence_of(bot))
        self._proven = name
        return bot

    def running(self) -> Bot | None:
        """Return the running bot of the folder, None if none runs.

        Raises:
            TrueupError: the bot hangs, or several run and none is named.
        """
        bots = [bot for bot in find_bots() if self._which in (None, str(bot.pid), bot.account)]
        # A killed bot leaves its file, and another program may have its port by now.
        if any(is_alive(bot.pid) for bot in bots):
            return self.bot()
        return None

    def ask(self, bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
        """Return a bot's answer.

        Raises:
            NotSent: no process listens; the command had no effect.
            OutcomeUnknown: no usable answer came.
            Refused: the bot refuses; the message has its reason.
        """
        answer = ask_bot(bot, command, **fields)
        if not answer.get("ok"):
            raise Refused(refusal_of(bot, command, str(answer.get("error"))))
        return answer

    def read(self, bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
        """Return a bot's answer to a command that changes nothing.

        Raises:
            TrueupError: the bot does not answer, or refuses.
        """
        try:
            return self.ask(bot, command, **fields)
        except (NotSent, OutcomeUnknown) as error:
            raise TrueupError(silence_of(bot)) from error

    def look(self, bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
        """Have a bot read the broker now, and return its answer.

        Raises:
            TrueupError: the bot does not answer, or refuses.
        """
        number = 0
        for _ in self.until(LOOK_SEC):
            answer = self.read(bot, command, look=number, **fields)
            if "wait" not in answer:
                return answer
            number = answer["wait"]
        raise TrueupError(f"The bot, process {bot.pid}, got no look at the broker: see its log.")

    def until(self, seconds: float) -> Iterator[None]:
        """Yield repeatedly, with a pause between, until the seconds have passed."""
        end_ns = self.clock.waiting_ns() + round(seconds * 1e9)
        while self.clock.waiting_ns() < end_ns:
            yield
            self.clock.sleep(PAUSE_SEC)

    @contextlib.contextmanager
    def journal(self, bot: Bot | None = None) -> Iterator[JournalReader]:
        """Open the journal of a bot for reading; by default that of the bot that ran last.

        Raises:
            JournalError: there is no journal, or it cannot be read.
        """
        with open_reader(*self.place(bot)) as reader:
            yield reader

    def place(self, bot: Bot | None = None) -> tuple[str | Path, str | None]:
        """Return the place and the stream of a bot's journal; by default of the last bot.

        Raises:
            JournalError: there is no journal.
        """
        bot = bot or last_bot()
        if self._journal is not None:
            return self._journal, self._stream or _newest(self._journal)
        if bot is not None and bot.journal_file:
            return bot.journal_file, self._stream or bot.stream
        place = self._default_journal()
        if is_file(place) and not Path(place).exists():
            whose = (
                "No bot runs" if bot is None else f"The bot, process {bot.pid}, names no journal"
            )
            raise JournalError(f"{whose}, and there is no journal {Path(place).name} here.")
        stream = self._stream or (bot.stream if bot is not None and not is_file(place) else None)
        return place, stream or _newest(place)

    def status(self) -> Status:
        """Return the status of the bot; of one that gives no answer, from its journal.

        Raises:
            TrueupError: several bots run and none is named, or the answer cannot be read.
        """
        found = list(statuses_of_bots())
        if self._which is not None:
            named = {(bot.pid, bot.stream) for bot in find_bots() if bot.account == self._which}
            of_name = [one for one in found if (one.pid, one.stream) in named]
            found = of_name or [one for one in found if str(one.pid) == self._which]
        if len(found) > 1:
            one_of(find_bots(), self._which)
        if found:
            return found[0]
        place = self._journal or self._default_journal()
        is_given = self._journal is not None
        left = status_left_behind(place, self._stream, found, is_given=is_given)
        return left or nothing_here(iso(self.clock.now_ns()), HOW_TO_START)

    def last_book(self, bot: Bot | None = None) -> tuple[str, Book, int | None]:
        """Return the stream, the book of a journal as the next bot would begin with it, its end.

        The end is the time of the last event (ns of UTC), None without any.

        Raises:
            JournalError: there is no journal, or it cannot be read.
        """
        with self.journal(bot) as reader:
            return reader.stream, *book_of(reader)


def _newest(place: str | Path) -> str | None:
    found = overview(place).newest
    return None if found is None else found.name
