"""Appending to a journal against bare SQLite, and opening one of a million events."""

from __future__ import annotations

import itertools
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks._measure import in_turn, report
from trueup.core.book import events
from trueup.core.model import Position, Side
from trueup.journal import MemoryJournal, open_journal
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.journal.journal import GENESIS, Tip
from trueup.journal.rows.chain import chained
from trueup.journal.rows.codec import encode
from trueup.journal.writing.store import StoredJournal

STREAM = "Demo-Server-1234"
NOW_NS = 1_767_571_200_000_000_000
MILLION = 1_000_000
TAIL = 1_000


def order(number: int) -> events.OrderCreated:
    """Return an order as a strategy makes it."""
    return events.OrderCreated(
        at_ns=NOW_NS + number,
        order_id=f"19b8c3f2a10-{number}",
        symbol="EURUSD",
        side=Side.BUY,
        volume=0.01,
        price=1.10234,
    )


def adopted(number: int) -> events.PositionAdopted:
    """Return a position as a recovery takes it into the book."""
    position = Position(
        ticket=500_000_000 + number,
        identifier=500_000_000 + number,
        symbol="EURUSD",
        side=Side.BUY,
        volume=0.01,
        price_open=1.10234,
        profit=-12.34,
        time=1_767_571_200,
        time_msc=1_767_571_200_000,
        magic=20260105,
        price_current=1.10111,
    )
    return events.PositionAdopted(at_ns=NOW_NS, position=position)


def opened(path: Path) -> StoredJournal:
    """Open a journal for writing."""
    return open_journal(path, STREAM, now_ns=itertools.count(NOW_NS).__next__)


def run() -> int:
    """Measure all; return how many targets were missed."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        missed = one_intent(Path(folder)) + one_transaction(Path(folder))
        return missed + long_journal(Path(folder) / "long.db")


def bare(path: Path) -> sqlite3.Connection:
    """Return a bare SQLite connection with what a durable commit needs, and no more."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, payload BLOB)")
    return connection


def one_intent(folder: Path) -> int:
    """One event, synced, against a bare commit of the same bytes on the same disk."""
    numbers = itertools.count()
    connection = bare(folder / "bare.db")
    payload = encode(order(0)).payload

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO events (payload) VALUES (?)", (payload,))
        connection.execute("COMMIT")

    with opened(folder / "one.db") as journal:
        pair = in_turn(lambda: journal.append([order(next(numbers))]), commit, 2000)
    connection.close()
    return report("1 intent, synced", pair.ratio, 1.5, "x a bare commit", pair.times(), pair)


def one_transaction(folder: Path, count: int = 10_000) -> int:
    """A recovery of many positions in one transaction, against the journal in memory."""
    history = [adopted(n) for n in range(count)]
    with opened(folder / "many.db") as journal:
        pair = in_turn(lambda: journal.append(history), lambda: MemoryJournal().append(history), 15)
    each = pair.excess_us / count
    return report(
        f"{count:,} positions, one transaction",
        each,
        25,
        "us a position above memory",
        pair.times(),
        pair,
    )


def long_journal(path: Path) -> int:
    """Open a million events with a checkpoint near the end, and read what comes after it."""
    fill(path)
    program = (
        "from trueup.journal import open_journal\n"
        f"with open_journal({str(path)!r}, {STREAM!r}, now_ns=lambda: {NOW_NS}) as journal:\n"
        "    checkpoint = journal.latest_checkpoint()\n"
        f"    assert sum(1 for _ in journal.read(checkpoint.position)) == {TAIL}\n"
    )
    seconds, before = [], resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(7):
        subprocess.run([sys.executable, "-c", program], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds.append(spent)
        before = after
    missed = report(
        f"open {MILLION:,} events",
        statistics.median(seconds),
        0.5,
        "s of CPU",
        f"imports and the {TAIL:,} events after the checkpoint included",
    )
    mib = before.ru_maxrss / 1024
    missed += report("its memory", mib, 96, "MiB", "the process at its largest")
    with opened(path) as journal:
        began = time.process_time()
        verdict = journal.verify()
        each = (time.process_time() - began) / MILLION * 1e6
        assert verdict.sound
        assert verdict.tip.position == MILLION
    return missed + report("verify", each, 25, "us an event", "the whole chain")


def fill(
    path: Path,
    event_of: Callable[[int], events.Event] = order,
    state_of: Callable[[int], bytes] = lambda _: bytes(500_000),
) -> None:
    """Write a long journal as its writer would, in few transactions and without waiting.

    Args:
        path: the file.
        event_of: returns the event of a number from 0 on.
        state_of: returns the book after so many events, for the checkpoint.
    """
    with opened(path) as journal:
        tip = GENESIS
        database = journal._database
        assert isinstance(database, SqliteDatabase)
        database.run("PRAGMA synchronous=OFF")
        for first in range(0, MILLION, 10_000):
            rows = []
            for number in range(first, first + 10_000):
                (row,) = chained(STREAM, tip, [encode(event_of(number))])
                tip = Tip(row.position, row.hash)
                rows.append((STREAM, *row))
            with database.writing():
                database.change_many(database.statements.append, rows)
        with database.writing():
            database.run("UPDATE journal_writers SET position = 0")
            claimed = (journal.token, "benchmark", NOW_NS, *tip, STREAM)
            database.change(database.statements.claim, *claimed)
    with opened(path) as journal:
        journal.checkpoint(MILLION - TAIL, state_of(MILLION - TAIL))
