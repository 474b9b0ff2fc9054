"""Readings of the guide's wire: nothing raises, and nothing is believed that cannot be."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import make
from tests.support.number_kinds import real_kinds, whole_kinds
from trueup.core.account.trust import Unknown
from trueup.core.model import Position, Side, Snapshot
from trueup.protocol.guide import decode_positions, read_positions
from trueup.protocol.rows import UnreadableRow, read_row
from trueup.runtime.sync.results import RemotePosition

HUGE = 10**400


def believed(reading: Snapshot | Unknown) -> list[Position]:
    """The positions of a reading, each checked for everything a position must be."""
    if isinstance(reading, Unknown):
        assert reading.sentence.startswith("Gateway offline")
        assert reading.until
        return []
    for found in reading.positions:
        assert 0 < found.ticket < 2**64
        assert 0 < found.identifier < 2**64
        assert found.symbol
        assert isinstance(found.side, Side)
        assert 0 < found.volume < math.inf
        assert math.isfinite(found.price_open)
        assert math.isfinite(found.profit)
        assert math.isfinite(found.swap)
        assert min(found.magic, found.time, found.time_msc, found.reason) >= 0
    assert len({p.identifier for p in reading.positions}) == len(reading.positions)
    assert len({p.ticket for p in reading.positions}) == len(reading.positions)
    return list(reading.positions)


def snapshot_of(reading: Snapshot | Unknown) -> Snapshot:
    assert isinstance(reading, Snapshot)
    believed(reading)
    return reading


def reading_of(*rows: object) -> Snapshot | Unknown:
    """The reading of a reply with these rows."""
    return read_positions(make.reply(*rows))


def test_the_guides_reply_is_read_in_full() -> None:
    raw = make.as_bytes(make.reply(make.row(), make.row(7, type="sell", volume=0.3, profit=-1.5)))
    reading = snapshot_of(decode_positions(raw))
    assert not reading.faults
    assert list(reading.positions) == [
        make.position(time=1767571200),
        make.position(7, side=Side.SELL, volume=0.3, profit=-1.5, time=1767571200),
    ]


def test_an_empty_list_is_a_whole_reading_of_nothing() -> None:
    reading = snapshot_of(decode_positions(make.as_bytes(make.reply())))
    assert (list(reading.positions), list(reading.faults)) == ([], [])


UNREADABLE: dict[str, tuple[object, str]] = {
    "none": (None, ""),
    "a text": ("SUCCESS", "str"),
    "a number": (5, "int"),
    "a list": ([], "list"),
    "a truth": (True, "bool"),
    "an empty object": ({}, "status"),
    "a wrong status": ({"status": "ERROR", "positions": [make.row()]}, "ERROR"),
    "a failure": ({"status": "FAILED", "positions": [], "error": "no link"}, "no link"),
    "a failure of the family": ({"status": "ERROR", "message": "magic"}, "magic"),
    "no status": ({"positions": [make.row()]}, "status"),
    "a status of null": ({"status": None, "positions": []}, "None"),
    "a status of true": ({"status": True, "positions": []}, "True"),
    "a status of 0": ({"status": 0, "positions": []}, "0"),
    "success and an error": (make.reply(error="terminal lost"), "terminal lost"),
    "no positions": ({"status": "SUCCESS", "error": None}, "None"),
    "positions of null": ({"status": "SUCCESS", "positions": None}, "None"),
    "positions in an object": ({"status": "SUCCESS", "positions": {"1": make.row()}}, "list"),
    "positions in a text": ({"status": "SUCCESS", "positions": "[]"}, "list"),
    "positions of 0": ({"status": "SUCCESS", "positions": 0}, "list"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_reply_is_unknown_and_says_what_it_is(what: str) -> None:
    value, word = UNREADABLE[what]
    for reading in (read_positions(value), decode_positions(json.dumps(value).encode())):
        assert isinstance(reading, Unknown)
        assert reading.sentence.startswith("Gateway offline")
        assert word in reading.sentence


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\xff\xfe\xfd",
        b"not JSON",
        b"{",
        b'{"status":"SUCCESS","positions":[',
        b'{"status":"SUCCESS","positions":[]} and more',
        b'{"status":"SUCCESS","positions":[]}{"status":"SUCCESS","positions":[]}',
        b'{"status":"SUC\xffCESS","positions":[]}',
    ],
)
def test_bytes_that_are_no_json_are_unknown(raw: bytes) -> None:
    assert isinstance(decode_positions(raw), Unknown)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"status":"SUCCESS","positions":[{"x":'])
def test_json_that_is_nested_without_end_is_unknown(opening: bytes) -> None:
    assert isinstance(decode_positions(opening * 100_000), Unknown)


def test_a_row_with_a_field_nested_without_end_raises_nothing() -> None:
    whole = json.dumps(make.reply(make.row(extra="HERE"))).encode()
    nested = b"[" * 100_000 + b"]" * 100_000
    believed(decode_positions(whole.replace(b'"HERE"', nested)))


BAD_ROWS: dict[str, tuple[object, str]] = {
    "no object": ("row", "row"),
    "null": (None, "None"),
    "a list": ([1, "EURUSD"], "1"),
    "no ticket": (make.without(make.row(), "ticket"), "ticket"),
    "ticket null": (make.row(None), "ticket"),
    "ticket zero": (make.row(0), "ticket"),
    "ticket negative": (make.row(-5), "ticket"),
    "ticket true": (make.row(True), "ticket"),
    "ticket with a fraction": (make.row(5.5), "ticket"),
    "ticket text": (make.row("abc"), "ticket"),
    "ticket empty text": (make.row(""), "ticket"),
    "ticket beyond 64 bits": (make.row(2**64), "ticket"),
    "ticket far beyond 64 bits": (make.row(HUGE), "ticket"),
    "ticket as text beyond 64 bits": (make.row("1" * 30), "ticket"),
    "ticket as a float that lost digits": (make.row(2.0**60), "ticket"),
    "ticket as a float beyond 64 bits": (make.row(1e20), "ticket"),
    "ticket NaN": (make.row(math.nan), "ticket"),
    "no volume": (make.without(make.row(), "volume"), "volume"),
    "volume null": (make.row(volume=None), "volume"),
    "volume zero": (make.row(volume=0), "volume"),
    "volume negative": (make.row(volume=-0.01), "volume"),
    "volume NaN": (make.row(volume=math.nan), "volume"),
    "volume infinite": (make.row(volume=math.inf), "volume"),
    "volume minus infinite": (make.row(volume=-math.inf), "volume"),
    "volume true": (make.row(volume=True), "volume"),
    "volume text": (make.row(volume="much"), "volume"),
    "volume with a Python underscore": (make.row(volume="1_0"), "volume"),
    "volume list": (make.row(volume=[0.01]), "volume"),
    "volume beyond every float": (make.row(volume=HUGE), "volume"),
    "volume beyond every account": (make.row(volume=1e305), "volume"),
    "volume below the finest step": (make.row(volume=1e-12), "volume"),
    "no type": (make.without(make.row(), "type"), "type"),
    "type null": (make.row(type=None), "type"),
    "type unknown": (make.row(type="hold"), "type"),
    "type number unknown": (make.row(type=2), "type"),
    "type true": (make.row(type=True), "type"),
    "type list": (make.row(type=["buy"]), "type"),
    "no symbol": (make.without(make.row(), "symbol"), "symbol"),
    "symbol empty": (make.row(symbol=""), "symbol"),
    "symbol number": (make.row(symbol=5), "symbol"),
    "no open price": (make.without(make.row(), "price_open"), "price_open"),
    "open price null": (make.row(price_open=None), "price_open"),
    "open price NaN": (make.row(price_open=math.nan), "price_open"),
    "open price infinite": (make.row(price_open=math.inf), "price_open"),
    "open price beyond every market": (make.row(price_open=1e305), "price_open"),
    "identifier negative": (make.row(identifier=-3), "identifier"),
    "identifier text": (make.row(identifier="abc"), "identifier"),
    "open price zero": (make.row(price_open=0), "price_open"),
    "open price zero as text": (make.row(price_open="0.0"), "price_open"),
    "symbol with half a character": (make.row(symbol="EUR\ud83d"), "symbol"),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_is_named_and_its_neighbours_stay(what: str) -> None:
    bad, word = BAD_ROWS[what]
    value = make.reply(make.row(1), bad, make.row(3))
    for reading in (read_positions(value), decode_positions(make.as_bytes(value))):
        seen = snapshot_of(reading)
        assert [p.ticket for p in seen.positions] == [1, 3]
        [fault] = seen.faults
        assert "Row 2" in str(fault)
        assert word in str(fault)


def test_what_can_be_read_of_a_bad_row_is_in_its_fault() -> None:
    [fault] = snapshot_of(reading_of(make.row(volume=0.0))).faults
    assert (fault.symbol, fault.ticket, fault.fields) == ("EURUSD", make.TICKET, ("volume",))
    [fault] = snapshot_of(reading_of(make.row(ticket=None, symbol="", type="?"))).faults
    assert (fault.symbol, fault.ticket) == ("", 0)
    assert fault.fields == ("ticket", "symbol", "type")
    [fault] = snapshot_of(reading_of("nonsense")).faults
    assert (fault.symbol, fault.ticket) == ("", 0)


def test_the_id_of_a_bad_row_is_the_same_whatever_its_prices_are_meanwhile() -> None:
    first, later, other = (
        snapshot_of(reading_of(make.row(volume=volume, profit=profit, price_current=1.05)))
        .faults[0]
        .id
        for volume, profit in ((0.0, 1.0), (0.0, 7.5), (-1.0, 1.0))
    )
    assert first == later != other
    assert first.startswith("row-")
    twice = snapshot_of(reading_of(make.row(profit=1.0), make.row(profit=2.0))).faults
    again = snapshot_of(reading_of(make.row(profit=3.0), make.row(profit=4.0))).faults
    assert [fault.id for fault in twice] == [fault.id for fault in again] != [""]


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_alone_is_a_fault_and_nothing_else(what: str) -> None:
    with pytest.raises(UnreadableRow):
        read_row(BAD_ROWS[what][0])


@pytest.mark.parametrize("bad_volume", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_json_does_not_have_spoil_their_row_alone(bad_volume: str) -> None:
    raw = make.as_bytes(make.reply(make.row(1), make.row(2, volume="HERE")))
    seen = snapshot_of(decode_positions(raw.replace(b'"HERE"', bad_volume.encode())))
    assert [p.ticket for p in seen.positions] == [1]
    assert len(seen.faults) == 1


def test_a_ticket_that_comes_twice_is_believed_in_neither_row() -> None:
    value = make.reply(make.row(1), make.row(2), make.row(1, volume=0.05))
    for reading in (read_positions(value), decode_positions(make.as_bytes(value))):
        seen = snapshot_of(reading)
        assert [p.ticket for p in seen.positions] == [2]
        assert any("1" in str(fault) and "2 times" in str(fault) for fault in seen.faults)


def test_a_ticket_that_comes_twice_under_two_identifiers_is_believed_in_neither_row() -> None:
    value = make.reply(make.row(1, identifier=5), make.row(2), make.row(1, identifier=6))
    for reading in (read_positions(value), decode_positions(make.as_bytes(value))):
        seen = snapshot_of(reading)
        assert [p.ticket for p in seen.positions] == [2]
        assert seen.faults


@pytest.mark.parametrize("ticket", [2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("spelled", [int, str])
def test_a_big_ticket_keeps_every_digit(ticket: int, spelled: type) -> None:
    raw = make.as_bytes(make.reply(make.row(spelled(ticket))))
    seen = snapshot_of(decode_positions(raw))
    assert [(p.ticket, p.identifier) for p in seen.positions] == [(ticket, ticket)]
    assert not seen.faults


def test_neighbouring_big_tickets_stay_two() -> None:
    rows = [make.row(2**53), make.row(2**53 + 1), make.row(str(2**53 + 2))]
    seen = snapshot_of(decode_positions(make.as_bytes(make.reply(*rows))))
    assert [p.ticket for p in seen.positions] == [2**53, 2**53 + 1, 2**53 + 2]


@pytest.mark.parametrize("status", ["SUCCESS", "success", "ok", "OK", "Ok"])
def test_both_spellings_of_a_good_status_are_read(status: str) -> None:
    seen = snapshot_of(decode_positions(make.as_bytes(make.reply(make.row(), status=status))))
    assert [p.ticket for p in seen.positions] == [make.TICKET]


@pytest.mark.parametrize("guides_status", ["SUCCESS", "ok"])
def test_the_familys_names_of_fields_are_read(guides_status: str) -> None:
    """Also by themselves: a gateway may say SUCCESS and spell its prices the other way."""
    family = make.without(make.row(), "price_open", "time") | {
        "open_price": 1.06,
        "current_price": 1.07,
        "time_open": 5,
    }
    value = make.reply(family, status=guides_status, uuid="a-b")
    for reading in (read_positions(value), decode_positions(make.as_bytes(value))):
        [found] = snapshot_of(reading).positions
        assert (found.price_open, found.price_current, found.time) == (1.06, 1.07, 5)


def test_a_current_price_in_the_familys_spelling_is_read_beside_the_guides_names() -> None:
    raw = make.as_bytes(make.reply(make.row(current_price=1.07)))
    [found] = snapshot_of(decode_positions(raw)).positions
    assert found.price_current == 1.07


@pytest.mark.parametrize(
    ("spelled", "side"),
    [
        ("buy", Side.BUY),
        ("sell", Side.SELL),
        ("BUY", Side.BUY),
        ("Sell", Side.SELL),
        (0, Side.BUY),
        (1, Side.SELL),
        ("0", Side.BUY),
        ("1", Side.SELL),
    ],
)
def test_every_spelling_of_a_side_is_read(spelled: object, side: Side) -> None:
    [found] = snapshot_of(
        decode_positions(make.as_bytes(make.reply(make.row(type=spelled))))
    ).positions
    assert found.side is side


SIDES = {
    Side.BUY: ["buy", " Buy ", "LONG", "POSITION_TYPE_BUY", "ORDER_TYPE_BUY", "OP_BUY", 0.0, "0"],
    Side.SELL: ["sell", "SELL", "short", "position_type_sell", "DEAL_TYPE_SELL", "OP_SELL", 1.0],
}


@pytest.mark.parametrize(
    ("side", "spelled"), [(s, v) for s, all_of in SIDES.items() for v in all_of]
)
def test_the_words_of_others_for_a_side_are_read(side: Side, spelled: object) -> None:
    [found] = snapshot_of(reading_of(make.row(type=spelled))).positions
    assert found.side is side


# A field without which a position is the same position: what is in it, what is made of it, and
# whether that is noted.
OPTIONAL: dict[str, tuple[dict[str, object], dict[str, object], bool]] = {
    "time as ISO text": ({"time": "2026-01-05T12:00:00"}, {"time": 1_767_614_400}, False),
    "time as MetaTrader's text": ({"time": "2026.01.05 12:00:00"}, {"time": 1_767_614_400}, False),
    "time with a fraction": ({"time": 1_767_614_400.25}, {"time": 1_767_614_400}, False),
    "time in milliseconds": ({"time": 1_767_614_400_000}, {"time": 1_767_614_400}, False),
    "time negative": ({"time": -5}, {"time": 0}, True),
    "time in words": ({"time": "yesterday"}, {"time": 0}, True),
    "time true": ({"time": True}, {"time": 0}, True),
    "milliseconds with a fraction": ({"time_msc": 12.5}, {"time_msc": 12}, False),
    "milliseconds as ISO text": (
        {"time_msc": "2026-01-05T12:00:00Z"},
        {"time_msc": 1_767_614_400_000},
        False,
    ),
    "milliseconds NaN": ({"time_msc": math.nan}, {"time_msc": 0}, True),
    "profit NaN": ({"profit": math.nan}, {"profit": 0.0}, True),
    "profit infinite": ({"profit": math.inf}, {"profit": 0.0}, True),
    "profit as text": ({"profit": "-1.25"}, {"profit": -1.25}, False),
    "profit with a comma": ({"profit": "-1,25"}, {"profit": 0.0}, True),
    "swap NaN": ({"swap": math.nan}, {"swap": 0.0}, True),
    "swap a list": ({"swap": [1]}, {"swap": 0.0}, True),
    "stops empty": ({"sl": None, "tp": ""}, {"sl": 0.0, "tp": 0.0}, False),
    "stop loss NaN": ({"sl": math.nan}, {"sl": 0.0}, True),
    "stop loss beyond every market": ({"sl": 1e300}, {"sl": 0.0}, True),
    "current price in words": ({"price_current": "n/a"}, {"price_current": 0.0}, True),
    "magic negative": ({"magic": -4294967295}, {"magic": 2**64 - 4294967295}, False),
    "magic negative as text": ({"magic": "-7"}, {"magic": 2**64 - 7}, False),
    "magic beyond 64 bits": ({"magic": 2**64}, {"magic": 0}, True),
    "magic in words": ({"magic": "scalper"}, {"magic": 0}, True),
    "reason in words": ({"reason": "EXPERT"}, {"reason": 3}, False),
    "reason in MQL5's words": ({"reason": "POSITION_REASON_MOBILE"}, {"reason": 1}, False),
    "reason unknown": ({"reason": "moon"}, {"reason": 0}, True),
    "comment a number": ({"comment": 17}, {"comment": "17"}, False),
    "comment a list": ({"comment": ["a"]}, {"comment": ""}, True),
    "comment with half an emoji": ({"comment": "a\ud83d"}, {"comment": "a?"}, False),
    "identifier as text": ({"identifier": "9"}, {"identifier": 9}, False),
    "identifier empty": ({"identifier": ""}, {"identifier": make.TICKET}, False),
}


@pytest.mark.parametrize("what", OPTIONAL)
def test_an_optional_field_never_costs_the_position(what: str) -> None:
    given, read, is_noted = OPTIONAL[what]
    value = make.reply(make.row(**given), make.row(7))
    for reading in (read_positions(value), decode_positions(make.as_bytes(value))):
        seen = snapshot_of(reading)
        assert not seen.faults
        assert [p.ticket for p in seen.positions] == [make.TICKET, 7]
        assert {name: getattr(seen.positions[0], name) for name in read} == read
        assert [note.field for note in seen.notes] == list(given)[:1] * is_noted
        for note in seen.notes:
            assert str(note).startswith(f"Ticket {make.TICKET}: {note.field} is ")
            assert "is used instead" in str(note)


@pytest.mark.parametrize("kind", whole_kinds())
def test_a_row_of_a_python_program_has_numbers_of_any_kind(kind: str) -> None:
    whole = whole_kinds()[kind]
    for real in real_kinds().values():
        row = make.row(whole(5), volume=real("0.05"), price_open=real("1.25"), magic=whole(7))
        [found] = snapshot_of(reading_of(row)).positions
        assert found == make.position(5, volume=0.05, price_open=1.25, magic=7, time=1767571200)
        assert type(found.ticket) is int
        assert type(found.volume) is float


class TradePosition(NamedTuple):
    """A row as the official module has it."""

    ticket: int = make.TICKET
    time: int = 1767571200
    type: int = 1
    magic: int = 7
    identifier: int = make.TICKET
    volume: float = 0.01
    price_open: float = 1.0543
    symbol: str = "EURUSD"


class Series(dict[str, Any]):
    """A row of a table, which says what it has with `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        return dict(self)


ROWS: dict[str, object] = {
    "RemotePosition": RemotePosition(make.TICKET, "EURUSD", "sell", 0.01, 1.0543, time=1767571200),
    "a row of the official module": TradePosition(),
    "a row of a table": Series(make.row(type=1)),
    "our own position": make.position(side=Side.SELL, time=1767571200),
}


@pytest.mark.parametrize("what", ROWS)
def test_a_row_may_be_any_object_that_has_a_positions_fields(what: str) -> None:
    [found] = snapshot_of(reading_of(ROWS[what])).positions
    assert (found.ticket, found.side, found.volume) == (make.TICKET, Side.SELL, 0.01)
    assert (found.price_open, found.time) == (1.0543, 1767571200)


def test_capabilities_are_read_beside_a_row_that_is_not() -> None:
    value = make.reply(make.row(volume=0), capabilities=["SNAPSHOT", 5])
    for reading in (read_positions(value), decode_positions(make.as_bytes(value))):
        assert snapshot_of(reading).capabilities == ("SNAPSHOT",)


def test_fields_nobody_knows_are_passed_over() -> None:
    raw = make.as_bytes(make.reply(make.row(colour="red", nested={"a": [1]}), server="x"))
    assert [p.ticket for p in snapshot_of(decode_positions(raw)).positions] == [make.TICKET]


def test_a_row_that_leaves_out_what_need_not_be_there_is_read() -> None:
    bare = make.without(make.row(), "profit", "time")
    [found] = snapshot_of(decode_positions(make.as_bytes(make.reply(bare)))).positions
    assert (found.profit, found.time, found.sl, found.tp) == (0.0, 0, 0.0, 0.0)


def test_null_stands_for_left_out() -> None:
    value = make.reply(make.row(profit=None, sl=None, tp=None, magic=None, comment=None))
    for reading in (read_positions(value), decode_positions(make.as_bytes(value))):
        [found] = snapshot_of(reading).positions
        assert (found.profit, found.sl, found.magic, found.comment) == (0.0, 0.0, 0, "")


# What no list of examples has.

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2, 2**53, 2**63, 2**64, HUGE, 1e305, 1e-12, 5.0])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["SUCCESS", "ok", "buy", "sell", "EURUSD", "NaN", "Infinity", "5", "0.01"])
)
names = st.sampled_from(
    [
        *make.row(),
        "identifier",
        "open_price",
        "swap",
        "time_open",
        "time_msc",
        "sl",
        "tp",
        "magic",
        "reason",
        "comment",
        "price_current",
        "current_price",
        "other",
    ]
)
rows = st.dictionaries(names, scalars).map(lambda changes: make.row(1) | changes)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner)
)
replies = st.one_of(
    anything,
    st.fixed_dictionaries(
        {"status": st.sampled_from(["SUCCESS", "ok", "FAILED"]) | scalars},
        optional={"positions": st.lists(rows | anything) | anything, "error": scalars},
    ),
)


@given(st.binary())
def test_any_bytes_raise_nothing(raw: bytes) -> None:
    believed(decode_positions(raw))


@given(replies)
def test_any_json_raises_nothing_and_yields_only_what_can_be_believed(value: object) -> None:
    believed(decode_positions(make.as_bytes(value)))
    believed(read_positions(value))


@given(anything)
def test_any_value_is_a_believable_position_or_a_fault(value: object) -> None:
    try:
        found = read_row(value)
    except UnreadableRow as fault:
        assert str(fault)
    else:
        believed(Snapshot([found]))


@given(st.lists(rows, max_size=4))
@example([make.row(1) | {"price_current": 1, "current_price": None}])
@example([make.row(1) | {"symbol": "EUR\nUSD"}])
@example([make.row(1) | {"symbol": "EUR\x1b[2J"}])
def test_the_fast_way_and_the_slow_way_read_the_same(some: list[dict[str, Any]]) -> None:
    """The slow way alone reads what is decoded already; both must give one reading."""
    raw = make.as_bytes(make.reply(*some))
    fast, slow = decode_positions(raw), read_positions(json.loads(raw))
    assert isinstance(fast, Snapshot)
    assert isinstance(slow, Snapshot)
    assert (list(fast.positions), list(fast.faults)) == (list(slow.positions), list(slow.faults))
    assert list(map(str, fast.notes)) == list(map(str, slow.notes))


@given(make.broker_lists())
def test_every_list_of_good_rows_is_read_whole(held: list[Position]) -> None:
    listed = [
        make.row(
            p.ticket,
            symbol=p.symbol,
            type=p.side.value,
            volume=p.volume,
            price_open=p.price_open,
            profit=p.profit,
            time=0,
        )
        for p in held
    ]
    seen = snapshot_of(decode_positions(make.as_bytes(make.reply(*listed))))
    assert list(seen.positions) == held
    assert not seen.faults
