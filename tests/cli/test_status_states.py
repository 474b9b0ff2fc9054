"""Each state of a bot in a real situation: the sentence, who has to act, and what still works."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bot_world import FACTS, BotWorld, Idle
from tests.orders.test_recovery_cases import died_at
from tests.paper.fake_broker import World
from tests.support.desk_world import BUY, HEDGING, OTHER, SELL, DeskWorld
from tests.support.make import RefusingJournal
from tests.support.order_world import OrderWorld
from trueup.core.account.intended_account import IntendedAccount
from trueup.core.account.trust import Bound
from trueup.core.dates import iso
from trueup.core.limits.modes import BY_FAILURE
from trueup.core.policy import Action, Adopt, Policy
from trueup.errors import JournalConflict, JournalError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal.memory import MemoryJournal
from trueup.observe.status.findings import (
    DOUBT_PATIENCE_SEC,
    INTERVALS_LATE,
    PATIENCE_SEC,
)
from trueup.observe.status.status import PriceRow, State, Status, Verdict
from trueup.protocol.ticks import Tick
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.control.commands.status import PRICE_OLD_SEC, StatusSource, _price
from trueup.runtime.story.story import last_entries
from trueup.runtime.sync.results import SyncResult, SyncStatus
from trueup.runtime.time.clock import Moment
from trueup.runtime.trading.loop import Feed, TradingLoop
from trueup.runtime.trading.prices import GatewayPrices
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal_faults import AnswerLost

EURUSD = frozenset({"EURUSD"})
ASKING = Policy(symbols=EURUSD, adopt=Adopt.ASK, magics=frozenset({7}))
NEVER = AnswerLost(executed=False, pipe_breaks=False)
DONE = AnswerLost(executed=True, pipe_breaks=False)


def source_of(world: DeskWorld) -> StatusSource:
    prices = {"EURUSD": GatewayPrices(world.gateway, "EURUSD")}
    return StatusSource(TradingLoop(world.pm, world.reconciler, Idle(), prices), FACTS)


def links(status: Status) -> dict[str, bool | None]:
    return {row.name: row.works for row in status.links}


# All is well.


@pytest.mark.parametrize(
    ("by", "state"), [("anna", State.AGREES), (BY_FAILURE, State.NEEDS_PERSON)]
)
def test_a_strategy_that_failed_needs_a_person_and_a_persons_pause_does_not(
    by: str, state: State
) -> None:
    world = BotWorld(journal=MemoryJournal())
    world.broker.sync()
    world.broker.pm.pause(by, why="KeyError: 'x' (my_bot.py, line 3)")
    world.turn()
    status = world.status()
    assert status.state is state
    if by == BY_FAILURE:
        assert status.sentence == "The strategy failed and is paused. One action is yours."
        assert status.detail == "KeyError: 'x' (my_bot.py, line 3)"
        assert status.needs == ["Correct the strategy, start the bot again, then `trueup resume`."]


def test_a_bot_that_agrees_says_on_how_much_and_that_nobody_has_to_act() -> None:
    world = BotWorld(journal=MemoryJournal())
    world.broker.pm.submit("buy", 0.1, sl=1.05, tp=1.2)
    world.broker.wait(1)
    world.broker.pm.submit("sell", 0.2)
    world.broker.sync()
    world.turn()
    status = world.status()
    assert (status.state, status.state.exit_code) == (State.AGREES, 0)
    assert status.sentence == "Book and broker agree on two positions. Nothing is yours to do."
    assert status.works == "Entries, exits and stops work."
    assert (status.needs, status.to_decide, status.held, status.in_doubt) == ([], [], [], [])
    assert {row.verdict for row in status.books} == {Verdict.AGREES}
    assert [(row.action, row.lots) for row in status.fills] == [("SELL", 0.2), ("BUY", 0.1)]
    assert links(status) == {"bot": True, "gateway": True, "terminal": True, "journal": None}
    account = world.broker.ledger
    assert (status.money.balance, status.money.currency) == (account.balance, "USD")
    assert status.events[0].action == "EXPLAINED"
    assert status.trade_mode == "demo"


def test_a_change_that_settles_is_no_trouble() -> None:
    world = BotWorld()
    world.broker.terminal.switches.position_lag_ms = 10_000
    world.broker.pm.submit("buy", 0.1)
    world.broker.sync(0.1)
    status = world.status()
    assert status.state is State.AGREES
    assert status.sentence == (
        "Book and broker agree on one position; one change still settles. Nothing is yours to do."
    )
    assert [row.kind for row in status.held] == ["settling"]


def test_a_position_that_is_newer_than_the_reading_is_not_called_missing() -> None:
    world = BotWorld()
    world.broker.pm.submit("buy", 0.1)
    (row,) = world.status().books
    assert (row.verdict, row.broker) == (Verdict.UNSEEN, None)


def test_positions_of_others_are_folded_into_a_count_and_listed_apart() -> None:
    world = BotWorld()
    ticket = world.broker.person.open("USDJPY", BUY, 0.02)
    world.broker.sync()
    status = world.status()
    assert (status.foreign, status.books) == (1, [])
    assert [(row.ticket, row.symbol) for row in status.foreign_rows] == [(ticket, "USDJPY")]


def test_a_row_of_others_that_cannot_be_read_is_mentioned_and_no_trouble() -> None:
    world = World()
    world.broker.hold(7, "sideways", 0.02)
    world.broker.rows[7]["symbol"] = "XAUUSD"
    world.loop.last_result = world.reconciler.startup_recovery()
    status = StatusSource(world.loop, FACTS).status()
    assert status.state is State.AGREES
    assert status.sentence.startswith("Both books are flat; one row of others cannot be read.")


# A person decides.


def test_a_position_of_a_hand_waits_with_who_what_and_the_consequences() -> None:
    world = BotWorld(policy=ASKING)
    world.broker.pm.submit("sell", 0.1, magic=7)
    phone = Person(world.broker.terminal.broker, HEDGING.login, mt5.ORDER_REASON_MOBILE)
    ticket = phone.open("EURUSD", SELL, 0.3)
    world.broker.sync()
    status = world.status()
    assert (status.state, status.state.exit_code) == (State.NEEDS_PERSON, 1)
    assert status.sentence == "The books differ by one position. One decision is yours."
    (row,) = status.to_decide
    assert (row.ticket, row.symbol) == (ticket, "EURUSD")
    assert row.what.startswith(f"Position {ticket} is at the broker and not in the book: SHORT")
    assert row.opened.endswith("by hand on the phone")
    assert row.protection == "no stop loss, no take profit"
    assert "the net of EURUSD goes from -0.10 to -0.40 lots" in row.if_approved
    assert row.if_left == "it is not traded; the difference stays, and is shown"
    assert status.since == row.since
    # Differences first.
    assert [one.verdict for one in status.books] == [Verdict.ONLY_BROKER, Verdict.AGREES]
    assert status.works == "Entries, exits and stops work."


@pytest.mark.parametrize(
    ("policy", "verdict", "change", "words"),
    [
        (Policy(symbols=EURUSD, ghost=Action.ASK), Verdict.ONLY_BOOK, "close", "no longer at the"),
        (Policy(symbols=EURUSD, drift=Action.ASK), Verdict.DIFFERS, "part", "differs at the"),
        (Policy(symbols=EURUSD, protection=Action.ASK), Verdict.DIFFERS, "sl", "has other stops"),
    ],
)
def test_each_kind_of_difference_says_what_an_approval_does(
    policy: Policy, verdict: Verdict, change: str, words: str
) -> None:
    world = BotWorld(policy=policy)
    ticket = world.broker.person.open("EURUSD", BUY, 0.2)
    world.broker.sync()
    person = world.broker.person
    changes: dict[str, Any] = {
        "close": lambda: person.close(ticket),
        "part": lambda: person.close(ticket, 0.1),
        "sl": lambda: person.modify(ticket, sl=1.05),
    }
    changes[change]()
    world.broker.sync(10)
    status = world.status()
    (row,) = status.to_decide
    assert words in row.what
    assert row.if_approved
    assert row.if_left
    assert [one.verdict for one in status.books] == [verdict]
    assert status.sentence == "The books differ by one position. One decision is yours."


def test_two_decisions_and_a_broker_that_left_are_told_in_one_sentence() -> None:
    world = BotWorld(policy=ASKING)
    for lots in (0.1, 0.2):
        world.broker.person.open("EURUSD", BUY, lots)
    world.broker.sync()
    world.broker.lose_replies(1_000)
    world.loop.last_result = world.broker.sync()
    status = world.status()
    assert status.sentence == (
        "The books differ by two positions, and the gateway does not answer. "
        "Two decisions are yours."
    )
    assert links(status)["gateway"] is False
    assert links(status)["terminal"] is None
    # Each finding has a sentence of its own, for a message about this finding alone.
    assert [(row.kind, row.sentence) for row in status.findings] == [
        ("hold ask", "The books differ by two positions. Two decisions are yours."),
        ("unseen", "The gateway does not answer. The bot retries by itself."),
    ]
    assert status.findings[0].need == status.needs[0]
    assert status.findings[1].since == status.checked


def test_a_position_without_a_stop_is_an_action_and_no_decision() -> None:
    world = BotWorld(policy=Policy(symbols=EURUSD, expects_stop_loss=True))
    world.broker.person.open("EURUSD", SELL, 0.05)
    world.broker.sync()
    status = world.status()
    assert status.sentence == "One position has no stop loss. One action is yours."
    assert status.to_decide == []


# An order in doubt.


def test_while_waiting_is_right_an_order_in_doubt_is_the_bot_s_affair() -> None:
    world = BotWorld()
    world.broker.terminal.faults.next_send(NEVER)
    order = world.broker.pm.submit("buy", 0.1, key="monday-entry")
    before = world.status()
    assert (before.state, before.state.exit_code) == (State.DEGRADED, 2)
    assert before.sentence == "One order is in doubt. The bot retries by itself."
    (row,) = before.in_doubt
    assert (row.order_id, row.action, row.lots) == (order.order_id, "BUY", 0.1)
    assert row.key == "monday-entry"
    assert row.evidence == "the broker has not been asked about it yet"
    assert row.next_look is not None
    assert (before.since, before.needs) == (row.since, [])
    world.loop.last_result = world.broker.sync()
    after = world.status()
    assert after.state is State.DEGRADED
    assert after.works == "Entries in EURUSD wait; exits and stops work."
    assert after.in_doubt[0].evidence.startswith("nothing fits in the last ")
    assert after.in_doubt[0].decided == "by a trace at the broker, or after 60 s of proven absence"


def test_a_doubt_that_no_reading_ends_is_a_person_s_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DeskWorld, "keeps_record", False)
    world = BotWorld()
    world.broker.terminal.faults.next_send(NEVER)
    order = world.broker.pm.submit("buy", 0.1)
    # The lists can be read, and the history cannot.
    world.broker.tamper(*[lambda snapshot: snapshot.update(history=None)] * 100)
    assert world.status().state is State.DEGRADED
    world.broker.sync(DOUBT_PATIENCE_SEC)
    status = world.status()
    assert status.sentence == "One order is in doubt. One action is yours."
    assert f"trueup settle {order.order_id}" in status.needs[0]


def test_a_doubt_that_no_evidence_decides_is_a_person_s_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DeskWorld, "keeps_record", False)
    world = BotWorld()
    broker = world.broker
    broker.pm.submit("buy", 0.2, magic=7)
    broker.sync(200)
    broker.terminal.faults.next_send(NEVER)
    order = broker.pm.submit("buy", 0.1, magic=7)
    robot = Person(broker.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7)
    robot.open("EURUSD", BUY, 0.1)
    broker.sync(6)
    status = world.status()
    assert status.state is State.NEEDS_PERSON
    assert status.sentence.startswith("One order is in doubt, and no evidence decides. One deci")
    (row,) = status.in_doubt
    assert row.needs_person
    assert row.decided == f"by a person: `trueup settle {order.order_id}`"


# The broker cannot be seen or believed.


def test_a_gateway_that_is_away_is_retried_and_then_a_person_s() -> None:
    world = BotWorld()
    seen = world.status().checked
    world.broker.lose_replies(1_000)
    world.loop.last_result = world.broker.sync()
    away = world.status()
    assert (away.state, away.since) == (State.DEGRADED, seen)
    assert away.sentence == "The gateway does not answer. The bot retries by itself."
    assert away.works == "Entries wait, and no close gets through; stops at the broker work."
    world.broker.sync(PATIENCE_SEC)
    assert world.status().state is State.NEEDS_PERSON
    world.broker.heal_wire()
    world.loop.last_result = world.broker.sync()
    assert world.status().state is State.AGREES


def test_a_terminal_without_its_trade_server_is_not_called_a_gateway_that_is_away() -> None:
    world = BotWorld()
    world.broker.tamper(lambda snapshot: snapshot["terminal"].update(connected=False))
    world.loop.last_result = world.broker.sync()
    status = world.status()
    assert status.sentence.startswith("The terminal has no connection to its trade server.")
    assert links(status) == {"bot": True, "gateway": True, "terminal": False, "journal": None}


def test_another_account_is_a_person_s_at_once() -> None:
    world = BotWorld(others=(OTHER,))
    assert world.broker.terminal.login(OTHER.login)
    world.loop.last_result = world.broker.sync()
    status = world.status()
    assert status.sentence == ("The terminal is logged in to another account. One action is yours.")
    assert "5000002@Simulated-Demo" in status.detail
    assert status.works == ("Entries wait, and no close gets through; stops at the broker work.")


def test_a_terminal_whose_button_is_off_takes_no_order_and_a_person_presses_it() -> None:
    world = BotWorld()
    world.broker.terminal.algo_trading = False
    world.broker.sync()
    status = world.status()
    assert (status.state, status.state.exit_code) == (State.NEEDS_PERSON, 1)
    assert status.sentence == (
        "Algo Trading is off in the terminal, so every order is refused. One action is yours."
    )
    assert status.needs == ["Press Algo Trading in the terminal's toolbar (Ctrl+E)."]
    assert status.works == (
        "No order gets through, neither to open nor to close; stops at the broker work."
    )
    world.broker.terminal.algo_trading = True
    world.broker.sync()
    assert world.status().state is State.AGREES


def test_a_login_that_may_only_read_is_a_person_s_once_the_terminal_has_loaded() -> None:
    world = BotWorld()
    world.broker.terminal.investor = True
    world.broker.sync()
    status = world.status()
    assert status.state is State.DEGRADED
    assert status.sentence == (
        "The login of the terminal may not trade, so every order is refused. The bot retries by "
        "itself."
    )
    world.turn()
    world.broker.sync(PATIENCE_SEC)
    status = world.status()
    assert status.state is State.NEEDS_PERSON
    assert "with the trading password" in status.needs[0]


def test_the_log_tells_each_change_of_the_state_once_and_the_end_of_trouble(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    world = BotWorld()

    def told() -> list[str]:
        found = [row.getMessage() for row in caplog.records]
        caplog.clear()
        return [line for line in found if line.startswith("[STATUS]")]

    world.turn(4)
    assert told() == []
    world.broker.terminal.disconnect()
    world.broker.sync()
    world.turn(4)
    assert told() == [
        "[STATUS] The terminal has no connection to its trade server. The bot retries by itself. "
        "Entries wait, and no close gets through; stops at the broker work."
    ]
    world.broker.sync(PATIENCE_SEC)
    world.turn()
    assert told() == [
        "[STATUS] The terminal has no connection to its trade server. One action is yours. "
        "Entries wait, and no close gets through; stops at the broker work. To do: See to the "
        "terminal: it has lost its trade server."
    ]
    world.broker.terminal.reconnect()
    world.broker.sync()
    world.broker.sync()
    world.turn()
    assert told()[-1:] == [
        "[STATUS] Both books are flat. Nothing is yours to do. Entries, exits and stops work."
    ]


def test_before_the_first_reading_nothing_is_claimed() -> None:
    world = DeskWorld()
    status = source_of(world).status()
    assert status.sentence == "The broker has not been seen yet. The bot retries by itself."
    assert (status.state, status.checked, status.books) == (State.DEGRADED, None, [])
    assert (status.money.balance, status.works) == (None, "Entries wait; exits and stops work.")


def test_figures_that_are_too_old_are_no_agreement() -> None:
    world = BotWorld()
    world.broker.wait(16)
    assert world.status().state is State.AGREES
    world.broker.wait(60)
    status = world.status()
    assert status.sentence == (
        "The last reading of the broker is too old. The bot retries by itself."
    )


def test_a_bot_that_syncs_many_times_in_a_second_is_not_late_at_once() -> None:
    world = BotWorld()
    world.broker.reconciler.sync_interval = 0.1
    world.broker.wait(2.5)
    assert world.status().state is State.AGREES
    world.broker.wait(1)
    assert world.status().state is State.DEGRADED


def test_a_reading_is_late_after_three_intervals_with_the_pace_of_the_loop() -> None:
    world = BotWorld()
    world.loop.pace_sec = 5.0
    world.broker.sync()
    world.broker.wait(INTERVALS_LATE * 20.0)
    assert world.status().state is State.AGREES
    world.broker.wait(0.1)
    assert world.status().state is State.DEGRADED


def test_a_price_that_does_not_move_is_marked_as_old() -> None:
    world = BotWorld()
    world.turn()
    (fresh,) = world.status().prices
    assert (fresh.bid, fresh.is_old) == (1.1, False)
    world.broker.wait(PRICE_OLD_SEC + 1)
    (old,) = world.status().prices
    assert (old.bid, old.is_old) == (1.1, True)


def feed(tick: Tick | None, seen: Moment | None = None, unknown: str | None = None) -> Feed:
    class Source:
        def latest(self, wait_ms: int) -> None:
            """Tell nothing."""

    made = Feed("EURUSD", Source())
    made.tick, made.seen, made.unknown = tick, seen, unknown
    return made


def test_a_price_is_told_with_the_time_of_its_arrival_and_that_of_the_market() -> None:
    seen = Moment(1_767_571_200_000_000_000, 5_000_000_000, 7)
    tick = Tick("EURUSD", 1.1, 1.1001, 1_767_571_199_500)
    age_ns = seen.age_ns + PRICE_OLD_SEC * 1_000_000_000
    assert _price(feed(tick, seen), age_ns) == PriceRow(
        symbol="EURUSD",
        bid=1.1,
        ask=1.1001,
        at="2026-01-05T00:00:00.000+00:00",
        age_sec=60.0,
        market_time="2026-01-04T23:59:59.500+00:00",
        is_old=False,
    )
    old = _price(feed(tick, seen), age_ns + 40_000_000)
    assert (old.is_old, old.age_sec) == (True, 60.0)
    assert _price(feed(tick, seen), age_ns + 260_000_000).age_sec == 60.3
    # A price that cannot be renewed is old at once.
    lost = _price(feed(tick, seen, "Gateway offline"), seen.age_ns)
    assert (lost.is_old, lost.trouble, lost.age_sec) == (True, "Gateway offline", 0.0)
    timeless = _price(feed(Tick("EURUSD", 1.1, 1.1001, 0), seen), age_ns)
    assert timeless.market_time is None
    first = _price(feed(Tick("EURUSD", 1.1, 1.1001, 1), seen), age_ns)
    assert first.market_time == "1970-01-01T00:00:00.001+00:00"
    nothing = PriceRow(symbol="EURUSD", trouble="Gateway offline")
    assert _price(feed(None, None, "Gateway offline"), age_ns) == nothing
    assert _price(feed(tick), age_ns) == PriceRow(symbol="EURUSD")


def test_why_nothing_opens_while_the_broker_is_not_seen() -> None:
    world = BotWorld()
    for result, words in (
        (None, "until the broker has been seen"),
        (SyncResult(SyncStatus.SUCCESS, errors=["no"]), ""),
        (SyncResult(SyncStatus.PARTIAL), ""),
        (SyncResult(SyncStatus.DEGRADED), "while the broker is not believed"),
        (SyncResult(SyncStatus.DEGRADED, errors=["Gateway offline", "more"]), "while Gateway off"),
        (SyncResult(SyncStatus.FAILED, errors=["no list"]), "while no list"),
    ):
        world.loop.last_result = result
        assert world.status().entries_refused.startswith(words)
        assert bool(world.status().entries_refused) == bool(words)


@pytest.mark.parametrize(
    ("intended", "needs"),
    [
        (
            IntendedAccount(),
            "Log the terminal in to the book's account; or, to bind the book to the terminal's "
            "account from now on, `trueup rebind`.",
        ),
        (
            IntendedAccount(Bound(5_000_001, "Simulated-Demo"), "TRUEUP_ACCOUNT"),
            "Log the terminal in to 5000001@Simulated-Demo, or correct TRUEUP_ACCOUNT.",
        ),
        # An account that the program itself names is no setting.
        (
            IntendedAccount(Bound(5_000_001, "Simulated-Demo")),
            "Log the terminal in to 5000001@Simulated-Demo.",
        ),
        # The book has a third account, so neither login corrects both.
        (
            IntendedAccount(Bound(7, "Simulated-Demo"), "TRUEUP_ACCOUNT"),
            "Log the terminal in to the book's account; or, to bind the book to the terminal's "
            "account from now on, `trueup rebind`.",
        ),
    ],
)
def test_another_account_is_told_with_what_corrects_it(
    intended: IntendedAccount, needs: str
) -> None:
    world = BotWorld(others=(OTHER,))
    world.broker.sync()
    assert world.broker.terminal.login(OTHER.login)
    world.broker.reconciler.intended = intended
    world.loop.last_result = world.broker.sync()
    assert world.status().needs == [needs]


def test_the_log_tells_a_state_once_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trueup.status")
    world = BotWorld()
    world.turn(3)
    assert caplog.messages == []
    world.broker.mangle(*[lambda _: b"no JSON"] * 3)
    for _ in range(3):
        world.loop.last_result = world.broker.sync()
        world.desk.turn()
    (told,) = [one for one in caplog.records if one.name == "trueup.status"]
    status = world.status()
    assert (told.levelname, told.getMessage()) == (
        "WARNING",
        f"[STATUS] {status.sentence} {status.works}",
    )
    world.broker.wait(PATIENCE_SEC)
    world.broker.mangle(lambda _: b"no JSON")
    world.loop.last_result = world.broker.sync()
    world.desk.turn()
    last = [one for one in caplog.records if one.name == "trueup.status"][-1]
    needs = " ".join(world.status().needs)
    assert needs
    assert last.getMessage().endswith(f" To do: {needs}")
    for _ in range(3):
        world.loop.last_result = world.broker.sync()
        world.desk.turn()
    over = [one for one in caplog.records if one.name == "trueup.status"][-1]
    status = world.status()
    assert (over.levelname, over.getMessage()) == (
        "INFO",
        f"[STATUS] {status.sentence} {status.works}",
    )


def test_the_last_events_are_read_again_only_after_a_change_of_the_book(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = RefusingJournal()
    world = BotWorld(journal=journal)
    world.broker.person.open("EURUSD", BUY, 0.1)
    world.broker.sync()
    reads: list[object] = []
    is_gone = False

    def counted(journal: Any) -> Any:
        reads.append(journal)
        if is_gone:
            raise JournalError("the disk is gone")
        return last_entries(journal)

    monkeypatch.setattr("trueup.runtime.control.commands.status.last_entries", counted)
    before = world.status().events
    assert before
    assert world.status().events == before
    assert reads == [journal]
    world.broker.person.open("EURUSD", BUY, 0.1)
    world.broker.sync()
    # What could not be read is read at the next question; until then the earlier events stay.
    is_gone = True
    assert world.status().events == before
    is_gone = False
    assert world.status().events[0] != before[0]
    assert BotWorld().status().events == []
    # A journal that could not be read from the beginning has none either.
    is_gone = True
    assert BotWorld(journal=RefusingJournal()).status().events == []


def test_the_times_of_a_status_are_those_of_its_readings() -> None:
    world = BotWorld()
    world.broker.sync()
    world.broker.wait(3)
    status = world.status()
    assert status.age_sec == pytest.approx(3.0)
    now_ns = world.broker.clock.now_ns()
    assert status.now == iso(now_ns)
    assert status.checked == iso(now_ns - 3_000_000_000)
    assert status.next_look == iso(world.broker.reconciler.due_ns)
    latest = world.broker.reconciler.latest
    assert latest is not None
    assert status.sync_ms == round(latest.sync_time_ms, 1)
    assert status.sync_count == world.broker.reconciler.sync_count > 0


# The journal, and contradictions.


def test_while_the_journal_takes_nothing_the_bot_can_neither_open_nor_close() -> None:
    journal = RefusingJournal()
    world = BotWorld(journal=journal)
    journal.refuse = JournalError("the disk is full")
    world.broker.person.open("EURUSD", BUY, 0.05)
    world.loop.last_result = world.broker.sync()
    status = world.status()
    assert status.state is State.NEEDS_PERSON
    assert status.works == (
        "The strategy can neither open nor close: use `trueup close TICKET` or the terminal."
    )
    assert (status.detail, links(status)["journal"]) == ("the disk is full", False)
    assert status.since is not None


def test_a_bot_that_was_taken_over_is_fenced_out() -> None:
    journal = RefusingJournal()
    world = BotWorld(journal=journal)
    journal.refuse = JournalConflict("stream EURUSD was taken over by process 7")
    world.broker.person.open("EURUSD", BUY, 0.05)
    world.loop.last_result = world.broker.sync()
    status = world.status()
    assert (status.state, status.state.exit_code) == (State.HALTED, 3)
    assert status.sentence.startswith("Another process took this book over")
    assert status.detail == "stream EURUSD was taken over by process 7"


def test_a_contradiction_between_journal_and_broker_halts_entries(tmp_path: Path) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    order = world.order(died_at(world, CrashPoint.AFTER_INTENT))
    world.person.open("EURUSD", BUY, 0.1, comment=order.token)
    world.sync()
    status = source_of(world).status()
    assert (status.state, status.state.exit_code) == (State.HALTED, 3)
    assert status.sentence == (
        "Entries in EURUSD are halted: journal and broker contradict each other about one "
        "position. One action is yours."
    )
    assert "case C" in status.needs[0]
    assert status.works == "Entries in EURUSD wait; exits and stops work."


def test_the_time_since_when_is_that_of_the_first_reading_with_the_finding() -> None:
    world = BotWorld(policy=ASKING)
    world.broker.person.open("EURUSD", BUY, 0.1)
    world.broker.sync()
    world.desk.turn()
    world.broker.sync(30)
    world.desk.turn()
    status = world.status()
    assert status.since is not None
    assert status.since < (status.checked or "")
    world.tell("approve", id=status.to_decide[0].id)
    world.turn(3)
    assert world.status().since is None
