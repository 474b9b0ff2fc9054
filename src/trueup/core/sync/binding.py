"""Bind a book to its account, and record the account's conditions on which the book depends.

A broker can change an account from netting to hedging, or require that the oldest position is
closed first, under the same login. So these conditions are compared at each reading, and changes
are recorded as events: then a replay of the journal gives the same book as the live process.
"""

from __future__ import annotations

from trueup.core.book.events import AccountBound
from trueup.core.model import Account

FACTS = ("currency", "currency_digits", "margin_mode", "fifo_close")


def bound_to(account: Account, at_ns: int, changed: tuple[str, ...] = ()) -> AccountBound:
    """Return the event that binds a book to an account with its current conditions."""
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
    """Return the names of the account's conditions that differ from the book.

    A condition that an older journal did not record does not count as a change.
    """
    return tuple(
        name
        for name in FACTS
        if getattr(known, name) is not None and getattr(known, name) != getattr(account, name)
    )
