"""Track whether the broker was read since the book got its gateway: no entries before that.

A book that was never compared may be empty only because the broker was never read, and an entry
would then double an open position. The rule does not apply to a book without a gateway and without
a reconciler: such a book is a ledger and is compared with nothing.
"""

from __future__ import annotations

from typing import Any

NOT_SEEN = "no reading of the broker has been believed yet"
SINCE_CHANGE = "no reading of the broker has been believed since its gateway was changed"
SINCE_BOUND = "no reading of the broker has been believed since the book was bound to its account"


class Sight:
    """The gateways of a book, and which of them gave a believed reading.

    Gateways are compared as objects. Two gateways count: the gateway that orders are sent through,
    and the gateway that the newest reconciler reads. After a change of either, entries wait again.
    """

    def __init__(self) -> None:
        self._sender: Any = None
        self._readers: list[Any] = []
        self._seen: list[Any] = []
        self._why = NOT_SEEN
        self._trouble = ""

    def sends(self, gateway: Any) -> None:
        """Note the gateway that orders are sent through from now on; None for no gateway."""
        if gateway is self._sender:
            return
        self._sender = gateway
        if gateway is not None and not (self._readers and gateway is self._readers[-1]):
            self._need(gateway)

    def reads(self, gateway: Any) -> None:
        """Note the gateway that a new reconciler reads."""
        if self._readers and gateway is self._readers[-1]:
            return
        self._readers.append(gateway)
        if gateway is not self._sender:
            self._need(gateway)

    def believed(self, gateway: Any) -> None:
        """Note a believed reading that the book has applied."""
        self._trouble = ""
        self._seen.append(gateway)
        # No reconciler reads a gateway that only takes orders, so the reading of another gateway
        # counts for this gateway too.
        if not any(self._sender is reader for reader in self._readers):
            self._seen.append(self._sender)
        self._seen = [known for known in self._current() if self._has_seen(known)]

    def failed(self, sentence: str) -> None:
        """Note why the latest reading was not believed."""
        self._trouble = sentence

    def forget(self) -> None:
        """Wait for a reading again: the book belongs to another account now."""
        self._seen, self._why, self._trouble = [], SINCE_BOUND, ""

    @property
    def why_not(self) -> str:
        """The reason why no position may be opened yet, or an empty string."""
        if all(map(self._has_seen, self._current())):
            return ""
        return f"{self._why}: {self._trouble}" if self._trouble else self._why

    def _need(self, gateway: Any) -> None:
        if self._seen:
            self._why = SINCE_CHANGE
        self._seen = [seen for seen in self._seen if seen is not gateway]

    def _current(self) -> list[Any]:
        return [
            candidate for candidate in (self._sender, *self._readers[-1:]) if candidate is not None
        ]

    def _has_seen(self, gateway: Any) -> bool:
        return any(seen is gateway for seen in self._seen)
