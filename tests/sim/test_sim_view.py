"""What the terminal shows may lag behind, be empty, or belong to another account.

The ledger never changes by it: whatever the terminal says, the server's books say what happened.
"""

from __future__ import annotations

import random

import pytest

from tests.sim.sim_world import FOREVER, START_MSC, Clock, World
from tests.support.module_facts import NO_CONNECTION, differences
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.broker import Broker
from trueup.sim.market.structs import AccountInfo, TerminalInfo
from trueup.sim.market.switches import DealOrder, DownSend, FiguresFrom, ListAnswer, OptionOff
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup
from trueup.sim.terminal.terminal import SimulatedTerminal

OTHER = AccountSetup(login=5_000_002, password="secret", investor_password="look", balance=777.0)


def info(world: World) -> TerminalInfo:
    found = world.terminal.terminal_info()
    assert found is not None
    return found


def account(world: World) -> AccountInfo:
    found = world.terminal.account_info()
    assert found is not None
    return found


# -- the pipe ----------------------------------------------------------------------------------


def test_before_initialize_and_after_shutdown_it_answers_as_the_module_does() -> None:
    terminal = SimulatedTerminal(now_msc=Clock())
    assert differences(terminal) == []
    assert terminal.order_send(action=1) is None
    assert terminal.last_error() == NO_CONNECTION
    assert terminal.initialize()
    assert terminal.shutdown()
    assert differences(terminal) == []


def test_after_shutdown_too_and_shutdown_is_always_true() -> None:
    world = World()
    assert world.terminal.shutdown() is True
    assert world.terminal.shutdown() is True
    assert world.terminal.last_error() == (1, "Success")
    assert world.terminal.positions_get() is None
    assert world.terminal.initialize() is True
    assert world.terminal.positions_get() == ()


@pytest.mark.parametrize(("on_send", "code"), [(True, -10001), (False, -10002)])
def test_broken_pipe_tells_once_then_there_is_no_connection(on_send: bool, code: int) -> None:
    world = World()
    world.terminal.break_pipe(on_send=on_send)
    assert world.terminal.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.1}) is None
    assert world.terminal.last_error()[0] == code
    assert world.terminal.positions_get() is None
    assert world.terminal.last_error() == (-10004, "No IPC connection")
    assert not world.terminal.ledger.positions
    assert world.terminal.initialize()
    assert world.positions() == ()


def test_other_write_errors_repeat() -> None:
    world = World()
    world.terminal.jam_pipe()
    for _ in range(3):
        assert world.terminal.positions_total() is None
        assert world.terminal.last_error() == (-10001, "IPC send failed")
    world.terminal.shutdown()
    assert world.terminal.initialize()
    assert world.terminal.positions_total() == 0


# -- lag ---------------------------------------------------------------------------------------


def test_list_lags_behind_done() -> None:
    world = World(position_lag_ms=300)
    opened = world.buy(0.1)
    assert world.positions() == ()
    assert world.terminal.positions_total() == 0
    assert opened.order in world.terminal.ledger.positions
    world.clock.advance(299)
    assert world.positions() == ()
    world.clock.advance(1)
    assert world.position().ticket == opened.order


def test_closed_position_stays_listed_while_its_deal_is_there() -> None:
    world = World(position_lag_ms=800)
    opened = world.buy(0.1)
    world.clock.advance(800)
    world.sell(0.1, position=opened.order)
    assert world.position().ticket == opened.order
    deals = world.terminal.history_deals_get(position=opened.order)
    assert deals is not None
    assert [deal.entry for deal in deals] == [0, 1]
    world.clock.advance(800)
    assert world.positions() == ()


def test_deal_lags_behind_the_list() -> None:
    world = World(deal_lag_ms=1_500, order_history_lag_ms=700)
    opened = world.buy(0.1)
    world.clock.advance(2_000)
    world.sell(0.1, position=opened.order)
    assert world.positions() == ()
    assert len(world.terminal.history_deals_get(position=opened.order) or ()) == 1
    assert len(world.terminal.history_orders_get(position=opened.order) or ()) == 1
    world.clock.advance(700)
    assert len(world.terminal.history_orders_get(position=opened.order) or ()) == 2
    world.clock.advance(800)
    assert len(world.terminal.history_deals_get(position=opened.order) or ()) == 2


def test_messages_of_one_kind_do_not_overtake() -> None:
    world = World(position_lag_ms=1_000)
    opened = world.buy(0.1)
    world.terminal.switches.position_lag_ms = 0
    world.sell(0.1, position=opened.order)
    world.clock.advance(1_000)
    assert world.positions() == ()


def test_orders_and_account_lag_on_their_own() -> None:
    world = World(order_lag_ms=100, account_lag_ms=200)
    world.pending(mt5.ORDER_TYPE_BUY_LIMIT, 1.09)
    assert world.terminal.orders_get() == ()
    world.clock.advance(100)
    assert world.terminal.orders_total() == 1
    world.terminal.broker.balance_operation(5_000_001, mt5.DEAL_TYPE_BALANCE, 500.0)
    assert account(world).balance == 10_000.0
    world.clock.advance(200)
    assert account(world).balance == 10_500.0


def test_deals_may_appear_out_of_order_and_twice() -> None:
    world = World()
    world.terminal.faults.next_deal_lags(1_000, 0)
    world.terminal.faults.duplicate_deals(2)
    opened = world.buy(0.1)
    world.sell(0.1, position=opened.order)
    deals = world.terminal.history_deals_get(position=opened.order)
    assert deals is not None
    assert [deal.entry for deal in deals] == [1, 1]
    world.clock.advance(1_000)
    deals = world.terminal.history_deals_get(position=opened.order)
    assert deals is not None
    assert [deal.entry for deal in deals] == [0, 0, 1, 1]
    assert len(world.terminal.ledger.deals) == 3
    assert world.terminal.history_deals_total(1, FOREVER) == 5


def test_history_may_be_listed_in_any_order() -> None:
    world = World(deal_order=DealOrder.REVERSED)
    for _ in range(9):
        world.buy(0.01)
    deals = world.terminal.history_deals_get(1, FOREVER)
    assert deals is not None
    tickets = [deal.ticket for deal in deals]
    assert tickets == sorted(tickets, reverse=True)
    world.terminal.switches.deal_order = DealOrder.SHUFFLED
    shuffled = world.terminal.history_deals_get(1, FOREVER)
    assert shuffled is not None
    assert [deal.ticket for deal in shuffled] != tickets
    assert sorted(shuffled) == sorted(deals)


# -- no link to the trade server ---------------------------------------------------------------


def test_disconnected_terminal_shows_what_it_last_knew() -> None:
    """What changed on the server meanwhile is not in the list; `connected` is False."""
    world = World()
    opened = world.buy(0.1)
    before = account(world)
    world.terminal.disconnect()
    world.terminal.person.close(opened.order)
    world.terminal.quote("EURUSD", 1.2, 1.2001)
    assert info(world).connected is False
    assert world.position().price_current == 1.1
    assert account(world).equity == before.equity
    assert account(world).trade_allowed is False
    tick = world.terminal.symbol_info_tick("EURUSD")
    assert tick is not None
    assert tick.bid == 1.1
    world.terminal.reconnect()
    assert info(world).connected is True
    assert world.positions() == ()
    assert world.terminal.history_deals_total(1, FOREVER) == 3


def test_a_disconnected_terminal_has_a_symbol_under_the_name_that_it_last_knew() -> None:
    world = World()
    world.terminal.disconnect()
    world.terminal.broker.rename_symbol("EURUSD", "EURUSD.m")
    symbols = world.terminal.symbols_get()
    assert isinstance(symbols, tuple)
    names = {one.name for one in symbols}
    assert ("EURUSD" in names, "EURUSD.m" in names) == (True, False)
    assert world.terminal.symbol_info("EURUSD") is not None
    assert world.terminal.symbol_info("EURUSD.m") is None
    world.terminal.reconnect()
    assert world.terminal.symbol_info("EURUSD.m") is not None


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (ListAnswer.CACHED, 4),
        (ListAnswer.EMPTY, 0),
        (ListAnswer.PARTIAL, 2),
        (ListAnswer.NONE, None),
    ],
)
def test_what_a_disconnected_terminal_lists_is_switched(
    answer: ListAnswer, shown: int | None
) -> None:
    world = World(disconnected_list=answer)
    for _ in range(4):
        world.buy(0.1)
    world.terminal.disconnect()
    found = world.terminal.positions_get()
    assert (None if found is None else len(found)) == shown
    assert world.terminal.positions_total() == shown
    if shown is None:
        assert world.terminal.last_error() == (-1, "Terminal: Call failed")
    else:
        # The account's figures follow the list that is shown.
        assert account(world).margin == pytest.approx(110.01 * shown)
    world.terminal.reconnect()
    assert world.terminal.positions_total() == 4


def test_account_may_contradict_the_list() -> None:
    world = World(disconnected_list=ListAnswer.EMPTY, account_figures=FiguresFrom.SERVER)
    world.buy(0.1)
    world.terminal.disconnect()
    assert world.positions() == ()
    assert account(world).margin == 110.01
    assert account(world).equity == 9_999.0


def test_connected_flag_may_lag() -> None:
    world = World(connected_flag_lag_ms=5_000)
    world.terminal.disconnect()
    assert info(world).connected is True
    world.clock.advance(5_000)
    assert info(world).connected is False


def test_catching_up_may_take_time() -> None:
    world = World(resync_ms=400)
    opened = world.buy(0.1)
    world.terminal.disconnect()
    world.terminal.person.close(opened.order)
    world.terminal.reconnect()
    assert info(world).connected is True
    assert len(world.positions()) == 1
    world.clock.advance(400)
    assert world.positions() == ()


@pytest.mark.parametrize(
    ("switch", "retcode", "filled"),
    [
        (DownSend.REFUSED, mt5.TRADE_RETCODE_CONNECTION, 0),
        (DownSend.EXECUTED_LATER, mt5.TRADE_RETCODE_CONNECTION, 1),
        (DownSend.TIMED_OUT, mt5.TRADE_RETCODE_TIMEOUT, 0),
    ],
)
def test_send_without_link(switch: DownSend, retcode: int, filled: int) -> None:
    world = World(disconnected_send=switch)
    world.terminal.disconnect()
    result = world.buy(0.1)
    assert result.retcode == retcode
    assert not world.terminal.ledger.positions
    world.terminal.reconnect()
    assert len(world.positions()) == filled


def test_send_without_link_may_block() -> None:
    world = World(disconnected_send=DownSend.BLOCKS)
    world.terminal.disconnect()
    hung: list[str] = []
    world.terminal.faults.on_hang = hung.append
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_CONNECTION
    assert hung == ["order_send"]


def test_initialize_without_link_times_out() -> None:
    world = World()
    world.terminal.shutdown()
    world.terminal.disconnect()
    assert world.terminal.initialize() is False
    assert world.terminal.last_error() == (-10005, "IPC timeout")
    assert world.terminal.positions_get() is None


# -- restart -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "shown"),
    [(ListAnswer.EMPTY, 0), (ListAnswer.PARTIAL, 2), (ListAnswer.NONE, None),
     (ListAnswer.CACHED, 4), (ListAnswer.CURRENT, 4)],
)  # fmt: skip
def test_restarted_terminal_before_synchronisation(answer: ListAnswer, shown: int | None) -> None:
    """Connected and authorised, yet the list may be empty or partial for a while."""
    world = World(unsynchronised_list=answer)
    for _ in range(4):
        world.buy(0.1)
    world.terminal.restart(build=5200)
    assert world.terminal.positions_get() is None
    assert world.terminal.initialize()
    found = world.terminal.positions_get()
    assert (None if found is None else len(found)) == shown
    assert info(world).connected is True
    assert info(world).build == 5200
    assert account(world).login == 5_000_001
    assert account(world).trade_allowed is False
    assert account(world).balance == 10_000.0
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_CONNECTION
    world.clock.advance(2_000)
    assert world.terminal.positions_total() == 4
    assert len(world.terminal.history_deals_get(1, FOREVER) or ()) == 5
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_DONE


def test_account_may_read_zero_before_synchronisation() -> None:
    world = World(unsynchronised_account_known=False)
    world.terminal.restart()
    assert world.terminal.initialize()
    assert (account(world).balance, account(world).equity) == (0.0, 0.0)
    world.clock.advance(2_000)
    assert account(world).balance == 10_000.0


def test_initialize_may_wait_for_synchronisation() -> None:
    world = World(initialize_waits_for_synchronisation=True)
    world.terminal.restart()
    assert world.terminal.initialize() is False
    assert world.terminal.last_error()[0] == -10005
    world.clock.advance(2_000)
    assert world.terminal.initialize() is True


def test_initialize_starts_a_stopped_terminal() -> None:
    world = World()
    world.terminal.stop()
    world.terminal.version()
    assert world.terminal.last_error()[0] == -10002
    assert not world.terminal.running
    assert world.terminal.initialize()
    started: bool = world.terminal.running
    assert started
    assert world.terminal.version()[1] == world.terminal.build


# -- other accounts ----------------------------------------------------------------------------


def test_another_account_makes_the_positions_vanish() -> None:
    world = World(others=(OTHER,))
    opened = world.buy(0.1)
    world.terminal.switch_account(OTHER.login)
    assert world.positions() == ()
    assert account(world).login == OTHER.login
    world.clock.advance(2_000)
    assert account(world).balance == 777.0
    mine = world.buy(0.01)
    assert list(world.terminal.broker.ledger(OTHER.login).positions) == [mine.order]
    # `ledger` stays that of the account the terminal started with.
    assert list(world.terminal.ledger.positions) == [opened.order]
    world.terminal.switch_account(5_000_001)
    world.clock.advance(2_000)
    assert world.position().ticket == opened.order


def test_login_checks_the_credentials() -> None:
    world = World(others=(OTHER,))
    refused = (-6, "Terminal: Authorization failed")
    for login, password, server in (
        (1, "", ""),
        (OTHER.login, "wrong", OTHER.server),
        (OTHER.login, "secret", "Elsewhere"),
    ):
        assert world.terminal.login(login, password, server) is False
        assert world.terminal.last_error() == refused
        assert world.terminal.current_login == 5_000_001
    assert world.terminal.login(OTHER.login, password="secret", server=OTHER.server, timeout=100)
    assert account(world).login == OTHER.login
    assert world.terminal.login(0) is False
    assert world.terminal.last_error() == (-2, 'Invalid "login" argument')
    assert world.terminal.login("1") is False
    assert world.terminal.last_error() == (-2, "Invalid 1st unnamed argument")


def test_initialize_with_credentials_switches_the_account() -> None:
    world = World(others=(OTHER,))
    assert world.terminal.initialize("C:\\terminal64.exe", login=OTHER.login, password="secret")
    assert account(world).login == OTHER.login
    assert world.terminal.initialize(login=OTHER.login, password="wrong") is False
    assert world.terminal.positions_get() is None
    assert world.terminal.initialize(path=7) is False
    assert world.terminal.last_error() == (-2, 'Invalid "path" argument')


def test_investor_login_may_look_and_not_trade() -> None:
    world = World(others=(OTHER,))
    assert world.terminal.login(OTHER.login, "look", OTHER.server)
    world.clock.advance(2_000)
    assert account(world).trade_allowed is False
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_TRADE_DISABLED
    assert world.positions() == ()


def test_what_an_investor_sees_is_switched() -> None:
    world = World()
    world.buy(0.1)
    world.terminal.investor = True
    assert len(world.positions()) == 1
    world.terminal.switches.investor_list = ListAnswer.EMPTY
    assert world.positions() == ()
    world.terminal.switches.investor_list = ListAnswer.NONE
    assert world.terminal.positions_get() is None


def test_two_terminals_on_one_broker() -> None:
    clock = Clock()
    broker = Broker(accounts=(AccountSetup(),), symbols=DEFAULT_SYMBOLS, now_msc=clock)
    first = SimulatedTerminal(broker=broker)
    second = SimulatedTerminal(broker=broker, rng=random.Random(1))
    assert first.initialize()
    assert second.initialize()
    second.disconnect()
    first.order_send(action=1, symbol="EURUSD", volume=0.1, type_filling=1)
    assert first.positions_total() == 1
    assert second.positions_total() == 0
    second.reconnect()
    assert second.positions_get() == first.positions_get()
    with pytest.raises(TypeError):
        SimulatedTerminal()
    with pytest.raises(TypeError):
        SimulatedTerminal(broker=broker, account=OTHER)


# -- clock -------------------------------------------------------------------------------------


def test_times_are_those_of_the_server_clock_and_jump_with_dst() -> None:
    jump = START_MSC + 3_600_000
    world = World(server_offset_minutes=180, dst_jumps=((jump, 120),))
    world.buy(0.1)
    assert world.position().time_msc == START_MSC + 180 * 60_000
    world.clock.advance(3_599_999)
    world.terminal.quote("EURUSD", 1.1, 1.1001)
    before = world.terminal.symbol_info_tick("EURUSD")
    world.clock.advance(1)
    world.terminal.quote("EURUSD", 1.1, 1.1001)
    after = world.terminal.symbol_info_tick("EURUSD")
    assert before is not None
    assert after is not None
    assert after.time_msc == before.time_msc + 1 - 3_600_000
    assert after.time == after.time_msc // 1000


# -- permissions -------------------------------------------------------------------------------


def test_python_option_off() -> None:
    world = World()
    world.terminal.python_trading_disabled = True
    assert info(world).tradeapi_disabled is True
    assert world.terminal.order_send({"action": 1}) is None
    assert world.terminal.last_error() == (
        -8,
        "Auto-Trading using Python API disabled in Terminal",
    )
    world.terminal.switches.python_option_off = OptionOff.RETCODE_10027
    assert world.buy(0.1).retcode == mt5.TRADE_RETCODE_CLIENT_DISABLES_AT
    assert world.positions() == ()
