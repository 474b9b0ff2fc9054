"""Read the terminal's account once per request, for all checks of that request.

Through the worker a reading takes as long as the rest of an order. The key's accounts, the account
that the order names, and the account in its record are checked directly after each other, so they
share one reading. The account at the moment of sending is checked separately: with `--login` the
worker checks again in the very call that sends (`gateway.terminal.one_account`).
"""

from __future__ import annotations

from trueup.gateway.terminal.terminal import AccountInfo, Terminal


class AccountLook:
    """Reads the terminal's account at the first access, and keeps the result."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._found: AccountInfo | str | None = None

    def account(self) -> AccountInfo | str:
        """Return the account, or why it cannot be read; the first call may wait."""
        if self._found is None:
            account = self._terminal.account_info()
            why_not = f"account_info failed: {self._terminal.last_error()}"
            self._found = account if account is not None else why_not
        return self._found

    def login(self) -> int | None:
        """Return the account's login, or None if the account cannot be read."""
        account = self.account()
        return None if isinstance(account, str) else account.login
