"""The interface to the network: send one message, receive one message."""

from __future__ import annotations

from typing import Protocol


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


class HintLine(Protocol):
    """A connection on which a gateway announces, unasked, that data may have changed."""

    def heard(self) -> list[bytes]:
        """Return the messages since the last call; never waits."""

    def close(self) -> None:
        """Stop listening, for good."""
