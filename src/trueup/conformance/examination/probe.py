"""A client of the gateway under examination, which keeps every exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trueup.errors import NotSent, OutcomeUnknown
from trueup.gateway.client.link import Link
from trueup.protocol.text import read_json

SHOWN_CHARS = 400


class Exchange(msgspec.Struct, frozen=True):
    """A request and its reply.

    `raw` is the reply, or None; `fields` is the reply as a JSON object, or None if the reply is not
    a JSON object. `why` is the reason for a missing reply.
    """

    sent: bytes
    raw: bytes | None
    fields: dict[str, Any] | None
    why: str = ""

    @property
    def status(self) -> str:
        """The reply's status in upper case, or empty."""
        status = (self.fields or {}).get("status")
        return status.upper() if isinstance(status, str) else ""

    @property
    def error(self) -> str:
        """The error text of the reply, or empty."""
        fields = self.fields or {}
        said = fields.get("error") or fields.get("error_msg") or fields.get("message")
        return str(said or "")


class Probe:
    """A connection to the gateway; a missing reply makes the probe connect anew.

    Args:
        connect: makes a connection for this probe alone.
        timeout_ms: the longest time for a reply.
    """

    def __init__(self, connect: Callable[[], Link], timeout_ms: int) -> None:
        self._link = connect()
        self.timeout_ms = timeout_ms
        self.said: list[Exchange] = []

    def ask(self, request: Mapping[str, Any] | bytes) -> Exchange:
        """Send a request and wait for its reply."""
        message = request if isinstance(request, bytes) else msgspec.json.encode(dict(request))
        raw, why = None, ""
        try:
            self._link.send(message, self.timeout_ms)
            raw = self._link.receive(self.timeout_ms)
        except (NotSent, OutcomeUnknown) as error:
            why = str(error)
        if raw is None:
            self._link.reset()
            why = why or f"no reply within {self.timeout_ms} ms"
        exchange = Exchange(message, raw, None if raw is None else _object(raw), why)
        self.said.append(exchange)
        return exchange

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = read_json(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def shown(raw: bytes | None) -> str | None:
    """Return a message as readable text, shortened."""
    if raw is None:
        return None
    text = raw.decode("utf-8", "backslashreplace")
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}... ({len(raw)} bytes)"
