"""What differs between a book and a reading: every field by name, what one has at 1e-8."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.book.diff import Diff, Drift, Ghost, PendingDrift, Zombie, diff, differing
from trueup.core.book.holdings import Pending
from trueup.core.digest import order_hash, position_hash
from trueup.core.model import OrderType, PendingOrder, Position, Side, Snapshot, SymbolSpec
from trueup.core.policy import Adopt, Policy

# A symbol that is ordered in whole tenths of lots and of prices.
COARSE = SymbolSpec("EURUSD", volume_step=0.1, tick_size=0.1, digits=1)
HERE = make.position(volume=1.0, price_open=2.0, sl=1.0, tp=3.0, magic=7)


def there(**changes: Any) -> Position:
    facts: dict[str, Any] = {"volume": 1.0, "price_open": 2.0, "sl": 1.0, "tp": 3.0, "magic": 7}
    return make.position(**(facts | changes))


FIELDS = [
    ({"symbol": "EURUSD.m"}, "symbol"),
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


@pytest.mark.parametrize("specs", [(), (COARSE,)])
@pytest.mark.parametrize(
    "changes",
    [{"volume": 1.04}, {"volume": 1.00000001}, {"price_open": 2.04}, {"sl": 0.96}, {"tp": 2.999}],
)
def test_the_step_of_an_order_hides_nothing_of_what_one_has(
    changes: dict[str, Any], specs: tuple[SymbolSpec, ...]
) -> None:
    local = make.book_of(HERE).holdings
    (drift,) = diff(local, make.proven(there(**changes), specs=specs), make.OURS).drifts
    assert drift.fields == tuple(changes)


def test_a_stop_that_the_broker_rounded_to_the_symbols_digits_is_no_difference() -> None:
    ordered = make.book_of(there(sl=1.04, tp=2.96)).holdings
    rounded = there(sl=1.0, tp=3.0)
    assert diff(ordered, make.proven(rounded, specs=(COARSE,)), make.OURS) == Diff()
    (drift,) = diff(ordered, make.proven(rounded), make.OURS).drifts
    assert drift.fields == ("sl", "tp")
    # The other way round it is none: what the broker has was never ordered like that.
    exact = make.book_of(rounded).holdings
    (drift,) = diff(exact, make.proven(there(sl=1.04), specs=(COARSE,)), make.OURS).drifts
    assert drift.fields == ("sl",)


def test_an_average_that_the_broker_rounded_to_three_digits_more_is_no_difference() -> None:
    holdings = make.book_of(there(price_open=145.8066666666667)).holdings
    spec = SymbolSpec("EURUSD", volume_step=1.0, tick_size=0.01, digits=2)

    def is_drift(price: float, averaged: int, *specs: SymbolSpec) -> bool:
        (holding,) = holdings.values()
        holding.averaged = averaged
        found = diff(holdings, make.proven(there(price_open=price), specs=specs), make.OURS)
        assert all(drift.fields == ("price_open",) for drift in found.drifts)
        return bool(found.drifts)

    assert not is_drift(145.80667, 1, spec)
    assert is_drift(145.80666, 1, spec)
    assert not is_drift(145.80666, 2, spec)
    assert is_drift(145.80669, 4, spec)
    # Without its digits, and where the broker told the price, nothing is rounding.
    assert is_drift(145.80667, 1)
    assert is_drift(145.80667, 0, spec)


@pytest.mark.parametrize("digits", [-1, -400, 400, 10**30])
def test_digits_that_no_symbol_has_round_nothing(digits: int) -> None:
    local = make.book_of(HERE).holdings
    odd = SymbolSpec("EURUSD", volume_step=0.1, tick_size=0.1, digits=digits)
    seen = make.proven(there(price_open=2.04, sl=1.04), specs=(odd,))
    (drift,) = diff(local, seen, make.OURS).drifts
    assert drift.fields == ("price_open", "sl")


OTHER_VALUES: dict[str, Any] = {
    "side": Side.SELL,
    "type": OrderType.SELL_STOP,
    "symbol": "EURUSD.m",
    "comment": "rewritten",
}


def other(row: Any, name: str) -> Any:
    """The same row with another value of one field."""
    value = OTHER_VALUES.get(name)
    if value is None:
        value = getattr(row, name) + (1 if isinstance(getattr(row, name), int) else 2e-8)
    return msgspec.structs.replace(row, **{name: value})


@pytest.mark.parametrize("name", Position.__struct_fields__)
def test_every_field_of_a_position_that_is_in_the_digest_is_compared(name: str) -> None:
    """A field that is in the digest and compared nowhere makes lists differ that agree for ever."""
    remote = other(HERE, name)
    is_in_the_digest = position_hash(remote) != position_hash(HERE)
    found = diff(make.book_of(HERE).holdings, make.proven(remote), make.OURS)
    if name == "identifier":
        assert found == Diff(zombies=(Zombie(remote),), ghosts=(Ghost(HERE),))
    else:
        drift = Drift(HERE, remote, (name,))
        assert found == (Diff(drifts=(drift,)) if is_in_the_digest else Diff())


@pytest.mark.parametrize("name", PendingOrder.__struct_fields__)
def test_every_field_of_a_pending_order_that_is_in_the_digest_is_compared(name: str) -> None:
    remote = other(LOCAL, name)
    is_in_the_digest = order_hash(remote) != order_hash(LOCAL)
    pending = {LOCAL.ticket: Pending(LOCAL, 1)}
    found = diff({}, make.proven(orders=(remote,)), make.OURS, pending)
    if name == "ticket":
        assert found == Diff(pending_zombies=(remote,), pending_ghosts=(LOCAL,))
    else:
        drift = PendingDrift(LOCAL, remote, (name,))
        assert found == (Diff(pending_drifts=(drift,)) if is_in_the_digest else Diff())


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
        ("symbol", "EURUSD.m"),
        ("type", OrderType.BUY_STOP),
        ("volume", 0.05),
        ("price_open", 1.06),
        ("price_stoplimit", 0.0),
        ("sl", 0.0),
        ("tp", 1.2),
        ("magic", 9),
    ],
)
def test_each_field_of_a_pending_order_that_differs_is_named(field: str, value: Any) -> None:
    facts: dict[str, Any] = {"price_stoplimit": 1.04, "sl": 1.03, "tp": 1.1}
    remote = make.pending(**(facts | {field: value}))
    assert compared(remote) == Diff(pending_drifts=(PendingDrift(LOCAL, remote, (field,)),))


def test_a_pending_order_that_is_the_same_is_no_difference_whatever_its_comment() -> None:
    facts: dict[str, Any] = {"price_stoplimit": 1.04, "sl": 1.03, "tp": 1.1}
    assert compared(make.pending(**facts, comment="rewritten")) == Diff()


def test_a_market_order_in_the_working_list_is_no_pending_order() -> None:
    """A stop's own order stands there for a second or two while it is carried out."""
    working = make.pending(51, type=OrderType.OTHER)
    assert compared(working, local=None) == Diff()
    assert compared(working, LOCAL) == Diff()
    # One that a book took in before goes when the broker's list lets go of it.
    assert compared(working, local=working) == Diff()
    assert compared(local=working) == Diff(pending_ghosts=(working,))


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
