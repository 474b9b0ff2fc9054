"""The crash harness: a short run of it, and that its judge and its hurts are what they say."""

from __future__ import annotations

import contextlib
import errno
import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.harness import run, table
from tests.crash.hurts import lose_tail, set_clock
from tests.support.crash_world import BotProcess, Step, Terminal, environment
from tests.support.hurt import NotedConnection, ShiftedClock, can_fail_syncs
from tests.support.ledger import Report, judge

EVENTS, MANY_EVENTS = 10, 300


def test_a_few_random_hurts_lose_double_and_differ_nothing(tmp_path: Path) -> None:
    harness = run(tmp_path, EVENTS, seed=20260105)
    assert harness.faults == []
    assert harness.count.total() == EVENTS
    assert "book equals the broker's     yes" in table(harness)


@pytest.mark.soak
@pytest.mark.parametrize("account", ["hedging", "netting"])
def test_hundreds_of_random_hurts_lose_double_and_differ_nothing(
    account: str, tmp_path: Path
) -> None:
    assert run(tmp_path, MANY_EVENTS, seed=7, account=account).faults == []


# The judge.


Traded = tuple[Terminal, Report]


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traded]:
    """A bot has done two orders, and agrees with the broker."""
    buy: Step = {"do": "submit", "side": "buy", "volume": 0.02}
    steps = [{"do": "settle"}, {**buy, "key": "one"}, {**buy, "key": "two"}, {"do": "settle"}]
    with Terminal(tmp_path_factory.mktemp("traded")) as terminal:
        bot = BotProcess(terminal, [*steps, {"do": "report"}])
        report = bot.hear("report")
        assert bot.end() == 0
        assert judge(terminal, report).faults == []
        yield terminal, report


@pytest.fixture
def spoilt(traded: Traded, tmp_path: Path) -> Iterator[tuple[Terminal, Report, Path]]:
    """The same, with a journal and a report that a test may spoil."""
    terminal, report = traded
    folder, terminal.folder = terminal.folder, tmp_path
    shutil.copy(folder / "bot.db", tmp_path / "bot.db")
    yield terminal, json.loads(json.dumps(report)), tmp_path / "bot.db"
    terminal.folder = folder


def test_an_order_that_the_journal_lacks_is_lost(spoilt: tuple[Terminal, Report, Path]) -> None:
    terminal, report, journal = spoilt
    _edit_intents(journal, lambda intent: None if intent["key"] == "one" else intent)
    (lost,) = judge(terminal, report).lost
    assert "the journal lacks order" in lost


def test_an_order_that_was_executed_and_is_canceled_in_the_book_is_lost(
    spoilt: tuple[Terminal, Report, Path],
) -> None:
    terminal, report, _ = spoilt
    report["orders"]["one"][0] = "CANCELED"
    (lost,) = judge(terminal, report).lost
    assert "is CANCELED, and was executed" in lost


def test_a_key_that_was_executed_twice_is_doubled(spoilt: tuple[Terminal, Report, Path]) -> None:
    terminal, report, journal = spoilt
    _edit_intents(journal, lambda intent: {**intent, "key": "one"})
    assert judge(terminal, report).doubled == ("key one was executed 2 times",)


def test_an_order_in_doubt_is_neither_lost_nor_forgotten(
    spoilt: tuple[Terminal, Report, Path],
) -> None:
    terminal, report, _ = spoilt
    report["orders"]["one"][0] = "IN_DOUBT"
    judged = judge(terminal, report)
    assert len(judged.in_doubt) == 1
    assert not judged.lost


def test_a_book_that_lacks_a_position_differs(spoilt: tuple[Terminal, Report, Path]) -> None:
    terminal, report, _ = spoilt
    report["positions"].pop()
    (differs,) = judge(terminal, report).differs
    assert differs.startswith("positions: ")


def _edit_intents(journal: Path, edit: Any) -> None:
    with sqlite3.connect(journal) as db:
        rows = db.execute(
            "SELECT position, payload FROM journal_events WHERE kind = 'OrderCreated'"
        ).fetchall()
        for position, payload in rows:
            intent = edit(json.loads(payload))
            kind = "OrderCreated" if intent else "Gone"
            db.execute(
                "UPDATE journal_events SET kind = ?, payload = ? WHERE position = ?",
                (kind, json.dumps(intent).encode(), position),
            )
    db.close()


# The hurts.


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [("FULL", "FULL", [1, 2]), ("FULL", "NORMAL", [1]), ("NORMAL", "OFF", None)],
)
def test_power_takes_what_was_not_acknowledged_and_nothing_else(
    first: str, second: str, kept: list[int] | None, seed: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(NotedConnection, "folder", tmp_path, raising=False)
    live, dead = tmp_path / "live", tmp_path / "dead"
    live.mkdir()
    db = sqlite3.connect(live / "a.db", isolation_level=None, factory=NotedConnection)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={first}")
    db.execute("CREATE TABLE facts (number INTEGER)")
    db.execute("INSERT INTO facts VALUES (1)")
    db.execute(f"PRAGMA synchronous={second}")
    db.execute("INSERT INTO facts VALUES (2)")
    # Nobody has acknowledged this one: it is in the log as the process dies.
    other = sqlite3.connect(live / "a.db", isolation_level=None)
    other.execute("INSERT INTO facts VALUES (3)")

    shutil.copytree(live, dead)
    (dead / "a.db-shm").unlink()
    lose_tail(dead / "a.db", random.Random(seed), tmp_path)
    other.close()
    db.close()
    assert _facts(dead / "a.db") in (kept, [1, 2, 3])


def _facts(database: Path) -> list[int] | None:
    """What a database has, or None without a table."""
    with contextlib.closing(sqlite3.connect(database)) as after:
        if not after.execute("SELECT name FROM sqlite_master").fetchall():
            return None
        return [number for (number,) in after.execute("SELECT number FROM facts")]


def test_a_clock_that_is_set_is_off_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShiftedClock, "file", tmp_path / "bot.clock")
    clock = ShiftedClock()
    before_ns, aged_ns = clock.now_ns(), clock.age_ns()
    set_clock(tmp_path, "bot", -3_600)
    assert -3_601e9 < clock.now_ns() - before_ns < -3_500e9
    assert 0 <= clock.age_ns() - aged_ns < 60e9


@pytest.mark.skipif(not can_fail_syncs(), reason="only Linux makes the syncs of a process fail")
def test_a_sync_fails_from_the_signal_on(tmp_path: Path) -> None:
    program = """
import os, signal
from tests.support.hurt import allow_hurts
allow_hurts("bot")
file = os.open("file", os.O_CREAT | os.O_WRONLY)
os.fsync(file)
os.kill(os.getpid(), signal.SIGUSR1)
for sync in (os.fsync, os.fdatasync):
    try:
        sync(file)
    except OSError as error:
        print(error.errno)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(tmp_path, tmp_path),
        capture_output=True,
        check=True,
    )
    assert done.stdout.split() == [str(errno.EIO).encode()] * 2
