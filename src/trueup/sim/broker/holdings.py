"""A set of positions with its totals: profit, margin, and what prices can hurt.

The server's ledger holds one and each terminal's view another; the totals of an account come from
the same arithmetic in both (MT5 reference, account properties).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.market import Market, price_of
from trueup.sim.market.records import Position
from trueup.sim.market.symbols import AccountSetup


class Exposure:
    """The positions of one symbol, by side (0 long, 1 short)."""

    __slots__ = ("guarded", "identifiers", "steps", "worth_units")

    def __init__(self) -> None:
        self.identifiers: dict[int, None] = {}
        self.guarded: dict[int, None] = {}
        """Those with a stop loss or take profit: the only ones that a price can close."""
        self.steps: list[int] = [0, 0]
        self.worth_units: list[int] = [0, 0]
        """Sum of steps x open price, exact."""


class Figures(msgspec.Struct, frozen=True):
    """The totals of an account, account currency; `margin_level` in percent."""

    balance: float
    credit: float
    profit: float
    equity: float
    margin: float
    margin_free: float
    margin_level: float

    @classmethod
    def of(
        cls,
        balance: float,
        credit: float,
        profit: float,
        margin: float,
        digits: int,
        blocked: float = 0.0,
    ) -> Figures:
        """Derive equity, free margin and level; the level is 0 while no margin is in use.

        Equity is balance + credit + floating result - what is blocked (terminal manual, Trade tab).
        """
        equity = round(balance + credit + profit - blocked, digits)
        level = equity / margin * 100.0 if margin > 0.0 else 0.0
        free = round(equity - margin, digits)
        return cls(balance, credit, profit, equity, margin, free, level)


class Holdings:
    """Open positions by identifier, indexed by ticket and symbol."""

    def __init__(self) -> None:
        self.positions: dict[int, Position] = {}
        self.identifier_of: dict[int, int] = {}
        """Current ticket to identifier."""
        self.by_symbol: dict[str, Exposure] = {}
        self.swap_total: float = 0.0
        self.revision: int = 0

    def put(self, position: Position) -> None:
        """Add a position or replace its former state."""
        former = self.positions.get(position.identifier)
        if former is not None:
            self._forget(former)
        self.positions[position.identifier] = position
        self.identifier_of[position.ticket] = position.identifier
        exposure = self.by_symbol.get(position.symbol)
        if exposure is None:
            exposure = self.by_symbol[position.symbol] = Exposure()
        exposure.identifiers[position.identifier] = None
        if position.sl or position.tp:
            exposure.guarded[position.identifier] = None
        exposure.steps[position.type] += position.steps
        exposure.worth_units[position.type] += position.steps * position.price_units
        self.swap_total = round(self.swap_total + position.swap, 8)
        self.revision += 1

    def drop(self, identifier: int) -> None:
        """Remove a position; an unknown one is no error."""
        former = self.positions.pop(identifier, None)
        if former is not None:
            self._forget(former)
            self.by_symbol[former.symbol].identifiers.pop(identifier, None)
            self.revision += 1

    def clear(self) -> None:
        """Remove everything."""
        self.positions.clear()
        self.identifier_of.clear()
        self.by_symbol.clear()
        self.swap_total = 0.0
        self.revision += 1

    def _forget(self, position: Position) -> None:
        self.identifier_of.pop(position.ticket, None)
        exposure = self.by_symbol[position.symbol]
        exposure.guarded.pop(position.identifier, None)
        exposure.steps[position.type] -= position.steps
        exposure.worth_units[position.type] -= position.steps * position.price_units
        self.swap_total = round(self.swap_total - position.swap, 8)

    def of_symbol(self, symbol: str) -> list[Position]:
        """The positions of a symbol, oldest first."""
        exposure = self.by_symbol.get(symbol)
        if exposure is None:
            return []
        return [self.positions[identifier] for identifier in exposure.identifiers]

    def by_ticket(self, ticket: int) -> Position | None:
        """The position whose current ticket this is."""
        identifier = self.identifier_of.get(ticket)
        return None if identifier is None else self.positions[identifier]


def floating(positions: Iterable[Position], market: Market, account: AccountSetup) -> float:
    """Sum of profit and swap over positions, each rounded as its row shows it."""
    total = 0.0
    for position in positions:
        mark = market.mark(position.symbol, account.currency, account.currency_digits)
        close = mark.price(not position.is_buy)
        total += mark.profit(position.is_buy, position.price_open, close, position.steps)
        total += position.swap
    return round(total, account.currency_digits)


def floating_estimate(holdings: Holdings, market: Market, account: AccountSetup) -> float:
    """The floating result from the totals alone, whatever the number of positions.

    It differs from the exact one by the rounding of each position's profit: half a cent a position
    at most.
    """
    total = holdings.swap_total
    for symbol, exposure in holdings.by_symbol.items():
        mark = market.mark(symbol, account.currency, account.currency_digits)
        digits = mark.setup.digits
        long, short = mt5.POSITION_TYPE_BUY, mt5.POSITION_TYPE_SELL
        worth = price_of(exposure.worth_units[long], digits)
        total += (mark.bid * exposure.steps[long] - worth) * mark.worth_buy
        worth = price_of(exposure.worth_units[short], digits)
        total += (worth - mark.ask * exposure.steps[short]) * mark.worth_sell
    return total


def margin(holdings: Holdings, market: Market, account: AccountSetup) -> float:
    """Margin in use, account currency."""
    total = 0.0
    for symbol, exposure in holdings.by_symbol.items():
        total += symbol_margin(symbol, exposure.steps, exposure.worth_units, market, account)
    return round(total, account.currency_digits)


def symbol_margin(
    symbol: str,
    steps: Sequence[int],
    worth_units: Sequence[int],
    market: Market,
    account: AccountSetup,
) -> float:
    """Margin of one symbol: its larger side at that side's average open price, less what the
    smaller side hedges."""
    larger, smaller = max(steps), min(steps)
    if not larger:
        return 0.0
    setup = market.setups[symbol]
    price = price_of(worth_units[steps.index(larger)], setup.digits) / larger
    per_lot = market.margin_per_lot(symbol, price, account.currency, account.leverage)
    hedged_share = setup.margin_hedged / setup.contract_size
    lots = (larger - smaller + smaller * hedged_share) * setup.volume_step
    return lots * per_lot
