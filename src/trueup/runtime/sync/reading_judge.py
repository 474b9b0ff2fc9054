"""Judge each reading by the readings before it: the memory that `core.account.trust` needs."""

from __future__ import annotations

import msgspec

from trueup.core.account.intended_account import IntendedAccount
from trueup.core.account.trust import (
    Bound,
    Reason,
    Seen,
    Trusted,
    Unknown,
    judge,
    seen_after,
    seen_without,
)
from trueup.core.model import Snapshot
from trueup.gateway.client.reader import Reading


class ReadingJudge:
    """Decides whether each reading of one gateway is believed.

    Args:
        intended: the intended account; any account by default.
    """

    def __init__(self, intended: IntendedAccount | None = None) -> None:
        self._seen: Seen | None = None
        self._intended = intended or IntendedAccount()

    def asked(self) -> None:
        """Count a question: its reply uses up a sequence number even if the reply is lost."""
        if self._seen is not None:
            self._seen = msgspec.structs.replace(self._seen, asked=self._seen.asked + 1)

    def judge(self, reading: Reading, bound: Bound | None) -> Trusted | Unknown:
        """Return the reading as trusted, or the reason why not."""
        if not isinstance(reading, Snapshot):
            if self._seen is not None:
                self._seen = seen_without(reading, self._seen)
            return reading
        verdict = judge(reading, bound, self._seen)
        if not _is_old(verdict):
            # A wrong account is the reason to show, before any other fault of the reading.
            verdict = self._intended.objection(reading) or verdict
        if reading.evidence is not None and not _is_old(verdict):
            self._seen = seen_after(reading.evidence, self._seen, verdict)
        return verdict


def _is_old(verdict: Trusted | Unknown) -> bool:
    # An older reading must not be remembered: the next old reading would then pass.
    return not isinstance(verdict, Trusted) and verdict.reason is Reason.OLDER
