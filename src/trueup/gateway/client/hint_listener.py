"""Listen to the hints of a gateway, at the port that the gateway announces."""

from __future__ import annotations

from collections.abc import Callable

from trueup.gateway.client.endpoints import tcp
from trueup.gateway.client.link import HintLine
from trueup.protocol.hints import HintTracker


class HintListener:
    """The hints of one gateway.

    Args:
        host: the gateway's host.
        subscribe: makes a subscription to an endpoint, or None to listen to nothing.
    """

    def __init__(self, host: str, subscribe: Callable[[str], HintLine] | None) -> None:
        self._host, self._subscribe = host, subscribe
        self._line: HintLine | None = None
        self._port = 0
        self._tracker = HintTracker()

    def reason(self, port: int, digest: str, now_ns: int) -> str:
        """Return why to ask now, by the hints; empty if there is no reason; never waits.

        Args:
            port: the gateway's hint port, 0 for none.
            digest: the digest of the latest reading.
            now_ns: the time.
        """
        self.listen(port)
        if self._line is None:
            return ""
        return self._tracker.hear(self._line.heard(), digest, now_ns)

    def listen(self, port: int) -> None:
        """Listen at this port of the gateway from now on, 0 for none."""
        if port != self._port:
            self._move(port)

    def asked(self) -> None:
        """Note that the gateway is asked now."""
        self._tracker.asked()

    @property
    def line(self) -> HintLine | None:
        """The connection on which hints arrive, or None."""
        return self._line

    def close(self) -> None:
        """Stop listening; the next `reason` starts again."""
        self._move(0)

    def _move(self, port: int) -> None:
        if self._line is not None:
            self._line.close()
        self._line, self._port, self._tracker = None, port, HintTracker()
        if port and self._subscribe is not None:
            self._line = self._subscribe(tcp(self._host, port))
