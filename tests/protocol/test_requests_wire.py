from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.errors import RemoteProtocolError
from trueup.protocol import requests
from trueup.protocol.guide import GET_POSITIONS, decode_positions
from trueup.protocol.orders import decode_outcome, encode_order
from trueup.protocol.requests import (
    OrderReply,
    PositionsReply,
    decode_request,
    encode_reply,
)

ORDER: dict[str, Any] = {
    "order_id": "A",
    "symbol": "EURUSD",
    "action": "BUY",
    "volume": 0.01,
    "price": 1.05,
    "confidence": 0.5,
}


def raw(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_the_clients_question_is_the_guides_and_the_gateway_reads_it() -> None:
    assert json.loads(GET_POSITIONS) == {"action": "GET_POSITIONS", "symbol": "*"}
    request = decode_request(GET_POSITIONS)
    assert (request.action, request.symbol) == ("GET_POSITIONS", "*")


def test_the_clients_order_is_read_by_the_gateway() -> None:
    request = decode_request(encode_order(ORDER | {"position": 2**64 - 1}))
    assert (request.order_id, request.action, request.symbol) == ("A", "BUY", "EURUSD")
    assert (request.volume, request.price, request.position) == (0.01, 1.05, 2**64 - 1)


@given(make.broker_lists())
def test_the_gateways_list_is_read_by_the_client(held: list[Any]) -> None:
    reading = decode_positions(encode_reply(PositionsReply("SUCCESS", held)))
    assert list(reading.positions) == held  # type: ignore[union-attr]


def test_the_gateways_outcome_is_read_by_the_client() -> None:
    reply = encode_reply(OrderReply("A", "FILLED", ticket=7, filled_price=1.1, filled_volume=0.01))
    found = decode_outcome(reply, ORDER)
    assert (found["status"], found["ticket"], found["filled_price"]) == ("FILLED", 7, 1.1)


@pytest.mark.parametrize("uuid", ["a-b", 5, None, {"x": 1}])
def test_a_uuid_goes_back_as_it_came(uuid: object) -> None:
    request = decode_request(raw(action="PING", uuid=uuid))
    reply = json.loads(encode_reply(PositionsReply("SUCCESS"), request.uuid))
    assert reply["uuid"] == uuid


def test_without_a_uuid_none_goes_back() -> None:
    request = decode_request(raw(action="PING"))
    assert "uuid" not in json.loads(encode_reply(PositionsReply("SUCCESS"), request.uuid))


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (b"", "read"),
        (b"\xff", "read"),
        (b"[]", "read"),
        (b"{}", "action"),
        (raw(action="DANCE"), "DANCE"),
        (raw(action=5), "action"),
        (raw(action="BUY", symbol="EURUSD", volume=0.01), "order_id"),
        (raw(action="BUY", order_id="A", volume="0.01"), "volume"),
        (raw(action="BUY", order_id="A", volume=0.01, position=-1), "position"),
        (raw(action="BUY", order_id="A", volume=0.01, position=2**64), "position"),
        (raw(action="SELL", order_id="A", volume=0.01, magic=2**64), "magic"),
        (b'{"action":"BUY","order_id":"A","volume":1e999}', "."),
        (b'{"action":"BUY","order_id":"A","volume":NaN}', "."),
    ],
)
def test_a_request_that_cannot_be_read_says_what_is_wrong(bad: bytes, word: str) -> None:
    with pytest.raises(RemoteProtocolError, match=word):
        decode_request(bad)


@pytest.mark.parametrize(
    "bad",
    [
        b"[" * 100_000,
        b'{"action":"PING","uuid":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"action":"PING","other":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["bare", "in the uuid", "in a field nobody knows"],
)
def test_a_request_nested_without_end_is_the_callers_fault(bad: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(bad)


@given(
    st.binary()
    | st.dictionaries(st.text(max_size=8), st.integers() | st.text()).map(
        lambda fields: json.dumps({"action": "BUY"} | fields).encode()
    )
)
def test_any_bytes_are_a_request_or_the_callers_fault(some: bytes) -> None:
    try:
        request = decode_request(some)
    except RemoteProtocolError as error:
        assert str(error)
    else:
        assert isinstance(request.action, str)


@pytest.mark.parametrize("action", sorted(requests.ORDERS))
def test_a_request_that_came_before_is_never_called_rejected(action: str) -> None:
    request = requests.Request(action, order_id="A")
    assert requests.not_begun(request, "busy", came_before=True) == requests.OrderReply(
        "A", "UNKNOWN", error="busy; the same id came before, or may have: see REQUEST_STATUS"
    )
    assert requests.not_begun(request, "busy") == requests.OrderReply(
        "A", "REJECTED", error="not sent: busy"
    )
