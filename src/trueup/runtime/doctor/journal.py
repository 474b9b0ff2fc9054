"""Check the journal of a book: it can be read and written, its disk has room, and it is whole.

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
from trueup.errors import JournalCorrupt, TrueupError
from trueup.journal import open_reader
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.reading.reader import JournalReader
from trueup.observe.doctor_text import DoctorRow, Mark, not_asked, ok, sick, warn
from trueup.observe.status.status import Status

WRITABLE, WHOLE = "journal writable", "journal whole"
LEAST_FREE_MB = 20
FEW_FREE_MB = 500
# So many events are proven in about a second.
PROVEN_MOST = 100_000
NO_ORDERS = (
    "the strategy can neither open nor close: close what cannot wait by `trueup close TICKET`, or "
    "by hand in the terminal"
)
NO_START = "a bot with this journal does not start; stops at the broker work"


class JournalCheck:
    """A check of the journal of a book.

    Args:
        place: a file, or a `postgresql://` URL; None if only the bots know the place.
        stream: the name of the stream; None for the only stream.
        bots: the status of the bots that run in this folder.
    """

    def __init__(
        self, place: str | Path | None, stream: str | None, bots: Sequence[Status]
    ) -> None:
        self._place, self._stream, self._bots = place, stream, bots
        self.bound: Bound | None = None
        self.compared: HistoryCompared | None = None
        self.loss: LossFound | None = None
        # The damage that a reading of all events finds; None if nothing was read.
        self._damage: str | None = None
        self._proven = ""

    def rows(self) -> Iterator[DoctorRow]:
        """Yield the rows of the journal, and set `bound`, `compared` and `loss`."""
        row = self._look()
        if self.loss is not None and row.mark is not Mark.SICK:
            hold = hold_of(self.loss)
            risk = "the history of the book has a gap; entries wait"
            remedy = f"look at what is open, then say `trueup approve {hold.id}` to the running bot"
            row = sick(WRITABLE, f"{row.found}. {hold.reason}", risk, remedy, **row.figures)
        yield row
        yield self._whole()

    def _whole(self) -> DoctorRow:
        if self._damage is None:
            return not_asked(WHOLE, "no journal was read")
        if not self._damage:
            return ok(WHOLE, self._proven)
        risk = "the bot that runs goes on, and its next start may refuse this journal"
        return sick(WHOLE, self._damage, risk, JournalCorrupt.remedy)

    def _look(self) -> DoctorRow:
        # The bot's own report first: the bot writes the journal, this command only reads.
        for bot in self._bots:
            if bot.journal_trouble:
                found = f"the bot cannot write: {bot.journal_trouble.rstrip('.')}"
                return sick(WRITABLE, found, NO_ORDERS, " ".join(bot.needs))
        if self._place is None:
            return self._as_the_bots_say()
        if is_file(self._place) and not Path(self._place).exists():
            return self._unmade(Path(self._place))
        try:
            name = database_at(self._place).name
            with open_reader(self._place, self._stream) as reader:
                self._damage, self._proven = damage_in(reader)
                self.bound, self.compared, self.loss = last_facts(reader)
                events = f"{reader.position} event{'s' * (reader.position != 1)}"
                found = f"{name}, stream {reader.stream}: {events}"
        except TrueupError as error:
            if "Say which stream" in str(error):
                return not_asked(WRITABLE, f"{error} Give --stream.")
            return sick(WRITABLE, str(error), NO_START, error.remedy or "give another --journal")
        if not is_file(self._place):
            return ok(WRITABLE, f"{found}; whether it may be written is not tried")
        return self._may_write(Path(self._place), found)

    def _as_the_bots_say(self) -> DoctorRow:
        kept = [bot.journal for bot in self._bots if bot.journal]
        if kept:
            return ok(WRITABLE, f"{kept[0]}: the bot writes it")
        return warn(
            WRITABLE,
            "the bot keeps no journal: what it knows ends with it",
            "after a crash orders in doubt are found by their traces at the broker alone",
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
            return sick(WRITABLE, f"{path} cannot be made in {folder}", NO_START, remedy)
        return self._room(folder, f"{path} is not there yet, and can be made")

    def _may_write(self, path: Path, found: str) -> DoctorRow:
        try:
            # To open the file for writing, without writing, is the only safe test of permission.
            with path.open("r+b"):
                pass
        except OSError as error:
            because = (error.strerror or str(error)).lower()
            remedy = f"make {path} writable for the user that runs the bot"
            return sick(WRITABLE, f"{found}; it cannot be written: {because}", NO_ORDERS, remedy)
        if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
            remedy = f"make {path.absolute().parent} writable for the user that runs the bot"
            return sick(WRITABLE, f"{found}; nothing can be made beside it", NO_ORDERS, remedy)
        writers = [bot.pid for bot in self._bots if bot.journal_file == str(path.resolve())]
        by = f", written by process {writers[0]}" if writers else ""
        return self._room(path.absolute().parent, f"{found}{by}")

    def _room(self, folder: Path, found: str) -> DoctorRow:
        free_mb = shutil.disk_usage(folder).free // 1_000_000
        if free_mb >= FEW_FREE_MB:
            return ok(WRITABLE, found, free_mb=free_mb)
        row = sick if free_mb < LEAST_FREE_MB else warn
        found = f"{found}; {free_mb} MB are free on its disk"
        risk = f"when the disk is full, {NO_ORDERS}"
        return row(WRITABLE, found, risk, f"make room on the disk of {folder}", free_mb=free_mb)


class LastFacts(NamedTuple):
    """The last facts of a journal about its book; None for a fact that the journal does not have.

    `compared` is the last comparison of the book's deals, `loss` a loss that no person has accepted
    yet.
    """

    bound: Bound | None
    compared: HistoryCompared | None
    loss: LossFound | None


def damage_in(reader: JournalReader) -> tuple[str, str]:
    """Prove the newest events of a journal; return the damage, and what was proven.

    Raises:
        JournalError: the journal cannot be read.
    """
    begin = reader.live_after
    if reader.position - begin <= PROVEN_MOST:
        verdict = reader.verify()
        # A loss is what the next bot reports and a person approves; the file itself is whole.
        faults = [fault.because for fault in verdict.faults if not fault.is_loss]
        whole = "whole, in order and unaltered"
        return "; ".join(faults[:1]), f"{whole} after the archived {begin}" if begin else whole
    try:
        for _ in reader.records(reader.position - PROVEN_MOST):
            pass
    except JournalCorrupt as error:
        return str(error), ""
    proven = f"its last {PROVEN_MOST} events are; of all `trueup journal verify` tells"
    return "", proven


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
