"""Find out what kind of server listens on a TCP port, by ZeroMQ's greeting of 64 bytes.

The greeting is not encrypted and names the security mechanism. So it tells apart a gateway that
requires a key, a gateway that does not, and a server that is not ZeroMQ (ZeroMQ RFC 23, "ZMTP
3.0"). The gateway behind the port gets no request.
"""

from __future__ import annotations

import contextlib
import socket

import msgspec

from trueup.errors import NotSent
from trueup.gateway.client.endpoints import bare, tcp

GREETING_BYTES = 64
NOTHING = "nothing"
"""What was heard of a port that takes a connection and sends no byte."""
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
# Signature and version 3.0 are enough for the other side to send its mechanism. We never send ours:
# libzmq hangs up on a mechanism other than its own before it sends its own.
_OURS = SIGNATURE + b"\x03\x00"


class Greeting(msgspec.Struct, frozen=True):
    """The greeting of a port.

    Attributes:
        mechanism: NULL, PLAIN, CURVE or GSSAPI; empty if the port does not speak ZeroMQ.
        heard: the received greeting, as text for people.
    """

    mechanism: str
    heard: str = ""

    @property
    def is_zeromq(self) -> bool:
        """Whether the port speaks ZeroMQ."""
        return bool(self.mechanism)

    @property
    def is_encrypted(self) -> bool:
        """Whether the port requires a key."""
        return self.mechanism == "CURVE"


def greet(host: str, port: int, timeout_ms: int) -> Greeting:
    """Open a connection, exchange greetings, and close it.

    Raises:
        NotSent: the host name cannot be resolved, or no connection was accepted.
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
        # Stop at the first byte that ZeroMQ would not send, instead of waiting for the rest.
        while len(heard) < GREETING_BYTES and _may_be_zeromq(heard):
            some = line.recv(GREETING_BYTES - len(heard))
            if not some:
                break
            heard += some
    if len(heard) < GREETING_BYTES or not _may_be_zeromq(heard):
        return Greeting("", repr(heard[:24]) if heard else NOTHING)
    mechanism = heard[12:32].rstrip(b"\0").decode("ascii", "replace")
    return Greeting(mechanism, f"ZMTP {heard[10]}.{heard[11]}, {mechanism}")


def _may_be_zeromq(heard: bytes) -> bool:
    return heard[:1] in (b"", b"\xff") and heard[9:10] in (b"", b"\x7f")
