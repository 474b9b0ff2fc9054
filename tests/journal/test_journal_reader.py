"""Readers: while the writer lives and when it is gone, one stream or another, all or a part."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journal.places import NOW_NS, STREAM, Place, PostgresPlace, SqlitePlace, orders
from trueup.core.book.events import StreamClosed
from trueup.errors import JournalError
from trueup.journal import Checkpoint
from trueup.journal.backends.location import database_at
from trueup.journal.journal import GENESIS
from trueup.journal.overview import Overview, overview, size_on_disk
from trueup.journal.reading import table
from trueup.journal.writing.archiving import archive


def test_reader_sees_what_is_appended_while_it_is_open(place: Place) -> None:
    with place.open(holder="trend.py") as journal:
        journal.append(orders(1))
        with place.reader() as reader:
            assert list(reader.read()) == orders(1)
            journal.append(orders(2, 3))
            assert list(reader.read(1)) == orders(2, 3)
            assert reader.position == 3
            assert reader.verify().sound
            assert reader.holder.startswith("trend.py (process ")
            journal.checkpoint(2, b"state")
            assert reader.latest_checkpoint() == Checkpoint(2, b"state")


def test_reader_reads_while_the_writer_is_dead(place: Place) -> None:
    with place.writer_process() as writer:
        writer.ask("append 3")
        writer.kill()
    with place.reader() as reader:
        assert reader.position == 3
        assert len(list(reader.read())) == 3
        assert reader.verify().sound


def test_reader_that_is_in_the_middle_does_not_hold_up_the_writer(place: Place) -> None:
    with place.open() as journal, place.reader() as reader:
        journal.append(orders(1, 2))
        reading = reader.records()
        next(reading)
        assert journal.append(orders(3)) == 3
        assert len(list(reading)) == 1


def test_reader_pages_through_more_than_it_holds_in_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "PAGE", 3)
    with place.open() as journal, place.reader() as reader:
        for first in range(1, 20, 2):
            journal.append(orders(first, first + 1))
        assert list(reader.read()) == orders(*range(1, 21))
        assert list(reader.read(6)) == orders(*range(7, 21))
        assert list(reader.read(7, since_ns=NOW_NS + 9, until_ns=NOW_NS + 15)) == orders(
            *range(9, 15)
        )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"since_ns": NOW_NS + 2}, [2, 3, 4]),
        ({"until_ns": NOW_NS + 3}, [1, 2]),
        ({"since_ns": NOW_NS + 2, "until_ns": NOW_NS + 4}, [2, 3]),
        ({"since_ns": NOW_NS + 9}, []),
        ({"kinds": {"OrderCreated"}}, [1, 2, 3, 4]),
        ({"kinds": {"OrderFilled"}}, []),
        ({"kinds": (), "since_ns": 0}, []),
        ({"after": 2, "since_ns": NOW_NS}, [3, 4]),
    ],
)
def test_reader_filters_by_time_and_kind(
    place: Place, options: dict[str, object], expected: list[int]
) -> None:
    with place.open() as journal:
        journal.append(orders(1, 2))
        journal.append(orders(3, 4))
    with place.reader() as reader:
        assert list(reader.read(**options)) == orders(*expected)  # type: ignore[arg-type]


def test_reader_without_a_name_takes_the_only_stream(place: Place) -> None:
    place.open().close()
    with place.reader(None) as reader:
        assert reader.stream == STREAM
    place.open("other").close()
    with pytest.raises(JournalError, match=r"^Say which stream of .*'account-1234', 'other'"):
        place.reader(None)


def test_reader_of_a_stream_that_is_not_there_is_told_which_are(place: Place) -> None:
    name = database_at(place.url).name
    with pytest.raises(JournalError) as refused:
        place.reader()
    assert str(refused.value) == (
        f"There is no stream 'account-1234' of {name} to read: it has none yet."
    )
    place.open().close()
    with pytest.raises(JournalError) as refused:
        place.reader("other")
    assert str(refused.value) == (
        f"There is no stream 'other' of {name} to read: it has 'account-1234'."
    )


def test_hash_of_an_event_is_that_of_its_row_and_of_no_event_is_none(place: Place) -> None:
    with place.open() as journal:
        journal.append(orders(1, 2))
        hashes = [record.hash for record in journal.records()]
    with place.reader() as reader:
        assert [reader.hash_at(position) for position in (0, 1, 2, 3)] == [
            GENESIS.hash,
            *hashes,
            None,
        ]


def test_hash_before_the_first_event_is_the_same_of_an_archived_journal(
    place: Place, tmp_path: Path
) -> None:
    with place.open() as journal:
        for number in range(1, 5):
            journal.append(orders(number))
        hashes = [record.hash for record in journal.records()]
    database = database_at(place.url)
    database.connect()
    done = archive(database, STREAM, NOW_NS + 4, tmp_path, 2 * NOW_NS)
    database.close()
    assert done is not None
    assert (done.first, done.last) == (1, 2)
    with place.reader() as reader:
        # Of what was archived, the table has the hash of the last event alone.
        assert [reader.hash_at(position) for position in range(5)] == [
            GENESIS.hash,
            None,
            *hashes[1:],
        ]


def test_overview_has_each_stream_with_its_writer_and_the_newest_that_has_not_ended(
    place: Place,
) -> None:
    with place.open("b", holder="b.py") as journal:
        journal.append(orders(1, 2))
    with (
        place.open("a", holder="a.py", now_ns=lambda: NOW_NS + 5) as journal,
        place.open("c", holder="c.py", now_ns=lambda: NOW_NS + 9) as ended,
    ):
        ended.append([StreamClosed(at_ns=NOW_NS, by="a")])
        seen = overview(place.url)
        # Also what is still in the log counts.
        parts = [Path(place.url), Path(f"{place.url}-wal")]
        assert seen.size == (
            sum(part.stat().st_size for part in parts) if parts[0].exists() else None
        )
        holder = journal.holder.removeprefix("a.py")
    assert seen.name == database_at(place.url).name
    assert seen.streams == (
        ("a", 0, f"a.py{holder}", NOW_NS + 5, "", 0, 0),
        ("b", 2, f"b.py{holder}", NOW_NS, "", 0, 0),
        ("c", 1, f"c.py{holder}", NOW_NS + 9, "a", 0, 0),
    )
    assert seen.newest == seen.streams[0]
    assert Overview("empty", (), None).newest is None


def test_overview_of_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="There is no journal"):
        overview(tmp_path / "bot.db")
    assert size_on_disk(tmp_path / "bot.db") == 0


def test_sqlite_reader_changes_nothing(sqlite_place: SqlitePlace) -> None:
    with sqlite_place.open() as journal:
        journal.append(orders(1))
    before = sqlite_place.path.read_bytes()
    with sqlite_place.reader() as reader:
        list(reader.read())
        with pytest.raises(JournalError, match="cannot be written"):
            reader._database.run("DELETE FROM journal_events")
    assert sqlite_place.path.read_bytes() == before


def test_postgres_reader_may_have_no_right_to_write(postgres_place: PostgresPlace) -> None:
    with postgres_place.open() as journal:
        journal.append(orders(1))
    postgres_place.sql("DROP ROLE IF EXISTS auditor")
    postgres_place.sql("CREATE ROLE auditor LOGIN")
    postgres_place.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor")
    postgres_place.url = postgres_place.url.replace("trueup@", "auditor@")
    try:
        with postgres_place.reader() as reader:
            assert list(reader.read()) == orders(1)
            assert reader.verify().sound
        with pytest.raises(JournalError, match="permission denied"):
            postgres_place.open()
    finally:
        postgres_place.url = postgres_place.url.replace("auditor@", "trueup@")
        postgres_place.sql("DROP OWNED BY auditor")
        postgres_place.sql("DROP ROLE auditor")
