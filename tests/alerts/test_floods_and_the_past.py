"""Ten thousand differences in a real book, and what a real journal tells of the past."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts.scene import Scene
from tests.support.order_world import OrderWorld
from tests.support.receivers import Received
from trueup.core.book.book import Book
from trueup.core.holds import Hold, HoldKind
from trueup.core.policy import GRACE_SEC
from trueup.doors.alerts.conditions import Observation
from trueup.doors.alerts.deciding import BookMemory
from trueup.doors.alerts.history import History
from trueup.doors.alerts.receivers import receivers_of
from trueup.doors.alerts.sending import send_next
from trueup.doors.alerts.store import Store
from trueup.errors import JournalError
from trueup.observe.status.making import findings_of_journal
from trueup.sim.terminal.terminal_faults import AnswerLost

DRIFTS = 10_000


def test_ten_thousand_drifts_are_one_message_and_one_end(phone: Received, tmp_path: Path) -> None:
    """They come one after the other, and each look finds more of them."""
    drifts = [
        Hold("EURUSD", f"Ticket {n} differs", "an approval", n, HoldKind.ASK, id=f"drift-{n:08x}")
        for n in range(1, DRIFTS + 1)
    ]
    scene, store = Scene(), Store(tmp_path / "alerts.db")
    (receiver,) = receivers_of([phone.url], "TRUEUP_ALERTS_TO")

    def look(count: int) -> list[str]:
        """Look at a book with so many drifts; return the sentences of the status."""
        rows = findings_of_journal(Book(), drifts[:count], scene.now_ns)
        by_kind = {row.kind: row for row in rows}
        messages = scene.observe({"book": [Observation("book", scene.now_ns, by_kind)]})
        store.save(scene.memory, messages, [receiver.key])
        while send_next(store, receiver, lambda: scene.now_ns) is not None:
            pass
        scene.wait(1)
        return [row.sentence for row in rows]

    for count in range(1, DRIFTS, 500):
        look(count)
    assert look(DRIFTS) == ["The books differ by 10000 positions. 10000 decisions are yours."]
    (told,) = phone.messages
    assert told["message"].startswith("The books differ by one position. One decision is yours.")
    assert look(0) == []
    _, ended = phone.messages
    assert ended["message"].startswith("Over: The books differ by one position.")
    scene.wait(60)
    # A flood that comes at once names no more ids than a person reads.
    look(DRIFTS)
    assert len(phone.messages[2]["message"]) < 1_000
    store.close()


def test_an_order_that_was_in_doubt_meanwhile_is_told_from_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    world = OrderWorld(journal=path)
    history = History(path, "EURUSD", None)
    # What is older than the first look is not told.
    assert history.news("a book") == []
    position = history.position
    history.close()
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    world.terminal.switches.position_lag_ms = 20_000
    began_ns = world.clock.now_ns()
    world.pm.submit("buy", 0.1)
    for _ in range(4):
        world.sync(GRACE_SEC / 4)
    assert world.pm.book.in_doubt == {}

    # Another process goes on where the first has stopped.
    history = History(path, "EURUSD", position)
    begun, ended = history.news("a book")
    (row,) = begun.rows.values()
    assert (row.kind, ended.rows) == ("doubt", {})
    assert row.sentence == "One order is in doubt. The bot retries by itself."
    assert began_ns <= begun.at_ns < ended.at_ns <= world.clock.now_ns()
    assert history.news("a book") == []
    history.close()

    scene = Scene()
    scene.memory = type(scene.memory)(books={"b": BookMemory(name="a book")})
    scene.now_ns = world.clock.now_ns()
    (told,) = scene.observe({"b": [begun, ended]})
    assert told.body.startswith("Over: One order is in doubt.\nIt began at ")


def test_a_journal_that_cannot_be_read_is_read_from_the_same_event_later(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    world = OrderWorld(journal=path)
    world.pm.submit("buy", 0.1)
    assert world.pm._kept.journal is not None
    world.pm._kept.journal.close()
    hidden = path.rename(tmp_path / "hidden.db")
    history = History(path, "EURUSD", 1)
    with pytest.raises(JournalError):
        history.news("a book")
    assert history.position == 1
    hidden.rename(path)
    assert history.news("a book") == []
    assert history.position == world.pm.book.version
    history.close()
