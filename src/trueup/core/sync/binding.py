"""The account a book belongs to, and what of the account's conditions the book goes by.

A broker can turn an account from netting to hedging, or ask for the oldest position to be closed
first, under the same login. So these facts are compared at each reading, and noted where they
changed: the journal has them, and a replay does what the live book did.
"""

from __future__ import annotations

from trueup.core.book.events import AccountBound
from trueup.core.model import Account

FACTS = ("currency", "currency_digits", "margin_mode", "fifo_close")


def bound_to(account: Account, at_ns: int, changed: tuple[str, ...] = ()) -> AccountBound:
    """Return the event that binds a book to an account, as its conditions are now."""
    return AccountBound(
        at_ns=at_ns,
        login=account.login,
        server=account.server,
        currency=account.currency,
        margin_mode=account.margin_mode,
        currency_digits=account.currency_digits,
        fifo_close=account.fifo_close,
        changed=changed,
        trade_mode=account.trade_mode or None,
    )


def changed_facts(known: AccountBound, account: Account) -> tuple[str, ...]:
    """Return the names of the conditions that are others than the book knows.

    What a journal of before did not note is no change.
    """
    return tuple(
        name
        for name in FACTS
        if getattr(known, name) is not None and getattr(known, name) != getattr(account, name)
    )
