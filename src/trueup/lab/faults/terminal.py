"""Faults of the terminal and of the trade server."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
from collections.abc import Callable, Sequence

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.plan.plan import SYMBOL, Fault
from trueup.lab.system.gateway import Mishap
from trueup.lab.system.wire import Armed
from trueup.sim.market.records import Refusal
from trueup.sim.market.switches import DealOrder, DownSend, FiguresFrom, ListAnswer, OptionOff
from trueup.sim.terminal.person import Person
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
    Meanwhile,
    Partial,
    PlacedLater,
    SendFault,
    TimedOut,
)

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

# The number of readings after which a gateway sends lists that do not agree.
READS_MOST = 4
# The distance from the market at which no pending order fills by chance.
FAR = 0.01
# The least difference between results and the account's figures that rounding cannot explain.
APART = 1.0
# The filled volume of a partial fill, if the symbol allows so small a volume.
LOTS_LEAST = 0.01
# The share of partial fills whose reply is lost.
UNHEARD = 0.7
SENDS: dict[Fault, Callable[[random.Random], SendFault]] = {
    Fault.NONE_EXECUTED: lambda c: AnswerLost(True, c.choice(CODES), c.random() < 0.5),
    Fault.NONE_NOT_EXECUTED: lambda c: AnswerLost(False, c.choice(CODES), c.random() < 0.5),
    Fault.TIMEOUT_EXECUTED: lambda c: TimedOut(c.choice((200, 2_000, 7_000))),
    Fault.TIMEOUT_NOT_EXECUTED: lambda c: TimedOut(None),
    Fault.DONE_WITHOUT_DEAL: lambda c: DoneWithoutDeal(),
    Fault.PLACED_FIRST: lambda c: PlacedLater(c.choice((300, 3_000)), c.random() < 0.7),
    Fault.PARTIAL_FILL: lambda c: Partial(LOTS_LEAST),
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
"""Fields that a row needs to be usable, with impossible values."""


def on_send(world: StruckWorld, fault: Fault, chance: random.Random) -> None:
    """Let a fault wait for the next order that reaches the terminal."""
    send = SENDS[fault](chance)
    if isinstance(send, Partial):
        send = Partial(world.lots_unit)
        # Often nobody hears of it: then only the broker's data tells how much was filled.
        if chance.random() < UNHEARD:
            world.network.armed.append(Armed(Fault.REPLY_LOST, orders_only=True, late_ms=0))
    world.gateway.orders.append(Mishap(fault, send=send))


def on_list(world: StruckWorld, fault: Fault, chance: random.Random) -> None:
    """Let a fault wait for the next reading of a list, and for its repetitions."""
    # Draw lists more often: a wrong total costs a reading, but a wrong list can corrupt a book.
    function = chance.choice((*LISTS, "positions_get", "orders_get"))
    # After four readings a gateway sends lists that do not agree.
    times = chance.choice((1, 4, 4))
    calls = tuple((function, READS[fault]()) for _ in range(times))
    world.gateway.readings.append(Mishap(fault, calls=calls, alters=True))


def on_row(world: StruckWorld, fault: Fault, chance: random.Random) -> None:
    """Let the first row of the next readings be unreadable, or come twice."""
    function = chance.choice(("positions_get", "positions_get", "orders_get"))
    field, value = ("", None) if fault is Fault.ROW_TWICE else chance.choice(ROWS_ODD[function])
    times = chance.choice((1, 3))
    calls = tuple((function, AnswersOdd(field, value)) for _ in range(times))
    world.gateway.readings.append(Mishap(fault, calls=calls, alters=True))


def change_while_read(world: StruckWorld, chance: random.Random) -> None:
    """Let the account change between the lists of the next readings: a fill, an order, a close.

    Orders are read first. An order that is filled then is in the list of orders and, as a position,
    in the other list. A gateway reads again if the counts before and after differ, so the account
    changes in each of the gateway's tries, or in some.
    """
    times = chance.choice((1, READS_MOST, 2 * READS_MOST))
    calls = tuple(
        ("positions_get", Meanwhile(lambda: _change(world, chance))) for _ in range(times)
    )
    world.gateway.readings.append(Mishap(Fault.CHANGED_WHILE_READ, calls=calls))


def _change(world: StruckWorld, chance: random.Random) -> None:
    """Fill or cancel a pending order; without any, place an order or close a position."""
    hand, limit = _person(world), round(world.bid - FAR, 5)
    held = [one for one in world.ledger.positions.values() if one.symbol == world.symbol]
    pending = [one for one in world.ledger.orders.values() if one.symbol == world.symbol]
    with contextlib.suppress(Refusal):
        if pending and chance.random() < 0.5:
            world.move_market(round(chance.choice(pending).price_open - world.bid, 5))
        elif pending:
            hand.cancel(chance.choice(pending).ticket)
        elif world.symbol == SYMBOL and chance.random() < 0.8:
            owner = world.somebody(mt5.ORDER_REASON_EXPERT, world.magic)
            owner.place(SYMBOL, mt5.ORDER_TYPE_BUY_LIMIT, round(6 * world.lots_unit, 3), limit)
        elif held:
            hand.close(chance.choice(held).ticket)


def swap_behind_list(world: StruckWorld, chance: random.Random) -> str | None:
    """Close a position and open another, and answer with the old list for a while.

    The old list has the right number of rows. Only the results of its rows contradict the list:
    their sum differs from the account's figure.
    """
    # A netting account would merge the two positions.
    terminal, ledger = world.terminal, world.ledger
    held = [one for one in ledger.positions.values() if one.symbol == world.symbol]
    before = ledger.figures().profit
    is_usual = terminal.is_connected and world.symbol == SYMBOL
    # Of two strikes at once, the second would renew the old list by which the first is noticed.
    is_waiting = any(one.fault is Fault.LIST_SWAPPED for one in world.gateway.readings)
    if not held or not is_usual or is_waiting or ledger.setup.is_netting:
        return ""
    one = chance.choice(held)
    lots = ledger.lots(world.symbol, one.steps)
    magic = one.magic
    person = world.somebody(mt5.ORDER_REASON_EXPERT, magic) if magic else _person(world)
    # The terminal answers with the last list read, so read before the change.
    terminal.positions_get()
    person.close(one.ticket)
    person.open(world.symbol, mt5.ORDER_TYPE_BUY if one.is_buy else mt5.ORDER_TYPE_SELL, lots)
    # Without a clear difference no bot can notice the swap, so the list must be honest.
    if abs(ledger.figures().profit - before) < APART:
        return f"unseen, ticket {one.ticket}"
    calls = tuple(("positions_get", AnswersStale()) for _ in range(READS_MOST))
    world.gateway.readings.append(Mishap(Fault.LIST_SWAPPED, calls=calls, alters=True))
    return None


def _person(world: StruckWorld) -> Person:
    return world.somebody(mt5.ORDER_REASON_CLIENT)


def switch_trading_off(world: StruckWorld, chance: random.Random) -> str:
    """Switch automated trading off for a while: for all programs, or for those in Python."""
    # The two options differ in the words of the refusal, which the bot must understand.
    terminal, seconds = world.terminal, chance.choice((2, 8))
    terminal.switches.python_option_off = chance.choice(list(OptionOff))
    is_for_all = chance.random() < 0.5
    if is_for_all:
        terminal.algo_trading = False
    else:
        terminal.python_trading_disabled = True

    def switch_on() -> None:
        terminal.algo_trading, terminal.python_trading_disabled = True, False

    world.schedule.after(seconds * 1000, switch_on)
    whose = "of all programs" if is_for_all else "of programs in Python"
    return f"that {whose}, for {seconds} s"


def read_only(world: StruckWorld, chance: random.Random) -> str:
    """Log the terminal in with the investor's password for a while."""
    terminal, seconds = world.terminal, chance.choice((2, 8))
    if terminal.current_login != terminal.home_login:
        return ""
    terminal.switches.investor_list = chance.choice((ListAnswer.CURRENT, ListAnswer.CACHED))
    terminal.investor = True

    def log_in() -> None:
        terminal.investor = False

    world.schedule.after(seconds * 1000, log_in)
    return f"for {seconds} s, and shows {terminal.switches.investor_list.value}"


def on_call(world: StruckWorld, fault: Fault, chance: random.Random) -> None:
    """Let a call fail in the next reading."""
    code = chance.choice(CODES)
    failing = Fails(code, breaks_pipe=chance.random() < 0.3)
    world.gateway.readings.append(Mishap(fault, calls=((chance.choice(CALLS), failing),)))


def disconnect(world: StruckWorld, shown: ListAnswer, chance: random.Random) -> str:
    """Cut the terminal's link to its trade server for a while."""
    terminal, switches = world.terminal, world.terminal.switches
    if not terminal.is_connected:
        return ""
    # Terminals differ in the flag, the figures and the orders of a lost connection.
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


def restart_terminal(world: StruckWorld, chance: random.Random) -> str:
    """End the terminal and start a new process, which synchronises anew."""
    switches = world.terminal.switches
    switches.unsynchronised_list = chance.choice(list(ListAnswer))
    switches.unsynchronised_account_known = chance.random() < 0.7
    # A gateway waits up to five seconds for a terminal that cannot trade yet.
    switches.synchronise_ms = chance.choice((500, 2_000, 5_000, 8_000))
    world.terminal.restart()
    return f"and shows {switches.unsynchronised_list.value} until it is synchronised"


def break_pipe(world: StruckWorld, chance: random.Random) -> str:
    """Break the pipe between module and terminal."""
    on_send = chance.random() < 0.5
    world.terminal.break_pipe(on_send=on_send)
    return "at the next write" if on_send else "at the next read"


def other_account(world: StruckWorld, chance: random.Random) -> str:
    """Log the terminal in to another account for a while."""
    terminal = world.terminal
    terminal.switch_account(world.other_login)
    seconds = chance.choice((2, 8))
    world.schedule.after(seconds * 1000, lambda: own_account(world))
    return f"for {seconds} s"


def same_login_elsewhere(world: StruckWorld, chance: random.Random) -> str:
    """Log the terminal in to an account with the same number at another server for a while."""
    terminal = world.terminal
    if terminal.current_login != terminal.home_login:
        return ""
    # The other account takes on the number, so only the server's name differs.
    ledger = terminal.broker.ledger(world.other_login)
    usual = ledger.setup
    number = world.ledger.setup.login
    ledger.setup = dataclasses.replace(usual, login=number, server="Elsewhere-Demo")
    terminal.switch_account(world.other_login)
    # So long that a bot reads the other account twice.
    seconds = chance.choice((4, 16))

    def come_back() -> None:
        own_account(world)
        ledger.setup = usual

    world.schedule.after(seconds * 1000, come_back)
    return f"for {seconds} s"


def own_account(world: StruckWorld) -> None:
    """Log the terminal in to the bots' account, unless already logged in there."""
    terminal = world.terminal
    if terminal.current_login != terminal.home_login:
        terminal.switch_account(terminal.home_login)


def late_positions(
    world: StruckWorld, chance: random.Random, lags: Sequence[int] = (200, 700, 3_000)
) -> None:
    """Let positions show late from now on."""
    lag_ms = chance.choice(lags)
    world.terminal.switches.position_lag_ms = lag_ms
    world.awaited[Fault.LATE_POSITIONS] = f"by {lag_ms} ms"


def late_positions_unproven(world: StruckWorld, chance: random.Random) -> None:
    """Let positions show late from now on, to a bot that has only a list of positions.

    Such a bot waits twice its settle window, of a second by default. A position that shows later is
    recorded as gone, unproven, until the list has that position again.
    """
    late_positions(world, chance, (200, 700, 1_500))
    world.awaited[Fault.LATE_POSITIONS_UNPROVEN] = world.awaited.pop(Fault.LATE_POSITIONS)


def late_deals(world: StruckWorld, chance: random.Random) -> None:
    """Let deals show late from now on, and out of order."""
    switches = world.terminal.switches
    switches.deal_lag_ms = chance.choice((200, 700, 3_000, 8_000))
    switches.deal_order = chance.choice(list(DealOrder))
    world.terminal.faults.duplicate_deals(chance.choice((0, 1)))
    world.awaited[Fault.LATE_DEALS] = f"by {switches.deal_lag_ms} ms"


def late_orders(world: StruckWorld, chance: random.Random) -> None:
    """Let orders and their history show late from now on."""
    switches = world.terminal.switches
    switches.order_lag_ms = chance.choice((0, 300, 2_000))
    switches.order_history_lag_ms = chance.choice((200, 2_000))
    world.awaited[Fault.LATE_ORDERS] = f"by {switches.order_history_lag_ms} ms"


def rewrite_comments(world: StruckWorld, chance: random.Random) -> None:
    """Let the broker put other comments on requests from now on."""
    switches = world.terminal.switches
    if chance.random() < 0.5:
        switches.comment_replaced_by = chance.choice(("", "abc", "via broker"))
        how = f"to {switches.comment_replaced_by or 'nothing'}"
    else:
        switches.comment_prefix = "XX-"
        how = "with a prefix"
    world.awaited[Fault.COMMENT_REWRITTEN] = how


def cut_comments(world: StruckWorld, chance: random.Random) -> None:
    """Let the broker cut comments from now on."""
    length = chance.choice((4, 6, 8, 16))
    world.terminal.switches.comment_characters_max = length
    world.awaited[Fault.COMMENT_CUT] = f"to {length} characters"
