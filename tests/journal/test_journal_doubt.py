"""Commits that did not answer: nothing is written twice, nothing is lost, nothing is guessed.

The server's own answer to a COMMIT carries that word, and a proxy on its socket loses the one or
the other. SQLite has no wire; there the call that commits is made to fail around the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.journal.commit_proxy import CommitProxy, Loses
from tests.journal.places import STREAM, PostgresPlace, SqlitePlace, orders
from trueup.core.book.book import Book
from trueup.core.book.events import Event
from trueup.errors import JournalConflict, JournalError
from trueup.journal import JournalAhead, open_journal
from trueup.journal.backends.postgres import SessionClaim
from trueup.journal.writing.store import StoredJournal
from trueup.runtime.bot.kept_book import KeptBook
from trueup.runtime.time.clock import ManualClock

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the proxy is a Unix socket's")


@pytest.fixture
def proxy(postgres_place: PostgresPlace, tmp_path: Path) -> Iterator[CommitProxy]:
    between = CommitProxy(tmp_path, postgres_place.server.folder)
    yield between
    between.close()


@pytest.fixture
def journal(postgres_place: PostgresPlace, proxy: CommitProxy) -> Iterator[StoredJournal]:
    url = postgres_place.url.replace(str(postgres_place.server.folder), str(proxy.folder))
    with open_journal(url, STREAM, holder="first.py", now_ns=lambda: 1) as opened:
        opened.append(orders(1))
        yield opened


def fail_one_append(journal: StoredJournal, proxy: CommitProxy, loses: Loses) -> None:
    """Lose one commit or its answer, and everything after, until the proxy accepts again."""
    proxy.loses, proxy.accepts = loses, False
    with pytest.raises(JournalError):
        journal.append(orders(2, 3))
    assert proxy.loses is Loses.NOTHING
    proxy.accepts = True


@posix_only
def test_book_says_what_is_not_known_while_the_server_cannot_be_reached(
    journal: StoredJournal, proxy: CommitProxy
) -> None:
    kept = KeptBook(journal, STREAM, ManualClock(1))
    proxy.loses, proxy.accepts = Loses.THE_ANSWER, False
    with pytest.raises(JournalError, match="It is not known whether it was written"):
        kept.commit(orders(2, 3))
    proxy.accepts = True
    with pytest.raises(JournalAhead):
        kept.find_out()
    assert {"order-2", "order-3"} <= kept.book.orders.keys()


@posix_only
def test_append_that_could_not_begin_is_not_taken_for_the_one_before_that_was_written(
    journal: StoredJournal, proxy: CommitProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptBook(journal, STREAM, ManualClock(1))
    proxy.loses, proxy.accepts = Loses.THE_ANSWER, False
    with pytest.raises(JournalError):
        kept.commit(orders(2))
    append = journal.append

    def back_for_the_question(history: Sequence[Event]) -> int:
        # The server is away for events, and back a moment later.
        proxy.accepts = not history
        return append(history)

    monkeypatch.setattr(journal, "append", back_for_the_question)
    with pytest.raises(JournalAhead):
        kept.commit(orders(3))
    monkeypatch.undo()
    assert "order-2" in kept.book.orders
    assert "order-3" not in kept.book.orders
    kept.commit(orders(3))
    # What is in the journal is what is in the book.
    assert Book().replay(journal.read()).orders == kept.book.orders


@posix_only
@pytest.mark.parametrize("loses", [Loses.THE_COMMIT, Loses.THE_ANSWER, Loses.THE_ANSWER_SILENTLY])
def test_append_when_the_connection_comes_back_is_there_once(
    journal: StoredJournal, proxy: CommitProxy, loses: Loses
) -> None:
    proxy.loses = loses
    assert journal.append(orders(2, 3)) == 3
    assert proxy.loses is Loses.NOTHING
    assert list(journal.read()) == orders(1, 2, 3)
    assert journal.verify().sound


@posix_only
@pytest.mark.parametrize("loses", [Loses.THE_COMMIT, Loses.THE_ANSWER])
def test_append_of_the_same_again_is_there_once(
    journal: StoredJournal, proxy: CommitProxy, loses: Loses
) -> None:
    fail_one_append(journal, proxy, loses)
    assert journal.append(orders(2, 3)) == 3
    assert list(journal.read()) == orders(1, 2, 3)
    assert journal.verify().sound


@posix_only
def test_append_of_something_else_when_the_commit_was_lost_works(
    journal: StoredJournal, proxy: CommitProxy
) -> None:
    fail_one_append(journal, proxy, Loses.THE_COMMIT)
    assert journal.append(orders(4)) == 2
    assert list(journal.read()) == orders(1, 4)


@posix_only
def test_append_of_something_else_when_the_answer_was_lost_says_what_to_read_first(
    journal: StoredJournal, proxy: CommitProxy
) -> None:
    fail_one_append(journal, proxy, Loses.THE_ANSWER)
    with pytest.raises(JournalAhead) as ahead:
        journal.append(orders(4))
    assert ahead.value.position == 1
    assert list(journal.read(ahead.value.position)) == orders(2, 3)
    assert journal.append(orders(4)) == 4
    assert list(journal.read()) == orders(1, 2, 3, 4)


@posix_only
@pytest.mark.parametrize("loses", [Loses.THE_COMMIT, Loses.THE_ANSWER])
def test_append_of_nothing_finds_out_what_became_of_the_last(
    journal: StoredJournal, proxy: CommitProxy, loses: Loses
) -> None:
    fail_one_append(journal, proxy, loses)
    if loses is Loses.THE_ANSWER:
        with pytest.raises(JournalAhead):
            journal.append([])
    assert journal.append([]) == (3 if loses is Loses.THE_ANSWER else 1)
    assert journal.append(orders(4)) == journal.position
    assert journal.verify().sound


@posix_only
def test_checkpoint_when_the_answer_was_lost_says_what_to_read_first(
    journal: StoredJournal, proxy: CommitProxy
) -> None:
    fail_one_append(journal, proxy, Loses.THE_ANSWER)
    with pytest.raises(JournalAhead):
        journal.checkpoint(1, b"state")
    journal.checkpoint(3, b"state")


@posix_only
def test_append_when_another_took_over_meanwhile_is_refused(
    journal: StoredJournal, proxy: CommitProxy, postgres_place: PostgresPlace
) -> None:
    fail_one_append(journal, proxy, Loses.THE_ANSWER)
    postgres_place.wait_until_left()
    with postgres_place.open(holder="second.py") as second:
        assert second.position == 3
        with pytest.raises(JournalConflict, match=r"second\.py"):
            journal.append(orders(2, 3))
        assert second.append(orders(4)) == 4


@posix_only
def test_append_when_another_came_and_went_meanwhile_is_refused(
    journal: StoredJournal, proxy: CommitProxy, postgres_place: PostgresPlace
) -> None:
    fail_one_append(journal, proxy, Loses.THE_COMMIT)
    postgres_place.wait_until_left()
    postgres_place.open(holder="second.py").close()
    with pytest.raises(JournalConflict, match=r"second\.py"):
        journal.append(orders(2, 3))
    with postgres_place.reader() as reader:
        assert list(reader.read()) == orders(1)


# SQLite.


def commit_fails(journal: StoredJournal, monkeypatch: pytest.MonkeyPatch, *, happens: bool) -> None:
    """Make the next commit fail, after or before it happened."""
    commit = journal._database.commit

    def failing() -> None:
        monkeypatch.undo()
        if happens:
            commit()
        raise JournalError("The disk failed.")

    monkeypatch.setattr(journal._database, "commit", failing)


@pytest.mark.parametrize("happens", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_sqlite_append_after_a_commit_that_failed(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch, happens: bool, same: bool
) -> None:
    with sqlite_place.open() as journal:
        commit_fails(journal, monkeypatch, happens=happens)
        with pytest.raises(JournalError, match="disk failed"):
            journal.append(orders(1))
        wanted = orders(1) if same else orders(2)
        if happens and not same:
            with pytest.raises(JournalAhead):
                journal.append(wanted)
        journal.append(wanted)
        assert list(journal.read()) == (orders(1, 2) if happens and not same else wanted)
        assert journal.verify().sound


@pytest.mark.parametrize("happens", [True, False])
def test_sqlite_token_is_raised_once_the_last_commit_is_known(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch, happens: bool
) -> None:
    with sqlite_place.open() as journal:
        commit_fails(journal, monkeypatch, happens=happens)
        with pytest.raises(JournalError, match="disk failed"):
            journal.append(orders(1))
        if happens:
            with pytest.raises(JournalAhead, match="read on before appending"):
                journal.raise_token(5)
            assert journal.token == 1
        journal.raise_token(5)
        assert (journal.token, journal.position) == (5, int(happens))
        assert journal.append(orders(2)) == 1 + int(happens)


def test_append_of_nothing_fails_while_the_disk_does_and_leaves_nothing_in_doubt(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite_place.open() as journal:
        journal.append(orders(1))
        commit_fails(journal, monkeypatch, happens=True)
        with pytest.raises(JournalError, match="disk failed"):
            journal.append([])
        assert journal.append(orders(2)) == 2
        assert list(journal.read()) == orders(1, 2)


def test_append_that_is_interrupted_writes_nothing(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite_place.open() as journal:
        change_many = journal._database.change_many

        def interrupted(statement: str, rows: list[tuple[object, ...]]) -> None:
            monkeypatch.undo()
            change_many(statement, rows)
            raise KeyboardInterrupt

        monkeypatch.setattr(journal._database, "change_many", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append(orders(1, 2))
        assert journal.append(orders(3)) == 1
        assert list(journal.read()) == orders(3)


def test_postgres_claim_is_renewed_also_when_the_old_session_ends_at_that_moment(
    postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between "it is taken" and "by whom?" the server may let go of the lock."""
    with postgres_place.open() as journal:
        claim = journal._claim
        assert isinstance(claim, SessionClaim)
        answers = [False]
        attempt = claim._try
        monkeypatch.setattr(claim, "_try", lambda: answers.pop() if answers else attempt())
        monkeypatch.setattr(claim, "holders", list)
        assert claim.renew()
        assert answers == []
