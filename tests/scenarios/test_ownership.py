"""Whose position it is: symbols, magic numbers, comments, strategies that share an account."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk_world import BUY, NETTING, SELL, DeskWorld, figures
from trueup.core.book.book import Book
from trueup.core.book.strategies import StrategyRow, strategy_rows
from trueup.core.holds import HoldKind
from trueup.core.policy import Action, Adopt, Policy
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import MemoryJournal
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.sim.terminal.terminal_faults import AnswerLost

OURS = 7
MINE = frozenset({"EURUSD"})


def policy(**changes: Any) -> Policy:
    return Policy(**({"symbols": MINE} | changes))


def crowd(world: DeskWorld) -> dict[str, int]:
    """Open one position for each kind of owner."""
    ours, others = world.terminal.robot(OURS), world.terminal.robot(99)
    return {
        "ours": ours.open("EURUSD", BUY, 0.1),
        "other robot": others.open("EURUSD", BUY, 0.2),
        "by hand": world.person.open("EURUSD", SELL, 0.3),
        "by comment": world.person.open("EURUSD", BUY, 0.4, comment="mine-4"),
        "ours elsewhere": ours.open("GBPUSD", BUY, 0.5),
    }


WHOSE = {
    "all in scope": (policy(), {"ours", "other robot", "by hand", "by comment"}, 1),
    "symbols": (policy(symbols=MINE | {"GBPUSD"}), None, 0),
    "magic": (policy(magics=frozenset({OURS}), adopt=Adopt.OURS), {"ours"}, 4),
    "comment": (
        policy(magics=frozenset({8}), comment_prefix="mine", adopt=Adopt.OURS),
        {"by comment"},
        4,
    ),
    "magic or comment": (
        policy(magics=frozenset({OURS, 8}), comment_prefix="mine-", adopt=Adopt.OURS),
        {"ours", "by comment"},
        3,
    ),
    "ask": (policy(magics=frozenset({OURS}), adopt=Adopt.ASK), {"ours"}, 1),
}


@pytest.mark.parametrize("what", WHOSE)
def test_only_what_the_policy_names_enters_the_book_and_the_rest_is_counted(what: str) -> None:
    wanted, names, foreign = WHOSE[what]
    world = DeskWorld(policy=wanted)
    tickets = crowd(world)
    world.sync()
    expected = {tickets[name] for name in names} if names is not None else set(tickets.values())
    assert world.tickets() == expected
    assert world.reconciler.get_status()["foreign"] == foreign
    assert world.reconciler.remote is not None
    assert len(world.reconciler.remote.positions) == len(tickets)


def test_foreign_positions_may_do_what_they_like_and_nobody_touches_them() -> None:
    world = DeskWorld(policy=policy(magics=frozenset({OURS}), adopt=Adopt.OURS))
    tickets = crowd(world)
    world.sync()
    before = world.state()
    world.person.modify(tickets["by hand"], sl=1.2)
    world.person.close(tickets["by comment"], 0.1)
    world.person.close(tickets["other robot"])
    world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert result.holds == ()
    assert world.state() == before
    assert world.pm.check_risk(-1)
    assert not world.pm.book.pending
    assert world.reconciler.get_status()["foreign"] == 4
    assert not any(b'"SELL"' in m or b'"BUY"' in m or b"CLOSE" in m for m in world.requests)


def test_a_trading_human_on_the_account_of_a_bot_keeps_his_positions() -> None:
    world = DeskWorld(policy=policy(magics=frozenset({OURS}), adopt=Adopt.OURS))
    world.sync()
    by_hand = world.person.open("EURUSD", SELL, 1.0)
    world.sync()
    world.pm.submit("buy", 0.1, magic=OURS)
    world.sync()
    assert world.pm.position is not None
    assert world.pm.position.net_volume == 0.1
    world.trade(-1, 0.1)
    world.sync()
    assert list(world.rows()) == [by_hand]
    assert world.pm.position is None


def test_bots_with_magics_of_their_own_share_an_account() -> None:
    first = policy(magics=frozenset({1}), adopt=Adopt.OURS)
    second = policy(magics=frozenset({2}), adopt=Adopt.OURS)
    world = DeskWorld(policy=first)
    pm, reconciler, _gateway = world.another_bot(second)
    world.sync()
    reconciler.sync_positions()
    world.pm.submit("buy", 0.1, magic=1)
    pm.submit("sell", 0.2, magic=2)
    for _ in range(3):
        assert figures(world.sync()) == ("SUCCESS", 0, 0, 0)
        assert figures(reconciler.sync_positions()) == ("SUCCESS", 0, 0, 0)
    assert [row[7] for row in world.book().values()] == [1]
    assert [row[7] for row in world.book(pm).values()] == [2]
    # Both crash, and come back with empty books.
    world.start_bot(policy=first)
    pm, reconciler, _gateway = world.another_bot(second)
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)
    assert figures(reconciler.sync_positions()) == ("SUCCESS", 1, 0, 0)
    assert [row[7] for row in world.book().values()] == [1]
    assert [row[7] for row in world.book(pm).values()] == [2]


def test_magic_of_64_bits_is_kept_to_the_last() -> None:
    magic = 2**64 - 1
    world = DeskWorld(policy=policy(magics=frozenset({magic}), adopt=Adopt.OURS))
    world.sync()
    world.pm.submit("buy", 0.1, magic=magic)
    world.start_bot(policy=policy(magics=frozenset({magic}), adopt=Adopt.OURS))
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)
    assert [row[7] for row in world.book().values()] == [magic]


# The book's own orders.


def refused(wanted: Policy, **book: Any) -> str:
    world = DeskWorld()
    pm = PortfolioManager("EURUSD", clock=world.clock, **book)
    with pytest.raises(ValueError, match=r"\Apolicy=") as error:
        StateReconciler(pm, world.gateway, 15, policy=wanted)
    assert (pm.desk.gateway, pm.desk.policy) == (None, None)
    return str(error.value)


@pytest.mark.parametrize("adopt", [Adopt.OURS, Adopt.ASK])
def test_a_policy_that_does_not_know_the_book_s_own_orders_is_refused_at_once(adopt: Adopt) -> None:
    would = "be foreign" if adopt is Adopt.OURS else "wait for approval"
    by_magic = policy(magics=frozenset({7}), adopt=adopt)
    assert refused(by_magic) == (
        f"policy={adopt} is not valid for this book: ours is magic 7, so an order of this book "
        f"with magic 0 would {would}. Give the book a magic number of its own, and name that in "
        "the policy, as PortfolioManager('EURUSD', magic=7) and Policy(magics={7})."
    )
    assert "magic 8" in refused(by_magic, magic=8)
    # The order desk's comment is a token, whatever the shape of an order's id.
    by_comment = policy(comment_prefix="ORD_", adopt=adopt)
    assert "comments that begin with 'ORD_'" in refused(by_comment, magic=7)
    # With the token in its low half, a number of 0 in the high half says nothing.
    zero = policy(magics=frozenset({0}), adopt=adopt)
    assert "with magic 0" in refused(zero, magic_token=True)


def test_a_policy_for_other_symbols_than_the_book_s_is_refused_whatever_it_adopts() -> None:
    for adopt in Adopt:
        wanted = policy(symbols=frozenset({"GBPUSD"}), magics=frozenset({7}), adopt=adopt)
        assert "its symbols are GBPUSD, and an order of this book would be in EURUSD" in refused(
            wanted, magic=7
        )


@pytest.mark.parametrize(
    ("wanted", "book"),
    [
        (policy(), {}),
        (policy(magics=frozenset({7})), {"magic": 8}),
        (policy(magics=frozenset({0}), adopt=Adopt.OURS), {}),
        (policy(magics=frozenset({7, 8}), adopt=Adopt.OURS), {"magic": 8}),
        (policy(magics=frozenset({7}), adopt=Adopt.ASK), {"magic": 7, "magic_token": True}),
        (policy(comment_prefix="t", adopt=Adopt.OURS), {}),
    ],
)
def test_a_policy_that_knows_them_is_taken(wanted: Policy, book: dict[str, Any]) -> None:
    world = DeskWorld()
    pm = PortfolioManager("EURUSD", clock=world.clock, **book)
    reconciler = StateReconciler(pm, world.gateway, 15, policy=wanted)
    reconciler.sync_positions()
    intent = pm.submit("buy", 0.1)
    pm = PortfolioManager("EURUSD", clock=world.clock, **book)
    # A process that remembers nothing knows it again.
    StateReconciler(pm, world.another_bot()[2], 15, policy=wanted).sync_positions()
    assert set(pm.get_local_positions()) == {intent.ticket}


def test_the_book_s_magic_number_goes_with_every_order_of_it() -> None:
    world = DeskWorld(policy=policy(magics=frozenset({OURS}), adopt=Adopt.OURS))
    world.sync()
    market = world.pm.submit("buy", 0.1)
    pending = world.pm.submit("buy", 0.1, limit=1.05)
    assert (market.magic, market.wire_magic, pending.wire_magic) == (OURS, OURS, OURS)
    assert [row[7] for row in world.rows().values()] == [OURS]
    created = world.pm.create_order(-1, 1.1, 0.1)
    assert created is not None
    assert (created.magic, created.wire_magic) == (OURS, OURS)


def test_an_order_may_have_a_number_of_its_own_if_the_policy_knows_it() -> None:
    world = DeskWorld(policy=policy(magics=frozenset({OURS, 8}), adopt=Adopt.OURS))
    world.sync()
    assert world.pm.submit("buy", 0.1, magic=8).magic == 8
    orders, requests = len(world.pm.orders), len(world.requests)
    with pytest.raises(ValueError, match="magic=9 is not valid: by the book's policy ours is"):
        world.pm.submit("buy", 0.1, magic=9, key="k")
    assert (len(world.pm.orders), len(world.requests)) == (orders, requests)
    # Nothing was recorded, so the key is free.
    assert world.pm.submit("buy", 0.1, magic=8, key="k").magic == 8


def test_a_key_of_before_the_book_had_a_magic_number_names_the_same_order_still() -> None:
    world = DeskWorld(journal=(journal := MemoryJournal()))
    world.sync()
    first = world.pm.submit("buy", 0.1, key="k")
    pm = PortfolioManager("EURUSD", clock=world.clock, journal=journal, magic=OURS)
    StateReconciler(pm, world.gateway, 15).sync_positions()
    assert pm.submit("buy", 0.1, key="k").order_id == first.order_id
    with pytest.raises(Refused, match="with magic=0, and comes again with magic=7"):
        pm.submit("buy", 0.1, key="k", magic=OURS)


@pytest.mark.parametrize("magic", [-1, 2**64, 1.5, "7", True, None])
def test_what_is_no_magic_number_is_refused(magic: Any) -> None:
    with pytest.raises(ValueError, match=r"magic=.* is not valid: give a whole number from 0"):
        PortfolioManager("EURUSD", magic=magic)


def test_a_magic_number_that_leaves_no_room_for_the_token_is_refused() -> None:
    with pytest.raises(ValueError, match="give a number below"):
        PortfolioManager("EURUSD", magic=2**32, magic_token=True)


# Adoption that needs a yes.


def test_ask_holds_a_stranger_until_a_yes_and_adopts_exactly_that_one() -> None:
    world = DeskWorld(policy=policy(magics=frozenset({OURS}), adopt=Adopt.ASK))
    first = world.person.open("EURUSD", BUY, 0.1)
    second = world.person.open("EURUSD", BUY, 0.2)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert world.kinds() == [HoldKind.ASK, HoldKind.ASK]
    hold = next(h for h in result.holds if h.identifier == first)
    assert hold.until == f"trueup approve {hold.id}"
    assert not world.reconciler.approve("zombie-00000000")
    assert world.reconciler.approve(hold.id)
    assert figures(world.sync()) == ("SUCCESS", 1, 0, 0)
    assert world.tickets() == {first}
    assert [h.identifier for h in world.reconciler.holds] == [second]
    # Saying yes again to what is done means nothing.
    assert not world.reconciler.approve(hold.id)


def test_the_next_sync_after_a_yes_is_due_at_once() -> None:
    world = DeskWorld(policy=policy(magics=frozenset({OURS}), adopt=Adopt.ASK))
    world.person.open("EURUSD", BUY, 0.1)
    (hold,) = world.sync().holds
    assert world.turn(2) == []
    assert world.reconciler.approve(hold.id)
    (result,) = world.turn(1)
    assert figures(result) == ("SUCCESS", 1, 0, 0)


# Each class of differences: apply, ask, alert.


def differences(world: DeskWorld) -> dict[str, int]:
    """Put a book and its broker apart in every way there is."""
    person = world.person
    ghost, drift, protection = (
        person.open("EURUSD", BUY, lots, sl=1.05) for lots in (0.1, 0.2, 0.3)
    )
    order = person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    world.sync()
    for hold in world.reconciler.holds:
        world.reconciler.approve(hold.id)
    world.sync()
    person.close(ghost)
    person.close(drift, 0.05)
    person.modify(protection, sl=0.0)
    person.change(order, price=1.04)
    zombie = person.open("EURUSD", BUY, 0.4)
    return {
        "zombie": zombie,
        "ghost": ghost,
        "drift": drift,
        "protection": protection,
        "pending": order,
    }


CLASSES = ("zombie", "ghost", "drift", "protection", "pending")


def untouched(world: DeskWorld, kind: str, ticket: int) -> bool:
    book = world.book()
    match kind:
        case "zombie":
            return ticket not in book
        case "ghost":
            return ticket in book
        case "drift":
            return bool(book[ticket][3] == 0.2)
        case "protection":
            return bool(book[ticket][5] == 1.05)
        case _:
            return world.pm.book.pending[ticket].order.price_open == 1.05


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_that_asks_waits_for_its_yes_while_all_others_are_corrected(kind: str) -> None:
    setup = policy() if kind in ("zombie", "pending") else policy(**{kind: Action.ASK})
    world = DeskWorld(policy=setup)
    tickets = differences(world)
    if kind in ("zombie", "pending"):
        world.reconciler.policy = policy(**{kind: Action.ASK})
        world.reconciler._observer.policy = world.reconciler.policy
    result = world.sync()
    assert [h.kind for h in result.holds] == [HoldKind.ASK]
    for name in CLASSES:
        assert untouched(world, name, tickets[name]) is (name == kind), name
    (hold,) = result.holds
    assert hold.identifier == tickets[kind]
    assert hold.id.startswith(kind)
    # It waits, and says so once.
    for _ in range(3):
        assert [h.id for h in world.sync().holds] == [hold.id]
    assert world.reconciler.approve(hold.id)
    assert world.sync().holds == ()
    assert not untouched(world, kind, tickets[kind])
    assert world.book() == world.rows()


@pytest.mark.parametrize("kind", ["ghost", "drift", "protection"])
def test_a_class_that_alerts_is_shown_and_no_yes_changes_it(kind: str) -> None:
    world = DeskWorld(policy=policy(**{kind: Action.ALERT}))
    tickets = differences(world)
    result = world.sync()
    assert [h.kind for h in result.holds] == [HoldKind.ALERT]
    assert untouched(world, kind, tickets[kind])
    assert not world.reconciler.approve(result.holds[0].id)
    world.sync()
    assert untouched(world, kind, tickets[kind])
    assert "as the policy says" in world.reconciler.health


def test_a_difference_that_changed_needs_a_new_yes() -> None:
    world = DeskWorld(policy=policy(drift=Action.ASK))
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    world.person.close(ticket, 0.05)
    (hold,) = world.sync().holds
    assert world.reconciler.approve(hold.id)
    world.person.close(ticket, 0.05)
    (changed,) = world.sync().holds
    assert changed.id != hold.id
    assert world.book()[ticket][3] == 0.3
    # The first yes is spent: going back to the first difference would ask again.
    assert not world.reconciler.approve(hold.id)
    assert world.reconciler.approve(changed.id)
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 1)
    assert world.book()[ticket][3] == 0.2


def test_a_yes_is_for_the_difference_that_was_there_and_not_for_the_same_one_later() -> None:
    world = DeskWorld(policy=policy(protection=Action.ASK))
    ticket = world.person.open("EURUSD", BUY, 0.3, sl=1.05)
    world.sync()
    world.person.modify(ticket, sl=1.01)
    (hold,) = world.sync().holds
    assert world.reconciler.approve(hold.id)
    # Before the yes counts, somebody puts it right.
    world.person.modify(ticket, sl=1.05)
    assert world.sync().holds == ()
    world.person.modify(ticket, sl=1.01)
    assert world.sync().holds == (hold,)
    assert world.book()[ticket][5] == 1.05


def test_money_of_a_difference_that_waits_waits_with_it() -> None:
    world = DeskWorld(policy=policy(drift=Action.ASK))
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    world.person.close(ticket, 0.1)
    result = world.sync()
    assert (result.explanations, world.pm.realised) == ([], 0.0)
    assert world.reconciler.approve(result.holds[0].id)
    world.sync()
    assert world.pm.realised == world.realised([ticket])


def test_take_profit_moved_by_hand_is_drift_in_the_take_profit() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3, tp=1.2)
    world.sync()
    world.person.modify(ticket, tp=1.3)
    assert world.sync().drifts == [f"Ticket {ticket}: take profit 1.2 → 1.3"]


def test_ids_of_holds_are_the_same_in_every_run() -> None:
    ids = set()
    for _ in range(2):
        world = DeskWorld(policy=policy(magics=frozenset({OURS}), adopt=Adopt.ASK))
        world.person.open("EURUSD", BUY, 0.1)
        ids.add(world.sync().holds[0].id)
    assert len(ids) == 1


# Protection.


def test_stop_loss_removed_by_hand_is_drift_of_its_own_and_comes_first() -> None:
    world = DeskWorld()
    first = world.person.open("EURUSD", BUY, 0.1, sl=1.05, tp=1.2)
    second = world.person.open("EURUSD", BUY, 0.2, sl=1.05)
    world.sync()
    world.person.close(first, 0.05)
    world.person.modify(second, sl=0.0, tp=1.3)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 2)
    assert result.drifts[0] == f"Ticket {second}: stop loss 1.05 → none, take profit none → 1.3"
    assert "volume" in result.drifts[1]
    assert world.book() == world.rows()


def test_protection_and_volume_of_one_position_are_two_corrections() -> None:
    world = DeskWorld(policy=policy(protection=Action.ASK))
    ticket = world.person.open("EURUSD", BUY, 0.3, sl=1.05)
    world.sync()
    world.person.close(ticket, 0.1)
    world.person.modify(ticket, sl=1.01)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 1)
    assert "volume 0.30L → 0.20L" in result.drifts[0]
    assert world.book()[ticket][3:6] == (0.2, 1.1001, 1.05)
    (hold,) = result.holds
    assert hold.id.startswith("protection-")
    assert world.reconciler.approve(hold.id)
    world.sync()
    assert world.book() == world.rows()


def test_position_of_ours_without_a_stop_loss_is_shown_until_it_has_one() -> None:
    world = DeskWorld(policy=policy(magics=frozenset({OURS}), expects_stop_loss=True))
    ours = world.terminal.robot(OURS).open("EURUSD", BUY, 0.1)
    world.terminal.robot(99).open("EURUSD", BUY, 0.1)
    for _ in range(2):
        result = world.sync()
        assert [(h.kind, h.identifier) for h in result.holds] == [(HoldKind.UNPROTECTED, ours)]
        assert "has no stop loss" in world.reconciler.health
    # It is shown; it restricts nothing.
    assert world.restrictions == ()
    world.person.modify(ours, sl=1.05)
    assert world.sync().holds == ()


# Pending orders.


def test_pending_order_is_adopted_followed_and_let_go() -> None:
    world = DeskWorld()
    world.sync()
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_SELL_STOP, 0.2, 1.05, sl=1.1)
    result = world.sync()
    assert result.orders == [f"Pending order {ticket} recovered: SELL STOP 0.20L @ 1.05"]
    world.person.change(ticket, price=1.04)
    result = world.sync()
    assert "SELL STOP 0.20L @ 1.05 → SELL STOP 0.20L @ 1.04" in result.orders[0]
    world.person.cancel(ticket)
    result = world.sync()
    assert result.orders[0].endswith("ended: canceled")
    assert world.actions() == ["ORDER"] * 3
    assert world.sync().orders == []


def test_pending_order_that_expired_says_so() -> None:
    world = DeskWorld()
    server_sec = world.clock.now_ns() // 1_000_000_000 + 2 * 3600
    world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.05, expiration=server_sec + 600)
    world.sync()
    assert world.sync(700).orders[0].endswith("ended: expired")


def test_filled_pending_order_is_neither_ghost_nor_does_it_need_a_hold() -> None:
    world = DeskWorld()
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.09)
    world.sync()
    world.quote(1.08900)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 1, 0, 0)
    assert result.orders[0].endswith(f"ended: filled: it is position {ticket} now")
    assert result.holds == ()
    assert world.tickets() == {ticket}
    assert not world.pm.book.pending


def test_filled_and_closed_between_two_looks_is_told_by_the_order_history() -> None:
    world = DeskWorld()
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.09)
    world.sync()
    world.quote(1.08900)
    world.person.close(ticket)
    result = world.sync()
    assert f"filled: it went into position {ticket}" in result.orders[0]
    assert world.tickets() == set()


def test_order_whose_end_is_never_seen_is_let_go_by_a_person() -> None:
    world = DeskWorld(order_history_lag_ms=10**12)
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.05)
    world.sync()
    world.person.cancel(ticket)
    world.sync()
    hold = world.hold(HoldKind.MISSING)
    assert f"trueup approve {hold.id}" in hold.until
    assert world.reconciler.approve(hold.id, "Mary")
    said = "ended: assumed ended: Mary let go of it, its end was not seen"
    assert world.sync().orders[0].endswith(said)
    assert not world.pm.book.pending
    assert world.restrictions == ()


def test_order_whose_end_is_not_seen_yet_is_held_and_entries_wait_for_it() -> None:
    world = DeskWorld(order_history_lag_ms=5_000)
    ticket = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.05)
    world.sync()
    world.person.cancel(ticket)
    result = world.sync()
    assert [(h.kind, h.identifier) for h in result.holds] == [(HoldKind.MISSING, ticket)]
    assert set(world.pm.book.pending) == {ticket}
    assert not world.pm.check_risk(1)
    result = world.sync(5)
    assert result.orders[0].endswith("ended: canceled")
    assert world.pm.check_risk(1)


def test_pending_orders_are_asked_about_as_the_policy_says() -> None:
    world = DeskWorld(policy=policy(magics=frozenset({OURS}), adopt=Adopt.ASK))
    strange = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.05)
    robot = world.terminal.robot(OURS)
    ours = robot.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.2, 1.05)
    result = world.sync()
    assert set(world.pm.book.pending) == {ours}
    (hold,) = result.holds
    assert hold.identifier == strange
    assert world.reconciler.approve(hold.id)
    world.sync()
    assert set(world.pm.book.pending) == {ours, strange}


# Several strategies on one netting position.


def test_netting_position_is_split_into_claims_and_a_residual_that_adds_up() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    for volume, magic in ((0.3, 1), (0.2, 2)):
        world.pm.submit("buy", volume, magic=magic)
        world.sync()
    world.person.open("EURUSD", SELL, 0.1)
    assert figures(world.sync()) == ("SUCCESS", 0, 0, 1)
    assert set(strategy_rows(world.pm.book)) == {
        StrategyRow("EURUSD", 1, 0.3),
        StrategyRow("EURUSD", 2, 0.2),
        StrategyRow("EURUSD", None, -0.1),
    }
    assert world.pm.position is not None
    assert world.pm.position.net_volume == 0.4


def test_own_limit_order_that_fills_on_a_netting_account_is_its_strategys() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    world.pm.submit("buy", 0.3, magic=1)
    world.sync()
    world.pm.submit("buy", 0.2, limit=1.09, magic=2)
    world.pm.submit("sell", 0.1, limit=1.12, magic=3)
    world.sync()
    world.quote(1.08900)
    world.sync()
    assert set(strategy_rows(world.pm.book)) == {
        StrategyRow("EURUSD", 1, 0.3),
        StrategyRow("EURUSD", 2, 0.2),
    }
    world.quote(1.12500)
    world.sync()
    assert set(strategy_rows(world.pm.book)) == {
        StrategyRow("EURUSD", 1, 0.3),
        StrategyRow("EURUSD", 2, 0.2),
        StrategyRow("EURUSD", 3, -0.1),
    }
    assert world.book() == world.rows()


def test_own_limit_order_that_opens_a_netting_position_is_its_strategys_at_once() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    world.pm.submit("buy", 0.2, limit=1.09, magic=2)
    world.quote(1.08900)
    world.sync()
    assert strategy_rows(world.pm.book) == (StrategyRow("EURUSD", 2, 0.2),)


@pytest.mark.parametrize("magics", [frozenset[int](), frozenset({1, 2})])
def test_deals_of_orders_that_we_do_not_know_are_attributed_by_their_magic(
    magics: frozenset[int],
) -> None:
    """After a restart without a journal, or for a second bot of the same strategies."""
    world = DeskWorld(NETTING, policy=policy(magics=magics))
    world.terminal.robot(1).open("EURUSD", BUY, 0.3)
    world.terminal.robot(2).open("EURUSD", BUY, 0.2)
    world.terminal.robot(99).open("EURUSD", SELL, 0.05)
    world.person.open("EURUSD", SELL, 0.1)
    world.sync()
    stranger = 99 if not magics else None
    rows = {(row.magic, row.net_volume) for row in strategy_rows(world.pm.book)}
    assert {(1, 0.3), (2, 0.2)} < rows
    assert ((99, -0.05) in rows) == (stranger == 99)
    assert sum(lots for _, lots in rows) == pytest.approx(0.35)


def test_claims_survive_a_saved_book_and_the_fill_after_its_deals_counts_once() -> None:
    world = DeskWorld(NETTING)
    # The first order shows that this broker cuts our comments off.
    world.terminal.switches.comment_replaced_by = ""
    world.sync()
    world.pm.submit("buy", 0.3, magic=1)
    world.sync()
    assert Book.restore(world.state()).claims == world.pm.book.claims != {}
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    intent = world.pm.submit("buy", 0.2, magic=2)
    for _ in range(3):
        world.sync(20)
        assert {row.magic for row in strategy_rows(world.pm.book)} <= {1, 2}
    assert intent.status.value == "FILLED"
    assert set(strategy_rows(world.pm.book)) == {
        StrategyRow("EURUSD", 1, 0.3),
        StrategyRow("EURUSD", 2, 0.2),
    }


def test_netting_claims_end_with_the_position() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    world.pm.submit("buy", 0.3, magic=1)
    world.sync()
    world.person.close_all()
    world.sync()
    assert strategy_rows(world.pm.book) == ()
    world.person.open("EURUSD", SELL, 0.1)
    world.sync()
    assert strategy_rows(world.pm.book) == (StrategyRow("EURUSD", None, -0.1),)


def test_netting_claim_of_an_order_whose_answer_was_lost_is_its_strategys() -> None:
    world = DeskWorld(NETTING)
    world.sync()
    world.pm.submit("buy", 0.3, magic=1)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    world.pm.submit("buy", 0.2, magic=2)
    for _ in range(3):
        world.sync(20)
    assert not world.pm.book.in_doubt
    assert set(strategy_rows(world.pm.book)) == {
        StrategyRow("EURUSD", 1, 0.3),
        StrategyRow("EURUSD", 2, 0.2),
    }


def test_hedging_rows_are_by_the_positions_own_magic() -> None:
    world = DeskWorld()
    crowd(world)
    world.sync()
    assert set(strategy_rows(world.pm.book)) == {
        StrategyRow("EURUSD", OURS, 0.1),
        StrategyRow("EURUSD", 99, 0.2),
        StrategyRow("EURUSD", 0, 0.1),
    }
