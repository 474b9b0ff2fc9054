"""The interface to the network: send one message, receive one message."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from trueup.errors import OutcomeUnknown


class Signal(NamedTuple):
    """Where to wait for news of a connection: a descriptor, and what is known of it already.

    `serial` tells a new connection from an earlier one that had the same descriptor, and
    `has_message` says whether a message waits there already.
    """

    descriptor: int
    serial: int
    has_message: bool


class Signals(NamedTuple):
    """The signals of a gateway's connections; None for a closed one."""

    reading: Signal | None = None
    hint: Signal | None = None
    price: Signal | None = None


class Link(Protocol):
    """A connection for exchanges of a request and its reply.

    A link never repeats a message by itself. A reply that arrives after `reset` is dropped.
    """

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Send a request; wait at most `timeout_ms` for a connection that accepts it.

        Raises:
            NotSent: no connection accepted the request, and it will never be sent.
        """

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply, or None if none arrived within `timeout_ms` (0 does not wait)."""

    def reset(self) -> None:
        """Drop the exchange under way; its reply can never be taken for a later one's."""

    def close(self) -> None:
        """Close the connection; a later `send` opens it again."""


def exchange(link: Link, message: bytes, timeout_ms: int, name: str) -> bytes:
    """Send a request and wait for its reply; end the exchange if no reply comes.

    Args:
        link: a connection that no other thread uses meanwhile.
        message: the request.
        timeout_ms: how long to wait for a connection, and for the reply.
        name: the gateway's name in error texts.

    Raises:
        NotSent: no connection accepted the request.
        OutcomeUnknown: the request was sent and no reply came.
    """
    link.send(message, timeout_ms)
    reply = link.receive(timeout_ms)
    if reply is None:
        link.reset()
        raise OutcomeUnknown(f"{name} gave no reply within {timeout_ms} ms")
    return reply


class HintLine(Protocol):
    """A connection on which a gateway announces, unasked, that data may have changed."""

    def heard(self) -> list[bytes]:
        """Return the messages since the last call; never waits."""

    def close(self) -> None:
        """Stop listening, for good."""
