"""A person's commands to a running bot, without sockets and processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.cli.bot_world import BotWorld
from tests.support import make
from tests.support.desk_world import BUY, NETTING, OTHER, SELL
from tests.support.make import RefusingJournal
from trueup.core.book import outcome
from trueup.core.book.events import Event, OrderFilled
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.dates import iso
from trueup.core.doubt.manual import not_in_doubt
from trueup.core.doubt.trace import Trace
from trueup.core.holds import Hold, HoldKind
from trueup.core.model import History
from trueup.core.policy import Action, Adopt, Policy
from trueup.core.recovery import BrokerShows
from trueup.errors import JournalError, Refused
from trueup.observe.close_text import CloseResult
from trueup.observe.status.findings import PATIENCE_SEC
from trueup.observe.status.status import State
from trueup.runtime.bot.unjournalled import Unjournalled
from trueup.runtime.control.commands.closing import _result_without_journal
from trueup.runtime.control.commands.command import Command, refuse_old
from trueup.runtime.control.commands.doubts import _candidate
from trueup.runtime.sync.results import SyncStatus
from trueup.sim.terminal.terminal_faults import AnswerLost

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


# The answers, field by field: another process reads them, maybe of another release.


def test_a_plan_has_the_same_fields_with_and_without_a_reading() -> None:
    world = BotWorld(policy=ASKING)
    world.broker.person.open("EURUSD", BUY, 0.05)
    plan = world.look("plan")
    assert set(plan) == {
        *("ok", "at", "text", "changes", "waiting", "needs_person", "plan", "proposed"),
        "proposals",
    }
    assert (plan["ok"], plan["changes"], plan["needs_person"]) == (True, 0, True)
    assert (plan["proposed"], plan["proposals"]) == ("", [])
    # The look began in the first turn after the question.
    assert plan["at"] == iso(1_700_000_000_250_000_000)
    taken = BotWorld()
    taken.broker.person.open("EURUSD", BUY, 0.05)
    plan = taken.look("plan")
    assert (plan["changes"], plan["waiting"], plan["needs_person"]) == (1, [], False)
    taken.broker.mangle(*[lambda _: b"no JSON"] * 9)
    unknown = taken.look("plan")
    assert set(unknown) == {"ok", "at", "unknown", "proposed", "proposals"}
    assert set(unknown["unknown"]) == {"reason", "until"}
    assert unknown["unknown"]["until"]


def test_an_approval_tells_what_it_is_for_and_how_long_it_takes() -> None:
    world = BotWorld(policy=ASKING)
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync()
    (hold,) = world.held()
    count = world.broker.reconciler.sync_count
    assert world.tell("approve", id=hold.id, who="Mary") == {
        "ok": True,
        "id": hold.id,
        "kind": "ask",
        "ticket": ticket,
        "identifier": ticket,
        "reason": world.broker.reconciler.holds[0].reason,
        "sync_count": count,
        "within_sec": 15,
    }


def test_an_approval_is_void_after_two_readings_without_the_difference() -> None:
    world = BotWorld(policy=ASKING)
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    (hold_id,) = world.look("plan")["waiting"]
    world.broker.person.close(ticket)
    assert world.tell("approve", id=hold_id)["ok"]
    deciding = world.desk._deciding
    for left in ({hold_id}, set()):
        assert set(deciding._yes) == {hold_id}
        world.broker.sync()
        deciding.turn()
        assert set(deciding._yes) == left


def test_what_waits_is_listed_with_each_id_and_reason() -> None:
    world = BotWorld(policy=ASKING)
    for lots in (0.05, 0.06):
        world.broker.person.open("EURUSD", BUY, lots)
    world.broker.sync()
    first, second = world.broker.reconciler.holds
    assert world.tell("approve", id="zombie-1")["error"] == (
        f"Nothing waits under the id 'zombie-1'. What waits: {first.id} ({first.reason}); "
        f"{second.id} ({second.reason})."
    )


def test_the_account_is_told_with_its_money_and_all_that_would_leave() -> None:
    world = BotWorld()
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    world.broker.sync()
    pending = world.broker.pm.submit("buy", 0.1, limit=1.05).ticket
    world.broker.pm.create_order(-1, 1.1, 0.1)
    order_id = list(world.broker.pm.orders)[-1]
    world.broker.pm.on_fill({"order_id": order_id, "status": "UNKNOWN", "error": "no reply"})
    seen = world.look("account")
    assert seen.pop("leaves") == [
        f"{ticket} LONG 0.05L @ 1.1001",
        f"pending order {pending}",
        f"order in doubt {order_id}",
    ]
    assert seen == {
        "ok": True,
        "bound": "5000001@Simulated-Demo",
        "terminal": "5000001@Simulated-Demo",
        "login": 5_000_001,
        "server": "Simulated-Demo",
        "balance": 10_000.0,
        "currency": "USD",
        "currency_digits": 2,
    }
    bound = world.tell("rebind", login=5_000_001, server="Simulated-Demo")
    assert set(bound) == {"ok", "bound", "status", "health"}
    assert (bound["bound"], bound["status"]) == ("5000001@Simulated-Demo", "SUCCESS")
    assert bound["health"] == world.broker.reconciler.health
    assert world.loop.last_result is world.broker.reconciler.latest


def test_an_account_that_cannot_be_seen_says_why_it_may_be() -> None:
    assert BotWorld().tell("rebind", login=1, server="x")["error"] == (
        "The terminal's account cannot be seen: the gateway does not answer, or does not tell it."
    )


def test_a_recheck_of_deals_is_taken_with_its_interval() -> None:
    world = BotWorld()
    assert world.tell("recheck", positions=[7]) == {"ok": True, "within_sec": 15}


def test_the_state_of_an_order_is_told_field_by_field() -> None:
    world = BotWorld()
    order = world.broker.pm.submit("buy", 0.1)
    assert world.tell("order", id=order.order_id) == {
        "ok": True,
        "id": order.order_id,
        "status": "FILLED",
        "ticket": order.ticket,
        "volume": 0.1,
        "price": 1.1001,
        "error": "",
        "is_told": False,
    }
    assert world.tell("order", id="ORD_9")["error"] == not_in_doubt("ORD_9", world.broker.pm.book)


def test_a_decision_about_a_doubt_says_exactly_one_thing() -> None:
    world = BotWorld()
    for fields in ({}, {"ticket": 5, "never_executed": True}):
        assert world.tell("settle", id="ORD_1", **fields)["error"] == (
            "Say which: the ticket that it is, or that it was never executed."
        )


def test_an_assistant_may_read_and_propose_and_decides_nothing() -> None:
    world = BotWorld()
    for command in ("approve", "close", "stop", "pause", "resume", "rebind", "settle", "sync"):
        assert world.tell(command, who="mcp:ada/desk")["error"] == (
            f"Nothing was done: `{command}` is for a person, and 'mcp:ada/desk' is an assistant."
        )
    for command in ("hello", "status", "plan", "book", "find", "limits", "proposals"):
        assert world.tell(command, who="mcp:ada/desk")["ok"]
    assert world.tell("dance")["error"] == "There is no command 'dance'."


def test_a_command_is_old_after_thirty_seconds_and_not_at_the_thirtieth() -> None:
    now_ns = 1_700_000_100_000_000_000
    refuse_old(Command("stop", at_ns=now_ns - 30_000_000_000), now_ns)
    refuse_old(Command("stop"), now_ns)
    with pytest.raises(Refused) as old:
        refuse_old(Command("stop", at_ns=now_ns - 31_000_000_000), now_ns)
    assert str(old.value) == (
        "Nothing was done: the command is of 2023-11-14T22:14:29.000+00:00, 31 s ago; the bot was "
        "busy or hung until now. Give the command again if you still want that."
    )


def test_a_sync_and_a_stop_are_answered_field_by_field() -> None:
    world = BotWorld()
    ticket = world.broker.person.open("EURUSD", BUY, 0.05)
    synced = world.look("sync")
    latest = world.broker.reconciler.latest
    assert latest is not None
    assert synced == {
        "ok": True,
        "status": "SUCCESS",
        "recovered": 1,
        "closed": 0,
        "drifts": [],
        "errors": [],
        "holds": [],
        "needs_person": False,
        "sync_time_ms": round(latest.sync_time_ms, 1),
        "health": world.broker.reconciler.health,
    }
    world.broker.pm.submit("buy", 0.1, limit=1.05)
    assert world.tell("stop", who="Ada") == {
        "ok": True,
        "journalled": False,
        "trouble": "",
        "positions": [f"{ticket} EURUSD LONG 0.05L @ 1.1001"],
        "pending": 1,
        "in_doubt": [],
    }
    journal = RefusingJournal()
    assert BotWorld(journal=journal).tell("stop")["journalled"] is True
    world = BotWorld(journal=journal)
    journal.refuse = JournalError("the disk is full")
    stopped = world.tell("stop")
    assert (stopped["journalled"], stopped["trouble"]) == (False, "the disk is full")


def test_a_mode_is_answered_field_by_field() -> None:
    world = BotWorld(journal=RefusingJournal())
    since = iso(world.broker.clock.now_ns())
    paused = {"mode": "paused", "by": "Ada", "why": "lunch", "since": since}
    more = {"journalled": True, "trouble": "", "pending": []}
    first = world.tell("pause", who="Ada", why="lunch")
    assert first == {"ok": True, **paused, "changed": True, **more}
    again = world.tell("pause", who="Bob")
    assert again == {"ok": True, **paused, "changed": False, **more}
    ended = world.tell("resume", who="Bob", why="back")
    assert ended == {"ok": True, **paused, "changed": True}
    nothing = {"mode": "", "by": "", "why": "", "since": None}
    assert world.tell("resume") == {"ok": True, **nothing, "changed": False}


def test_the_book_is_told_with_as_many_orders_as_are_wanted() -> None:
    world = BotWorld()
    for _ in range(3):
        world.broker.pm.submit("buy", 0.1)
    counts = [len(world.tell("book", count=n)["book"]["orders"]) for n in (0, 2, 3, 9, -1)]
    assert counts == [0, 2, 3, 3, 0]
    order = next(iter(world.broker.pm.book.orders.values()))
    by_id = world.tell("find", id=order.order_id)["order"]
    assert by_id["order_id"] == order.order_id
    assert world.tell("find", ticket=order.ticket)["order"] == by_id
    assert world.tell("find", id="ORD_9") == {"ok": True, "order": None}
    assert world.tell("proposals")["proposals"]["source"] == "bot"


def test_the_limits_of_a_bot_tell_each_restriction_since_when() -> None:
    world = BotWorld()
    world.broker.mangle(*[lambda _: b"no JSON"] * 3)
    world.broker.sync()
    (restriction,) = world.broker.pm.restrictions
    assert world.tell("limits")["limits"]["reached"] == [
        {
            "symbol": restriction.symbol,
            "reason": restriction.reason,
            "until": restriction.until,
            "since": iso(restriction.since_ns),
        }
    ]


# An order in doubt, as it is shown to the one who has to decide.


def trace(shows: BrokerShows, **fields: Any) -> Trace:
    return Trace(shows, "it lapsed, if it is that one", ticket=7, comment="mine", **fields)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (
            trace(BrokerShows.OPEN, position=9, volume=0.1, price=1.1001),
            "7: 0.10L @ 1.1001, position 9 is open, comment 'mine'",
        ),
        (trace(BrokerShows.OPEN), "7: it works, comment 'mine'"),
        (
            trace(BrokerShows.CLOSED, position=9, volume=0.1),
            "7: 0.10L, position 9 has closed since, comment 'mine'",
        ),
        (trace(BrokerShows.NO_TRACE), "7: it lapsed, comment 'mine'"),
    ],
)
def test_what_fits_a_doubt_is_told_in_words(shown: Trace, words: str) -> None:
    assert _candidate(shown, None) == {"ticket": 7, "words": words}


@pytest.mark.parametrize(
    ("offset_sec", "when"),
    [(7_200, "2026-01-04 22:00:01 UTC"), (None, "2026-01-05 00:00:01 server time")],
)
def test_what_fits_a_doubt_is_told_with_the_time_of_its_order(
    offset_sec: int | None, when: str
) -> None:
    orders = (
        make.past_order(6),
        make.past_order(7, time_setup_msc=0),
        make.past_order(7, time_setup_msc=1_767_571_201_000),
        make.past_order(7, time_setup_msc=1),
    )
    history = History(age_sec=60, orders=orders)
    evidence = make.proven(history=history, time_offset_sec=offset_sec).evidence
    found = _candidate(trace(BrokerShows.OPEN), evidence)
    assert found["words"] == f"7: set up {when}, it works, comment 'mine'"
    nothing = make.proven(history=History(age_sec=60)).evidence
    assert _candidate(trace(BrokerShows.OPEN), nothing)["words"] == "7: it works, comment 'mine'"


def test_a_doubt_is_shown_field_by_field_and_not_without_a_reading() -> None:
    world = BotWorld()
    world.broker.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    order = world.broker.pm.submit("buy", 0.1, magic=7)
    world.broker.mangle(*[lambda _: b"no JSON"] * 9)
    blind = world.tell("doubt", id=order.order_id)
    for _ in range(9):
        if "wait" not in blind:
            break
        world.turn()
        blind = world.tell("doubt", id=order.order_id, look=blind["wait"])
    assert blind["error"].startswith(f"Nothing can be said of {order.order_id} now: ")


# What becomes of a close, by its order.


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        (
            {"status": OrderStatus.FILLED, "filled_volume": 0.1, "fill_price": 1.1},
            CloseResult(7, "closed", "A", 0.1, 1.1),
        ),
        ({"status": OrderStatus.FILLED}, CloseResult(7, "closed", "A")),
        (
            {"status": OrderStatus.FILLED, "filled_volume": 0.04, "fill_price": 1.1},
            CloseResult(7, "part", "A", 0.04, 1.1),
        ),
        (
            {"status": OrderStatus.REJECTED, "error": "closed market"},
            CloseResult(7, "refused", "A", reason="closed market"),
        ),
        ({"status": OrderStatus.CANCELED}, CloseResult(7, "refused", "A")),
        (
            {"status": OrderStatus.IN_DOUBT, "error": "no reply"},
            CloseResult(
                7,
                "doubt",
                "A",
                reason="no reply",
                then="The bot looks for it at the broker until the outcome is proven: see `trueup "
                "status`",
            ),
        ),
        ({"status": OrderStatus.SENT}, CloseResult(7, "waiting", "A")),
    ],
)
def test_what_became_of_a_close_by_the_state_of_its_order(
    fields: dict[str, Any], result: CloseResult
) -> None:
    assert BotWorld().desk._closing._result_of(7, make.sent("A", **fields)) == result


def test_a_doubt_about_a_close_names_what_ends_it() -> None:
    world = BotWorld()
    hold = Hold("EURUSD", "Order A is in doubt", "the broker's list", kind=HoldKind.DOUBT)
    other = Hold("EURUSD", "Order B is in doubt", "never", kind=HoldKind.DOUBT)
    world.broker.reconciler.holds = (other, hold)
    doubtful = make.sent("A", status=OrderStatus.IN_DOUBT)
    assert world.desk._closing._result_of(7, doubtful).then == (
        "The bot looks for it at the broker until the outcome is proven: see `trueup status`. It "
        "ends with: the broker's list"
    )


def test_a_close_that_waits_is_not_refused_when_its_command_comes_again_late() -> None:
    world = BotWorld()
    ticket = world.broker.pm.submit("buy", 0.1).ticket
    then_ns = world.broker.clock.now_ns()
    shown: dict[str, Any] = {"ticket": ticket, "side": "LONG", "lots": 0.1, "at_ns": then_ns}
    assert world.tell("close", id="k", **shown)["result"]["state"] == "waiting"
    refused = world.tell("close", id="r", **{**shown, "ticket": 99})
    assert "99 is no position of this bot's book" in refused["error"]
    world.broker.wait(31)
    assert world.tell("close", id="k", **shown)["result"]["state"] == "waiting"
    world.desk._closing._note(Command("close", id="u"), CloseResult(7, "refused"))
    assert world.tell("close", id="u", **shown)["result"]["state"] == "refused"
    assert "the bot was busy or hung" in world.tell("close", id="new", **shown)["error"]


@pytest.mark.parametrize("fields", [{"id": "k"}, {"ticket": 5}, {}])
def test_a_close_names_its_ticket_and_itself(fields: dict[str, Any]) -> None:
    assert BotWorld().tell("close", **fields)["error"] == (
        "Say which: the ticket to close, and an id of the command."
    )


def test_a_close_whose_outcome_the_journal_refuses_is_in_doubt_until_it_is_recorded() -> None:
    journal = RefusingJournal()
    world = BotWorld(journal=journal)
    ticket = world.broker.pm.submit("buy", 0.1).ticket
    journal.refuse, journal.kind = JournalError("The disk is full."), OrderFilled
    shown: dict[str, Any] = {"id": "k", "ticket": ticket, "side": "LONG", "lots": 0.1}
    world.tell("close", **shown)
    world.desk.turn()
    doubt = world.tell("closed", **shown)["result"]
    assert (doubt["state"], doubt["ticket"]) == ("doubt", ticket)
    assert "that is not in the journal yet: The disk is full." in doubt["reason"]
    assert doubt["then"] == (
        "The bot looks for it at the broker until the outcome is proven: see `trueup status`"
    )
    journal.refuse = None
    world.broker.sync()
    assert world.tell("closed", **shown)["result"]["state"] == "closed"


def test_the_figures_of_a_close_are_of_now_or_of_the_last_reading_that_was_believed() -> None:
    world = BotWorld()
    ticket = world.broker.pm.submit("buy", 0.1).ticket
    world.broker.sync()
    seen_ns = world.broker.reconciler.portfolio.as_of_ns
    assert seen_ns is not None

    def plan() -> dict[str, Any]:
        answer = world.tell("close-plan", ticket=ticket)
        while "wait" in answer:
            world.broker.wait(0.25)
            world.desk.turn()
            answer = world.tell("close-plan", ticket=ticket, look=answer["wait"])
        found: dict[str, Any] = answer["plan"]
        return found

    now = plan()
    assert (now["unknown"], now["read"] > iso(seen_ns)) == ("", True)
    world.broker.mangle(*[lambda _: b"no JSON"] * 9)
    then = plan()
    assert then["read"] == iso(seen_ns)
    assert then["unknown"]


def test_looks_for_a_person_use_the_settle_window_that_the_bot_has_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = BotWorld()
    monkeypatch.setattr(world.broker.reconciler, "get_status", lambda: {"settle_window_ms": 4_321})
    world.tell("plan")
    world.desk._observer.turn()
    assert world.desk._observer._observer.settling.window_ms == 4_321


FOUND_LATER = (
    "The journal takes nothing now. When it works again the outcome is found and recorded; until "
    "then look at the position in the terminal"
)


@pytest.mark.parametrize(
    ("became", "result"),
    [
        (
            outcome.Filled(9, 0.1, 1.1),
            CloseResult(
                7,
                "closed",
                "A",
                0.1,
                1.1,
                then="The journal takes nothing now, and gets this when it works again.",
            ),
        ),
        (
            outcome.Filled(9, 0.04, 1.1),
            CloseResult(
                7,
                "part",
                "A",
                0.04,
                1.1,
                then="The journal takes nothing now, and gets this when it works again.",
            ),
        ),
        (
            outcome.Unknown("no reply"),
            CloseResult(7, "doubt", "A", reason="no reply", then=FOUND_LATER),
        ),
        (outcome.Refused("closed market"), CloseResult(7, "refused", "A", reason="closed market")),
        (outcome.Canceled("it never left"), CloseResult(7, "refused", "A", reason="it never left")),
        (outcome.Placed(9), CloseResult(7, "doubt", "A", then=FOUND_LATER)),
        (outcome.Done(), CloseResult(7, "doubt", "A", then=FOUND_LATER)),
    ],
)
def test_what_became_of_a_close_that_left_without_the_journal(
    became: outcome.OrderOutcome, result: CloseResult
) -> None:
    assert _result_without_journal(7, Unjournalled(make.sent("A"), became)) == result


def test_the_results_of_a_hundred_closes_that_were_not_sent_are_kept() -> None:
    closing = BotWorld().desk._closing
    for number in range(101):
        closing._note(Command("close", id=f"k{number}"), CloseResult(7, "refused"))
    assert (len(closing._unsent), "k0" in closing._unsent, "k1" in closing._unsent) == (
        *(100, False, True),
    )
