"""`trueup close` while the bot's journal takes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.beside import Beside, flat
from tests.cli.test_control_desk import FullDisk
from tests.support.desk_world import NETTING
from trueup.core.book import events
from trueup.errors import JournalConflict
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import RequestStore
from trueup.sim.terminal.terminal_faults import Answered

TERMINAL = "In MetaTrader: Toolbox > Trade > right-click the position > Close position."


def durable(beside: Beside, folder: Path) -> Desk:
    """Give the gateway a record on disk, as `trueup gateway` has it."""
    broker = beside.broker
    store = RequestStore(folder / "requests.db", "boot2", broker.clock.now_ns)
    broker.desk = Desk(broker.terminal, "boot2", broker.clock.now_ns, store=store)
    broker.sync()
    broker.sync()
    return broker.desk


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Beside]:
    beside = Beside(monkeypatch, journal=FullDisk())
    desk = durable(beside, tmp_path)
    yield beside
    desk.close()


def fill(beside: Beside) -> None:
    """Let the disk be full from now on, and the bot notice it."""
    disk(beside).is_full = True
    beside.run("sync")
    assert beside.pm.journal_trouble


def disk(beside: Beside) -> FullDisk:
    assert isinstance(beside.journal, FullDisk)
    return beside.journal


def opened(beside: Beside) -> int:
    ticket = beside.pm.submit("buy", 0.1).ticket
    beside.broker.sync()
    assert ticket is not None
    return ticket


def test_one_position_is_closed_and_journalled_later(beside: Beside) -> None:
    ticket = opened(beside)
    beside.run("pause", "--who", "Ada")
    fill(beside)
    done = beside.run("close", str(ticket), "--who", "Ada", "--why", "news", said="y\n")
    text = flat(done)
    assert done.exit_code == 0, text
    assert "Careful The journal takes nothing now: the disk is full. The close leaves all" in text
    assert f"Closed {ticket} EURUSD LONG 0.10L @ 1.1 (ORD_" in text
    assert "The journal takes nothing now, and gets this when it works again." in text
    assert max(map(len, done.output.splitlines())) <= 80
    assert beside.broker.ledger.positions == {}
    disk(beside).is_full = False
    beside.broker.sync()
    (created,) = [
        event
        for event in beside.journal.read()
        if isinstance(event, events.OrderCreated) and event.by
    ]
    assert (created.by, created.why) == ("Ada", "news")
    # From now on the book tells of it, as of every close.
    (asked,) = [order for order in beside.pm.book.orders.values() if order.by]
    told = beside.world.tell("closed", id=asked.key, ticket=ticket)
    assert (told["result"]["state"], told["result"]["then"]) == ("closed", "")


def test_a_doubt_says_what_happens_when_the_journal_is_back(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueup.runtime.control.carried_out.RESOLVED_SEC", 0.0)
    ticket = opened(beside)
    disk(beside).is_full = True
    beside.broker.terminal.faults.next_send(Answered(10012, executed=True))
    done = beside.run("close", str(ticket), "--yes")
    assert done.exit_code == 1
    assert f"In doubt {ticket}" in flat(done)
    assert "until then look at the position in the terminal" in flat(done)


def test_a_refusal_of_the_broker_is_told(beside: Beside) -> None:
    ticket = opened(beside)
    disk(beside).is_full = True
    beside.broker.terminal.faults.next_send(Answered(10018))
    done = beside.run("close", str(ticket), "--yes")
    assert (done.exit_code, "the market is closed" in flat(done)) == (1, True)


def test_all_is_refused_and_one_after_the_other_is_named(beside: Beside) -> None:
    opened(beside)
    disk(beside).is_full = True
    # The bot notices at the first close, and from then on before it is asked.
    for code in (1, 2):
        done = beside.run("close", "all", "--yes")
        assert done.exit_code == code
        assert "close one position after the other: `trueup close TICKET`" in flat(done)
    assert len(beside.broker.ledger.positions) == 1


def test_on_a_netting_account_the_words_to_press_come_before_the_question(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beside = Beside(monkeypatch, NETTING, journal=FullDisk())
    desk = durable(beside, tmp_path)
    ticket = opened(beside)
    fill(beside)
    done = beside.run("close", str(ticket), said="y\n")
    assert (done.exit_code, TERMINAL in flat(done)) == (2, True)
    assert "Close this position now?" not in done.output
    assert set(beside.broker.ledger.positions) == {ticket}
    desk.close()


def test_a_journal_that_fails_after_the_plan_refuses_on_a_netting_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beside = Beside(monkeypatch, NETTING, journal=FullDisk())
    desk = durable(beside, tmp_path)
    ticket = opened(beside)
    answer = beside.answer

    def failing(name: str, **fields: object) -> dict[str, object]:
        disk(beside).is_full = name == "close" or disk(beside).is_full
        return answer(name, **fields)

    beside.answer = failing  # type: ignore[method-assign]
    done = beside.run("close", str(ticket), "--yes")
    assert (done.exit_code, TERMINAL in flat(done)) == (1, True)
    assert set(beside.broker.ledger.positions) == {ticket}
    desk.close()


def test_another_process_that_took_the_journal_over_is_named(beside: Beside) -> None:
    ticket = opened(beside)
    shown = {"id": "k", "ticket": ticket, "side": "LONG", "lots": 0.1}
    beside.journal.refuse = JournalConflict("another process took over")
    beside.world.tell("close", **shown)
    beside.world.desk.turn()
    told = beside.world.tell("closed", id="k", ticket=ticket)["result"]
    assert (told["state"], told["reason"]) == ("refused", "another process took over")
    assert set(beside.broker.ledger.positions) == {ticket}


def test_a_journal_that_works_again_is_noticed_before_the_plan(beside: Beside) -> None:
    ticket = opened(beside)
    disk(beside).is_full = True
    beside.broker.sync()
    beside.run("pause")
    assert beside.pm.journal_trouble
    disk(beside).is_full = False
    done = beside.run("close", str(ticket), "--yes")
    assert done.exit_code == 0
    assert "journal" not in done.output.lower()
