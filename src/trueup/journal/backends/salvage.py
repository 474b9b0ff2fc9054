"""Repair a SQLite file that is damaged as a file: truncated, or with overwritten pages.

The readable events, up to the last whole transaction of each stream, are copied to a new file. The
damaged file is kept beside the new file, as `*.damaged-1`. Without a person's decision this happens
only if just the end is damaged, and not much is lost.

The new file is complete before it gets the name `*.salvaged`. The next process that opens the
journal moves a file of that name into place. So a crash between any two steps loses nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from trueup.errors import JournalConflict, JournalCorrupt, JournalError, reason
from trueup.filelock import is_locked
from trueup.journal.backends.lockfile import FileClaim, all_lock_files
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.journal.database.database import FileDamaged
from trueup.journal.database.migrate import ensure_current
from trueup.journal.journal import GENESIS, Tip
from trueup.journal.reading.reader import JournalReader
from trueup.journal.reading.table import EventTable
from trueup.journal.rows.chain import BrokenChain, checkpoint_digest

# A larger loss of acknowledged events needs a person's decision.
LARGEST_LOSS = 1_000


def salvage(path: Path, *, at_any_loss: bool = False) -> str:
    """Replace a damaged file by a new file with all readable events; return a sentence about it.

    Raises:
        JournalConflict: a living process writes the file, or is repairing the file.
        JournalCorrupt: more than the end is damaged, and not `at_any_loss`.
        JournalError: nothing can be read, or the new file cannot be written.
    """
    try:
        with _alone(path):
            if not _beside(path, "salvaged").exists():
                try:
                    _build(path, at_any_loss)
                finally:
                    _forget(_beside(path, "salvaging"))
            kept = _swap(path)
    except OSError as error:
        raise JournalError(f"{path} is damaged and cannot be mended: {reason(error)}.") from error
    return (
        f"{path} was damaged; what could be read is in its place, and the damaged file is {kept}."
    )


def finish(path: Path) -> None:
    """Finish a repair that a crash interrupted.

    Raises:
        JournalError: the repaired file cannot be moved into place now.
    """
    if _beside(path, "salvaged").exists():
        salvage(path)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        claim = FileClaim(_beside(path, "mending"), 1, None)
    except (BlockingIOError, PermissionError) as error:
        raise JournalConflict(f"{path} is damaged; another process is mending it.") from error
    try:
        _refuse_writers(path)
        yield
    finally:
        claim.release()


def _refuse_writers(path: Path) -> None:
    if any(is_locked(lock) for lock in all_lock_files(path)):
        raise JournalConflict(
            f"{path} is damaged, and another process has it open; stop that first, then open it "
            "again, and what can be read is salvaged."
        )


def _build(path: Path, at_any_loss: bool) -> None:
    building = _beside(path, "salvaging")
    # A crash may have left half a file of an earlier attempt.
    _forget(building)
    damaged, whole = SqliteDatabase(path, read_only=True), SqliteDatabase(building)
    with contextlib.closing(damaged), contextlib.closing(whole):
        damaged.connect()
        whole.connect()
        # All that the damaged file has: also the table of what was archived.
        with contextlib.suppress(FileDamaged):
            ensure_current(whole, damaged.revision() or "")
        ensure_current(whole)
        for stream in _streams(damaged):
            _copy(damaged, whole, stream, at_any_loss)
        # Only a file without a log beside it can be renamed as a whole.
        whole.fetch("PRAGMA journal_mode=DELETE")
    # Again, since the copy took time: a writer may have started meanwhile.
    _refuse_writers(path)
    # Synced before the rename, or a power cut could leave the final name with an empty file.
    with building.open("rb+") as file:
        os.fsync(file.fileno())
    building.replace(_beside(path, "salvaged"))


def _streams(damaged: SqliteDatabase) -> list[str]:
    """Return the names of all readable streams; from the events if the table of writers is lost."""
    names: set[str] = set()
    for query in (damaged.statements.streams, "SELECT DISTINCT stream FROM journal_events"):
        with contextlib.suppress(FileDamaged):
            names |= {str(row[0]) for row in damaged.fetch_some(query)}
    if not names:
        raise JournalCorrupt(f"{damaged.name} is damaged, and nothing in it can be read.")
    return sorted(names)


def _copy(damaged: SqliteDatabase, whole: SqliteDatabase, stream: str, at_any_loss: bool) -> None:
    rows, sql = EventTable(damaged, stream), whole.statements
    tip = rows.begin()
    with whole.writing():
        if tip != GENESIS:
            anchors = damaged.fetch(sql.whole_anchors, stream)
            whole.change_many(sql.anchor, anchors)
        try:
            for transaction in rows.transactions():
                whole.change_many(sql.append, [(stream, *row) for row in transaction])
                tip = Tip(transaction[-1].position, transaction[-1].hash)
        except BrokenChain as broken:
            if not at_any_loss:
                _refuse_loss(damaged, rows, tip, broken.because)
        _copy_writer(damaged, whole, stream, tip)
        _copy_checkpoint(damaged, whole, stream, tip)


def _refuse_loss(damaged: SqliteDatabase, rows: EventTable, tip: Tip, because: str) -> None:
    """Raise JournalCorrupt unless only the end is lost, and not much of the stream."""
    known = _acknowledged(damaged, rows)
    readable = tip.position
    with contextlib.suppress(FileDamaged):
        readable = rows.last_position()
    lost = known.position - tip.position
    if lost > min(LARGEST_LOSS, tip.position) or readable > tip.position:
        raise JournalCorrupt(
            f"{damaged.name} is damaged: {because}. More than its end is gone ({lost} acknowledged "
            "events), so it was left as it is: restore a copy, or move it aside to start anew."
        )


def _acknowledged(damaged: SqliteDatabase, rows: EventTable) -> Tip:
    tips = [damaged.note(rows.stream) or GENESIS]
    with contextlib.suppress(FileDamaged):
        writer = rows.writer()
        tips.append(writer.tip if writer else GENESIS)
    return max(tips, key=lambda tip: tip.position)


def _copy_writer(damaged: SqliteDatabase, whole: SqliteDatabase, stream: str, tip: Tip) -> None:
    """Copy the stream's writer and its acknowledged tip, or the last proven tip if unreadable."""
    columns: tuple[object, ...] = (1, "unknown", 0, *tip)
    with contextlib.suppress(FileDamaged):
        columns = EventTable(damaged, stream).writer() or columns
    whole.change(whole.statements.first_claim, stream, *columns)


def _copy_checkpoint(damaged: SqliteDatabase, whole: SqliteDatabase, stream: str, tip: Tip) -> None:
    """Copy the newest checkpoint that is readable, valid, and not beyond the end."""
    with contextlib.suppress(FileDamaged):
        checkpoint = JournalReader(damaged, stream).latest_checkpoint()
        at = None if checkpoint is None else EventTable(whole, stream).tip_at(checkpoint.position)
        if checkpoint is not None and at is not None and at.position <= tip.position:
            digest = checkpoint_digest(stream, at, checkpoint.state)
            whole.change(
                whole.statements.keep_checkpoint, stream, at.position, digest, checkpoint.state
            )


def _swap(path: Path) -> Path:
    """Move the damaged file and its log aside, and the repaired file into its place."""
    names = (_beside(path, f"damaged-{number}") for number in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    for old, new in zip(_with_companions(path), _with_companions(kept), strict=True):
        with contextlib.suppress(FileNotFoundError):
            old.replace(new)
    _beside(path, "salvaged").replace(path)
    return kept


def _forget(path: Path) -> None:
    for old in _with_companions(path):
        old.unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _with_companions(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
