"""Whether a message is text at all, and JSON whose texts can be written again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec


def check_text(raw: bytes) -> None:
    """Make sure that bytes are UTF-8, names of fields included.

    The decoder checks values only. A name that was damaged on the way would pass for a field that
    nobody knows, and the field that it was would take its default.

    Raises:
        UnicodeDecodeError: they are not.
    """
    if not raw.isascii():
        raw.decode()


def read_json(raw: bytes) -> Any:
    """Read JSON as leniently as the standard library does, which takes NaN and Infinity.

    It also takes halves of surrogate pairs, which no journal, log or console can write; each comes
    out as a question mark.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    try:
        # Eight times as fast, and the same values where it takes the text at all.
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    value = json.loads(raw)
    return value if raw.isascii() and b"\\u" not in raw else _writable(value)


def error_of(reply: Mapping[str, Any]) -> str:
    """Return what a reply says went wrong; empty where the gateway gives no reason."""
    said = reply.get("error") or reply.get("error_msg") or reply.get("message")
    return str(said) if said else ""


def reason_of(reply: Mapping[str, Any]) -> str:
    """Return what a reply says went wrong, or that it does not say."""
    return error_of(reply) or "the gateway gave no reason"


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_writable(one) for one in value]
    if isinstance(value, dict):
        return {_writable(name): _writable(one) for name, one in value.items()}
    return value
