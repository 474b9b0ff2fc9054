"""What is known of MetaTrader 5, row by row, with its source: the simulated terminal shows it too.

A row has a sentence, the source by the name that the field knows, what is done, and what has to be
seen then. `Switches` has the habits that differ from broker to broker. Rules that need more than a
row, such as what is refused, stand in the other files of this folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import pytest

from tests.sim.sim_world import FOREVER, HEDGING, NETTING, World
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.structs import TradeDeal, TradeOrder
from trueup.sim.market.switches import DealTicketMeans
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, EURUSD, AccountSetup, Charged
from trueup.sim.terminal.terminal_faults import Fails

BUY, SELL = mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL
EXCHANGE = AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_EXCHANGE)
AT_EXCHANGE = dataclasses.replace(EURUSD, execution=mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE)
DAY_MSC = 86_400_000
NO_TERMINAL = "IPC initialize failed, MetaTrader 5 x64 not found"

SEEN = "observed on real accounts, demo and live, hedging"
SEEN_AT_EXCHANGE = "observed on a real account at an exchange"
SEEN_IN_TESTER = "observed in reports of the strategy tester"
MODULE = "observed with the official module 5.0.6231 on Windows"
ORDERS = "MQL5 documentation, Order Properties"
DEALS = "MQL5 documentation, Deal Properties"
POSITIONS = "MQL5 documentation, Position Properties"
SYMBOLS = "MQL5 documentation, Symbol Properties"
RETCODES = "MQL5 documentation, Return Codes of the Trade Server"
MANUAL = "MetaTrader 5 terminal manual, Trade tab"

Shown = Mapping[str, object]


class Fact(NamedTuple):
    """One row: what is known, who says so, what is done, and what is due of what is shown."""

    what: str
    source: str
    done: Callable[[], Shown]
    due: Shown


def deals_of(world: World, position: int) -> tuple[TradeDeal, ...]:
    found = world.terminal.history_deals_get(position=position)
    assert found is not None
    return found


def past_order(world: World, ticket: int) -> TradeOrder:
    found = world.terminal.history_orders_get(ticket=ticket)
    assert found
    return found[0]


def working(world: World) -> tuple[TradeOrder, ...]:
    found = world.terminal.orders_get()
    assert found is not None
    return found


def balance(world: World) -> float:
    found = world.terminal.account_info()
    assert found is not None
    return float(found.balance)


# -- what is done ------------------------------------------------------------------------------


def stopped(side: int, bid: float, account: AccountSetup = HEDGING, **given: Any) -> Shown:
    """A position meets its stop loss or take profit."""
    levels = {name: given.pop(name) for name in ("sl", "tp") if name in given}
    world = World(account, **given)
    opened = world.deal(side, 0.1, magic=7, **levels)
    world.terminal.quote("EURUSD", bid, round(bid + 0.0001, 5))
    assert world.positions() == ()
    deal = deals_of(world, opened.order)[-1]
    order = past_order(world, deal.order)
    return {
        "reasons": (deal.reason, order.reason),
        "entry": deal.entry,
        "comments": {deal.comment, order.comment},
        "magic": deal.magic,
        "is of the position": deal.position_id == order.position_id == opened.order,
        "order type": order.type,
        "has a ticket of its own": order.ticket != opened.order,
        "deal price": deal.price,
        "order price": order.price_open,
        "profit": deal.profit,
    }


def stop_listed(account: AccountSetup = HEDGING) -> Shown:
    """The order of a stop stands for three seconds while the price goes on, and comes back."""
    world = World(account, stop_order_listed_ms=3_000)
    opened = world.buy(0.1, sl=1.09)
    world.terminal.quote("EURUSD", 1.0899, 1.09)
    world.clock.advance(1_000)
    world.terminal.quote("EURUSD", 1.0896, 1.0897)
    (order,) = working(world)
    open_meanwhile = len(world.positions())
    world.clock.advance(2_000)
    world.terminal.quote("EURUSD", 1.0892, 1.0893)
    deal = deals_of(world, opened.order)[-1]
    past = past_order(world, order.ticket)
    return {
        "listed as": (order.type, order.price_open, order.position_id, order.reason),
        "open meanwhile": open_meanwhile,
        "left": (world.positions(), working(world)),
        "deal": (deal.order == order.ticket, deal.price),
        "stood ms": past.time_done_msc - past.time_setup_msc,
        "deals": len(deals_of(world, opened.order)),
    }


def closed_while_stop_listed() -> Shown:
    """A hand closes a position whose stop has begun; then the broker does, by a stop out."""
    world = World(AccountSetup(balance=1_200.0), stop_order_listed_ms=3_000)
    opened = world.buy(1.0, sl=1.0995)
    world.terminal.quote("EURUSD", 1.0994, 1.0995)
    (stop,) = working(world)
    refused = world.sell(1.0, position=opened.order)
    world.terminal.quote("EURUSD", 1.09, 1.0901)
    reason = deals_of(world, opened.order)[-1].reason
    world.clock.advance(3_000)
    left = working(world)
    return {
        "by hand": refused.retcode,
        "closed by": reason,
        "left": left,
        "the stop's order": past_order(world, stop.ticket).state,
        "deals": len(deals_of(world, opened.order)),
    }


def stopped_out() -> Shown:
    """The margin level falls below the limit."""
    world = World(AccountSetup(balance=1_500.0))
    opened = world.buy(1.0)
    world.terminal.quote("EURUSD", 1.0904, 1.0905)
    deal = deals_of(world, opened.order)[-1]
    order = past_order(world, deal.order)
    return {
        "reasons": (deal.reason, order.reason),
        "comment": deal.comment,
        "order price": order.price_open,
    }


def swapped() -> Shown:
    """A night passes, then half is closed."""
    world = World()
    opened = world.buy(1.0)
    world.clock.advance(DAY_MSC)
    accrued = world.position().swap
    world.sell(0.5, position=opened.order)
    return {
        "accrued": accrued,
        "booked": deals_of(world, opened.order)[-1].swap,
        "left": world.position().swap,
    }


def reopened(mode: int) -> Shown:
    """A night passes for a symbol whose swap is a re-opening."""
    world = World(symbols=(dataclasses.replace(EURUSD, swap_mode=mode),))
    opened = world.buy(1.0, magic=7)
    world.clock.advance(DAY_MSC)
    after = world.position()
    return {
        "reasons": [deal.reason for deal in deals_of(world, opened.order)],
        "entries": [deal.entry for deal in deals_of(world, opened.order)],
        "identifier": after.identifier == opened.order,
        "ticket": after.ticket == opened.order,
        "magic": after.magic,
    }


def charged(how: Charged) -> Shown:
    """A position is opened and closed with 7.0 a lot in commission; then the day ends."""
    setup = dataclasses.replace(
        EURUSD, commission_per_lot=7.0, commission_charged=how, fee_per_lot=1.0
    )
    world = World(symbols=(setup,))
    opened = world.buy(0.1)
    world.sell(0.1, position=opened.order)
    first, second = deals_of(world, opened.order)
    account = world.terminal.account_info()
    assert account is not None
    world.terminal.broker.change_day()
    everything = world.terminal.history_deals_get(1, FOREVER)
    after = world.terminal.account_info()
    assert everything is not None
    assert after is not None
    last = everything[-1]
    return {
        "commissions": (first.commission, second.commission),
        "fees": (first.fee, second.fee),
        "blocked": account.commission_blocked,
        "last deal": (last.type, last.profit),
        "blocked after the day": after.commission_blocked,
    }


def settled(account: AccountSetup, *, reopens: bool) -> Shown:
    """Variation margin is settled."""
    world = World(account, variation_margin_reopens=reopens)
    opened = world.buy(0.1)
    before = world.position()
    world.clock.advance(1_000)
    world.terminal.broker.settle_variation_margin("EURUSD", 1.105)
    deals, after = deals_of(world, opened.order)[1:], world.position()
    return {
        "reasons": {deal.reason for deal in deals},
        "volumes": [deal.volume for deal in deals],
        "money": [deal.profit for deal in deals],
        "price_open": after.price_open,
        "moved": (after.volume != before.volume, after.time_update != before.time_update),
        "balance": balance(world),
    }


def split(reason: int) -> Shown:
    """A symbol is split four for one."""
    world = World()
    opened = world.buy(0.1)
    world.terminal.broker.split("EURUSD", 4, 1, reason)
    return {
        "reasons": [deal.reason for deal in deals_of(world, opened.order)[1:]],
        "volume": round(world.position().volume, 8),
    }


def operation(kind: int, amount: float, comment: str) -> Shown:
    """The back office books a deal that is no trade."""
    world = World()
    world.terminal.broker.balance_operation(HEDGING.login, kind, amount, comment)
    everything = world.terminal.history_deals_get(1, FOREVER)
    assert everything is not None
    deal = everything[-1]
    return {
        "type": deal.type,
        "links": (deal.order, deal.position_id, deal.symbol),
        "traded": (deal.entry, deal.volume, deal.price),
        "money": deal.profit,
        "comment": deal.comment,
        "balance": balance(world),
    }


def cancelled() -> Shown:
    """The broker cancels both deals of a position that gained 9.0."""
    world = World()
    opened = world.buy(0.1)
    world.terminal.quote("EURUSD", 1.101, 1.1011)
    closed = world.sell(0.1, position=opened.order)
    for deal in (closed, opened):
        world.terminal.broker.cancel_deal(HEDGING.login, deal.deal)
    deals = deals_of(world, opened.order)
    return {
        "types": [deal.type for deal in deals],
        "profits": [deal.profit for deal in deals],
        "volumes": [deal.volume for deal in deals],
        "balance": balance(world),
    }


def charged_late() -> Shown:
    """A commission is charged after the close."""
    world = World()
    opened = world.buy(0.1)
    closed = world.sell(0.1, position=opened.order)
    before = balance(world)
    world.terminal.broker.charge_commission(HEDGING.login, closed.deal, -1.75)
    commission = deals_of(world, opened.order)[-1].commission
    return {"commission": commission, "charged": round(balance(world) - before, 2)}


def called(function: str, *args: Any, **kwargs: Any) -> Shown:
    """A call before `initialize`."""
    terminal = World().terminal
    terminal.shutdown()
    answer = getattr(terminal, function)(*args, **kwargs)
    return {"answer": answer, "error": terminal.last_error()[0]}


def initialized_without_a_terminal() -> Shown:
    terminal = World().terminal
    terminal.faults.next_call("initialize", Fails(mt5.RES_E_INTERNAL_FAIL_INIT, NO_TERMINAL))
    return {"answer": terminal.initialize(), "error": terminal.last_error()}


def answered(**switches: Any) -> Shown:
    """Three orders are sent."""
    world = World(**switches)
    results = [world.buy(0.1, comment="token-1") for _ in range(3)]
    ids = [result.request_id for result in results]
    return {
        "retcodes": {result.retcode for result in results},
        "comments": {result.comment for result in results},
        "count up": ids == [ids[0], ids[0] + 1, ids[0] + 2],
        "of 32 bits": all(0 <= one < 2**32 for one in ids),
    }


def sent_to_exchange(lots_there: float | None, filling: int, **switches: Any) -> Shown:
    """A market order at an exchange, which has so many lots."""
    world = World(EXCHANGE, symbols=(AT_EXCHANGE,), **switches)
    world.terminal.market.set_liquidity("EURUSD", lots_there)
    result = world.buy(0.3, type_filling=filling)
    states = [order.state for order in working(world)]
    finished = world.terminal.history_orders_get(ticket=result.order) or ()
    deals = world.terminal.history_deals_get(1, FOREVER) or ()
    return {
        "answer": (result.retcode, result.deal, result.price, result.volume),
        "has an order": result.order > 0,
        "working": [(round(order.volume_current, 8)) for order in working(world)],
        "states": states + [order.state for order in finished],
        "dealt": [round(deal.volume, 8) for deal in deals if deal.order == result.order],
    }


def overtaken(**lags: Any) -> Shown:
    """What shows of a fill before everything has arrived."""
    world = World(EXCHANGE, symbols=(AT_EXCHANGE,), **lags)
    order = world.buy(0.1).order
    deal = world.terminal.history_deals_get(position=order)
    past = world.terminal.history_orders_get(ticket=order)
    return {"deal": bool(deal), "order": bool(past)}


def still_listed() -> Shown:
    """A filled order is still among the working ones."""
    world = World(EXCHANGE, symbols=(AT_EXCHANGE,), filled_orders_listed_ms=500)
    ticket = world.buy(0.1).order
    at_once = [(order.ticket == ticket, order.volume_current) for order in working(world)]
    deals = len(world.terminal.history_deals_get(position=ticket) or ())
    world.clock.advance(500)
    return {
        "listed": at_once,
        "deals": deals,
        "later": (working(world), past_order(world, ticket).state),
    }


def averaged(account: AccountSetup) -> Shown:
    """A netting position is added to."""
    setup = dataclasses.replace(
        EURUSD, name="VALE3", digits=2, contract_size=1.0, bid=145.79, ask=145.80
    )
    world = World(account, symbols=(setup,))
    world.buy(0.1, "VALE3")
    world.terminal.quote("VALE3", 145.80, 145.81)
    world.buy(0.2, "VALE3")
    return {"price_open": world.position().price_open}


def anonymous() -> Shown:
    """What a broker at an exchange shows of an order of ours."""
    world = World(
        EXCHANGE,
        symbols=(AT_EXCHANGE,),
        positions_show_client=True,
        comment_replaced_by="METATRADER5",
    )
    order = world.buy(0.1, magic=7, comment="token-1").order
    position, (deal,) = world.position(), deals_of(world, order)
    return {
        "position": (position.reason, position.magic, position.comment),
        "deal": (deal.reason, deal.comment),
    }


def commented(prefix: str, comment: str) -> Shown:
    world = World(comment_prefix=prefix)
    world.buy(0.1, comment=comment)
    return {"comment": world.position().comment}


def named(symbol: str) -> Shown:
    """A symbol of any name is traded and asked for."""
    world = World(symbols=(*DEFAULT_SYMBOLS, dataclasses.replace(EURUSD, name=symbol)))
    order = world.buy(0.1, symbol).order
    terminal = world.terminal
    return {
        "symbol": world.position(symbol=symbol).symbol,
        "by wildcard": len(terminal.positions_get(group=f"*{symbol[-3:]}") or ()),
        "by its name as a group": len(terminal.positions_get(group=symbol) or ()),
        "deal": deals_of(world, order)[0].symbol,
    }


def busy() -> Shown:
    """Seven trades in one second, on one netting position."""
    world = World(NETTING)
    first = world.buy(0.1).order
    for _ in range(6):
        world.buy(0.1)
    deals = deals_of(world, first)
    return {
        "deals": len(deals),
        "seconds": len({deal.time for deal in deals}),
        "identifier": world.position().identifier == first,
        "tickets": len({deal.ticket for deal in deals}),
    }


def by_ticket(means: DealTicketMeans) -> Shown:
    world = World(deal_ticket_means=means)
    world.buy(0.1)
    closed = world.buy(0.2)
    by = {"deal": closed.deal, "order": closed.order}
    answers = {
        name: [deal.ticket for deal in world.terminal.history_deals_get(ticket=ticket) or ()]
        for name, ticket in by.items()
    }
    return {name: found == [closed.deal] for name, found in answers.items()}


# -- the table ---------------------------------------------------------------------------------

SL, TP, SO = mt5.DEAL_REASON_SL, mt5.DEAL_REASON_TP, mt5.DEAL_REASON_SO
EXPERT, ROLLOVER, VMARGIN = mt5.DEAL_REASON_EXPERT, mt5.DEAL_REASON_ROLLOVER, 8
NO_LINKS = {"links": (0, 0, ""), "traded": (0, 0.0, 0.0)}
IOC, FOK, RETURN = mt5.ORDER_FILLING_IOC, mt5.ORDER_FILLING_FOK, mt5.ORDER_FILLING_RETURN

STOPS = tuple(
    Fact(
        f"a {word} that is hit at {bid} closes by an order and a deal of their own, {mode}",
        f"{ORDERS}; {DEALS}",
        partial(stopped, side, bid, account, **levels),
        {
            "reasons": (reason, reason),
            "entry": mt5.DEAL_ENTRY_OUT,
            "comments": {comment},
            "magic": 7,
            "is of the position": True,
            "order type": SELL if side == BUY else BUY,
            "has a ticket of its own": True,
            "deal price": price,
        },
    )
    for mode, account in (("hedging", HEDGING), ("netting", NETTING))
    for word, side, levels, bid, price, reason, comment in (
        ("stop loss of a buy", BUY, {"sl": 1.09}, 1.0899, 1.0899, SL, "[sl 1.09000]"),
        ("stop loss of a buy", BUY, {"sl": 1.09}, 1.09, 1.09, SL, "[sl 1.09000]"),
        ("take profit of a buy", BUY, {"tp": 1.11}, 1.11, 1.11, TP, "[tp 1.11000]"),
        ("stop loss of a sell", SELL, {"sl": 1.11}, 1.1105, 1.1106, SL, "[sl 1.11000]"),
        ("take profit of a sell", SELL, {"tp": 1.09}, 1.0898, 1.0899, TP, "[tp 1.09000]"),
    )
)

FACTS = (
    *STOPS,
    Fact(
        "a stop is executed at the market, and its order has the level as its price",
        SEEN,
        partial(stopped, BUY, 1.0895, sl=1.09),
        {"deal price": 1.0895, "order price": 1.09, "profit": -106.0},
    ),
    Fact(
        "so it is with a target",
        SEEN,
        partial(stopped, SELL, 1.0895, tp=1.09),
        {"deal price": 1.0896, "order price": 1.09},
    ),
    Fact(
        "some servers execute at the level, drop the magic number and write no comment",
        SEEN,
        partial(
            stopped,
            BUY,
            1.08,
            sl=1.09,
            stop_fills_at_level=True,
            stop_close_keeps_magic=False,
            stop_comment="",
        ),
        {"deal price": 1.09, "magic": 0, "comments": {""}},
    ),
    Fact(
        "the comment of a stop may have no brackets",
        SEEN_IN_TESTER,
        partial(stopped, BUY, 1.08, sl=1.09, stop_comment="{kind} {level}"),
        {"comments": {"sl 1.09000"}},
    ),
    *(
        Fact(
            f"a stop's order is listed for up to 3 s, a market order at its level, {mode}",
            SEEN,
            partial(stop_listed, account),
            {
                "listed as": (SELL, 1.09, 0, mt5.ORDER_REASON_SL),
                "open meanwhile": 1,
                "left": ((), ()),
                "deal": (True, 1.0896),
                "stood ms": 3_000,
                "deals": 2,
            },
        )
        for mode, account in (("hedging", HEDGING), ("netting", NETTING))
    ),
    Fact(
        "a position with an order that closes it takes no other, and is closed once",
        f"{RETCODES}, 10039",
        closed_while_stop_listed,
        {
            "by hand": mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST,
            "closed by": SO,
            "left": (),
            "the stop's order": mt5.ORDER_STATE_REJECTED,
            "deals": 2,
        },
    ),
    Fact(
        "a stop out says its margin level, equity and margin",
        SEEN,
        stopped_out,
        {"reasons": (SO, SO), "comment": "[so 48.18%/530.00/1100.10]", "order price": 1.0904},
    ),
    Fact(
        "swap accrues on the position, and the deal that closes books its share",
        f"{POSITIONS}; {DEALS}",
        swapped,
        {"accrued": -2.1, "booked": -1.05, "left": -1.05},
    ),
    *(
        Fact(
            f"swap mode {mode} closes and opens again: two deals, another ticket",
            f"{SYMBOLS}, SYMBOL_SWAP_MODE_REOPEN",
            partial(reopened, mode),
            {
                "reasons": [EXPERT, ROLLOVER, ROLLOVER],
                "entries": [0, 1, 0],
                "identifier": True,
                "ticket": False,
                "magic": 7,
            },
        )
        for mode in (mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT, mt5.SYMBOL_SWAP_MODE_REOPEN_BID)
    ),
    *(
        Fact(
            f"commission is on deals: {how.value}",
            f"{DEALS}; {SEEN}",
            partial(charged, how),
            {"commissions": due, "fees": (-0.1, -0.1), "blocked": 0.0},
        )
        for how, due in (
            (Charged.AT_ENTRY, (-0.7, 0.0)),
            (Charged.AT_EXIT, (0.0, -0.7)),
            (Charged.AT_BOTH, (-0.7, -0.7)),
        )
    ),
    Fact(
        "commission by the day is blocked, then a deal of type 8",
        f"{DEALS}; {MANUAL}",
        partial(charged, Charged.DAILY),
        {
            "commissions": (0.0, 0.0),
            "blocked": 1.4,
            "last deal": (mt5.DEAL_TYPE_COMMISSION_DAILY, -1.4),
            "blocked after the day": 0.0,
        },
    ),
    Fact(
        "variation margin closes and opens again",
        f"{DEALS}, DEAL_REASON_VMARGIN",
        partial(settled, HEDGING, reopens=True),
        {"reasons": {VMARGIN}, "volumes": [0.1, 0.1], "price_open": 1.105},
    ),
    *(
        Fact(
            f"or it is a deal of volume 0 that carries money, {mode}; the open price is set anew",
            SEEN_AT_EXCHANGE,
            partial(settled, account, reopens=False),
            {
                "reasons": {VMARGIN},
                "volumes": [0.0],
                "money": [49.0],
                "price_open": 1.105,
                "moved": (False, False),
                "balance": 10_049.0,
            },
        )
        for mode, account in (("hedging", HEDGING), ("netting", NETTING))
    ),
    *(
        Fact(
            f"a split is a closing and an opening of reason {reason}",
            f"{DEALS}, DEAL_REASON_SPLIT and DEAL_REASON_CORPORATE_ACTION",
            partial(split, reason),
            {"reasons": [reason, reason], "volume": 0.4},
        )
        for reason in (mt5.DEAL_REASON_SPLIT, mt5.DEAL_REASON_CORPORATE_ACTION)
    ),
    *(
        Fact(
            f"a deal of type {kind} has money and nothing else",
            f"{DEALS}; {SEEN}",
            partial(operation, kind, amount, comment),
            {
                **NO_LINKS,
                "type": kind,
                "money": amount,
                "comment": comment,
                "balance": 10_000.0 + amount,
            },
        )
        for kind, amount, comment in (
            (mt5.DEAL_TYPE_BALANCE, 500.0, "Deposit"),
            (mt5.DEAL_TYPE_CHARGE, -20.5, ""),
            (mt5.DEAL_TYPE_CORRECTION, -0.01, "correction"),
            (mt5.DEAL_TYPE_INTEREST, 3.5, ""),
            (mt5.DEAL_DIVIDEND, 5.4, "SP500 div. 0.54 USD / lot"),
            (mt5.DEAL_TAX, -1.08, "tax"),
        )
    ),
    Fact(
        "a cancelled deal has type 13 or 14 and no profit",
        f"{DEALS}, DEAL_TYPE_BUY_CANCELED",
        cancelled,
        {
            "types": [13, 14],
            "profits": [0.0, 0.0],
            "volumes": [0.1, 0.1],
            "balance": 10_000.0,
        },
    ),
    Fact(
        "a commission may be charged after the close",
        SEEN,
        charged_late,
        {"commission": -1.75, "charged": -1.75},
    ),
    Fact("version() before initialize", MODULE, partial(called, "version"),
         {"answer": (0, 0, "")}),
    Fact("symbols_get() before initialize", MODULE, partial(called, "symbols_get"),
         {"answer": None, "error": mt5.RES_E_INVALID_VERSION}),
    Fact("positions_get(bad=1) before initialize", MODULE, partial(called, "positions_get", bad=1),
         {"answer": None, "error": mt5.RES_E_INTERNAL_FAIL_CONNECT}),
    Fact("order_send({}) before initialize", MODULE, partial(called, "order_send", {}),
         {"answer": None, "error": mt5.RES_E_INTERNAL_FAIL_CONNECT}),
    Fact("order_send(None)", MODULE, partial(called, "order_send", None),
         {"answer": None, "error": mt5.RES_E_INVALID_PARAMS}),
    Fact(
        "initialize() without a terminal on the machine",
        MODULE,
        initialized_without_a_terminal,
        {"answer": False, "error": (mt5.RES_E_INTERNAL_FAIL_INIT, NO_TERMINAL)},
    ),
    Fact(
        "an answer has a text, and its number is one more than the last",
        "MQL5 documentation, MqlTradeResult",
        answered,
        {"retcodes": {10009}, "comments": {"Request executed"}, "count up": True},
    ),
    Fact(
        "the comment of an answer may be the request's own, its number any of 32 bits",
        SEEN,
        partial(answered, answers_with_request_comment=True, random_request_ids=True),
        {"retcodes": {10009}, "comments": {"token-1"}, "count up": False, "of 32 bits": True},
    ),
    *(
        Fact(
            f"a market order at an exchange is PLACED, whatever becomes of it: {what}",
            f"{SEEN_AT_EXCHANGE}; {RETCODES}, 10008",
            partial(sent_to_exchange, lots, filling),
            {
                "answer": (mt5.TRADE_RETCODE_PLACED, 0, 0.0, 0.0),
                "has an order": True,
                "working": rest,
                "states": states,
                "dealt": dealt,
            },
        )
        for what, lots, filling, rest, states, dealt in (
            ("filled", None, RETURN, [], [mt5.ORDER_STATE_FILLED], [0.3]),
            ("filled in part", 0.1, RETURN, [0.2], [mt5.ORDER_STATE_PARTIAL], [0.1]),
            ("the rest cancelled", 0.1, IOC, [], [mt5.ORDER_STATE_CANCELED], [0.1]),
            ("cancelled", 0.1, FOK, [], [mt5.ORDER_STATE_CANCELED], []),
            ("waiting", 0.0, RETURN, [0.3], [mt5.ORDER_STATE_PLACED], []),
        )
    ),
    *(
        Fact(
            f"deals and orders come in either order: {lags}",
            SEEN_AT_EXCHANGE,
            partial(overtaken, **lags),
            due,
        )
        for lags, due in (
            ({"deal_lag_ms": 50}, {"deal": False, "order": True}),
            ({"order_history_lag_ms": 50}, {"deal": True, "order": False}),
        )
    ),
    Fact(
        "a filled order can stand among the working ones with nothing left of it",
        SEEN_AT_EXCHANGE,
        still_listed,
        {"listed": [(True, 0.0)], "deals": 1, "later": ((), mt5.ORDER_STATE_FILLED)},
    ),
    Fact(
        "the open price of a netting position is a whole double at an exchange",
        SEEN_AT_EXCHANGE,
        partial(averaged, EXCHANGE),
        {"price_open": (145.80 * 10 + 145.81 * 20) / 30},
    ),
    Fact(
        "elsewhere it is rounded to three digits more than the symbol has",
        "MQL5 Programming for Traders, netting and hedging",
        partial(averaged, NETTING),
        {"price_open": 145.80667},
    ),
    Fact(
        "positions show the reason CLIENT and no magic, deals EXPERT; the comment is the broker's",
        SEEN_AT_EXCHANGE,
        anonymous,
        {"position": (0, 0, "METATRADER5"), "deal": (EXPERT, "METATRADER5")},
    ),
    Fact(
        "a comment is cut at 31 units of UTF-16, in the middle of a word",
        SEEN,
        partial(commented, "from #17 ", "x" * 29),
        {"comment": "from #17 " + "x" * 22},
    ),
    Fact(
        "or in the middle of a character",
        SEEN,
        partial(commented, "abc", "a" * 27 + "\U0001f600"),
        {"comment": "abc" + "a" * 27 + "\ud83d"},
    ),
    *(
        Fact(
            f"a symbol may be called {name!r}",
            SEEN,
            partial(named, name),
            {"symbol": name, "by wildcard": 1, "by its name as a group": found, "deal": name},
        )
        # A group is a list that commas and spaces part.
        for name, found in (("Step Index 500.0", 0), ("EURUSD.Z", 1), ("WIN$N", 1))
    ),
    Fact(
        "up to seven deals in one second; the position has the first order's ticket",
        SEEN,
        busy,
        {"deals": 7, "seconds": 1, "identifier": True, "tickets": 7},
    ),
    Fact(
        "history_deals_get(ticket=) takes a deal's ticket",
        "observed in public code",
        partial(by_ticket, DealTicketMeans.DEAL),
        {"deal": True},
    ),
    Fact(
        "history_deals_get(ticket=) takes an order's ticket",
        "MQL5 documentation, history_deals_get",
        partial(by_ticket, DealTicketMeans.ORDER),
        {"order": True},
    ),
)  # fmt: skip


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.what)
def test_simulated_terminal_shows_what_is_known(fact: Fact) -> None:
    shown = fact.done()
    assert {name: shown[name] for name in fact.due} == fact.due, fact.source


def test_every_fact_has_a_sentence_of_its_own_and_a_source() -> None:
    assert len({fact.what for fact in FACTS}) == len(FACTS)
    assert all(fact.source and fact.due for fact in FACTS)
