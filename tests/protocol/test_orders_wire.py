from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.book.outcome import Unknown
from trueup.errors import LocalProtocolError, OutcomeUnknown
from trueup.protocol.orders import decode_outcome, encode_order, spell_outcome

ORDER: dict[str, Any] = {
    "order_id": "ORD_0_1",
    "symbol": "EURUSD",
    "action": "BUY",
    "volume": 0.01,
    "price": 1.0543,
    "confidence": 0.8,
}
FILLED: dict[str, Any] = {
    "order_id": "ORD_0_1",
    "status": "FILLED",
    "ticket": 123456,
    "filled_price": 1.0544,
    "filled_volume": 0.01,
    "error": None,
}


def test_an_order_is_written_as_the_guide_writes_it() -> None:
    assert json.loads(encode_order(ORDER)) == ORDER


def test_further_keys_go_along() -> None:
    assert json.loads(encode_order(ORDER | {"position": 7, "sl": 1.0}))["position"] == 7


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("order_id", None),
        ("order_id", ""),
        ("order_id", 5),
        ("symbol", None),
        ("symbol", ""),
        ("action", "buy"),
        ("action", "HOLD"),
        ("action", None),
        ("action", []),
        ("volume", 0),
        ("volume", -0.01),
        ("volume", math.nan),
        ("volume", math.inf),
        ("volume", "0.01"),
        ("volume", True),
        ("volume", None),
        pytest.param("volume", 10**400, id="volume-huge"),
        ("price", 0.0),
        ("price", -1.0),
        ("price", math.nan),
        ("price", None),
        pytest.param("price", 10**400, id="price-huge"),
    ],
)
def test_a_value_that_cannot_be_sent_is_named_with_its_key(key: str, value: object) -> None:
    with pytest.raises(LocalProtocolError, match=f"^{key}="):
        encode_order(ORDER | {key: value})


@pytest.mark.parametrize("key", ["order_id", "symbol", "action", "volume", "price"])
def test_a_key_that_is_missing_is_named(key: str) -> None:
    with pytest.raises(LocalProtocolError, match=key):
        encode_order({name: value for name, value in ORDER.items() if name != key})


@pytest.mark.parametrize("more", [{"note": object()}, {"note": "\ud800"}, {("a", "b"): 1}])
def test_what_json_cannot_carry_is_a_local_error(more: dict[Any, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_order(ORDER | more)


def test_a_fill_is_read_as_the_guide_writes_it() -> None:
    assert decode_outcome(json.dumps(FILLED).encode(), ORDER) == FILLED


def test_a_rejection_is_read_with_its_reason() -> None:
    raw = json.dumps({"order_id": "ORD_0_1", "status": "REJECTED", "error": "no money"}).encode()
    found = decode_outcome(raw, ORDER)
    assert (found["status"], found["error"], found["ticket"]) == ("REJECTED", "no money", None)


def test_the_familys_fill_is_read() -> None:
    raw = json.dumps(
        {"uuid": "a", "status": "FILLED", "ticket": 5, "volume": 0.02, "price": 1.06}
    ).encode()
    found = decode_outcome(raw, ORDER)
    assert found["order_id"] == "ORD_0_1"
    assert (found["ticket"], found["filled_price"], found["filled_volume"]) == (5, 1.06, 0.02)


def test_the_familys_rejection_is_read() -> None:
    raw = json.dumps({"status": "REJECTED", "error_code": 10019, "error_msg": "no money"}).encode()
    assert decode_outcome(raw, ORDER)["error"] == "no money"


@pytest.mark.parametrize(
    "error",
    [
        "Unknown action: BUY",
        "unknown action",
        "ERROR: Unknown action 'BUY'",
        "Unsupported command: market",
        "Unrecognised request type market",
        "Unknown type: market",
        "action='BUY' is not known: give one of GET_POSITIONS, HELLO",
        "Action BUY not supported",
        "Invalid action",
    ],
)
@pytest.mark.parametrize("field", ["error", "message", "error_msg"])
@pytest.mark.parametrize("status", [{"status": "ERROR"}, {"status": "error"}, {}])
def test_a_gateway_that_does_not_know_the_action_has_done_nothing(
    error: str, field: str, status: dict[str, str]
) -> None:
    found = decode_outcome(json.dumps({**status, field: error}).encode(), ORDER)
    assert (found["status"], found["error"]) == ("REJECTED", error)


@pytest.mark.parametrize(
    "reply",
    [
        {"status": "ERROR", "error": "timeout; unknown action afterwards"},
        {"status": "ERROR", "error": "the terminal took an unknown action"},
        {"status": "ERROR", "error": "Unknown action", "ticket": 5},
        {"status": "ERROR", "error": "Unknown error"},
        {"status": "ERROR", "error": "Unknown outcome of the request"},
        {"status": "UNKNOWN", "error": "Unknown action"},
        {"status": "PENDING", "error": "Unknown action"},
    ],
)
def test_other_words_about_what_is_unknown_leave_it_in_doubt(reply: dict[str, object]) -> None:
    with pytest.raises(OutcomeUnknown):
        decode_outcome(json.dumps(reply).encode(), ORDER)


@pytest.mark.parametrize(
    "reply",
    [
        FILLED | {"order_id": "ORD_9_9"},
        FILLED | {"order_id": 5},
        FILLED | {"status": "UNKNOWN", "error": "order_send broke"},
        FILLED | {"status": "ERROR"},
        FILLED | {"status": "PENDING"},
        FILLED | {"status": None},
        FILLED | {"status": ["FILLED"]},
        {},
        {"order_id": "ORD_0_1"},
        [],
        None,
        "FILLED",
    ],
)
def test_a_reply_that_does_not_say_what_became_of_this_order_is_unknown(reply: object) -> None:
    with pytest.raises(OutcomeUnknown):
        decode_outcome(json.dumps(reply).encode(), ORDER)


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"{", b"FILLED", b"[" * 100_000])
def test_bytes_that_are_no_json_are_unknown(raw: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        decode_outcome(raw, ORDER)


@given(st.binary())
def test_any_bytes_are_an_outcome_or_unknown(raw: bytes) -> None:
    try:
        found = decode_outcome(raw, ORDER)
    except OutcomeUnknown as error:
        assert str(error)
    else:
        assert found["status"] in ("FILLED", "REJECTED")


@given(
    st.dictionaries(
        st.sampled_from(list(FILLED)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    )
)
def test_a_rejection_is_said_only_by_the_gateway(changes: dict[str, Any]) -> None:
    reply = FILLED | changes
    try:
        found = decode_outcome(json.dumps(reply).encode(), ORDER)
    except OutcomeUnknown:
        return
    assert found["status"] == str(reply["status"]).upper()
    assert reply["order_id"] in (None, "ORD_0_1")


def test_an_outcome_without_an_answer_has_the_guides_keys() -> None:
    assert set(spell_outcome("O", Unknown("no reply"))) == set(FILLED)
