"""Incidents of the journal: locked, without room on its disk, damaged, its server away."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from trueup.errors import TrueupError
from trueup.lab.incidents.stage import AGREES, Stage

NEEDS_LINUX = "only Linux limits the files of another process"
TAKES_NOTHING = "Until the journal takes events again"
TAKES_AGAIN = "The journal takes events again"
LOSS = "loss-"
LAST_EVENTS = "SELECT payload FROM journal_events ORDER BY at_ns DESC, position DESC LIMIT 4"


def needs_linux() -> str:
    """Return why a disk cannot be filled here, or an empty text."""
    return "" if sys.platform == "linux" else NEEDS_LINUX


@contextlib.contextmanager
def journal_locked(stage: Stage) -> Iterator[None]:
    """Lock the journal as another program does, and let the bot send an order."""
    other = sqlite3.connect(stage.journal, isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN IMMEDIATE")
        stage.order("buy")
        stage.bot.wait_for(TAKES_NOTHING)
        yield
        stage.bot.mark()
        other.execute("ROLLBACK")
    stage.bot.wait_for(TAKES_AGAIN)
    stage.bot.wait_for(AGREES)


@contextlib.contextmanager
def disk_full(stage: Stage) -> Iterator[None]:
    """Let no file of the bot grow any more, and let the bot send an order."""
    if sys.platform != "linux":
        raise TrueupError(NEEDS_LINUX)
    import resource

    log = stage.journal.with_name(f"{stage.journal.name}-wal")
    _, most = resource.prlimit(stage.bot.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stage.bot.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, most))
    stage.order("buy")
    stage.bot.wait_for(TAKES_NOTHING)
    yield
    stage.bot.mark()
    resource.prlimit(stage.bot.pid, resource.RLIMIT_FSIZE, (most, most))
    stage.bot.wait_for(TAKES_AGAIN)
    stage.bot.wait_for(AGREES)


@contextlib.contextmanager
def journal_damaged(stage: Stage) -> Iterator[None]:
    """Kill the bot, damage its journal on the disk, and start the bot again."""
    stage.bot.mark()
    # Its events come after the newest saved book, so that the next start has to read them.
    stage.order("buy")
    stage.bot.wait_for("[DEALS]")
    stage.bot.kill()
    _damage(stage.journal)
    stage.start_bot().wait()
    yield
    stage.trueup("journal", "mend", "--yes", must_work=True)
    stage.start_bot()
    stage.bot.wait_for(LOSS)
    name = LOSS + stage.bot.text().partition(LOSS)[2][:8]
    stage.trueup("approve", name, "--yes", must_work=True)
    stage.wait_until_agreed()


@contextlib.contextmanager
def database_down(stage: Stage) -> Iterator[None]:
    """Cut the bot off from its database, and let the bot send an order."""
    way = stage.way
    if way is None:
        raise TrueupError("The journal of this stage is a file.")
    way.close()
    stage.order("buy")
    stage.bot.wait_for(TAKES_NOTHING)
    yield
    stage.bot.mark()
    way.open()
    stage.bot.wait_for(TAKES_AGAIN)
    stage.bot.wait_for(AGREES)


def _damage(path: Path) -> None:
    """Change a byte of the event three before the last, as a bad disk may."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # The log first: afterwards all rows are in the file itself.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        rows = connection.execute(LAST_EVENTS).fetchall()
    payload = bytes(rows[-1][0])
    begin = path.read_bytes().index(payload)
    with path.open("r+b") as file:
        file.seek(begin + len(payload) // 2)
        file.write(b"?")
