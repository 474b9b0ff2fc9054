"""Valid bytes made wrong by a few edits: Hypothesis's, so that it can shrink them, or a seed's.

A message after edits that cancel out is still a message, so what is fed is not always wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

# What readers of JSON, numbers and tables trip over.
TOKENS: tuple[bytes, ...] = (
    *(b"null", b"true", b"{}", b"[]", b'""', b"-1", b"0", b"1e309", b"-0.0", b"NaN", b"Infinity"),
    *(b"9223372036854775808", b"18446744073709551616", b"1" * 400, b"0.1" + b"0" * 300, b"1e-400"),
    *(b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"\\ud800"', b'"\\u0000"', b"\\", b'"'),
    *(b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r\n", b"\t", b";", b"<", b"\xc3"),
    *(b'"action":"SELL"', b'"status":"SUCCESS"', b'"ticket":1,', b'"volume":1e9,', b"BUY", b"inf"),
    *(b"[" * 3_000, b'{"a":' * 3_000, b" " * 5_000, b"2024.01.31", b"99999.99.99", b"1_0", b"0x10"),
)


class Edit(NamedTuple):
    """One edit: what is done, where (a share of the whole), with what, over how many bytes."""

    name: str
    place: float
    token: bytes
    length: int


def edited(message: bytes, edits: Sequence[Edit]) -> bytes:
    """Return a message after some edits."""
    for edit in edits:
        at = int(edit.place * len(message))
        message = _EDITS[edit.name](message, at, edit.token, edit.length)
    return message


def _insert(message: bytes, at: int, token: bytes, length: int) -> bytes:
    return message[:at] + token + message[at:]


def _replace(message: bytes, at: int, token: bytes, length: int) -> bytes:
    return message[:at] + token + message[at + length :]


def _delete(message: bytes, at: int, token: bytes, length: int) -> bytes:
    return message[:at] + message[at + length :]


def _cut(message: bytes, at: int, token: bytes, length: int) -> bytes:
    return message[:at]


def _repeat(message: bytes, at: int, token: bytes, length: int) -> bytes:
    return message[:at] + message[at : at + length] * 2 + message[at + length :]


def _flip(message: bytes, at: int, token: bytes, length: int) -> bytes:
    if at >= len(message):
        return message
    return message[:at] + bytes([message[at] ^ (1 << length % 8)]) + message[at + 1 :]


def _value(message: bytes, at: int, token: bytes, length: int) -> bytes:
    """Give another value to the next key."""
    begin = message.find(b":", at) + 1
    ends = [end for mark in (b",", b"}", b"]") if (end := message.find(mark, begin)) >= 0]
    return message[:begin] + token + message[min(ends) :] if begin and ends else message


_EDITS: dict[str, Callable[[bytes, int, bytes, int], bytes]] = {
    "insert": _insert,
    "replace": _replace,
    "delete": _delete,
    "cut": _cut,
    "repeat": _repeat,
    "flip": _flip,
    "value": _value,
}
NAMES = tuple(_EDITS)

EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(NAMES),
        st.floats(0, 1, exclude_max=True),
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=12)),
        st.integers(1, 40),
    ),
    max_size=5,
)


def drawn(chance: random.Random, messages: Sequence[bytes]) -> bytes:
    """Return one input by chance: an edited message, mostly, or raw bytes."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(200))
    edits = [
        Edit(
            chance.choice(NAMES),
            chance.random(),
            chance.choice(TOKENS) if chance.random() < 0.8 else chance.randbytes(4),
            chance.randint(1, 40),
        )
        for _ in range(chance.randint(1, 5))
    ]
    return edited(chance.choice(messages), edits)
