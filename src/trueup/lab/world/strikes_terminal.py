"""What the faults of the terminal and of the trade server do to a world."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.world.gateway import Mishap
from trueup.lab.world.plan import Fault
from trueup.sim.market.switches import DealOrder, DownSend, FiguresFrom, ListAnswer
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    AnswersEmpty,
    AnswersOdd,
    AnswersPartial,
    AnswersStale,
    CallFault,
    DoneWithoutDeal,
    Fails,
    Hang,
    Partial,
    PlacedLater,
    SendFault,
    TimedOut,
)

if TYPE_CHECKING:
    from trueup.lab.world.world import World

LISTS = ("positions_get", "orders_get", "positions_total", "orders_total")
CALLS = (*LISTS, "account_info", "terminal_info", "history_deals_get", "history_orders_get")
CODES = (mt5.RES_E_FAIL, mt5.RES_E_INTERNAL_FAIL_SEND, mt5.RES_E_INTERNAL_FAIL_RECEIVE)
REFUSALS = (
    mt5.TRADE_RETCODE_REJECT,
    mt5.TRADE_RETCODE_MARKET_CLOSED,
    mt5.TRADE_RETCODE_NO_MONEY,
    mt5.TRADE_RETCODE_ORDER_CHANGED,
    mt5.TRADE_RETCODE_TOO_MANY_REQUESTS,
    mt5.TRADE_RETCODE_NO_CHANGES,
    mt5.TRADE_RETCODE_LOCKED,
    mt5.TRADE_RETCODE_POSITION_CLOSED,
)

SENDS: dict[Fault, Callable[[random.Random], SendFault]] = {
    Fault.NONE_EXECUTED: lambda c: AnswerLost(True, c.choice(CODES), c.random() < 0.5),
    Fault.NONE_NOT_EXECUTED: lambda c: AnswerLost(False, c.choice(CODES), c.random() < 0.5),
    Fault.TIMEOUT_EXECUTED: lambda c: TimedOut(c.choice((200, 2_000, 7_000))),
    Fault.TIMEOUT_NOT_EXECUTED: lambda c: TimedOut(None),
    Fault.DONE_WITHOUT_DEAL: lambda c: DoneWithoutDeal(),
    Fault.PLACED_FIRST: lambda c: PlacedLater(c.choice((300, 3_000)), c.random() < 0.7),
    Fault.PARTIAL_FILL: lambda c: Partial(0.01),
    Fault.REQUOTE: lambda c: Answered(mt5.TRADE_RETCODE_REQUOTE),
    Fault.RETCODE: lambda c: Answered(c.choice(REFUSALS)),
    Fault.REFUSED_EXECUTED: lambda c: Answered(mt5.TRADE_RETCODE_REJECT, executed=True),
    Fault.SEND_HANGS: lambda c: Hang(c.random() < 0.5),
}
READS: dict[Fault, Callable[[], CallFault]] = {
    Fault.LIST_EMPTY: AnswersEmpty,
    Fault.LIST_HALF: lambda: AnswersPartial(1),
    Fault.LIST_STALE: AnswersStale,
}


ROWS = frozenset({Fault.ROW_ODD, Fault.ROW_TWICE})
_ODD_ANYWHERE = (("price_open", math.nan), ("type", 99), ("ticket", 0), ("symbol", ""))
ROWS_ODD: dict[str, tuple[tuple[str, object], ...]] = {
    "positions_get": (("volume", -0.1), ("volume", math.inf), *_ODD_ANYWHERE),
    "orders_get": (("volume_current", -0.1), *_ODD_ANYWHERE),
}
"""Fields of a row without which nothing is known of it, and values that they cannot have."""


def on_send(world: World, fault: Fault, chance: random.Random) -> None:
    """Let a fault wait for the next order that reaches the terminal."""
    world.gateway.orders.append(Mishap(fault, send=SENDS[fault](chance)))


def on_list(world: World, fault: Fault, chance: random.Random) -> None:
    """Let a fault wait for the next reading of a list, and for its repetitions."""
    # A total that is wrong costs a reading, and a list that is wrong the truth.
    function = chance.choice((*LISTS, "positions_get", "orders_get"))
    # A gateway reads four times before it sends what does not agree.
    times = chance.choice((1, 4, 4))
    calls = tuple((function, READS[fault]()) for _ in range(times))
    world.gateway.readings.append(Mishap(fault, calls=calls, alters=True))


def on_row(world: World, fault: Fault, chance: random.Random) -> None:
    """Let the first row of the next readings be one that cannot be read, or come twice."""
    function = chance.choice(("positions_get", "positions_get", "orders_get"))
    field, value = ("", None) if fault is Fault.ROW_TWICE else chance.choice(ROWS_ODD[function])
    times = chance.choice((1, 3))
    calls = tuple((function, AnswersOdd(field, value)) for _ in range(times))
    world.gateway.readings.append(Mishap(fault, calls=calls, alters=True))


def on_call(world: World, fault: Fault, chance: random.Random) -> None:
    """Let a call fail in the next reading."""
    code = chance.choice(CODES)
    failing = Fails(code, breaks_pipe=chance.random() < 0.3)
    world.gateway.readings.append(Mishap(fault, calls=((chance.choice(CALLS), failing),)))


def disconnect(world: World, shown: ListAnswer, chance: random.Random) -> str:
    """Cut the terminal's link to its trade server for a while."""
    terminal, switches = world.terminal, world.terminal.switches
    if not terminal.is_connected:
        return ""
    switches.disconnected_list = shown
    switches.connected_flag_lag_ms = chance.choice((0, 0, 1_500, 20_000))
    switches.disconnected_send = chance.choice(
        (DownSend.REFUSED, DownSend.EXECUTED_LATER, DownSend.TIMED_OUT, DownSend.BLOCKS)
    )
    switches.account_figures = chance.choice(list(FiguresFrom))
    switches.resync_ms = chance.choice((0, 1_500, 5_000))
    terminal.disconnect()
    seconds = chance.choice((1, 4, 10, 25))
    world.schedule.after(seconds * 1000, terminal.reconnect)
    return f"for {seconds} s"


def restart_terminal(world: World, chance: random.Random) -> str:
    """End the terminal and start it again; it synchronises anew."""
    switches = world.terminal.switches
    switches.unsynchronised_list = chance.choice(list(ListAnswer))
    switches.unsynchronised_account_known = chance.random() < 0.7
    # A gateway waits for five seconds until the terminal may trade, and serves it then.
    switches.synchronise_ms = chance.choice((500, 2_000, 5_000, 8_000))
    world.terminal.restart()
    return f"and shows {switches.unsynchronised_list.value} until it is synchronised"


def break_pipe(world: World, chance: random.Random) -> str:
    """Break the pipe between module and terminal."""
    on_send = chance.random() < 0.5
    world.terminal.break_pipe(on_send=on_send)
    return "at the next write" if on_send else "at the next read"


def other_account(world: World, chance: random.Random) -> str:
    """Log the terminal in to another account for a while."""
    terminal = world.terminal
    terminal.switch_account(world.other_login)
    seconds = chance.choice((2, 8))
    world.schedule.after(seconds * 1000, lambda: own_account(world))
    return f"for {seconds} s"


def same_login_elsewhere(world: World, chance: random.Random) -> str:
    """Log the terminal in to an account with the same number at another server for a while."""
    terminal = world.terminal
    if terminal.current_login != terminal.home_login:
        return ""
    ledger = terminal.broker.ledger(world.other_login)
    usual = ledger.setup
    number = world.ledger.setup.login
    ledger.setup = dataclasses.replace(usual, login=number, server="Elsewhere-Demo")
    terminal.switch_account(world.other_login)
    seconds = chance.choice((2, 8))

    def come_back() -> None:
        own_account(world)
        ledger.setup = usual

    world.schedule.after(seconds * 1000, come_back)
    return f"for {seconds} s"


def own_account(world: World) -> None:
    """Log the terminal in to the bots' account, unless it is."""
    terminal = world.terminal
    if terminal.current_login != terminal.home_login:
        terminal.switch_account(terminal.home_login)


def late_positions(
    world: World, chance: random.Random, lags: Sequence[int] = (200, 700, 3_000)
) -> None:
    """Let positions show late from now on."""
    lag_ms = chance.choice(lags)
    world.terminal.switches.position_lag_ms = lag_ms
    world.awaited[Fault.LATE_POSITIONS] = f"by {lag_ms} ms"


def late_positions_unproven(world: World, chance: random.Random) -> None:
    """Let positions show late from now on, to a bot that has nothing else to go by.

    A bot waits twice its settle window there, of a second by default. What is later than that it
    takes for gone, unproven, until it shows again.
    """
    late_positions(world, chance, (200, 700, 1_500))
    world.awaited[Fault.LATE_POSITIONS_UNPROVEN] = world.awaited.pop(Fault.LATE_POSITIONS)


def late_deals(world: World, chance: random.Random) -> None:
    """Let deals show late from now on, and out of order."""
    switches = world.terminal.switches
    switches.deal_lag_ms = chance.choice((200, 700, 3_000, 8_000))
    switches.deal_order = chance.choice(list(DealOrder))
    world.terminal.faults.duplicate_deals(chance.choice((0, 1)))
    world.awaited[Fault.LATE_DEALS] = f"by {switches.deal_lag_ms} ms"


def late_orders(world: World, chance: random.Random) -> None:
    """Let orders and their history show late from now on."""
    switches = world.terminal.switches
    switches.order_lag_ms = chance.choice((0, 300, 2_000))
    switches.order_history_lag_ms = chance.choice((200, 2_000))
    world.awaited[Fault.LATE_ORDERS] = f"by {switches.order_history_lag_ms} ms"


def rewrite_comments(world: World, chance: random.Random) -> None:
    """Let the broker put other comments on requests from now on."""
    switches = world.terminal.switches
    if chance.random() < 0.5:
        switches.comment_replaced_by = chance.choice(("", "abc", "via broker"))
        how = f"to {switches.comment_replaced_by or 'nothing'}"
    else:
        switches.comment_prefix = "XX-"
        how = "with a prefix"
    world.awaited[Fault.COMMENT_REWRITTEN] = how


def cut_comments(world: World, chance: random.Random) -> None:
    """Let the broker cut comments from now on."""
    length = chance.choice((4, 6, 8, 16))
    world.terminal.switches.comment_characters_max = length
    world.awaited[Fault.COMMENT_CUT] = f"to {length} characters"
