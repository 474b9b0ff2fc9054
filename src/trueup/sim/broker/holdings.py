"""A set of open positions with its totals: floating profit, margin, positions with stops.

The server's ledger has one set, and each terminal's view has another. Both use the same arithmetic
for the totals of an account (MT5 reference, account properties).
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
        """Positions with a stop loss or take profit: only these can be closed by a price."""
        self.steps: list[int] = [0, 0]
        self.worth_units: list[int] = [0, 0]
        """Exact sum of steps x open price."""


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

        Equity is balance + credit + floating result - blocked amount (terminal manual, Trade tab).
        """
        equity = round(balance + credit + profit - blocked, digits)
        # The terminal shows level 0 for an account without margin in use.
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
        # Take the former state out of the totals before the new state is added.
        former = self.positions.get(position.identifier)
        if former is not None:
            self._forget(former)
        self.positions[position.identifier] = position
        self.identifier_of[position.ticket] = position.identifier
        if former is not None and former.symbol != position.symbol:
            self.by_symbol[former.symbol].identifiers.pop(former.identifier, None)
        exposure = self.by_symbol.get(position.symbol)
        if exposure is None:
            exposure = self.by_symbol[position.symbol] = Exposure()
        exposure.identifiers[position.identifier] = None
        if position.sl or position.tp:
            exposure.guarded[position.identifier] = None
        exposure.steps[position.type] += position.steps
        exposure.worth_units[position.type] += position.steps * position.price_units
        # Rounded, so that many additions and removals do not collect a binary error.
        self.swap_total = round(self.swap_total + position.swap, 8)
        self.revision += 1

    def drop(self, identifier: int) -> None:
        """Remove a position; an unknown identifier is no error."""
        former = self.positions.pop(identifier, None)
        if former is not None:
            self._forget(former)
            self.by_symbol[former.symbol].identifiers.pop(identifier, None)
            self.revision += 1

    def clear(self) -> None:
        """Remove all positions."""
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
        """Return the positions of a symbol, oldest first."""
        exposure = self.by_symbol.get(symbol)
        if exposure is None:
            return []
        return [self.positions[identifier] for identifier in exposure.identifiers]

    def by_ticket(self, ticket: int) -> Position | None:
        """Return the position with this current ticket."""
        identifier = self.identifier_of.get(ticket)
        return None if identifier is None else self.positions[identifier]


def floating(positions: Iterable[Position], market: Market, account: AccountSetup) -> float:
    """Return the sum of profit and swap; each position is rounded as in its row."""
    total = 0.0
    for position in positions:
        mark = market.mark(position.symbol, account.currency, account.currency_digits)
        close = mark.price(not position.is_buy)
        total += mark.profit(position.is_buy, position.price_open, close, position.steps)
        total += position.swap
    return round(total, account.currency_digits)


def floating_estimate(holdings: Holdings, market: Market, account: AccountSetup) -> float:
    """Return the floating result from the totals, in constant time per symbol.

    The estimate differs from the exact result by the rounding of each position's profit: at most
    half a cent per position.
    """
    total = holdings.swap_total
    for symbol, exposure in holdings.by_symbol.items():
        mark = market.mark(symbol, account.currency, account.currency_digits)
        digits = mark.setup.digits
        # A long position closes at bid, a short position at ask.
        long, short = mt5.POSITION_TYPE_BUY, mt5.POSITION_TYPE_SELL
        worth = price_of(exposure.worth_units[long], digits)
        total += (mark.bid * exposure.steps[long] - worth) * mark.worth_buy
        worth = price_of(exposure.worth_units[short], digits)
        total += (worth - mark.ask * exposure.steps[short]) * mark.worth_sell
    return total


def margin(holdings: Holdings, market: Market, account: AccountSetup) -> float:
    """Return the margin in use, account currency."""
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
    """Return the margin of one symbol.

    The larger side pays the margin at its average open price; hedged volume pays a reduced margin.
    """
    larger, smaller = max(steps), min(steps)
    if not larger:
        return 0.0
    setup = market.setup_of(symbol)
    price = price_of(worth_units[steps.index(larger)], setup.digits) / larger
    per_lot = market.margin_per_lot(symbol, price, account.currency, account.leverage)
    # Hedged volume pays the symbol's hedged margin per contract in place of the full margin.
    hedged_share = setup.margin_hedged / setup.contract_size
    lots = (larger - smaller + smaller * hedged_share) * setup.volume_step
    return lots * per_lot
