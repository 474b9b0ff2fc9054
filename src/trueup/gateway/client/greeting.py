"""What listens on a TCP port: the first 64 bytes that ZeroMQ's peers send each other.

The greeting is not encrypted and names the security mechanism, so it tells a gateway that wants a
key from one that does not, and a port of something else from both (ZeroMQ RFC 23, "ZMTP 3.0").
Nothing is asked of the gateway behind it.
"""

from __future__ import annotations

import contextlib
import socket

import msgspec

from trueup.errors import NotSent
from trueup.gateway.client.endpoints import bare, tcp

GREETING_BYTES = 64
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
# Signature and version 3.0 are enough to hear the other side's mechanism. Ours stays unsaid: libzmq
# hangs up on another mechanism than its own before it tells that.
_OURS = SIGNATURE + b"\x03\x00"


class Greeting(msgspec.Struct, frozen=True):
    """What a port said: `mechanism` is NULL, PLAIN, CURVE or GSSAPI, or empty for no ZeroMQ.

    `heard` is what came of it, for people.
    """

    mechanism: str
    heard: str = ""

    @property
    def is_zeromq(self) -> bool:
        """Whether it speaks ZeroMQ."""
        return bool(self.mechanism)

    @property
    def is_encrypted(self) -> bool:
        """Whether it takes nobody without a key."""
        return self.mechanism == "CURVE"


def greet(host: str, port: int, timeout_ms: int) -> Greeting:
    """Open a connection, exchange greetings, and hang up.

    Raises:
        NotSent: the name cannot be resolved, or no connection was taken.
    """
    where = tcp(host, port)
    try:
        line = socket.create_connection((bare(host), port), timeout_ms / 1000)
    except TimeoutError:
        raise NotSent(f"{where} took no connection within {timeout_ms} ms") from None
    except (OSError, UnicodeError) as error:
        because = getattr(error, "strerror", None) or str(error)
        raise NotSent(f"{where} took no connection: {because}") from error
    with line:
        return _read(line)


def _read(line: socket.socket) -> Greeting:
    heard = b""
    with contextlib.suppress(OSError):
        line.sendall(_OURS)
        while len(heard) < GREETING_BYTES and _may_be_one(heard):
            some = line.recv(GREETING_BYTES - len(heard))
            if not some:
                break
            heard += some
    if len(heard) < GREETING_BYTES or not _may_be_one(heard):
        return Greeting("", repr(heard[:24]) if heard else "nothing")
    mechanism = heard[12:32].rstrip(b"\0").decode("ascii", "replace")
    return Greeting(mechanism, f"ZMTP {heard[10]}.{heard[11]}, {mechanism}")


def _may_be_one(heard: bytes) -> bool:
    return heard[:1] in (b"", b"\xff") and heard[9:10] in (b"", b"\x7f")
