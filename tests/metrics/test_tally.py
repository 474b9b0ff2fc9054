"""The counters of a book, from its events."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.every_event import EVERY
from tests.support.make import position
from trueup.core.book import events
from trueup.core.explain import Exit
from trueup.doors.metrics import table
from trueup.doors.metrics.counting import Counting, journal_name
from trueup.doors.metrics.tally import Tally
from trueup.errors import JournalError
from trueup.journal import Record, open_journal

SEC = 1_000_000_000
SENT: list[events.Event] = [
    events.SendStarted(at_ns=10 * SEC, order_id="A"),
    events.OrderApplied(at_ns=10 * SEC + SEC // 5, order_id="A", ticket=9),
]


def tally_of(history: Sequence[events.Event]) -> Tally:
    tally = Tally()
    for number, event in enumerate(history, start=1):
        tally.take(Record(number, event.at_ns, type(event).__name__, event, b""))
    return tally


def ended(reason: str) -> events.PositionClosed:
    close = Exit(
        reason=reason,
        price=1.1,
        volume=0.1,
        profit=0.0,
        swap=0.0,
        commission=0.0,
        fee=0.0,
        time_msc=1,
        deals=(1,),
    )
    return events.PositionClosed(at_ns=1, position=position(5), because="", ended=close)


def test_every_event_is_counted_by_its_kind_and_with_labels_of_the_table() -> None:
    tally = tally_of(EVERY)
    kinds = {type(event).__name__ for event in EVERY}
    counted = {value for name, value in tally.counts if name == table.EVENTS.name}
    assert counted == kinds
    metrics = {metric.name: metric for metric in table.COUNTED}
    for name, value in tally.counts:
        metric = metrics[name]
        assert not metric.values or value in metric.values, (name, value)


def test_each_order_that_ended_is_counted_once_by_its_outcome() -> None:
    given_up = events.OrderCanceled(at_ns=1, order_id="X", because="", unproven=True)
    tally = tally_of([*EVERY, given_up])
    got = {value: n for (name, value), n in tally.counts.items() if name == table.ORDERS.name}
    assert got == {"filled": 2, "applied": 1, "refused": 1, "canceled": 1, "given_up": 1}
    assert tally.counts[table.DOUBTS.name, ""] == 1


def test_corrections_are_counted_by_what_was_corrected() -> None:
    tally = tally_of(EVERY)
    got = {value: n for (name, value), n in tally.counts.items() if name == table.CORRECTED.name}
    assert got == dict.fromkeys(table.CORRECTIONS, 1)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ended("by its stop loss"), "stop_loss"),
        (ended("by hand in the terminal"), "client"),
        (ended("by a program (the comment says by its stop loss)"), "expert"),
        (ended("by an opposite position"), "opposite_position"),
        (ended("by a reversal by a program"), "reversal"),
        (ended("by a reason of a later release"), "other"),
        (
            events.PositionClosed(at_ns=1, position=position(5), because="", unproven=True),
            "unproven",
        ),
    ],
)
def test_a_closure_has_one_of_a_few_reasons(event: events.Event, reason: str) -> None:
    tally = tally_of([event])
    assert tally.counts[table.CLOSED.name, reason] == 1
    assert reason in table.CLOSURES


def test_the_time_of_an_order_and_the_time_in_doubt_are_apart() -> None:
    tally = tally_of(
        [
            *SENT,
            events.SendStarted(at_ns=20 * SEC, order_id="B"),
            events.OrderInDoubt(at_ns=22 * SEC, order_id="B", error="no reply"),
            events.OrderCanceled(at_ns=92 * SEC, order_id="B", because="case F"),
        ]
    )
    assert tally.order_times.counts == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert tally.order_times.sum_sec == pytest.approx(0.2)
    assert tally.doubt_times.counts == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert tally.doubt_times.sum_sec == pytest.approx(70)


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    back = [SENT[0], events.OrderApplied(at_ns=1, order_id="A")]
    assert tally_of(back).order_times.sum_sec == 0


def write(path: Path, history: Sequence[events.Event], stream: str = "EURUSD") -> None:
    with open_journal(path, stream, now_ns=lambda: 1) as journal:
        journal.append(history)


def drift(number: int) -> events.Event:
    return events.PositionCorrected(
        at_ns=number, local=position(5), remote=position(5, volume=0.02), fields=("volume",)
    )


def drifts(counting: Counting, path: Path, stream: str = "EURUSD") -> int:
    key = (journal_name(path), stream)
    counting.read([path], [key])
    return counting.books[key].counts[table.CORRECTED.name, "drift"]


def test_a_journal_is_read_once_and_then_only_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bot.db"
    write(path, [drift(number) for number in range(500)])
    counting = Counting()
    assert drifts(counting, path) == 500
    taken: list[Record] = []
    take = Tally.take

    def noted(tally: Tally, record: Record) -> None:
        taken.append(record)
        take(tally, record)

    monkeypatch.setattr(Tally, "take", noted)
    assert drifts(counting, path) == 500
    assert taken == []
    write(path, [drift(501), drift(502)])
    assert drifts(counting, path) == 502
    assert [one.position for one in taken] == [501, 502]
    # Another process that begins with the first event comes to the same.
    assert drifts(Counting(), path) == 502


def test_the_counters_of_a_long_journal_are_shown_once_all_of_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bot.db"
    write(path, [drift(number) for number in range(5_000)])
    counting, key = Counting(), (journal_name(path), "EURUSD")
    seen: list[tuple[int, int]] = []
    take = Tally.take

    def noted(tally: Tally, record: Record) -> None:
        seen.append((len(counting.books), counting.unread[key]))
        take(tally, record)

    monkeypatch.setattr(Tally, "take", noted)
    assert drifts(counting, path) == 5_000
    assert {shown for shown, _ in seen} == {0}
    assert {left for _, left in seen} == {5_000, 3_000, 1_000}
    assert counting.unread[key] == 0


def test_a_first_pass_that_broke_off_shows_nothing_until_the_next_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bot.db"
    write(path, [drift(number) for number in range(10)])
    counting, key = Counting(), (journal_name(path), "EURUSD")
    take = Tally.take

    def lost(tally: Tally, record: Record) -> None:
        if record.position == 5:
            raise JournalError("the connection was lost")
        take(tally, record)

    monkeypatch.setattr(Tally, "take", lost)
    counting.read([path], [key])
    assert [one.trouble for one in counting.journals] == ["the connection was lost"]
    assert counting.books == {}
    monkeypatch.undo()
    assert drifts(counting, path) == 10


def test_a_journal_that_was_restored_or_replaced_is_counted_anew(tmp_path: Path) -> None:
    path, backup = tmp_path / "bot.db", tmp_path / "backup.db"
    write(path, [drift(1)])
    write(backup, [drift(1)])
    write(path, [drift(2), drift(3)])
    counting = Counting()
    assert drifts(counting, path) == 3
    for file in tmp_path.glob("bot.db*"):
        file.unlink()
    backup.rename(path)
    assert drifts(counting, path) == 1
    # As long as before, and another history.
    write(path, [drift(7), drift(8), drift(9)])
    other = Counting()
    assert drifts(other, path) == 4
    for file in tmp_path.glob("bot.db*"):
        file.unlink()
    write(path, [SENT[0], drift(1), drift(2), drift(3), drift(4)])
    assert drifts(other, path) == 4


def test_a_journal_that_is_away_is_named_and_what_was_counted_stays(tmp_path: Path) -> None:
    path, away = tmp_path / "bot.db", tmp_path / "away.db"
    write(path, [drift(1)])
    counting = Counting()
    assert drifts(counting, path) == 1
    assert [one.trouble for one in counting.journals] == [""]
    path.rename(away)
    assert drifts(counting, path) == 1
    (journal,) = counting.journals
    assert "bot.db" in journal.trouble
    away.rename(path)
    write(path, [drift(2)])
    assert drifts(counting, path) == 2
    assert [one.trouble for one in counting.journals] == [""]


def test_a_book_that_is_shown_no_more_is_forgotten_and_of_two_books_each_is_counted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bot.db"
    write(path, [drift(1)])
    write(path, [drift(1), drift(2)], "GBPUSD")
    counting = Counting()
    keys = [(journal_name(path), name) for name in ("EURUSD", "GBPUSD")]
    # One file by two paths is one journal.
    counting.read([path, tmp_path / "." / "bot.db"], keys)
    counts = [counting.books[key].counts[table.CORRECTED.name, "drift"] for key in keys]
    assert counts == [1, 2]
    assert len(counting.journals) == 1
    assert set(counting.unread.values()) == {0}
    counting.read([path], keys[1:])
    assert list(counting.books) == keys[1:]


def test_a_damaged_book_keeps_no_other_of_its_journal_from_being_counted(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    write(path, [drift(1)], "A")
    write(path, [drift(2)], "A")
    write(path, [drift(1)], "B")
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        changed = "UPDATE journal_events SET at_ns = 9 WHERE stream = 'A' AND position = 1"
        database.execute(changed)
    counting = Counting()
    keys = [(journal_name(path), name) for name in ("A", "B")]
    counting.read([path], keys)
    assert list(counting.books) == keys[1:]
    (journal,) = counting.journals
    assert "bot.db" in journal.trouble


def test_a_damaged_journal_is_not_readable(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    path.write_bytes(b"no database at all, and long enough to look at" * 100)
    counting = Counting()
    counting.read([path], [(journal_name(path), "EURUSD")])
    (journal,) = counting.journals
    assert journal.trouble
    assert counting.books == {}
