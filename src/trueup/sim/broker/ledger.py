"""The server's records of one account: positions, orders, deals and money.

The ledger is the true state, independent of the view that a terminal shows; test oracles read the
ledger. Only the server's engine changes the ledger: faults of a terminal never reach the ledger.
The ledger reports every change in order to its listeners, the terminals that are logged in.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker import holdings
from trueup.sim.broker.holdings import Figures, Holdings
from trueup.sim.market.market import Market
from trueup.sim.market.records import Channel, Deal, Order, Position
from trueup.sim.market.symbols import AccountSetup

Listener = Callable[[Channel, int, Position | Order | Deal | None], None]
"""Receives the kind of change, the record's key, and the new record (None: removed)."""


class Ledger:
    """The records of one account at the trade server."""

    def __init__(self, setup: AccountSetup, market: Market) -> None:
        self.setup = setup
        self.market = market
        self.held: Holdings = Holdings()
        # Dictionaries keep the order of insertion, so each list has its oldest record first.
        self.orders: dict[int, Order] = {}
        """Working orders by ticket."""
        self.order_history: dict[int, Order] = {}
        """Finished orders by ticket."""
        self.deals: dict[int, Deal] = {}
        """Every deal by ticket, balance operations included, oldest first."""
        self.balance: float = 0.0
        self.credit: float = 0.0
        self.commission_blocked: float = 0.0
        """Daily commission taken at the next day change."""
        self.gains_today: float = 0.0
        """Sum of the profits of this server day, without the losses."""
        self.tickets_ever: set[int] = set()
        """All tickets that positions have had."""
        self.listeners: list[Listener] = []

    @property
    def positions(self) -> dict[int, Position]:
        """Open positions by identifier, oldest first."""
        return self.held.positions

    def position_by_ticket(self, ticket: int) -> Position | None:
        """Return the open position with this current ticket."""
        return self.held.by_ticket(ticket)

    def deals_of(self, identifier: int) -> list[Deal]:
        """Return the deals of a position, oldest first."""
        return [deal for deal in self.deals.values() if deal.position_id == identifier]

    def lots(self, symbol: str, steps: int) -> float:
        """Return volume steps of a symbol as lots."""
        return round(steps * self.market.setup_of(symbol).volume_step, 8)

    def figures(self) -> Figures:
        """Return balance, equity, margin and the other totals as the server computes them now."""
        digits = self.setup.currency_digits
        profit = holdings.floating(self.positions.values(), self.market, self.setup)
        margin = holdings.margin(self.held, self.market, self.setup)
        return Figures.of(self.balance, self.credit, profit, margin, digits, self.blocked)

    @property
    def blocked(self) -> float:
        """Amount that the account cannot use before the end of the day, account currency."""
        commission = self.commission_blocked if self.setup.blocks_commission else 0.0
        return commission + (self.gains_today if self.setup.blocks_gains else 0.0)

    # -- changes by the engine -----------------------------------------------------------------

    def put_position(self, position: Position) -> None:
        """Add a position or replace its state."""
        self.held.put(position)
        self.tickets_ever.add(position.ticket)
        self._tell(Channel.POSITION, position.identifier, position)

    def drop_position(self, identifier: int) -> None:
        """Remove a closed position."""
        self.held.drop(identifier)
        self._tell(Channel.POSITION, identifier, None)

    def put_order(self, order: Order) -> None:
        """Add a working order or replace its state."""
        self.orders[order.ticket] = order
        self._tell(Channel.ORDER, order.ticket, order)

    def finish_order(self, order: Order) -> None:
        """Move an order to the history."""
        if self.orders.pop(order.ticket, None) is not None:
            self._tell(Channel.ORDER, order.ticket, None)
        self.order_history[order.ticket] = order
        self._tell(Channel.ORDER_HISTORY, order.ticket, order)

    def put_deal(self, deal: Deal) -> None:
        """Book a deal or a corrected deal, with the effect on balance or credit."""
        self._account(self.deals.get(deal.ticket), -1)
        self.deals[deal.ticket] = deal
        self._account(deal, 1)
        self._tell(Channel.DEAL, deal.ticket, deal)
        self._tell(Channel.ACCOUNT, 0, None)

    def rewrite_deal(self, deal: Deal) -> None:
        """Change the record of a deal without the balance: a separate deal corrects the balance."""
        self.deals[deal.ticket] = deal
        self._tell(Channel.DEAL, deal.ticket, deal)

    def delete_deal(self, ticket: int) -> None:
        """Delete a deal and its effect on the money, as a broker's back office can."""
        self._account(self.deals.pop(ticket), -1)
        self._tell(Channel.DEAL, ticket, None)
        self._tell(Channel.ACCOUNT, 0, None)

    def rename_symbol(self, symbol: str, name: str) -> None:
        """Give every record of a symbol its new name."""
        for position in [one for one in self.positions.values() if one.symbol == symbol]:
            self.put_position(replace(position, symbol=name))
        for order in [one for one in self.orders.values() if one.symbol == symbol]:
            self.put_order(replace(order, symbol=name))
        for past in [one for one in self.order_history.values() if one.symbol == symbol]:
            self.finish_order(replace(past, symbol=name))
        for deal in [one for one in self.deals.values() if one.symbol == symbol]:
            self.rewrite_deal(replace(deal, symbol=name))

    def block_commission(self, amount: float) -> None:
        """Add to the daily commission, which the next day change books."""
        blocked = self.commission_blocked + amount
        self.commission_blocked = round(blocked, self.setup.currency_digits)

    def _account(self, deal: Deal | None, sign: int) -> None:
        if deal is None:
            return
        digits = self.setup.currency_digits
        if deal.type == mt5.DEAL_TYPE_CREDIT:
            self.credit = round(self.credit + sign * deal.profit, digits)
        else:
            self.balance = round(self.balance + sign * deal.result, digits)
        if deal.type in (mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL) and deal.profit > 0.0:
            self.gains_today = round(max(0.0, self.gains_today + sign * deal.profit), digits)

    def _tell(self, channel: Channel, key: int, record: Position | Order | Deal | None) -> None:
        for listener in self.listeners:
            listener(channel, key, record)
