"""A person's commands to a running bot, without sockets and processes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.cli.bot_world import BotWorld
from tests.support.desk_world import BUY, NETTING, OTHER, SELL
from tests.support.make import RefusingJournal
from trueup.core.book.events import Event
from trueup.core.dates import iso
from trueup.core.policy import Action, Adopt, Policy
from trueup.errors import JournalError
from trueup.observe.status.findings import PATIENCE_SEC
from trueup.observe.status.status import State
from trueup.runtime.sync.results import SyncStatus

EURUSD = frozenset({"EURUSD"})
ASKING = Policy(symbols=EURUSD, adopt=Adopt.ASK, magics=frozenset({7}))


def test_a_bot_that_agrees_needs_nobody() -> None:
    world = BotWorld()
    status = world.status()
    assert (status.state, status.needs, status.entries_refused) == (State.AGREES, [], "")
    assert status.account == "5000001@Simulated-Demo"
    assert status.sentence == "Both books are flat. Nothing is yours to do."
    assert status.pid == world.tell("hello")["pid"] == 4711


def test_a_plan_shows_what_waits_and_changes_nothing() -> None:
    world = BotWorld(policy=ASKING)
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    before = world.broker.state()
    plan = world.look("plan")
    (hold_id,) = plan["waiting"]
    assert hold_id in plan["text"]
    assert f"{ticket} EURUSD  held" in plan["text"]
    assert "LONG 0.05L @ 1.1001" in plan["text"]
    assert [step["id"] for step in plan["plan"]["steps"]] == [hold_id]
    assert world.broker.state() == before


def test_looks_for_a_person_do_not_disturb_the_bot_s_own_readings() -> None:
    world = BotWorld()
    for _ in range(3):
        assert world.look("plan")["text"].startswith("Nothing to do")
        assert world.broker.sync().status is SyncStatus.SUCCESS


def test_a_plan_with_a_yes_is_carried_out_by_the_next_sync() -> None:
    world = BotWorld(policy=ASKING)
    world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync()
    (hold,) = world.held()
    assert world.status().needs == [
        f"Waiting for approval (`trueup plan`, then `trueup approve ID`): {hold.id}"
    ]
    answer = world.tell("approve", id=hold.id)
    assert (answer["ok"], answer["ticket"]) == (True, hold.ticket)
    world.turn(3)
    assert world.broker.tickets() == {hold.ticket}
    assert (world.held(), world.status().needs) == ([], [])


def test_a_yes_to_what_only_a_plan_showed_waits_for_the_bot_s_own_look() -> None:
    world = BotWorld(policy=ASKING)
    world.broker.person.open("EURUSD", BUY, 0.05)
    (hold_id,) = world.look("plan")["waiting"]
    assert world.held() == []
    assert world.tell("approve", id=hold_id)["ok"]
    world.turn(70)
    assert len(world.broker.tickets()) == 1


def test_a_yes_to_what_is_no_longer_so_is_a_yes_to_nothing() -> None:
    world = BotWorld(policy=ASKING)
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    (hold_id,) = world.look("plan")["waiting"]
    world.tell("approve", id=hold_id)
    world.broker.person.close(ticket, 0.02)
    world.turn(200)
    assert world.broker.tickets() == set()
    assert world.held()[0].id != hold_id


def test_an_approval_outlives_a_reading_from_before_the_difference() -> None:
    world = BotWorld(policy=ASKING)
    reconciler = world.broker.reconciler
    reconciler.sync_soon()
    world.broker.wait(0.1)
    assert reconciler.sync_continuous() is None
    # The bot's own question is out; the person sees the difference by another.
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    plan = world.tell("plan")
    while "wait" in plan:
        world.broker.wait(0.1)
        world.desk.turn()
        plan = world.tell("plan", look=plan["wait"])
    (hold_id,) = plan["waiting"]
    count = reconciler.sync_count
    assert world.tell("approve", id=hold_id, who="Mary")["ok"]
    world.turn()
    assert (reconciler.sync_count, world.broker.tickets()) == (count + 1, set())
    for _ in range(2):
        world.broker.sync()
        world.turn()
    assert world.broker.tickets() == {ticket}


def test_an_id_under_which_nothing_waits_lists_what_does() -> None:
    world = BotWorld(policy=ASKING)
    assert world.tell("approve", id="zombie-1")["error"] == (
        "Nothing waits for approval, so there is no 'zombie-1' to approve."
    )
    world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync()
    error = world.tell("approve", id="zombie-1")["error"]
    assert world.held()[0].id in error
    assert "LONG 0.05L" in error


def test_while_the_broker_cannot_be_seen_there_is_no_plan_and_nothing_waits_for_it() -> None:
    world = BotWorld()
    world.broker.lose_replies(1_000)
    assert "wait" in world.look("plan", turns=4)
    plan = world.look("plan")
    assert plan["unknown"]["reason"].startswith("Gateway offline")
    world.broker.sync()
    world.loop.last_result = world.broker.sync()
    status = world.status()
    assert status.sentence == "The gateway does not answer. The bot retries by itself."
    assert (status.state, status.needs) == (State.DEGRADED, [])
    assert status.detail.startswith("Gateway offline")
    assert "Gateway offline" in status.entries_refused
    assert status.refused[0].until
    assert "no close gets through" in status.works
    # What lasts needs a person.
    world.broker.wait(PATIENCE_SEC)
    lasting = world.status()
    assert (lasting.state, lasting.since) == (State.NEEDS_PERSON, status.checked)
    assert lasting.sentence == "The gateway does not answer. One action is yours."
    assert lasting.needs == ["See to the gateway: start it again if it has ended."]


def test_each_question_gets_a_look_that_began_after_it() -> None:
    world = BotWorld()
    first = world.tell("plan")["wait"]
    world.turn()
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    second = world.tell("plan")["wait"]
    assert second == first + 1
    world.turn(4)
    assert f"{ticket}" in world.tell("plan", look=second)["text"]


def test_a_number_that_no_look_has_is_a_new_question() -> None:
    assert BotWorld().tell("plan", look=99)["wait"] == 1


def test_strategies_doubts_and_strangers_are_shown() -> None:
    world = BotWorld(NETTING)
    world.broker.trade(1, 0.1, magic=7)
    world.broker.person.open("USDJPY", BUY, 0.02)
    world.broker.sync()
    status = world.status()
    assert [(row.symbol, row.lots) for row in status.strategies] == [("EURUSD", 0.1)]
    assert status.foreign == 1
    world.broker.pm.create_order(-1, 1.1, 0.1)
    order_id = list(world.broker.pm.orders)[-1]
    world.broker.pm.on_fill({"order_id": order_id, "status": "UNKNOWN", "error": "no reply"})
    (doubt,) = world.status().in_doubt
    assert (doubt.order_id, doubt.action, doubt.error) == (order_id, "SELL", "no reply")
    assert order_id in world.status().entries_refused


def test_what_is_only_shown_needs_a_person_too() -> None:
    policy = Policy(symbols=EURUSD, zombie=Action.ALERT, expects_stop_loss=True)
    world = BotWorld(policy=policy)
    world.broker.person.open("EURUSD", SELL, 0.05)
    world.broker.sync()
    needs = " ".join(world.status().needs)
    assert "shown and not corrected" in needs
    assert "has no stop loss (until a stop loss at the broker)" in needs
    plan = world.look("plan")
    assert (plan["waiting"], plan["needs_person"]) == ([], True)
    assert world.status().scope == (
        "EURUSD, adopts all in scope; zombie: alert; a stop loss is expected"
    )


def test_nothing_is_said_to_agree_while_the_journal_takes_nothing() -> None:
    journal = RefusingJournal()
    world = BotWorld(journal=journal)
    journal.refuse = JournalError("the disk is full")
    world.broker.person.open("EURUSD", BUY, 0.2)
    world.broker.sync()
    status = world.status()
    assert status.state is State.NEEDS_PERSON
    assert status.detail == "the disk is full"
    assert status.works == (
        "The strategy can neither open nor close: use `trueup close TICKET` or the terminal."
    )
    journal.refuse = None
    world.broker.sync()
    assert world.status().state is State.AGREES


def test_a_journal_that_takes_nothing_is_said_first() -> None:
    journal = RefusingJournal()
    world = BotWorld(journal=journal)
    journal.refuse = JournalError("the disk is full")
    world.broker.person.open("EURUSD", BUY, 0.05)
    world.loop.last_result = world.broker.sync()
    assert world.status().sentence == (
        "The journal takes nothing, so the bot can neither open nor close. One action is yours."
    )
    assert world.status().needs[0].startswith("Repair the disk")


class FullDisk(RefusingJournal):
    """Takes an append of nothing, which needs no room, and nothing that has to be written."""

    is_full = False

    def append(self, history: Sequence[Event]) -> int:
        if self.is_full and history:
            raise JournalError("the disk is full")
        return super().append(history)

    def checkpoint(self, position: int, state: bytes) -> None:
        if self.is_full:
            raise JournalError("the disk is full")
        super().checkpoint(position, state)


def test_a_full_disk_is_not_over_because_an_append_of_nothing_succeeds() -> None:
    journal = FullDisk()
    world = BotWorld(journal=journal)
    world.broker.sync()
    journal.is_full = True
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync()
    world.broker.person.close(ticket)
    for _ in range(3):
        world.broker.sync()
        assert "the disk is full" in world.status().journal_trouble
    journal.is_full = False
    world.broker.sync()
    assert world.status().journal_trouble == ""


def test_a_book_is_bound_to_the_terminal_s_account_by_a_person_s_will() -> None:
    world = BotWorld(others=(OTHER,))
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync()
    assert world.broker.terminal.login(OTHER.login)
    world.loop.last_result = world.broker.sync()
    assert "`trueup rebind`" in world.status().needs[0]
    seen = world.look("account")
    assert (seen["bound"], seen["terminal"]) == (
        "5000001@Simulated-Demo",
        "5000002@Simulated-Demo",
    )
    assert seen["leaves"] == [f"{ticket} LONG 0.05L @ 1.1001"]
    # A login of one number may be of another broker.
    for other in ((5_000_003, seen["server"]), (seen["login"], "Other-Demo")):
        refused = world.tell("rebind", login=other[0], server=other[1])
        now = "The terminal is logged in to 5000002@Simulated-Demo by now"
        assert refused["error"].startswith(now)
    assert world.broker.tickets() == {ticket}
    done = world.tell("rebind", login=seen["login"], server=seen["server"])
    assert done["bound"] == "5000002@Simulated-Demo"
    world.turn(20)
    assert world.status().account == "5000002@Simulated-Demo"
    assert (world.broker.tickets(), world.status().needs) == (set(), [])


def test_an_account_that_cannot_be_seen_is_not_bound_to() -> None:
    world = BotWorld()
    world.broker.lose_replies(1_000)
    assert world.look("account")["error"].startswith("The terminal's account cannot be seen")
    assert not world.tell("rebind", login=1, server="x")["ok"]


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b'{"command": 1}', b'{"command":"dance"}'])
def test_what_is_no_command_is_one_sentence(raw: bytes) -> None:
    answer = BotWorld().desk.handle(raw)
    assert b'"ok":false' in answer
    assert b"command" in answer.lower()


def test_deals_that_never_come_are_in_the_status_when_they_are_late() -> None:
    world = BotWorld()
    world.broker.terminal.switches.deal_lag_ms = 10**12
    ticket = world.broker.trade(1).ticket
    world.broker.sync(2)
    assert world.status().overdue == []
    world.broker.sync(9)
    assert world.status().overdue == []
    world.broker.sync(1)
    (row,) = world.status().overdue
    began_ns = world.broker.clock.now_ns() - 10_000_000_000
    assert (row.ticket, row.since) == (ticket, iso(began_ns))
    assert row.next is not None
    assert row.since is not None
    assert row.since < row.next
    # Nobody can do much about it: it is shown, and nobody is called.
    assert world.status().needs == []


def test_a_person_lets_go_of_what_stays_missing_and_is_named_in_the_audit_trail() -> None:
    world = BotWorld()
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync(11)
    world.broker.terminal.switches.deal_lag_ms = 10**12
    world.broker.person.close(ticket)
    world.broker.sync()
    # A deal that comes late is the bot's own affair at first.
    fresh = world.status()
    (held,) = fresh.held
    assert (fresh.state, fresh.needs, fresh.to_decide) == (State.DEGRADED, [], [])
    assert "left the broker's list 0 s ago, deal not visible yet" in held.reason
    assert f"trueup approve {held.id}" in held.until
    world.broker.sync(PATIENCE_SEC)
    lasting = world.status()
    assert [row.id for row in lasting.to_decide] == [held.id]
    assert lasting.sentence == (
        "One position left the broker's list without proof. One decision is yours."
    )
    assert "the net of EURUSD goes from +0.05 to 0.00 lots" in lasting.to_decide[0].if_approved
    # Only the differences that the policy asks about wait for approval.
    assert world.look("plan")["waiting"] == []
    # Nor by mistake: it takes a word that it was seen to be gone.
    refused = world.tell("approve", id=held.id, who="Mary")
    assert not refused["ok"]
    assert refused["error"].startswith(f"Nothing was changed: an approval of {held.id} removes a")
    world.turn(3)
    assert world.broker.tickets() == {ticket}
    assert world.tell("approve", id=held.id, who="Mary", yes=True)["ok"]
    world.turn(3)
    assert world.broker.tickets() == set()
    assert (world.held(), world.status().needs) == ([], [])
    assert "Mary let go" in world.broker.reconciler.get_audit_trail()[-1]["details"]
