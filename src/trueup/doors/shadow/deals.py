"""Read an account's deals as they come into its history, each deal once.

Every look reads the last hour before the look before; every few minutes the whole time of the
watch, up to a week, is read: a deal that comes late has an earlier time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from trueup.core.book import events
from trueup.core.model import Deal
from trueup.gateway.reading.rows import deal_of, text_of
from trueup.gateway.terminal import mt5_constants as mt5

BACK_SEC = 3_600
FAR_BACK_SEC = 7 * 86_400
FAR_EVERY = 60
# Later than the clock of any trade server.
AHEAD_SEC = 2 * 86_400
# A look an hour back is one call.
PART_SEC = 3 * 86_400
SECOND_NS = 1_000_000_000
# The official module takes no later date.
LAST_SEC = 2**31 - 1

CASH_WORDS = {
    mt5.DEAL_TYPE_BALANCE: "balance",
    mt5.DEAL_TYPE_CREDIT: "credit",
    mt5.DEAL_TYPE_CHARGE: "charge",
    mt5.DEAL_TYPE_CORRECTION: "correction",
    mt5.DEAL_TYPE_BONUS: "bonus",
    mt5.DEAL_TYPE_COMMISSION: "commission",
    mt5.DEAL_TYPE_COMMISSION_DAILY: "daily commission",
    mt5.DEAL_TYPE_COMMISSION_MONTHLY: "monthly commission",
    mt5.DEAL_TYPE_INTEREST: "interest",
}


class News:
    """The deals of a look that no look had seen before; `trouble` says why there are none."""

    def __init__(self, trouble: str = "") -> None:
        self.deals: list[Deal] = []
        self.cash: list[events.CashDeal] = []
        self.trouble: str = trouble


class Before(NamedTuple):
    """The deals from before the watch: from when on deals count, and which are there already.

    `server_msc` is the trade server's clock then, 0 if not known.
    """

    server_msc: int
    begin_msc: int
    tickets: tuple[int, ...]


NOTHING_BEFORE = Before(0, 0, ())


class AccountDeals:
    """The deals of the account behind a gateway, as far as a watch has seen them.

    Args:
        terminal: the terminal's reading functions, through the gateway.
    """

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal
        self._known: set[int] = set()
        self._looks = 0
        self._symbol = ""
        self._begin_msc = self._newest_msc = 0

    def remember(self, event: events.BrokerSeen) -> None:
        """Take over what a look saw, by the journal."""
        self._begin_msc = event.begin_msc or self._begin_msc
        self._known.update(event.known)
        self._known.update(deal.ticket for deal in event.deals)
        self._known.update(cash.ticket for cash in event.cash)
        times = (event.server_msc, event.begin_msc, *(deal.time_msc for deal in event.deals))
        self._newest_msc = max(self._newest_msc, *times)

    def server_msc(self) -> int:
        """Return the time of the newest quotation of the symbol that was traded last, or 0."""
        tick = self._terminal.symbol_info_tick(self._symbol) if self._symbol else None
        return 0 if tick is None else int(tick.time_msc)

    @property
    def has_begun(self) -> bool:
        """Whether it is known which deals were there before the watch."""
        return bool(self._begin_msc)

    def before(self, server_msc: int, now_ns: int) -> Before | str:
        """Return the deals from before the watch, or why they cannot be read.

        Args:
            server_msc: the trade server's clock, 0 if not known.
            now_ns: the date (ns of UTC).
        """
        now_sec, base_sec = now_ns // SECOND_NS, server_msc // 1_000
        since_sec = base_sec - BACK_SEC if base_sec else now_sec - AHEAD_SEC
        rows = self._rows(max(1, since_sec), base_sec, now_sec)
        if not rows and not base_sec:
            # A quiet account, or a market whose clock is in the past: its newest deal tells.
            rows = self._rows(1, 0, now_sec)
        if isinstance(rows, str):
            return rows
        newest_msc = max((row.time_msc for row in rows), default=0)
        begin_msc = max(1, (server_msc or newest_msc) - BACK_SEC * 1_000)
        tickets = tuple(row.ticket for row in rows if row.time_msc >= begin_msc)
        return Before(server_msc, begin_msc, tickets)

    def news(self, covered_msc: int, server_msc: int, now_ns: int) -> News:
        """Return the deals that are new; they are new until `remember` takes them.

        Args:
            covered_msc: the trade server's clock at the look before, 0 if not known.
            server_msc: that clock now, 0 if not known.
            now_ns: the date (ns of UTC).
        """
        base_sec = (covered_msc or self._newest_msc) // 1_000
        is_far = self._looks % FAR_EVERY == 0
        self._looks += 1
        back_sec = FAR_BACK_SEC if is_far else BACK_SEC
        # What was there before the watch is no news, however it came into the history.
        since_sec = max(1, self._begin_msc // 1_000, base_sec - back_sec)
        rows = self._rows(since_sec, max(base_sec, server_msc // 1_000), now_ns // SECOND_NS)
        if isinstance(rows, str):
            return News(rows)
        found = News()
        for row in rows:
            if row.ticket in self._known or row.time_msc < self._begin_msc:
                continue
            deal = deal_of(row)
            if deal.position:
                found.deals.append(deal)
            else:
                what = CASH_WORDS.get(row.type, f"type {row.type}")
                money = row.profit + row.swap + row.commission + row.fee
                found.cash.append(
                    events.CashDeal(row.ticket, what, money, row.time_msc, text_of(row.comment))
                )
        return found

    def _rows(self, since_sec: int, server_sec: int, now_sec: int) -> list[Any] | str:
        """Return the rows since a time of the server's clock, or why they cannot be read.

        A gateway has a limit of rows for an answer, so a long time is read in parts. `server_sec`
        is the server's clock, 0 if not known: that may be years from `now_sec`, UTC.
        """
        found: dict[int, Any] = {}
        parts = max(1, -(-(server_sec - since_sec) // PART_SEC)) if since_sec > 1 else 1
        until_sec = max(now_sec, server_sec) + AHEAD_SEC
        for number in range(parts):
            begin_sec = since_sec + number * PART_SEC
            end_sec = until_sec if number == parts - 1 else begin_sec + PART_SEC
            rows = self._terminal.history_deals_get(begin_sec, min(end_sec, LAST_SEC))
            if rows is None:
                code, text = self._terminal.last_error()
                # MetaTrader 5 has an error for a span without history.
                if code != mt5.RES_E_NOT_FOUND:
                    return str(text)
                continue
            found |= {row.ticket: row for row in rows}
        for row in found.values():
            self._symbol = row.symbol or self._symbol
        return list(found.values())
