"""Read the deals of a terminal page by page.

`history_deals_get` returns all deals of a time span at once, and blocks meanwhile. So a page is
built from several short spans, starting where the page before ended: a week each where there are
deals, longer where there are none. An order that arrives meanwhile waits only for these few calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trueup.gateway.reading.rows import deal_of
from trueup.gateway.reading.snapshots import OFFSET_LIMIT_SEC, CannotRead
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.terminal import Terminal, TerminalInfo, TradeDeal
from trueup.protocol.history import PAGE_DEALS, HistoryReply, HistoryRequest

WEEK_SEC = 7 * 86_400
SPANS_A_PAGE = 4
# MetaTrader5 takes dates as signed 32-bit seconds, and 0 as "no date" (MT5 facts).
FIRST_SEC, LAST_SEC = 1, 2**31 - 1


class HistoryPages:
    """Returns the pages of one terminal's deals.

    Args:
        terminal: the terminal to read.
        now_ns: nanoseconds of UTC since 1970.
        note_link: called with each state of the terminal; see `Snapshots.note_link`.
    """

    def __init__(
        self,
        terminal: Terminal,
        now_ns: Callable[[], int],
        note_link: Callable[[TerminalInfo], None] = lambda _: None,
    ) -> None:
        self._terminal, self._now_ns, self._note_link = terminal, now_ns, note_link

    def make(self, request: HistoryRequest) -> HistoryReply:
        """Return the requested page.

        Raises:
            CannotRead: a call failed; the message has its name and `last_error()`.
        """
        login, server = self._account()
        deals, following = self._page(request)
        if self._account() != (login, server):
            raise CannotRead("the account changed while its history was read")
        return HistoryReply(request.id, login, server, tuple(map(deal_of, deals)), following)

    def _account(self) -> tuple[int, str]:
        terminal = self._terminal.terminal_info()
        if terminal is None:
            raise CannotRead(f"terminal_info failed: {self._terminal.last_error()}")
        self._note_link(terminal)
        account = self._terminal.account_info()
        if account is None:
            raise CannotRead(f"account_info failed: {self._terminal.last_error()}")
        if not terminal.connected:
            raise CannotRead("the terminal has no connection to its trade server")
        return account.login, account.server

    def _page(self, request: HistoryRequest) -> tuple[list[TradeDeal], str]:
        """Return the deals of a page, and the cursor of the next page (empty after the last)."""
        cursor = _cursor(request.after)
        begin_sec = max(FIRST_SEC, max(request.since_msc, cursor[0]) // 1000)
        end_sec = self._end_sec(request)
        page: list[TradeDeal] = []
        is_gap = not cursor[1]
        for _ in range(SPANS_A_PAGE):
            if begin_sec >= end_sec:
                # The span is read to its end: an empty cursor ends the client's loop.
                break
            # A gap may last decades: a quarter of the rest per call crosses it in a dozen calls.
            span_sec = max(WEEK_SEC, (end_sec - begin_sec) // 4) if is_gap else WEEK_SEC
            until_sec = min(begin_sec + span_sec, end_sec)
            found = _wanted(self._rows(begin_sec, until_sec), request, cursor, until_sec)
            page += sorted(found, key=_key)
            # Cut at the page size; the cursor names the last deal, so the next page starts behind.
            if len(page) > PAGE_DEALS:
                last = page[PAGE_DEALS - 1]
                return page[:PAGE_DEALS], f"{last.time_msc}:{last.ticket}"
            begin_sec, is_gap = until_sec, not page
        return page, "" if begin_sec >= end_sec else f"{begin_sec * 1000}:0"

    def _end_sec(self, request: HistoryRequest) -> int:
        """Return the end of the span (exclusive), late enough for any trade server's clock."""
        end_sec = self._now_ns() // 1_000_000_000 + OFFSET_LIMIT_SEC
        if request.until_msc:
            end_sec = min(end_sec, -(-request.until_msc // 1000))
        return min(end_sec, LAST_SEC)

    def _rows(self, begin_sec: int, until_sec: int) -> Iterable[TradeDeal]:
        rows = self._terminal.history_deals_get(begin_sec, until_sec)
        if rows is not None:
            return rows
        code, text = self._terminal.last_error()
        if code == mt5.RES_E_NOT_FOUND:
            # No history in this span. MetaTrader5 returns () for that only when asked by ticket.
            return ()
        raise CannotRead(f"history_deals_get failed: {(code, text)}")


def _wanted(
    rows: Iterable[TradeDeal], request: HistoryRequest, cursor: tuple[int, int], until_sec: int
) -> Iterable[TradeDeal]:
    """Yield the position deals inside the span and after the cursor."""
    until_msc = until_sec * 1000
    if request.until_msc:
        until_msc = min(until_msc, request.until_msc)
    for row in rows:
        is_in = request.since_msc <= row.time_msc < until_msc and _key(row) > cursor
        # Balance operations belong to no position.
        if is_in and row.position_id and (not request.symbols or row.symbol in request.symbols):
            yield row


def _key(row: TradeDeal) -> tuple[int, int]:
    return row.time_msc, row.ticket


def _cursor(after: str) -> tuple[int, int]:
    time_msc, _, ticket = after.partition(":")
    return (int(time_msc), int(ticket)) if after else (0, 0)
