"""Archive the oldest events of a stream into a file, and put them back.

An archiving has three steps, and may be killed between any two statements:

    write the file          under another name; proven, synced, then renamed
    commit the anchor       from here on the events up to it are read from the file
    delete the rows         a few thousand in each transaction, so a bot that writes waits for none

Before the anchor nothing has changed but for a file more. After it every event is in the file, and
the next archiving deletes the rows that are left. Rows up to an anchor are never read.

A fold does not need what was archived: the anchor has the saved book after an event that stays. To
put the events back, the rows are inserted first, and the anchor is deleted last.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from trueup.core.book.book import Book
from trueup.errors import JournalError, TrueupError, reason
from trueup.journal.database.database import Database
from trueup.journal.database.migrate import ARCHIVES, ensure_current, forget_archives
from trueup.journal.journal import Tip
from trueup.journal.reading.anchors import Anchor, opened, packed, proven_file
from trueup.journal.reading.table import PAGE, EventTable
from trueup.journal.rows.archive_file import ArchiveFile, ArchiveWriter, digest_of
from trueup.journal.rows.chain import BrokenChain, Row, checkpoint_digest
from trueup.journal.rows.codec import decode

Tell = Callable[[int], None]


class Archived(NamedTuple):
    """What was archived or put back: a range of positions of a stream, and its file."""

    stream: str
    first: int
    last: int
    file: Path


class _Part(NamedTuple):
    """The events to archive, already in a file, and the saved book of the next transaction."""

    tip: Tip
    first_hash: bytes
    newest_ns: int
    orders: list[str]
    book: Book
    book_tip: Tip


def archive(
    database: Database,
    stream: str,
    before_ns: int,
    folder: Path,
    now_ns: int,
    tell: Tell | None = None,
) -> Archived | None:
    """Move the events of a stream before a moment into a file; a bot may write meanwhile.

    The last transaction before that moment stays in the journal, with the saved book after it.

    Args:
        database: the journal, connected to write.
        stream: the stream.
        before_ns: only transactions whose events are all before this time (ns of UTC), and which no
            later event precedes.
        folder: where the file is made.
        now_ns: the time.
        tell: is told the position of the last event that was read from time to time.

    Returns:
        What was archived; None if there is nothing to archive.

    Raises:
        JournalConflict: another process archives events of this journal.
        JournalCorrupt: an event is damaged; nothing was changed.
        JournalError: the file cannot be written, or the events cannot be folded; nothing was
            changed.
    """
    folder = writable(folder)
    with database.maintaining():
        table = EventTable(database, stream)
        _delete_rest(database, table)
        last = table.anchors.last()
        start = table.begin()
        making = folder / _name_while_made(table, start)
        with _file_errors(making):
            try:
                part = _written(table, last, before_ns, making, tell)
                if part is None:
                    return None
                file = _renamed(making, stream, start, part.tip)
            finally:
                making.unlink(missing_ok=True)
        ensure_current(database, ARCHIVES)
        _commit_anchor(database, stream, start, part, file, now_ns)
        _delete_rest(database, table)
        return Archived(stream, start.position + 1, part.tip.position, file)


def restore(database: Database, path: Path, tell: Tell | None = None) -> Archived:
    """Put the events of an archive back into the journal; a bot may write meanwhile.

    Args:
        database: the journal, connected to write.
        path: the file of the events that were archived last from its stream.
        tell: is told the position of the last event that was put back from time to time.

    Raises:
        JournalConflict: another process archives events of this journal.
        JournalError: the file is damaged, of another journal, or not the newest of its stream;
            nothing was changed.
    """
    with database.maintaining():
        with ArchiveFile(path) as file:
            stream = file.stream
        table = EventTable(database, stream)
        anchor = _newest_of(table, path)
        proven_file(stream, anchor, path)
        _delete_rest(database, table)
        with opened(stream, anchor, path) as file:
            for rows in _pages(file.rows()):
                with database.writing():
                    named = [(stream, *row) for row in rows]
                    database.change_many(database.statements.append, named)
                if tell is not None:
                    tell(rows[-1].position)
        with database.writing():
            database.change(database.statements.drop_anchor, stream, anchor.position)
            forget_archives(database)
        return Archived(stream, anchor.first_position, anchor.position, path)


def writable(folder: Path) -> Path:
    """Return the folder with its full path.

    Raises:
        JournalError: it is no folder, or this user may not write there.
    """
    if not folder.is_dir():
        because = "it is a file" if folder.exists() else "there is no such folder"
        raise JournalError(f"Nothing can be archived to {folder}: {because}.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise JournalError(f"Nothing can be archived to {folder}: this user may not write there.")
    return folder.resolve()


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        because = reason(error).lower()
        raise JournalError(
            f"Nothing was archived: {path.parent} takes no file: {because}."
        ) from error


def _written(
    table: EventTable, last: Anchor | None, before_ns: int, path: Path, tell: Tell | None
) -> _Part | None:
    """Write the events before a moment into a file, but for their last transaction.

    Returns:
        What was written, with the book after the transaction that stays; None for no events.

    Raises:
        JournalCorrupt: an event is damaged.
        JournalError: an event cannot be folded.
        OSError: the file cannot be written.
    """
    book = Book() if last is None else _saved_book(table, last)
    first_hash = b"" if last is None else last.first_hash
    newest_ns = 0 if last is None else last.newest_ns
    orders: list[str] = []
    writer = ArchiveWriter(path, table.stream, table.begin())
    start, kept = writer.tip, list[Row]()
    try:
        for transaction in _proven(table):
            if any(row.at_ns >= before_ns for row in transaction):
                break
            for row in kept:
                writer.write(row)
                newest_ns = max(newest_ns, row.at_ns)
                first_hash = first_hash or row.hash
                orders += [] if row.intent_id is None else [row.intent_id]
            _fold(book, transaction)
            kept = transaction
            if tell is not None and kept[-1].position % PAGE < len(kept):
                tell(kept[-1].position)
        if writer.tip == start:
            return None
        writer.finish()
    finally:
        writer.abandon()
    book_tip = Tip(kept[-1].position, kept[-1].hash)
    return _Part(writer.tip, first_hash, newest_ns, orders, book, book_tip)


def _saved_book(table: EventTable, anchor: Anchor) -> Book:
    """Return the saved book of an anchor, from which the fold goes on.

    Raises:
        JournalError: the saved book is damaged or was altered.
    """
    state, tip = table.anchors.book(anchor), table.tip_at(anchor.book_position)
    if tip is None or checkpoint_digest(table.stream, tip, state) != anchor.book_digest:
        raise JournalError(
            f"Nothing was archived: the saved book of stream {table.stream!r} of {table.place} at "
            f"position {anchor.book_position} is damaged.",
            remedy=f"put {anchor.file} back with `trueup journal restore`, and archive again",
        )
    return Book.restore(state)


def _proven(table: EventTable) -> Iterator[list[Row]]:
    try:
        yield from table.transactions()
    except BrokenChain as broken:
        # A last transaction that is not whole is the next writer's to set aside.
        _, damage = table.prove()
        if damage is not None and not damage.torn:
            raise JournalError(
                f"Nothing was archived: stream {table.stream!r} of {table.place} is damaged, "
                f"{broken.because}. `trueup journal verify` tells more."
            ) from broken


def _fold(book: Book, transaction: list[Row]) -> None:
    for row in transaction:
        # The book of the earlier anchor has the first of these events already.
        if row.position <= book.version:
            continue
        try:
            book.apply(decode(row.position, row.kind, row.payload))
        except JournalError:
            raise
        except (TrueupError, LookupError, ValueError, TypeError) as error:
            raise JournalError(
                f"Nothing was archived: no book can be made of the events: the event at position "
                f"{row.position} does not follow from those before it ({error})."
            ) from error


def _name_while_made(table: EventTable, start: Tip) -> str:
    """Return a file's name until it is whole; journals with books of one name have others.

    Two of them may be archived to a folder at the same time, and one would write into the file that
    the other has proven.
    """
    first = table.tip_at(start.position + 1)
    mark = "" if first is None else f"-{first.hash.hex()[:16]}"
    return f".{_slug(table.stream)}-{start.position + 1}{mark}.part"


def _renamed(making: Path, stream: str, start: Tip, tip: Tip) -> Path:
    """Prove the file that was written, and give it its name.

    Raises:
        JournalError: there is another file of that name, or the disk gives back something else.
        OSError: the file cannot be renamed.
    """
    file = making.with_name(f"{_slug(stream)}-{start.position + 1}-{tip.position}.jsonl.gz")
    with ArchiveFile(making) as written:
        end, _ = written.prove()
    if end != tip:
        raise JournalError(f"{making} does not come back as it was written. Nothing was archived.")
    # Left by an attempt that was killed before the anchor: the same events are the same bytes. It
    # is replaced all the same, since nobody knows whether that attempt's file is on the disk.
    if file.exists() and digest_of(file) != digest_of(making):
        raise JournalError(
            f"{file} is there already and has something else in it: move it away, or give "
            "another folder. Nothing was archived."
        )
    making.replace(file)
    if os.name == "posix":
        handle = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return file


def _commit_anchor(
    database: Database, stream: str, start: Tip, part: _Part, file: Path, now_ns: int
) -> None:
    state = part.book.state()
    columns = (
        stream,
        *part.tip,
        start.position + 1,
        start.hash,
        part.first_hash,
        part.newest_ns,
        now_ns,
        str(file),
        digest_of(file),
        part.book_tip.position,
        checkpoint_digest(stream, part.book_tip, state),
        state,
        packed(part.orders),
    )
    with database.writing():
        database.change(database.statements.anchor, *columns)
        database.change(database.statements.drop_checkpoints, stream, part.tip.position)


def _delete_rest(database: Database, table: EventTable) -> None:
    """Delete the rows up to the newest anchor, a few at a time."""
    sql, stream, end = database.statements, table.stream, table.begin().position
    while end:
        first = database.fetch(sql.first, stream)[0][0]
        if first is None or first > end:
            return
        with database.writing():
            database.change(sql.drop_events, stream, min(end, first + PAGE - 1))


def _newest_of(table: EventTable, path: Path) -> Anchor:
    """Return the newest anchor of a stream, if a file is the archive of its events.

    Raises:
        JournalError: nothing of the stream was archived, or the file is of other events.
    """
    with ArchiveFile(path) as file:
        first = file.start.position + 1
    anchors = table.anchors.all()
    if not anchors:
        raise JournalError(
            f"{path} has events of stream {table.stream!r}, of which nothing is archived in "
            f"{table.place}: nothing was changed."
        )
    newest = anchors[-1]
    if first < newest.first_position:
        raise JournalError(
            f"{path} has earlier events of stream {table.stream!r}: put {newest.file} back first, "
            "which has the events after them. Nothing was changed."
        )
    return newest


def _pages(rows: Iterator[Row]) -> Iterator[list[Row]]:
    page: list[Row] = []
    for row in rows:
        page.append(row)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _slug(stream: str) -> str:
    """Return a stream's name as a part of a file's name."""
    plain = re.sub(r"[^A-Za-z0-9_.@=-]+", "_", stream)[:80]
    return plain if plain == stream else f"{plain}-{zlib.crc32(stream.encode()):08x}"


def stream_names(database: Database, stream: str | None) -> list[str]:
    """Return the streams of a journal, or the one that is named.

    Raises:
        JournalError: the journal has no such stream.
    """
    names = [str(row[0]) for row in database.fetch(database.statements.streams)]
    if stream is not None and stream not in names:
        known = ", ".join(map(repr, names)) or "none yet"
        raise JournalError(f"There is no stream {stream!r} in {database.name}: it has {known}.")
    return names if stream is None else [stream]
