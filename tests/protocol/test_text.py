"""Bytes around JSON and parts of characters are read, or named with their place."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import make
from trueup.core.account.trust import Unknown
from trueup.core.gateway_record import RecordMark, RequestState, RequestStatus
from trueup.core.model import Snapshot
from trueup.errors import OutcomeUnknown, RemoteProtocolError
from trueup.protocol.guide import decode_positions
from trueup.protocol.hints import Hint, HintTracker, encode_hint
from trueup.protocol.orders import decode_outcome
from trueup.protocol.request_status import RequestStatusReply, decode_status
from trueup.protocol.requests import decode_request
from trueup.protocol.snapshot import decode_snapshot
from trueup.protocol.text import DAMAGED, brief, json_frame, read_json, why_unreadable, writable
from trueup.protocol.ticks import Tick, decode_tick

WRAPPED: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda raw: raw,
    "a line end": lambda raw: raw + b"\r\n",
    "a NUL behind it": lambda raw: raw + b"\0",
    "the rest of an older message behind a NUL": lambda raw: raw + b'\0"}]}\0\0',
    "a byte order mark": lambda raw: codecs.BOM_UTF8 + raw,
    "a mark and a NUL": lambda raw: codecs.BOM_UTF8 + raw + b"\0",
    "blanks": lambda raw: b" \t" + raw + b"  ",
    "UTF-16 with a mark": lambda raw: raw.decode().encode("utf-16"),
    "UTF-16": lambda raw: raw.decode().encode("utf-16-le"),
    "UTF-16 with a NUL": lambda raw: (raw.decode() + "\0").encode("utf-16-le"),
    "UTF-16 from another machine": lambda raw: raw.decode().encode("utf-16-be"),
    "UTF-16 from another machine with a mark": lambda raw: (
        codecs.BOM_UTF16_BE + raw.decode().encode("utf-16-be")
    ),
}
texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@given(value=st.dictionaries(texts, values, max_size=4))
def test_an_object_is_read_whatever_stands_around_it(value: dict[str, object]) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode()
    for how, wrap in WRAPPED.items():
        assert read_json(wrap(raw)) == value, how


@pytest.mark.parametrize("how", WRAPPED)
def test_every_reader_of_the_wire_reads_it(how: str) -> None:
    wrap = WRAPPED[how]
    positions = decode_positions(wrap(make.as_bytes(make.reply(make.row(comment="é")))))
    assert isinstance(positions, Snapshot)
    assert [p.comment for p in positions.positions] == ["é"]
    filled = {"order_id": "O", "status": "FILLED", "ticket": 5}
    assert decode_outcome(wrap(make.as_bytes(filled)), {"order_id": "O"})["ticket"] == 5
    tick = {"status": "SUCCESS", "bid": 1.1, "ask": 1.2}
    assert isinstance(decode_tick(wrap(make.as_bytes(tick)), "EURUSD"), Tick)
    request = {"action": "BUY", "order_id": "O", "symbol": "EURUSD", "volume": 0.1}
    assert decode_request(wrap(make.as_bytes(request))).volume == 0.1
    status = RequestStatusReply(
        "SUCCESS", RequestStatus("O", RequestState.UNKNOWN), RecordMark("r", 0, 0)
    )
    assert not isinstance(decode_status(wrap(msgspec.json.encode(status)), "O"), Unknown)
    ear = HintTracker()
    ear.hear([encode_hint(Hint(1, "boot", "d", 1_000))], "d", 0)
    assert ear.hear([wrap(encode_hint(Hint(2, "boot", "e", 1_000)))], "d", 0)


def test_a_wide_message_keeps_half_an_emoji_as_a_mark() -> None:
    text = '{"comment":"cut \ud83d","symbol":"EURUSD"}'
    raw = text.encode("utf-16-le", "surrogatepass")
    assert read_json(raw) == {"comment": "cut ?", "symbol": "EURUSD"}


@pytest.mark.parametrize("cut", range(1, 4))
@pytest.mark.parametrize("after", [b'"', b'" ,"x":1', b'"\n'])
def test_a_character_that_was_cut_at_the_end_of_a_text_is_marked(cut: int, after: bytes) -> None:
    raw = b'{"comment":"ok ' + "😀".encode()[:cut] + after + b"}"
    assert read_json(raw)["comment"] == "ok ?"


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\udc00", b"\xed\xa0\xbd"])
def test_half_of_a_surrogate_pair_is_marked(half: bytes) -> None:
    assert read_json(b'{"comment":"ok ' + half + b'"}')["comment"] == "ok ?"
    assert read_json(b'{"comment":"ok ' + half + b'"}', DAMAGED)["comment"] == f"ok {DAMAGED}"


def test_a_whole_pair_stays_a_character() -> None:
    assert read_json(rb'{"comment":"\ud83d\ude00"}') == {"comment": "😀"}


@pytest.mark.parametrize("raw", [b'{"comm\xc3":1}', b'{"comm\xc3" : 1}', b'{"c":"a\xc3b"}'])
def test_a_part_of_a_character_anywhere_else_is_no_text(raw: bytes) -> None:
    """A name that was damaged would pass for a field that nobody knows."""
    with pytest.raises(UnicodeDecodeError):
        read_json(raw)


# What cannot be read is named: its encoding, and the place.


@pytest.mark.parametrize("codec", ["cp1251", "koi8-r"])
def test_another_encoding_is_named_with_the_place_where_it_begins(codec: str) -> None:
    row = make.row(comment="тест стоп")
    raw = json.dumps(make.reply(make.row(1), row), ensure_ascii=False).encode(codec)
    why = why_unreadable(raw)
    place = next(i for i, byte in enumerate(raw) if byte > 127)
    assert f"not UTF-8 at byte {place}" in why
    assert "must write UTF-8" in why
    assert "comment" in why
    unknown = decode_positions(raw)
    assert isinstance(unknown, Unknown)
    assert why in unknown.sentence


@given(st.lists(st.integers(0, 9), min_size=30, max_size=60), st.data())
def test_the_place_of_what_is_no_json_is_named(numbers: list[int], data: st.DataObject) -> None:
    raw = json.dumps({"status": "SUCCESS", "positions": numbers}).encode()
    place = data.draw(st.integers(raw.index(b"[") + 1, len(raw) - 2))
    damaged = raw[:place] + b"\xc2\xa7" + raw[place + 1 :]
    said = re.search(r"at byte (\d+)", why_unreadable(damaged))
    assert said is not None
    assert abs(int(said[1]) - place) <= 1


ROWS = [make.row(ticket, comment="x" * 200) for ticket in range(1, 200)]
LONG = json.dumps(make.reply(*ROWS)).encode()
UNREADABLE = [
    b"",
    b"\0",
    b"nothing",
    b"{'status':'SUCCESS'}",
    LONG[:-2],
    LONG + b"{}",
    b"[" * 9_000,
]


@pytest.mark.parametrize("raw", UNREADABLE, ids=range(len(UNREADABLE)))
def test_an_error_is_one_line_of_at_most_200_characters(raw: bytes) -> None:
    said = why_unreadable(raw)
    assert said
    assert "\n" not in said
    assert len(said) <= 200
    for unknown in (
        decode_positions(raw),
        decode_snapshot(raw, 1),
        decode_tick(raw, "EURUSD"),
        decode_status(raw, "O"),
    ):
        assert isinstance(unknown, Unknown)
        assert len(unknown.sentence) <= 300
    with pytest.raises(OutcomeUnknown) as outcome:
        decode_outcome(raw, {"order_id": "O"})
    with pytest.raises(RemoteProtocolError) as refused:
        decode_request(raw)
    assert len(str(outcome.value)) <= 300
    assert len(str(refused.value)) <= 300


def test_what_a_gateway_says_at_length_is_told_in_one_line() -> None:
    said = {"status": "ERROR", "message": {"trace": ["line one\nline two"] * 500}}
    unknown = decode_positions(json.dumps(said).encode())
    assert isinstance(unknown, Unknown)
    assert len(unknown.sentence) <= 400
    assert "\n" not in unknown.sentence
    assert brief("a\n  b\tc") == "a b c"
    assert brief("x" * 500, 20) == "x" * 17 + "..."
    assert brief("half \ud83d") == "half ?"


# Names of which a part was lost are those of something else.


@pytest.mark.parametrize("name", ["order_id", "symbol", "uuid"])
@pytest.mark.parametrize("half", [rb"\ud83d", b"\xed\xa0\xbd"])
def test_a_request_with_a_damaged_name_is_refused(name: str, half: bytes) -> None:
    order = {"action": "BUY", "order_id": "O", "symbol": "EURUSD", "volume": 0.1} | {name: "HALF"}
    with pytest.raises(RemoteProtocolError, match=f"^{name} has a part of a character"):
        decode_request(make.as_bytes(order).replace(b"HALF", b"A" + half))


def test_a_request_with_a_damaged_comment_is_taken_with_a_mark() -> None:
    order = {"action": "BUY", "order_id": "O", "symbol": "EURUSD", "volume": 0.1, "comment": "HALF"}
    request = decode_request(make.as_bytes(order).replace(b"HALF", rb"a\ud83d"))
    assert request.comment == "a?"


@given(st.text(st.characters()))
def test_every_text_can_be_written_after_that(text: str) -> None:
    assert msgspec.json.encode(writable(text))
    assert len(writable(text)) == len(text)


# More frames than one.


@pytest.mark.parametrize(
    ("frames", "body"),
    [
        ([b'{"a":1}'], b'{"a":1}'),
        ([b'{"a":1}', b"checksum"], b'{"a":1}'),
        ([b"topic", b'{"a":1}'], b'{"a":1}'),
        ([b"", b' {"a":1}', b""], b' {"a":1}'),
        ([b"one", b"two"], b"one"),
        ([b"\xff\xfe{\0}\0", b"checksum"], b"\xff\xfe{\0}\0"),
    ],
)
def test_of_several_frames_the_json_is_the_message(frames: list[bytes], body: bytes) -> None:
    assert json_frame(frames) == body
