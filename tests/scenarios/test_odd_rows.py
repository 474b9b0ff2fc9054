"""One odd row at the broker costs itself: it is named, the others are believed, nothing is gone.

The rows are rewritten between the simulated terminal and the gateway, so that both wires, the
digest, the hints' watcher and the bot meet them as they would at a broker.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.desk_world import BUY, HEDGING, NETTING, SELL
from tests.support.rewritten import RewrittenWorld, changed
from trueup.core.holds import HoldKind
from trueup.core.model import Snapshot
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import (
    Call,
    decode_answer,
    decode_answers,
    encode_call,
    encode_calls,
    perform,
    value_of,
)
from trueup.runtime.sync.reconciler import SyncStatus

Rewrite = Callable[[Any], Any]
CUT = "take half off at the open ok? \ud83d"

# What a position's row can be, and the field that is named.
ODD: dict[str, tuple[dict[str, Any], str]] = {
    "no lots": ({"volume": 0.0}, "volume"),
    "lots below nothing": ({"volume": -0.1}, "volume"),
    "lots that are no number": ({"volume": math.nan}, "volume"),
    "lots without end": ({"volume": math.inf}, "volume"),
    "lots that are missing": ({"volume": None}, "volume"),
    "a type that is none": ({"type": 7}, "type"),
    "no open price": ({"price_open": 0.0}, "price_open"),
    "an open price that is no number": ({"price_open": math.nan}, "price_open"),
    "no symbol": ({"symbol": ""}, "symbol"),
    "half a symbol": ({"symbol": "GBP\ud83d"}, "symbol"),
    "no ticket": ({"ticket": 0}, "ticket"),
    "a ticket below nothing": ({"ticket": -5}, "ticket"),
}
# What no position depends on.
OPTIONAL: dict[str, dict[str, Any]] = {
    "swap that is no number": {"swap": math.nan},
    "profit without end": {"profit": math.inf},
    "a current price that is no number": {"price_current": math.nan},
    "a take profit that is no number": {"tp": math.nan},
    "a time before every clock": {"time": -1},
    "milliseconds before every clock": {"time_msc": -1},
    "half an emoji in the comment": {"comment": CUT},
    "a comment that is none": {"comment": None},
    "a reason below nothing": {"reason": -1},
}


def world(account: Any = HEDGING, *, plain: bool = False) -> RewrittenWorld:
    """A bot with 0.1 lots of EURUSD, and a hand's position and order in GBPUSD."""
    made = RewrittenWorld(account)
    made.knows_only_the_guide = plain
    made.quote(1.25, "GBPUSD")
    made.person.open("GBPUSD", BUY, 0.1)
    made.person.place("GBPUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.2)
    made.sync()
    made.pm.submit("buy", 0.1)
    assert made.sync().status is SyncStatus.SUCCESS
    return made


def in_symbol(name: str, /, **fields: Any) -> Rewrite:
    """A rewrite of the rows of one symbol."""
    return lambda rows: tuple(changed(r, **fields) if r.symbol == name else r for r in rows)


ACCOUNTS = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
WIRES = pytest.mark.parametrize("plain", [False, True], ids=["our wire", "the guide's wire"])


@ACCOUNTS
@WIRES
@pytest.mark.parametrize("what", ODD)
def test_a_foreign_row_is_named_and_what_happens_to_ours_is_seen(
    what: str, account: Any, plain: bool
) -> None:
    fields, name = ODD[what]
    one = world(account, plain=plain)
    (ours,) = one.tickets()
    one.rewrite(positions_get=in_symbol("GBPUSD", **fields))
    for _ in range(3):
        result = one.sync(20)
        assert result.status is SyncStatus.PARTIAL
        [error] = result.errors
        assert name in error
        assert one.tickets() == {ours}
    one.person.open("EURUSD", BUY, 0.2)
    grown = one.sync(20)
    assert grown.recovered + len(grown.drifts) == 1
    one.show_truly()
    assert one.sync(20).status is SyncStatus.SUCCESS
    assert set(one.book()) <= set(one.rows())


@ACCOUNTS
@pytest.mark.parametrize("what", ODD)
def test_our_position_is_closed_by_its_deals_beside_a_foreign_odd_row(
    what: str, account: Any
) -> None:
    one = world(account)
    (ours,) = one.tickets()
    one.rewrite(positions_get=in_symbol("GBPUSD", **ODD[what][0]))
    one.sync(20)
    one.person.close(ours)
    one.sync(20)
    result = one.sync(20)
    assert result.status is SyncStatus.PARTIAL
    assert one.tickets() == set()
    assert round(one.pm.realised, 2) == round(one.realised([ours]), 2)
    assert not [h for h in one.reconciler.holds if h.kind is HoldKind.MISSING]


@ACCOUNTS
@WIRES
@pytest.mark.parametrize("what", ODD)
def test_our_own_row_that_cannot_be_read_is_never_gone(
    what: str, account: Any, plain: bool
) -> None:
    one = world(account, plain=plain)
    before = one.book()
    one.rewrite(positions_get=in_symbol("EURUSD", **ODD[what][0]))
    for _ in range(4):
        result = one.sync(20)
        assert result.status is SyncStatus.PARTIAL
        assert result.closed == 0
        assert one.book() == before
        assert HoldKind.PARTIAL in one.kinds()
        assert "MISSING" not in one.actions()
        assert not one.pm.check_risk(1)
    one.show_truly()
    assert one.sync(20).status is SyncStatus.SUCCESS
    assert one.book() == before
    assert one.kinds() == []


@ACCOUNTS
@WIRES
@pytest.mark.parametrize("what", OPTIONAL)
@pytest.mark.parametrize("symbol", ["EURUSD", "GBPUSD"])
def test_an_optional_field_never_makes_a_reading_partial(
    what: str, symbol: str, account: Any, plain: bool
) -> None:
    one = world(account, plain=plain)
    before = one.book()
    one.rewrite(positions_get=in_symbol(symbol, **OPTIONAL[what]))
    for _ in range(3):
        result = one.sync(20)
        assert (result.status, result.errors) == (SyncStatus.SUCCESS, [])
        assert one.book() == before


def test_an_optional_field_is_named_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    one = world(plain=True)
    one.rewrite(positions_get=in_symbol("EURUSD", swap=math.nan))
    for _ in range(4):
        one.sync(20)
    named = [text for text in caplog.messages if "swap" in text]
    assert len(named) == 1
    assert named[0].startswith("[SYNC] Ticket ")
    assert "0.0 is used instead" in named[0]


def test_an_odd_row_is_named_in_the_log_while_it_is_new(caplog: pytest.LogCaptureFixture) -> None:
    one = world()
    odd = in_symbol("GBPUSD", volume=0.0)
    for rewrite in (odd, odd, odd, lambda rows: rows, odd):
        one.rewrite(positions_get=rewrite)
        one.sync(20)
    assert sum("Row 1: ticket" in text for text in caplog.messages) == 2


# Pending orders.


@ACCOUNTS
@pytest.mark.parametrize("symbol", ["GBPUSD", "EURUSD"])
def test_an_order_of_which_nothing_is_left_does_no_harm(symbol: str, account: Any) -> None:
    """Exchanges show the deal before they take the order off the list."""
    one = world(account)
    order = one.pm.submit("buy", 0.1, limit=1.05)
    one.sync(20)
    pending = dict(one.pm.book.pending)
    assert order.ticket in pending
    filled = in_symbol(symbol, volume_current=0.0, state=mt5.ORDER_STATE_FILLED)
    one.rewrite(orders_get=filled)
    for _ in range(3):
        result = one.sync(20)
        assert (result.status, result.errors, result.orders) == (SyncStatus.SUCCESS, [], [])
        assert set(one.pm.book.pending) == set(pending)
        assert one.kinds() == []


def test_an_order_that_appears_with_nothing_left_is_not_taken_over() -> None:
    one = world()
    one.rewrite(orders_get=in_symbol("EURUSD", volume_current=0.0))
    one.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    assert one.sync(20).status is SyncStatus.SUCCESS
    assert one.pm.book.pending == {}


@ACCOUNTS
@pytest.mark.parametrize("fields", [{"volume_current": -1.0}, {"symbol": ""}, {"price_open": None}])
def test_our_pending_order_that_cannot_be_read_is_never_gone(
    fields: dict[str, Any], account: Any
) -> None:
    one = world(account)
    one.pm.submit("buy", 0.1, limit=1.05)
    one.sync(20)
    before = dict(one.pm.book.pending)
    one.rewrite(orders_get=in_symbol("EURUSD", **fields))
    for _ in range(3):
        result = one.sync(20)
        assert result.status is SyncStatus.PARTIAL
        assert "pending orders" in result.errors[0]
        assert set(one.pm.book.pending) == set(before)
        assert HoldKind.MISSING not in one.kinds()
    one.show_truly()
    assert one.sync(20).status is SyncStatus.SUCCESS


# What else a terminal's rows go to.


@pytest.mark.parametrize("what", ODD)
def test_the_digest_of_the_gateway_and_of_the_bot_agree_over_an_odd_row(what: str) -> None:
    one = world()
    one.rewrite(positions_get=in_symbol("GBPUSD", **ODD[what][0]))
    reading = one.gateway.read()
    reading = one.gateway.read() if not reading.evidence else reading  # type: ignore[union-attr]
    assert isinstance(reading, Snapshot)
    assert reading.evidence is not None
    assert reading.digest == reading.evidence.digest
    watcher = one.desk.watcher(50)
    hint = watcher.turn()
    assert hint is not None
    assert json.loads(hint)["digest"] == reading.digest


@pytest.mark.parametrize("what", [*ODD, *OPTIONAL])
def test_the_other_dialect_shows_an_odd_row_as_it_is(what: str) -> None:
    one = world()
    fields = ODD[what][0] if what in ODD else OPTIONAL[what]
    one.rewrite(positions_get=in_symbol("GBPUSD", **fields))
    for action in ("SYNC_ALL", "GET_POSITIONS"):
        reply = json.loads(one.desk.handle(json.dumps({"action": action, "uuid": "u"}).encode()))
        assert reply["status"].upper() == "OK"
        assert len(reply["positions"]) == 2


@pytest.mark.parametrize("fields", [{"type": 7}, {"volume": 0.0}, {"volume": math.nan}])
def test_the_other_dialect_closes_nothing_of_which_it_cannot_tell_the_side(
    fields: dict[str, Any],
) -> None:
    one = world()
    (ours,) = one.tickets()
    one.rewrite(positions_get=in_symbol("EURUSD", **fields))
    close = {"action": "CLOSE", "uuid": "u", "ticket": ours}
    reply = json.loads(one.desk.handle(json.dumps(close).encode()))
    assert reply["status"] == "REJECTED"
    assert "cannot be read" in reply["error_msg"]
    assert ours in one.rows()


class OverTheWorkersWire:
    """A terminal as the real gateway has it: each call goes to a process and comes back."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal
        self._error = (1, "Success")

    def last_error(self) -> tuple[int, str]:
        return self._error

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            raw = perform(self._terminal, encode_call(Call(name, args, named)))
            answer, self._error = decode_answer(raw)
            return answer

        return call


class Together(OverTheWorkersWire):
    """The same, with several calls in one exchange."""

    makes_calls_together = True

    def together(self, calls: list[Call]) -> list[tuple[Any, tuple[int, str]]]:
        """Make calls in one exchange."""
        raw = perform(self._terminal, encode_calls(calls))
        return [(value_of(answer), answer.error) for answer in decode_answers(raw, len(calls))]


@pytest.mark.parametrize("over", [OverTheWorkersWire, Together])
@pytest.mark.parametrize("field", ["comment", "symbol"])
@WIRES
def test_half_a_character_comes_through_the_workers_wire(
    field: str, plain: bool, over: type[OverTheWorkersWire]
) -> None:
    one = world(plain=plain)
    before = one.book()
    terminal: Any = over(one.shown)
    one.desk = Desk(terminal, "boot9", one.clock.now_ns)
    one.rewrite(positions_get=in_symbol("GBPUSD", **{field: CUT}))
    one.sync(20)
    result = one.sync(20)
    assert result.status is (SyncStatus.SUCCESS if field == "comment" else SyncStatus.PARTIAL)
    assert one.book() == before


def test_half_an_emoji_in_the_history_is_a_mark_in_the_books() -> None:
    one = world()
    (ours,) = one.tickets()
    for name in ("history_deals_get", "history_orders_get", "positions_get"):
        one.rewrite(**{name: lambda rows: tuple(changed(row, comment=CUT) for row in rows)})
    one.person.close(ours)
    one.sync(20)
    one.sync(20)
    assert one.tickets() == set()
    one.pm.submit("sell", 0.1)
    assert one.sync(20).status is SyncStatus.SUCCESS
    assert [p.comment for p in one.reconciler.remote.positions if p.comment.endswith("?")]  # type: ignore[union-attr]


def test_an_account_whose_name_was_cut_is_bound_and_stays_so() -> None:
    one = RewrittenWorld()
    one.rewrite(account_info=lambda row: changed(row, server="Demo \ud83d"))
    assert one.sync().status is SyncStatus.SUCCESS
    assert one.sync(20).status is SyncStatus.SUCCESS
    assert one.pm.book.bound is not None
    assert one.pm.book.bound.server == "Demo ?"


def test_both_sides_of_a_hedged_symbol_are_told_apart_beside_an_odd_row() -> None:
    one = world()
    sold = one.person.open("EURUSD", SELL, 0.3)
    one.sync(20)
    hidden = lambda rows: tuple(  # noqa: E731
        changed(row, volume=0.0) if row.ticket == sold else row for row in rows
    )
    one.rewrite(positions_get=hidden)
    before = one.book()
    for _ in range(3):
        assert one.sync(20).status is SyncStatus.PARTIAL
        assert one.book() == before
