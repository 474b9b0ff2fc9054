"""The partitions of a journal in PostgreSQL: of a new journal, and of one that is converted."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.journal.places import NOW_NS, STREAM, PostgresPlace, order, orders
from tests.journal.postgres_server import PostgresServer
from tests.support.servers import until
from trueup.errors import JournalConflict, JournalError
from trueup.journal import open_reader
from trueup.journal.backends.location import database_at
from trueup.journal.backends.partitions import PARTITIONS, convert, divide, is_divided
from trueup.journal.database.database import Database
from trueup.journal.writing.archiving import archive

KEPT = Path(__file__).parents[1] / "data" / "written_before"
COLUMNS = (
    "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
    " WHERE table_name = 'journal_events' ORDER BY ordinal_position"
)
RULES = (
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE conrelid = 'journal_events'::regclass AND contype IN ('p', 'c') ORDER BY 1"
)
INDEXES = "SELECT indexname FROM pg_indexes WHERE tablename = 'journal_events' ORDER BY 1"
KIND = "SELECT relkind::text FROM pg_class WHERE oid = 'journal_events'::regclass"


@pytest.fixture
def old_place(postgres_server: PostgresServer) -> PostgresPlace:
    """A journal as an earlier release wrote it, with 24 events of a stream `EURUSD`."""
    url = postgres_server.new_database()
    with psycopg.connect(url) as connection:
        connection.execute((KEPT / "journal.sql").read_bytes())
    place = PostgresPlace.__new__(PostgresPlace)
    place.server, place.url = postgres_server, url
    return place


def converted(place: PostgresPlace) -> bool:
    database = database_at(place.url)
    database.connect()
    try:
        return convert(database)
    finally:
        database.close()


def test_new_journal_is_divided_by_stream(own_postgres_place: PostgresPlace) -> None:
    place = own_postgres_place
    assert place.sql(KIND) == [("p",)]
    for name in ("one", "two", "three", "four"):
        with place.open(name) as journal:
            journal.append(orders(1, 2))
    where = "SELECT stream, count(DISTINCT tableoid), count(*) FROM journal_events GROUP BY stream"
    assert {row[1:] for row in place.sql(where)} == {(1, 2)}
    assert place.sql("SELECT count(DISTINCT tableoid) > 1 FROM journal_events") == [(True,)]


def test_a_stream_is_read_in_its_partition_alone(own_postgres_place: PostgresPlace) -> None:
    place = own_postgres_place
    with place.open() as journal:
        journal.append(orders(1, 2, 3))
        for statement in ("page", "last", "before_batch"):
            text = getattr(database_at(place.url).statements, statement).replace("%s", "?")
            parameters = [STREAM] * text.count("stream = ?")
            for number, name in enumerate(("position > ?", "position <= ?", "batch <> ?")):
                parameters += [number] * text.count(name)  # type: ignore[list-item]
            plan = "\n".join(row[0] for row in place.sql(f"EXPLAIN {text}", *parameters))
            assert len(set(re.findall(r"journal_events_\d\d", plan))) == 1, plan


def test_old_journal_is_read_and_written_before_and_after_it_is_divided(
    old_place: PostgresPlace, own_postgres_place: PostgresPlace
) -> None:
    place = old_place
    assert place.sql(KIND) == [("r",)]
    with place.open("EURUSD") as journal:
        assert journal.append([order(25)]) == 25
        tip = journal.verify().tip
    before = place.sql("SELECT * FROM journal_events ORDER BY position")
    place.sql("CREATE ROLE reader_of_old")
    place.sql("GRANT SELECT ON journal_events TO reader_of_old")
    try:
        assert converted(place)
        asked = "SELECT has_table_privilege('reader_of_old', 'journal_events', 'SELECT')"
        assert place.sql(asked) == [(True,)]
    finally:
        place.sql("DROP OWNED BY reader_of_old")
        place.sql("DROP ROLE reader_of_old")
    assert place.sql("SELECT * FROM journal_events ORDER BY position") == before
    for asked in (KIND, COLUMNS, RULES, INDEXES):
        assert place.sql(asked) == own_postgres_place.sql(asked)
    assert place.sql("SELECT to_regclass('journal_events_before')::text") == [(None,)]
    with place.open("EURUSD") as journal:
        assert journal.verify() == (tip, ())
        assert journal.append([order(26)]) == 26
        with pytest.raises(JournalError, match="in the journal already"):
            journal.append([order(26)])
    assert not converted(place)


def test_journal_that_a_bot_writes_is_not_divided(old_place: PostgresPlace) -> None:
    with old_place.open("EURUSD") as journal:
        with pytest.raises(JournalConflict, match=r"'EURUSD' .* is being written: stop its bot"):
            converted(old_place)
        assert journal.append([order(25)]) == 25
    assert old_place.sql(KIND) == [("r",)]
    assert converted(old_place)


def test_second_conversion_at_the_same_time_is_refused(old_place: PostgresPlace) -> None:
    database = database_at(old_place.url)
    database.connect()
    with database.maintaining(), pytest.raises(JournalConflict, match="archives or converts"):
        converted(old_place)
    database.close()


def steps_of(place: PostgresPlace) -> int:
    """Return how many statements a conversion has."""
    return len(statements_of(place, ends_at=None))


def statements_of(place: PostgresPlace, ends_at: int | None) -> list[str]:
    """Convert, and end the session before a statement; undo it. Return the statements."""
    database = database_at(place.url)
    database.connect()
    seen: list[str] = []

    def hurt(name: str) -> None:
        done = getattr(database, name)

        def step(statement: str, *parameters: object) -> object:
            if len(seen) == ends_at:
                (pid,) = done_fetch("SELECT pg_backend_pid()")[0]
                place.sql("SELECT pg_terminate_backend(?)", pid)
                until(lambda: place.sql("SELECT 1 FROM pg_locks WHERE pid = ?", pid) == [])
            seen.append(statement)
            return done(statement, *parameters)

        setattr(database, name, step)

    done_fetch = database.fetch
    for name in ("run", "change", "fetch"):
        hurt(name)
    try:
        if ends_at is None:
            in_vain(database)
        else:
            convert(database)
    finally:
        database.close()
    return seen


def in_vain(database: Database) -> None:
    """Divide in a transaction that is undone."""
    database.begin()
    divide(database)
    database.rollback()


def test_conversion_that_is_ended_at_any_statement_changes_nothing(
    old_place: PostgresPlace,
) -> None:
    before = old_place.sql("SELECT * FROM journal_events ORDER BY position")
    count = steps_of(old_place)
    assert old_place.sql(KIND) == [("r",)]
    assert count > PARTITIONS
    for number in range(0, count, 3):
        with pytest.raises(JournalError, match="connection was lost"):
            statements_of(old_place, number)
        assert old_place.sql(KIND) == [("r",)]
        assert old_place.sql("SELECT * FROM journal_events ORDER BY position") == before
    assert converted(old_place)
    assert old_place.sql("SELECT * FROM journal_events ORDER BY position") == before


def test_reader_that_waits_for_a_conversion_finds_every_event(old_place: PostgresPlace) -> None:
    """Its snapshot comes after the lock: an older one would find the new table empty."""
    database = database_at(old_place.url)
    database.connect()
    found: list[object] = []
    with old_place.reader("EURUSD") as reader:

        def look() -> None:
            found.append((reader.position, reader.verify().sound))

        waiting = threading.Thread(target=look)
        with database.writing():
            divide(database)
            waiting.start()
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database IS NOT NULL"
            until(lambda: old_place.sql(blocked) == [(1,)])
        waiting.join()
    database.close()
    assert found == [(24, True)]
    assert is_divided_at(old_place)


def is_divided_at(place: PostgresPlace) -> bool:
    """Return whether a journal is divided."""
    database = database_at(place.url)
    database.connect()
    try:
        return is_divided(database)
    finally:
        database.close()


def test_who_may_read_the_events_may_read_what_was_archived(
    own_postgres_place: PostgresPlace, tmp_path: Path
) -> None:
    place = own_postgres_place
    with place.open() as journal:
        for number in range(1, 6):
            journal.append([order(number)])
    place.sql("CREATE ROLE reader_of_events")
    place.sql("GRANT SELECT ON journal_events TO reader_of_events")
    database = database_at(place.url)
    database.connect()
    try:
        assert archive(database, STREAM, 2 * NOW_NS, tmp_path, 2 * NOW_NS) is not None
        for right, may in (("SELECT", True), ("INSERT", False)):
            asked = "SELECT has_table_privilege('reader_of_events', 'journal_archives', ?)"
            assert place.sql(asked, right) == [(may,)]
    finally:
        database.close()
        place.sql("DROP OWNED BY reader_of_events")
        place.sql("DROP ROLE reader_of_events")


@pytest.fixture
def bots_place(old_place: PostgresPlace) -> Iterator[PostgresPlace]:
    """A journal of an earlier release whose tables are those of a bot's own user."""
    place = old_place
    for role in ("owning_bot", "archiving_user"):
        place.sql(f"CREATE ROLE {role}")
        place.sql(f"GRANT USAGE, CREATE ON SCHEMA public TO {role}")
    for table in ("events", "writers", "checkpoints", "torn", "revision"):
        place.sql(f"ALTER TABLE journal_{table} OWNER TO owning_bot")
    yield place
    for role in ("owning_bot", "archiving_user"):
        place.sql(f"DROP OWNED BY {role}")
        place.sql(f"DROP ROLE {role}")


OWNERS = (
    "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class"
    " WHERE relname ~ '^journal_(events|archives)' AND relkind IN ('r', 'p')"
)


def archive_all(url: str, folder: Path) -> None:
    """Archive what there is of the old journal."""
    database = database_at(url)
    database.connect()
    try:
        assert archive(database, "EURUSD", 2 * NOW_NS, folder, 2 * NOW_NS) is not None
    finally:
        database.close()


def test_tables_that_an_administrator_makes_are_those_of_the_bot(
    bots_place: PostgresPlace, tmp_path: Path
) -> None:
    assert converted(bots_place)
    archive_all(bots_place.url, tmp_path)
    assert bots_place.sql(OWNERS) == [("owning_bot",)]


def test_owner_of_the_events_may_read_what_another_user_archived(
    bots_place: PostgresPlace, tmp_path: Path
) -> None:
    place = bots_place
    place.sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO archiving_user")
    sign = "&" if "?" in place.url else "?"
    archive_all(f"{place.url}{sign}options=-crole%3Darchiving_user", tmp_path)
    assert place.sql("SELECT has_table_privilege('owning_bot', 'journal_archives', 'SELECT')") == [
        (True,)
    ]


def test_who_may_read_the_events_may_read_a_divided_journal(bots_place: PostgresPlace) -> None:
    """The right is that of the table, and no partition needs one of its own."""
    assert converted(bots_place)
    for table in ("events", "writers", "checkpoints", "revision"):
        bots_place.sql(f"GRANT SELECT ON journal_{table} TO archiving_user")
    sign = "&" if "?" in bots_place.url else "?"
    with open_reader(f"{bots_place.url}{sign}options=-crole%3Darchiving_user", "EURUSD") as reader:
        locked = "SELECT count(*) FROM pg_locks WHERE relation::regclass::text ~ 'journal_events_'"
        with reader._database.reading_events():
            assert reader._database.fetch(locked) == [(0,)]
        assert reader.position == 24


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("CREATE PUBLICATION copies FOR TABLE journal_events", "the publication copies"),
        ("ALTER TABLE journal_events ENABLE ROW LEVEL SECURITY", "row security"),
        (
            "CREATE TRIGGER told BEFORE INSERT ON journal_events FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "the trigger told",
        ),
    ],
)
def test_journal_with_what_a_new_table_would_not_have_is_not_divided(
    old_place: PostgresPlace, made: str, said: str
) -> None:
    old_place.sql(made)
    with pytest.raises(JournalError, match=f"have {said}, which .* Nothing was changed"):
        converted(old_place)
    assert not is_divided_at(old_place)
