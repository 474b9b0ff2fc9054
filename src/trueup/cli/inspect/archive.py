"""`trueup journal archive`, `restore` and `partition`: keep a journal of years small.

All of them change the journal and lose no event. A bot may write the journal while its old events
are archived or put back; only the partitions are made while no bot runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.cli.inspect.reading import journal_of
from trueup.cli.shared.journal_place import JournalOption
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.core.dates import iso
from trueup.errors import JournalConflict, JournalError, SettingsError
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.database.database import Database
from trueup.journal.database.migrate import require_current
from trueup.journal.overview import overview
from trueup.journal.reading.table import EventTable
from trueup.journal.rows.archive_file import ArchiveFile, digest_of
from trueup.journal.writing import archiving
from trueup.observe.lines import time_of
from trueup.runtime.control.state_files import short_path
from trueup.runtime.time import moments as times
from trueup.runtime.time.clock import SystemClock

FAILED = 2


def archive(
    before: Annotated[
        str,
        typer.Option("--before", metavar="TIME|AGE", help=f"Archive what is older: {times.HELP}."),
    ],
    folder: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", help="The folder for the files.")
    ],
    stream: Annotated[
        str | None,
        typer.Option("--stream", help="Only this book of the journal; by default all of them."),
    ] = None,
    as_json: JsonOption = False,
    journal: JournalOption = None,
) -> None:
    """Move the oldest events of a journal into files.

    A bot may write the journal meanwhile. Each book gets a file. The journal keeps the end of its
    hash chain, a saved book and the file's digest, so it proves itself and starts as before. Where
    the file stays at its place, everything that reads old events still does. Exit code 0: archived,
    or there was nothing to archive. 2: the events of a book could not be archived; that book is
    unchanged.
    """
    now_ns = SystemClock().now_ns()
    before_ns = times.moment_ns(before, "--before", now_ns)
    if before_ns > now_ns:
        raise SettingsError("--before", before, "it is in the future; give a time that is over")
    folder = archiving.writable(folder)
    place = journal_of(journal)
    done, failed = list[archiving.Archived](), False
    with _to_write(place) as database:
        for name in archiving.stream_names(database, stream):
            try:
                found = _archived(database, name, before_ns, folder, now_ns)
            except JournalConflict:
                raise
            except JournalError as error:
                # The other books are archived all the same.
                say(f"{name}: {error.with_remedy}", err=True)
                failed = True
                continue
            done += [] if found is None else [found]
            if found is None and not as_json:
                say(f"{name}: nothing to archive before {time_of(iso(before_ns))}.")
            elif found is not None and not as_json:
                _say_archived(found)
    if as_json:
        print_document("journal archive", [_values(one) for one in done])
    if failed:
        raise typer.Exit(FAILED)


def restore(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The archives.")],
    journal: JournalOption = None,
) -> None:
    """Put archived events back into their journal.

    A bot may write the journal meanwhile, and the files stay. Of several files of a book, all that
    are newer are needed as well, because the events go back from the newest to the oldest. Exit
    code 0: all are back. 2: a file is damaged, of another journal, or not the newest of its book;
    its events were not put back.
    """
    place = journal_of(journal)
    with _to_write(place) as database:
        for path in sorted(files, key=_order):
            with progress(f"Putting {path.name} back") as shown:
                done = archiving.restore(database, path, shown.reach)
            say(f"{done.stream}: events {done.first} to {done.last} are in the journal again.")


def partition(journal: JournalOption = None) -> None:
    """Divide a journal in PostgreSQL into partitions.

    Journals of this release are made so; this is for one of an earlier release. Stop its bots
    first. All events are copied in one transaction, so the disk of the server needs room for them
    twice, and an interruption changes nothing. Exit code 0: the events are in partitions. 2:
    nothing was changed.
    """
    place = journal_of(journal)
    if is_file(place):
        raise JournalError(f"{place} is a file: only a journal in PostgreSQL has partitions.")
    from trueup.journal.backends.partitions import PARTITIONS, convert

    with _to_write(place) as database:
        is_new = convert(database)
        words = f"divided into {PARTITIONS} partitions" if is_new else "in partitions already"
        say(f"{database.name}: the events are {words}.")


@contextlib.contextmanager
def _to_write(place: str | Path) -> Iterator[Database]:
    """Connect to a journal that is there."""
    overview(place)
    database = database_at(place)
    database.connect()
    try:
        require_current(database)
        yield database
    finally:
        database.close()


def _archived(
    database: Database, stream: str, before_ns: int, folder: Path, now_ns: int
) -> archiving.Archived | None:
    total = EventTable(database, stream).last_position()
    with progress(f"Archiving {stream}", total) as shown:
        return archiving.archive(database, stream, before_ns, folder, now_ns, shown.reach)


def _say_archived(done: archiving.Archived) -> None:
    size = done.file.stat().st_size / 1e6
    where = f"{short_path(done.file)}, {size:.1f} MB"
    say(f"{done.stream}: events {done.first} to {done.last} are in {where}.")
    say(f"  sha256 {digest_of(done.file).hex()}")


def _values(done: archiving.Archived) -> dict[str, Any]:
    return {
        "stream": done.stream,
        "first": done.first,
        "last": done.last,
        "file": str(done.file),
        "bytes": done.file.stat().st_size,
        "sha256": digest_of(done.file).hex(),
    }


def _order(path: Path) -> tuple[str, int]:
    """Return the place of a file among others: the newest events of each stream first."""
    with ArchiveFile(path) as file:
        return file.stream, -file.start.position
