"""The right to trade an account where several processes could: what a fleet of machines gives."""

from __future__ import annotations

from typing import Protocol

from trueup.journal.database.database import Database


class Right(Protocol):
    """What an account asks before it becomes the writer of its journal, and before each order."""

    former: str
    """Who had the account and did not give it back, in words; empty for nobody."""

    def permit(self, database: Database) -> None:
        """Check the right, in the transaction that makes this process the writer.

        Whoever else is the writer is fenced out then.

        Raises:
            JournalConflict: another process has the right.
        """

    def why_not_now(self) -> str:
        """Return why no order may leave now, or an empty text; must not wait."""

    def wait_sec(self, deadline_sec: float) -> float:
        """Return how long (seconds) to wait before the account is judged, 0 for no longer.

        Asked where the gateway records no fencing tokens: what the former owner sent may still be
        carried out.

        Args:
            deadline_sec: after so long no gateway carries an order out any more.
        """
