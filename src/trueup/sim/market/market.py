"""Prices of symbols, and the value of a price move in an account's currency.

Prices are injected: only `Market.set_quote` changes a price. All figures that depend on prices use
a `Mark`. The market replaces a mark when one of its prices changes, so a caller compares marks by
identity to know whether a computed figure is still valid.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.price_history import PriceHistory
from trueup.sim.market.symbols import SymbolSetup

# The number of decimals beyond `digits` that the server rounds an averaged open price to
# (MT5 reference, position properties: price_open).
EXTRA_DIGITS = 3
_UNITS: list[int] = [10 ** (digits + EXTRA_DIGITS) for digits in range(12)]


class Quote(msgspec.Struct, frozen=True):
    """The last price of a symbol; zeros before the first price."""

    bid: float = 0.0
    ask: float = 0.0
    time_msc: int = 0

    @property
    def is_live(self) -> bool:
        """Whether the symbol has a price to trade at."""
        return self.bid > 0.0 and self.ask > 0.0


class Mark(msgspec.Struct, frozen=True):
    """A symbol's price and the value of a price move."""

    setup: SymbolSetup
    bid: float
    ask: float
    time_msc: int
    worth_buy: float
    """Account currency per volume step and price unit, for a long position (closes at bid)."""
    worth_sell: float
    """Account currency per volume step and price unit, for a short position (closes at ask)."""
    currency_digits: int
    step: float

    def price(self, is_buy: bool) -> float:
        """Return the price for an order of this side."""
        return self.ask if is_buy else self.bid

    def profit(self, is_buy: bool, price_open: float, price_close: float, steps: int) -> float:
        """Return the profit of closing `steps` at `price_close`, rounded as the server rounds."""
        if is_buy:
            return round((price_close - price_open) * steps * self.worth_buy, self.currency_digits)
        return round((price_open - price_close) * steps * self.worth_sell, self.currency_digits)


class Market:
    """The broker's symbols: specifications, quotes, sessions and liquidity."""

    def __init__(self, symbols: Iterable[SymbolSetup]) -> None:
        self.setups: dict[str, SymbolSetup] = {}
        self.quotes: dict[str, Quote] = {}
        self.past: dict[str, PriceHistory] = {}
        """The ticks and bars of each symbol; empty before its first quote."""
        self.retired: dict[str, SymbolSetup] = {}
        """Symbols that have another name by now; what is on its way may still have the old one."""
        self.liquidity_steps: dict[str, int] = {}
        """Tradable volume, in steps; a symbol without an entry has no limit."""
        self.closed: set[str] = set()
        self.revision: int = 0
        """Counter of price and specification changes."""
        self._marks: dict[tuple[str, str], Mark] = {}
        for setup in symbols:
            self.setups[setup.name] = setup
            self.quotes[setup.name] = Quote(setup.bid, setup.ask)
            self.past[setup.name] = PriceHistory()

    def set_quote(self, symbol: str, bid: float, ask: float, time_msc: int) -> Quote:
        """Set a new price, rounded to the symbol's digits."""
        setup = self.setups[symbol]
        if not 0.0 < bid <= ask:
            raise ValueError(f"a quote needs 0 < bid <= ask: {bid} {ask}")
        quote = Quote(round(bid, setup.digits), round(ask, setup.digits), time_msc)
        self.quotes[symbol] = quote
        spread_points = round((quote.ask - quote.bid) / setup.point)
        self.past[symbol].add(time_msc, quote.bid, quote.ask, spread_points)
        self._touch(symbol)
        return quote

    def clear_quote(self, symbol: str) -> None:
        """Remove the price: orders are answered 10021 until the next price."""
        self.quotes[symbol] = Quote()
        self._touch(symbol)

    def change(self, symbol: str, **changes: Any) -> None:
        """Change a specification on the running server: trade_mode, stops_level, ..."""
        self.setups[symbol] = dataclasses.replace(self.setups[symbol], **changes)
        self._touch(symbol)

    def rename(self, symbol: str, name: str) -> None:
        """Give a symbol another name; the old one is unknown from now on."""
        self.retired[symbol] = setup = self.setups.pop(symbol)
        self.retired.pop(name, None)
        self.setups[name] = dataclasses.replace(setup, name=name)
        self.quotes[name], self.past[name] = self.quotes[symbol], self.past[symbol]
        for had in (symbol, name):
            self._touch(had)

    def setup_of(self, symbol: str) -> SymbolSetup:
        """The specification of a symbol, under the name that it has or had."""
        return self.setups.get(symbol) or self.retired[symbol]

    def set_open(self, symbol: str, is_open: bool) -> None:
        """Open or close the market of a symbol (10018)."""
        if is_open:
            self.closed.discard(symbol)
        else:
            self.closed.add(symbol)

    def set_liquidity(self, symbol: str, lots: float | None) -> None:
        """Limit the tradable volume until the next call; None means no limit."""
        if lots is None:
            self.liquidity_steps.pop(symbol, None)
        else:
            self.liquidity_steps[symbol] = steps_of(lots, self.setups[symbol].volume_step)

    def take_liquidity(self, symbol: str, steps: int) -> None:
        """Subtract the volume of an execution from the tradable volume."""
        if symbol in self.liquidity_steps:
            self.liquidity_steps[symbol] = max(0, self.liquidity_steps[symbol] - steps)

    def frozen_copy(self) -> Market:
        """Return a copy of the current market, for a terminal that receives no more prices."""
        copy = Market(())
        copy.setups = dict(self.setups)
        copy.quotes = dict(self.quotes)
        # The history is shared: a reader stops at the time of the last quote of this copy.
        copy.past = self.past
        copy.retired = dict(self.retired)
        copy.revision = self.revision
        return copy

    def mark(self, symbol: str, currency: str, currency_digits: int = 2) -> Mark:
        """Return the current mark of a symbol for accounts in `currency`."""
        key = (symbol, currency)
        found = self._marks.get(key)
        if found is None:
            found = self._marks[key] = self._new_mark(symbol, currency, currency_digits)
        return found

    def rate(self, source: str, target: str) -> float:
        """Return the bid rate from one currency to another; 0.0 without a suitable quote."""
        direct = self._rate_at(source, target)
        if direct:
            return direct
        # A cross rate goes through the dollar: every default symbol has the dollar.
        first, second = self._rate_at(source, "USD"), self._rate_at("USD", target)
        return first * second

    def _rate_at(self, source: str, target: str) -> float:
        if source == target:
            return 1.0
        for name, setup in self.setups.items():
            if not self.quotes[name].bid:
                continue
            if (setup.currency_base, setup.currency_profit) == (source, target):
                return self.quotes[name].bid
            if (setup.currency_base, setup.currency_profit) == (target, source):
                return 1.0 / self.quotes[name].ask
        return 0.0

    def _new_mark(self, symbol: str, currency: str, currency_digits: int) -> Mark:
        setup, quote = self.setup_of(symbol), self.quotes[symbol]
        buy = sell = self.rate(setup.currency_profit, currency)
        if setup.currency_base == currency and quote.is_live:
            # The pair converts its own profit, at the closing price of the position.
            buy, sell = 1.0 / quote.bid, 1.0 / quote.ask
        size = setup.contract_size * setup.volume_step
        return Mark(
            setup, quote.bid, quote.ask, quote.time_msc, size * buy, size * sell,
            currency_digits, setup.volume_step,
        )  # fmt: skip

    def _touch(self, symbol: str) -> None:
        self.revision += 1
        stale = [
            key
            for key, mark in self._marks.items()
            # A mark in another currency can have used the changed price for the conversion.
            if key[0] == symbol or mark.setup.currency_profit != key[1]
        ]
        for key in stale:
            del self._marks[key]

    def margin_per_lot(self, symbol: str, price: float, currency: str, leverage: int) -> float:
        """Return the margin of one lot opened at `price`, account currency.

        Source: MT5 reference, symbol properties, formulas by calculation mode.
        """
        setup = self.setup_of(symbol)
        rate = self.rate(setup.margin_currency, currency)
        match setup.calc_mode:
            case mt5.SYMBOL_CALC_MODE_FOREX | mt5.SYMBOL_CALC_MODE_FOREX_NO_LEVERAGE:
                # The pair itself converts the margin, at the open price.
                if setup.margin_currency == setup.currency_base and (
                    setup.currency_profit == currency
                ):
                    rate = price
                # Of the two modes only FOREX divides the margin by the account's leverage.
                lot = setup.contract_size
                forex = setup.calc_mode == mt5.SYMBOL_CALC_MODE_FOREX
                return lot * rate / (leverage if forex else 1)
            case mt5.SYMBOL_CALC_MODE_CFDLEVERAGE:
                return setup.contract_size * price * rate / leverage
            case mt5.SYMBOL_CALC_MODE_FUTURES | mt5.SYMBOL_CALC_MODE_EXCH_FUTURES:
                return setup.margin_initial * rate
            case _:
                return setup.contract_size * price * rate


def steps_of(lots: float, step: float) -> int:
    """Return lots as whole volume steps; raise `ValueError` for any other volume."""
    ratio = lots / step
    if not math.isfinite(ratio):
        raise ValueError(f"{lots} is no volume")
    steps = round(ratio)
    if abs(ratio - steps) > 1e-6 * max(1.0, abs(ratio)):
        raise ValueError(f"{lots} lots is not a whole number of {step} lots")
    return steps


def price_units(price: float, digits: int) -> int:
    """Return a price in the integer units that open prices are averaged in."""
    return round(price * _UNITS[digits])


def price_of(units: int, digits: int) -> float:
    """Return the float nearest to a price in units."""
    return units / _UNITS[digits]


def average_units(first: int, first_steps: int, second: int, second_steps: int) -> int:
    """Return the volume-weighted open price in units, rounded as in the official sample.

    The sample rounds an exact half (1.100536665 at 8 decimals) down to 1.10053666, so this function
    rounds halves to the even neighbour.
    """
    total = first_steps + second_steps
    whole, rest = divmod(first * first_steps + second * second_steps, total)
    doubled = 2 * rest
    if doubled > total or (doubled == total and whole % 2):
        whole += 1
    return whole
