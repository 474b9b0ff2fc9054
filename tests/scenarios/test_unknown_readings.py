"""Every reason for which a reading is not believed: the book stays byte for byte, the sentence can
be understood, and doing what `until` says ends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk_world import BUY, COSTLY, HEDGING, OTHER, SELL, DeskWorld, figures
from trueup.core.account.trust import NOT_CONNECTED, Reason
from trueup.core.book.book import Book
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.one_account import OneAccount
from trueup.runtime.sync.reconciler import SyncResult
from trueup.sim.market.switches import FiguresFrom, ListAnswer
from trueup.sim.terminal.terminal_faults import AnswersEmpty, AnswersPartial, Fails


def holding(world: DeskWorld) -> bytes:
    """Let the account hold two positions and a pending order, in the book too."""
    world.person.open("EURUSD", BUY, 0.2, sl=1.05)
    world.person.open("EURUSD", SELL, 0.3)
    world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    assert figures(world.sync()) == ("SUCCESS", 2, 0, 0)
    assert len(world.pm.book.pending) == 1
    return world.state()


def refuses(
    world: DeskWorld, before: bytes, reason: Reason, *words: str, after_sec: float = 2
) -> SyncResult:
    """Sync once: not believed for this reason, in these words, and nothing changed."""
    result = world.sync(after_sec)
    unknown = world.reconciler._unknown
    assert unknown is not None, result
    assert unknown.reason is reason, unknown.sentence
    status = "FAILED" if reason is Reason.WRONG_ACCOUNT else "DEGRADED"
    assert figures(result) == (status, 0, 0, 0)
    assert world.state() == before
    sentence = result.errors[0]
    for word in words:
        assert word in sentence
    assert sentence == unknown.sentence
    assert unknown.until
    assert sentence in world.reconciler.health
    assert world.reconciler.health.startswith("Degraded: ")
    (restriction,) = (r for r in world.restrictions if r.symbol == "")
    assert (restriction.reason, restriction.until) == (sentence, unknown.until)
    return result


def recovers(world: DeskWorld, before: bytes) -> None:
    """Sync once: believed again, and the book as it was."""
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert world.state() == before
    assert world.restrictions == ()
    assert world.reconciler.health == "Everything agrees (checked 0 s ago)."


# Whose account it is.


def test_wrong_account_fails_until_the_right_login_is_back_and_two_readings_agree() -> None:
    world = DeskWorld(others=(OTHER,))
    before = holding(world)
    world.terminal.switch_account(OTHER.login)
    for _ in range(3):
        names = (f"{OTHER.login}@{OTHER.server}", f"{HEDGING.login}@{HEDGING.server}")
        refuses(world, before, Reason.WRONG_ACCOUNT, *names)
    world.terminal.switch_account(HEDGING.login)
    refuses(world, before, Reason.RECONNECTED, "two readings", after_sec=3)
    recovers(world, before)


def test_same_login_at_another_server_is_another_account() -> None:
    world = DeskWorld()
    before = holding(world)
    world.tamper(lambda reply: reply["account"].update(server="Simulated-Live"))
    refuses(world, before, Reason.WRONG_ACCOUNT, "Simulated-Live")


def test_a_person_binds_the_book_to_the_terminals_account() -> None:
    world = DeskWorld(others=(OTHER,))
    holding(world)
    world.terminal.switch_account(OTHER.login)
    world.person.login = OTHER.login
    ticket = world.person.open("EURUSD", BUY, 0.5)
    assert figures(world.sync(5))[0] == "FAILED"
    result = world.reconciler.bind_to_terminal_account()
    assert figures(result) == ("SUCCESS", 1, 0, 0)
    assert set(world.book()) == {ticket}
    assert not world.pm.book.pending
    assert world.pm.book.bound is not None
    assert world.pm.book.bound.login == OTHER.login
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert world.reconciler.health.startswith("Everything agrees")


def test_binding_leaves_nothing_of_the_other_account_to_be_asked_for() -> None:
    world = DeskWorld(others=(OTHER,), deal_lag_ms=60_000)
    world.sync()
    world.trade(1)
    world.trade(-1)
    assert world.pm.book.unexplained
    world.terminal.switch_account(OTHER.login)
    world.sync(5)
    world.reconciler.bind_to_terminal_account()
    world.requests.clear()
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert len(world.requests) == 1
    assert not world.pm.book.unexplained


def test_binding_begins_the_realised_result_of_the_other_account_at_nothing() -> None:
    world = DeskWorld(others=(OTHER,), specs=(COSTLY,))
    world.sync()
    kept, closed = world.trade(1, 0.3), world.person.open("EURUSD", BUY, 0.1)
    world.sync()
    world.person.close(closed)
    world.sync()
    assert world.pm.realised == world.realised([kept.ticket, closed]) != 0.0
    world.terminal.switch_account(OTHER.login)
    world.sync(5)
    world.reconciler.bind_to_terminal_account()
    assert world.pm.realised == 0.0
    assert Book.restore(world.state()).realised == 0.0


def test_binding_to_the_account_it_is_bound_to_changes_nothing() -> None:
    world = DeskWorld()
    before = holding(world)
    assert figures(world.reconciler.bind_to_terminal_account()) == ("SUCCESS", 0, 0, 0)
    assert world.state() == before


# Whether the terminal can know.


@pytest.mark.parametrize("answer", [ListAnswer.CACHED, ListAnswer.EMPTY, ListAnswer.PARTIAL])
def test_terminal_without_its_trade_server_is_not_believed_whatever_it_lists(
    answer: ListAnswer,
) -> None:
    world = DeskWorld(disconnected_list=answer)
    before = holding(world)
    world.terminal.disconnect()
    for _ in range(3):
        refuses(world, before, Reason.NOT_CONNECTED, "no connection to its trade server")
    world.terminal.reconnect()
    refuses(world, before, Reason.RECONNECTED, "two readings in a row")
    recovers(world, before)


def test_a_bot_that_starts_while_the_link_is_down_does_not_call_the_gateway_offline() -> None:
    world = DeskWorld()
    world.terminal.disconnect()
    world.start_bot()
    result = world.reconciler.startup_recovery()
    assert result.errors == [NOT_CONNECTED.sentence]
    assert world.reconciler.unknown == NOT_CONNECTED


def test_a_gateway_of_one_account_says_which_is_logged_in_and_which_it_serves() -> None:
    world = DeskWorld(others=(OTHER,))
    before = holding(world)
    guarded = OneAccount(world.terminal)
    assert guarded.initialize(login=HEDGING.login)
    world.desk = Desk(guarded, "boot2", world.clock.now_ns)
    refuses(world, before, Reason.EPOCH_CHANGED)
    recovers(world, before)
    world.terminal.switch_account(OTHER.login)
    words = "Account 5000002 is logged in, and this gateway serves 5000001 alone"
    refuses(world, before, Reason.WRONG_ACCOUNT, words)
    world.terminal.switch_account(HEDGING.login)
    # The terminal loads its positions again.
    world.wait(3)
    refuses(world, before, Reason.RECONNECTED)
    recovers(world, before)


def test_disconnected_terminal_that_lists_nothing_but_none_cannot_be_read() -> None:
    world = DeskWorld(disconnected_list=ListAnswer.NONE)
    before = holding(world)
    world.terminal.disconnect()
    for _ in range(3):
        refuses(world, before, Reason.UNREADABLE, "could not be read", "-1")
    world.terminal.reconnect()
    refuses(world, before, Reason.RECONNECTED)
    recovers(world, before)


def test_what_happened_while_disconnected_is_believed_only_after_two_agreeing_readings() -> None:
    world = DeskWorld(resync_ms=3_000)
    before = holding(world)
    world.terminal.disconnect()
    refuses(world, before, Reason.NOT_CONNECTED)
    (first, second) = world.book()
    world.person.close(first)
    world.terminal.reconnect()
    # The terminal shows what was before for another three seconds.
    refuses(world, before, Reason.RECONNECTED, after_sec=1)
    assert figures(world.sync(1)) == ("SUCCESS", 0, 0, 0)
    result = world.sync(2)
    assert figures(result) == ("SUCCESS", 0, 1, 0)
    assert set(world.book()) == {second}
    assert "by hand" in result.explanations[0]


def test_readings_that_go_on_changing_after_a_reconnect_are_believed_when_two_agree() -> None:
    world = DeskWorld()
    before = holding(world)
    world.terminal.disconnect()
    refuses(world, before, Reason.NOT_CONNECTED)
    world.terminal.reconnect()
    for _ in range(3):
        world.person.open("EURUSD", BUY, 0.01)
        refuses(world, before, Reason.RECONNECTED)
    assert figures(world.sync()) == ("SUCCESS", 3, 0, 0)


def test_a_call_that_the_terminal_does_not_answer_is_no_empty_list() -> None:
    world = DeskWorld()
    before = holding(world)
    for function in ("account_info", "positions_get", "orders_get", "positions_total"):
        world.terminal.faults.next_call(function, Fails(mt5.RES_E_FAIL))
        refuses(world, before, Reason.UNREADABLE, function)
        refuses(world, before, Reason.RECONNECTED)
        recovers(world, before)


def test_terminal_that_restarts_and_loads_its_positions_closes_nothing() -> None:
    world = DeskWorld(synchronise_ms=10_000)
    holding(world)
    held = world.book()
    world.terminal.restart()
    result = world.sync()
    assert figures(result) == ("DEGRADED", 0, 0, 0)
    assert world.terminal.initialize()
    for _ in range(4):
        world.sync()
        assert world.book() == held
        assert len(world.pm.book.pending) == 1
    world.sync(5)
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert world.book() == held
    assert world.reconciler.health.startswith("Everything agrees")
    assert "CLOSED" not in world.actions()


@pytest.mark.parametrize("answer", ListAnswer)
@pytest.mark.parametrize("knows_account", [True, False])
def test_gateway_and_terminal_that_restart_together_close_nothing(
    answer: ListAnswer, knows_account: bool
) -> None:
    world = DeskWorld(
        synchronise_ms=5_000,
        unsynchronised_list=answer,
        unsynchronised_account_known=knows_account,
    )
    holding(world)
    held = world.book()
    world.terminal.restart()
    world.restart_gateway()
    world.sync(0.5)
    assert world.terminal.initialize()
    for _ in range(6):
        world.sync(0.5)
        assert world.book() == held
    world.sync(5)
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert world.book() == held
    assert "CLOSED" not in world.actions()


def test_a_torn_reading_after_a_reconnect_is_none_of_the_two() -> None:
    world = DeskWorld()
    before = holding(world)
    world.terminal.disconnect()
    refuses(world, before, Reason.NOT_CONNECTED)
    world.terminal.reconnect()
    refuses(world, before, Reason.RECONNECTED)
    world.person.open("EURUSD", BUY, 0.01)
    world.tamper(lambda reply: reply.update(count_after=[9, 9]))
    refuses(world, before, Reason.RECONNECTED)
    world.tamper(lambda reply: reply.update(count_after=[9, 9]))
    refuses(world, before, Reason.TORN)
    world.person.open("EURUSD", BUY, 0.01)
    refuses(world, before, Reason.RECONNECTED)
    assert figures(world.sync()) == ("SUCCESS", 2, 0, 0)


def test_first_reading_of_all_that_is_torn_binds_nothing_and_the_next_one_is_believed() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.tamper(lambda reply: reply.update(digest=""))
    assert figures(world.sync()) == ("DEGRADED", 0, 0, 0)
    assert world.pm.book.bound is None
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)
    assert world.tickets() == {ticket}


# Whether it is new.


def again(kept: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Replay a reply as the answer to the question that is asked now."""

    def change(reply: dict[str, Any]) -> None:
        number = reply["id"]
        reply.clear()
        reply.update(kept, id=number)

    return change


def test_replayed_reply_is_older_than_what_we_know() -> None:
    world = DeskWorld()
    before = holding(world)
    kept: dict[str, Any] = {}
    world.tamper(kept.update)
    recovers(world, before)
    first = next(iter(world.book()))
    world.person.close(first)
    world.sync()
    after = world.state()
    assert after != before
    latest: dict[str, Any] = {}
    world.tamper(latest.update)
    recovers(world, after)
    world.tamper(again(latest))
    refuses(world, after, Reason.OLDER, str(latest["sequence"]))
    for _ in range(3):
        world.tamper(again(kept))
        refuses(world, after, Reason.OLDER, str(kept["sequence"]))
    recovers(world, after)


def test_reply_to_another_question_is_no_answer() -> None:
    world = DeskWorld()
    before = holding(world)
    world.tamper(lambda reply: reply.update(id=reply["id"] - 1))
    refuses(world, before, Reason.UNREADABLE, "answers question")
    refuses(world, before, Reason.RECONNECTED)
    recovers(world, before)


def test_numbers_that_we_did_not_use_up_are_a_gap() -> None:
    world = DeskWorld()
    before = holding(world)
    world.tamper(lambda reply: reply.update(sequence=reply["sequence"] + 5))
    refuses(world, before, Reason.SEQUENCE_GAP, "somebody else")
    world.tamper(lambda reply: reply.update(sequence=reply["sequence"] + 5))
    recovers(world, before)


def test_replies_that_were_lost_on_the_way_are_no_gap() -> None:
    world = DeskWorld()
    before = holding(world)
    world.lose_replies(3)
    for _ in range(3):
        refuses(world, before, Reason.OFFLINE, "Gateway offline", "gave no reply")
    recovers(world, before)


def test_restarted_gateway_gets_a_second_look() -> None:
    world = DeskWorld()
    before = holding(world)
    world.restart_gateway()
    refuses(world, before, Reason.EPOCH_CHANGED, "restarted")
    due = world.reconciler.get_status()["next_sync_due"]
    assert due - world.clock.now_ns() / 1e9 <= 1.0
    recovers(world, before)


def test_restarted_gateway_whose_second_reading_differs_gets_a_third() -> None:
    world = DeskWorld()
    before = holding(world)
    world.restart_gateway()
    refuses(world, before, Reason.EPOCH_CHANGED)
    world.person.open("EURUSD", BUY, 0.01)
    refuses(world, before, Reason.RECONNECTED)
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)


def test_server_clock_that_goes_back_makes_one_reading_unusable() -> None:
    world = DeskWorld()
    before = holding(world)
    world.wait(1)
    world.terminal.switches.server_offset_minutes = 60
    world.quote(1.10000)
    refuses(world, before, Reason.CLOCK_JUMP, "went back by", "s")
    recovers(world, before)


def test_a_symbol_that_is_not_asked_for_any_more_does_not_turn_the_clock_back() -> None:
    world = DeskWorld()
    holding(world)
    ticket = world.person.open("USDJPY", BUY, 0.1)
    world.wait(60)
    world.terminal.quote("USDJPY", 150.0, 150.012)
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    world.person.close(ticket)
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)


# Whether it is whole.


def test_counts_that_do_not_fit_the_list_are_a_torn_reading() -> None:
    world = DeskWorld()
    before = holding(world)
    # The desk looks four times before it gives up and says what it saw.
    world.terminal.faults.next_call("positions_get", *[AnswersEmpty()] * 4)
    refuses(world, before, Reason.TORN, "0 positions", "counted 2")
    recovers(world, before)
    world.terminal.faults.next_call("positions_get", *[AnswersPartial(1)] * 4)
    refuses(world, before, Reason.TORN, "1 positions", "counted 2")
    recovers(world, before)
    world.terminal.faults.next_call("orders_get", *[AnswersEmpty()] * 4)
    refuses(world, before, Reason.TORN, "0 pending orders")
    recovers(world, before)


def test_a_reading_that_was_torn_once_is_read_again_by_the_gateway_itself() -> None:
    world = DeskWorld()
    before = holding(world)
    world.terminal.faults.next_call("positions_get", AnswersEmpty(), AnswersPartial(1))
    recovers(world, before)


TORN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a row is gone": (lambda r: r["positions"].pop(), "counted"),
    "a row is gone and the counts with it": (
        lambda r: (r["positions"].pop(), r.update(count_before=[1, 1], count_after=[1, 1])),
        "digest",
    ),
    "all rows are the same": (
        lambda r: r["positions"].__setitem__(1, r["positions"][0]),
        "2 times",
    ),
    "a volume is another": (lambda r: r["positions"][0].update(volume=0.9), "digest"),
    "a stop loss is gone": (lambda r: r["positions"][0].update(sl=0.0), "digest"),
    "the pending order is another": (lambda r: r["orders"][0].update(volume=0.9), "digest"),
    "the digest is missing": (lambda r: r.update(digest=""), "digest"),
    "the count before is another": (lambda r: r.update(count_before=[3, 1]), "counted"),
    "the count after is another": (lambda r: r.update(count_after=[2, 0]), "counted"),
}


@pytest.mark.parametrize("what", TORN)
def test_torn_list_is_not_believed(what: str) -> None:
    world = DeskWorld()
    before = holding(world)
    change, word = TORN[what]
    world.tamper(change)
    refuses(world, before, Reason.TORN, word)
    recovers(world, before)


SHAPELESS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no account": lambda r: r.pop("account"),
    "no digest": lambda r: r.pop("digest"),
    "positions null": lambda r: r.update(positions=None),
    "a volume that is text": lambda r: r["positions"][0].update(volume="a lot"),
    "no positions": lambda r: r.pop("positions"),
}


@pytest.mark.parametrize("what", SHAPELESS)
def test_reply_without_its_shape_is_no_empty_list(what: str) -> None:
    world = DeskWorld()
    before = holding(world)
    world.tamper(SHAPELESS[what])
    refuses(world, before, Reason.UNREADABLE, "No usable reading")
    refuses(world, before, Reason.RECONNECTED)
    recovers(world, before)


# Whether the account agrees.


def test_empty_list_is_not_believed_while_the_account_shows_that_something_is_open() -> None:
    world = DeskWorld(
        unsynchronised_list=ListAnswer.EMPTY,
        account_figures=FiguresFrom.SERVER,
        synchronise_ms=10_000,
    )
    before = holding(world)
    world.terminal.restart()
    assert world.terminal.initialize()
    for _ in range(3):
        refuses(world, before, Reason.ACCOUNT_CONTRADICTS, "The list is empty")
    world.wait(10)
    recovers(world, before)


def test_half_a_list_is_not_believed_while_the_account_shows_another_result() -> None:
    world = DeskWorld(
        unsynchronised_list=ListAnswer.PARTIAL,
        account_figures=FiguresFrom.SERVER,
        synchronise_ms=10_000,
    )
    before = holding(world)
    world.quote(1.10500)
    world.terminal.restart()
    assert world.terminal.initialize()
    for _ in range(3):
        refuses(world, before, Reason.ACCOUNT_CONTRADICTS, "add up to", "the account says")
    world.wait(10)
    recovers(world, before)


EMPTIED = {
    "margin": ({"margin": 220.0}, "220.00 of margin"),
    "profit": ({"margin": 0.0, "profit": -8.0}, "a floating result of -8.00"),
}


@pytest.mark.parametrize("figure", EMPTIED)
def test_empty_list_needs_an_account_without_margin_and_without_a_floating_result(
    figure: str,
) -> None:
    world = DeskWorld()
    world.person.open("EURUSD", BUY, 0.2)
    assert figures(world.sync())[1] == 1
    before = world.state()
    changes, word = EMPTIED[figure]
    world.person.close_all()
    world.tamper(lambda reply: reply["account"].update(changes))
    refuses(world, before, Reason.ACCOUNT_CONTRADICTS, word)
    assert figures(world.sync()) == ("SUCCESS", 0, 1, 0)


def test_an_equity_that_is_lower_than_the_balance_is_no_contradiction() -> None:
    """A day's commission and a day's gains can be blocked, with nothing open."""
    world = DeskWorld()
    world.tamper(lambda reply: reply["account"].update(equity=9_990.0))
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)


def test_margin_that_a_pending_order_reserves_is_no_contradiction() -> None:
    world = DeskWorld()
    world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    world.tamper(lambda reply: reply["account"].update(margin=110.0))
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    assert len(world.pm.book.pending) == 1


@pytest.mark.parametrize("count", [1, 60])
def test_rounding_of_many_positions_is_no_contradiction(count: int) -> None:
    world = DeskWorld()
    for number in range(count):
        world.quote(round(1.1 + number * 0.00013, 5))
        world.person.open("EURUSD", BUY, 0.01 + 0.01 * (number % 7))
    assert figures(world.sync()) == ("SUCCESS", count, 0, 0)
    # Each position's result may be rounded by a cent on its way into the account's.
    world.tamper(lambda r: r["account"].update(profit=r["account"]["profit"] + 0.01 * count))
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
    before = world.state()
    world.tamper(lambda r: r["account"].update(profit=r["account"]["profit"] + 0.02 * count + 0.02))
    refuses(world, before, Reason.ACCOUNT_CONTRADICTS)


# What stays true of all of them.


def test_a_reading_that_is_not_believed_closes_nothing_even_when_everything_is_closed() -> None:
    world = DeskWorld()
    before = holding(world)
    world.person.close_all()
    for change in (lambda r: r.update(digest=""), lambda r: r["terminal"].update(connected=False)):
        world.tamper(change)
        assert figures(world.sync())[0] == "DEGRADED"
        assert world.state() == before
    assert figures(world.sync())[0] == "DEGRADED"  # two readings have to agree
    assert figures(world.sync()) == ("SUCCESS", 0, 2, 0)


def test_terminal_that_stays_away_is_not_asked_every_second() -> None:
    world = DeskWorld()
    holding(world)
    world.terminal.disconnect()
    world.requests.clear()
    world.turn(600)
    assert len(world.requests) < 600 / 15


def test_every_reason_is_shown_here() -> None:
    """By name: which tests ran before in the same process is left to chance.

    NO_EVIDENCE is shown by the scenarios of evidence, REAL_MONEY by those of the account meant.
    """
    shown = set(re.findall(r"\bReason\.([A-Z_]+)", Path(__file__).read_text("utf-8")))
    elsewhere = {"NO_EVIDENCE", "REAL_MONEY"}
    assert {reason.name for reason in Reason} - elsewhere <= shown
