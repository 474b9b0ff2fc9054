"""Read an account's figures and deals together, through the gateway."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from trueup.core.limits.figures import Ledger, Money, MoneyDeal
from trueup.core.model import Account
from trueup.errors import Refused, TrueupError
from trueup.gateway.terminal import mt5_constants as mt5

# Figures and deals belong together only if no deal came between; a busy account is read again.
TRIES = 3
DAY_SEC = 86_400
# A gateway returns 20,000 rows at most, so a long absence is read week by week, and in longer spans
# where there are few deals.
SPAN_SEC = 7 * DAY_SEC
FEW_ROWS, LONGER = 1_000, 4
# A market that replays prices of the past has a clock of its own, further from UTC than a market
# that was closed for some days.
REPLAYED_SEC = 30 * DAY_SEC
# Later than the clock of any trade server.
AHEAD_SEC = 2 * DAY_SEC
SECOND_NS = 1_000_000_000


class Read(NamedTuple):
    """The figures, and the deals up to them; `name` is login@server."""

    name: str
    money: Money
    ledger: Ledger


def money_of(account: Account) -> Money:
    """Return the figures of a reading's account, or of a row of `account_info`."""
    return Money(
        account.balance, account.equity, account.credit, account.currency, account.currency_digits
    )


class Asked(NamedTuple):
    """Which deals to read.

    `since_ns` is their begin and `now_ns` the date (ns of UTC). `cursor_msc` is a time of the trade
    server's clock from which on deals are needed in any case, 0 for none. `server_time_msc` is that
    clock, 0 if not known.
    """

    since_ns: int
    now_ns: int
    cursor_msc: int = 0
    server_time_msc: int = 0

    @property
    def replayed_sec(self) -> int | None:
        """The server's clock less UTC if the market replays the past, else None."""
        apart_sec = self.server_time_msc // 1000 - self.now_ns // SECOND_NS
        is_replayed = self.server_time_msc and abs(apart_sec) > REPLAYED_SEC
        return apart_sec if is_replayed else None


class MoneyReader:
    """Reads the figures and the deals of the account behind a gateway.

    The gateway must serve the terminal's reading functions (CALL), as a `trueup gateway` and a
    terminal of this machine do.
    """

    def __init__(self) -> None:
        self._gateway: Any = None
        self._terminal: Any = None

    def read(self, gateway: Any, asked: Asked) -> Read | str:
        """Return figures and deals since a time, or a sentence why they cannot be read.

        Args:
            gateway: the gateway of the order desk.
            asked: which deals to read.
        """
        try:
            terminal = self._terminal_of(gateway)
            if terminal is None:
                return "the gateway serves no account figures (it takes a `trueup gateway`)"
            offset_sec = getattr(gateway, "time_offset_sec", None)
            if not isinstance(offset_sec, int):
                offset_sec = asked.replayed_sec
            return _read(terminal, asked, offset_sec)
        except TrueupError as error:
            return str(error).rstrip(".")

    def digits(self, gateway: Any, symbol: str) -> int | None:
        """Return the decimals of a symbol's price, or None if they cannot be read."""
        try:
            terminal = self._terminal_of(gateway)
            spec = None if terminal is None else terminal.symbol_info(symbol)
        except TrueupError:
            return None
        return None if spec is None else int(spec.digits)

    def close(self) -> None:
        """Close the connection; the next reading opens it again."""
        terminal, self._terminal, self._gateway = self._terminal, None, None
        if terminal is not None:
            terminal.shutdown()

    def _terminal_of(self, gateway: Any) -> Any:
        if gateway is not self._gateway:
            self.close()
            # Imported here: a book without limits on money does not pay for it.
            from trueup.gateway.client.remote_terminal import RemoteTerminal

            make = getattr(gateway, "terminal", None)
            terminal = make() if callable(make) else None
            # Any object may stand for a gateway in a user's tests, and answers any call.
            self._terminal = terminal if isinstance(terminal, RemoteTerminal) else None
            self._gateway = gateway
        return self._terminal


def _read(terminal: Any, asked: Asked, offset_sec: int | None) -> Read | str:
    # Without the server's offset, a day more on each side covers every trade server's clock.
    spare_sec = DAY_SEC if offset_sec is None else -offset_sec
    since_sec = max(1, asked.since_ns // SECOND_NS - spare_sec)
    if asked.cursor_msc:
        since_sec = min(since_sec, max(1, asked.cursor_msc // 1000))
    until_sec = asked.now_ns // SECOND_NS + max(0, offset_sec or 0) + AHEAD_SEC
    before = _account(terminal)
    for _ in range(TRIES):
        deals = _deals(terminal, since_sec, until_sec)
        if not deals and not asked.cursor_msc:
            # A quiet account, or a market whose clock is not known yet: its newest deal is where
            # the deals that count begin.
            deals = _deals(terminal, 1, until_sec)
        after = _account(terminal)
        if _kept(before) == _kept(after):
            name, money = f"{after.login}@{after.server}", money_of(after)
            if not all(map(math.isfinite, (money.balance, money.equity, money.credit))):
                return "the account's figures are no numbers"
            return Read(name, money, Ledger(deals, since_sec * 1000, offset_sec))
        before = after
    return "the account or its balance changed while its deals were read"


def _kept(account: Any) -> tuple[Any, ...]:
    """Return what must be the same before and after the deals are read.

    Two accounts may have the same balance, as new demo accounts do.
    """
    return account.login, account.server, account.balance, account.credit


def _account(terminal: Any) -> Any:
    account = terminal.account_info()
    if account is None:
        raise Refused(f"account_info failed: {terminal.last_error()}")
    return account


def _deals(terminal: Any, since_sec: int, until_sec: int) -> tuple[MoneyDeal, ...]:
    found: dict[int, MoneyDeal] = {}
    begin_sec, span_sec = since_sec, SPAN_SEC
    while begin_sec < until_sec:
        end_sec = min(begin_sec + span_sec, until_sec)
        rows = _rows(terminal, begin_sec, end_sec)
        for row in rows:
            # By ticket, because a deal at the end of a span is in the next one, too.
            money = row.profit + row.swap + row.commission + row.fee
            found[row.ticket] = MoneyDeal(row.ticket, row.time_msc, row.type, money)
        begin_sec, span_sec = end_sec, span_sec * LONGER if len(rows) < FEW_ROWS else SPAN_SEC
    return tuple(found.values())


def _rows(terminal: Any, since_sec: int, until_sec: int) -> Any:
    rows = terminal.history_deals_get(since_sec, until_sec)
    if rows is not None:
        return rows
    code, text = terminal.last_error()
    # MetaTrader5 has an error for a span without history.
    if code == mt5.RES_E_NOT_FOUND:
        return ()
    raise Refused(f"history_deals_get failed: {(code, text)}")
