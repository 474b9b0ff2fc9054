"""Rows of a snapshot are read one by one: an odd one costs itself, a changed one the reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.account.trust import Reason, Trusted, Unknown, judge
from trueup.core.digest import digest, digest_of, raw_order_hash, raw_position_hash
from trueup.core.model import OrderType, PendingOrder, Position, Side, Snapshot
from trueup.protocol.snapshot import decode_snapshot, snapshot_of
from trueup.protocol.snapshot_rows import read_lists

Row = dict[str, Any]


def position_row(ticket: int = make.TICKET, **changes: object) -> Row:
    """A position as SNAPSHOT has it on the wire."""
    row: Row = json.loads(make.as_json(make.position(ticket)))
    return row | changes


def order_row(ticket: int = 50, **changes: object) -> Row:
    """A pending order as SNAPSHOT has it on the wire."""
    row: Row = json.loads(make.as_json(make.pending(ticket)))
    return row | changes


def digest_as_sent(positions: list[Row], orders: list[Row]) -> str:
    """The digest that a gateway makes of these very rows."""
    total = sum(map(raw_position_hash, positions)) + sum(map(raw_order_hash, orders))
    return digest_of(total, len(positions) + len(orders))


def reply_with(positions: list[Row], orders: list[Row] | None = None, **changes: object) -> bytes:
    """A reply that is whole: its counts and its digest are those of its rows."""
    orders = orders or []
    counts = [len(positions), len(orders)]
    reply: Row = {
        "status": "SUCCESS",
        "id": 1,
        "epoch": "e1",
        "sequence": 1,
        "digest": digest_as_sent(positions, orders),
        "account": json.loads(make.as_json(make.ACCOUNT)),
        "terminal": {"connected": True},
        "positions": positions,
        "orders": orders,
        "count_before": counts,
        "count_after": counts,
        "server_time_msc": make.NOW_NS // 1_000_000,
    }
    return json.dumps(reply | changes).encode()


def read(raw: bytes) -> Snapshot:
    snapshot = decode_snapshot(raw, 1)
    assert isinstance(snapshot, Snapshot), snapshot
    return snapshot


def believed(raw: bytes) -> Snapshot:
    """The snapshot of a reply, which is to be believed."""
    verdict = judge(read(raw), None, None)
    assert isinstance(verdict, Trusted), verdict
    return verdict.snapshot


def test_the_hash_of_a_row_on_the_wire_is_that_of_its_position() -> None:
    positions = [make.position(7, side=Side.SELL, volume=0.3, sl=1.25, magic=2**64 - 1)]
    orders = [make.pending(9, type=OrderType.SELL_STOP_LIMIT, price_stoplimit=1.1, tp=0.5)]
    rows = [position_row(7, type="sell", volume=0.3, sl=1.25, magic=2**64 - 1)]
    order_rows = [order_row(9, type="sell_stop_limit", price_stoplimit=1.1, tp=0.5)]
    assert digest_as_sent(rows, order_rows) == digest(positions, orders)


# One odd row costs itself.

ODD: dict[str, tuple[Row, str]] = {
    "volume 0": ({"volume": 0.0}, "volume"),
    "volume negative": ({"volume": -0.1}, "volume"),
    "volume NaN": ({"volume": "nan"}, "volume"),
    "volume null": ({"volume": None}, "volume"),
    "no volume": ({"volume": ...}, "volume"),
    "a type that is none": ({"type": 7}, "type"),
    "a word for a type that is none": ({"type": "hold"}, "type"),
    "no symbol": ({"symbol": ""}, "symbol"),
    "half a symbol": ({"symbol": "EUR\ufffd"}, "symbol"),
    "open price 0": ({"price_open": 0.0}, "price_open"),
    "open price null": ({"price_open": None}, "price_open"),
    "ticket 0": ({"ticket": 0}, "ticket"),
    "ticket negative": ({"ticket": -1}, "ticket"),
    "identifier text": ({"identifier": "abc"}, "identifier"),
    "identifier negative": ({"identifier": -1}, "identifier"),
}


def changed(row: Row, changes: Row) -> Row:
    return {name: value for name, value in (row | changes).items() if value is not ...}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_position_is_named_and_the_others_are_believed(what: str) -> None:
    changes, field = ODD[what]
    rows = [position_row(1), changed(position_row(2, symbol="GBPUSD"), changes), position_row(3)]
    snapshot = believed(reply_with(rows, [order_row()]))
    assert [position.ticket for position in snapshot.positions] == [1, 3]
    [fault] = snapshot.faults
    assert fault.fields == (field,)
    assert str(fault).startswith("Row 2: ")
    assert field in str(fault)
    assert fault.symbol == ("" if field == "symbol" else "GBPUSD")
    assert fault.ticket == (0 if field == "ticket" else 2)
    assert snapshot.listed == (3, 1)
    assert fault.id.startswith("row-")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"volume": -0.1}, "volume"),
        ({"volume": None}, "volume"),
        ({"type": "buy_range"}, "type"),
        ({"ticket": 0}, "ticket"),
        ({"symbol": ""}, "symbol"),
        ({"price_open": "nan"}, "price_open"),
    ],
)
def test_an_odd_pending_order_is_named_and_the_others_are_believed(
    changes: Row, field: str
) -> None:
    orders = [order_row(50), changed(order_row(51), changes), order_row(52)]
    snapshot = believed(reply_with([position_row()], orders))
    assert snapshot.evidence is not None
    assert [order.ticket for order in snapshot.evidence.orders] == [50, 52]
    [fault] = snapshot.faults
    assert fault.fields == (field,)
    assert str(fault).startswith("Row 2 of the pending orders: ")


def test_an_order_of_which_nothing_is_left_is_a_whole_reading() -> None:
    snapshot = believed(reply_with([position_row()], [order_row(volume=0.0)]))
    assert not snapshot.faults
    assert snapshot.evidence is not None
    assert [order.volume for order in snapshot.evidence.orders] == [0.0]


OPTIONAL: dict[str, Row] = {
    "swap null": {"swap": None},
    "swap NaN": {"swap": "nan"},
    "profit in words": {"profit": "n/a"},
    "time as text": {"time": "2026-01-05T12:00:00"},
    "time in words": {"time": "yesterday"},
    "magic negative": {"magic": -7},
    "reason in words": {"reason": "EXPERT"},
    "comment null": {"comment": None},
    "comment a number": {"comment": 17},
    "current price null": {"price_current": None},
    "milliseconds negative": {"time_msc": -1},
}


@pytest.mark.parametrize("what", OPTIONAL)
def test_an_optional_field_makes_no_reading_partial(what: str) -> None:
    rows = [position_row(1), position_row(2, **OPTIONAL[what])]
    snapshot = believed(reply_with(rows))
    assert [position.ticket for position in snapshot.positions] == [1, 2]
    assert not snapshot.faults


def test_a_result_that_cannot_be_read_is_no_witness_against_the_list() -> None:
    account = json.loads(make.as_json(make.ACCOUNT)) | {"profit": -3.5, "equity": 996.5}
    rows = [position_row(1, profit=1.0), position_row(2, swap="nan")]
    assert believed(reply_with(rows, account=account)).notes
    refused = judge(read(reply_with([position_row(1, profit=1.0)], account=account)), None, None)
    assert isinstance(refused, Unknown)
    assert refused.reason is Reason.ACCOUNT_CONTRADICTS


def test_a_list_of_odd_rows_alone_is_no_empty_list() -> None:
    account = json.loads(make.as_json(make.ACCOUNT)) | {"margin": 12.0}
    snapshot = believed(reply_with([position_row(volume=0.0)], account=account))
    assert list(snapshot.positions) == []
    assert snapshot.faults


def test_a_ticket_and_a_pending_order_that_come_twice_are_left_out() -> None:
    rows = [position_row(1), position_row(1, volume=0.05), position_row(2)]
    snapshot = believed(reply_with(rows, [order_row(50), order_row(50), order_row(51)]))
    assert [position.ticket for position in snapshot.positions] == [2]
    assert snapshot.evidence is not None
    assert [order.ticket for order in snapshot.evidence.orders] == [51]
    assert [str(fault) for fault in snapshot.faults] == [
        "Ticket 1 is in the list 2 times",
        "Pending order 50 is in the list 2 times",
    ]


@pytest.mark.parametrize("number", ["ticket", "identifier"])
def test_two_positions_that_share_one_number_are_both_left_out(number: str) -> None:
    rows = [position_row(1), position_row(3, identifier=3), position_row(2)]
    rows[1][number] = 1
    snapshot = believed(reply_with(rows, []))
    assert [position.ticket for position in snapshot.positions] == [2]
    assert snapshot.faults


# What was changed on the way is no odd row.


@pytest.mark.parametrize("what", ODD)
def test_a_row_that_was_changed_on_the_way_costs_the_reading(what: str) -> None:
    """Somebody who can hide one row can change the others too."""
    good = [position_row(1), position_row(2), position_row(3)]
    rows = [good[0], changed(good[1], ODD[what][0]), good[2]]
    unknown = decode_snapshot(reply_with(rows, digest=digest_as_sent(good, [])), 1)
    assert isinstance(unknown, Unknown)
    assert unknown.reason is Reason.UNREADABLE
    assert "Row 2" in unknown.sentence


def test_another_volume_beside_an_odd_row_costs_the_reading() -> None:
    sent = [position_row(1), position_row(2, volume=0.0)]
    raw = reply_with([position_row(1, volume=0.9), sent[1]], digest=digest_as_sent(sent, []))
    unknown = decode_snapshot(raw, 1)
    assert isinstance(unknown, Unknown)
    assert "Row 2" in unknown.sentence


@pytest.mark.parametrize("counts", [[1, 0], [3, 0], [2, 1]])
def test_the_counts_count_the_odd_rows(counts: list[int]) -> None:
    rows = [position_row(1), position_row(2, volume=0.0)]
    reading = read(reply_with(rows, count_before=counts))
    verdict = judge(reading, None, None)
    assert isinstance(verdict, Unknown)
    assert verdict.reason is Reason.TORN
    assert "The list has 2 positions" in verdict.sentence


# Deals, history, granularity and what became of requests.


def deal_row(ticket: int, of: int, **changes: object) -> Row:
    row: Row = json.loads(make.as_json(make.deal(ticket, of, Side.BUY, 0.1)))
    return row | changes


def test_a_deal_that_cannot_be_read_leaves_its_position_unexplained() -> None:
    deals = [deal_row(1, 7), deal_row(2, 7, profit=None), deal_row(3, 8)]
    snapshot = believed(reply_with([position_row()], deals=deals, explained=[7, 8]))
    assert snapshot.evidence is not None
    assert [deal.ticket for deal in snapshot.evidence.deals] == [1, 3]
    assert snapshot.evidence.explained == {8}
    [note] = snapshot.notes
    assert str(note).startswith("Ticket 2: this deal cannot be read: ")


def test_a_deal_of_nobody_knows_which_position_leaves_all_unexplained() -> None:
    deals = [deal_row(1, 7), deal_row(2, 7, position="?")]
    snapshot = believed(reply_with([position_row()], deals=deals, explained=[7, 8]))
    assert snapshot.evidence is not None
    assert snapshot.evidence.explained == frozenset()


def test_a_history_of_which_a_part_cannot_be_read_is_none() -> None:
    history = {"age_sec": 60, "deals": [deal_row(1, 7), deal_row(2, 7, volume=None)]}
    snapshot = believed(reply_with([position_row()], history=history))
    assert snapshot.evidence is not None
    assert snapshot.evidence.history is None
    assert [note.field for note in snapshot.notes] == ["history"]


def test_a_symbol_that_cannot_be_read_costs_its_granularity() -> None:
    good = {"symbol": "EURUSD", "volume_step": 0.01, "tick_size": 0.00001, "digits": 5}
    snapshot = believed(reply_with([position_row()], specs=[good | {"tick_size": None}, good]))
    assert snapshot.evidence is not None
    assert [spec.symbol for spec in snapshot.evidence.specs] == ["EURUSD"]


SHAPELESS: dict[str, Row] = {
    "a figure of the account": {"account": {"login": 1}},
    "positions in words": {"positions": "none"},
    "orders in words": {"orders": "none"},
    "counts": {"count_before": [1]},
}


@pytest.mark.parametrize("what", SHAPELESS)
def test_what_is_not_a_row_costs_the_reading(what: str) -> None:
    reply = json.loads(reply_with([position_row(volume=0)])) | SHAPELESS[what]
    unknown = decode_snapshot(json.dumps(reply).encode(), 1)
    assert isinstance(unknown, Unknown)
    assert unknown.reason is Reason.UNREADABLE


# What no list of examples has.

Change = Callable[[Row], Row]
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4)
numbers = st.floats(-10, 10) | st.sampled_from([0, 0.0, 1e-9, 1e12, -1.0])
names = st.sampled_from([*position_row(), "other"])
odd_rows = st.dictionaries(names, scalars | numbers, max_size=4)


@given(make.broker_lists(), st.lists(odd_rows, max_size=3), st.randoms())
def test_good_rows_are_believed_beside_any_others(
    held: list[Position], others: list[Row], chance: Any
) -> None:
    good = [json.loads(make.as_json(position)) for position in held]
    odd = [position_row(2**40 + number) | changes for number, changes in enumerate(others)]
    rows = [*good, *odd]
    chance.shuffle(rows)
    reading = decode_snapshot(reply_with(rows), 1)
    assert isinstance(reading, Snapshot)
    wanted = {p.identifier: p for p in held}
    seen = {p.identifier: p for p in reading.positions}
    hidden = {fault.ticket for fault in reading.faults}
    assert all(seen.get(key) == p or p.ticket in hidden for key, p in wanted.items())
    assert len(reading.positions) + len(reading.faults) <= len(rows)
    verdict = judge(reading, None, None)
    is_sum_wrong = isinstance(verdict, Unknown) and verdict.reason is Reason.ACCOUNT_CONTRADICTS
    assert isinstance(verdict, Trusted) or is_sum_wrong, verdict


@given(make.broker_lists(), st.lists(st.integers(1, 9).map(make.pending), max_size=3))
def test_the_slow_way_reads_what_the_quick_way_reads(
    held: list[Position], pending: list[PendingOrder]
) -> None:
    orders = list({order.ticket: order for order in pending}.values())
    rows = [json.loads(make.as_json(position)) for position in held]
    lists = read_lists(rows, [json.loads(make.as_json(order)) for order in orders])
    assert (lists.positions, list(lists.orders)) == (held, orders)
    assert not lists.faults + lists.notes
    assert lists.digest == digest(held, orders)


def test_a_gateways_own_reply_is_read_as_the_bot_reads_it() -> None:
    """The gateway that investigates its record has rows which it could not read as plain values."""
    raw = reply_with([position_row(1), position_row(2, volume=0.0)])
    whole = json.loads(raw)
    reply = make.snapshot_reply(whole)
    reply.positions = [make.position(1), whole["positions"][1]]
    assert snapshot_of(reply) == read(raw)
