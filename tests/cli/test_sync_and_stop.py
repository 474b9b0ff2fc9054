"""`trueup sync` and `trueup stop`, beside a bot in this process."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.beside import Beside, flat
from tests.cli.bot_world import FACTS
from tests.support.desk_world import BUY
from trueup.cli.operate import loop as command
from trueup.core.book import events
from trueup.errors import JournalConflict, JournalError, NotSent
from trueup.runtime.control.commands.command import OLDEST_SEC
from trueup.sim.terminal.terminal_faults import AnswerLost


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Beside:
    monkeypatch.setattr(command, "is_alive", lambda _: False)
    monkeypatch.setattr("trueup.runtime.control.line.is_alive", lambda _: True)
    return Beside(monkeypatch)


def told(beside: Beside, kind: type[events.Event]) -> list[Any]:
    return [event for event in beside.journal.read() if isinstance(event, kind)]


def test_a_sync_reads_the_broker_after_the_command_and_prints_the_result(beside: Beside) -> None:
    beside.broker.person.open("EURUSD", BUY, 0.1)
    done = beside.run("sync", "--who", "Ada", "--why", "a look")
    assert done.exit_code == 0
    assert "Synced SUCCESS in " in flat(done)
    assert "1 taken into the book, 0 closed, 0 corrected" in flat(done)
    assert "Health Everything agrees" in flat(done)
    (asked,) = told(beside, events.SyncAsked)
    assert (asked.by, asked.why) == ("Ada", "a look")


def test_each_sync_that_is_asked_for_reads_the_broker_anew(beside: Beside) -> None:
    for count in (1, 2):
        for _ in range(count):
            beside.broker.person.open("EURUSD", BUY, 0.1)
        assert f"{count} taken into the book, 0 closed" in flat(beside.run("sync", "--who", "Ada"))
        assert len(told(beside, events.SyncAsked)) == count
    # Two persons who ask at the same time share a sync that begins after both.
    first, second = (beside.world.tell("sync", who=who)["wait"] for who in ("Ada", "Bob"))
    assert first == second
    assert len(told(beside, events.SyncAsked)) == 4


def test_a_sync_under_way_is_not_the_one_that_was_asked_for(beside: Beside) -> None:
    reconciler = beside.broker.reconciler
    reconciler.sync_soon()
    beside.broker.wait(0.1)
    assert reconciler.sync_continuous() is None
    assert reconciler.is_syncing
    count = reconciler.sync_count
    # The question is out, and its answer may be from before this.
    number = beside.world.tell("sync", who="Ada")["wait"]
    # While the loop rests, the desk takes its turn at once.
    beside.world.desk.turn()
    beside.broker.person.open("EURUSD", BUY, 0.1)
    answer = beside.world.tell("sync", look=number)
    while "wait" in answer:
        beside.world.turn()
        answer = beside.world.tell("sync", look=number)
    assert (reconciler.sync_count, answer["recovered"]) == (count + 2, 1)
    assert len(told(beside, events.SyncAsked)) == 1


def test_a_sync_that_needs_a_person_says_so(beside: Beside) -> None:
    beside.broker.mangle(*[lambda _: b"no JSON"] * 20)
    done = beside.run("sync")
    assert done.exit_code == 1
    assert "Synced DEGRADED" in flat(done)
    assert "Health Degraded: " in flat(done)


def test_a_sync_works_while_the_journal_takes_nothing(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    beside.journal.refuse = JournalError("the disk is full")
    assert beside.run("sync", "--who", "Ada").exit_code == 0
    assert "[PERSON] Ada asked for a sync; not journalled: the disk is full" in caplog.text
    beside.journal.refuse = JournalConflict("another process took over")
    lost = beside.run("sync")
    assert (lost.exit_code, "another process took over" in flat(lost)) == (2, True)


def test_a_stop_ends_the_loop_and_names_what_stays(beside: Beside) -> None:
    ticket = beside.pm.submit("buy", 0.1).ticket
    beside.pm.submit("buy", 0.1, limit=1.05)
    beside.broker.sync()
    done = beside.run("stop", "--who", "Ada", "--why", "the night")
    assert done.exit_code == 0
    assert flat(done) == (
        f"Stopped The bot, process {FACTS.pid}, has ended. Open {ticket} EURUSD LONG 0.10L @ "
        "1.1001 Stays 1 pending order at the broker"
    )
    assert beside.world.loop._stopped
    (stopped,) = told(beside, events.BotStopped)
    assert (stopped.by, stopped.why) == ("Ada", "the night")


def test_a_stop_names_an_order_in_doubt(beside: Beside) -> None:
    beside.broker.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    order = beside.pm.submit("buy", 0.1)
    done = beside.run("stop")
    assert done.exit_code == 0
    assert (
        f"In doubt {order.order_id}, BUY 0.10L EURUSD: it may have been executed; the next bot "
        "finds out" in flat(done)
    )


def test_a_stop_works_while_the_journal_takes_nothing(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    beside.journal.refuse = JournalError("the disk is full")
    done = beside.run("stop", "--who", "Ada")
    assert done.exit_code == 0
    assert "your name is in the log alone: the disk is full" in flat(done)
    assert "[PERSON] Ada stopped the bot; not journalled: the disk is full" in caplog.text
    assert beside.world.loop._stopped


def test_a_bot_that_does_not_end_is_named(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "is_alive", lambda _: True)
    monkeypatch.setattr(command, "ENDED_SEC", 0.2)
    done = beside.run("stop")
    assert (done.exit_code, "has not ended yet: see its log" in flat(done)) == (1, True)


@pytest.mark.parametrize(("lives", "code"), [(False, 0), (True, 2)])
def test_a_bot_that_gives_no_answer_has_ended_or_hangs(
    beside: Beside, monkeypatch: pytest.MonkeyPatch, lives: bool, code: int
) -> None:
    answer = beside.answer

    def silent(name: str, **fields: Any) -> dict[str, Any]:
        if name == "stop":
            raise NotSent
        return answer(name, **fields)

    beside.answer = silent  # type: ignore[method-assign]
    monkeypatch.setattr(command, "is_alive", lambda _: lives)
    monkeypatch.setattr("trueup.runtime.control.line.is_alive", lambda _: lives)
    monkeypatch.setattr(command, "ENDED_SEC", 0.2)
    assert beside.run("stop").exit_code == code


def test_an_old_stop_or_resume_is_not_carried_out(beside: Beside) -> None:
    then_ns = beside.pm.clock.now_ns()
    beside.pm.pause("Ada")
    beside.broker.wait(OLDEST_SEC + 1)
    for name in ("stop", "resume"):
        late = beside.world.tell(name, at_ns=then_ns)
        assert "the bot was busy or hung until now" in late["error"]
    assert beside.pm.is_paused
    assert not beside.world.loop._stopped
