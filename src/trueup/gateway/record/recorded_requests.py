"""The interface to the rows of a gateway's record of requests.

`RequestStore` keeps the rows in a single file or in memory, `AccountRecords` in a file per account.
The record's rules (`gateway.record.at_most_once`) use only this interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trueup.core.gateway_record import BookAsked, RecordMark
from trueup.gateway.record.store import ClaimRow, Entry, FenceRow


class RecordedRequests(Protocol):
    """The rows of a record of requests. Every method may raise `StoreTrouble`."""

    @property
    def awaits_account(self) -> bool:
        """Whether the record waits until the terminal names its account."""

    @property
    def is_durable(self) -> bool:
        """Whether the rows outlive the process."""

    def serve(self, login: int, server: str) -> bool:
        """Keep the record of this account from now on; return whether a file was opened for it."""

    def may_have_more(self, login: int, server: str) -> bool:
        """Return whether the account may have requests in a file that cannot be read now."""

    def mark(self) -> RecordMark:
        """Return the record's id and its newest row."""

    def covers(self, mark: RecordMark) -> bool:
        """Return whether the record still has every request that came after the mark."""

    def find(self, order_id: str) -> Entry | None:
        """Return the request with this id, or None."""

    def unsettled(self) -> list[Entry]:
        """Return the requests without a known outcome, oldest first."""

    def since(self, came_ns: int) -> list[Entry]:
        """Return all requests that came at or after a time, oldest first."""

    def sent_by(
        self, login: int, server: str, asked: BookAsked, most: int
    ) -> tuple[int, list[Entry]]:
        """Count a book's requests after its mark; return the count and the newest, oldest first."""

    def with_key(self, login: int, server: str, stream: str, key: str) -> list[Entry]:
        """Return the requests of an account that a book sent under a key, oldest first."""

    def add(self, entry: Entry) -> bool:
        """Write a new request to the disk; return False, with nothing written, for a known id."""

    def end(self, order_id: str, state: str, reply: bytes) -> None:
        """Write the outcome of a request: `settled`, or `unknown` until more is known."""

    def claims(self, login: int, server: str) -> list[ClaimRow]:
        """Return the claims of an account, oldest first."""

    def keep_claims(
        self, login: int, server: str, kept: Sequence[ClaimRow], dropped: Sequence[str] = ()
    ) -> None:
        """Write new and changed claims of an account to disk, and delete others, all or nothing."""

    def fence(self, login: int, server: str, journal: str) -> FenceRow:
        """Return the fence of a journal in an account; token 0 if none was recorded."""

    def keep_fence(self, login: int, server: str, journal: str, fence: FenceRow) -> None:
        """Write the fence of a journal to disk; a recorded token never becomes smaller."""

    def drop_old(self) -> int:
        """Delete requests older than the retention period; return how many."""

    def close(self) -> None:
        """Close the files; a second call does nothing."""
