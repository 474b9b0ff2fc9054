"""Restrict a terminal to a single account.

The user of the terminal can log in to another account at any time. The guide's wire names no
account, so a list from the wrong account would close every position in a bot's book, and an order
would trade money of the wrong account. With a login given to `initialize`, lists and trades fail
with -6 while another account is logged in, and work again when the right account is back. The same
login at another trade server is another account; the right server is taken from the first
`account_info` with that login.

A terminal that was just started is authorised first and receives its positions later. In between,
its list may be empty although positions are open. The terminal enables trading last (terminal
journal: "authorized", "synchronized", "trading has been enabled"), so `initialize` waits for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import Error, failed
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.terminal import AccountInfo, Terminal

ACCOUNT_FUNCTIONS = frozenset(
    {
        "positions_get",
        "orders_get",
        "history_orders_get",
        "history_deals_get",
        "order_check",
        "order_send",
    }
)
"""The functions that fail while another account is logged in.

The totals are not among them: a total is only compared with its list, and every snapshot asks for
four totals."""

READY_POLLS = 50
READY_PAUSE_MS = 100
"""Wait up to five seconds for trading to be enabled.

With a read-only login trading is never enabled. After the wait such a terminal is served anyway:
by then its lists are as old as its start."""


def wait_a_little() -> None:
    """Let `READY_PAUSE_MS` pass."""
    threading.Event().wait(READY_PAUSE_MS / 1000)


class OneAccount(ForwardingTerminal):
    """A terminal that checks its account before each call that depends on the account.

    `account_info` always works, because it tells which account is logged in.

    Args:
        terminal: the terminal to call.
        wait: sleeps between two polls of a terminal that is not ready.
    """

    def __init__(self, terminal: Terminal, wait: Callable[[], None] = wait_a_little) -> None:
        self._terminal, self._wait = terminal, wait
        self._login: int | None = None
        self._server: str | None = None
        self._error: Error | None = None

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        """Open the connection; with `login`, restrict it to that account.

        Returns once the terminal has synchronised with its trade server, or after five seconds.
        """
        self._login, self._server = kwargs.get("login"), None
        if not self._call("initialize", *args, **kwargs):
            return False
        for _ in range(READY_POLLS):
            account = self._terminal.account_info()
            if account is None:
                return False
            # The first matching account also fixes the server.
            self._is_right(account)
            if account.trade_allowed:
                break
            self._wait()
        return True

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Log in to an account; from now on the terminal is restricted to that account."""
        if not self._call("login", *args, **kwargs):
            return False
        self._login, self._server = args[0] if args else kwargs["login"], None
        return True

    def last_error(self) -> Error:
        """Code and text of the latest call."""
        return self._error or self._terminal.last_error()

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        self._error = None
        if self._login is not None and function in ACCOUNT_FUNCTIONS:
            account = self._terminal.account_info()
            if account is None:
                return failed(function)
            if not self._is_right(account):
                self._error = self._wrong(account)
                return failed(function)
        return getattr(self._terminal, function)(*args, **kwargs)

    def _is_right(self, account: AccountInfo) -> bool:
        """Return whether `account` is the right one; the first match also sets the server."""
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
