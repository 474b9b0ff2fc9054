"""What differs between a book and a reading: every field by name, to half of the broker's step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import make
from trueup.core.diff import Diff, Drift, Ghost, PendingDrift, Zombie, diff, differing
from trueup.core.holding import Pending
from trueup.core.model import OrderType, PendingOrder, Position, Side, Snapshot, SymbolSpec
from trueup.core.policy import Adopt, Policy

# A symbol in whole tenths of lots and of prices: half a step and half a tick are 0.05.
COARSE = SymbolSpec("EURUSD", volume_step=0.1, tick_size=0.1, digits=1)
HERE = make.position(volume=1.0, price_open=2.0, sl=1.0, tp=3.0, magic=7)


def there(**changes: Any) -> Position:
    facts: dict[str, Any] = {"volume": 1.0, "price_open": 2.0, "sl": 1.0, "tp": 3.0, "magic": 7}
    return make.position(**(facts | changes))


FIELDS = [
    ({"side": Side.SELL}, "side"),
    ({"ticket": 5, "identifier": make.TICKET}, "ticket"),
    ({"volume": 1.06}, "volume"),
    ({"price_open": 2.06}, "price_open"),
    ({"sl": 1.06}, "sl"),
    ({"tp": 3.06}, "tp"),
    ({"tp": 0.0}, "tp"),
    ({"magic": 8}, "magic"),
]


@pytest.mark.parametrize(("changes", "field"), FIELDS)
def test_each_field_that_differs_is_a_drift_of_that_name(
    changes: dict[str, Any], field: str
) -> None:
    remote = there(**changes)
    found = diff(make.book_of(HERE).holdings, make.proven(remote, specs=(COARSE,)), make.OURS)
    assert found == Diff(drifts=(Drift(HERE, remote, (field,)),))


@pytest.mark.parametrize("changes", [{"volume": 1.04}, {"price_open": 2.04}, {"sl": 0.96}])
def test_less_than_half_of_the_symbols_own_step_is_no_difference(changes: dict[str, Any]) -> None:
    local = make.book_of(HERE).holdings
    seen = make.proven(there(**changes), specs=(COARSE,))
    assert diff(local, seen, make.OURS) == Diff()
    # The step of another symbol says nothing; without one, any step counts that a broker can have.
    other = SymbolSpec("GBPUSD", volume_step=0.1, tick_size=0.1, digits=1)
    (drift,) = diff(local, make.proven(there(**changes), specs=(other,)), make.OURS).drifts
    assert drift.fields == tuple(changes)


@pytest.mark.parametrize("changes", [{"sl": 0.0}, {"tp": 0.0}, {"magic": 0}])
def test_a_wire_without_stops_and_magic_numbers_does_not_say_that_there_are_none(
    changes: dict[str, Any],
) -> None:
    assert diff(make.book_of(HERE).holdings, make.snapshot(there(**changes)), make.OURS) == Diff()


def test_all_that_differs_is_named_and_in_one_order() -> None:
    remote = there(
        ticket=5,
        identifier=make.TICKET,
        side=Side.SELL,
        volume=2,
        price_open=3,
        sl=0,
        tp=0,
        magic=0,
    )
    names = differing(HERE, remote, with_evidence=True)
    assert names == ("side", "ticket", "volume", "price_open", "sl", "tp", "magic")


@pytest.mark.parametrize(
    ("difference", "units"),
    [
        (Zombie(make.position(volume=0.3)), 30_000_000),
        (Zombie(make.position(volume=0.3, side=Side.SELL)), -30_000_000),
        (Ghost(make.position(volume=0.3)), -30_000_000),
        (Drift(make.position(volume=0.3), make.position(volume=0.1), ("volume",)), -20_000_000),
    ],
)
def test_a_difference_says_what_the_broker_has_more(
    difference: Zombie | Ghost | Drift, units: int
) -> None:
    assert difference.change == units


# Pending orders.

LOCAL = make.pending(price_stoplimit=1.04, sl=1.03, tp=1.1)


def compared(*remote: PendingOrder, local: PendingOrder | None = LOCAL, **changes: Any) -> Diff:
    """The difference between one pending order here and some at the broker."""
    policy = Policy(**({"symbols": frozenset({"EURUSD"})} | changes))
    pending = {} if local is None else {local.ticket: Pending(local, 1)}
    return diff({}, make.proven(orders=remote), policy, pending)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", OrderType.BUY_STOP),
        ("volume", 0.05),
        ("price_open", 1.06),
        ("price_stoplimit", 0.0),
        ("sl", 0.0),
        ("tp", 1.2),
    ],
)
def test_each_field_of_a_pending_order_that_differs_is_named(field: str, value: Any) -> None:
    facts: dict[str, Any] = {"price_stoplimit": 1.04, "sl": 1.03, "tp": 1.1}
    remote = make.pending(**(facts | {field: value}))
    assert compared(remote) == Diff(pending_drifts=(PendingDrift(LOCAL, remote, (field,)),))


def test_a_pending_order_that_is_the_same_is_no_difference_whatever_its_comment() -> None:
    facts: dict[str, Any] = {"price_stoplimit": 1.04, "sl": 1.03, "tp": 1.1}
    assert compared(make.pending(**facts, comment="rewritten", magic=9)) == Diff()


def test_float_dust_in_a_pending_order_is_no_difference() -> None:
    dusty, clean = make.pending(price_open=1.1 + 2.2), make.pending(price_open=3.3)
    assert compared(dusty, local=clean) == Diff()


def test_a_pending_order_on_one_side_only_is_a_zombie_or_a_ghost() -> None:
    other = make.pending(51)
    assert compared(other) == Diff(pending_zombies=(other,), pending_ghosts=(LOCAL,))
    assert compared() == Diff(pending_ghosts=(LOCAL,))
    assert compared(local=None) == Diff()


def test_foreign_pending_orders_are_counted_with_foreign_positions_and_left_out() -> None:
    ours, others = make.pending(51, magic=7), make.pending(52, symbol="GBPUSD")
    seen = make.proven(
        make.position(1, symbol="GBPUSD"), make.position(2, symbol="GBPUSD"), orders=(ours, others)
    )
    policy = Policy(symbols=frozenset({"EURUSD"}))
    assert diff({}, seen, policy, {}) == Diff(foreign=3, pending_zombies=(ours,))


def test_an_order_that_we_know_is_ours_whatever_the_policy_says() -> None:
    facts: dict[str, Any] = {"price_stoplimit": 1.04, "sl": 1.03, "tp": 1.1}
    found = compared(make.pending(**facts), magics=frozenset({7}), adopt=Adopt.OURS)
    assert found == Diff()


def test_a_wire_without_pending_orders_does_not_say_that_there_are_none() -> None:
    found = diff({}, Snapshot(()), make.OURS, {LOCAL.ticket: Pending(LOCAL, 1)})
    assert found == Diff()
