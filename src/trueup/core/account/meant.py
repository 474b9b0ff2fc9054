"""The account that a person means, said before anything was read.

A terminal can be logged in to any account when a bot meets it first, and a book belongs to the
account of its first believed reading. So who knows which account it is to be says so beforehand,
and a bot that is only to play says that real money is not meant.
"""

from __future__ import annotations

import re

import msgspec

from trueup.core.account.trust import Bound, Reason, Unknown
from trueup.core.model import Snapshot

_NAME = re.compile(r"\s*([1-9][0-9]{0,18})\s*@\s*(\S(?:.*\S)?)\s*", re.DOTALL)
EXAMPLE = "give login@server, such as 5000001@MetaQuotes-Demo"


class Meant(msgspec.Struct, frozen=True):
    """Which account is meant, None for any; who says so; and whether real money may be touched.

    An account whose gateway does not say whether it is a demo counts as real.
    """

    account: Bound | None = None
    said_by: str = "account"
    real_money: bool = True

    def objection(self, snapshot: Snapshot) -> Unknown | None:
        """Return why this reading is of an account that is not meant, or None."""
        return self._other(snapshot) or self._real(snapshot)

    def _other(self, snapshot: Snapshot) -> Unknown | None:
        if self.account is None:
            return None
        meant = f"{self.said_by} says {self.account.name}"
        if snapshot.evidence is None:
            sentence = f"The gateway does not say which account its terminal has, and {meant}"
            until = "a gateway that serves SNAPSHOT, as `trueup gateway` does"
            return Unknown(Reason.WRONG_ACCOUNT, sentence, until)
        account = snapshot.evidence.account
        if Bound(account.login, account.server) == self.account:
            return None
        sentence = f"The terminal is logged in to {account.name}, and {meant}"
        return Unknown(Reason.WRONG_ACCOUNT, sentence, f"a login to {self.account.name}")

    def _real(self, snapshot: Snapshot) -> Unknown | None:
        if self.real_money:
            return None
        account = snapshot.evidence.account if snapshot.evidence is not None else None
        if account is None or not account.trade_mode:
            who = "The gateway" if account is None else f"The gateway of {account.name}"
            sentence = f"{who} does not say whether its account is a demo, so it counts as REAL"
        elif account.is_real:
            sentence = f"{account.name} is a REAL account"
        else:
            return None
        return Unknown(Reason.REAL_MONEY, sentence, "a word that real money is meant")


def account_named(text: str) -> Bound:
    """Return the account that a text names.

    Raises:
        ValueError: it names none.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise ValueError(EXAMPLE)
    return Bound(int(found[1]), found[2])
