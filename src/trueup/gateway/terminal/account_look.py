"""Read the terminal's account once per request, for all checks of that request.

Through the worker a reading takes as long as the rest of an order. The key's accounts, the account
that the order names, and the account in its record are checked directly after each other, so they
share one reading. The account at the moment of sending is checked separately: with `--login` the
worker checks again in the very call that sends (`gateway.terminal.one_account`).

An order also needs its symbol and the latest price. A worker is asked for them in the exchange that
reads the account. The price should be as new as possible, so a price that had to wait for the
checks of the order is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trueup.gateway.terminal.call_wire import RAISED, Call
from trueup.gateway.terminal.terminal import AccountInfo, Terminal
from trueup.gateway.terminal.together import Made, make_calls, makes_together

# The checks of an order take less than a millisecond. They take longer if they write to the disk or
# wait for a processor; the price may be another one by then.
PRICE_OLDEST_NS = 20_000_000


class AccountLook:
    """Reads the terminal's account at the first access, and keeps the result.

    Args:
        terminal: the terminal.
        now_ns: nanoseconds, by the clock for ages.
        symbol: the symbol of an order that needs the latest price; empty for any other request.
    """

    def __init__(self, terminal: Terminal, now_ns: Callable[[], int], symbol: str = "") -> None:
        self._terminal, self._now_ns, self._symbol = terminal, now_ns, symbol
        self._found: AccountInfo | str | None = None
        # The symbol and its price if they were read with the account, and when that began.
        self._priced: list[Made] = []
        self._read_ns = 0

    def account(self) -> AccountInfo | str:
        """Return the account, or why it cannot be read; the first call may wait."""
        if self._found is None:
            account, error = self._with_price() if self._symbol else self._alone()
            self._found = account if account is not None else f"account_info failed: {error}"
        return self._found

    def login(self) -> int | None:
        """Return the account's login, or None if the account cannot be read."""
        account = self.account()
        return None if isinstance(account, str) else account.login

    def symbol_and_price(self, symbol: str) -> Iterator[Made]:
        """Yield a symbol and its latest price, each with `last_error()` after its call.

        What was read with the account is used once, and only while it is new.
        """
        priced, self._priced = self._priced, []
        is_new = self._now_ns() - self._read_ns <= PRICE_OLDEST_NS
        if priced and is_new and symbol == self._symbol:
            return iter(priced)
        return make_calls(self._terminal, _price_calls(symbol))

    def _alone(self) -> Made:
        return self._terminal.account_info(), self._terminal.last_error()

    def _with_price(self) -> Made:
        # A terminal of this process loses nothing by a call of its own for each, and the price is
        # then read after all checks.
        if not makes_together(self._terminal):
            return self._alone()
        self._read_ns = self._now_ns()
        try:
            account, *self._priced = make_calls(
                self._terminal, (Call("account_info"), *_price_calls(self._symbol))
            )
        except RAISED:
            # A name that the module cannot take is refused where the price is needed.
            return self._alone()
        return account


def _price_calls(symbol: str) -> tuple[Call, Call]:
    return Call("symbol_info", (symbol,)), Call("symbol_info_tick", (symbol,))
