"""Check a reading against the account that the user has named in advance.

A terminal can be logged in to any account when a bot connects for the first time, and the first
trusted reading binds the book to that account. So the user can name the account beforehand, and can
exclude accounts with real money.
"""

from __future__ import annotations

import re

import msgspec

from trueup.core.account.trust import Bound, Reason, Unknown
from trueup.core.model import Snapshot

_NAME = re.compile(r"\s*([1-9][0-9]{0,18})\s*@\s*(\S(?:.*\S)?)\s*", re.DOTALL)
EXAMPLE = "give login@server, such as 5000001@MetaQuotes-Demo"


class IntendedAccount(msgspec.Struct, frozen=True):
    """The account that the user intends to trade, and whether real money is allowed.

    `account` is None for any account. `said_by` is the setting that names the account. If the
    gateway does not say whether an account is a demo, the account counts as real.
    """

    account: Bound | None = None
    said_by: str = "account"
    real_money: bool = True

    def objection(self, snapshot: Snapshot) -> Unknown | None:
        """Return an objection if this reading is of another account or of real money, else None."""
        return self._other(snapshot) or self._real(snapshot)

    def _other(self, snapshot: Snapshot) -> Unknown | None:
        if self.account is None:
            return None
        expected = f"{self.said_by} says {self.account.name}"
        if snapshot.evidence is None:
            sentence = f"The gateway does not say which account its terminal has, and {expected}"
            until = "a gateway that serves SNAPSHOT, as `trueup gateway` does"
            return Unknown(Reason.WRONG_ACCOUNT, sentence, until)
        account = snapshot.evidence.account
        if Bound(account.login, account.server) == self.account:
            return None
        sentence = f"The terminal is logged in to {account.name}, and {expected}"
        return Unknown(Reason.WRONG_ACCOUNT, sentence, f"a login to {self.account.name}")

    def _real(self, snapshot: Snapshot) -> Unknown | None:
        if self.real_money:
            return None
        account = snapshot.evidence.account if snapshot.evidence is not None else None
        if account is None or not account.trade_mode:
            speaker = "The gateway" if account is None else f"The gateway of {account.name}"
            sentence = f"{speaker} does not say whether its account is a demo, so it counts as REAL"
        elif account.is_real:
            sentence = f"{account.name} is a REAL account"
        else:
            return None
        return Unknown(Reason.REAL_MONEY, sentence, "a word that real money is meant")


def account_named(text: str) -> Bound:
    """Parse an account from a text such as 5000001@MetaQuotes-Demo.

    Raises:
        ValueError: the text does not name an account.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise ValueError(EXAMPLE)
    return Bound(int(found[1]), found[2])
