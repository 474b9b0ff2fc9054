"""The seam to the network: one message out, one message in."""

from __future__ import annotations

from typing import Protocol


class Link(Protocol):
    """A connection on which one request is answered by one reply.

    A link never repeats a message by itself, and a reply that comes after `reset` is never seen.
    """

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Send a request, waiting at most `timeout_ms` for a connection that takes it.

        Raises:
            NotSent: no connection took it; it will never leave.
        """

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply, or None when none came within `timeout_ms` (0 does not wait)."""

    def reset(self) -> None:
        """Forget the exchange under way, so that its reply can never be taken for a later one."""

    def close(self) -> None:
        """Let go of the connection; a later `send` opens it again."""


class HintLine(Protocol):
    """A connection on which a gateway says, unasked, that something may have changed."""

    def heard(self) -> list[bytes]:
        """Return what came since the last call; never waits."""

    def close(self) -> None:
        """Stop listening, for good."""
