"""Read the status of a bot that gives no answer from its journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trueup.core.book.book import Book
from trueup.core.book.outcome import after_restart
from trueup.core.claims import is_shadow
from trueup.core.dates import iso
from trueup.core.holds import Hold, HoldKind
from trueup.core.model import describe_at
from trueup.core.sync.loss import hold_of
from trueup.errors import JournalError, SettingsError
from trueup.journal import open_reader
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.overview import overview
from trueup.journal.reading.reader import JournalReader
from trueup.observe.status.facts import Fate, JournalFacts
from trueup.observe.status.making import status_of_journal
from trueup.observe.status.status import Status
from trueup.runtime.story.story import last_entries

UNTIL_PROVEN = "the deals that close it, or its return to the broker's list"
UNTIL_CHECKED = "a person checks the position, and the position closes"
WATCHES = "this is the journal of a watch beside a bot; `trueup watch` goes on with it and reports"
NO_FATE = Fate()
NO_PLACE = "The bot has no journal in a file; give --journal, if it keeps one on a server"


def last_known(place: str | Path, stream: str | None, now_ns: int, fate: Fate = NO_FATE) -> Status:
    """Return the status of a book by its journal; nothing is written.

    Args:
        place: a file, or a `postgresql://` URL.
        stream: the name of the stream; None for the last opened stream.
        now_ns: the date (ns of UTC).
        fate: what is known of the bot that wrote the journal.

    Raises:
        JournalError: the journal cannot be read, or has no stream at all.
        SettingsError: the journal has no such stream, or only that of a watch.
    """
    # By the time of the last opening: the user means the bot that ran last.
    streams = sorted(overview(place).streams, key=lambda row: row.since_ns, reverse=True)
    # A watch beside a bot that is not ours is no bot: it has the account, and nobody to answer.
    names = [row.name for row in streams if not is_shadow(row.name)]
    if streams and not names:
        raise SettingsError("--journal", str(place), WATCHES)
    if stream is not None and stream not in names:
        known = ", ".join(map(repr, names)) or "none yet"
        raise SettingsError("--stream", stream, f"{database_at(place).name} has {known}")
    if stream is None and names:
        stream = names[0]
    with open_reader(place, stream) as reader:
        book, last_ns = book_of(reader)
        facts = JournalFacts(
            journal=database_at(place).name,
            journal_file=_path_of(place),
            stream=reader.stream,
            holder=reader.holder,
            now_ns=now_ns,
            events_count=book.version,
            last_ns=last_ns,
            successor=reader.successor,
            events=last_entries(reader),
            # Named, since the user may have meant another book of this journal.
            others=tuple(name for name in names if name != reader.stream),
        )
        return status_of_journal(book, list(holds_of(book)), facts, fate)


def by_journal(
    place: str | Path | None, stream: str | None, now_ns: int, fate: Fate = NO_FATE
) -> Status:
    """Return the status as `last_known` does, also if the journal cannot be read.

    `place` is None for a bot without a journal that can be found.

    Raises:
        SettingsError: the journal has no such stream.
    """
    try:
        if place is None:
            raise JournalError(NO_PLACE)
        return last_known(place, stream, now_ns, fate)
    except JournalError as error:
        facts = JournalFacts(
            journal="" if place is None else database_at(place).name,
            journal_file=_path_of(place),
            stream=stream or "",
            now_ns=now_ns,
            trouble=error.with_remedy,
        )
        return status_of_journal(Book(), [], facts, fate)


def _path_of(place: str | Path | None) -> str:
    return str(Path(place).resolve()) if place is not None and is_file(place) else ""


def book_of(reader: JournalReader) -> tuple[Book, int | None]:
    """Return the book of a new process at its start, and the time of the last event (ns)."""
    saved = reader.latest_checkpoint()
    book, after = (Book(), 0) if saved is None else (Book.restore(saved.state), saved.position)
    last_ns = None
    for record in reader.records(after):
        book.apply(record.event)
        last_ns = record.at_ns
    if last_ns is None and after:
        last_ns = next((record.at_ns for record in reader.records(after - 1)), None)
    book.replay(after_restart(list(book.orders.values()), last_ns or 0))
    return book, last_ns


def holds_of(book: Book) -> Iterator[Hold]:
    """Yield the holds that a journal itself knows."""
    # Only the holds that the journal knows; differences are found by a bot that sees the broker.
    if book.loss is not None:
        yield hold_of(book.loss)
    for identifier, since_ns in book.missing.items():
        holding = book.holdings.get(identifier)
        what, symbol = f"Ticket {identifier}", ""
        if holding is not None:
            symbol = holding.position.symbol
            what = f"Ticket {holding.position.ticket}, {describe_at(holding.position)},"
        # The text has the time itself, since the age would be that of a book that nobody keeps.
        reason = f"{what} is not in the broker's list since {iso(since_ns)[11:19]} UTC, no proof"
        yield Hold(symbol, reason, UNTIL_PROVEN, identifier, HoldKind.MISSING)
    for halt in book.halts.values():
        yield Hold(halt.symbol, halt.because, UNTIL_CHECKED, halt.identifier, HoldKind.HALT)
