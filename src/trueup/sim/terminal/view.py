"""The copy of an account that one terminal has, with the delays of the server's messages.

The server sends every change (position, order, deal, money) as a separate message. Each kind of
message has its own delay, and a terminal without a link receives no messages. So the view can lag
behind the ledger, be empty after a restart, or show an old state. The view never changes the
ledger.
"""

from __future__ import annotations

import random

import msgspec
from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker import holdings
from trueup.sim.broker.broker import Broker
from trueup.sim.broker.holdings import Figures, Holdings
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.market import Mark, Market
from trueup.sim.market.records import Channel, Deal, Order, Position
from trueup.sim.market.structs import TradeDeal, TradeOrder, TradePosition
from trueup.sim.market.switches import DealOrder, FiguresFrom, ListAnswer, Switches
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal import rows
from trueup.sim.terminal.terminal_faults import TerminalFaults


class Notice(msgspec.Struct, frozen=True):
    """One message of the server, which arrives at `due_msc` (UTC)."""

    due_msc: int
    channel: Channel
    key: int
    record: Position | Order | Deal | None
    money: tuple[float, float]
    """Balance and credit at the time of sending."""
    copies: int = 1


class View:
    """The state of an account in one terminal."""

    def __init__(
        self, broker: Broker, ledger: Ledger, faults: TerminalFaults, rng: random.Random
    ) -> None:
        self.broker = broker
        self.ledger = ledger
        self.switches: Switches = broker.switches
        self.faults = faults
        self.rng = rng
        self.market: Market = broker.market
        # Copies of the ledger's records; the true records are `ledger`.
        self.held: Holdings = Holdings()
        self.orders: dict[int, Order] = {}
        self.order_history: dict[int, Order] = {}
        self.deals: dict[int, Deal] = {}
        self._deal_copies: dict[int, int] = {}
        self._deals_of: dict[int, dict[int, None]] = {}
        self.balance: float = 0.0
        self.credit: float = 0.0
        self.connected: bool = True
        self.investor = False
        self._lost_msc = 0
        self._deaf_until_msc: int | None = None
        self.synchronises_msc: int | None = None
        """UTC time of the end of the synchronisation; None for a synchronised terminal."""
        self._waiting: list[Notice] = []
        self._rows: dict[int, tuple[Position, Mark, bool, TradePosition]] = {}
        self._order_rows: dict[int, tuple[Order, Mark, bool, TradeOrder]] = {}
        self._all_rows: tuple[tuple[object, ...], tuple[TradePosition, ...]] | None = None
        self._frozen_figures: Figures | None = None
        self._all_figures: tuple[tuple[object, ...], Figures] | None = None
        # Listen before the load, so that no change is lost.
        ledger.listeners.append(self._hear)
        self._load()

    def close(self) -> None:
        """Stop listening to the server."""
        self.ledger.listeners.remove(self._hear)

    # -- link and synchronisation --------------------------------------------------------------

    def disconnect(self) -> None:
        """Cut the link to the trade server: no more messages and prices arrive."""
        if not self.connected:
            return
        self.refresh()
        self.connected = False
        self._lost_msc = self.broker.clock.utc_msc()
        self.market = self.broker.market.frozen_copy()
        self._frozen_figures = self.ledger.figures()

    def reconnect(self) -> None:
        """Restore the link; the missed messages arrive after `Switches.resync_ms`."""
        if self.connected:
            return
        self.connected = True
        self.market = self.broker.market
        self._frozen_figures = None
        self._deaf_until_msc = self.broker.clock.utc_msc() + self.switches.resync_ms

    def restart(self) -> None:
        """Start without data and synchronise again."""
        answer = self.switches.unsynchronised_list
        if answer is not ListAnswer.CACHED:
            self._clear()
        if answer in (ListAnswer.PARTIAL, ListAnswer.CURRENT):
            self._load()
        if not self.switches.unsynchronised_account_known:
            self.balance = self.credit = 0.0
        else:
            self.balance, self.credit = self.ledger.balance, self.ledger.credit
        self.synchronises_msc = self.broker.clock.utc_msc() + self.switches.synchronise_ms
        self.refresh()

    @property
    def shows_connected(self) -> bool:
        """The value of `terminal_info().connected`."""
        if self.connected:
            return True
        lag = self.switches.connected_flag_lag_ms
        return self.broker.clock.utc_msc() < self._lost_msc + lag

    @property
    def is_synchronised(self) -> bool:
        """Whether the terminal has synchronised with the account since its start or login."""
        return self.synchronises_msc is None

    @property
    def catches_up(self) -> bool:
        """Whether the link is up and the terminal still lacks messages of the server."""
        return self.connected and not self._hears(self.broker.clock.utc_msc())

    def listed(self) -> tuple[TradePosition, ...]:
        """Return the positions that the terminal lists now, before the fault of a single call."""
        return self._shown()[0]

    def listed_orders(self) -> tuple[TradeOrder, ...]:
        """Return the pending orders that the terminal lists now, before the fault of a call."""
        everything, answer = self.order_rows(), self.answer()
        if answer in (ListAnswer.CURRENT, ListAnswer.CACHED, ListAnswer.NONE):
            return everything
        return everything[: len(everything) // 2] if answer is ListAnswer.PARTIAL else ()

    def refresh(self) -> None:
        """Apply the messages that have arrived by now."""
        # Nothing can have changed: the common case must be fast.
        if not self._waiting and self.synchronises_msc is None and self._deaf_until_msc is None:
            return
        now = self.broker.clock.utc_msc()
        if self.synchronises_msc is not None:
            if now < self.synchronises_msc or not self.connected:
                return
            # The synchronisation reads the whole account, so waiting messages are obsolete.
            self.synchronises_msc = None
            self._clear()
            self._load()
            return
        if not self._hears(now) or not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for notice in waiting:
            if notice.due_msc <= now:
                self._apply(notice.channel, notice.key, notice.record, notice.money, notice.copies)
            else:
                self._waiting.append(notice)

    def _hears(self, now: int) -> bool:
        if not self.connected or self.synchronises_msc is not None:
            return False
        if self._deaf_until_msc is not None:
            if now < self._deaf_until_msc:
                return False
            self._deaf_until_msc = None
        return True

    def _clear(self) -> None:
        self.held.clear()
        self.orders.clear()
        self.order_history.clear()
        self.deals.clear()
        self._deal_copies.clear()
        self._deals_of.clear()
        self._waiting.clear()
        self._rows.clear()
        self._order_rows.clear()

    def _load(self) -> None:
        for position in self.ledger.positions.values():
            self.held.put(position)
        self.orders.update(self.ledger.orders)
        self.order_history.update(self.ledger.order_history)
        for deal in self.ledger.deals.values():
            self._take_deal(deal.ticket, deal, 1)
        self.balance, self.credit = self.ledger.balance, self.ledger.credit

    # -- messages ------------------------------------------------------------------------------

    def _hear(self, channel: Channel, key: int, record: Position | Order | Deal | None) -> None:
        stands_ms = self.switches.filled_orders_listed_ms
        if stands_ms and isinstance(record, Order) and _is_filled_at_market(channel, record):
            # The order stays listed with volume 0, and moves to the history later.
            empty = replace(record, state=mt5.ORDER_STATE_PLACED, time_done_msc=0)
            self._tell(Channel.ORDER, key, empty)
            self._tell(Channel.ORDER, key, None, stands_ms)
            self._tell(channel, key, record, stands_ms)
        else:
            self._tell(channel, key, record)

    def _tell(
        self,
        channel: Channel,
        key: int,
        record: Position | Order | Deal | None,
        later_ms: int = 0,
    ) -> None:
        now = self.broker.clock.utc_msc()
        lag, copies = self._lag_ms(channel) + later_ms, 1
        if channel is Channel.DEAL:
            lag = self.faults.take_deal_lag_ms(lag)
            copies = 2 if self.faults.take_duplicate() else 1
        # A later message must not overtake: apply at once only if no message waits.
        money = (self.ledger.balance, self.ledger.credit)
        if not lag and not self._waiting and self._hears(now):
            self._apply(channel, key, record, money, copies)
        elif self.synchronises_msc is None:
            notice = Notice(now + lag, channel, key, record, money, copies)
            self._waiting.append(self._in_order(notice))

    def _in_order(self, notice: Notice) -> Notice:
        """Return the message with a due time that keeps the order within its kind.

        Messages of one kind do not overtake each other; messages of different deals can.
        """
        for earlier in reversed(self._waiting):
            is_other_deal = notice.channel is Channel.DEAL and earlier.key != notice.key
            if earlier.channel is notice.channel and not is_other_deal:
                due_msc = max(earlier.due_msc, notice.due_msc)
                return replace(notice, due_msc=due_msc)
        return notice

    def _lag_ms(self, channel: Channel) -> int:
        switches = self.switches
        if channel is Channel.POSITION:
            return switches.position_lag_ms
        if channel is Channel.DEAL:
            return switches.deal_lag_ms
        if channel is Channel.ACCOUNT:
            return switches.account_lag_ms
        if channel is Channel.ORDER:
            return switches.order_lag_ms
        return switches.order_history_lag_ms

    def _apply(
        self,
        channel: Channel,
        key: int,
        record: Position | Order | Deal | None,
        money: tuple[float, float],
        copies: int,
    ) -> None:
        # The type of a record tells its kind; a removal has no record, only the channel.
        if channel is Channel.ACCOUNT:
            self.balance, self.credit = money
        elif isinstance(record, Position):
            self.held.put(record)
        elif isinstance(record, Deal):
            self._take_deal(key, record, copies)
        elif isinstance(record, Order):
            known = self.orders if channel is Channel.ORDER else self.order_history
            known[key] = record
        elif channel is Channel.POSITION:
            self.held.drop(key)
            self._rows.pop(key, None)
        elif channel is Channel.ORDER:
            self.orders.pop(key, None)
            self._order_rows.pop(key, None)
        else:
            self._drop_deal(key)

    def _take_deal(self, ticket: int, deal: Deal, copies: int) -> None:
        self.deals[ticket] = deal
        self._deal_copies[ticket] = max(copies, self._deal_copies.get(ticket, 1))
        self._deals_of.setdefault(deal.position_id, {})[ticket] = None

    def _drop_deal(self, ticket: int) -> None:
        deal = self.deals.pop(ticket, None)
        if deal is not None:
            self._deals_of[deal.position_id].pop(ticket, None)

    # -- lists and totals ----------------------------------------------------------------------

    def answer(self) -> ListAnswer:
        """Return the kind of answer to list calls in the current state of the terminal."""
        if self.synchronises_msc is not None:
            return self.switches.unsynchronised_list
        if not self.connected:
            return self.switches.disconnected_list
        if self.investor or not self.ledger.setup.trade_allowed:
            return self.switches.investor_list
        return ListAnswer.CURRENT

    def position_rows(self) -> tuple[TradePosition, ...]:
        """Return all known positions; the same tuple object until a change."""
        dust = self.switches.volume_dust
        state = (self.held.revision, self.market, self.market.revision, dust)
        if self._all_rows is None or self._all_rows[0] != state:
            self._all_rows = (state, tuple(self._fresh_rows(dust)))
        return self._all_rows[1]

    def _fresh_rows(self, dust: bool) -> list[TradePosition]:
        marks: dict[str, Mark] = {}
        cache, found = self._rows, []
        for identifier, position in self.held.positions.items():
            mark = marks.get(position.symbol)
            if mark is None:
                mark = marks[position.symbol] = self._mark(position.symbol)
            cached = cache.get(identifier)
            # A row stays valid until its position, its price or `dust` changes.
            if (
                cached is None
                or cached[0] is not position
                or cached[1] is not mark
                or cached[2] is not dust
            ):
                row = rows.position_row(position, mark, dust=dust)
                cached = cache[identifier] = (position, mark, dust, row)
            found.append(cached[3])
        return found

    def _mark(self, symbol: str) -> Mark:
        account = self.ledger.setup
        return self.market.mark(symbol, account.currency, account.currency_digits)

    def order_rows(self) -> tuple[TradeOrder, ...]:
        """Return all known working orders."""
        # Rows are cached as for positions: a list call must not rebuild unchanged rows.
        dust, cache = self.switches.volume_dust, self._order_rows
        found = []
        for ticket, order in self.orders.items():
            mark = self._mark(order.symbol)
            cached = cache.get(ticket)
            if (
                cached is None
                or cached[0] is not order
                or cached[1] is not mark
                or cached[2] is not dust
            ):
                row = rows.order_row(order, mark, dust=dust)
                cached = cache[ticket] = (order, mark, dust, row)
            found.append(cached[3])
        return tuple(found)

    def history_order_rows(self) -> list[TradeOrder]:
        """Return all known finished orders."""
        dust = self.switches.volume_dust
        return [
            rows.order_row(order, self._mark(order.symbol), dust=dust)
            for order in self.order_history.values()
            if order.time_done_msc >= self.switches.history_begins_msc
        ]

    def deal_rows(self, position_id: int | None = None) -> list[TradeDeal]:
        """Return all known deals, or the deals of one position, in `Switches.deal_order`."""
        tickets = self.deals if position_id is None else self._deals_of.get(position_id, {})
        shown = sorted(tickets)
        if self.switches.deal_order is DealOrder.REVERSED:
            shown.reverse()
        elif self.switches.deal_order is DealOrder.SHUFFLED:
            self.rng.shuffle(shown)
        begin_msc = self.switches.history_begins_msc
        return [
            self._deal_row(self.deals[ticket])
            for ticket in shown
            if self.deals[ticket].time_msc >= begin_msc
            for _ in range(self._deal_copies[ticket])
        ]

    def _deal_row(self, deal: Deal) -> TradeDeal:
        # What is no trade has no symbol.
        step = self.market.setup_of(deal.symbol).volume_step if deal.symbol else 0.0
        return rows.deal_row(deal, step, dust=self.switches.volume_dust)

    def figures(self) -> Figures:
        """Return the account's totals, from the shown list or from the server.

        Returns the same object until a change.
        """
        account = self.ledger.setup
        if self.switches.account_figures is FiguresFrom.SERVER:
            return self._frozen_figures or self.ledger.figures()
        state = (
            self.held.revision, self.market, self.market.revision, self.balance, self.credit,
            account, self.answer(), self.ledger.blocked,
        )  # fmt: skip
        if self._all_figures is None or self._all_figures[0] != state:
            self._all_figures = (state, self._fresh_figures(account))
        return self._all_figures[1]

    def _fresh_figures(self, account: AccountSetup) -> Figures:
        shown, held = self._shown()
        floating = sum((row.profit + row.swap for row in shown), 0.0)
        profit = round(floating, account.currency_digits)
        margin = holdings.margin(held, self.market, account)
        digits, blocked = account.currency_digits, self.ledger.blocked
        return Figures.of(self.balance, self.credit, profit, margin, digits, blocked)

    def _shown(self) -> tuple[tuple[TradePosition, ...], Holdings]:
        everything = self.position_rows()
        answer = self.answer()
        if answer in (ListAnswer.CURRENT, ListAnswer.CACHED, ListAnswer.NONE):
            return everything, self.held
        some = everything[: len(everything) // 2] if answer is ListAnswer.PARTIAL else ()
        held = Holdings()
        for row in some:
            held.put(self.held.positions[row.identifier])
        return some, held


def _is_filled_at_market(channel: Channel, order: Order) -> bool:
    is_filled = channel is Channel.ORDER_HISTORY and order.state == mt5.ORDER_STATE_FILLED
    return is_filled and not order.is_pending
