"""The simulated trade server: one clock, one market, and the ledgers of several accounts.

The server is deterministic: time and prices are injected, and nothing happens between two calls.
After a change of the time, call `settle` (every call of a terminal calls `settle` first). Then the
due events happen in order, and each event carries its own due time.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker import market_orders, requests, service, triggers
from trueup.sim.broker.desk import Counters, Desk
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.clock import ServerClock, day_of
from trueup.sim.market.market import Market, steps_of
from trueup.sim.market.records import LOCAL_RETCODES, Deal, Outcome, Refusal
from trueup.sim.market.structs import TradeRequest
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import AccountSetup, SymbolSetup

_SECOND_MSC = 1_000


class Broker:
    """The trade server. Volumes are lots, times UTC milliseconds, money the account's currency."""

    def __init__(
        self,
        *,
        accounts: Sequence[AccountSetup],
        symbols: Iterable[SymbolSetup],
        now_msc: Callable[[], int],
        switches: Switches | None = None,
        first_order: int = 100_001,
        first_deal: int = 900_001,
    ) -> None:
        self.switches: Switches = switches if switches is not None else Switches()
        self.clock: ServerClock = ServerClock(now_msc, self.switches)
        self.market: Market = Market(symbols)
        self.desks: dict[int, Desk] = {}
        self._counters = Counters(first_order, first_deal)
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._scheduled = 0
        self._requests_msc: deque[int] = deque()
        self._day = day_of(self.clock.server_msc())
        self._settled_msc = 0
        # Last: an opening deposit is a deal and needs the clock and the counters.
        for account in accounts:
            self._open_account(account)

    def _open_account(self, account: AccountSetup) -> None:
        ledger = Ledger(account, self.market)
        desk = Desk(ledger, self.market, self.clock, self.switches, self._counters)
        self.desks[account.login] = desk
        if account.balance:
            service.balance_operation(
                desk, mt5.DEAL_TYPE_BALANCE, account.balance, "Initial deposit"
            )
        if account.credit:
            service.balance_operation(desk, mt5.DEAL_TYPE_CREDIT, account.credit)

    def ledger(self, login: int) -> Ledger:
        """Return the ledger of one account."""
        return self.desks[login].ledger

    def change_account(self, login: int, **changes: Any) -> None:
        """Change an account's conditions: trade_allowed, limit_orders, fifo_close, ..."""
        ledger = self.desks[login].ledger
        ledger.setup = dataclasses.replace(ledger.setup, **changes)

    # -- time and prices -----------------------------------------------------------------------

    def settle(self) -> None:
        """Run all events that are due now.

        Whatever books a deal calls this first, so that the tickets of deals have the order of their
        times, as at a trade server. An event itself settles nothing: it runs at its own time.
        """
        if self.clock.pinned_msc is not None:
            return
        now = self.clock.utc_msc()
        # Many calls share one millisecond; only the first of them can find a due event.
        if now == self._settled_msc and (not self._due or self._due[0][0] > now):
            return
        self._settled_msc = now
        while self._due and self._due[0][0] <= now:
            due_msc, _, event = heapq.heappop(self._due)
            # Records of the event must carry the time when the event was due, not the time now.
            self.clock.pinned_msc = due_msc
            try:
                event()
            finally:
                self.clock.pinned_msc = None
        for desk in self.desks.values():
            if desk.ledger.orders:
                triggers.pass_time(desk)
        if self.switches.automatic_day_change:
            self._change_days()

    def _change_days(self) -> None:
        today = day_of(self.clock.server_msc())
        while self._day < today:
            self._day += 1
            self._end_of_day(self._day)

    def change_day(self) -> None:
        """End the server's day now: book swaps, re-openings and the daily commission."""
        self.settle()
        self._end_of_day(day_of(self.clock.server_msc()) + 1)

    def _end_of_day(self, day: int) -> None:
        for desk in self.desks.values():
            service.change_day(desk, day)

    def later(self, delay_ms: int, event: Callable[[], object]) -> None:
        """Schedule an event after a delay; events with the same due time keep their order."""
        self._scheduled += 1
        heapq.heappush(self._due, (self.clock.utc_msc() + delay_ms, self._scheduled, event))

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Set a new price and run the orders and stops that it triggers in every account."""
        self.settle()
        self.market.set_quote(symbol, bid, ask, self.clock.server_msc())
        for desk in self.desks.values():
            triggers.on_quote(desk, symbol)

    def supply(self, symbol: str, lots: float | None) -> None:
        """Limit the tradable volume to `lots` until the next call (None: no limit).

        Waiting orders are filled from the new volume at once.
        """
        self.settle()
        self.market.set_liquidity(symbol, lots)
        for desk in self.desks.values():
            triggers.run_orders(desk, symbol)

    # -- requests ------------------------------------------------------------------------------

    def execute(
        self, login: int, request: TradeRequest, reason: int, *, lots_max: float | None = None
    ) -> Outcome:
        """Execute a request of an account; `lots_max` is the volume that the market offers."""
        liquidity = None
        if lots_max is not None:
            liquidity = steps_of(lots_max, self.market.setups[request.symbol].volume_step)
        return self._answer(
            request,
            lambda: requests.execute(self.desks[login], request, reason, liquidity),
            reason,
        )

    def execute_later(self, login: int, request: TradeRequest, reason: int, delay_ms: int) -> None:
        """Execute a request after a delay, independent of the answer that the sender received."""
        self.later(delay_ms, lambda: self._execute_silently(login, request, reason))

    def _execute_silently(self, login: int, request: TradeRequest, reason: int) -> None:
        self.execute(login, request, reason)

    def hold(
        self, login: int, request: TradeRequest, reason: int, delay_ms: int, *, fill: bool
    ) -> Outcome:
        """Accept a market order (10008) and fill or cancel it after a delay."""
        desk = self.desks[login]
        outcome = self._answer(request, lambda: market_orders.hold(desk, request, reason), reason)
        if outcome.order:
            ticket = outcome.order
            self.later(delay_ms, lambda: market_orders.release(desk, ticket, fill=fill))
        return outcome

    def check(self, login: int, request: TradeRequest, reason: int) -> tuple[Outcome, float]:
        """Check a request; return the outcome (retcode 0 is success) and the added margin."""
        try:
            needed, _ = requests.check(self.desks[login], request, reason)
        except Refusal as refusal:
            return Outcome(refusal.retcode, comment=refusal.comment, local=True), 0.0
        return Outcome(0, comment="Done"), needed

    def _answer(
        self, request: TradeRequest, execute: Callable[[], Outcome], reason: int
    ) -> Outcome:
        try:
            if reason == mt5.ORDER_REASON_EXPERT:
                self._limit_rate()
            return execute()
        except Refusal as refusal:
            return self.refused(request.symbol, refusal)

    def refused(self, symbol: str, refusal: Refusal) -> Outcome:
        """Return the answer to a refused request; the server adds the current prices."""
        if refusal.retcode in LOCAL_RETCODES or symbol not in self.market.quotes:
            local = refusal.retcode in LOCAL_RETCODES
            return Outcome(refusal.retcode, comment=refusal.comment, local=local)
        quote = self.market.quotes[symbol]
        return Outcome(refusal.retcode, bid=quote.bid, ask=quote.ask, comment=refusal.comment)

    def _limit_rate(self) -> None:
        most = self.switches.requests_per_second_max
        if not most:
            return
        now = self.clock.utc_msc()
        while self._requests_msc and self._requests_msc[0] <= now - _SECOND_MSC:
            self._requests_msc.popleft()
        if len(self._requests_msc) >= most:
            raise Refusal(mt5.TRADE_RETCODE_TOO_MANY_REQUESTS)
        self._requests_msc.append(now)

    # -- back office ---------------------------------------------------------------------------

    def balance_operation(self, login: int, kind: int, amount: float, comment: str = "") -> Deal:
        """Book a deal that is no trade (`DEAL_TYPE_BALANCE` and above); negative withdraws."""
        self.settle()
        return service.balance_operation(self.desks[login], kind, amount, comment)

    def cancel_deal(self, login: int, ticket: int, correction_after_ms: int | None = None) -> Deal:
        """Cancel a deal: its type becomes 13 or 14 and its profit becomes zero.

        The balance changes at once, or after `correction_after_ms` by a separate balance operation
        (MQL5 reference, DEAL_TYPE_BUY_CANCELED). The position does not change: to remove or restore
        the position, use `Ledger`.
        """
        self.settle()
        desk = self.desks[login]
        profit, is_balanced = desk.ledger.deals[ticket].profit, correction_after_ms is None
        cancelled = service.cancel_deal(desk, ticket, is_balanced=is_balanced)
        # A deal without profit leaves nothing to correct.
        if correction_after_ms is not None and profit:
            kind, text = mt5.DEAL_TYPE_BALANCE, f"cancelled deal {ticket}"
            self.later(
                correction_after_ms, lambda: self.balance_operation(login, kind, -profit, text)
            )
            self.settle()
        return cancelled

    def amend_deal(self, login: int, ticket: int, **changes: float) -> Deal:
        """Change price, profit, swap, commission or fee of an existing deal."""
        return service.amend_deal(self.desks[login], ticket, **changes)

    def charge_commission(self, login: int, ticket: int, amount: float) -> Deal:
        """Charge a commission on an existing deal; `amount` is negative for a cost."""
        before = self.desks[login].ledger.deals[ticket].commission
        digits = self.desks[login].setup.currency_digits
        return self.amend_deal(login, ticket, commission=round(before + amount, digits))

    def delete_deal(self, login: int, ticket: int) -> None:
        """Delete a deal from the history."""
        self.desks[login].ledger.delete_deal(ticket)

    def rewrite_comment(self, login: int, identifier: int, comment: str) -> None:
        """Change the comment of an open position, as some brokers do after the fill."""
        ledger = self.desks[login].ledger
        ledger.put_position(replace(ledger.positions[identifier], comment=comment))

    def reopen(self, login: int, identifier: int, price: float, reason: int) -> None:
        """Close a position and open it again at `price` (reasons ROLLOVER, VMARGIN, SPLIT)."""
        self.settle()
        desk = self.desks[login]
        position = desk.ledger.positions[identifier]
        service.reopen(desk, position, price_out=price, price_in=price, reason=reason)

    def roll(
        self, login: int, identifier: int, symbol: str, *, price_out: float, price_in: float
    ) -> None:
        """Close a position of an expiring contract and open the same position in `symbol`."""
        self.settle()
        desk = self.desks[login]
        position = desk.ledger.positions[identifier]
        service.roll(desk, position, symbol, price_out=price_out, price_in=price_in)

    def split(
        self,
        symbol: str,
        numerator: int,
        denominator: int = 1,
        reason: int = mt5.DEAL_REASON_SPLIT,
    ) -> None:
        """Split a symbol in every account: volumes up, prices down by the ratio.

        `reason` is the reason of the deals: SPLIT or CORPORATE_ACTION.
        """
        self.settle()
        for desk in self.desks.values():
            service.split(desk, symbol, numerator, denominator, reason)

    def rename_symbol(self, symbol: str, name: str) -> None:
        """Give a symbol another name, and so to all records of it, the history included."""
        self.market.rename(symbol, name)
        for desk in self.desks.values():
            desk.ledger.rename_symbol(symbol, name)

    def settle_variation_margin(self, symbol: str, price: float) -> None:
        """Settle the variation margin of all positions of a symbol at a price."""
        self.settle()
        for desk in self.desks.values():
            service.settle_variation_margin(desk, symbol, price)
