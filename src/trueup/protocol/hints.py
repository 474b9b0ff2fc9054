"""Hints: what a gateway says unasked, so that its clients ask at once.

A gateway of ours that watches its terminal names the port of its hints among its capabilities, as
`HINTS 5556`. Each hint says what the gateway saw when it last looked: a digest. A hint is a reason
to ask and never a truth: nothing is decided by it, anybody may lose it, and the next one says the
same again. The gateway says every one within `within_ms` of the last, so silence means something
too.

`HintTracker` is the client's end, without its socket.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trueup.protocol.text import decode_json

CAPABILITY = "HINTS"
# So many times the promised interval may pass before silence is one.
PATIENCE = 3
# A number of thousands of digits is more than Python reads.
PORT_DIGITS = 5


class Hint(msgspec.Struct):
    """One hint.

    `hint` counts them, `boot` is the name of the gateway's run, `digest` that of the terminal's
    positions and pending orders, as `core.digest` makes it, empty where it changed and is not made
    yet. The next hint comes within `within_ms`.
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
    """Return the capability that says on which port the hints are."""
    return f"{CAPABILITY} {port}"


def hints_port(capabilities: Iterable[str]) -> int:
    """Return the port that the capabilities name, 0 for none."""
    for said in capabilities:
        name, _, port = said.partition(" ")
        is_number = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS
        if name == CAPABILITY and is_number and 0 < int(port) < 65_536:
            return int(port)
    return 0


class HintTracker:
    """Hears hints, and keeps the reason to ask that they give until somebody asks."""

    def __init__(self) -> None:
        self._last: Hint | None = None
        self._heard_ns = 0
        self._is_silent = False
        self._reason = ""

    def hear(self, messages: Iterable[bytes], known_digest: str, now_ns: int) -> str:
        """Take in what came, and return the reason to ask, empty for none.

        Args:
            messages: what came since the last call; what is no hint is passed over.
            known_digest: the digest of the latest reading, empty for none.
            now_ns: the time.
        """
        for raw in messages:
            try:
                hint = decode_json(_decoder, raw)
            except (ValueError, RecursionError):
                continue
            self._reason = self._about(hint, known_digest) or self._reason
            self._last, self._heard_ns, self._is_silent = hint, now_ns, False
        if self._last is not None and not self._is_silent:
            silent_ms = (now_ns - self._heard_ns) / 1e6
            if silent_ms > PATIENCE * self._last.within_ms:
                # Said once: who asks then learns what there is to learn.
                self._is_silent = True
                self._reason = f"no hint came for {silent_ms / 1000:.1f} s"
        return self._reason

    def asked(self) -> None:
        """Note that somebody asks now: the reason is dealt with."""
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
