"""Rows that were altered, left out, moved or torn: found, named, and recovered from if last."""

from __future__ import annotations

import logging

import pytest

from tests.journal.places import NOW_NS, STREAM, Place, PostgresPlace, SqlitePlace, order, orders
from trueup.errors import JournalCorrupt, JournalError
from trueup.journal import Checkpoint
from trueup.journal.backends.location import database_at
from trueup.journal.journal import GENESIS
from trueup.journal.reading import table
from trueup.journal.rows import codec
from trueup.journal.rows.chain import chained
from trueup.journal.rows.codec import Encoded

# What somebody with the password might write into a row, by column.
ALTERED = {
    "position": "position + 100",
    "batch": "batch + 1",
    "at_ns": "at_ns + 1",
    "kind": "'OrderFilled'",
    "payload": "payload || payload",
    "intent_id": "'intent'",
    "hash": "(SELECT hash FROM journal_events WHERE position = 2)",
}


def fill(place: Place) -> None:
    """Transactions of one, two and three events: positions 1, 2-3 and 4-6."""
    with place.open() as journal:
        journal.append(orders(1))
        journal.append(orders(2, 3))
        journal.append(orders(4, 5, 6))


def alter(place: Place, position: int, column: str) -> None:
    place.sql(
        f"UPDATE journal_events SET {column} = {ALTERED[column]} WHERE position = ?", position
    )


@pytest.mark.parametrize("column", ALTERED)
@pytest.mark.parametrize("position", [4, 5, 6])
def test_last_transaction_when_altered_is_set_aside_and_the_journal_goes_on(
    sqlite_place: SqlitePlace, column: str, position: int
) -> None:
    fill(sqlite_place)
    alter(sqlite_place, position, column)
    if (position, column) == (4, "batch"):
        # It might be a transaction of its own, which another one followed.
        with pytest.raises(JournalCorrupt):
            sqlite_place.open()
        return
    with sqlite_place.reader() as reader:
        assert list(reader.read()) == orders(1, 2, 3)
        assert not reader.verify().sound
    with sqlite_place.open() as journal:
        assert f"position {position} " in journal.findings[0]
        assert "position 6 was acknowledged" in journal.findings[1]
        assert journal.position == 3
        assert journal.append(orders(7)) == 4
        assert list(journal.read()) == orders(1, 2, 3, 7)
        assert journal.verify().sound
    found = "SELECT count(*), min(found_ns), max(found_ns) FROM journal_torn"
    assert sqlite_place.sql(found) == [(3, NOW_NS, NOW_NS)]


def test_last_transaction_when_half_there_is_never_seen(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    fill(place)
    place.sql("DELETE FROM journal_events WHERE position = 6")
    with caplog.at_level(logging.WARNING), place.reader() as reader:
        assert list(reader.read()) == orders(1, 2, 3)
        assert reader.position == 3
        assert list(reader.read(since_ns=0)) == orders(1, 2, 3)
        (missing, *_) = reader.verify().faults
        assert missing.position == 6
    name = database_at(place.url).name
    assert {(one.__dict__["event"], one.getMessage()) for one in caplog.records} == {
        (
            "journal.torn",
            f"[JOURNAL] {name}: the event at position 6 is missing: its transaction is not whole; "
            "reading ends before its transaction",
        )
    }
    caplog.clear()
    with caplog.at_level(logging.WARNING), place.open() as journal:
        assert [(one.__dict__["event"], one.getMessage()) for one in caplog.records] == [
            ("journal.mended", f"[JOURNAL] {finding}") for finding in journal.findings
        ]
        assert journal.position == 3
        assert "set aside" in journal.findings[0]
        assert journal.findings[1].endswith(
            "ends at position 3, but position 6 was acknowledged: the events in between are lost."
        )
    with place.open() as again:
        assert again.findings == ()
        assert again.verify().sound


def test_last_transactions_when_gone_are_reported(place: Place) -> None:
    fill(place)
    place.sql("DELETE FROM journal_events WHERE position > 1")
    with place.reader() as reader:
        (lost,) = reader.verify().faults
        assert lost == (2, "the events at positions 2 to 6 were acknowledged and are gone", True)
    with place.open() as journal:
        assert "the events in between are lost" in journal.findings[0]
        assert journal.lost == (
            "The journal ends at position 1, and position 6 was acknowledged: an older copy of it "
            "was put back, or its disk lost the end"
        )
        assert journal.append(orders(7)) == 2
        assert journal.verify().sound


@pytest.mark.parametrize("column", sorted(set(ALTERED) - {"position"}))
def test_earlier_row_when_altered_is_named(place: Place, column: str) -> None:
    fill(place)
    alter(place, 3, column)
    with place.reader() as reader:
        (altered, *_) = reader.verify().faults
        assert altered[:2] == (3, "the event at position 3 was altered")
        assert reader.verify().tip.position == 1
        reading = reader.read()
        assert next(reading) == order(1)
        with pytest.raises(JournalCorrupt, match="position 3 was altered"):
            next(reading)


def test_earlier_row_when_altered_is_not_mended(place: Place) -> None:
    fill(place)
    alter(place, 2, "payload")
    with place.reader() as reader:
        # The end is that of the last transaction; what is before it is proven when it is read.
        assert reader.position == 6
    with place.open() as journal:
        assert journal.findings == ()
        with pytest.raises(JournalCorrupt, match="position 2 was altered"):
            list(journal.read())
    alter(place, 6, "kind")
    with pytest.raises(JournalCorrupt, match="position 2 was altered"):
        place.open()


def test_earlier_row_when_missing_is_named(place: Place) -> None:
    fill(place)
    place.sql("DELETE FROM journal_events WHERE position = 2")
    with place.reader() as reader:
        assert reader.verify().faults[0][:2] == (2, "the event at position 2 is missing")
        with pytest.raises(JournalCorrupt, match="position 2 is missing"):
            list(reader.read())


def test_rows_of_a_whole_page_when_missing_are_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "PAGE", 2)
    fill(place)
    place.sql("DELETE FROM journal_events WHERE position BETWEEN 2 AND 5")
    with place.reader() as reader:
        assert reader.verify().faults[0][:2] == (2, "the event at position 2 is missing")


def test_rows_when_exchanged_are_named(place: Place) -> None:
    fill(place)
    for old, new in ((2, 99), (3, 2), (99, 3)):
        place.sql(
            "UPDATE journal_events SET position = ?, batch = batch + 99 WHERE position = ?",
            new,
            old,
        )
    with place.reader() as reader:
        assert reader.verify().faults[0].position == 2


def test_row_whose_position_is_no_number_is_refused(sqlite_place: SqlitePlace) -> None:
    """SQLite lets a column hold any type."""
    fill(sqlite_place)
    sqlite_place.sql("UPDATE journal_events SET position = 'six' WHERE position = 6")
    said = rf"^A row of .*{sqlite_place.path.name} has position 'six'\.$"
    with sqlite_place.reader() as reader, pytest.raises(JournalCorrupt, match=said):
        assert reader.position
    with pytest.raises(JournalCorrupt, match=said):
        sqlite_place.open()


def test_row_of_another_stream_is_no_row_of_ours(place: Place) -> None:
    fill(place)
    with place.open("other") as other:
        other.append(orders(1))
    place.sql("UPDATE journal_events SET stream = 'third' WHERE stream = ?", STREAM)
    place.sql("UPDATE journal_events SET stream = ? WHERE stream = 'other'", STREAM)
    with place.reader() as reader:
        assert reader.verify().faults[0][:2] == (1, "the event at position 1 was altered")


def rewrite(place: Place, *numbers: int) -> bytes:
    """Write history again as somebody who knows how the chain is made; return its end."""
    rows = chained(STREAM, GENESIS, [codec.encode(order(number)) for number in numbers])
    place.sql("DELETE FROM journal_events")
    for row in rows:
        place.sql("INSERT INTO journal_events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", STREAM, *row)
    return rows[-1].hash


def test_history_when_written_again_is_refused(place: Place) -> None:
    fill(place)
    rewrite(place, 11, 12, 13, 14, 15, 16)
    with place.reader() as reader:
        (rewritten,) = reader.verify().faults
        assert rewritten == (6, "the event at position 6 is not the one acknowledged", False)
    with pytest.raises(JournalCorrupt, match="is not the one that was written here"):
        place.open()


def test_history_when_written_again_with_its_tip_still_shows_beside_sqlite(
    sqlite_place: SqlitePlace,
) -> None:
    fill(sqlite_place)
    tip = rewrite(sqlite_place, 11, 12, 13, 14, 15, 16)
    sqlite_place.sql("UPDATE journal_writers SET hash = ?", tip)
    with sqlite_place.reader() as reader:
        assert not reader.verify().sound
    with pytest.raises(JournalCorrupt) as refused:
        sqlite_place.open()
    assert str(refused.value) == (
        f"Stream {STREAM!r} of {sqlite_place.path} is not the one that was written here: the event "
        "at position 6 is another. If you put it there, remove the *.lock files beside it."
    )


def test_history_when_written_again_with_its_tip_shows_only_beside_a_kept_one(
    postgres_place: PostgresPlace,
) -> None:
    """What cannot be detected, said by a test: it takes a tip that was kept elsewhere."""
    fill(postgres_place)
    with postgres_place.reader() as reader:
        kept = reader.verify().tip
    tip = rewrite(postgres_place, 11, 12, 13, 14, 15, 16)
    postgres_place.sql("UPDATE journal_writers SET hash = ?", tip)
    with postgres_place.reader() as reader:
        assert reader.verify().sound
        assert reader.verify().tip != kept


def test_event_of_a_newer_release_is_refused_by_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place)
    monkeypatch.delitem(codec.DECODERS, "OrderCreated")
    with place.reader() as reader:
        with pytest.raises(JournalError) as refused:
            list(reader.read(1))
        assert str(refused.value) == (
            "The event at position 2 is a OrderCreated, which this release of trueup does not know:"
            " a newer one wrote it. Use that one."
        )
        assert reader.verify().sound


def test_event_that_is_none_of_its_kind_is_named_by_its_position(place: Place) -> None:
    """A chain that is whole, of a program that wrote something else into it."""
    fill(place)
    (row,) = chained(STREAM, GENESIS, [Encoded(1, "OrderCreated", b'{"volume":"much"}', None)])
    place.sql("DELETE FROM journal_events")
    place.sql("INSERT INTO journal_events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", STREAM, *row)
    with place.reader() as reader, pytest.raises(JournalCorrupt) as refused:
        list(reader.read())
    said = "The event at position 1 does not decode as a OrderCreated: "
    assert str(refused.value).startswith(said)


# Checkpoints.


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE journal_checkpoints SET state = digest WHERE position = 6",
        "UPDATE journal_checkpoints SET digest = state WHERE position = 6",
        "UPDATE journal_checkpoints SET position = 5 WHERE position = 6",
        "UPDATE journal_checkpoints SET position = 60 WHERE position = 6",
    ],
)
def test_checkpoint_when_damaged_gives_way_to_the_one_before(
    place: Place, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(place)
    with place.open() as journal:
        journal.checkpoint(3, b"three")
        journal.checkpoint(6, b"six")
        place.sql(damage)
        with caplog.at_level(logging.WARNING):
            assert journal.latest_checkpoint() == Checkpoint(3, b"three")
        (damaged,) = caplog.records
        position = 60 if "60" in damage else 5 if "position = 5" in damage else 6
        assert damaged.getMessage() == (
            f"[JOURNAL] The checkpoint at position {position} is damaged: an earlier one, or the "
            "events themselves, will do"
        )
        told = damaged.__dict__
        assert (told["event"], told["position"]) == ("journal.checkpoint_damaged", position)
        assert journal.verify().faults == (
            (position, f"the checkpoint at position {position} is damaged", False),
        )
        place.sql("UPDATE journal_checkpoints SET state = digest WHERE position = 3")
        assert journal.latest_checkpoint() is None


def test_checkpoints_beyond_the_newest_three_are_dropped(place: Place) -> None:
    fill(place)
    with place.open() as journal:
        for position in (1, 2, 3, 5, 6, 4):
            journal.checkpoint(position, b"state")
    kept = place.sql("SELECT position FROM journal_checkpoints ORDER BY position")
    assert kept == [(4,), (5,), (6,)]


def test_checkpoint_after_the_end_of_a_cut_journal_is_not_used(place: Place) -> None:
    fill(place)
    with place.open() as journal:
        journal.checkpoint(1, b"one")
        journal.checkpoint(6, b"six")
    place.sql("DELETE FROM journal_events WHERE position > 3")
    with place.open() as journal:
        assert journal.latest_checkpoint() == Checkpoint(1, b"one")
        journal.append(orders(11, 12, 13))
        assert journal.latest_checkpoint() == Checkpoint(1, b"one")
