"""A terminal that is believed and traded on one account alone.

A hand at the terminal can log in to another account at any time. The guide's wire carries no
account, so a list from the wrong one would close every position in a bot's book, and an order would
trade somebody else's money. With a login given at `initialize`, lists and trades of an account
fail with -6 while another is logged in, and work again when the right one is back. The same
number at another trade server is another account; which server it is, the terminal says first.

A terminal that was just started is authorised first and has its positions later; in between its
list may be empty, which would look flat. It enables trading last (platform journal: "authorized",
"synchronized", "trading has been enabled"), so `initialize` waits for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import Error, failed
from trueup.gateway.terminal.forwarding import CalledTerminal
from trueup.gateway.terminal.terminal import AccountInfo, Terminal

OF_AN_ACCOUNT = frozenset(
    {
        "positions_get",
        "orders_get",
        "history_orders_get",
        "history_deals_get",
        "order_check",
        "order_send",
    }
)
"""What is withheld. The totals are not: a number is only ever held against its list, and four of
them are asked for in each snapshot."""

SETTLE_LOOKS = 50
SETTLE_PAUSE_MS = 100
"""Five seconds for trading to be enabled. A read-only login never gets there, and is served then;
what it lists is as old as the terminal's start by that time."""


def wait_a_little() -> None:
    """Let `SETTLE_PAUSE_MS` pass."""
    threading.Event().wait(SETTLE_PAUSE_MS / 1000)


class OneAccount(CalledTerminal):
    """A terminal whose account is looked at before each call that depends on it.

    `account_info` is never withheld: it says which account is there.

    Args:
        terminal: what is called.
        wait: lets a little time pass between two looks at a terminal that is not ready.
    """

    def __init__(self, terminal: Terminal, wait: Callable[[], None] = wait_a_little) -> None:
        self._terminal, self._wait = terminal, wait
        self._login: int | None = None
        self._server: str | None = None
        self._error: Error | None = None

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        """Open the connection; with `login`, to that account and no other.

        Returns when the terminal has synchronised with its trade server, or was given the time.
        """
        self._login, self._server = kwargs.get("login"), None
        if not self._call("initialize", *args, **kwargs):
            return False
        for _ in range(SETTLE_LOOKS):
            account = self._terminal.account_info()
            if account is None:
                return False
            self._is_right(account)
            if account.trade_allowed:
                break
            self._wait()
        return True

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Log in to an account, which is the one from now on."""
        if not self._call("login", *args, **kwargs):
            return False
        self._login, self._server = args[0] if args else kwargs["login"], None
        return True

    def last_error(self) -> Error:
        """Code and text of the call before."""
        return self._error or self._terminal.last_error()

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        self._error = None
        if self._login is not None and function in OF_AN_ACCOUNT:
            account = self._terminal.account_info()
            if account is None:
                return failed(function)
            if not self._is_right(account):
                self._error = self._wrong(account)
                return failed(function)
        return getattr(self._terminal, function)(*args, **kwargs)

    def _is_right(self, account: AccountInfo) -> bool:
        """Return whether this is the account; the first of its number says the server."""
        if account.login != self._login:
            return False
        if self._server is None:
            self._server = str(account.server)
        return bool(account.server == self._server)

    def _wrong(self, account: AccountInfo) -> Error:
        found, wanted = str(account.login), str(self._login)
        if found == wanted:
            found, wanted = f"{found}@{account.server}", f"{wanted}@{self._server}"
        return _wrong(found, wanted)


def _wrong(found: str, wanted: str) -> Error:
    text = mt5.LAST_ERROR_TEXTS[mt5.RES_E_AUTH_FAILED]
    why = f"account {found} is logged in, and this gateway serves {wanted} alone"
    return mt5.RES_E_AUTH_FAILED, f"{text}, {why}"
