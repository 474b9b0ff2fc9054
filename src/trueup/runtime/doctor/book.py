"""Check the bots of this folder and the journal: running, in sync, writable.

Nothing is written, and no lock is taken: even a lock that is held for an instant could make the
start of a bot fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trueup.core.account.trust import Bound
from trueup.core.book.book import Book
from trueup.core.book.events import AccountBound, HistoryCompared, LossAccepted, LossFound
from trueup.core.sync.loss import hold_of
from trueup.errors import TrueupError
from trueup.journal import open_reader
from trueup.journal.backends.location import database_at
from trueup.journal.reading.reader import JournalReader
from trueup.observe.doctor_text import DoctorRow, Mark, not_asked, ok, sick, warn
from trueup.observe.event_words.of_account import compared_sentence
from trueup.observe.status_text import BotStatus
from trueup.runtime.sync.neighbours import REMEDY

LEAST_FREE_MB = 20
FEW_FREE_MB = 500
# A last sync that is older than this many intervals is an error, not only late.
INTERVALS_LATE = 3


class JournalCheck:
    """A check of the journal of a book.

    Args:
        place: a file, or a `postgresql://` URL; None if only the bots know the place.
        stream: the name of the stream; None for the only stream.
        bots: the status of the bots that run in this folder.
    """

    def __init__(
        self, place: str | Path | None, stream: str | None, bots: Sequence[BotStatus]
    ) -> None:
        self._place, self._stream, self._bots = place, stream, bots
        self.bound: Bound | None = None
        self.compared: HistoryCompared | None = None
        self.loss: LossFound | None = None

    def row(self) -> DoctorRow:
        """Return the row of the journal, and set `bound`, `compared` and `loss`."""
        row = self._look()
        if self.loss is None or row.mark is Mark.SICK:
            return row
        hold = hold_of(self.loss)
        remedy = f"look at what is open, then say `trueup approve {hold.id}` to the running bot"
        return sick("journal writable", f"{row.found}. {hold.reason}", remedy, **row.figures)

    def _look(self) -> DoctorRow:
        # The bot's own report first: the bot writes the journal, this command only reads.
        trouble = next((bot.journal_trouble for bot in self._bots if bot.journal_trouble), "")
        if trouble:
            remedy = "repair the cause; the bot then continues by itself"
            return sick("journal writable", f"the bot cannot write: {trouble}", remedy)
        if self._place is None:
            return self._as_the_bots_say()
        is_file = "://" not in str(self._place)
        if is_file and not Path(self._place).exists():
            return self._unmade(Path(self._place))
        try:
            name = database_at(self._place).name
            with open_reader(self._place, self._stream) as reader:
                self.bound, self.compared, self.loss = last_facts(reader)
                events = f"{reader.position} event{'s' * (reader.position != 1)}"
                found = f"{name}, stream {reader.stream}: {events}"
        except TrueupError as error:
            if "Say which stream" in str(error):
                return not_asked("journal writable", f"{error} Give --stream.")
            remedy = "`trueup journal verify` says where it is damaged; or give another --journal"
            return sick("journal writable", str(error), remedy)
        if not is_file:
            return ok("journal writable", f"{found}; whether it may be written is not tried")
        return self._may_write(Path(self._place), found)

    def _as_the_bots_say(self) -> DoctorRow:
        kept = [bot.journal for bot in self._bots if bot.journal]
        if kept:
            return ok("journal writable", f"{kept[0]}: the bot writes it")
        return warn(
            "journal writable",
            "the bot keeps no journal: what it knows ends with it",
            "start it without --no-journal",
        )

    def _unmade(self, path: Path) -> DoctorRow:
        """Judge the place of a journal that does not exist yet."""
        # The first folder that exists decides: the bot creates the folders below.
        folder = path.absolute().parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            remedy = "give another place with --journal, or make the folder writable"
            return sick("journal writable", f"{path} cannot be made in {folder}", remedy)
        return self._room(folder, f"{path} is not there yet, and can be made")

    def _may_write(self, path: Path, found: str) -> DoctorRow:
        try:
            # To open the file for writing, without writing, is the only safe test of permission.
            with path.open("r+b"):
                pass
        except OSError as error:
            because = (error.strerror or str(error)).lower()
            remedy = f"make {path} writable for the user that runs the bot"
            return sick("journal writable", f"{found}; it cannot be written: {because}", remedy)
        if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
            remedy = f"make {path.absolute().parent} writable for the user that runs the bot"
            return sick("journal writable", f"{found}; nothing can be made beside it", remedy)
        writers = [bot.pid for bot in self._bots if bot.journal_file == str(path.resolve())]
        by = f", written by process {writers[0]}" if writers else ""
        return self._room(path.absolute().parent, f"{found}{by}")

    def _room(self, folder: Path, found: str) -> DoctorRow:
        free_mb = shutil.disk_usage(folder).free // 1_000_000
        if free_mb >= FEW_FREE_MB:
            return ok("journal writable", found, free_mb=free_mb)
        row = sick if free_mb < LEAST_FREE_MB else warn
        return row(
            "journal writable",
            f"{found}; {free_mb} MB are free on its disk",
            "make room: without it no order is sent",
            free_mb=free_mb,
        )


class LastFacts(NamedTuple):
    """The last facts of a journal about its book; None for a fact that the journal does not have.

    `compared` is the last comparison of the book's deals, `loss` a loss that no person has accepted
    yet.
    """

    bound: Bound | None
    compared: HistoryCompared | None
    loss: LossFound | None


def last_facts(reader: JournalReader) -> LastFacts:
    """Return the last facts of a journal about its book."""
    saved = reader.latest_checkpoint()
    book = Book() if saved is None else Book.restore(saved.state)
    bound, compared, loss = book.bound, book.compared, book.loss
    kinds = {kind.__name__ for kind in (AccountBound, HistoryCompared, LossFound, LossAccepted)}
    for event in reader.read(0 if saved is None else saved.position, kinds=kinds):
        if isinstance(event, HistoryCompared):
            compared = event
        elif isinstance(event, LossFound | LossAccepted):
            loss = event if isinstance(event, LossFound) else None
        elif isinstance(event, AccountBound):
            now = Bound(event.login, event.server)
            bound, compared = now, compared if bound == now else None
    return LastFacts(bound, compared, loss)


def history_rows(compared: HistoryCompared | None) -> Iterator[DoctorRow]:
    """Yield the result of the last comparison of deals with the broker's history, if any."""
    if compared is not None:
        yield _history_row(compared)


def _history_row(compared: HistoryCompared) -> DoctorRow:
    found, figures = compared_sentence(compared), {"agreed": compared.agreed}
    if compared.is_whole:
        return ok("history", found, **figures)
    remedy = "`trueup reconcile` names each of these deals"
    return warn("history", found, remedy, **figures)


def bot_rows(
    bots: Sequence[BotStatus], silent: Sequence[str], interval_sec: float
) -> Iterator[DoctorRow]:
    """Yield the health of each bot of this folder, and the age of its last sync.

    `silent` are sentences about bots that do not answer.
    """
    for sentence in silent:
        yield sick("bot", sentence, "look at its log; end it if it hangs, and start it again")
    if not bots and not silent:
        yield not_asked("bot", "no bot runs in this folder")
        yield not_asked("last sync", "no bot, so no sync is due")
    for bot in bots:
        yield _bot_row(bot)
        yield _sync_row(bot, interval_sec)


def _bot_row(bot: BotStatus) -> DoctorRow:
    who = f"process {bot.pid}, {bot.symbol}: {bot.health}"
    if bot.needs:
        return sick("bot", who, " ".join(bot.needs), pid=bot.pid)
    if bot.overdue:
        tickets = ", ".join(str(row.ticket) for row in bot.overdue)
        found = f"{who} It waits for the deals of {tickets} since {bot.overdue[0].since[11:19]} UTC"
        remedy = "show all of the terminal's history (History tab, All History): they may be there"
        return warn("bot", found, remedy, pid=bot.pid)
    if bot.neighbours:
        return warn("bot", f"{who} Another bot: {bot.neighbours[0]}", REMEDY, pid=bot.pid)
    return ok("bot", who, pid=bot.pid)


def _sync_row(bot: BotStatus, interval_sec: float) -> DoctorRow:
    if bot.age_sec is None:
        remedy = "see the rows above; until the broker was seen, no order is sent"
        return sick("last sync", f"process {bot.pid} has not seen the broker yet", remedy)
    found = f"{bot.age_sec:.0f} s ago, {bot.sync_count} since the start"
    figures = {"age_sec": bot.age_sec, "sync_count": bot.sync_count}
    if bot.age_sec > INTERVALS_LATE * interval_sec:
        remedy = f"a sync is due every {interval_sec:g} s: see the rows above and the bot's log"
        return sick("last sync", found, remedy, **figures)
    return ok("last sync", found, **figures)
