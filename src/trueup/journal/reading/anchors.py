"""The anchors of a stream: what was archived, in which files, and from where the rest goes on.

The events of an anchor, and all before them, are in files. The anchor has the hash of its last
event, from which the rows of the live table are proven, and a saved book with which a fold goes on.
Rows up to an anchor may still lie in the table for a while; nobody reads them.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from trueup.errors import EventsArchived, JournalError
from trueup.journal.database.database import Database, FileDamaged
from trueup.journal.database.migrate import ARCHIVES
from trueup.journal.journal import Checkpoint, Fault, Tip
from trueup.journal.rows.archive_file import ArchiveFile, digest_of
from trueup.journal.rows.chain import Row


class Anchor(NamedTuple):
    """What one run of the archiving took out of a stream.

    `position` and `hash` are of its last event, `hash_before` is of the event before its first, and
    `first_hash` of the very first event of the stream. `newest_ns` is the latest time of all events
    up to here. The saved book is that after the event `book_position`, which is in the table.
    """

    position: int
    hash: bytes
    first_position: int
    hash_before: bytes
    first_hash: bytes
    newest_ns: int
    archived_ns: int
    file: str
    file_digest: bytes
    book_position: int
    book_digest: bytes

    @property
    def tip(self) -> Tip:
        """The place in the chain after which the rest goes on."""
        return Tip(self.position, self.hash)

    @property
    def start(self) -> Tip:
        """The place in the chain before the first event."""
        return Tip(self.first_position - 1, self.hash_before)


def has_anchors(database: Database) -> bool:
    """Return whether a database may have anchors."""
    try:
        # A journal of which nothing was ever archived does not have the table.
        return (database.revision() or "") >= ARCHIVES
    except FileDamaged:
        # The rows that a damaged file still has are read, as they were before there were archives;
        # of an archived journal the first of them are then missing.
        return False


def archived_of(database: Database) -> dict[str, tuple[int, int]]:
    """Return the last archived position of each stream, and the number of its archives."""
    if not has_anchors(database):
        return {}
    found = database.fetch(database.statements.archived)
    return {str(stream): (int(last), int(count)) for stream, last, count in found}


class Anchors:
    """The anchors of one stream of a database."""

    def __init__(self, database: Database, stream: str) -> None:
        self._database, self._stream = database, stream
        self._sql = database.statements

    def all(self) -> list[Anchor]:
        """Return the anchors, the oldest first."""
        return self._found(self._sql.anchors)

    def last(self) -> Anchor | None:
        """Return the newest anchor, or None."""
        found = self._found(self._sql.last_anchor)
        return found[0] if found else None

    def _found(self, statement: str) -> list[Anchor]:
        if not has_anchors(self._database):
            return []
        return [Anchor(*row) for row in self._database.fetch(statement, self._stream)]

    def book(self, anchor: Anchor) -> bytes:
        """Return the saved book of an anchor, as it stands in the table."""
        rows = self._database.fetch(self._sql.anchor_book, self._stream, anchor.position)
        return bytes(rows[0][0]) if rows else b""

    def saved(self, anchor: Anchor) -> Checkpoint:
        """Return the saved book of an anchor with its position."""
        return Checkpoint(anchor.book_position, self.book(anchor))

    def orders_among(self, order_ids: Collection[str]) -> set[str]:
        """Return those of these orders whose intents were archived."""
        found: set[str] = set()
        if self.last() is not None:
            for (packed,) in self._database.fetch(self._sql.anchor_orders, self._stream):
                found |= set(unpacked(packed)) & set(order_ids)
        return found


def packed(order_ids: list[str]) -> bytes:
    """Return the ids of orders as an anchor keeps them."""
    return zlib.compress(json.dumps(order_ids).encode())


def unpacked(kept: bytes) -> list[str]:
    """Return the ids of orders that an anchor keeps."""
    return [str(order_id) for order_id in json.loads(zlib.decompress(kept))]


def path_of(anchor: Anchor, folder: Path | None = None) -> Path:
    """Return the file of an anchor: where it was written, or in another folder."""
    # Which system wrote it is not known here; the file's own name has neither kind of slash.
    return Path(anchor.file) if folder is None else folder / PureWindowsPath(anchor.file).name


def _is_readable(path: Path) -> bool:
    """Return whether this user may read a file; also a folder on the way may be another user's."""
    return os.path.isfile(path) and os.access(path, os.R_OK)


def readable_after(anchors: list[Anchor]) -> int:
    """Return the position after which every event can be read: in files that are there, or live."""
    for anchor in reversed(anchors):
        if not _is_readable(path_of(anchor)):
            return anchor.position
    return 0


def archived_rows(stream: str, anchors: list[Anchor], after: int) -> Iterator[Row]:
    """Yield the proven archived rows after a position.

    Raises:
        EventsArchived: a file is not at its place.
        JournalError: a file is damaged or was altered.
    """
    for anchor in anchors:
        if anchor.position <= after:
            continue
        path = path_of(anchor)
        if not _is_readable(path):
            raise EventsArchived(stream, anchor.first_position, anchor.position, str(path))
        with opened(stream, anchor, path) as file:
            tip = anchor.start
            for row in file.rows():
                tip = Tip(row.position, row.hash)
                if row.position > after:
                    yield row
        if tip != anchor.tip:
            raise not_of(path, stream, anchor)


def opened(stream: str, anchor: Anchor, path: Path) -> ArchiveFile:
    """Open the file of an anchor.

    Raises:
        JournalError: the file is another, or cannot be read.
    """
    file = ArchiveFile(path)
    if file.stream != stream:
        file.close()
        raise JournalError(f"{path} has events of stream {file.stream!r}, not of {stream!r}.")
    if file.start != anchor.start:
        file.close()
        raise not_of(path, stream, anchor)
    return file


def not_of(path: Path, stream: str, anchor: Anchor) -> JournalError:
    """Return the error for a file that is not the one of an anchor."""
    return JournalError(
        f"{path} is not the archive of the events {anchor.first_position} to {anchor.position} of "
        f"stream {stream!r}, though its name or place says so."
    )


def proven_file(stream: str, anchor: Anchor, path: Path) -> None:
    """Prove the file of an anchor: each event, the chain, its ends, and the digest.

    Raises:
        JournalError: the file is another, is damaged or altered, or cannot be read.
    """
    with opened(stream, anchor, path) as file:
        tip, _ = file.prove()
    if tip != anchor.tip:
        raise not_of(path, stream, anchor)
    if digest_of(path) != anchor.file_digest:
        raise JournalError(
            f"{path} has the right events, and is not the file that was written: its SHA-256 "
            f"should be {anchor.file_digest.hex()}."
        )


def faults_of(
    stream: str, anchors: list[Anchor], folder: Path | None, *, with_files: bool
) -> Iterator[Fault]:
    """Yield the defects of what was archived: gaps between anchors, and bad or missing files."""
    end = Tip(0, bytes(32))
    for anchor in anchors:
        if anchor.start != end:
            yield Fault(anchor.first_position, "the archived events before it have another end")
        end = anchor.tip
        if not with_files:
            continue
        try:
            proven_file(stream, anchor, path_of(anchor, folder))
        except JournalError as error:
            yield Fault(anchor.first_position, str(error).rstrip("."))
