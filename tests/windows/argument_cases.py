"""Calls of the module's functions with arguments of every kind: good, bad, too long, too large."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from trueup.sim.market.structs import TradeRequest


class Call(NamedTuple):
    """A function of the module, and what it is given."""

    function: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}  # noqa: RUF012 - nothing changes it


INTEGERS = (0, 5, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64)
FLOATS = (1.0, 1e20, float("nan"), float("inf"))
# Around every limit of length; beyond U+FFFF a character is two in UTF-16.
LENGTHS = 29, 30, 253, 254, 1997, 1998
TEXTS = ("", "1", *("x" * length for length in LENGTHS), "Ж" * 29, "😀" * 14, "😀" * 15)
MOMENTS = (
    dt.datetime(1960, 1, 1),  # noqa: DTZ001 - the module takes it for local time
    dt.datetime(2020, 1, 1),  # noqa: DTZ001
    dt.datetime(2040, 1, 1, tzinfo=dt.UTC),
    dt.date(2020, 1, 1),
)
VALUES: tuple[Any, ...] = (None, True, *INTEGERS, *FLOATS, *TEXTS, b"x", [], {}, *MOMENTS)
REQUESTS: tuple[Any, ...] = (None, 5, "x", {}, [1], (), {"bad": 1}, {1: 2})
HISTORY = "history_orders_get", "history_deals_get"
TOTALS = "history_orders_total", "history_deals_total"


def _each(function: str, before: tuple[Any, ...], after: tuple[Any, ...] = ()) -> Iterator[Call]:
    for value in VALUES:
        yield Call(function, (*before, value, *after))


def _named(function: str, names: Iterable[str], *before: Any) -> Iterator[Call]:
    for name in names:
        for value in VALUES:
            yield Call(function, before, {name: value})


def _requests() -> Iterator[Call]:
    for function in ("order_send", "order_check"):
        yield Call(function)
        yield Call(function, ({}, {}))
        for request in REQUESTS:
            yield Call(function, (request,))
            yield Call(function, (request,), {"action": 1})
        for name in (*TradeRequest.__match_args__, "unknown"):
            for value in VALUES:
                yield Call(function, ({name: value},))
                # What comes first in a request decides what is said of several mistakes.
                yield Call(function, (), {name: value, "comment": 5, "action": value})


def _lists() -> Iterator[Call]:
    names = "ticket", "symbol", "group"
    for function in ("positions_get", "orders_get"):
        yield from _each(function, ())
        yield from _named(function, (*names, "unknown"))
        for first in names:
            for second in names:
                yield Call(function, (), {second: "x", first: None})


def _history() -> Iterator[Call]:
    for function in HISTORY + TOTALS:
        yield Call(function)
        yield from _each(function, ())
        yield from _each(function, (), (2,))
        yield from _each(function, (1,))
        yield from _each(function, (1, 2))
    for function in HISTORY:
        yield from _named(function, ("ticket", "position", "group", "date_from"))
        yield from _named(function, ("ticket", "position", "group"), 1, 2)
        yield Call(function, (), {"position": None, "ticket": 5})


def _symbols() -> Iterator[Call]:
    for function in ("symbol_info", "symbol_info_tick", "symbol_select", "symbols_get"):
        yield Call(function)
        yield from _each(function, ())
        yield from _each(function, ("a",))
        yield from _each(function, ("a", True))
    yield from _named("symbols_get", ("group", "unknown"))
    yield from _named("symbols_get", ("group",), "a")
    yield from _each("symbols_get", (), ("b",))


def _calculations() -> Iterator[Call]:
    for function, count in (("order_calc_margin", 4), ("order_calc_profit", 5)):
        good = (0, "EURUSD", 1.0, 1.0, 1.0)[:count]
        yield from (Call(function, good[:number]) for number in range(count + 1))
        yield Call(function, (*good, 1.0))
        for at in range(count):
            yield from _each(function, good[:at], good[at + 1 :])
        yield Call(function, (0, None, None, *good[3:]))


def _logins() -> Iterator[Call]:
    names = "login", "password", "server", "timeout", "unknown"
    yield Call("login")
    yield from _named("login", names)
    yield from _named("login", names, 5)
    for before in ((), (5,), (5, "p"), (5, "p", "s")):
        yield from _each("login", before)
    for first in names:
        for second in names:
            yield Call("login", (), {second: [], first: []})
            yield Call("login", ([],), {second: [], first: []})


def calls() -> Iterator[Call]:
    """Return every call, none of which needs a terminal, nor starts one."""
    for some in (_requests, _lists, _history, _symbols, _calculations, _logins):
        yield from some()
