"""Property: without faults the door returns what the bare terminal returns, call by call."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.desk_world import HEDGING, NETTING
from tests.support.door_world import BUY, SELL, DoorWorld, deal
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.symbols import AccountSetup

LOTS = st.sampled_from([0.1, 0.2, 0.05, 0.015, 0.0, 500.0])
SYMBOLS = st.sampled_from(["EURUSD", "GBPUSD", "NOTHING", ""])
# The number of a position or an order among those that are open; large for none of them.
PLACE = st.integers(0, 3)
ENTRY = st.fixed_dictionaries(
    {"kind": st.sampled_from([BUY, SELL, 99]), "volume": LOTS},
    optional={
        "symbol": SYMBOLS,
        "sl": st.sampled_from([1.05, 1.15]),
        "type_filling": st.sampled_from([0, 1, 2, 7]),
        "comment": st.sampled_from(["", "bot", "Ärger"]),
        "deviation": st.sampled_from([0, 20]),
    },
)
EXPIRY = st.sampled_from([(0, 0), (1, 0), (2, 1_700_500_000), (3, 1_700_500_000), (2, 5)])
STEP = st.one_of(
    st.tuples(st.just("enter"), ENTRY),
    st.tuples(st.just("close"), PLACE, LOTS),
    st.tuples(st.just("close_by"), PLACE, PLACE),
    st.tuples(st.just("stops"), PLACE, st.sampled_from([0.0, 1.04, 1.2]), SYMBOLS),
    st.tuples(st.just("place"), st.sampled_from([2, 3, 4, 5]), st.sampled_from([1.05, 1.15])),
    st.tuples(st.just("stop_limit"), st.sampled_from([6, 7]), st.sampled_from([1.05, 1.15])),
    st.tuples(st.just("change"), PLACE, st.sampled_from([1.06, 1.14, 0.0]), EXPIRY),
    st.tuples(st.just("remove"), PLACE),
    st.tuples(st.just("quote"), st.sampled_from([1.08, 1.1, 1.12, 1.16])),
    st.tuples(
        st.just("list"),
        st.sampled_from(["positions", "orders"]),
        st.sampled_from([{}, {"symbol": "EURUSD"}, {"group": "*USD*"}, {"ticket": 5}, {"x": 1}]),
    ),
    st.tuples(st.just("history"), st.sampled_from(["deals", "orders"])),
    st.tuples(st.just("look")),
)


class Pair:
    """A bare terminal and a door, each on an account of its own, on one clock."""

    def __init__(self, folder: Path, account: AccountSetup) -> None:
        self.clock = ManualClock(1_700_000_000_000_000_000)
        self.bare = DoorWorld(folder / "bare", account, clock=self.clock, opened=False)
        self.behind = DoorWorld(folder / "door", account, clock=self.clock)

    def both(self, function: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        found = []
        for world, caller in ((self.bare, self.bare.called), (self.behind, self.behind.door)):
            world.terminal.settle()
            value = getattr(caller, function)(*args, **kwargs)
            found.append(compared(value) if function == "order_send" else plain(value))
            found.append(caller.last_error()[0])
        value, code, doors_value, doors_code = found
        return (value, code), (doors_value, doors_code)

    def ticket(self, function: str, place: int) -> int:
        rows = getattr(self.bare.called, function)() or ()
        return rows[place].ticket if place < len(rows) else 987_654

    def step(self, what: str, *how: Any) -> tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...]:
        """Return the calls of a step."""
        match what, how:
            case "enter", (fields,):
                kind, volume = fields["kind"], fields["volume"]
                more = {k: v for k, v in fields.items() if k not in ("kind", "volume")}
                return (("order_send", (deal(kind, volume, **more),), {}),)
            case "close", (place, volume):
                position = self.ticket("positions_get", place)
                rows = self.bare.called.positions_get(ticket=position)
                kind = SELL if rows and rows[0].type == BUY else BUY
                return (("order_send", (deal(kind, volume, position=position),), {}),)
            case "close_by", (place, other):
                request = {
                    "action": mt5.TRADE_ACTION_CLOSE_BY,
                    "position": self.ticket("positions_get", place),
                    "position_by": self.ticket("positions_get", other),
                    "magic": 7,
                    "comment": "by",
                }
                return (("order_send", (request,), {}),)
            case "stops", (place, level, symbol):
                request = {
                    "action": mt5.TRADE_ACTION_SLTP,
                    "symbol": symbol,
                    "position": self.ticket("positions_get", place),
                    "sl": level,
                }
                return (("order_send", (request,), {}),)
            case "place", (kind, price):
                pending = {"action": mt5.TRADE_ACTION_PENDING, "price": price, "type_filling": 2}
                return (("order_send", (deal(kind, **pending),), {}),)
            case "stop_limit", (kind, price):
                pending = {"action": mt5.TRADE_ACTION_PENDING, "price": price, "type_filling": 2}
                return (("order_send", (deal(kind, stoplimit=price - 0.01, **pending),), {}),)
            case "change", (place, price, (time, expiration)):
                request = {
                    "action": mt5.TRADE_ACTION_MODIFY,
                    "order": self.ticket("orders_get", place),
                    "price": price,
                    "type_time": time,
                    "expiration": expiration,
                }
                return (("order_send", (request,), {}),)
            case "remove", (place,):
                order = self.ticket("orders_get", place)
                return (("order_send", ({"action": mt5.TRADE_ACTION_REMOVE, "order": order},), {}),)
            case "list", (name, query):
                return ((f"{name}_get", (), query), (f"{name}_total", (), {}))
            case "history", (name,):
                span = (1_600_000_000, 1_800_000_000)
                return (
                    (f"history_{name}_get", span, {}),
                    (f"history_{name}_total", span, {}),
                    (f"history_{name}_get", (), {"position": self.ticket("positions_get", 0)}),
                )
            case _:
                return (("account_info", (), {}), ("symbol_info_tick", ("EURUSD",), {}))


def compared(result: Any) -> Any:
    """Return the parts of a result that must be equal.

    The door refuses some orders without asking the server, which gives those no number and no
    quotation.
    """
    if result is None:
        return None
    figures = (result.retcode, result.deal, result.order, result.volume, result.price)
    quoted = (result.bid, result.ask) if result.retcode == mt5.TRADE_RETCODE_DONE else ()
    return (*figures, *quoted, result.comment, plain(result.request))


def plain(value: Any) -> Any:
    """Return a row or rows as plain tuples, so that two kinds of rows can be compared."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return value


@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
@given(steps=st.lists(STEP, max_size=12))
@settings(max_examples=50)
def test_the_door_returns_what_the_bare_terminal_returns(
    tmp_path_factory: pytest.TempPathFactory, account: AccountSetup, steps: list[tuple[Any, ...]]
) -> None:
    # Each example opens a program, which holds descriptors until its end; and two journals, which
    # would wait for the disk anywhere else.
    base = tmp_path_factory.getbasetemp()
    with tempfile.TemporaryDirectory(dir=base) as folder, ExitStack() as stack:
        pair = Pair(Path(folder), account)
        stack.callback(pair.behind.end)
        for what, *how in steps:
            pair.clock.advance(1)
            if what == "quote":
                pair.bare.quote(*how)
                pair.behind.quote(*how)
                continue
            for function, args, kwargs in pair.step(what, *how):
                bare, door = pair.both(function, *args, **kwargs)
                assert door == bare, (function, args, kwargs)
