"""Netting and exchange accounts: one position a symbol."""

from __future__ import annotations

import pytest

from tests.sim.sim_world import NETTING, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.switches import OnReversal
from trueup.sim.market.symbols import AccountSetup


@pytest.fixture
def world() -> World:
    return World(NETTING)


def test_official_sample_of_the_average_open_price(world: World) -> None:
    """0.01 at 1.10050, add 0.02 at 1.10052: 1.10051333; sell 0.02: unchanged; add 0.01 at
    1.10056: 1.10053666. Rounded to digits + 3 at every step."""
    opened = []
    for ask, side, volume in (
        (1.10050, mt5.ORDER_TYPE_BUY, 0.01),
        (1.10052, mt5.ORDER_TYPE_BUY, 0.02),
        (1.10054, mt5.ORDER_TYPE_SELL, 0.02),
        (1.10056, mt5.ORDER_TYPE_BUY, 0.01),
    ):
        world.terminal.quote("EURUSD", ask - 0.0001, ask)
        world.deal(side, volume)
        opened.append(world.position().price_open)
    assert opened == [1.1005, 1.10051333, 1.10051333, 1.10053666]


def test_addition_keeps_ticket_identifier_and_time_and_takes_the_comment(world: World) -> None:
    first = world.buy(0.1, magic=1, comment="first")
    before = world.position()
    world.clock.advance(2_000)
    second = world.buy(0.2, magic=2, comment="second")
    after = world.position()
    assert (after.ticket, after.identifier) == (first.order, first.order)
    assert (after.time, after.time_update_msc) == (before.time, before.time_msc + 2_000)
    assert (after.comment, after.magic) == ("second", 1)
    assert after.volume == pytest.approx(0.3)
    deal = world.terminal.ledger.deals[second.deal]
    assert (deal.entry, deal.position_id) == (mt5.DEAL_ENTRY_IN, first.order)


def test_opposite_smaller_volume_reduces(world: World) -> None:
    first = world.buy(0.3)
    second = world.sell(0.1)
    after = world.position()
    assert (after.ticket, after.type, after.price_open) == (first.order, 0, 1.1001)
    assert after.volume == pytest.approx(0.2)
    assert world.terminal.ledger.deals[second.deal].entry == mt5.DEAL_ENTRY_OUT


def test_opposite_equal_volume_closes(world: World) -> None:
    world.buy(0.3)
    closed = world.sell(0.3)
    assert world.positions() == ()
    assert world.terminal.ledger.deals[closed.deal].entry == mt5.DEAL_ENTRY_OUT


def test_opposite_larger_volume_reverses_in_one_deal(world: World) -> None:
    """Entry INOUT; the identifier stays, the ticket becomes the reversing order's."""
    first = world.buy(0.1, magic=1, comment="first")
    world.terminal.quote("EURUSD", 1.105, 1.1051)
    world.clock.advance(3_000)
    second = world.sell(0.3, magic=2, comment="second")
    after = world.position()
    assert (after.identifier, after.ticket) == (first.order, second.order)
    assert (after.type, after.price_open) == (mt5.POSITION_TYPE_SELL, 1.105)
    assert after.volume == pytest.approx(0.2)
    deal = world.terminal.ledger.deals[second.deal]
    assert (deal.entry, deal.position_id, deal.steps) == (2, first.order, 30)
    assert deal.profit == 49.0
    assert (after.magic, after.comment) == (2, "second")
    assert world.position(ticket=second.order) == after
    assert world.terminal.positions_get(ticket=first.order) == ()
    deals = world.terminal.history_deals_get(position=first.order)
    assert deals is not None
    assert len(deals) == 2


def test_what_a_reversal_keeps_is_switched() -> None:
    world = World(
        NETTING,
        reversal_time=OnReversal.KEPT,
        reversal_price_open=OnReversal.KEPT,
        reversal_magic=OnReversal.KEPT,
        reversal_comment=OnReversal.KEPT,
    )
    world.buy(0.1, magic=1, comment="first")
    before = world.position()
    world.clock.advance(3_000)
    world.sell(0.3, magic=2, comment="second")
    after = world.position()
    assert (after.time, after.magic, after.comment) == (before.time, 1, "first")
    assert after.price_open == before.price_open


def test_addition_may_change_the_magic() -> None:
    world = World(NETTING, addition_changes_magic=True)
    world.buy(0.1, magic=1)
    world.buy(0.1, magic=2)
    assert world.position().magic == 2


def test_stale_ticket_after_reversal_is_refused_or_ignored() -> None:
    strict = World(NETTING)
    first = strict.buy(0.1)
    strict.sell(0.2)
    refused = strict.buy(0.1, position=first.order)
    assert refused.retcode == mt5.TRADE_RETCODE_POSITION_CLOSED
    loose = World(NETTING, stale_ticket_refused=False)
    first = loose.buy(0.1)
    loose.terminal.person.close(first.order)
    # The symbol decides: a late close opens the opposite.
    assert loose.sell(0.1, position=first.order).retcode == mt5.TRADE_RETCODE_DONE
    assert loose.position().type == mt5.POSITION_TYPE_SELL


def test_close_by_is_not_available(world: World) -> None:
    opened = world.buy(0.1)
    result = world.send(
        action=mt5.TRADE_ACTION_CLOSE_BY, position=opened.order, position_by=opened.order
    )
    assert result.retcode == mt5.TRADE_RETCODE_INVALID


def test_sltp_needs_no_ticket(world: World) -> None:
    world.buy(0.1)
    assert world.send(action=mt5.TRADE_ACTION_SLTP, symbol="EURUSD", sl=1.09).retcode == 10009
    assert world.position().sl == 1.09
    other = world.send(action=mt5.TRADE_ACTION_SLTP, symbol="GBPUSD", sl=1.09)
    assert other.retcode == mt5.TRADE_RETCODE_POSITION_CLOSED


def test_filled_pending_order_overwrites_the_levels_and_its_zeros_remove_them(
    world: World,
) -> None:
    world.buy(0.1, sl=1.05, tp=1.2)
    world.terminal.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.09, sl=1.04)
    world.terminal.quote("EURUSD", 1.0899, 1.09)
    after = world.position()
    assert (after.sl, after.tp) == (1.04, 0.0)
    assert after.price_open == 1.09505


def test_market_addition_changes_only_the_levels_it_names(world: World) -> None:
    world.buy(0.1, sl=1.05, tp=1.2)
    world.buy(0.1, sl=1.06)
    assert (world.position().sl, world.position().tp) == (1.06, 1.2)


def test_reduction_needs_no_margin_and_passes_close_only(world: World) -> None:
    world.buy(0.3)
    world.terminal.market.change("EURUSD", trade_mode=mt5.SYMBOL_TRADE_MODE_CLOSEONLY)
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_CLOSE_ONLY
    assert world.sell(0.4).retcode == mt5.TRADE_RETCODE_CLOSE_ONLY
    assert world.sell(0.3).retcode == mt5.TRADE_RETCODE_DONE


def test_exchange_accounts_follow_the_same_rules() -> None:
    world = World(AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_EXCHANGE))
    world.buy(0.1)
    world.buy(0.1)
    assert world.position().volume == 0.2
    account = world.terminal.account_info()
    assert account is not None
    assert account.margin_mode == mt5.ACCOUNT_MARGIN_MODE_EXCHANGE


def test_position_beyond_volume_max_needs_several_requests(world: World) -> None:
    world.terminal.market.change("EURUSD", volume_max=0.5)
    world.buy(0.5)
    world.buy(0.5)
    assert world.position().volume == 1.0
    assert world.sell(1.0).retcode == mt5.TRADE_RETCODE_INVALID_VOLUME
    world.sell(0.5)
    world.sell(0.5)
    assert world.positions() == ()
