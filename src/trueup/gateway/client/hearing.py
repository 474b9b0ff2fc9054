"""Listens to the hints of one gateway, wherever it says that they are."""

from __future__ import annotations

from collections.abc import Callable

from trueup.gateway.client.endpoints import tcp
from trueup.gateway.client.link import HintLine
from trueup.protocol.hints import Ear


class Hearing:
    """The hints of one gateway.

    Args:
        host: the gateway's host.
        line: makes a line to an endpoint, or None to hear nothing.
    """

    def __init__(self, host: str, line: Callable[[str], HintLine] | None) -> None:
        self._host, self._make = host, line
        self._line: HintLine | None = None
        self._port = 0
        self._ear = Ear()

    def reason(self, port: int, digest: str, now_ns: int) -> str:
        """Return the reason to ask now that the hints give, empty for none; never waits.

        Args:
            port: where the gateway says that its hints are, 0 for nowhere.
            digest: that of the latest reading.
            now_ns: the time.
        """
        if port != self._port:
            self._move(port)
        if self._line is None:
            return ""
        return self._ear.hear(self._line.heard(), digest, now_ns)

    def asked(self) -> None:
        """Note that the gateway is asked now."""
        self._ear.asked()

    def close(self) -> None:
        """Stop listening; the next `reason` begins again."""
        self._move(0)

    def _move(self, port: int) -> None:
        if self._line is not None:
            self._line.close()
        self._line, self._port, self._ear = None, port, Ear()
        if port and self._make is not None:
            self._line = self._make(tcp(self._host, port))
