"""Hints: announcements by which a gateway makes its clients ask at once.

A gateway of ours that watches its terminal lists the port of its hints among its capabilities, as
`HINTS 5556`. Each hint has the digest of the terminal's latest reading. A hint is only a reason to
ask: nothing is decided by a hint, and any hint may get lost, because the next has the same content.
The gateway sends each within `within_ms` of the last, so clients can tell when hints stop.

`HintTracker` is the client's side, without the socket.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trueup.protocol.text import decode_json

CAPABILITY = "HINTS"
# Hints count as missing after this many promised intervals.
PATIENCE = 3
# Python refuses to convert a number of thousands of digits.
PORT_DIGITS = 5


class Hint(msgspec.Struct):
    """A hint.

    Attributes:
        hint: the number of the hint, ascending.
        boot: the name of the gateway's run.
        digest: the digest of positions and pending orders (`core.digest`); empty if they changed
            and the digest is not computed yet.
        within_ms: the next hint follows within this time.
    """

    hint: int
    boot: str
    digest: str
    within_ms: int


_decoder = msgspec.json.Decoder(Hint)
_encoder = msgspec.json.Encoder()


def encode_hint(hint: Hint) -> bytes:
    """Return the bytes of a hint."""
    return _encoder.encode(hint)


def capability(port: int) -> str:
    """Return the capability that announces the port of the hints."""
    return f"{CAPABILITY} {port}"


def hints_port(capabilities: Iterable[str]) -> int:
    """Return the port of the hints in the capabilities, 0 for none."""
    for claimed in capabilities:
        name, _, port = claimed.partition(" ")
        is_number = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS
        if name == CAPABILITY and is_number and 0 < int(port) < 65_536:
            return int(port)
    return 0


class HintTracker:
    """Evaluates hints, and keeps the reason to ask until the gateway is asked."""

    def __init__(self) -> None:
        self._last: Hint | None = None
        self._heard_ns = 0
        self._is_silent = False
        self._reason = ""

    def hear(self, messages: Iterable[bytes], known_digest: str, now_ns: int) -> str:
        """Evaluate new messages; return the reason to ask, empty for none.

        Args:
            messages: the messages since the last call; those that are not hints are ignored.
            known_digest: the digest of the latest reading, empty for none.
            now_ns: the time.
        """
        for raw in messages:
            try:
                hint = decode_json(_decoder, raw)
            except (ValueError, RecursionError):
                continue
            # Keep an earlier reason until the gateway is asked.
            self._reason = self._about(hint, known_digest) or self._reason
            self._last, self._heard_ns, self._is_silent = hint, now_ns, False
        if self._last is not None and not self._is_silent:
            silent_ms = (now_ns - self._heard_ns) / 1e6
            if silent_ms > PATIENCE * self._last.within_ms:
                # Report silence once: a client that asks then has all the news.
                self._is_silent = True
                self._reason = f"no hint came for {silent_ms / 1000:.1f} s"
        return self._reason

    def asked(self) -> None:
        """Note that the gateway is asked now, which settles the reason."""
        self._reason = ""

    def _about(self, hint: Hint, known_digest: str) -> str:
        last = self._last
        if last is not None and hint.boot != last.boot:
            return "the gateway restarted"
        if last is not None and hint.hint != last.hint + 1:
            return "hints were lost"
        if self._is_silent:
            return "hints came back"
        return "" if hint.digest == known_digest else "something changed"
