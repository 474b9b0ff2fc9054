"""One writer for a stream, with real processes: refused, killed, paused, taken over from."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

import pytest

from tests.journal.places import NOW_NS, STREAM, Place, PostgresPlace, SqlitePlace, order, orders
from tests.support.processes import stopped
from tests.support.servers import until
from trueup.errors import JournalConflict, JournalError
from trueup.journal.backends.lockfile import claim_file


def test_second_process_is_refused_with_who_holds_it_and_since_when(place: Place) -> None:
    with place.writer_process(holder="trend.py") as writer:
        assert writer.greeting == "open 0 1"
        with pytest.raises(JournalConflict) as refused:
            place.open()
    text = str(refused.value)
    assert f"trend.py (process {writer.pid} on " in text
    assert " UTC; stop that first" in text
    assert "this process" not in text
    assert STREAM in text


@pytest.mark.parametrize(("program", "name"), [("bots/trend.py", r"trend\.py"), ("", "python")])
def test_second_writer_in_the_same_process_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, program: str, name: str
) -> None:
    """A writer without a name is called after its program."""
    monkeypatch.setattr(sys, "argv", [program, "--live"])
    named = (
        rf"written by {name} \(process {os.getpid()} on .*\), since 2026-01-05 00:00:00 UTC, which "
        r"is this process; stop that first \(`trueup stop`\), or take over from it "
        r"\(--take-over of `trueup paper`\)\. Nothing was written or sent\.$"
    )
    with place.open(), pytest.raises(JournalConflict, match=named):
        place.open()


def test_writer_that_has_not_signed_yet_keeps_others_out(sqlite_place: SqlitePlace) -> None:
    """It has the lock, and its name is not in the journal yet."""
    claim = claim_file(sqlite_place.path, STREAM, 0, take_over=False)
    assert claim is not None
    with pytest.raises(JournalConflict, match="is being written by another process; stop"):
        sqlite_place.open()
    claim.release()
    with sqlite_place.open() as journal:
        assert journal.token == 2


def test_refused_writer_does_not_disturb_the_first(place: Place) -> None:
    with place.open() as first:
        for number in range(3):
            with pytest.raises(JournalConflict):
                place.open()
            first.append(orders(number))
        assert first.position == 3


def test_other_stream_of_the_same_database_has_its_own_writer(place: Place) -> None:
    with place.open("a") as a, place.open("b") as b:
        a.append(orders(1))
        b.append(orders(2, 3))
        assert (list(a.read()), list(b.read())) == (orders(1), orders(2, 3))


def test_stream_when_closed_is_free_at_once(place: Place) -> None:
    with place.open() as first:
        assert first.token == 1
    with place.open() as again:
        assert again.token == 2


def test_holder_when_killed_frees_the_stream_at_once(place: Place) -> None:
    with place.writer_process() as writer:
        assert writer.ask("append 2") == "2"
        writer.kill()
        place.wait_until_left()
        with place.open() as next_one:
            assert next_one.position == 2
            assert next_one.findings == ()


def test_paused_holder_when_resumed_after_a_take_over_appends_nothing(place: Place) -> None:
    with place.writer_process() as paused, ExitStack() as pause:
        assert paused.ask("append 1") == "1"
        pause.enter_context(stopped(paused.pid))
        with place.writer_process("take-over", holder="second.py") as second:
            assert second.greeting == "open 1 2"
            assert second.ask("append 2") == "3"
            paused.tell("append 5")
            pause.close()
            refusal = paused.line()
            assert refusal.startswith("JournalConflict: ")
            assert "taken over by second.py" in refusal
            assert paused.ask("append 1").startswith("JournalConflict: ")
            assert second.ask("append 1") == "4"
    with place.reader() as reader:
        assert reader.position == 4
        assert reader.verify().sound


def test_third_process_meets_the_claim_of_who_took_over(place: Place) -> None:
    """Also while the one before still holds what it held, and after it is gone."""
    with (
        place.writer_process() as paused,
        stopped(paused.pid),
        place.open(take_over=True, holder="second.py"),
    ):
        with pytest.raises(JournalConflict, match=r"second\.py"):
            place.open()
        paused.kill()
        with pytest.raises(JournalConflict, match=r"second\.py"):
            place.open()


def test_fenced_out_writer_writes_no_checkpoint(place: Place) -> None:
    with place.open() as first:
        first.append(orders(1))
        with place.open(take_over=True) as second, pytest.raises(JournalConflict):
            first.checkpoint(1, b"state")
        assert second.token == 2
    with place.reader() as reader:
        assert reader.latest_checkpoint() is None


def test_fenced_out_writer_does_not_keep_others_out(place: Place) -> None:
    with place.open() as first:
        place.open(take_over=True).close()
        with pytest.raises(JournalConflict):
            first.append(orders(1))
        with place.open() as third:
            assert third.append(orders(1)) == 1


def test_token_is_raised_by_the_writer_alone_and_never_becomes_smaller(place: Place) -> None:
    kept = "SELECT token, holder, since_ns, position FROM journal_writers"
    with place.open() as first:
        first.append(orders(1))
        for least in (7, 3):
            first.raise_token(least)
            assert first.token == 7
        assert place.sql(kept) == [(7, first.holder, NOW_NS, 1)]
        assert first.append(orders(2)) == 2
        with place.open(take_over=True) as second:
            assert second.token == 8
            with pytest.raises(JournalConflict, match="was taken over by"):
                first.raise_token(9)
            assert [row[0] for row in place.sql(kept)] == [8]
            assert second.append(orders(3)) == 3


def test_take_over_from_nobody_is_an_ordinary_opening(place: Place) -> None:
    with place.open(take_over=True) as journal:
        assert journal.append(orders(1)) == 1


def test_append_when_something_else_moved_the_tip_is_refused(place: Place) -> None:
    with place.open() as journal:
        journal.append(orders(1))
        place.sql("UPDATE journal_writers SET position = 7")
        with pytest.raises(JournalError, match="not its writer"):
            journal.append(orders(2))
        assert list(journal.read()) == orders(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_append_in_a_forked_process_is_refused(sqlite_place: SqlitePlace) -> None:
    said = f"Process {os.getpid()} opened this journal; a process forked from it cannot use it."
    with sqlite_place.open() as journal:
        child = os.fork()
        if child == 0:
            try:
                journal.append(orders(1))
            except JournalConflict as error:
                os._exit(42 if str(error) == said else 2)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 42
        assert journal.append([order(1)]) == 1


@pytest.mark.parametrize("stream", ["", "x" * 201, "nul\0"])
def test_stream_without_a_usable_name_is_refused(sqlite_place: SqlitePlace, stream: str) -> None:
    with pytest.raises(JournalError) as refused:
        sqlite_place.open(stream)
    assert str(refused.value) == f"stream={stream!r} is not valid: give a name, as 'account-1234'."


@pytest.mark.parametrize("stream", ["x", "x" * 200])
def test_stream_of_the_shortest_and_the_longest_name_is_taken(place: Place, stream: str) -> None:
    with place.open(stream) as journal:
        assert journal.append(orders(1)) == 1


@pytest.mark.parametrize("stream", ["Demo-Server/123 (EURUSD)", "ein Konto ü", ".."])
def test_stream_of_any_name_has_one_writer(place: Place, stream: str) -> None:
    with place.open(stream) as journal:
        journal.append(orders(1))
        with pytest.raises(JournalConflict):
            place.open(stream)


def test_sqlite_leaves_one_lock_file_for_a_stream(sqlite_place: SqlitePlace) -> None:
    for _ in range(3):
        sqlite_place.open().close()
    names = sorted(path.name for path in sqlite_place.path.parent.iterdir())
    assert names == ["bot.db", f"bot.db.{STREAM}.3.lock"]


def test_postgres_take_over_ends_the_session_of_the_holder(postgres_place: PostgresPlace) -> None:
    """So a transaction it was in the middle of cannot land later."""
    with postgres_place.writer_process() as paused:
        paused.ask("append 1")
        # Of this database: sessions of others may be about to end.
        holders = (
            "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database"
            " = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        (before,) = postgres_place.sql(holders)
        with postgres_place.open(take_over=True):
            # The server releases the locks of an ended session one after the other.
            until(lambda: before not in postgres_place.sql(holders))
            assert len(postgres_place.sql(holders)) == 1
