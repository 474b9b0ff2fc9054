"""What one has is compared at 1e-8, whatever the symbol's step is; and what is no pending order."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.desk_world import BUY, HEDGING, NETTING
from tests.support.rewritten import RewrittenWorld, changed
from trueup.core.holds import HoldKind
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal.memory import MemoryJournal
from trueup.sim.market.symbols import EURUSD, AccountSetup


def raise_step(world: RewrittenWorld, step: float) -> None:
    """Let the broker say that the symbol is ordered in coarser steps from now on."""
    world.rewrite(symbol_info=lambda row: changed(row, volume_step=step, volume_min=step))


ACCOUNTS = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
IS_AWAY = pytest.mark.parametrize("is_away", [False, True], ids=["looking", "away"])


def raised(account: AccountSetup) -> tuple[RewrittenWorld, int, MemoryJournal]:
    """A bot that holds 0.30 lots in a symbol that is ordered in whole lots from now on."""
    journal = MemoryJournal()
    world = RewrittenWorld(account, journal=journal)
    world.sync()
    ticket = world.trade(1, 0.3).ticket
    world.sync()
    raise_step(world, 1.0)
    world.sync()
    return world, ticket, journal


def look(world: RewrittenWorld, journal: MemoryJournal, is_away: bool) -> None:
    """Look at the broker, three times, after a restart where the bot was away."""
    if is_away:
        world.start_bot(journal=journal)
    for _ in range(3):
        world.sync(20)


@ACCOUNTS
@IS_AWAY
def test_a_part_close_of_less_than_a_step_is_seen_and_its_money_booked(
    account: AccountSetup, is_away: bool
) -> None:
    world, ticket, journal = raised(account)
    world.person.close(ticket, 0.04)
    look(world, journal, is_away)
    assert world.book() == world.rows()
    assert world.pm.realised == world.realised([ticket]) != 0.0
    assert world.reconciler.holds == ()


def test_an_addition_of_less_than_a_step_is_seen() -> None:
    world, _, journal = raised(NETTING)
    world.person.open("EURUSD", BUY, 0.03)
    look(world, journal, is_away=False)
    assert world.book() == world.rows()
    assert [row[3] for row in world.book().values()] == [0.33]


@ACCOUNTS
def test_a_list_that_lacks_less_than_a_step_closes_nothing(account: AccountSetup) -> None:
    """The deals leave 0.03 lots open, and that is not nothing."""
    world = RewrittenWorld(account)
    world.sync()
    ticket = world.trade(1, 0.03).ticket
    world.sync()
    raise_step(world, 1.0)
    world.rewrite(
        positions_get=lambda _: (),
        positions_total=lambda _: 0,
        # At break even, and margin is asked for by nobody.
        account_info=lambda row: changed(row, profit=0.0, margin=0.0, equity=row.balance),
    )
    world.sync(20)
    assert world.tickets() == {ticket}
    assert world.kinds() == [HoldKind.MISSING]
    world.show_truly()
    raise_step(world, 1.0)
    world.sync(20)
    assert (world.tickets(), world.reconciler.holds) == ({ticket}, ())
    world.person.close(ticket)
    world.sync(20)
    assert (world.tickets(), world.pm.realised) == (set(), world.realised([ticket]))


# Averages, as brokers round them.

INDEX = dataclasses.replace(EURUSD, digits=2, contract_size=10.0, volume_step=0.01)
fills = st.lists(
    st.tuples(st.booleans(), st.integers(1, 40), st.integers(-50, 50)), min_size=1, max_size=6
)


@settings(max_examples=30)
@given(fills)
def test_our_own_additions_on_a_netting_account_leave_no_drift(
    steps: list[tuple[bool, int, int]],
) -> None:
    """The broker rounds its average to the symbol's digits and three more, and ours goes on."""
    world = RewrittenWorld(NETTING, specs=(INDEX,))
    world.sync()
    for is_looking, hundredths, points in steps:
        bid = round(145.0 + points / 100, 2)
        world.terminal.quote("EURUSD", bid, round(bid + 0.01, 2))
        world.pm.submit("buy", hundredths / 100)
        if is_looking:
            assert world.sync(20).drifts == []
    assert world.sync(20).drifts == []
    (mine,), (theirs,) = world.book().values(), world.rows().values()
    assert abs(mine[4] - theirs[4]) <= 1e-5 * len(steps)
    # Somebody else's addition is a drift, once.
    world.person.open("EURUSD", BUY, 0.01)
    assert len(world.sync(20).drifts) == 1
    assert world.sync(20).drifts == []
    assert world.book() == world.rows()


# A stop's own market order.


def work_on(world: RewrittenWorld, ticket: int, kind: int) -> None:
    """Let a market order of a position's stop stand in the working list, as it does a moment."""
    past = world.terminal.history_orders_get(ticket=ticket)
    assert past
    working = changed(
        past[0],
        ticket=999_001,
        type=kind,
        state=mt5.ORDER_STATE_PLACED,
        reason=mt5.ORDER_REASON_SL,
        position_id=ticket,
        volume_current=0.1,
        time_done=0,
        comment="[sl 1.09000]",
    )
    world.rewrite(orders_get=lambda _: (working,), orders_total=lambda _: 1)


@pytest.mark.parametrize("kind", [mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL, mt5.ORDER_TYPE_CLOSE_BY])
def test_a_stops_own_order_in_the_working_list_is_no_pending_order(kind: int) -> None:
    world = RewrittenWorld()
    world.sync()
    ticket = world.trade(1, 0.1).ticket
    world.sync()
    told = world.actions()
    work_on(world, ticket, kind)
    result = world.sync(20)
    assert (result.status.value, result.errors) == ("SUCCESS", [])
    assert world.pm.book.pending == {}
    assert (world.actions(), world.reconciler.get_status()["foreign"]) == (told, 0)
    world.show_truly()
    world.sync(20)
    assert (world.actions(), world.reconciler.holds) == (told, ())
    # Its hand-placed sibling is one.
    world.person.place("EURUSD", mt5.ORDER_TYPE_SELL_LIMIT, 0.1, 1.2)
    world.sync(20)
    assert len(world.pm.book.pending) == 1


def test_a_renamed_symbol_is_a_drift_and_not_two_positions() -> None:
    world = RewrittenWorld()
    world.sync()
    ticket = world.trade(1, 0.1).ticket
    world.sync()
    world.rewrite(positions_get=lambda rows: tuple(changed(r, symbol="EURUSD.m") for r in rows))
    assert len(world.sync(20).drifts) == 1
    assert world.pm.book.holdings[ticket].position.symbol == "EURUSD.m"
    assert world.sync(20).drifts == []
    trail = world.reconciler.get_audit_trail()
    assert trail[-1]["details"] == "symbol EURUSD → EURUSD.m"


def test_a_magic_number_that_another_hand_gave_a_pending_order_is_a_drift() -> None:
    world = RewrittenWorld()
    world.sync()
    intent = world.pm.submit("buy", 0.1, limit=1.05, magic=7)
    world.sync()
    ticket = intent.ticket
    assert ticket is not None
    world.rewrite(orders_get=lambda rows: tuple(changed(row, magic=9) for row in rows))
    world.sync(20)
    assert world.pm.book.pending[ticket].order.magic == 9
    said = world.reconciler.get_audit_trail()[-1]["details"]
    assert said == f"Pending order {ticket} differed: BUY LIMIT 0.10L @ 1.05, magic 7 → 9"
