"""A writer that is alone never fences itself out, wherever its connection to the server is cut.

The bytes of a whole reconnection are counted: the greeting, the end of the former session, the
locks and the append. Then a connection is cut after each number of them, loudly and silently: in
the second case the server keeps the session, and with it the lock.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.journal.cutting_proxy import CuttingProxy
from tests.journal.places import STREAM, PostgresPlace, orders
from tests.support.servers import until
from trueup.errors import JournalConflict, JournalError
from trueup.journal import open_journal
from trueup.journal.backends.postgres import SessionClaim
from trueup.journal.writing.store import StoredJournal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the proxy is a Unix socket's")
CUTS = 60
TRIES = 8
# After how many bytes, and whether the server does not hear of the cut.
Cut = tuple[int, bool]


@pytest.fixture
def proxy(postgres_place: PostgresPlace, tmp_path: Path) -> Iterator[CuttingProxy]:
    between = CuttingProxy(tmp_path, postgres_place.server.folder)
    yield between
    between.close()


@pytest.fixture
def journal(postgres_place: PostgresPlace, proxy: CuttingProxy) -> Iterator[StoredJournal]:
    url = postgres_place.url.replace(str(postgres_place.server.folder), str(proxy.folder))
    with open_journal(url, STREAM, holder="alone.py", now_ns=lambda: 1) as opened:
        yield opened


def append(journal: StoredJournal, number: int) -> None:
    """Append one event, again and again as a bot does."""
    assert any(appended(journal, number) for _ in range(TRIES)), f"{TRIES} tries were in vain"


def appended(journal: StoredJournal, number: int) -> bool:
    """Append one event; return whether that succeeded. A writer that is alone is never refused."""
    try:
        journal.append(orders(number))
    except JournalConflict:
        raise
    except JournalError:
        return False
    return True


def bytes_of_a_reconnection(journal: StoredJournal, proxy: CuttingProxy) -> int:
    """Count them where the old session has the lock still: the longest way."""
    proxy.cut_after(1 << 30, silently=True)
    append(journal, 1)
    return proxy.passed


def cut_and_see(
    journal: StoredJournal, proxy: CuttingProxy, place: PostgresPlace, cuts: Iterable[Cut]
) -> None:
    number = 1
    for number, (count, silently) in enumerate(cuts, start=2):
        proxy.cut_after(count, silently=silently)
        append(journal, number)
        proxy.let_the_server_know()
    see(journal, proxy, place, number)


def see(journal: StoredJournal, proxy: CuttingProxy, place: PostgresPlace, last: int) -> None:
    """Check that each event is there once, and that the writer still has its token."""
    proxy.pass_everything()
    assert journal.position == last
    assert list(journal.read()) == orders(*range(1, last + 1))
    assert journal.verify().sound
    assert place.sql("SELECT DISTINCT token FROM journal_writers") == [(journal.token,)]


def test_a_lone_writer_is_never_fenced_out_by_itself(
    journal: StoredJournal, proxy: CuttingProxy, postgres_place: PostgresPlace
) -> None:
    total = bytes_of_a_reconnection(journal, proxy)
    assert total > 1_000
    dice = random.Random(7)
    # Each part of the way is met, also where there are fewer cuts than bytes.
    places = [number * total // CUTS + dice.randrange(total // CUTS) for number in range(CUTS)]
    cuts = [(count, dice.random() < 0.7) for count in places]
    cut_and_see(journal, proxy, postgres_place, cuts)


@pytest.mark.soak
@pytest.mark.parametrize("silently", [True, False])
def test_a_lone_writer_is_never_fenced_out_by_a_cut_at_any_byte(
    journal: StoredJournal, proxy: CuttingProxy, postgres_place: PostgresPlace, silently: bool
) -> None:
    total = bytes_of_a_reconnection(journal, proxy)
    cut_and_see(journal, proxy, postgres_place, ((count, silently) for count in range(total + 1)))


def cut_again_and_see(
    journal: StoredJournal, proxy: CuttingProxy, place: PostgresPlace, appends: int
) -> None:
    """Cut new connections as well: several former sessions have the lock, or wait for it."""
    total = bytes_of_a_reconnection(journal, proxy)
    dice = random.Random(7)
    for number in range(2, appends + 2):
        for _ in range(dice.randint(2, 5)):
            proxy.cut_after(dice.randrange(total), silently=dice.random() < 0.7)
            if appended(journal, number):
                break
        else:
            proxy.pass_everything()
            append(journal, number)
        proxy.let_the_server_know()
    see(journal, proxy, place, appends + 1)


def test_a_lone_writer_is_never_fenced_out_by_several_of_its_sessions(
    journal: StoredJournal, proxy: CuttingProxy, postgres_place: PostgresPlace
) -> None:
    cut_again_and_see(journal, proxy, postgres_place, 20)


@pytest.mark.soak
def test_a_lone_writer_is_never_fenced_out_by_a_thousand_of_its_sessions(
    journal: StoredJournal, proxy: CuttingProxy, postgres_place: PostgresPlace
) -> None:
    cut_again_and_see(journal, proxy, postgres_place, 1_000)


# Who has the lock, and who is the writer.


def test_a_session_that_has_the_lock_and_no_token_fences_nobody_out(
    journal: StoredJournal,
    proxy: CuttingProxy,
    postgres_place: PostgresPlace,
) -> None:
    """As one that was about to take over and died, or that still may."""
    journal.append(orders(1))
    claim = journal._claim
    assert isinstance(claim, SessionClaim)
    with postgres_place.connected() as other:
        other.autocommit = True
        proxy.cut_after(0, silently=False)
        proxy.pass_everything()
        other.execute("SELECT pg_advisory_lock(%s)", (claim.key,))
        with pytest.raises(JournalError, match="has not taken it over") as refused:
            journal.append(orders(2))
        assert not isinstance(refused.value, JournalConflict)
        other.execute("SELECT pg_advisory_unlock(%s)", (claim.key,))
    assert journal.append(orders(2)) == 2
    assert list(journal.read()) == orders(1, 2)


def test_another_writer_still_fences_out(
    journal: StoredJournal, proxy: CuttingProxy, postgres_place: PostgresPlace
) -> None:
    journal.append(orders(1))
    proxy.cut_after(0, silently=False)
    proxy.pass_everything()

    def taken() -> StoredJournal | None:
        # Until the server has noticed that the session ended.
        try:
            return postgres_place.open(holder="second.py")
        except JournalConflict:
            return None

    with until(taken), pytest.raises(JournalConflict, match=r"second\.py"):
        journal.append(orders(2))


def test_a_session_that_nobody_uses_any_more_is_ended_before_its_lock_is_asked_for(
    journal: StoredJournal, proxy: CuttingProxy, postgres_place: PostgresPlace
) -> None:
    """The server keeps it and its locks, because the cut was silent."""
    journal.append(orders(1))
    (before,) = sessions(postgres_place)
    proxy.cut_after(0, silently=True)
    proxy.pass_everything()
    assert sessions(postgres_place) == [before]
    journal.append(orders(2))
    (after,) = sessions(postgres_place)
    assert after != before


def test_a_stream_that_was_closed_without_a_connection_is_free_for_this_process(
    journal: StoredJournal, proxy: CuttingProxy, postgres_place: PostgresPlace
) -> None:
    journal.append(orders(1))
    (before,) = sessions(postgres_place)
    proxy.cut_after(0, silently=True)
    proxy.pass_everything()
    journal.close()
    assert sessions(postgres_place) == [before]
    url = postgres_place.url.replace(str(postgres_place.server.folder), str(proxy.folder))
    with open_journal(url, STREAM, now_ns=lambda: 1) as again:
        assert again.append(orders(2)) == 2


def sessions(place: PostgresPlace) -> list[tuple[int]]:
    """The sessions that have locks of streams."""
    return place.sql(
        "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
