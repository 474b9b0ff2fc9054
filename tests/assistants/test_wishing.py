"""What assistants propose and submit: a bot in this process, and time in the test's hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.cli.bot_world import BotWorld
from tests.support import make
from tests.support.desk_world import HEDGING, NETTING
from tests.support.make import RefusingJournal
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import Event, OrderKind, ProposalEnd
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.book.proposals import Proposal
from trueup.core.book.wishes import OrderWish, WishAction, order_key
from trueup.core.dates import iso
from trueup.core.holds import Hold
from trueup.core.limits.limits import Limits
from trueup.core.model import Side
from trueup.errors import JournalError
from trueup.runtime.assistants.asking import changed_since
from trueup.runtime.assistants.outcomes import (
    WishOutcome,
    WishState,
    outcome_of,
    proposal_outcome,
)
from trueup.runtime.assistants.views import book_view, order_view
from trueup.runtime.bot.answers import order_words
from trueup.runtime.control.commands import wishing
from trueup.runtime.data.rows import order_values
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost

WHO = "mcp:ada/desk"
BUY: dict[str, Any] = {"action": "open", "side": "buy", "volume": 0.1, "sl": 1.05}


class Beside:
    """A bot, and an assistant and a person who ask it."""

    def __init__(self, account: AccountSetup = HEDGING) -> None:
        self.journal = RefusingJournal()
        self.world = BotWorld(account, journal=self.journal)
        self.pm = self.world.broker.pm

    def tell(self, command: str, **fields: Any) -> dict[str, Any]:
        """Give a command of now."""
        at_ns = fields.pop("at_ns", self.pm.clock.now_ns())
        return self.world.tell(command, at_ns=at_ns, **fields)

    def ask(self, command: str, key: str = "a", **wish: Any) -> dict[str, Any]:
        """Have an assistant ask; return the outcome after the bot's next turns."""
        told = self.tell(command, key=key, who=WHO, why="the news", wish=wish or BUY)
        assert told["ok"], told
        self.world.turn(5)
        return self.outcome(key)

    def outcome(self, name: str = "a") -> dict[str, Any]:
        """Return what became of a wish."""
        told = self.tell("outcome", id=name, who=WHO)
        assert told["ok"], told
        outcome: dict[str, Any] = told["outcome"]
        return outcome

    def refused(self, command: str, **fields: Any) -> str:
        """Give a command that is refused, and return the reason."""
        told = self.tell(command, **{"who": WHO, "key": "a", "wish": BUY, **fields})
        assert not told["ok"], told
        reason: str = told["error"]
        return reason

    def approve(self, name: str, who: str = "Ada") -> dict[str, Any]:
        """Have a person approve a proposal; return the outcome."""
        told = self.tell("approve", id=name, who=who)
        assert told["ok"], told
        self.world.turn(5)
        return self.outcome(name)

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of a class in the journal."""
        return [event for event in self.journal.read() if isinstance(event, kind)]

    @property
    def sent(self) -> int:
        """How many orders the broker's ledger has."""
        ledger = self.world.broker.ledger
        return len(ledger.orders) + len(ledger.order_history)

    def restart(self) -> None:
        """Let the process be killed and start again on its journal."""
        self.world.broker.start_bot(journal=self.journal)
        self.world.start()
        self.pm = self.world.broker.pm


@pytest.fixture
def beside() -> Beside:
    return Beside()


# Submit.


def test_an_order_is_filled_by_the_bots_desk_with_who_and_why(beside: Beside) -> None:
    told = beside.tell("submit", key="a", who=WHO, why="the news", wish=BUY)
    assert told["outcome"]["state"] == "waiting"
    assert beside.sent == 0
    beside.world.turn()
    outcome = beside.outcome()
    (order,) = beside.pm.book.orders.values()
    assert outcome == {
        "key": "a",
        "state": "filled",
        "wish": "BUY 0.10L @ market, EURUSD",
        "order_id": order.order_id,
        "ticket": order.ticket,
        "lots": 0.1,
        "price": order.fill_price,
    }
    assert (order.by, order.why, order.key, order.sl) == (WHO, "the news", "mcp:a", 1.05)


def test_the_same_key_sends_nothing_again_and_returns_the_first_order(beside: Beside) -> None:
    first = beside.ask("submit")
    # At once, and also after a restart.
    assert beside.tell("submit", key="a", who="mcp:ada/other", wish=BUY)["outcome"] == first
    beside.restart()
    assert beside.ask("submit") == first
    assert beside.sent == 1


def test_the_same_key_in_the_same_turn_is_one_order(beside: Beside) -> None:
    for _ in range(3):
        told = beside.tell("submit", key="a", who=WHO, wish=BUY)
        assert told["outcome"]["state"] == "waiting"
    why = beside.refused("submit", wish={**BUY, "volume": 0.2})
    assert "a wish that has not been carried out yet, and comes again with other terms" in why
    assert "other terms" in beside.refused("propose")
    beside.world.turn(5)
    assert beside.sent == 1


def test_the_same_key_with_other_terms_is_refused(beside: Beside) -> None:
    beside.ask("submit")
    assert "volume=0.1, and comes again with volume=0.2" in beside.refused(
        "submit", wish={**BUY, "volume": 0.2}
    )
    assert "comes again with side=" in beside.refused("submit", wish={**BUY, "side": "sell"})
    assert "comes again with sl=0.0" in beside.refused(
        "submit", wish={"action": "open", "side": "buy", "volume": 0.1}
    )
    assert beside.sent == 1
    assert len(beside.of(events.WishRefused)) == 3


def test_a_strategys_key_is_another_key(beside: Beside) -> None:
    mine = beside.pm.submit("buy", 0.1, key="a", sl=1.05)
    assert beside.ask("submit")["order_id"] != mine.order_id
    assert beside.pm.submit("buy", 0.1, key="a", sl=1.05) is mine
    assert beside.sent == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": ""}, "key is missing: give a name of your own for this order"),
        ({"key": "a\x1b[2J"}, "give 1 to 64 printable characters"),
        ({"key": " a"}, "without a blank at either end"),
        ({"key": "a" * 65}, "give 1 to 64 printable characters"),
        ({"wish": None}, "wish is missing"),
        ({"at_ns": 0}, "at_ns is missing"),
        ({"who": "Ada"}, "who='Ada' is no assistant"),
        ({"wish": {**BUY, "stop_loss": 1.05}}, "stop_loss"),
        ({"wish": {**BUY, "action": "buy"}}, "cannot be read"),
        ({"wish": {**BUY, "ticket": 5}}, "ticket=5 is not valid: to open has only"),
        ({"wish": {"action": "open", "volume": 0.1}}, "side is missing: to open needs it"),
        ({"wish": {"action": "close", "volume": 0.1}}, "ticket is missing: to close needs it"),
        ({"wish": {**BUY, "symbol": "X" * 65}}, "no symbol is so long"),
    ],
)
def test_a_wish_that_is_not_valid_is_refused_at_once(
    beside: Beside, fields: dict[str, Any], words: str
) -> None:
    for command in ("submit", "propose"):
        assert words in beside.refused(command, **fields)
    beside.world.turn(3)
    assert beside.sent == 0
    assert not beside.of(events.ProposalMade)


def test_a_wish_without_a_key_is_in_the_log_alone(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    why = beside.refused("submit", key="")
    assert caplog.messages == [f"[PROPOSAL] {WHO} was refused: {why}"]
    assert not beside.of(events.WishRefused)
    caplog.clear()
    beside.refused("submit", key="", who="mcp:" + "x" * 200)
    assert caplog.messages[0].startswith("[PROPOSAL] mcp:" + "x" * 96 + " was refused: ")


def test_a_refusal_that_cannot_be_journalled_is_in_the_log(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    beside.journal.refuse = JournalError("the disk is full")
    why = beside.refused("submit", wish={**BUY, "ticket": 5})
    assert f"[PROPOSAL] {WHO} was refused: {why} (the disk is full)" in caplog.messages


def test_an_approval_is_answered_field_by_field(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    name = beside.ask("propose")["proposal_id"]
    beside.tell("pause", who="Ada")
    assert beside.tell("approve", id=name, who="Bob") == {
        "ok": True,
        "id": name,
        "kind": "proposal",
        "ticket": 0,
        "identifier": 0,
        "reason": "BUY 0.10L EURUSD, SL 1.05",
        "sync_count": beside.world.broker.reconciler.sync_count,
        "within_sec": 0.0,
    }
    beside.world.turn()
    refused = beside.outcome(name)
    assert refused["state"] == "refused"
    assert f"[PROPOSAL] {name} was approved by Bob: {refused['reason']}" in caplog.messages


@pytest.mark.parametrize("command", ["submit", "propose"])
@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({**BUY, "volume": 0.015}, "steps of 0.01 lots; give 0.01 or 0.02"),
        ({**BUY, "volume": -1}, "give a finite number of lots above 0"),
        ({**BUY, "symbol": "GBPUSD"}, "the book's symbols are EURUSD"),
        ({**BUY, "limit": 1.0, "stop": 1.2}, "limit and stop cannot both be given"),
        ({"action": "close", "ticket": 99}, "No position with ticket 99"),
        ({"action": "cancel", "ticket": 99}, "No pending order 99 in the book"),
        ({"action": "modify", "ticket": 99, "sl": 1.0}, "No position with ticket 99"),
        ({"action": "modify", "ticket": 99, "limit": 1.0}, "99 is no pending order of the book"),
    ],
)
def test_what_the_desk_refuses_is_refused_with_its_reason_and_journalled(
    beside: Beside, command: str, wish: dict[str, Any], words: str
) -> None:
    outcome = beside.ask(command, **wish)
    assert outcome["state"] == "refused"
    assert words in outcome["reason"]
    (refusal,) = beside.of(events.WishRefused)
    assert (refusal.by, refusal.key, refusal.proposed) == (WHO, "a", command == "propose")
    assert refusal.because == outcome["reason"]
    # The key is still free: nothing was recorded under it.
    assert beside.ask("submit")["state"] == "filled"


def test_a_pause_holds_for_every_order_of_an_assistant(beside: Beside) -> None:
    ticket = beside.ask("submit")["ticket"]
    beside.tell("pause", who="Ada")
    for key, wish in {
        "b": BUY,
        "c": {"action": "close", "ticket": ticket},
        "d": {"action": "modify", "ticket": ticket, "sl": 1.04},
    }.items():
        outcome = beside.ask("submit", key, **wish)
        assert outcome["state"] == "refused"
        assert "trading is paused by Ada" in outcome["reason"]
    beside.tell("resume", who="Ada")
    beside.tell("close-only", who="Ada")
    assert beside.ask("submit", "b", **BUY)["state"] == "refused"
    assert beside.ask("submit", "c", action="close", ticket=ticket)["state"] == "filled"


def test_limits_hold() -> None:
    beside = Beside()
    limits = beside.pm._limits
    limits.limits, limits.is_off = Limits(lots=0.15), False
    beside.world.turn(80)
    assert beside.ask("submit")["state"] == "filled"
    outcome = beside.ask("submit", "b", **BUY)
    assert outcome["state"] == "refused"
    assert "refused by a risk limit" in outcome["reason"]
    proposed = beside.ask("propose", "c", **BUY)
    assert "refused by a risk limit" in proposed["reason"]


def test_a_close_a_modification_a_pending_order_and_a_cancellation(beside: Beside) -> None:
    ticket = beside.ask("submit", "a", **{**BUY, "volume": 0.3})["ticket"]
    part = beside.ask("submit", "part", action="close", ticket=ticket, volume=0.1)
    assert (part["state"], part["lots"]) == ("filled", 0.1)
    changed = beside.ask("submit", "stops", action="modify", ticket=ticket, sl=1.04, tp=1.2)
    assert changed["state"] == "done"
    position = beside.pm.book.holding_by_ticket(ticket)
    assert position is not None
    assert (position.position.sl, position.position.tp) == (1.04, 1.2)
    placed = beside.ask("submit", "limit", action="open", side="buy", volume=0.1, limit=1.05)
    assert placed["state"] == "placed"
    order = placed["ticket"]
    moved: dict[str, Any] = {"action": "modify", "ticket": order, "limit": 1.04, "sl": 1.0, "tp": 0}
    assert beside.ask("submit", "move", **moved)["state"] == "done"
    assert beside.pm.book.pending[order].order.price_open == 1.04
    assert beside.ask("submit", "cancel", action="cancel", ticket=order)["state"] == "done"
    # After all that is gone, each key still names its first order.
    assert beside.ask("submit", "move", **moved)["state"] == "done"
    assert beside.ask("submit", "cancel", action="cancel", ticket=order)["state"] == "done"
    whole = beside.ask("submit", "whole", action="close", ticket=ticket)
    assert (whole["state"], whole["lots"]) == ("filled", 0.2)
    assert beside.ask("submit", "whole", action="close", ticket=ticket) == whole


def test_a_rejection_by_the_broker_is_refused_with_its_words(beside: Beside) -> None:
    beside.world.broker.terminal.faults.next_send(Answered(10019))
    outcome = beside.ask("submit")
    assert (outcome["state"], bool(outcome["reason"])) == ("refused", True)
    assert beside.outcome()["order_id"]


def test_a_lost_answer_is_in_doubt_until_a_sync_finds_the_order(beside: Beside) -> None:
    beside.world.broker.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    told = beside.tell("submit", key="a", who=WHO, wish=BUY)
    beside.world.desk.turn()
    outcome = beside.outcome()
    assert (outcome["state"], "ticket" in outcome) == ("in_doubt", False)
    assert outcome["reason"]
    assert outcome["evidence"] == "the broker has not been asked about it yet"
    assert "ask again with the same key" in outcome["known"]
    assert outcome["next_look"]
    # Asked again meanwhile, nothing is sent again.
    told = beside.tell("submit", key="a", who=WHO, wish=BUY)
    assert told["outcome"]["state"] == "in_doubt"
    beside.world.turn(100)
    assert beside.ask("submit")["state"] == "filled"
    assert beside.sent == 1


def test_an_outcome_that_the_journal_does_not_take_is_in_doubt() -> None:
    beside = Beside()
    beside.journal.refuse, beside.journal.kind = JournalError("no space"), events.OrderFilled
    beside.tell("submit", key="a", who=WHO, wish=BUY)
    beside.world.desk.turn()
    outcome = beside.outcome()
    assert outcome["state"] == "in_doubt"
    assert "as soon as the journal takes events again" in outcome["known"]
    beside.journal.refuse = None
    beside.world.turn(80)
    assert beside.outcome()["state"] == "filled"
    assert beside.sent == 1


def test_without_a_journal_that_takes_events_nothing_is_sent(beside: Beside) -> None:
    beside.journal.refuse = JournalError("the disk is full")
    for command in ("submit", "propose"):
        outcome = beside.ask(command)
        assert (outcome["state"], "the disk is full" in outcome["reason"]) == ("refused", True)
    beside.journal.refuse = None
    assert beside.sent == 0
    assert not beside.of(events.ProposalMade)


def test_a_command_that_waited_in_front_of_a_hung_bot_is_refused(beside: Beside) -> None:
    old_ns = beside.pm.clock.now_ns() - 31_000_000_000
    for command in ("submit", "propose"):
        assert "31 s ago; the bot was busy or hung" in beside.refused(command, at_ns=old_ns)
    made = beside.ask("propose")
    why = beside.refused("approve", id=made["proposal_id"], who="Ada", at_ns=old_ns)
    assert "the bot was busy or hung" in why
    beside.world.turn(3)
    assert beside.sent == 0


def test_an_assistant_in_a_loop_is_stopped(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    beside.ask("submit", "first", **BUY)
    for _ in range(wishing.MOST_A_MINUTE - 1):
        beside.refused("submit", wish={**BUY, "ticket": 5})
    for _ in range(3):
        assert "More than 60 requests in a minute" in beside.refused("submit")
    # The journal is not filled, and an order that was taken is still told.
    assert len(beside.of(events.WishRefused)) == wishing.MOST_A_MINUTE - 1
    assert beside.tell("submit", key="first", who=WHO, wish=BUY)["ok"]
    beside.world.broker.wait(61)
    assert beside.ask("submit")["state"] == "filled"


def test_a_key_that_nobody_used(beside: Beside) -> None:
    told = beside.tell("outcome", id="x", who=WHO)
    assert told["error"] == "This bot has no order and no proposal with the key 'x'."


def test_on_a_netting_account_a_close_waits_for_one_more_reading() -> None:
    beside = Beside(account=NETTING)
    ticket = beside.ask("submit", **{**BUY, "volume": 0.3})["ticket"]
    # A hand closes a part that the bot has not seen yet.
    beside.world.broker.person.close(ticket, 0.2)
    beside.tell("submit", key="c", who=WHO, wish={"action": "close", "ticket": ticket})
    for _ in range(5):
        beside.world.desk.turn()
    outcome = beside.outcome("c")
    assert outcome["state"] == "refused"
    assert "the book has LONG 0.30L, and the broker LONG 0.10L" in outcome["reason"]


# Propose.


def test_a_proposal_waits_for_a_person_and_is_then_one_order(beside: Beside) -> None:
    made = beside.ask("propose")
    name = made["proposal_id"]
    assert made == {
        "key": "a",
        "state": "proposed",
        "wish": "BUY 0.10L EURUSD, SL 1.05",
        "proposal_id": name,
        "expires": made["expires"],
    }
    assert beside.sent == 0
    plan = beside.world.look("plan")
    assert plan["waiting"] == [name]
    assert plan["needs_person"] is True
    assert plan["proposals"] == [made]
    assert f"{WHO} asks for it (the news)" in plan["proposed"]
    done = beside.approve(name)
    assert (done["state"], done["decided_by"], done["proposal_id"]) == ("filled", "Ada", name)
    (order,) = beside.pm.book.orders.values()
    assert (order.by, order.key, order.why) == ("Ada", "mcp:a", "the news")
    # Approved again, as after a lost answer, it is the same order.
    assert beside.approve(name) == done
    assert beside.ask("propose") == done
    assert beside.sent == 1
    (end,) = beside.of(events.ProposalEnded)
    assert (end.end, end.by, end.order_id) == (ProposalEnd.APPROVED, "Ada", order.order_id)
    assert beside.world.look("plan")["waiting"] == []


@pytest.mark.parametrize("who", [WHO, "MCP:ada", " mcp:x"])
def test_no_assistant_approves_its_own_proposal_or_anything_else(beside: Beside, who: str) -> None:
    name = beside.ask("propose")["proposal_id"]
    for command in ("approve", "settle", "rebind", "pause", "resume", "close-only", "close"):
        said = beside.refused(command, who=who, id=name)
        assert f"`{command}` is for a person" in said
        assert "is an assistant" in said
    beside.world.turn(5)
    assert beside.sent == 0
    assert beside.pm.paused is None


def test_the_same_key_is_the_same_proposal_and_other_terms_are_refused(beside: Beside) -> None:
    made = beside.ask("propose")
    assert beside.ask("propose") == made
    assert "other terms" in beside.refused("propose", wish={**BUY, "volume": 0.2})
    assert made["proposal_id"] in beside.refused("submit")
    assert len(beside.of(events.ProposalMade)) == 1
    # After it has ended, too.
    beside.tell("reject", id=made["proposal_id"], who="Ada", why="too much")
    assert beside.ask("propose")["state"] == "rejected"
    assert made["proposal_id"] in beside.refused("submit")


def test_a_rejection_and_a_withdrawal(beside: Beside) -> None:
    first, second = (beside.ask("propose", key, **BUY)["proposal_id"] for key in "ab")
    told = beside.tell("reject", id=first, who="Ada", why="too  much")["outcome"]
    assert (told["state"], told["decided_by"], told["reason"]) == ("rejected", "Ada", "too much")
    assert "only it and a person can end it" in beside.refused("reject", id=second, who="mcp:bob")
    told = beside.tell("reject", id=second, who=WHO)["outcome"]
    assert (told["state"], told["decided_by"]) == ("withdrawn", WHO)
    assert "is rejected already (too much)" in beside.refused("reject", id=first, who="Ada")
    assert "There is no proposal 'x'" in beside.refused("reject", id="x", who="Ada")
    # An approval of what has ended sends nothing.
    assert beside.approve(first)["state"] == "rejected"
    assert beside.sent == 0


def test_a_proposal_that_nobody_decides_expires_also_if_the_clock_is_set_back(
    beside: Beside,
) -> None:
    beside.tell("propose", key="a", who=WHO, wish=BUY, lifetime_sec=60)
    beside.world.turn(2)
    name = beside.outcome()["proposal_id"]
    beside.world.broker.clock.set_date(-3600)
    beside.world.turn(300)
    assert beside.outcome()["state"] == "expired"
    (end,) = beside.of(events.ProposalEnded)
    assert (end.end, end.by) == (ProposalEnd.EXPIRED, "")
    assert beside.approve(name)["state"] == "expired"
    assert beside.sent == 0


def test_an_approval_after_the_expiry_is_refused_even_before_the_end_is_journalled(
    beside: Beside,
) -> None:
    name = beside.ask("propose")["proposal_id"]
    beside.world.broker.wait(901)
    beside.journal.refuse = JournalError("the disk is full")
    outcome = beside.approve(name)
    assert (outcome["state"], "expired at" in outcome["reason"]) == ("refused", True)
    assert beside.sent == 0


@pytest.mark.parametrize("seconds", [-1, 29, 86_401])
def test_a_lifetime_out_of_range_is_refused(beside: Beside, seconds: int) -> None:
    beside.tell("propose", key="a", who=WHO, wish=BUY, lifetime_sec=seconds)
    beside.world.turn(2)
    assert "give 30 to 86400 seconds" in beside.outcome()["reason"]


def test_more_proposals_than_a_person_decides_are_refused(beside: Beside) -> None:
    for number in range(20):
        assert beside.ask("propose", f"key {number}", **BUY)["state"] == "proposed"
    assert "20 proposals wait for a person already" in beside.ask("propose")["reason"]


def test_while_paused_a_close_may_be_proposed_and_a_person_sends_it(beside: Beside) -> None:
    ticket = beside.ask("submit")["ticket"]
    beside.tell("pause", who="Ada")
    assert "paused by Ada" in beside.ask("propose", "b", **BUY)["reason"]
    made = beside.ask("propose", "c", action="close", ticket=ticket)
    assert made["wish"] == f"close 0.10L of position {ticket} EURUSD (LONG)"
    assert beside.approve(made["proposal_id"])["state"] == "filled"


def test_an_approval_that_is_refused_leaves_the_proposal_waiting(beside: Beside) -> None:
    name = beside.ask("propose")["proposal_id"]
    beside.tell("pause", who="Ada")
    outcome = beside.approve(name)
    assert (outcome["state"], "paused by Ada" in outcome["reason"]) == ("refused", True)
    assert beside.outcome()["state"] == "proposed"
    beside.tell("resume", who="Ada")
    assert beside.approve(name)["state"] == "filled"
    assert beside.sent == 1


def test_a_proposal_about_a_position_that_has_changed_is_void(beside: Beside) -> None:
    ticket = beside.ask("submit", **{**BUY, "volume": 0.3})["ticket"]
    beside.world.turn(80)
    gone, less = (
        beside.ask("propose", key, action="close", ticket=ticket)["proposal_id"] for key in "bc"
    )
    beside.pm.close(ticket, 0.1)
    outcome = beside.approve(less)
    assert (outcome["state"], "has 0.20 lots" in outcome["reason"]) == ("void", True)
    beside.pm.close(ticket)
    outcome = beside.approve(gone)
    assert (outcome["state"], outcome["reason"]) == ("void", f"{ticket} has left the book")
    assert [end.end for end in beside.of(events.ProposalEnded)] == [ProposalEnd.VOID] * 2


def test_another_account_between_an_approval_and_its_turn_sends_nothing(beside: Beside) -> None:
    name = beside.ask("propose")["proposal_id"]
    beside.tell("approve", id=name, who="Ada")
    bound = make.bound()
    beside.pm.commit([msgspec.structs.replace(bound, login=bound.login + 1)])
    beside.world.desk.turn()
    outcome = beside.outcome(name)
    assert (outcome["state"], outcome["reason"]) == ("refused", f"There is no proposal {name!r}.")
    assert beside.sent == 0


def test_a_journal_in_trouble_is_not_asked_in_every_turn(beside: Beside) -> None:
    beside.ask("propose")
    beside.world.broker.wait(901)
    beside.journal.refuse = JournalError("the disk is full")
    beside.world.turn()
    assert beside.pm.journal_trouble
    asked = beside.journal.asked
    for _ in range(5):
        beside.world.desk.turn()
    assert beside.journal.asked == asked
    beside.journal.refuse = None
    beside.world.turn(80)
    assert beside.outcome()["state"] == "expired"


def test_proposals_survive_a_restart(beside: Beside) -> None:
    made = beside.ask("propose")
    beside.restart()
    assert beside.outcome() == made
    assert beside.ask("propose") == made
    assert beside.approve(made["proposal_id"])["state"] == "filled"


def test_a_proposal_whose_order_was_recorded_before_a_crash_ends_at_the_next_start(
    beside: Beside,
) -> None:
    """Killed after the order and before the end of the proposal: nothing is sent again."""
    name = beside.ask("propose")["proposal_id"]
    beside.pm.submit("buy", 0.1, sl=1.05, key="mcp:a", who="Ada")
    beside.restart()
    beside.world.turn()
    (end,) = beside.of(events.ProposalEnded)
    assert (end.end, end.by) == (ProposalEnd.APPROVED, "Ada")
    assert beside.approve(name)["state"] == "filled"
    assert beside.sent == 1


def test_an_approval_whose_outcome_cannot_be_journalled_is_in_doubt_and_ends_later() -> None:
    beside = Beside()
    name = beside.ask("propose")["proposal_id"]
    beside.journal.refuse = JournalError("no space")
    beside.journal.kind = events.OrderFilled
    beside.tell("approve", id=name, who="Ada")
    beside.world.desk.turn()
    assert beside.outcome(name)["state"] == "in_doubt"
    beside.journal.refuse = None
    beside.world.turn(80)
    assert beside.outcome(name)["state"] == "filled"
    assert len(beside.of(events.ProposalEnded)) == 1
    assert beside.sent == 1


def test_texts_of_an_assistant_cannot_break_lines_of_the_log(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    why = "fine\n2026-01-05 [FILL] CONFIRMED \x1b[2J" + "x" * 1000
    beside.tell("propose", key="a", who="mcp:a\nb", why=why, wish=BUY)
    beside.world.turn(2)
    (made,) = beside.of(events.ProposalMade)
    assert made.by == "mcp:a b"
    assert "\n" not in made.why
    assert "\x1b" not in made.why
    assert len(made.why) <= 520


# What an assistant reads, field by field.


ORDER: dict[str, Any] = {
    "kind": OrderKind.STOP_LIMIT,
    "magic": 3,
    "stoplimit": 1.04,
    "sl": 1.0,
    "tp": 1.2,
    "position": 7,
    "target": 9,
    "key": "k",
    "why": "the news",
    "by": "Ada",
    "comment": "mine",
    "status": OrderStatus.FILLED,
    "ticket": 11,
    "filled_volume": 0.04,
    "fill_price": 1.1,
    "fill_ns": make.NOW_NS + 1_000_000_000,
    "error": "in part",
}


def book_with(*orders: Order) -> Book:
    """A book of orders as they stand, found by their keys and their doubts as in a real one."""
    book = make.book_with(*orders)
    for order in orders:
        book.by_key[order.key] = order
        if order.status is OrderStatus.IN_DOUBT:
            book.in_doubt[order.order_id] = order
    return book


def test_an_order_is_read_field_by_field() -> None:
    whole = order_view(make.sent("A", **ORDER))
    assert msgspec.structs.asdict(whole) == {
        "order_id": "A",
        "key": "k",
        "symbol": "EURUSD",
        "side": "BUY",
        "kind": "stop_limit",
        "lots": 0.1,
        "sl": 1.0,
        "tp": 1.2,
        "closes": 7,
        "about": 9,
        "status": "FILLED",
        "ticket": 11,
        "filled_lots": 0.04,
        "price": 1.1,
        "created": iso(make.NOW_NS),
        "filled": iso(make.NOW_NS + 1_000_000_000),
        "reason": "in part",
        "why": "the news",
        "by": "Ada",
    }
    plain = order_view(make.sent("A"))
    assert (plain.filled, plain.reason, plain.ticket, plain.price) == (None, "", None, None)


def test_the_rows_of_a_table_have_nothing_where_an_order_has_nothing() -> None:
    assert order_values(make.sent("A", **ORDER)) == {
        "order_id": "A",
        "created": make.NOW_NS,
        "symbol": "EURUSD",
        "magic": 3,
        "side": "BUY",
        "kind": "stop_limit",
        "volume": 0.1,
        "price": 1.05,
        "stoplimit": 1.04,
        "sl": 1.0,
        "tp": 1.2,
        "closes": 7,
        "target": 9,
        "order_key": "k",
        "why": "the news",
        "asked_by": "Ada",
        "comment": "mine",
        "status": "FILLED",
        "ticket": 11,
        "done": make.NOW_NS + 1_000_000_000,
        "fill_price": 1.1,
        "filled": 0.04,
        "error": "in part",
    }
    plain = order_values(make.sent("A", volume=0.0, entry_price=0.0))
    assert {name for name, value in plain.items() if value is None} == {
        *("volume", "price", "stoplimit", "sl", "tp", "closes", "target", "order_key", "why"),
        *("asked_by", "comment", "ticket", "done", "fill_price", "filled", "error"),
    }


def test_a_book_is_read_with_its_positions_and_those_of_others() -> None:
    mine = make.position(7, identifier=7, magic=3, comment="mine", price_current=1.2, profit=5.0)
    other = make.position(8, identifier=0, symbol="GOLD", side=Side.SELL, price_current=0.0)
    book = make.bound_book(mine)
    ours = make.pending(50)
    book.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=ours))
    foreign = make.pending(51, comment="theirs")
    seen = make.proven(mine, other, orders=(ours, foreign))
    view = book_view(book, stream="s", source="bot", count=5, seen=seen, read_ns=make.NOW_NS)
    assert (view.source, view.stream, view.account, view.currency) == ("bot", "s", "1@Demo", "USD")
    assert (view.balance, view.equity, view.realised) == (1_000.0, 1_000.0, 0.0)
    assert view.read == iso(make.NOW_NS)
    assert [(row.ticket, row.ours, row.side) for row in view.positions] == [
        (7, True, "LONG"),
        (8, False, "SHORT"),
    ]
    first, second = view.positions
    assert (first.magic, first.broker_comment, first.lots, first.symbol) == (
        *(3, "mine", mine.volume, "EURUSD"),
    )
    assert (first.price_open, first.sl, first.tp) == (mine.price_open, mine.sl, mine.tp)
    assert (second.price_now, second.profit) == (None, other.profit)
    assert [(row.ticket, row.ours, row.broker_comment) for row in view.pending] == [
        (50, True, ours.comment),
        (51, False, "theirs"),
    ]
    assert (view.pending[0].kind, view.pending[0].lots) == (ours.type.value, ours.volume)
    assert (view.pending[0].price_open, view.pending[0].magic) == (ours.price_open, ours.magic)
    # From a journal alone: no price and no money of now.
    dead = book_view(book, stream="s", source="journal", count=5)
    assert (dead.balance, dead.equity, dead.read) == (None, None, None)
    assert [(row.ticket, row.price_now, row.profit) for row in dead.positions] == [(7, None, None)]
    assert [row.ticket for row in dead.pending] == [50]
    nothing = book_view(Book(), stream="s", source="journal", count=5)
    assert (nothing.account, nothing.currency) == (None, "")


def test_orders_in_doubt_come_first_and_then_the_newest() -> None:
    orders = [make.sent(name, status=OrderStatus.FILLED) for name in "ABC"]
    doubt = make.sent("D", status=OrderStatus.IN_DOUBT)
    book = book_with(orders[0], doubt, *orders[1:])
    for count, names in ((0, "D"), (1, "DC"), (2, "DCB"), (9, "DCBA")):
        view = book_view(book, stream="s", source="bot", count=count)
        assert "".join(row.order_id for row in view.orders) == names


# What became of an order.


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        (
            {"status": OrderStatus.REJECTED, "error": "closed"},
            {"state": WishState.REFUSED, "reason": "closed"},
        ),
        (
            {"status": OrderStatus.CANCELED, "error": "never left"},
            {"state": WishState.REFUSED, "reason": "never left"},
        ),
        (
            {"status": OrderStatus.CANCELED, "error": "given up", "unproven": True},
            {
                "state": WishState.IN_DOUBT,
                "reason": "given up",
                "known": "the bot has given it up: a person has to look at the account",
            },
        ),
        (
            {
                "status": OrderStatus.FILLED,
                "ticket": 7,
                "filled_volume": 0.1,
                "fill_price": 1.1,
            },
            {"state": WishState.FILLED, "ticket": 7, "lots": 0.1, "price": 1.1},
        ),
        (
            {
                "status": OrderStatus.FILLED,
                "ticket": 7,
                "filled_volume": 0.04,
                "fill_price": 1.1,
            },
            {
                "state": WishState.FILLED,
                "ticket": 7,
                "lots": 0.04,
                "price": 1.1,
                "reason": "filled in part: 0.04 of 0.10 lots",
            },
        ),
        (
            {"status": OrderStatus.FILLED, "kind": OrderKind.LIMIT, "ticket": 7},
            {"state": WishState.PLACED, "ticket": 7},
        ),
        (
            {"status": OrderStatus.FILLED, "kind": OrderKind.CANCEL, "target": 9},
            {"state": WishState.DONE},
        ),
        (
            {"status": OrderStatus.IN_DOUBT, "error": "no reply"},
            {
                "state": WishState.IN_DOUBT,
                "reason": "no reply",
                "evidence": "the broker has not been asked about it yet",
                "known": "when a look at the broker proves it: ask again with the same key",
                "next_look": iso(5_000_000_000),
            },
        ),
        (
            {"status": OrderStatus.SENT},
            {
                "state": WishState.IN_DOUBT,
                "reason": "its outcome is not in the journal yet",
                "evidence": "the broker has not been asked about it yet",
                "known": "as soon as the journal takes events again: ask again with the same key",
                "next_look": iso(5_000_000_000),
            },
        ),
    ],
)
def test_what_became_of_a_wish_by_the_state_of_its_order(
    fields: dict[str, Any], outcome: dict[str, Any]
) -> None:
    order = make.sent("A", key=order_key("k"), **fields)
    found = outcome_of(book_with(order), "k", (), 5_000_000_000)
    words = f"{order_words(order)}, EURUSD"
    assert found == WishOutcome(key="k", order_id="A", **{"wish": words, **outcome})


def test_what_ends_the_doubt_about_a_wish() -> None:
    order = make.sent("A", key=order_key("k"), status=OrderStatus.IN_DOUBT)
    book = book_with(order)
    other = Hold("EURUSD", "B", "u", order_id="B", evidence="of another", needs_person=True)
    hold = Hold("EURUSD", "A", "u", order_id="A", evidence="it fits 7")
    waits = outcome_of(book, "k", (other, hold), 1)
    assert waits is not None
    assert waits.evidence == "it fits 7"
    assert waits.known == "when a look at the broker proves it: ask again with the same key"
    asked = outcome_of(book, "k", (msgspec.structs.replace(hold, needs_person=True),), 1)
    assert asked is not None
    assert asked.known == "when a person has looked and run `trueup settle A`"
    dead = outcome_of(book, "k", (), None)
    assert dead is not None
    assert (dead.known, dead.next_look) == (
        "not before a bot runs again on this journal: it asks the broker at its start",
        None,
    )
    assert outcome_of(book, "other") is None


def test_a_proposal_is_read_field_by_field() -> None:
    made = make.proposed("P1", "k")
    waiting = proposal_outcome(Proposal(made))
    assert waiting == WishOutcome(
        key="k",
        state=WishState.PROPOSED,
        wish=made.wish.words,
        proposal_id="P1",
        expires=iso(made.expires_ns),
    )
    end = events.ProposalEnded(1, "P1", ProposalEnd.REJECTED, "Ada", "too much", "A")
    assert proposal_outcome(Proposal(made, end)) == WishOutcome(
        key="k",
        state=WishState.REJECTED,
        wish=made.wish.words,
        reason="too much",
        order_id="A",
        proposal_id="P1",
        expires=iso(made.expires_ns),
        decided_by="Ada",
    )


def test_how_the_target_of_a_proposal_may_have_changed() -> None:
    here = make.position(7, identifier=7, side=Side.SELL)
    book = make.book_of(here)
    book.apply(events.PendingAdopted(at_ns=make.NOW_NS, order=make.pending(50)))

    def changed(ticket: int, side: Side | None) -> str:
        wish = OrderWish(WishAction.CLOSE, ticket=ticket, side=side)
        return changed_since(book, wish)

    assert changed(0, None) == ""
    assert changed(7, Side.SELL) == ""
    assert changed(7, Side.BUY) == "7 is on the other side now"
    assert changed(50, Side.BUY) == ""
    assert changed(50, Side.SELL) == "50 is on the other side now"
    assert changed(9, Side.BUY) == "9 has left the book"
