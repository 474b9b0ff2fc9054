"""Orders whose answer was lost, refused, late or strange, settled by what the broker shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.desk_world import BUY, HEDGING, NETTING, SELL
from tests.support.order_world import OrderWorld
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.strategies import StrategyRow, strategy_rows
from trueup.core.holds import HoldKind
from trueup.core.model import OrderType
from trueup.core.policy import GRACE_SEC, Adopt, Policy
from trueup.core.retcodes import LAST_ERRORS, RETCODES, Effect
from trueup.errors import Refused
from trueup.gateway.reading.snapshots import Snapshots
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.snapshot import SnapshotReply, SnapshotRequest
from trueup.sim.market.switches import DownSend
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    DoneWithoutDeal,
    Hang,
    PlacedLater,
    TimedOut,
)

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
RESTARTED = pytest.mark.parametrize("restarted", [False, True], ids=["live", "restarted"])
COMMENTS: dict[str, dict[str, Any]] = {
    "kept": {},
    "before": {"comment_prefix": "MAM/"},
    "cut": {"comment_characters_max": 7},
    "cut short": {"comment_characters_max": 4},
    "emptied": {"comment_replaced_by": ""},
    "rewritten": {"comment_replaced_by": "executed by server 7"},
}
REWRITTEN = ["cut short", "emptied", "rewritten"]
COMMENT = pytest.mark.parametrize("comment", COMMENTS)

# What comes back when the outcome stays open: fault, and whether the broker did it.
OPEN_OUTCOMES: dict[str, tuple[Any, bool]] = {
    "answer lost, done": (AnswerLost(executed=True), True),
    "answer lost, not done": (AnswerLost(executed=False), False),
    "write failed, done": (AnswerLost(executed=True, code=-10001), True),
    "10012, never": (TimedOut(), False),
    "10012, then filled": (TimedOut(fill_after_ms=4_000), True),
    "10031, done": (Answered(mt5.TRADE_RETCODE_CONNECTION, executed=True), True),
    "10031, not done": (Answered(mt5.TRADE_RETCODE_CONNECTION), False),
    "10011, done": (Answered(mt5.TRADE_RETCODE_ERROR, executed=True), True),
    "10009 without figures, done": (DoneWithoutDeal(), True),
    "10008, then filled": (PlacedLater(4_000), True),
    "10008, then cancelled": (PlacedLater(4_000, fill=False), False),
}
OUTCOME = pytest.mark.parametrize("outcome", OPEN_OUTCOMES)


def mend(world: OrderWorld) -> None:
    """Open the pipe again, where a fault broke it."""
    assert world.terminal.initialize()


def was_done(status: str) -> bool:
    """Whether an order was carried out; by the gateway's record REJECTED, else CANCELED, if not."""
    assert status in ("FILLED", "REJECTED", "CANCELED")
    return status == "FILLED"


def settle(world: OrderWorld, rounds: int = 5) -> None:
    """Sync until past the grace period."""
    for _ in range(rounds):
        world.sync(GRACE_SEC / 2 + 1)


# The outcome is open, and the broker shows what became of it.


@BOTH
@OUTCOME
@RESTARTED
@pytest.mark.parametrize("record", [True, False], ids=["record", "no record"])
def test_an_order_whose_outcome_is_open_is_settled_as_the_broker_has_it(
    account: AccountSetup,
    outcome: str,
    restarted: bool,
    record: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    fault, is_done = OPEN_OUTCOMES[outcome]
    world = OrderWorld(account, journal=tmp_path / "bot.db")
    world.terminal.faults.next_send(fault)
    intent = world.pm.submit("buy", 0.1, magic=7, sl=1.09, key="a")
    assert world.status(intent) == "IN_DOUBT"
    mend(world)
    if restarted:
        world.restart()
    settle(world)
    known = world.order(intent)
    assert was_done(known.status.value) == is_done
    assert len(world.entries()) == len(world.rows()) == int(is_done)
    assert world.agrees()
    assert world.reconciler.holds == ()
    if is_done:
        (holding,) = world.pm.book.holdings.values()
        assert holding.order_ids == [known.order_id]
        assert (known.filled_volume, known.ticket) == (0.1, holding.position.ticket)
        assert world.settled_by(known).startswith(f"Order {known.order_id}: case D: ")
    else:
        # After the grace period of a new process, the gateway's record knows it too.
        by_record = known.status is OrderStatus.REJECTED
        assert ("not executed: " if by_record else "case G: ") in str(known.error)
    # The same wish again asks for nothing more; another one goes.
    assert world.pm.submit("buy", 0.1, magic=7, sl=1.09, key="a") is known
    assert len(world.sent()) == 1
    assert world.pm.submit("buy", 0.1, key="b").status is OrderStatus.FILLED


@OUTCOME
@BOTH
def test_a_close_whose_outcome_is_open_is_settled_as_the_broker_has_it(
    account: AccountSetup, outcome: str
) -> None:
    fault, is_done = OPEN_OUTCOMES[outcome]
    world = OrderWorld(account)
    opened = world.pm.submit("buy", 0.3, magic=7)
    world.sync()
    world.terminal.faults.next_send(fault)
    closing = world.pm.close(opened)
    assert world.status(closing) == "IN_DOUBT"
    mend(world)
    settle(world)
    assert was_done(closing.status.value) == is_done
    assert world.agrees()
    assert world.rows() == {} if is_done else len(world.rows()) == 1
    assert world.reconciler.holds == ()
    assert world.pm.realised == world.realised([opened.ticket or 0])
    if not is_done:
        assert world.pm.close(opened).status is OrderStatus.FILLED


@BOTH
def test_a_part_closed_whose_answer_was_lost_is_settled(account: AccountSetup) -> None:
    world = OrderWorld(account)
    opened = world.pm.submit("buy", 0.3)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    part = world.pm.close(opened, 0.1)
    settle(world)
    assert (part.status, part.filled_volume) == (OrderStatus.FILLED, 0.1)
    assert world.agrees()
    assert [row[3] for row in world.rows().values()] == [0.2]


def test_a_hang_that_is_given_up_is_settled_like_a_lost_answer() -> None:
    world = OrderWorld()
    world.terminal.faults.on_hang = lambda _: None
    world.terminal.faults.next_send(Hang(executed=True))
    world.lose_replies(1)
    intent = world.pm.submit("buy", 0.1)
    assert world.status(intent) == "IN_DOUBT"
    world.sync()
    assert world.status(intent) == "FILLED"
    assert world.agrees()


def test_a_send_without_a_link_that_is_done_when_the_link_is_back() -> None:
    world = OrderWorld(disconnected_send=DownSend.EXECUTED_LATER)
    world.terminal.disconnect()
    intent = world.pm.submit("buy", 0.1)
    assert (intent.status, "10031" in str(intent.error)) == (OrderStatus.IN_DOUBT, True)
    for _ in range(3):
        assert world.sync(GRACE_SEC).status.value == "DEGRADED"
    assert world.status(intent) == "IN_DOUBT"
    world.terminal.reconnect()
    settle(world)
    assert world.status(intent) == "FILLED"
    assert world.agrees()


def test_looks_on_both_sides_of_one_that_was_not_believed_prove_no_absence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a terminal does while nobody can watch it may be what the order still waits for."""
    monkeypatch.setattr(OrderWorld, "keeps_record", False)
    world = OrderWorld()
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1)
    world.sync(1)
    world.sync(GRACE_SEC - 1)
    assert world.status(intent) == "IN_DOUBT"
    world.lose_replies(1)
    assert world.sync(1).status.value == "DEGRADED"
    world.sync(GRACE_SEC / 2)
    assert world.status(intent) == "IN_DOUBT"
    world.sync(GRACE_SEC)
    assert world.status(intent) == "IN_DOUBT"
    world.sync(GRACE_SEC / 2)
    assert world.status(intent) == "CANCELED"


def test_an_order_filled_in_part_is_settled_with_what_was_filled() -> None:
    world = OrderWorld()
    world.terminal.faults.next_send(PlacedLater(4_000))
    intent = world.pm.submit("buy", 0.1)
    assert world.sync().status.value == "SUCCESS"
    assert world.status(intent) == "IN_DOUBT"
    assert "still works on it" in world.hold(HoldKind.DOUBT).reason
    assert "case A" in world.hold(HoldKind.DOUBT).reason
    settle(world)
    assert world.status(intent) == "FILLED"
    assert world.agrees()


# What brokers do to comments.


def answered(world: OrderWorld, ago_sec: float = 3_600) -> None:
    """Let an order of ours be answered, and end, so that the broker shows what became of tokens."""
    assert world.pm.close(world.pm.submit("buy", 0.1, magic=7)).status is OrderStatus.FILLED
    world.sync()
    world.wait(ago_sec)
    world.quote(1.10000)


@COMMENT
@RESTARTED
@BOTH
@pytest.mark.parametrize("magic_token", [False, True], ids=["comment", "magic"])
def test_a_lost_order_is_found_whatever_the_broker_does_to_comments(
    account: AccountSetup,
    comment: str,
    magic_token: bool,
    restarted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", False)
    world = OrderWorld(
        account, journal=tmp_path / "bot.db", magic_token=magic_token, **COMMENTS[comment]
    )
    answered(world)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, magic=7)
    if restarted:
        world.restart()
    world.sync()
    assert world.status(intent) == "FILLED"
    by_token = magic_token or comment not in REWRITTEN
    words = "by its token" if by_token else "the only order that fits"
    assert words in world.settled_by(intent)
    assert world.agrees()
    assert strategy_rows(world.pm.book) == (StrategyRow("EURUSD", 7, 0.1),)


@pytest.mark.parametrize("comment", REWRITTEN)
def test_without_a_token_two_that_fit_are_nobody_s_and_are_listed(comment: str) -> None:
    world = OrderWorld(**COMMENTS[comment])
    robot = Person(world.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, magic=7)
    robot.open("EURUSD", BUY, 0.1)
    settle(world)
    assert world.status(intent) == "IN_DOUBT"
    hold = world.hold(HoldKind.DOUBT)
    tickets = [str(order.ticket) for order in world.past()]
    assert len(tickets) == 2
    assert all(f"order {ticket}" in hold.reason for ticket in tickets)
    assert "on_fill()" in hold.reason
    with pytest.raises(Refused, match="in doubt"):
        world.pm.submit("buy", 0.1)
    # Both are in the book, as they are at the broker, and a person says which one is ours.
    assert world.agrees()
    deal = world.entries()[0]
    assert world.pm.on_fill(
        {
            "order_id": intent.order_id,
            "status": "FILLED",
            "ticket": deal.order,
            "filled_price": deal.price,
            "filled_volume": 0.1,
        }
    )
    world.sync()
    assert world.agrees()
    assert world.reconciler.holds == ()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_with_the_token_in_the_magic_number_another_that_looks_alike_does_not_matter() -> None:
    world = OrderWorld(magic_token=True, comment_replaced_by="")
    robot = Person(world.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7 << 32)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, magic=7)
    robot.open("EURUSD", BUY, 0.1)
    world.sync()
    assert world.status(intent) == "FILLED"
    assert intent.ticket == world.entries()[0].order


@pytest.mark.parametrize(
    "other",
    [
        {"magic": 8},
        {"side": SELL},
        {"volume": 0.2},
        {"symbol": "GBPUSD"},
        {"reason": mt5.ORDER_REASON_CLIENT},
        {"before_sec": 3600},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_without_a_token_what_is_not_what_was_asked_for_does_not_fit(other: dict[str, Any]) -> None:
    """Magic number, side, volume, symbol, who, and when: all of them."""
    facts: dict[str, Any] = {
        "magic": 7,
        "side": BUY,
        "volume": 0.1,
        "symbol": "EURUSD",
        "before_sec": 0,
    }
    facts |= {"reason": mt5.ORDER_REASON_EXPERT, **other}
    world = OrderWorld(comment_replaced_by="")
    world.quote(1.25, "GBPUSD")
    robot = Person(world.terminal.broker, HEDGING.login, facts["reason"], magic=facts["magic"])
    robot.open(facts["symbol"], facts["side"], facts["volume"])
    world.wait(facts["before_sec"])
    world.quote(1.10000)
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, magic=7)
    settle(world)
    assert not was_done(world.status(intent))


@pytest.mark.parametrize("comment", REWRITTEN)
def test_without_a_token_our_own_earlier_order_is_not_taken_for_the_lost_one(comment: str) -> None:
    world = OrderWorld(**COMMENTS[comment])
    first = world.pm.submit("buy", 0.1, magic=7)
    world.pm.close(first)
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    second = world.pm.submit("buy", 0.1, magic=7)
    settle(world)
    assert not was_done(world.status(second))


@COMMENT
@RESTARTED
@pytest.mark.parametrize("is_placed", [True, False])
def test_a_pending_order_whose_answer_was_lost_is_found_where_it_works(
    comment: str, is_placed: bool, restarted: bool, tmp_path: Path
) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db", **COMMENTS[comment])
    answered(world)
    world.terminal.faults.next_send(AnswerLost(executed=is_placed, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, limit=1.05, magic=7, key="a")
    if restarted:
        world.restart()
    settle(world)
    known = world.order(intent)
    assert was_done(known.status.value) == is_placed
    assert world.agrees()
    assert len(world.ledger.orders) == int(is_placed)
    assert world.pm.submit("buy", 0.1, limit=1.05, magic=7, key="a") is known
    if is_placed:
        assert world.pm.book.orders_by_ticket[known.ticket or 0] is known
        assert world.pm.cancel(known).status is OrderStatus.FILLED
        assert world.ledger.orders == {}


@pytest.mark.parametrize("comment", REWRITTEN)
def test_two_pending_orders_that_fit_are_nobody_s_and_are_listed(comment: str) -> None:
    world = OrderWorld(**COMMENTS[comment])
    robot = Person(world.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, limit=1.05, magic=7)
    robot.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    settle(world)
    assert world.status(intent) == "IN_DOUBT"
    reason = world.hold(HoldKind.DOUBT).reason
    assert all(f"order {ticket}" in reason for ticket in world.ledger.orders)


@pytest.mark.parametrize("comment", REWRITTEN)
@pytest.mark.parametrize(
    ("kind", "price", "volume", "magic"),
    [
        (mt5.ORDER_TYPE_BUY_LIMIT, 1.04, 0.1, 7),
        (mt5.ORDER_TYPE_SELL_STOP, 1.05, 0.1, 7),
        (mt5.ORDER_TYPE_BUY_LIMIT, 1.05, 0.2, 7),
        (mt5.ORDER_TYPE_BUY_LIMIT, 1.05, 0.1, 8),
    ],
)
def test_a_pending_order_that_is_another_does_not_fit(
    comment: str, kind: int, price: float, volume: float, magic: int
) -> None:
    world = OrderWorld(**COMMENTS[comment])
    robot = Person(world.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=magic)
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, limit=1.05, magic=7)
    robot.place("EURUSD", kind, volume, price)
    settle(world)
    assert not was_done(world.status(intent))
    assert world.agrees()


@pytest.mark.parametrize("comment", REWRITTEN)
def test_a_pending_order_that_was_there_before_is_not_the_lost_one(comment: str) -> None:
    world = OrderWorld(**COMMENTS[comment])
    robot = Person(world.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7)
    robot.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, limit=1.05, magic=7)
    settle(world)
    assert not was_done(world.status(intent))
    assert world.agrees()


@pytest.mark.parametrize("comment", REWRITTEN)
def test_an_order_that_the_broker_works_on_for_long_is_not_given_up(comment: str) -> None:
    world = OrderWorld(**COMMENTS[comment])
    world.terminal.faults.next_send(PlacedLater(4 * GRACE_SEC * 1_000))
    intent = world.pm.submit("buy", 0.1, magic=7)
    settle(world, rounds=6)
    assert world.status(intent) == "IN_DOUBT"
    assert "still works on it" in world.hold(HoldKind.DOUBT).reason
    world.sync(4 * GRACE_SEC)
    assert world.status(intent) == "FILLED"
    world.sync()
    assert world.agrees()


@COMMENT
def test_a_pending_order_that_filled_before_anybody_looked_is_found(comment: str) -> None:
    world = OrderWorld(**COMMENTS[comment])
    answered(world)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, limit=1.05, magic=7, why="level")
    world.wait(1)
    world.quote(1.04)
    settle(world)
    assert world.status(intent) == "FILLED"
    assert world.agrees()
    (holding,) = world.pm.book.holdings.values()
    assert holding.order_ids == [intent.order_id]


def test_a_history_covers_the_sending_also_where_a_simulation_plays_its_market_fast() -> None:
    world = OrderWorld()
    intent = world.pm.submit("buy", 0.1)
    world.wait(1_200)
    world.quote(1.1)
    seen = []
    for pace in (1.0, 60.0):
        snapshots = Snapshots(world.terminal, "boot", world.clock.now_ns, pace)
        request = SnapshotRequest(session="s", id=1, symbols=("EURUSD",), history_age_sec=60)
        reply = snapshots.make(request)
        assert isinstance(reply, SnapshotReply)
        assert reply.history is not None
        seen.append([order.ticket for order in reply.history.orders])
    assert seen == [[], [intent.ticket]]


# Changes in doubt.


@pytest.mark.parametrize("is_done", [True, False])
@RESTARTED
def test_a_modification_whose_answer_was_lost_is_settled_by_the_levels(
    is_done: bool, restarted: bool, tmp_path: Path
) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    opened = world.pm.submit("buy", 0.1)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=is_done, pipe_breaks=False))
    change = world.pm.modify(opened, 1.09, 1.12)
    assert world.status(change) == "IN_DOUBT"
    if restarted:
        world.restart()
    settle(world)
    assert was_done(world.status(change)) == is_done
    assert world.agrees()
    assert world.reconciler.holds == ()


def test_a_modification_of_a_position_that_has_gone_is_given_up() -> None:
    world = OrderWorld()
    opened = world.pm.submit("buy", 0.1)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    change = world.pm.modify(opened, 1.09, 1.12)
    world.person.close(opened.ticket or 0)
    world.sync()
    assert (change.status, "no longer open" in str(change.error)) == (OrderStatus.CANCELED, True)
    assert world.agrees()


@pytest.mark.parametrize("is_done", [True, False])
@RESTARTED
def test_a_cancellation_whose_answer_was_lost_is_settled_by_the_list(
    is_done: bool, restarted: bool, tmp_path: Path
) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    placed = world.pm.submit("buy", 0.1, limit=1.05)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=is_done, pipe_breaks=False))
    change = world.pm.cancel(placed)
    assert world.status(change) == "IN_DOUBT"
    if restarted:
        world.restart()
    settle(world)
    assert was_done(world.status(change)) == is_done
    assert world.agrees()
    assert world.reconciler.holds == ()


# Every code.


def expected_status(effect: Effect, is_change: bool) -> OrderStatus:
    if effect in (Effect.REFUSED, Effect.REFUSED_STALE):
        return OrderStatus.REJECTED
    if effect is Effect.NOTHING_TO_DO:
        return OrderStatus.FILLED if is_change else OrderStatus.REJECTED
    return OrderStatus.IN_DOUBT


@pytest.mark.parametrize("retcode", [*RETCODES, 10037, 12345, 0])
def test_every_return_code_gives_a_market_order_the_status_of_its_class(retcode: int) -> None:
    world = OrderWorld()
    world.terminal.faults.next_send(Answered(retcode, comment="as told"))
    intent = world.pm.submit("buy", 0.1)
    effect = RETCODES[retcode].effect if retcode in RETCODES else Effect.UNKNOWN
    # Done without deal, volume and price is no fill: the broker must show it.
    assert intent.status is expected_status(effect, is_change=False)
    assert intent.status is OrderStatus.REJECTED or world.pm.entries_refused()
    if retcode in RETCODES and intent.status is OrderStatus.REJECTED:
        assert f"({retcode} {RETCODES[retcode].name})" in str(intent.error)
    settle(world)
    assert intent.status in (OrderStatus.REJECTED, OrderStatus.CANCELED)
    assert world.agrees()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


@pytest.mark.parametrize("retcode", [*RETCODES, 12345])
def test_every_return_code_gives_a_pending_order_the_status_of_its_class(retcode: int) -> None:
    world = OrderWorld()
    world.terminal.faults.next_send(Answered(retcode, comment="as told"))
    intent = world.pm.submit("buy", 0.1, limit=1.05)
    effect = RETCODES[retcode].effect if retcode in RETCODES else Effect.UNKNOWN
    assert intent.status is expected_status(effect, is_change=False)
    settle(world)
    assert world.pm.book.pending == {}
    assert intent.status in (OrderStatus.REJECTED, OrderStatus.CANCELED)


@pytest.mark.parametrize("retcode", [*RETCODES, 12345])
def test_every_return_code_gives_a_modification_the_status_of_its_class(retcode: int) -> None:
    world = OrderWorld()
    opened = world.pm.submit("buy", 0.1)
    world.sync()
    world.terminal.faults.next_send(Answered(retcode, comment="as told"))
    change = world.pm.modify(opened, 1.09, 1.12)
    effect = RETCODES[retcode].effect if retcode in RETCODES else Effect.UNKNOWN
    if effect in (Effect.DONE, Effect.DONE_PART):
        assert world.status(change) == "FILLED"
    else:
        assert change.status is expected_status(effect, is_change=retcode == 10025)
    settle(world)
    assert world.agrees()


@pytest.mark.parametrize("code", [*LAST_ERRORS, 1])
def test_every_last_error_gives_the_status_of_its_class(code: int) -> None:
    world = OrderWorld()
    world.terminal.faults.next_send(AnswerLost(executed=False, code=code, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1)
    refused = code in LAST_ERRORS and LAST_ERRORS[code].effect is Effect.REFUSED
    assert intent.status is (OrderStatus.REJECTED if refused else OrderStatus.IN_DOUBT)
    settle(world)
    assert world.agrees()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


# Whose orders are ours, with the token in the magic number.


def test_with_the_token_in_the_magic_number_a_policy_still_knows_its_own() -> None:
    ours = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}), adopt=Adopt.OURS)
    world = OrderWorld(magic_token=True, policy=ours, comment_replaced_by="")
    Person(world.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=8).open(
        "EURUSD", BUY, 0.2
    )
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, magic=7)
    world.sync()
    assert world.status(intent) == "FILLED"
    assert world.tickets() == {intent.ticket}
    assert strategy_rows(world.pm.book) == (StrategyRow("EURUSD", 7, 0.1),)
    closing = world.pm.close(intent)
    assert (closing.status, closing.magic) == (OrderStatus.FILLED, 7)
    assert world.ledger.order_history[closing.ticket or 0].magic == intent.wire_magic


def test_a_position_without_our_policy_s_magic_that_is_our_order_is_ours() -> None:
    """The order in doubt is found by its token; its position is adopted with it."""
    ours = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}), adopt=Adopt.OURS)
    world = OrderWorld()
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1, magic=9)
    # The next process has another idea of whose a position is.
    world.start_bot(policy=ours)
    world.sync()
    found = world.pm.orders[intent.order_id]
    assert found.status is OrderStatus.FILLED
    assert world.tickets() == {found.ticket}
    assert OrderType.BUY_LIMIT.value == "buy_limit"


def test_a_new_process_gives_nothing_up_that_it_has_not_watched_for_the_grace_period(
    tmp_path: Path,
) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.1)
    assert world.status(intent) == "IN_DOUBT"
    world.wait(600)
    world.restart()
    # The terminal may have had no trade server until a moment ago, and send the order on now.
    world.sync()
    assert world.status(intent) == "IN_DOUBT"
    settle(world)
    assert not was_done(world.status(intent))
    assert world.agrees()
