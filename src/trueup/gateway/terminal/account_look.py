"""One reading of the terminal's account, for everything that one request needs it for.

Through the worker a reading costs as much as the rest of an order. The key's scope, the account
that an order names and the one that its record names are judged one right after the other, so they
share one. It is no check of the account at the moment of sending: with `--login` the worker looks
once more, in the very call that sends (`gateway.terminal.one_account`).
"""

from __future__ import annotations

from trueup.gateway.terminal.terminal import AccountInfo, Terminal


class AccountLook:
    """What the terminal is logged in to, read when somebody first wants to know."""

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
        """Return the account's login, or None where it cannot be read."""
        account = self.account()
        return None if isinstance(account, str) else account.login
