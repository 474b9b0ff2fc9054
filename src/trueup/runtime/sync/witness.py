"""Whether readings may be believed, one after another: the memory of `core.account.trust`."""

from __future__ import annotations

import msgspec

from trueup.core.account.meant import Meant
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
from trueup.gateway.client.reader import Reading


class Witness:
    """Judges each reading of one gateway by what it saw before.

    Args:
        meant: the account that a person means; any, where none is given.
    """

    def __init__(self, meant: Meant | None = None) -> None:
        self._seen: Seen | None = None
        self._meant = meant or Meant()

    def asked(self) -> None:
        """Note that a question is on its way: its reply uses up a number, even if it is lost."""
        if self._seen is not None:
            self._seen = msgspec.structs.replace(self._seen, asked=self._seen.asked + 1)

    def judge(self, reading: Reading, bound: Bound | None) -> Trusted | Unknown:
        """Return a reading as trusted, or why it is not."""
        if isinstance(reading, Unknown):
            if self._seen is not None:
                self._seen = seen_without(reading, self._seen)
            return reading
        verdict = judge(reading, bound, self._seen)
        if not _is_old(verdict):
            # Whatever else is wrong with it: it is not of the account that is meant.
            verdict = self._meant.objection(reading) or verdict
        if reading.evidence is not None and not _is_old(verdict):
            self._seen = seen_after(reading.evidence, self._seen, verdict)
        return verdict


def _is_old(verdict: Trusted | Unknown) -> bool:
    # An older reading teaches nothing; to remember it would let the next old one pass.
    return isinstance(verdict, Unknown) and verdict.reason is Reason.OLDER
