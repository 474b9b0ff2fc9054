"""Specifications of symbols and accounts, with ready-made symbols.

Field meanings and masks are those of the MT5 reference, symbol and account properties. Prices are
in the profit currency, volumes in lots, distances in points (10^-digits).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from trueup.gateway.terminal import mt5_constants as mt5

_FOK_AND_IOC = mt5.SYMBOL_FILLING_FOK | mt5.SYMBOL_FILLING_IOC
_ALL_EXPIRATIONS = (
    mt5.SYMBOL_EXPIRATION_GTC
    | mt5.SYMBOL_EXPIRATION_DAY
    | mt5.SYMBOL_EXPIRATION_SPECIFIED
    | mt5.SYMBOL_EXPIRATION_SPECIFIED_DAY
)
_ALL_ORDERS = (
    mt5.SYMBOL_ORDER_MARKET
    | mt5.SYMBOL_ORDER_LIMIT
    | mt5.SYMBOL_ORDER_STOP
    | mt5.SYMBOL_ORDER_STOP_LIMIT
    | mt5.SYMBOL_ORDER_SL
    | mt5.SYMBOL_ORDER_TP
    | mt5.SYMBOL_ORDER_CLOSEBY
)


class Charged(enum.Enum):
    """The moment when a commission is charged."""

    AT_ENTRY = "on deals that open"
    AT_EXIT = "on deals that close"
    AT_BOTH = "on every deal"
    DAILY = "in one balance-type deal at the day change, blocked until then"


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSetup:
    """One symbol of the broker; `Market.change` changes a symbol on a running server."""

    name: str
    currency_base: str
    currency_profit: str
    currency_margin: str = ""
    """Empty: the base currency."""
    digits: int = 5
    tick_points: int = 1
    """Tick size in points; more than 1 on some symbols."""
    contract_size: float = 100_000.0
    volume_min: float = 0.01
    volume_max: float = 100.0
    volume_step: float = 0.01
    """What volumes are counted in; `order_steps` says how many of them an order has at least."""
    order_steps: int = 1
    """Orders are whole multiples of so many steps, which is the step that a terminal shows."""
    volume_limit: float = 0.0
    """Largest total in one direction, positions and pending orders, lots; 0 means none."""
    calc_mode: int = mt5.SYMBOL_CALC_MODE_FOREX
    trade_mode: int = mt5.SYMBOL_TRADE_MODE_FULL
    execution: int = mt5.SYMBOL_TRADE_EXECUTION_MARKET
    filling_mode: int = _FOK_AND_IOC
    expiration_mode: int = _ALL_EXPIRATIONS
    order_mode: int = _ALL_ORDERS
    order_gtc_mode: int = mt5.SYMBOL_ORDERS_GTC
    stops_level: int = 0
    freeze_level: int = 0
    swap_mode: int = mt5.SYMBOL_SWAP_MODE_POINTS
    swap_long: float = -0.7
    swap_short: float = -1.0
    swap_rollover3days: int = mt5.DAY_OF_WEEK_WEDNESDAY
    commission_per_lot: float = 0.0
    """Account currency per lot and charge, as a positive number."""
    commission_charged: Charged = Charged.AT_BOTH
    fee_per_lot: float = 0.0
    """Account currency per lot and deal, as a positive number."""
    margin_initial: float = 0.0
    """Margin of one lot in the margin currency, for futures; 0 elsewhere."""
    margin_hedged: float = 0.0
    """Contract size for the margin of one lot held on both sides; 0 means no margin."""
    selected: bool = True
    """Shown in Market Watch from the start."""
    bid: float = 0.0
    """First quote; 0.0 means that the symbol has no quote yet."""
    ask: float = 0.0
    description: str = ""
    path: str = ""

    @property
    def point(self) -> float:
        """The smallest price change that `digits` can show."""
        return float(f"1e-{self.digits}")

    @property
    def tick_size(self) -> float:
        """The smallest price change that the server accepts."""
        return round(self.tick_points * self.point, self.digits)

    @property
    def margin_currency(self) -> str:
        """The currency of the margin."""
        return self.currency_margin or self.currency_base


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSetup:
    """One account at the broker, before its first deal."""

    login: int = 5_000_001
    server: str = "Simulated-Demo"
    password: str = ""
    """Empty: every password is accepted."""
    investor_password: str = ""
    """Password for a read-only session; empty: the account has no such password."""
    currency: str = "USD"
    currency_digits: int = 2
    leverage: int = 100
    margin_mode: int = mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING
    trade_mode: int = mt5.ACCOUNT_TRADE_MODE_DEMO
    balance: float = 10_000.0
    """First deposit, booked as a balance deal; 0 books no deal."""
    credit: float = 0.0
    limit_orders: int = 200
    """Largest number of pending orders; 0 means no limit (10033)."""
    limit_positions: int = 0
    """Largest number of positions, pending orders included when hedging; 0 means no limit."""
    stop_out_mode: int = mt5.ACCOUNT_STOPOUT_MODE_PERCENT
    margin_call: float = 100.0
    stop_out: float = 50.0
    """Percent of margin, or equity in the account's currency, by `stop_out_mode`."""
    fifo_close: bool = False
    hedge_prohibited: bool = False
    """Hedging account that cannot hold both directions of a symbol (10046)."""
    blocks_commission: bool = False
    """A commission that is charged at the day's end lowers the equity until then."""
    blocks_gains: bool = False
    """The profits of a day are in the balance and lower the equity until the end of the day
    (terminal manual, Trade tab: "Blocked"). No field of the account shows the blocked amount."""
    trade_allowed: bool = True
    trade_expert: bool = True
    """The server lets programs trade (10026 otherwise)."""
    name: str = "Demo Trader"
    company: str = "Simulated Markets Ltd."

    @property
    def is_netting(self) -> bool:
        """Whether the account has one position per symbol, as exchange accounts also have."""
        return self.margin_mode != mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING


EURUSD = SymbolSetup(
    name="EURUSD",
    currency_base="EUR",
    currency_profit="USD",
    bid=1.10000,
    ask=1.10010,
    description="Euro vs US Dollar",
    path="Forex\\EURUSD",
)
GBPUSD = SymbolSetup(
    name="GBPUSD",
    currency_base="GBP",
    currency_profit="USD",
    bid=1.25000,
    ask=1.25015,
    description="Great Britain Pound vs US Dollar",
    path="Forex\\GBPUSD",
)
USDJPY = SymbolSetup(
    name="USDJPY",
    currency_base="USD",
    currency_profit="JPY",
    digits=3,
    bid=150.000,
    ask=150.012,
    description="US Dollar vs Japanese Yen",
    path="Forex\\USDJPY",
)
XAUUSD = SymbolSetup(
    name="XAUUSD",
    currency_base="XAU",
    currency_profit="USD",
    currency_margin="USD",
    digits=2,
    contract_size=100.0,
    calc_mode=mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
    bid=2000.00,
    ask=2000.30,
    description="Gold vs US Dollar",
    path="Metals\\XAUUSD",
)
DEFAULT_SYMBOLS = (EURUSD, GBPUSD, USDJPY, XAUUSD)
